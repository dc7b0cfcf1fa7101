//! `up`: what has to be made, replaced, started and waited for.
//!
//! Services are gone through in the order of their dependencies; each container is kept, started,
//! made or replaced. A second `up` with nothing changed adds nothing. A container that is replaced
//! runs until all it needs is there: stop, remove, create and start follow each other at the end.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::Result;
use orc_host::container::Container;

use crate::image_build::Overrides;
use crate::lower::{self, Circumstances};
use crate::model::Project;
use crate::model::service::{Condition, Service};
use crate::observe::{Observed, number};
use crate::plan::builds::Builds;
use crate::plan::carry::carry_over;
use crate::plan::compare::{self, divergence, has_completed, is_so_far, is_up};
use crate::plan::orphans::{orphans, warn_of};
use crate::plan::removal::{Removal, remove_container};
use crate::plan::resources::{self, Resources};
use crate::plan::{Action, Plan, Recreate, Secret, Until, Up, graph, images, refuse};

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

/// Plans what has to be there before a one-off container of `service`: its networks, volumes, image,
/// and what it depends on, unless `options.no_deps`. The second is the first container of each
/// service.
pub(crate) fn before_one_off(
    project: &Project,
    observed: &Observed,
    service: &Service,
    options: &Up,
) -> Result<(Plan, BTreeMap<String, String>)> {
    let own: BTreeSet<String> = [service.name.clone()].into();
    let mut scope = match options.no_deps {
        true => BTreeSet::new(),
        false => project.with_dependencies(&own),
    };
    scope.remove(&service.name);
    let mut planner = Planner::new(project, observed, options, scope)?;
    refuse::findings(project, &own, &mut planner.plan)?;
    planner.fetch()?;
    planner.image(service)?;
    planner.provide(Some(service))?;
    planner.services()?;
    if !options.no_deps {
        planner.dependencies_of(service);
    }
    Ok((planner.plan, planner.first_container))
}

/// `up` says nothing about builds beside the files.
static NO_OVERRIDES: Overrides = Overrides {
    args: BTreeMap::new(),
    no_cache: false,
    pull: false,
    memory_bytes: None,
    ssh: Vec::new(),
    check: false,
};

struct Planner<'a> {
    project: &'a Project,
    observed: &'a Observed,
    options: &'a Up,
    plan: Plan,
    order: Vec<String>,
    replicas: BTreeMap<String, u64>,
    resources: Resources,
    /// The steps that fetch and build images.
    builds: Builds<'a>,
    /// The step that writes each file.
    files: BTreeMap<std::path::PathBuf, usize>,
    /// The first container of each service, made or to be made.
    first_container: BTreeMap<String, String>,
    /// All containers of each service that has been gone through.
    containers: BTreeMap<String, Vec<String>>,
    /// The steps that make containers of each service.
    creates: BTreeMap<String, Vec<usize>>,
    /// The steps that start containers of each service.
    starts: BTreeMap<String, Vec<usize>>,
    /// Services of which a container that existed was replaced or restarted.
    renewed: BTreeSet<String>,
    waits: BTreeMap<(String, u8, bool), usize>,
}

/// What happens to one replica.
enum Fate<'a> {
    Keep(&'a Container),
    Start(&'a Container),
    Replace(&'a Container, &'static str),
    Create(u64),
}

impl<'a> Planner<'a> {
    fn new(
        project: &'a Project,
        observed: &'a Observed,
        options: &'a Up,
        mut scope: BTreeSet<String>,
    ) -> Result<Self> {
        scope.extend(resources::drawn_in(project, observed, &scope));
        let mut plan = Plan::default();
        refuse::findings(project, &scope, &mut plan)?;
        for name in options.scale.keys() {
            if project.service(name).is_none() {
                return Err(project.no_such_service(name));
            }
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
        refuse::numbers(project, &replicas)?;
        refuse::ports(project, &replicas)?;
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
            files: BTreeMap::new(),
            first_container: BTreeMap::new(),
            containers: BTreeMap::new(),
            creates: BTreeMap::new(),
            starts: BTreeMap::new(),
            renewed: BTreeSet::new(),
            waits: BTreeMap::new(),
        };
        planner.find_first_containers();
        Ok(planner)
    }

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
    fn fetch(&mut self) -> Result<()> {
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

    /// The step that fetches a service's image, if there has to be one.
    fn image(&mut self, service: &Service) -> Result<Option<usize>> {
        images::provide(&mut self.plan, &mut self.builds, service, self.options)
    }

    /// Networks and volumes of the services in scope that have replicas, and of one more.
    fn provide(&mut self, extra: Option<&'a Service>) -> Result<()> {
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
        )?;
        Ok(())
    }

    /// Names by which others share namespaces, before anything is decided.
    fn find_first_containers(&mut self) {
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

    fn services(&mut self) -> Result<()> {
        for name in self.order.clone() {
            if let Some(service) = self.project.service(&name) {
                self.service(service)?;
            }
        }
        Ok(())
    }

    fn service(&mut self, service: &'a Service) -> Result<()> {
        let fates = self.fates(service);
        let makes = fates
            .iter()
            .any(|fate| matches!(fate, Fate::Replace(..) | Fate::Create(_)));
        let pull = match makes {
            true => self.image(service)?,
            false => None,
        };
        let mut names = Vec::new();
        for fate in fates {
            let name = match fate {
                Fate::Keep(container) => {
                    self.keep(service, container);
                    container.name.clone()
                }
                Fate::Start(container) => {
                    let cause = match compare::has_completed(container) {
                        true => "has ended",
                        false => "does not run",
                    };
                    self.start(service, &container.name, cause, &[]);
                    container.name.clone()
                }
                Fate::Replace(old, cause) => self.replace(service, old, cause, pull)?,
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
        let mut existing: Vec<(&Container, Option<&'static str>)> = self
            .observed
            .of_service(&service.name)
            .into_iter()
            .map(|container| (container, self.cause(service, container)))
            .collect();
        let surplus = existing.len().saturating_sub(wanted);
        if surplus > 0 {
            // Those that would be replaced anyway go first, then the highest numbers.
            existing.sort_by_key(|(container, cause)| (cause.is_some(), number(container)));
            for (container, _) in existing.split_off(wanted) {
                self.remove(container, "too many replicas");
            }
            existing.sort_by_key(|(container, _)| number(container));
        }
        let taken: BTreeSet<u64> = existing
            .iter()
            .map(|(container, _)| number(container))
            .collect();
        let free = (1..).filter(|number| !taken.contains(number));
        let missing = wanted - existing.len().min(wanted);
        existing
            .iter()
            .map(|(container, cause)| match cause {
                Some(cause) => Fate::Replace(container, cause),
                None if is_up(container) || self.is_done(service, container) => {
                    Fate::Keep(container)
                }
                None => Fate::Start(container),
            })
            .chain(free.take(missing).map(Fate::Create))
            .collect()
    }

    /// Why an existing container has to be replaced.
    fn cause(&self, service: &Service, container: &Container) -> Option<&'static str> {
        if self.resources.removed.contains_key(&container.name) {
            return Some("network changed");
        }
        match self.options.recreate {
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
    fn shares_renewed(&self, service: &Service) -> bool {
        service
            .shares_with()
            .any(|other| self.renewed.contains(other))
    }

    /// Whether a one-shot that others wait for has ended well and need not run again.
    fn is_done(&self, service: &Service, container: &Container) -> bool {
        let waited_for = self.project.services.values().any(|other| {
            other
                .depends_on
                .get(&service.name)
                .is_some_and(|dependency| {
                    dependency.condition == Condition::ServiceCompletedSuccessfully
                })
        });
        waited_for
            && has_completed(container)
            && lower::restart(service).is_ok_and(compare::ends_for_good)
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
        let action = Action::RestartContainer {
            name: container.name.clone(),
            timeout: self.options.timeout,
        };
        let cause = format!("{other} was renewed");
        let step = self.plan.add(Some(&service.name), action, cause, after);
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
        self.start(service, &name, "does not run", &[made]);
        Ok(name)
    }

    /// Stops and removes the old one when all the new one needs is there.
    fn replace(
        &mut self,
        service: &'a Service,
        old: &Container,
        cause: &'static str,
        pull: Option<usize>,
    ) -> Result<String> {
        let number = match number(old) {
            u64::MAX => 1,
            number => number,
        };
        let name = lower::container_name(self.project, service, number);
        let mut after = self.resources.of(service);
        after.extend(pull);
        let removed = match self.resources.removed.get(&old.name) {
            Some(step) => *step,
            None => {
                let mut before = after.clone();
                if self.options.start {
                    before.extend(self.dependencies_of(service));
                }
                let removal = Removal {
                    cause,
                    timeout: self.options.timeout,
                    volumes: self.options.renew_anonymous_volumes,
                };
                remove_container(&mut self.plan, old, &removal, &before)
            }
        };
        after.push(removed);
        let made = self.make(service, number, &name, Some(old), after, cause)?;
        self.start(service, &name, cause, &[made]);
        self.renewed.insert(service.name.clone());
        Ok(name)
    }

    /// Adds the step that makes a container, and those that write its files.
    fn make(
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
        let lowered = lower::container(
            self.project,
            service,
            &Circumstances {
                name,
                number,
                image_id: image.filter(|_| !pulled).map(|image| image.id.as_str()),
                first_container: &self.first_container,
                files_dir: self.options.files_dir.as_deref(),
            },
        )?;
        let mut spec = lowered.spec;
        if let Some(old) = old.filter(|_| !self.options.renew_anonymous_volumes) {
            carry_over(old, &mut spec, self.observed);
        }
        for file in lowered.files {
            if let Some(content) = file.content {
                after.push(self.write(&service.name, file.source, content));
            }
        }
        // The container that a namespace is shared with exists first.
        for other in service.shares_with() {
            after.extend(self.creates.get(other).into_iter().flatten());
            after.extend(self.starts.get(other).into_iter().flatten());
        }
        let action = Action::CreateContainer {
            name: name.to_owned(),
            spec: Box::new(spec),
        };
        let step = self.plan.add(Some(&service.name), action, cause, after);
        let steps = self.creates.entry(service.name.clone()).or_default();
        steps.push(step);
        Ok(step)
    }

    fn write(&mut self, service: &str, path: std::path::PathBuf, content: String) -> usize {
        if let Some(step) = self.files.get(&path) {
            return *step;
        }
        let action = Action::WriteFile {
            path: path.clone(),
            content: Secret(content),
            mode: 0o444,
        };
        let step = self.plan.add(
            Some(service),
            action,
            "mounted into a container",
            Vec::new(),
        );
        self.files.insert(path, step);
        step
    }

    fn start(&mut self, service: &'a Service, name: &str, cause: &str, after: &[usize]) {
        if !self.options.start {
            return;
        }
        let mut after = after.to_vec();
        after.extend(self.dependencies_of(service));
        let action = Action::StartContainer {
            name: name.to_owned(),
        };
        let step = self.plan.add(Some(&service.name), action, cause, after);
        self.starts
            .entry(service.name.clone())
            .or_default()
            .push(step);
    }

    /// The steps after which all that a service depends on is as far as it asks for.
    fn dependencies_of(&mut self, service: &'a Service) -> Vec<usize> {
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
    fn wait(
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

    fn wait_for_all(&mut self) {
        for name in self.order.clone() {
            let containers = self.containers.get(&name).cloned().unwrap_or_default();
            self.wait(&name, containers, Until::Ready, true, "asked to wait");
        }
    }

    fn remove(&mut self, container: &Container, cause: &'static str) {
        if !self.resources.removed.contains_key(&container.name) {
            let removal = Removal {
                cause,
                timeout: self.options.timeout,
                volumes: true,
            };
            remove_container(&mut self.plan, container, &removal, &[]);
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
