//! The plan of an `up` that is being made, and how single steps are added to it.
//!
//! `up.rs` decides what happens to which container, `update.rs` in which order replicas are replaced;
//! here a decision becomes steps with causes, each after all that it needs.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::Result;
use orc_host::container::Container;

use crate::image_build::Overrides;
use crate::lower::{self, Circumstances};
use crate::model::Project;
use crate::model::service::{Condition, Service};
use crate::observe::{Observed, number};
use crate::plan::builds::Builds;
use crate::plan::carry::{carried, carry_over};
use crate::plan::compare::{self, divergence, has_completed, is_so_far};
use crate::plan::initial::{Before, Initial};
use crate::plan::refuse::{self, Refusals};
use crate::plan::removal::{Removal, remove_container};
use crate::plan::resources::{self, Resources};
use crate::plan::{Action, Plan, Recreate, Until, Up, graph, hooks, images, provide, rolling};

/// `up` says nothing about builds beside the files.
static NO_OVERRIDES: Overrides = Overrides {
    args: BTreeMap::new(),
    no_cache: false,
    pull: false,
    memory_bytes: None,
    ssh: Vec::new(),
    check: false,
};

/// A plan of `up` that is being made: what is known by now, and the steps there are.
pub(super) struct Planner<'a> {
    pub(super) project: &'a Project,
    pub(super) observed: &'a Observed,
    pub(super) options: &'a Up,
    pub(super) plan: Plan,
    pub(super) order: Vec<String>,
    pub(super) replicas: BTreeMap<String, u64>,
    pub(super) resources: Resources,
    /// The steps that fetch and build images.
    pub(super) builds: Builds<'a>,
    /// The first container of each service, made or to be made.
    pub(super) first_container: BTreeMap<String, String>,
    /// All containers of each service that has been gone through.
    pub(super) containers: BTreeMap<String, Vec<String>>,
    /// The steps that make containers of each service.
    pub(super) creates: BTreeMap<String, Vec<usize>>,
    /// The steps that start containers of each service.
    pub(super) starts: BTreeMap<String, Vec<usize>>,
    /// Services of which a container that existed was replaced or restarted.
    pub(super) renewed: BTreeSet<String>,
    pub(super) waits: BTreeMap<(String, u8, bool), usize>,
    /// The steps that remove containers whose names others can have.
    pub(super) gone: BTreeMap<String, usize>,
    /// What runs to its end before services start.
    pub(super) initial: Initial,
    /// The steps that prepare models, by their key in the file.
    pub(super) models: BTreeMap<String, usize>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        project: &'a Project,
        observed: &'a Observed,
        options: &'a Up,
        mut scope: BTreeSet<String>,
    ) -> Result<Self> {
        scope.extend(resources::drawn_in(project, observed, &scope));
        let renew = &options.renew_volumes;
        scope.extend(resources::drawn_in_by_volumes(
            project, observed, &scope, renew,
        ));
        let mut plan = Plan::default();
        let mut refusals = Refusals::default();
        refuse::findings(project, &scope, &mut plan, &mut refusals);
        for name in options.scale.keys() {
            let Some(service) = project.service(name) else {
                return Err(project.no_such_service(name));
            };
            provide::check_scale(service)?;
        }
        let replicas: BTreeMap<String, u64> = scope
            .iter()
            .filter_map(|name| project.service(name))
            .map(|service| {
                let count = options.scale.get(&service.name).copied();
                (
                    service.name.clone(),
                    count.unwrap_or_else(|| service.replicas()),
                )
            })
            .collect();
        for service in scope.iter().filter_map(|name| project.service(name)) {
            rolling::check(service)?;
        }
        refuse::numbers(project, &replicas, &mut refusals);
        refuse::ports(project, &replicas, &mut refusals)?;
        refusals.end()?;
        let order = graph::order(project, &scope)?;
        let mut planner = Self {
            project,
            observed,
            options,
            plan,
            order,
            replicas,
            resources: Resources::default(),
            builds: Builds::new(project, observed, &NO_OVERRIDES),
            first_container: BTreeMap::new(),
            containers: BTreeMap::new(),
            creates: BTreeMap::new(),
            starts: BTreeMap::new(),
            renewed: BTreeSet::new(),
            waits: BTreeMap::new(),
            gone: BTreeMap::new(),
            initial: Initial::default(),
            models: BTreeMap::new(),
        };
        planner.find_first_containers();
        Ok(planner)
    }

    /// The step that fetches a service's image, if there has to be one. Further images that it uses
    /// are fetched too.
    pub(super) fn image(&mut self, service: &Service) -> Result<Option<usize>> {
        images::provide_further(&mut self.plan, &mut self.builds, service, self.options)?;
        images::provide(&mut self.plan, &mut self.builds, service, self.options)
    }

    /// Networks and volumes of the services in scope that have replicas, and of one more.
    pub(super) fn provide(&mut self, extra: Option<&'a Service>) -> Result<()> {
        let services: Vec<&Service> = self
            .order
            .iter()
            .filter(|name| self.replicas.get(*name).is_some_and(|count| *count > 0))
            .filter_map(|name| self.project.service(name))
            .chain(extra)
            .collect();
        let pulls: Vec<usize> = self.builds.steps.values().copied().collect();
        self.resources = resources::provide(
            &mut self.plan,
            self.project,
            self.observed,
            &services,
            &pulls,
            &self.options.renew_volumes,
        )?;
        Ok(())
    }

    /// Names by which others share namespaces, before anything is decided.
    pub(super) fn find_first_containers(&mut self) {
        let services = self
            .project
            .services
            .values()
            .chain(self.project.disabled.values());
        for service in services {
            let existing = self.observed.of_service(&service.name);
            let name = match existing
                .first()
                .filter(|_| !self.replicas.contains_key(&service.name))
            {
                Some(container) => container.name.clone(),
                None if self.replicas.contains_key(&service.name) => {
                    let first = existing.first().map_or(1, |container| number(container));
                    lower::container_name(
                        self.project,
                        service,
                        if first == u64::MAX { 1 } else { first },
                    )
                }
                None => continue,
            };
            self.first_container.insert(service.name.clone(), name);
        }
    }

    /// Why an existing container has to be replaced.
    pub(super) fn cause(&self, service: &Service, container: &Container) -> Option<&'static str> {
        if let Some(gone) = self.resources.removed.get(&container.name) {
            return Some(gone.cause);
        }
        let named = &self.options.services;
        let recreate = match named.is_empty() || named.contains(&service.name) {
            true => self.options.recreate,
            false => self.options.recreate_dependencies,
        };
        match recreate {
            Recreate::Never => None,
            Recreate::Force => Some("forced"),
            Recreate::Diverged => divergence(self.project, service, self.observed, container)
                .or_else(|| {
                    self.resources
                        .renews_network_of(service)
                        .then_some("network changed")
                })
                .or_else(|| {
                    self.shares_renewed(service)
                        .then_some("a service it shares with was renewed")
                }),
        }
    }

    /// Whether a service whose namespaces this one uses has been made anew.
    pub(super) fn shares_renewed(&self, service: &Service) -> bool {
        service
            .shares_with()
            .any(|other| self.renewed.contains(other))
    }

    /// Whether a one-shot that others wait for, or a job, has ended well and need not run again.
    pub(super) fn is_done(&self, service: &Service, container: &Container) -> bool {
        let waited_for = self.project.services.values().any(|other| {
            other
                .depends_on
                .get(&service.name)
                .is_some_and(|dependency| {
                    dependency.condition == Condition::ServiceCompletedSuccessfully
                })
        });
        (waited_for || service.is_job())
            && has_completed(container)
            && lower::restart(service).is_ok_and(compare::ends_for_good)
    }

    /// Stops and removes the old one when all the new one needs is there, and steps of `before` are
    /// done. The second is the last step.
    pub(super) fn replace(
        &mut self,
        service: &'a Service,
        old: &Container,
        cause: &'static str,
        pull: Option<usize>,
        before: &[usize],
    ) -> Result<(String, usize)> {
        let number = replica(old);
        let name = lower::container_name(self.project, service, number);
        let mut after = self.resources.of(service);
        after.extend(pull);
        let removed = match self.resources.removed.get(&old.name) {
            Some(gone) => gone.step,
            None => {
                let mut before = [before, &after].concat();
                if self.options.start {
                    before.extend(self.dependencies_of(service));
                }
                let removal = Removal {
                    cause,
                    timeout: self.options.timeout,
                    volumes: self.options.renew_anonymous_volumes,
                };
                self.discard(old, &removal, &before)
            }
        };
        after.push(removed);
        let made = self.make(service, number, &name, Some(old), after, cause)?;
        let started = self.start(service, number, &name, cause, &[made])?;
        self.renewed.insert(service.name.clone());
        Ok((name, started.unwrap_or(made)))
    }

    /// Removes a container, and when its anonymous volumes go, those too that it has from another. The
    /// answer is the step that removes the container.
    pub(super) fn discard(
        &mut self,
        container: &Container,
        removal: &Removal<'_>,
        after: &[usize],
    ) -> usize {
        let removed = remove_container(&mut self.plan, self.project, container, removal, after);
        if removal.volumes {
            for name in carried(container, self.observed) {
                let name = name.to_owned();
                let action = Action::RemoveVolume { name };
                self.plan.add(None, action, removal.cause, vec![removed]);
            }
        }
        removed
    }

    /// Adds the step that makes a container.
    pub(super) fn make(
        &mut self,
        service: &'a Service,
        number: u64,
        name: &str,
        old: Option<&Container>,
        mut after: Vec<usize>,
        cause: &str,
    ) -> Result<usize> {
        let image = self.observed.image(&service.image_name(&self.project.name));
        let pulled = self
            .builds
            .steps
            .contains_key(&service.image_name(&self.project.name));
        let mut spec = lower::container(
            self.project,
            service,
            &Circumstances {
                name: &lower::container_name(self.project, service, number),
                number,
                image_id: image.filter(|_| !pulled).map(|image| image.id.as_str()),
                first_container: &self.first_container,
            },
        )?;
        if let Some(old) = old.filter(|_| !self.options.renew_anonymous_volumes) {
            carry_over(old, &mut spec, self.observed);
        }
        let further = service.further_images();
        after.extend(further.filter_map(|(image, _)| self.builds.steps.get(image)));
        // The container that a namespace or volumes are shared with exists first.
        for other in service.shares_with() {
            after.extend(self.creates.get(other).into_iter().flatten());
            after.extend(self.starts.get(other).into_iter().flatten());
        }
        after.extend(self.given_by(service)?);
        let action = Action::CreateContainer {
            name: name.to_owned(),
            spec: Box::new(spec),
        };
        let step = self.plan.add(Some(&service.name), action, cause, after);
        let steps = self.creates.entry(service.name.clone()).or_default();
        steps.push(step);
        Ok(step)
    }

    /// Adds the step that starts a container, after what has to run before; the answer is the last
    /// step, with its hooks. None when nothing is to be started.
    pub(super) fn start(
        &mut self,
        service: &'a Service,
        replica: u64,
        name: &str,
        cause: &str,
        after: &[usize],
    ) -> Result<Option<usize>> {
        if !self.options.start {
            return Ok(None);
        }
        let mut after = after.to_vec();
        after.extend(self.dependencies_of(service));
        if !service.pre_start.is_empty() {
            let options = self.options;
            after.extend(images::provide_further(
                &mut self.plan,
                &mut self.builds,
                service,
                options,
            )?);
        }
        let before = Before {
            project: self.project,
            observed: self.observed,
            service,
            replica,
            first_container: &self.first_container,
        };
        let after = self.initial.before(&mut self.plan, &before, after)?;
        let action = Action::StartContainer {
            name: name.to_owned(),
        };
        let step = self.plan.add(Some(&service.name), action, cause, after);
        let step = hooks::after_start(&mut self.plan, self.project, service, name, step);
        let starts = self.starts.entry(service.name.clone()).or_default();
        starts.push(step);
        Ok(Some(step))
    }

    /// The steps after which all that a service depends on is as far as it asks for.
    pub(super) fn dependencies_of(&mut self, service: &'a Service) -> Vec<usize> {
        let mut after = Vec::new();
        for (other, dependency) in &service.depends_on {
            let Some(containers) = self.containers.get(other).cloned() else {
                continue;
            };
            after.extend(self.starts.get(other).into_iter().flatten());
            if let Some(until) = Until::of(dependency.condition) {
                let cause = format!("{} depends on it", service.name);
                after.extend(self.wait(other, containers, until, dependency.required, &cause));
            }
        }
        after
    }

    /// Adds the step that waits for containers, unless they are so far already.
    pub(super) fn wait(
        &mut self,
        service: &str,
        containers: Vec<String>,
        until: Until,
        required: bool,
        cause: &str,
    ) -> Option<usize> {
        let key = (service.to_owned(), until as u8, required);
        if let Some(step) = self.waits.get(&key) {
            return Some(*step);
        }
        let starts = self.starts.get(service).cloned().unwrap_or_default();
        let settled = containers.is_empty()
            || starts.is_empty()
                && self
                    .observed
                    .of_service(service)
                    .iter()
                    .filter(|container| containers.contains(&container.name))
                    .all(|container| is_so_far(container, until));
        if settled {
            return None;
        }
        let timeout = self.options.wait_timeout.filter(|_| self.options.wait);
        let action = Action::Wait {
            service: service.to_owned(),
            containers,
            until,
            required,
            timeout,
        };
        let step = self.plan.add(Some(service), action, cause, starts);
        self.waits.insert(key, step);
        Some(step)
    }

    pub(super) fn remove(&mut self, container: &Container, cause: &'static str) {
        let step = match self.resources.removed.get(&container.name) {
            Some(gone) => gone.step,
            None => {
                let removal = Removal {
                    cause,
                    timeout: self.options.timeout,
                    volumes: true,
                };
                self.discard(container, &removal, &[])
            }
        };
        self.gone.insert(container.name.clone(), step);
    }

    /// The name that the container should have, after a step if it has another: an update that was
    /// cut short leaves names of the time when both ran.
    pub(super) fn right_name(
        &mut self,
        service: &Service,
        container: &Container,
    ) -> (String, Vec<usize>) {
        let name = lower::container_name(self.project, service, replica(container));
        let holder = self.observed.containers.iter().find(|one| one.name == name);
        let gone = holder.map(|holder| self.gone.get(&holder.name));
        if !compare::is_name_beside(&container.name, &name) || gone == Some(None) {
            return (container.name.clone(), Vec::new());
        }
        let after = gone.flatten().copied().into_iter().collect();
        let action = Action::RenameContainer {
            name: container.name.clone(),
            new_name: name.clone(),
        };
        let cause = "the other container is gone";
        let step = self.plan.add(Some(&service.name), action, cause, after);
        let starts = self.starts.entry(service.name.clone()).or_default();
        starts.push(step);
        (name, vec![step])
    }
}

/// Which replica a container is; the first when it does not say.
pub(super) fn replica(container: &Container) -> u64 {
    match number(container) {
        u64::MAX => 1,
        number => number,
    }
}
