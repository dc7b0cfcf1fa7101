//! Deployments: replica sets that follow one another, so that a new template rolls out.
//!
//! A decision takes one step and ends: what it changes comes back as a change, and the next decision takes
//! the next step. Order: annotations and revisions, then sizes, then status. Steps and texts are those of
//! Kubernetes' controller, since `kubectl rollout` reads them.

mod scaling;
mod sets;
mod status;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use orc_base::Time;

use crate::control::Rule;
use crate::control::claim::claim;
use crate::control::deployment::sets::Family;
use crate::control::replica_set::owners_of;
use crate::labels;
use crate::object::Facts;
use crate::operation::Decision;
use crate::reference::{Kind, Ref};
use crate::world::{Change, World};

/// The rule.
#[derive(Debug, Default)]
pub struct Deployments;

impl Rule for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn concerns(&self, world: &World, change: &Change) -> Vec<Ref> {
        let kind = Kind::of::<Deployment>();
        let namespace = &change.target.namespace;
        match change.target.kind {
            own if own == kind => vec![change.target.clone()],
            set if set == Kind::of::<ReplicaSet>() => {
                let strays = change.after.iter().filter(|set| set.controller().is_none());
                let pickers = strays.flat_map(|set| {
                    let all = world.deployments.inside(namespace);
                    all.filter(|d| {
                        let spec = d.spec.as_ref();
                        spec.is_some_and(|spec| labels::matches(&spec.selector, set.labels()))
                    })
                    .map(|d| Ref::to::<Deployment>(d.namespace(), d.name()))
                    .collect::<Vec<_>>()
                });
                owners_of(change, kind).into_iter().chain(pickers).collect()
            }
            // A `Recreate` waits for the last old pod.
            pod if pod == Kind::of::<k8s_openapi::api::core::v1::Pod>() => {
                let sets = owners_of(change, Kind::of::<ReplicaSet>());
                let sets = sets.iter().filter_map(|set| world.seen(set));
                sets.filter_map(|set| {
                    let owner = set.controller()?;
                    (owner.kind == kind.name).then(|| Ref::to::<Deployment>(namespace, &owner.name))
                })
                .collect()
            }
            _ => Vec::new(),
        }
    }

    fn decide(&self, world: &World, me: &Ref, now: Time) -> Decision {
        let mut decision = Decision::default();
        let Some(deployment) = world.deployments.get(&me.namespace, &me.name) else {
            return decision;
        };
        let Some(spec) = &deployment.spec else {
            return decision;
        };
        let around = world.around::<ReplicaSet>(deployment.uid(), &me.namespace);
        let around = around.filter_map(|set| world.replica_sets.get(&set.namespace, &set.name));
        let own = claim(me, &**deployment, &spec.selector, around, &mut decision);
        let family = Family::new(me, deployment, spec, own);
        if !deployment.is_leaving() {
            step(world, &family, &mut decision);
        }
        // What was changed comes back; the status is told when nothing is left to change.
        if decision.operations.is_empty() {
            status::report(&family, now, &mut decision);
        }
        decision
    }
}

/// One step towards what is wanted.
fn step(world: &World, family: &Family<'_>, decision: &mut Decision) {
    let wait_for_pods = family.recreates() && sets::old_pods_remain(world, family);
    family.revise(decision);
    if !decision.operations.is_empty() {
        return;
    }
    if family.is_paused() || family.was_scaled() {
        scaling::follow_size(family, decision);
    } else if family.recreates() {
        scaling::recreate(world, family, wait_for_pods, decision);
    } else {
        scaling::roll(world, family, decision);
    }
    if decision.operations.is_empty() {
        family.forget_history(decision);
    }
}

/// How many replicas a deployment wants, and how many more and fewer there may be.
#[cfg(test)]
pub(crate) fn bounds_of(deployment: &Deployment) -> (i32, i32, i32) {
    let me = Ref::to::<Deployment>(deployment.namespace(), deployment.name());
    let spec = deployment.spec.clone().unwrap_or_default();
    let family = Family::new(&me, deployment, &spec, Vec::new());
    let (surge, unavailable) = family.bounds();
    (family.wanted(), surge, unavailable)
}
