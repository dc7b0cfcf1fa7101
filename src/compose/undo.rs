//! What a failed plan made and nobody uses is taken away again, so that nothing half-made is left.
//!
//! A container that was started stays, for people to look at; so does one that took the place of
//! another, because it holds that one's volumes. One that failed beside the one it was to replace
//! goes: that one still runs. Networks and volumes go when nothing is on them.

use std::collections::BTreeSet;

use orc_base::Kind;
use orc_host::Host;
use orc_host::container::RemoveOptions;

use crate::plan::{Action, Operation, Plan};

/// The steps to take back, in order. `done` says which steps of the plan succeeded.
pub(crate) fn undone<'p>(plan: &'p Plan, done: &[bool]) -> Vec<&'p Operation> {
    let succeeded = || {
        plan.operations()
            .iter()
            .filter(|operation| done[operation.id])
    };
    let started: BTreeSet<&str> = succeeded()
        .filter_map(|operation| match &operation.action {
            Action::StartContainer { name } | Action::RestartContainer { name, .. } => {
                Some(name.as_str())
            }
            _ => None,
        })
        .collect();
    let made = |thing: &str| {
        plan.operations()
            .iter()
            .find_map(|other| match &other.action {
                Action::CreateContainer { name, .. } if name == thing => Some(other.id),
                _ => None,
            })
    };
    let replaced: BTreeSet<&str> = plan
        .operations()
        .iter()
        .filter_map(|operation| match &operation.action {
            // What is made and removed again took nobody's place.
            Action::RemoveContainer { name, .. } => made(name)
                .is_none_or(|made| operation.id < made)
                .then_some(name.as_str()),
            Action::RemoveNetwork { name } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let newcomers: BTreeSet<usize> = failed_newcomers(plan, done)
        .iter()
        .map(|operation| operation.id)
        .collect();
    let goes = |name: &str| !started.contains(name) && !replaced.contains(name);
    let mut steps: Vec<&Operation> = succeeded()
        .filter(|operation| match &operation.action {
            Action::CreateContainer { name, .. } => goes(name) || newcomers.contains(&operation.id),
            Action::CreateNetwork(spec) => !replaced.contains(spec.name.as_str()),
            Action::CreateVolume(_) => true,
            _ => false,
        })
        .collect();
    // What was made last depends on what was made first.
    steps.reverse();
    steps
}

/// The steps that made containers which were to take the place of others and did not, although those
/// have not been touched.
pub(crate) fn failed_newcomers<'p>(plan: &'p Plan, done: &[bool]) -> Vec<&'p Operation> {
    let steps = plan.operations();
    let untouched = |old: &str| {
        steps.iter().all(|step| match &step.action {
            Action::StopContainer { name, .. } | Action::RemoveContainer { name, .. } => {
                name != old || !done[step.id]
            }
            _ => true,
        })
    };
    let failed: BTreeSet<&str> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::RenameContainer { name, new_name } if untouched(new_name) => {
                (!done[step.id]).then_some(name.as_str())
            }
            _ => None,
        })
        .collect();
    steps
        .iter()
        .filter(|step| done[step.id])
        .filter(|step| match &step.action {
            Action::CreateContainer { name, .. } => failed.contains(name.as_str()),
            _ => false,
        })
        .collect()
}

/// Takes one step back. False when somebody uses what it made, which then stays.
pub(crate) async fn take_back(plan: &Plan, host: &dyn Host, operation: &Operation) -> bool {
    let is_newcomer = |container: &str| {
        plan.operations().iter().any(|step| match &step.action {
            Action::RenameContainer { name, .. } => name == container,
            _ => false,
        })
    };
    let done = match &operation.action {
        Action::CreateContainer { name, .. } => {
            let options = RemoveOptions {
                force: is_newcomer(name),
                volumes: true,
            };
            host.remove_container(name, options).await
        }
        Action::CreateNetwork(spec) => host.remove_network(&spec.name).await,
        Action::CreateVolume(spec) => host.remove_volume(&spec.name, false).await,
        _ => Ok(()),
    };
    match done {
        Ok(()) => true,
        Err(error) => {
            if !matches!(error.kind(), Kind::Conflict | Kind::NotFound) {
                tracing::warn!(%error, step = %operation.action, "could not be taken back");
            }
            false
        }
    }
}
