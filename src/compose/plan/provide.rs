//! When the programs run that stand for services and models, and what has to come before and after.
//!
//! What a program gives is known only when it has run, and containers are made from it. So they run
//! first, round after round, and what they need runs with them; after that the plan of `up` knows all
//! variables and sees which containers have others. A plan from one look (the dry run) has everything
//! in one graph, and says of what exists that it may be replaced.

use std::collections::BTreeSet;

use orc_base::{Error, Result};

use crate::model::Project;
use crate::model::provider::Provider;
use crate::model::service::Service;
use crate::observe::Observed;
use crate::plan::planner::Planner;
use crate::plan::{Action, Plan, Recreate, Up, graph};
use crate::provider::call::{Program, call};
use crate::provider::metadata::Verb;
use crate::provider::{given, models};

/// Plans one round of [`crate::plan::Goal::Provide`]: what can run without variables of another one.
/// Nothing is in it when all is known.
pub(super) fn round(project: &Project, observed: &Observed, options: &Up) -> Result<Plan> {
    let selected = project.select(&options.services)?;
    let scope = match options.no_deps {
        true => selected,
        false => project.with_dependencies(&selected),
    };
    // A circle is told as one.
    graph::order(project, &scope)?;
    let left: BTreeSet<String> = scope
        .iter()
        .filter(|name| is_unknown(project, name))
        .cloned()
        .collect();
    let first = |name: &&String| {
        let needed = project.with_dependencies(&[(*name).clone()].into());
        needed.intersection(&left).count() == 1
    };
    let now: BTreeSet<String> = left.iter().filter(first).cloned().collect();
    let needed = match options.no_deps {
        true => now,
        false => project.with_dependencies(&now),
    };
    let options = Up {
        recreate: Recreate::Diverged,
        recreate_dependencies: Recreate::Diverged,
        remove_orphans: false,
        wait: false,
        ..options.clone()
    };
    let mut planner = Planner::new(project, observed, &options, needed)?;
    for service in scope.iter().filter_map(|name| project.service(name)) {
        planner.prepare_models(service)?;
    }
    planner.fetch()?;
    planner.provide(None)?;
    planner.services()?;
    Ok(match planner.runs_programs() {
        true => planner.plan,
        false => Plan::default(),
    })
}

/// Whether a program stands for the service that has not said what it gives.
fn is_unknown(project: &Project, name: &str) -> bool {
    let service = project.service(name);
    service.is_some_and(|service| service.provider.is_some())
        && !project.provided.services.contains_key(name)
}

/// Refuses replicas of what a program stands for.
pub(super) fn check_scale(service: &Service) -> Result<()> {
    match &service.provider {
        Some(provider) => Err(Error::invalid(format!(
            "service {} cannot be scaled: the provider {} stands for it",
            service.name, provider.program
        ))),
        None => Ok(()),
    }
}

/// Adds the step by which the provider of a service takes it away or lets it rest, if it has one that
/// does. What goes away goes on without it: what is in the way is said.
pub(super) fn end(
    plan: &mut Plan,
    project: &Project,
    observed: &Observed,
    service: &str,
    verb: Verb,
    after: &[usize],
) -> Option<usize> {
    let service = project.services.get(service)?;
    let provider = service.provider.as_ref()?;
    let program = observed.programs.get(&provider.program);
    match call(project, service, provider, verb, program) {
        Ok(call) => {
            let action = Action::RunProvider {
                service: service.name.clone(),
                verb,
                call: Box::new(call?),
            };
            Some(plan.add(Some(&service.name), action, verb.as_str(), after.to_vec()))
        }
        Err(error) => {
            plan.warn(format!(
                "what provides {} stays as it is: {error}",
                service.name
            ));
            None
        }
    }
}

impl<'a> Planner<'a> {
    /// The program that stands for a service runs after all that the service depends on.
    pub(super) fn run_provider(&mut self, service: &'a Service, provider: &Provider) -> Result<()> {
        self.containers.insert(service.name.clone(), Vec::new());
        if !is_unknown(self.project, &service.name) {
            return Ok(());
        }
        let after = match self.options.start {
            true => self.dependencies_of(service),
            false => Vec::new(),
        };
        let program = self.observed.programs.get(&provider.program);
        let call = call(self.project, service, provider, Verb::Up, program)
            .map_err(|error| error.within(format!("service {}", service.name)))?;
        let Some(call) = call else {
            return Ok(());
        };
        let action = Action::RunProvider {
            service: service.name.clone(),
            verb: Verb::Up,
            call: Box::new(call),
        };
        let cause = "asked each time";
        let step = self.plan.add(Some(&service.name), action, cause, after);
        self.starts.insert(service.name.clone(), vec![step]);
        Ok(())
    }

    /// The steps after which all variables of a service are known.
    pub(super) fn given_by(&mut self, service: &'a Service) -> Result<Vec<usize>> {
        let mut steps: Vec<usize> = given::providers_of(self.project, service)
            .filter_map(|name| self.starts.get(name))
            .flatten()
            .copied()
            .collect();
        steps.extend(self.prepare_models(service)?);
        Ok(steps)
    }

    /// Adds the steps that prepare the models of a service, once a model.
    pub(super) fn prepare_models(&mut self, service: &'a Service) -> Result<Vec<usize>> {
        let mut steps = Vec::new();
        for key in service.models.keys() {
            let known = self.project.provided.endpoints.contains_key(key);
            let Some(model) = self.project.models.get(key).filter(|_| !known) else {
                continue;
            };
            if let Some(step) = self.models.get(key) {
                steps.push(*step);
                continue;
            }
            if self.observed.programs.get(models::PROGRAM) == Some(&Program::Missing) {
                return Err(no_models(&service.name));
            }
            let action = Action::PrepareModel {
                key: key.clone(),
                model: Box::new(model.clone()),
                call: Box::new(models::call(self.project, Vec::new())),
            };
            let cause = format!("{} uses it", service.name);
            let step = self.plan.add(None, action, cause, Vec::new());
            self.models.insert(key.clone(), step);
            steps.push(step);
        }
        Ok(steps)
    }

    fn runs_programs(&self) -> bool {
        self.plan.operations().iter().any(|step| {
            matches!(
                step.action,
                Action::RunProvider { .. } | Action::PrepareModel { .. }
            )
        })
    }

    /// Says what cannot be known of a service whose providers have not been asked.
    pub(super) fn warn_of_unknown(&mut self, service: &Service) {
        if given::knows_all(self.project, service) {
            return;
        }
        let exists = !self.observed.of_service(&service.name).is_empty();
        let asked =
            given::providers_of(self.project, service).all(|name| self.replicas.contains_key(name));
        let name = &service.name;
        match (asked, exists) {
            (true, true) => self.plan.warn(format!(
                "containers of {name} are replaced when what its providers give has changed, which is known when they have run"
            )),
            (true, false) => {}
            (false, true) => self.plan.warn(format!(
                "what {name} depends on is left alone, its providers too: containers of {name} keep the variables that they have, and new ones get none"
            )),
            (false, false) => self.plan.warn(format!(
                "what {name} depends on is left alone, its providers too: containers of {name} get no variables of theirs"
            )),
        }
    }
}

fn no_models(service: &str) -> Error {
    Error::not_found(format!(
        "service {service} uses models, which the Docker plug-in `{0}` runs, and it is not on this machine: install it, or run a model server as a service and give its address by `environment`",
        models::PROGRAM
    ))
}
