//! Whether somebody may do it: the table of `auth`, and the objects where it depends on them.

use crate::auth::decision::{Attributes, Decision, Question};
use crate::auth::user::User;
use crate::auth::{node, rules};
use crate::kinds::{LEASE, NODE, POD};
use crate::object::Object;
use crate::objects::{ListOptions, Objects, Patch, Scope, Target, WriteOptions};
use crate::pki::identity::{NODE_PREFIX, NODES};
use crate::selector::FieldSelector;
use crate::status::{Reason, Result, Status};

/// `Ok` with the reason when they may, 403 when not.
pub(super) async fn check(
    objects: &dyn Objects,
    user: &User,
    wanted: &Attributes,
) -> Result<&'static str> {
    let allowed = match rules::decide(user, wanted) {
        Decision::Allow(why) => Some(why),
        Decision::Ask(question) if holds(objects, &question).await? => {
            Some("a node may do what concerns its pods")
        }
        Decision::Ask(_) | Decision::Deny => None,
    };
    allowed.ok_or_else(|| forbidden(wanted, &rules::refusal(user, wanted)))
}

/// 403 in the words of the real server.
pub(super) fn forbidden(wanted: &Attributes, why: &str) -> Status {
    let resource = match wanted.group.as_str() {
        "" => wanted.resource.clone(),
        group => format!("{}.{group}", wanted.resource),
    };
    let text = match (wanted.resource.as_str(), wanted.name.as_str()) {
        ("", _) => format!("forbidden: {why}"),
        (_, "") => format!("{resource} is forbidden: {why}"),
        (_, name) => format!("{resource} \"{name}\" is forbidden: {why}"),
    };
    Status::new(Reason::Forbidden, text)
}

async fn holds(objects: &dyn Objects, question: &Question) -> Result<bool> {
    match question {
        Question::PodIsOn {
            namespace,
            pod,
            node,
        } => match objects.get(&Target::new(&POD, namespace, pod), "").await {
            Ok(pod) => Ok(pod.text(&["spec", "nodeName"]) == node),
            Err(status) if status.reason() == Reason::NotFound => Ok(false),
            Err(status) => Err(status),
        },
        Question::IsUsedOn {
            resource,
            namespace,
            name,
            node,
        } => {
            let options = ListOptions {
                fields: FieldSelector::equal("spec.nodeName", node),
                ..ListOptions::default()
            };
            let pods = objects
                .list(&Scope::inside(&POD, namespace), &options)
                .await?;
            let uses = |pod| node::uses(pod, node, resource, name);
            Ok(pods.items.iter().any(uses))
        }
    }
}

/// What a machine writes to its own Node, checked before it is written.
pub(super) enum NodeWrite<'w> {
    Whole(&'w Object),
    Patch(&'w Patch),
}

/// 403 when a machine reaches further than itself by the object it writes. Everybody else passes.
pub(super) async fn check_write(
    objects: &dyn Objects,
    user: &User,
    wanted: &Attributes,
    target: &Target,
    write: NodeWrite<'_>,
) -> Result<()> {
    let own = user.name.strip_prefix(NODE_PREFIX);
    let Some(own) = own.filter(|_| user.is_in(NODES)) else {
        return Ok(());
    };
    let is_own_kind = target.kind == &NODE || target.kind == &LEASE;
    if is_own_kind && target.name != own {
        return Err(forbidden(wanted, "a node may write only itself"));
    }
    if target.kind != &NODE {
        return Ok(());
    }
    let current = match objects.get(&Target::new(&NODE, "", own), "").await {
        Ok(current) => Some(current),
        Err(status) if status.reason() == Reason::NotFound => None,
        Err(status) => return Err(status),
    };
    let patched;
    let next = match write {
        NodeWrite::Whole(object) => object,
        // What it does could depend on what is there by then.
        NodeWrite::Patch(Patch::Json(_)) => {
            return Err(forbidden(
                wanted,
                "a node may not use JSON patches on itself",
            ));
        }
        NodeWrite::Patch(patch) => {
            let options = WriteOptions {
                dry_run: true,
                force: true,
                ..WriteOptions::by("node-restriction")
            };
            patched = objects.patch(target, patch, &options).await?.object;
            &patched
        }
    };
    if next.name() != own {
        return Err(forbidden(wanted, "a node may write only itself"));
    }
    node::check_own_node(current.as_ref(), next).map_err(|why| forbidden(wanted, &why))
}
