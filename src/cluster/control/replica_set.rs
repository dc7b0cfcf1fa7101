//! Replica sets: as many pods as wanted, no more and no fewer.
//!
//! Pods that have ended or are on their way out do not count. New pods take the first names that are free,
//! so a decision that is made twice makes nothing twice.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use orc_base::Time;
use serde_json::json;

use crate::control::Rule;
use crate::control::claim::{claim, reference};
use crate::control::conditions::difference;
use crate::control::{names, pods};
use crate::labels;
use crate::object::Facts;
use crate::operation::{Decision, Deed, Note};
use crate::reference::{Kind, Ref};
use crate::world::{Change, World};

/// Pods made or deleted in one decision, at most.
const BURST: usize = 500;

/// The rule.
#[derive(Debug, Default)]
pub struct ReplicaSets;

impl Rule for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn concerns(&self, world: &World, change: &Change) -> Vec<Ref> {
        let kind = Kind::of::<ReplicaSet>();
        match change.target.kind {
            own if own == kind => vec![change.target.clone()],
            pod if pod == Kind::of::<Pod>() => {
                let owners = owners_of(change, kind);
                let strays = change.after.iter().filter(|pod| pod.controller().is_none());
                let namespace = &change.target.namespace;
                let pickers = strays.flat_map(|pod| {
                    let sets = world.replica_sets.inside(namespace);
                    sets.filter(|set| picks(set, pod.labels()))
                        .map(|set| Ref::to::<ReplicaSet>(set.namespace(), set.name()))
                        .collect::<Vec<_>>()
                });
                owners.into_iter().chain(pickers).collect()
            }
            _ => Vec::new(),
        }
    }

    fn decide(&self, world: &World, me: &Ref, now: Time) -> Decision {
        let mut decision = Decision::default();
        let Some(set) = world.replica_sets.get(&me.namespace, &me.name) else {
            return decision;
        };
        let Some(spec) = &set.spec else {
            return decision;
        };
        let around = world.pods_around(set.uid(), &me.namespace);
        let own = claim(me, &**set, &spec.selector, around, &mut decision);
        let (active, ended): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|pod| pods::is_active(pod));
        if !set.is_leaving() {
            scale(world, me, set, &active, &mut decision);
        }
        let leaving = ended.iter().filter(|pod| pod.is_leaving()).count();
        report(me, set, &active, leaving, now, &mut decision);
        decision
    }
}

/// The owners of a kind that an object names, before and after it changed.
pub(crate) fn owners_of(change: &Change, kind: Kind) -> Vec<Ref> {
    let owners = change
        .both()
        .flat_map(|seen| seen.meta.owner_references.iter().flatten());
    let mut found: Vec<Ref> = owners
        .filter(|owner| owner.kind == kind.name && owner.api_version == kind.api_version())
        .map(|owner| Ref {
            kind,
            namespace: change.target.namespace.clone(),
            name: owner.name.clone(),
        })
        .collect();
    found.dedup();
    found
}

fn picks(set: &ReplicaSet, own: &labels::Labels) -> bool {
    let spec = set.spec.as_ref();
    spec.is_some_and(|spec| labels::matches(&spec.selector, own))
}

/// How many replicas are wanted.
pub(crate) fn wanted(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

fn scale(world: &World, me: &Ref, set: &ReplicaSet, active: &[&Arc<Pod>], decision: &mut Decision) {
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    let there = active.len();
    if there < wanted {
        create(
            world,
            me,
            set,
            (wanted - there).min(BURST),
            wanted,
            decision,
        );
    }
    for pod in surplus(world, set, active, there.saturating_sub(wanted).min(BURST)) {
        let target = Ref::to::<Pod>(pod.namespace(), pod.name());
        let note = note(
            me,
            set,
            "SuccessfulDelete",
            format!("Deleted pod: {}", pod.name()),
        );
        let cause = format!("{there} of {wanted} are there");
        decision.push_noted(Deed::delete(target, &**pod), cause, note);
    }
}

fn create(
    world: &World,
    me: &Ref,
    set: &ReplicaSet,
    count: usize,
    wanted: usize,
    decision: &mut Decision,
) {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let Some(template) = template else { return };
    let owner = reference(me, set);
    let taken = |name: &str| world.pods.get(&me.namespace, name).is_some();
    for name in names::free(&me.name, set.uid(), count, taken) {
        let target = Ref::to::<Pod>(&me.namespace, &name);
        let prefix = format!("{}-", me.name);
        let object = pods::from_template(template, &target, &prefix, &owner);
        let note = note(me, set, "SuccessfulCreate", format!("Created pod: {name}"));
        let cause = format!("{count} of {wanted} missing");
        decision.push_noted(Deed::Create { target, object }, cause, note);
    }
}

/// The `count` pods that can be spared most.
fn surplus<'p>(
    world: &World,
    set: &ReplicaSet,
    active: &[&'p Arc<Pod>],
    count: usize,
) -> Vec<&'p Arc<Pod>> {
    if count == 0 {
        return Vec::new();
    }
    let mut there: HashMap<&str, usize> = HashMap::new();
    for pod in related(world, set) {
        if let Some(node) = pods::node(pod) {
            *there.entry(node).or_default() += 1;
        }
    }
    let siblings = |pod: &Pod| {
        let node = pods::node(pod).unwrap_or_default();
        there.get(node).copied().unwrap_or(0)
    };
    let mut ranked: Vec<&Arc<Pod>> = active.to_vec();
    ranked.sort_by_cached_key(|pod| pods::rank(pod, siblings(pod)));
    ranked.truncate(count);
    ranked
}

/// The pods of all replica sets under the same owner: a rollout's old and new ones.
fn related<'w>(world: &'w World, set: &'w ReplicaSet) -> Vec<&'w Arc<Pod>> {
    let owner = set.controller().map(|owner| owner.uid.as_str());
    let sets = world.replica_sets.inside(set.namespace());
    let family = sets.filter(|other| match owner {
        Some(uid) => other.is_governed_by(uid),
        None => other.uid() == set.uid(),
    });
    family
        .flat_map(|set| world.dependents(set.uid()))
        .filter_map(|target| world.pods.get(&target.namespace, &target.name))
        .filter(|pod| pods::is_active(pod))
        .collect()
}

fn report(
    me: &Ref,
    set: &ReplicaSet,
    active: &[&Arc<Pod>],
    leaving: usize,
    now: Time,
    decision: &mut Decision,
) {
    let spec = set.spec.clone().unwrap_or_default();
    let template = spec
        .template
        .and_then(|t| t.metadata)
        .and_then(|m| m.labels);
    let template = template.unwrap_or_default();
    let labelled = active.iter().filter(|pod| {
        let own = pod.labels();
        template
            .iter()
            .all(|(key, value)| own.get(key) == Some(value))
    });
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let times = active
        .iter()
        .filter_map(|pod| pods::available_at(pod, min_ready));
    let (available, soon): (Vec<Time>, Vec<Time>) = times.partition(|at| *at <= now);
    if let Some(first) = soon.into_iter().min() {
        decision.look_again(first);
    }
    let wanted = json!({
        "replicas": active.len(),
        "fullyLabeledReplicas": labelled.count(),
        "readyReplicas": active.iter().filter(|pod| pods::is_ready(pod)).count(),
        "availableReplicas": available.len(),
        "terminatingReplicas": leaving,
        "observedGeneration": set.generation(),
    });
    if let Some(status) = difference(&set.status, wanted) {
        decision.push(Deed::status(me.clone(), set, status), "its pods changed");
    }
}

fn note(me: &Ref, set: &ReplicaSet, reason: &str, message: String) -> Note {
    Note {
        about: me.clone(),
        uid: set.uid().to_owned(),
        warning: false,
        reason: reason.to_owned(),
        message,
    }
}
