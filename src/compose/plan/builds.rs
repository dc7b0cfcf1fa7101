//! Which images have to be built, and in which order.

use std::collections::BTreeMap;

use orc_base::{Error, Result};

use crate::image_build::Overrides;
use crate::lower::builds;
use crate::model::Project;
use crate::model::service::Service;
use crate::observe::Observed;
use crate::plan::refuse::{self, Refusals};
use crate::plan::{Action, Build, Plan};

/// Images that are to be built, by their name, with the step that does it.
pub(super) struct Builds<'a> {
    pub(super) project: &'a Project,
    pub(super) observed: &'a Observed,
    pub(super) over: &'a Overrides,
    /// The step that makes each image.
    pub(super) steps: BTreeMap<String, usize>,
    /// Services on the way to the one that is added now: a loop has no beginning.
    path: Vec<String>,
}

impl<'a> Builds<'a> {
    pub(super) fn new(project: &'a Project, observed: &'a Observed, over: &'a Overrides) -> Self {
        Self {
            project,
            observed,
            over,
            steps: BTreeMap::new(),
            path: Vec::new(),
        }
    }

    /// Adds the build of a service's image, once, after those that its contexts come from when they
    /// are built as well or are not there. None when the service has no `build` section.
    pub(super) fn add(
        &mut self,
        plan: &mut Plan,
        service: &Service,
        cause: &str,
    ) -> Result<Option<usize>> {
        let Some(section) = &service.build else {
            return Ok(None);
        };
        let image = service.image_name(&self.project.name);
        if let Some(step) = self.steps.get(&image) {
            return Ok(Some(*step));
        }
        if self.path.contains(&service.name) {
            return Err(Error::invalid(format!(
                "the builds of {} need each other",
                self.path.join(", ")
            )));
        }
        self.path.push(service.name.clone());
        let mut after = Vec::new();
        for other in section.services() {
            let other = self
                .project
                .service(other)
                .ok_or_else(|| self.project.no_such_service(other))?;
            let name = other.image_name(&self.project.name);
            let there = self.observed.image(&name).is_some();
            if !there || self.steps.contains_key(&name) {
                let cause = format!("the build of {} takes files of it", service.name);
                after.extend(self.add(plan, other, &cause)?);
            }
        }
        self.path.pop();
        let action = Action::BuildImage {
            build: Box::new(builds::build(self.project, service, section, self.over)?),
            image: image.clone(),
        };
        let step = plan.add(Some(&service.name), action, cause, after);
        self.steps.insert(image, step);
        Ok(Some(step))
    }
}

/// Builds images by command, for [`crate::plan::Goal::Build`].
pub(super) fn plan(project: &Project, observed: &Observed, options: &Build) -> Result<Plan> {
    let selected = project.select(&options.services)?;
    let scope = match options.with_dependencies {
        true => project.with_dependencies(&selected),
        false => selected,
    };
    let mut plan = Plan::default();
    let mut refusals = Refusals::default();
    refuse::builds(project, &scope, &mut plan, &mut refusals);
    refusals.end()?;
    let mut builds = Builds::new(project, observed, &options.over);
    // Those that others take files of come first, so that these see them built.
    let mut ordered: Vec<&Service> = Vec::new();
    for name in &scope {
        collect(project, name, &scope, &mut ordered, 0)?;
    }
    for service in ordered {
        builds.add(&mut plan, service, "asked for")?;
    }
    if plan.is_empty() {
        plan.warn("no service to build: none of them has a `build` section");
    }
    Ok(plan)
}

/// Puts a service of `scope` behind those that its build needs.
fn collect<'p>(
    project: &'p Project,
    name: &str,
    scope: &std::collections::BTreeSet<String>,
    ordered: &mut Vec<&'p Service>,
    depth: usize,
) -> Result<()> {
    let Some(service) = project.service(name) else {
        return Ok(());
    };
    if depth > project.services.len() + project.disabled.len() {
        return Err(Error::invalid(format!(
            "the build of {name} needs itself through `service:` contexts"
        )));
    }
    if ordered.iter().any(|other| other.name == name) {
        return Ok(());
    }
    for other in service.build.iter().flat_map(|build| build.services()) {
        if scope.contains(other) {
            collect(project, other, scope, ordered, depth + 1)?;
        }
    }
    if service.build.is_some() {
        ordered.push(service);
    }
    Ok(())
}
