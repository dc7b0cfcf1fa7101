//! Which pods of a job have succeeded and failed, and what lets a pod go.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::control::job::indexes;
use crate::control::job::view::{TRACKING, View};
use crate::control::pods;
use crate::object::Facts;
use crate::operation::{Decision, Deed};
use crate::reference::{Kind, Ref};
use crate::world::World;

/// Which index a pod has.
pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Pods counted in one transaction, at most.
const MAX_COUNTED: usize = 100;

/// The count, with what is counted now.
pub(crate) struct Tally<'w> {
    pub(crate) succeeded: i32,
    pub(crate) failed: i32,
    /// The completed indexes of an indexed job.
    pub(crate) done: BTreeSet<i32>,
    pub(crate) counted: Vec<&'w Arc<Pod>>,
}

impl<'w> Tally<'w> {
    pub(crate) fn of(view: &View<'w>) -> Self {
        let status = &view.status;
        let mut tally = Self {
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            done: indexes::read(status.completed_indexes.as_deref().unwrap_or_default()),
            counted: view.uncounted.iter().copied().take(MAX_COUNTED).collect(),
        };
        for pod in tally.counted.clone() {
            match (pods::phase(pod), index(pod)) {
                ("Succeeded", Some(index)) if view.is_indexed() => {
                    tally.done.insert(index);
                }
                ("Succeeded", _) => tally.succeeded += 1,
                // Whoever suspends a job fails nothing.
                ("Failed", _) => tally.failed += 1,
                _ if view.is_suspended() => {}
                _ => tally.failed += 1,
            }
        }
        if view.is_indexed() {
            let completions = view.spec.completions.unwrap_or(0);
            tally.done.retain(|index| (0..completions).contains(index));
            tally.succeeded = i32::try_from(tally.done.len()).unwrap_or(i32::MAX);
        }
        tally
    }
}

/// The completion index of a pod.
pub(crate) fn index(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// Takes the finalizer away.
pub(crate) fn let_go(pod: &Pod) -> Deed {
    let finalizers = pod.meta().finalizers.iter().flatten();
    let rest: Vec<_> = finalizers.filter(|name| *name != TRACKING).collect();
    let target = Ref::to::<Pod>(pod.namespace(), pod.name());
    Deed::patch(target, pod, json!({ "metadata": { "finalizers": rest } }))
}

/// Deletes a pod that shall not count.
pub(crate) fn give_up(pod: &Pod, cause: &str, decision: &mut Decision) {
    if pod.has_finalizer(TRACKING) {
        decision.push(let_go(pod), cause);
    }
    let target = Ref::to::<Pod>(pod.namespace(), pod.name());
    decision.push(Deed::delete(target, pod), cause);
}

/// Lets pods go whose job is no more.
pub(crate) fn let_orphans_go(world: &World, me: &Ref, uid: Option<&str>, decision: &mut Decision) {
    for pod in world.pods.inside(&me.namespace) {
        let orphan = pod.controller().is_some_and(|owner| {
            owner.kind == Kind::of::<Job>().name
                && owner.name == me.name
                && Some(owner.uid.as_str()) != uid
        });
        if orphan && pod.has_finalizer(TRACKING) {
            decision.push(let_go(pod), "its job is gone");
        }
    }
}
