//! `up`: what has to be made, replaced, started and waited for.
//!
//! Services are gone through in the order of their dependencies; each container is kept, started,
//! made or replaced. A second `up` with nothing changed adds nothing. A container that is replaced
//! runs until all it needs is there: stop, remove, create and start follow each other at the end.
//! Where the file gives an update a course (`rolling.rs`), replicas are replaced lot after lot.

use orc_base::Result;
use orc_host::container::Container;

use crate::lower;
use crate::model::Project;
use crate::model::service::Service;
use crate::observe::Observed;
use crate::plan::compare::{self, is_up};
use crate::plan::fate::{Fate, fates};
use crate::plan::orphans::{orphans, warn_of};
use crate::plan::planner::{Planner, replica};
use crate::plan::{Action, Plan, Until, Up, hooks};

/// Plans `up` or `create`.
pub(super) fn plan(project: &Project, observed: &Observed, options: &Up) -> Result<Plan> {
    let selected = project.select(&options.services)?;
    let scope = match options.no_deps {
        true => selected,
        false => project.with_dependencies(&selected),
    };
    let planner = Planner::new(project, observed, options, scope)?;
    planner.all()
}

impl<'a> Planner<'a> {
    fn all(mut self) -> Result<Plan> {
        self.fetch()?;
        self.provide(None)?;
        self.services()?;
        self.orphans();
        if self.options.wait && self.options.start {
            self.wait_for_all();
        }
        Ok(self.plan)
    }

    /// Images of services that need another container, before anything is made.
    pub(super) fn fetch(&mut self) -> Result<()> {
        for name in self.order.clone() {
            let Some(service) = self.project.service(&name) else {
                continue;
            };
            let wanted = self.replicas.get(&name).copied().unwrap_or(0);
            let existing = self.observed.of_service(&name);
            let missing = (existing.len() as u64) < wanted;
            let replaced = wanted > 0
                && existing
                    .iter()
                    .any(|container| self.cause(service, container).is_some());
            if missing || replaced {
                self.image(service)?;
            }
        }
        Ok(())
    }

    pub(super) fn services(&mut self) -> Result<()> {
        for name in self.order.clone() {
            if let Some(service) = self.project.service(&name) {
                self.service(service)?;
            }
        }
        Ok(())
    }

    fn service(&mut self, service: &'a Service) -> Result<()> {
        if let Some(provider) = &service.provider {
            return self.run_provider(service, provider);
        }
        self.warn_of_unknown(service);
        let mut fates = self.fates(service);
        let makes = fates
            .iter()
            .any(|fate| matches!(fate, Fate::Replace(..) | Fate::Create(_)));
        let pull = match makes {
            true => self.image(service)?,
            false => None,
        };
        let mut update = self.update(service, &fates)?;
        if update.is_some() {
            // An update that was cut short goes on where it ended: what it began has to work first.
            fates.sort_by_key(|fate| matches!(fate, Fate::Replace(..)));
        }
        let mut names = Vec::new();
        for fate in fates {
            let name = match fate {
                Fate::Keep(container) => {
                    self.keep(service, container);
                    self.right_name(service, container).0
                }
                Fate::Start(container) => {
                    let cause = match compare::has_completed(container) {
                        true => "has ended",
                        false => "does not run",
                    };
                    let (name, renamed) = self.right_name(service, container);
                    let replica = replica(container);
                    let started = self.start(service, replica, &name, cause, &renamed)?;
                    if let (Some(update), Some(started)) = (&mut update, started) {
                        let proof = self.prove(service, &name, update, None, started);
                        update.before.push(proof);
                    }
                    name
                }
                Fate::Replace(old, cause) => match &mut update {
                    Some(update) => self.renew(service, old, cause, pull, update)?,
                    None => self.replace(service, old, cause, pull, &[])?.0,
                },
                Fate::Create(number) => self.create(service, number, pull)?,
            };
            names.push(name);
        }
        self.containers.insert(service.name.clone(), names);
        Ok(())
    }

    /// Decides about each replica; surplus ones are removed at once.
    fn fates(&mut self, service: &'a Service) -> Vec<Fate<'a>> {
        let wanted = self.replicas.get(&service.name).copied().unwrap_or(1);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let existing = self.observed.of_service(&service.name);
        let existing = existing
            .into_iter()
            .map(|container| (container, self.cause(service, container)))
            .collect();
        let decided = fates(existing, wanted, &|container| {
            self.is_done(service, container)
        });
        for (container, cause) in decided.surplus {
            self.remove(container, cause);
        }
        decided.replicas
    }

    /// A container that runs as it should is only restarted after what it depends on, if it says so.
    fn keep(&mut self, service: &'a Service, container: &Container) {
        let because = service
            .depends_on
            .iter()
            .find(|(other, dependency)| dependency.restart && self.renewed.contains(*other))
            .map(|(other, _)| other.clone());
        let Some(other) = because.filter(|_| self.options.start && is_up(container)) else {
            return;
        };
        let after = self.dependencies_of(service);
        let after = hooks::before_stop(&mut self.plan, self.project, container, &after);
        let action = Action::RestartContainer {
            name: container.name.clone(),
            timeout: self.options.timeout,
        };
        let cause = format!("{other} was renewed");
        let step = self.plan.add(Some(&service.name), action, cause, after);
        let name = &container.name;
        let step = hooks::after_start(&mut self.plan, self.project, service, name, step);
        self.starts
            .entry(service.name.clone())
            .or_default()
            .push(step);
        self.renewed.insert(service.name.clone());
    }

    fn create(&mut self, service: &'a Service, number: u64, pull: Option<usize>) -> Result<String> {
        let name = lower::container_name(self.project, service, number);
        let mut after = self.resources.of(service);
        after.extend(pull);
        let made = self.make(service, number, &name, None, after, "does not exist")?;
        self.start(service, number, &name, "does not run", &[made])?;
        Ok(name)
    }

    fn wait_for_all(&mut self) {
        for name in self.order.clone() {
            let containers = self.containers.get(&name).cloned().unwrap_or_default();
            self.wait(&name, containers, Until::Ready, true, "asked to wait");
        }
    }

    /// Containers of services that the files do not know.
    fn orphans(&mut self) {
        let orphans = orphans(self.project, self.observed);
        if self.options.remove_orphans {
            for container in orphans {
                self.remove(container, "orphan");
            }
        } else {
            warn_of(&orphans, self.project, &mut self.plan);
        }
    }
}
