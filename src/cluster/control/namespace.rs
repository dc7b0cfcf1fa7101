//! Namespaces: what every one of them has, and the end of one with all that is in it.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use orc_base::Time;
use serde_json::json;

use crate::control::Rule;
use crate::control::conditions::{Conditions, Says, difference};
use crate::object::Facts;
use crate::operation::{Decision, Deed, Guard, Part};
use crate::reference::{Kind, Ref};
use crate::world::{Change, World};

const FINALIZER: &str = "kubernetes";
const ACCOUNT: &str = "default";
const ROOT: &str = "kube-root-ca.crt";

/// The rule.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    /// The certificate that pods trust the API by, as PEM. Nothing is given to namespaces when it is empty.
    pub root_certificate: String,
}

impl Rule for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn concerns(&self, world: &World, change: &Change) -> Vec<Ref> {
        let target = &change.target;
        let namespace = || Ref::to::<Namespace>("", &target.namespace);
        let leaving = || {
            let own = world.namespaces.get("", &target.namespace);
            own.is_some_and(|own| own.is_leaving())
        };
        match target.kind {
            own if own == Kind::of::<Namespace>() => vec![target.clone()],
            _ if target.namespace.is_empty() => Vec::new(),
            own if own == Kind::of::<ServiceAccount>() && target.name == ACCOUNT => {
                vec![namespace()]
            }
            own if own == Kind::of::<ConfigMap>() && target.name == ROOT => vec![namespace()],
            _ if leaving() => vec![namespace()],
            _ => Vec::new(),
        }
    }

    fn decide(&self, world: &World, me: &Ref, now: Time) -> Decision {
        let mut decision = Decision::default();
        let Some(namespace) = world.namespaces.get("", &me.name) else {
            return decision;
        };
        match namespace.is_leaving() {
            false => self.furnish(world, me, &mut decision),
            true => empty(world, me, namespace, now, &mut decision),
        }
        decision
    }
}

impl Namespaces {
    /// Gives a namespace its service account and the root certificate.
    fn furnish(&self, world: &World, me: &Ref, decision: &mut Decision) {
        let account = Ref::to::<ServiceAccount>(&me.name, ACCOUNT);
        if world.seen(&account).is_none() {
            let object = json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": { "name": ACCOUNT, "namespace": me.name },
            });
            decision.push(
                Deed::Create {
                    target: account,
                    object,
                },
                "every namespace has one",
            );
        }
        if self.root_certificate.is_empty() {
            return;
        }
        let target = Ref::to::<ConfigMap>(&me.name, ROOT);
        let data = json!({ "ca.crt": self.root_certificate });
        match world.config_maps.get(&me.name, ROOT) {
            None => {
                let object = json!({
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {
                        "name": ROOT,
                        "namespace": me.name,
                        "annotations": {
                            "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver.",
                        },
                    },
                    "data": data,
                });
                decision.push(Deed::Create { target, object }, "every namespace has one");
            }
            Some(there) if json!(there.data) != data => {
                let patch = json!({ "data": data });
                decision.push(
                    Deed::patch(target, &**there, patch),
                    "the certificate is another",
                );
            }
            Some(_) => {}
        }
    }
}

/// Deletes everything in a namespace, and lets it go when nothing is left.
fn empty(world: &World, me: &Ref, namespace: &Namespace, now: Time, decision: &mut Decision) {
    let inside: Vec<_> = world.inside(&me.name).collect();
    for (target, seen) in inside.iter().filter(|(_, seen)| !seen.is_leaving()) {
        let deed = Deed::delete((*target).clone(), &***seen);
        decision.push(deed, format!("its namespace {} is deleted", me.name));
    }
    let waiting: Vec<String> = inside
        .iter()
        .filter(|(_, seen)| seen.meta.finalizers.as_ref().is_some_and(|f| !f.is_empty()))
        .map(|(target, _)| target.to_string())
        .collect();
    report(me, namespace, inside.len(), &waiting, now, decision);
    let spec = namespace.spec.as_ref();
    let finalizers = spec.and_then(|spec| spec.finalizers.as_ref());
    let holds = finalizers.is_some_and(|all| all.iter().any(|name| name == FINALIZER));
    if inside.is_empty() && holds {
        decision.push(
            Deed::Sweep { target: me.clone() },
            "nothing else is left in it",
        );
        let rest: Vec<_> = finalizers
            .into_iter()
            .flatten()
            .filter(|f| *f != FINALIZER)
            .collect();
        let deed = Deed::Patch {
            target: me.clone(),
            part: Part::Finalize,
            guard: Guard::same(namespace),
            patch: json!({ "spec": { "finalizers": rest } }),
        };
        decision.push(deed, "nothing is left in it");
    }
}

fn report(
    me: &Ref,
    namespace: &Namespace,
    left: usize,
    waiting: &[String],
    now: Time,
    decision: &mut Decision,
) {
    let old = namespace.status.clone().unwrap_or_default();
    let mut conditions = Conditions::of(old.conditions.as_ref());
    let kind = "NamespaceContentRemaining";
    let some = format!("Some resources are remaining: {left}");
    match left {
        0 => conditions.set(
            Says {
                kind,
                status: "False",
                reason: "ContentRemoved",
                message: "All content successfully removed",
            },
            now,
        ),
        _ => conditions.set(
            Says {
                kind,
                status: "True",
                reason: "SomeResourcesRemain",
                message: &some,
            },
            now,
        ),
    };
    let kind = "NamespaceFinalizersRemaining";
    let first: Vec<&str> = waiting.iter().take(10).map(String::as_str).collect();
    let some = format!(
        "Some content in the namespace has finalizers remaining: {}",
        first.join(", ")
    );
    match waiting.is_empty() {
        true => conditions.set(
            Says {
                kind,
                status: "False",
                reason: "ContentHasNoFinalizers",
                message: "All content-preserving finalizers finished",
            },
            now,
        ),
        false => conditions.set(
            Says {
                kind,
                status: "True",
                reason: "SomeFinalizersRemain",
                message: &some,
            },
            now,
        ),
    };
    let wanted = json!({ "phase": "Terminating", "conditions": conditions.to_json() });
    if let Some(status) = difference(&old, wanted) {
        let deed = Deed::Patch {
            target: me.clone(),
            part: Part::Status,
            guard: Guard::same(namespace),
            patch: json!({ "status": status }),
        };
        decision.push(deed, "it is deleted");
    }
}
