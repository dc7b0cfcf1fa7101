//! How many pods of a job run at once, and how they are made.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::control::claim::reference;
use crate::control::job::count::{self, INDEX, Tally};
use crate::control::job::view::{TRACKING, View};
use crate::control::{names, pods};
use crate::object::Facts;
use crate::operation::{Decision, Deed};
use crate::reference::Ref;
use crate::world::World;

/// Pods made in one decision, at most.
const BURST: usize = 500;

/// Makes what is missing and deletes what is too much.
pub(crate) fn adjust(world: &World, view: &View<'_>, tally: &Tally<'_>, decision: &mut Decision) {
    // Without its finalizer it would end uncounted.
    let (tracked, lost): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) = view
        .active
        .iter()
        .copied()
        .partition(|pod| pod.has_finalizer(TRACKING));
    for pod in lost {
        count::give_up(pod, "it cannot be counted", decision);
    }
    let wanted = wanted(view, tally, tracked.len());
    let mut surplus = tracked.clone();
    surplus.sort_by_cached_key(|pod| pods::rank(pod, 0));
    for pod in surplus.iter().take(tracked.len().saturating_sub(wanted)) {
        count::give_up(
            pod,
            &format!("{} of {wanted} are there", tracked.len()),
            decision,
        );
    }
    let replaced_late = view.spec.pod_replacement_policy.as_deref() == Some("Failed");
    let there = tracked.len() + if replaced_late { view.leaving } else { 0 };
    let missing = wanted.saturating_sub(there).min(BURST);
    if missing == 0 {
        return;
    }
    if let Some(next) = view.next_try(tally.failed).filter(|next| *next > view.now) {
        decision.look_again(next);
        return;
    }
    create(world, view, tally, &tracked, missing, decision);
}

fn wanted(view: &View<'_>, tally: &Tally<'_>, active: usize) -> usize {
    if view.is_suspended() {
        return 0;
    }
    let parallelism = view.spec.parallelism.unwrap_or(1);
    let wanted = match view.spec.completions {
        Some(completions) => parallelism.min(completions - tally.succeeded),
        // A queue of work: once one has succeeded, nobody new starts.
        None if tally.succeeded > 0 => i32::try_from(active).unwrap_or(i32::MAX).min(parallelism),
        None => parallelism,
    };
    usize::try_from(wanted).unwrap_or(0)
}

fn create(
    world: &World,
    view: &View<'_>,
    tally: &Tally<'_>,
    active: &[&Arc<Pod>],
    missing: usize,
    decision: &mut Decision,
) {
    let namespace = &view.me.namespace;
    let taken = |name: &str| world.pods.get(namespace, name).is_some();
    let cause = format!("{missing} missing");
    if !view.is_indexed() {
        for name in names::free(&view.me.name, view.job.uid(), missing, taken) {
            decision.push(pod(view, &name, None), cause.clone());
        }
        return;
    }
    let running: BTreeSet<i32> = active.iter().filter_map(|pod| count::index(pod)).collect();
    let completions = view.spec.completions.unwrap_or(0);
    let due = (0..completions).filter(|i| !tally.done.contains(i) && !running.contains(i));
    for index in due.take(missing) {
        let base = format!("{}-{index}", names::cut(&view.me.name, 50));
        let uid = format!("{}/{index}", view.job.uid());
        for name in names::free(&base, &uid, 1, taken) {
            decision.push(
                pod(view, &name, Some(index)),
                format!("index {index} is missing"),
            );
        }
    }
}

fn pod(view: &View<'_>, name: &str, index: Option<i32>) -> Deed {
    let target = Ref::to::<Pod>(&view.me.namespace, name);
    let owner = reference(view.me, view.job);
    let prefix = format!("{}-", view.me.name);
    let mut object = pods::from_template(&view.spec.template, &target, &prefix, &owner);
    object["metadata"]["finalizers"] = json!([TRACKING]);
    let labels = &mut object["metadata"]["labels"];
    for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
        labels[key] = json!(view.job.uid());
    }
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        labels[key] = json!(view.me.name);
    }
    if let Some(index) = index {
        labels[INDEX] = json!(index.to_string());
        object["metadata"]["annotations"][INDEX] = json!(index.to_string());
        number(&mut object["spec"], &view.me.name, index);
    }
    Deed::Create { target, object }
}

/// Tells a pod of an indexed job which one it is: its host name and a variable.
fn number(spec: &mut Value, job: &str, index: i32) {
    if spec["hostname"].is_null() {
        spec["hostname"] = json!(format!("{job}-{index}"));
    }
    let path = format!("metadata.annotations['{INDEX}']");
    let variable = json!({
        "name": "JOB_COMPLETION_INDEX",
        "valueFrom": { "fieldRef": { "fieldPath": path } },
    });
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            match container["env"].as_array_mut() {
                Some(env) if env.iter().any(|v| v["name"] == variable["name"]) => {}
                Some(env) => env.push(variable.clone()),
                None => container["env"] = json!([variable]),
            }
        }
    }
}
