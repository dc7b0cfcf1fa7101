//! `start`, `stop`, `restart`, `kill` and `rm`: containers that exist, as they are.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result};
use orc_host::container::Container;

use crate::model::Project;
use crate::observe::{Observed, number};
use crate::plan::compare::{ends_for_good, has_completed, is_so_far, is_up};
use crate::plan::hooks;
use crate::plan::initial::{Before, Initial};
use crate::plan::orphans::{orphans, warn_of};
use crate::plan::removal::{self, Removal, backwards, remove_container};
use crate::plan::{Action, Kill, Plan, Remove, Restart, Start, Stop, Until, graph, provide};
use crate::provider::metadata::Verb;

/// Plans `start`.
pub(super) fn start(project: &Project, observed: &Observed, options: &Start) -> Result<Plan> {
    let selected = project.select(&options.services)?;
    let scope = project.with_dependencies(&selected);
    let mut plan = Plan::default();
    let mut initial = Initial::default();
    let first_container = first_containers(project, observed);
    let mut starts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut waits: BTreeMap<(String, u8, bool), usize> = BTreeMap::new();
    for name in graph::order(project, &scope)? {
        let containers = observed.of_service(&name);
        if containers.is_empty() && options.services.contains(&name) {
            return Err(Error::not_found(format!(
                "service \"{name}\" has no container to start: make it with `orc up`"
            )));
        }
        let Some(service) = project.service(&name) else {
            continue;
        };
        let resting: Vec<&&Container> = containers
            .iter()
            .filter(|container| !is_up(container))
            .filter(|container| !is_finished(project, &name, container))
            .collect();
        if resting.is_empty() {
            continue;
        }
        let mut after = Vec::new();
        for (other, dependency) in &service.depends_on {
            let others = observed.of_service(other);
            let started = starts.get(other).cloned().unwrap_or_default();
            after.extend(&started);
            let Some(until) = Until::of(dependency.condition) else {
                continue;
            };
            let settled = others.is_empty()
                || (started.is_empty()
                    && others.iter().all(|container| is_so_far(container, until)));
            if settled {
                continue;
            }
            let key = (other.clone(), until as u8, dependency.required);
            let step = *waits.entry(key).or_insert_with(|| {
                let action = Action::Wait {
                    service: other.clone(),
                    containers: names(&others),
                    until,
                    required: dependency.required,
                    timeout: options.wait_timeout,
                };
                plan.add(
                    Some(other),
                    action,
                    format!("{name} depends on it"),
                    started,
                )
            });
            after.push(step);
        }
        for container in resting {
            let action = Action::StartContainer {
                name: container.name.clone(),
            };
            let before = Before {
                project,
                observed,
                service,
                replica: number(container),
                first_container: &first_container,
            };
            let after = initial.before(&mut plan, &before, after.clone())?;
            let step = plan.add(Some(&name), action, "start", after);
            let step = hooks::after_start(&mut plan, project, service, &container.name, step);
            starts.entry(name.clone()).or_default().push(step);
        }
    }
    if options.wait {
        for name in &scope {
            let containers = observed.of_service(name);
            let started = starts.get(name).cloned().unwrap_or_default();
            let settled = started.is_empty()
                && containers
                    .iter()
                    .all(|container| is_so_far(container, Until::Ready));
            if !settled {
                let action = Action::Wait {
                    service: name.clone(),
                    containers: names(&containers),
                    until: Until::Ready,
                    required: true,
                    timeout: options.wait_timeout,
                };
                plan.add(Some(name), action, "asked to wait", started);
            }
        }
    }
    Ok(plan)
}

/// The first container of each service.
fn first_containers(project: &Project, observed: &Observed) -> BTreeMap<String, String> {
    let services = project.services.keys().chain(project.disabled.keys());
    services
        .filter_map(|name| {
            Some((
                name.clone(),
                observed.of_service(name).first()?.name.clone(),
            ))
        })
        .collect()
}

/// Whether others wait for the end of this one-shot, and it has ended well.
fn is_finished(project: &Project, service: &str, container: &Container) -> bool {
    let waited_for = project.services.values().any(|other| {
        let dependency = other.depends_on.get(service);
        dependency
            .is_some_and(|dependency| Until::of(dependency.condition) == Some(Until::Completed))
    });
    waited_for && has_completed(container) && ends_for_good(container.spec.restart)
}

/// Plans `stop`.
pub(super) fn stop(project: &Project, observed: &Observed, options: &Stop) -> Result<Plan> {
    let mut plan = Plan::default();
    let order = graph::order(project, &selected(project, &options.services)?)?;
    backwards(
        &mut plan,
        project,
        &order,
        &|service| observed.of_service(service),
        &|plan, container, after| {
            removal::stop(plan, project, container, "stop", options.timeout, after)
        },
        &|plan, service, after| provide::end(plan, project, observed, service, Verb::Stop, after),
    );
    Ok(plan)
}

/// Plans `restart`.
pub(super) fn restart(project: &Project, observed: &Observed, options: &Restart) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut scope = selected(project, &options.services)?;
    if !options.no_deps {
        draw_in_dependents(project, &mut scope);
    }
    let mut restarts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for name in graph::order(project, &scope)? {
        let after: Vec<usize> = graph::needs(project, &name)
            .filter_map(|other| restarts.get(other))
            .flatten()
            .copied()
            .collect();
        for container in observed.of_service(&name) {
            let after = hooks::before_stop(&mut plan, project, container, &after);
            let action = Action::RestartContainer {
                name: container.name.clone(),
                timeout: options.timeout,
            };
            let mut step = plan.add(Some(&name), action, "restart", after);
            if let Some(service) = project.service(&name) {
                step = hooks::after_start(&mut plan, project, service, &container.name, step);
            }
            restarts.entry(name.clone()).or_default().push(step);
        }
    }
    Ok(plan)
}

/// Adds services that ask to be restarted with what they depend on.
fn draw_in_dependents(project: &Project, scope: &mut BTreeSet<String>) {
    loop {
        let more: Vec<String> = project
            .services
            .values()
            .filter(|service| !scope.contains(&service.name))
            .filter(|service| {
                let mut dependencies = service.depends_on.iter();
                dependencies.any(|(other, dependency)| dependency.restart && scope.contains(other))
            })
            .map(|service| service.name.clone())
            .collect();
        if more.is_empty() {
            return;
        }
        scope.extend(more);
    }
}

/// Plans `kill`.
pub(super) fn kill(project: &Project, observed: &Observed, options: &Kill) -> Result<Plan> {
    let mut plan = Plan::default();
    let scope = selected(project, &options.services)?;
    let mut victims: Vec<&Container> = scope
        .iter()
        .flat_map(|name| observed.of_service(name))
        .collect();
    let orphans = orphans(project, observed);
    match options.remove_orphans {
        true => victims.extend(orphans),
        false => warn_of(&orphans, project, &mut plan),
    }
    for container in victims
        .into_iter()
        .filter(|container| container.state.is_running())
    {
        let action = Action::KillContainer {
            name: container.name.clone(),
            signal: options.signal.clone(),
        };
        let service = crate::observe::label(container, crate::labels::SERVICE);
        plan.add(service, action, "kill", Vec::new());
    }
    Ok(plan)
}

/// Plans `rm`: one-offs are containers of their service too.
pub(super) fn remove(project: &Project, observed: &Observed, options: &Remove) -> Result<Plan> {
    let mut plan = Plan::default();
    let order = graph::order(project, &selected(project, &options.services)?)?;
    let removal = Removal {
        cause: "rm",
        timeout: None,
        volumes: options.volumes,
    };
    backwards(
        &mut plan,
        project,
        &order,
        &|service| {
            super::down::of_service(observed, service)
                .into_iter()
                .filter(|container| options.stop || !is_up(container))
                .collect()
        },
        &|plan, container, after| Some(remove_container(plan, project, container, &removal, after)),
        &|_, _, _| None,
    );
    Ok(plan)
}

/// The named services, or all, also those that are off: their containers may exist.
fn selected(project: &Project, names: &[String]) -> Result<BTreeSet<String>> {
    match names {
        [] => Ok(project
            .services
            .keys()
            .chain(project.disabled.keys())
            .cloned()
            .collect()),
        names => project.select(names),
    }
}

fn names(containers: &[&Container]) -> Vec<String> {
    containers
        .iter()
        .map(|container| container.name.clone())
        .collect()
}
