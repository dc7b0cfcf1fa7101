//! Containers that run to their end before a service starts (`pre_start`), one after the other.
//!
//! Each is made, started, waited for and removed. One that fails stays for people to look at, and the
//! next attempt removes it first. Those that run once run before the first replica that is started,
//! the others before each.

use std::collections::BTreeMap;

use orc_base::Result;

use crate::lower::{self, Circumstances, hooks};
use crate::model::Project;
use crate::model::service::{PreStart, Service};
use crate::observe::Observed;
use crate::plan::removal::{Removal, remove_container};
use crate::plan::{Action, Plan, Until};

/// What has been planned to run before services start.
#[derive(Debug, Default)]
pub(super) struct Initial {
    /// The last step of what runs once, by service.
    once: BTreeMap<String, usize>,
}

/// A container that is going to be started.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) project: &'a Project,
    pub(super) observed: &'a Observed,
    pub(super) service: &'a Service,
    pub(super) replica: u64,
    /// The first container of each service.
    pub(super) first_container: &'a BTreeMap<String, String>,
}

impl Initial {
    /// Adds what runs before the container starts, after some steps. The answer is what the start
    /// comes after.
    pub(super) fn before(
        &mut self,
        plan: &mut Plan,
        what: &Before<'_>,
        mut after: Vec<usize>,
    ) -> Result<Vec<usize>> {
        let service = what.service;
        let numbered = || (1_usize..).zip(&service.pre_start);
        if let Some(step) = self.once.get(&service.name) {
            after.push(*step);
        } else {
            let mut last = None;
            for (number, hook) in numbered().filter(|(_, hook)| !hook.per_replica) {
                let name = format!("{}-{}-pre_start-{number}", what.project.name, service.name);
                let step = run(plan, what, hook, number, name, after)?;
                after = vec![step];
                last = Some(step);
            }
            if let Some(step) = last {
                self.once.insert(service.name.clone(), step);
            }
        }
        for (number, hook) in numbered().filter(|(_, hook)| hook.per_replica) {
            let name = format!(
                "{}-{}-{}-pre_start-{number}",
                what.project.name, service.name, what.replica
            );
            after = vec![run(plan, what, hook, number, name, after)?];
        }
        Ok(after)
    }
}

/// Adds the steps of one container. The answer is the one after which it has ended well.
fn run(
    plan: &mut Plan,
    what: &Before<'_>,
    hook: &PreStart,
    number: usize,
    name: String,
    mut after: Vec<usize>,
) -> Result<usize> {
    let (project, service) = (what.project, what.service);
    let cause = format!("pre_start {number} of {}", service.name);
    let mut left = what.observed.containers.iter();
    if let Some(left) = left.find(|container| container.name == name) {
        let removal = Removal {
            cause: "left by an earlier attempt",
            timeout: None,
            volumes: true,
        };
        after.push(remove_container(plan, project, left, &removal, &[]));
    }
    let own = lower::container(
        project,
        service,
        &Circumstances {
            name: &name,
            number: what.replica,
            image_id: None,
            first_container: what.first_container,
        },
    )?;
    let spec = Box::new(hooks::before_start(project, service, hook, own));
    let mut add = |action, after| plan.add(Some(&service.name), action, cause.as_str(), after);
    let create = Action::CreateContainer {
        name: name.clone(),
        spec,
    };
    let created = add(create, after);
    let started = add(Action::StartContainer { name: name.clone() }, vec![created]);
    let wait = Action::Wait {
        service: service.name.clone(),
        containers: vec![name.clone()],
        until: Until::Completed,
        required: true,
        timeout: None,
    };
    let ended = add(wait, vec![started]);
    let remove = Action::RemoveContainer {
        name,
        volumes: true,
    };
    add(remove, vec![ended]);
    Ok(ended)
}
