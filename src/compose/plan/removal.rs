//! Stops and removes containers, those that depend on others first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orc_host::container::Container;

use crate::labels;
use crate::model::Project;
use crate::observe::label;
use crate::plan::compare::is_up;
use crate::plan::graph::dependents;
use crate::plan::hooks::before_stop;
use crate::plan::{Action, Plan};

/// How containers are removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Removal<'a> {
    pub(crate) cause: &'a str,
    pub(crate) timeout: Option<Duration>,
    /// Their anonymous volumes too.
    pub(crate) volumes: bool,
}

/// Stops a container when it runs, and removes it. The answer is the last step.
pub(crate) fn remove_container(
    plan: &mut Plan,
    project: &Project,
    container: &Container,
    removal: &Removal<'_>,
    after: &[usize],
) -> usize {
    let service = label(container, labels::SERVICE);
    let (cause, timeout) = (removal.cause, removal.timeout);
    let after = match stop(plan, project, container, cause, timeout, after) {
        Some(step) => vec![step],
        None => after.to_vec(),
    };
    let action = Action::RemoveContainer {
        name: container.name.clone(),
        volumes: removal.volumes,
    };
    plan.add(service, action, removal.cause, after)
}

/// Stops a container when it runs, after its hooks.
pub(crate) fn stop(
    plan: &mut Plan,
    project: &Project,
    container: &Container,
    cause: &str,
    timeout: Option<Duration>,
    after: &[usize],
) -> Option<usize> {
    if !is_up(container) && container.state.pid().is_none() {
        return None;
    }
    let action = Action::StopContainer {
        name: container.name.clone(),
        timeout,
    };
    let service = label(container, labels::SERVICE);
    let after = before_stop(plan, project, container, after);
    Some(plan.add(service, action, cause, after))
}

/// Adds what one container needs, after some steps; the answer is the last one, if there is any.
type AddStep<'f> = dyn Fn(&mut Plan, &Container, &[usize]) -> Option<usize> + 'f;

/// Adds what the program that stands for a service is to do, after some steps.
type AddProgram<'f> = dyn Fn(&mut Plan, &str, &[usize]) -> Option<usize> + 'f;

/// Goes through the services of `order` backwards and lets `step` add what each container needs, and
/// `program` what the program of each service does,
/// after the last steps of all that depend on its service. The answer is all last steps.
pub(crate) fn backwards<'a>(
    plan: &mut Plan,
    project: &Project,
    order: &[String],
    containers: &dyn Fn(&str) -> Vec<&'a Container>,
    step: &AddStep<'_>,
    program: &AddProgram<'_>,
) -> Vec<usize> {
    let scope: BTreeSet<String> = order.iter().cloned().collect();
    let mut ends: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for name in order.iter().rev() {
        let after: Vec<usize> = dependents(project, &scope, name)
            .filter_map(|other| ends.get(other))
            .flatten()
            .copied()
            .collect();
        let mut own: Vec<usize> = containers(name)
            .into_iter()
            .filter_map(|container| step(plan, container, &after))
            .collect();
        own.extend(program(plan, name, &after));
        if own.is_empty() {
            // What depends on a service without containers still comes before what it depends on.
            own = after;
        }
        ends.insert(name, own);
    }
    let mut all: Vec<usize> = ends.into_values().flatten().collect();
    all.sort_unstable();
    all.dedup();
    all
}
