//! Which images have to be fetched.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result};

use crate::model::Project;
use crate::model::service::Service;
use crate::observe::Observed;
use crate::plan::{Action, Plan, Pull, PullPolicy, Up};

/// Fetches images whose policy is `always` and that are there, for [`crate::plan::Goal::Refresh`].
pub(super) fn refresh(project: &Project, observed: &Observed, options: &Up) -> Result<Plan> {
    let selected = project.select(&options.services)?;
    let scope = match options.no_deps {
        true => selected,
        false => project.with_dependencies(&selected),
    };
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    for service in scope.iter().filter_map(|name| project.service(name)) {
        let always = policy(service, options.pull) == PullPolicy::Always && service.image.is_some();
        let image = service.image_name(&project.name);
        if always && observed.image(&image).is_some() && seen.insert(image) {
            add(&mut plan, project, service, "policy is always");
        }
    }
    Ok(plan)
}

/// Fetches images by command, for [`crate::plan::Goal::Pull`].
pub(super) fn pull(project: &Project, observed: &Observed, options: &Pull) -> Result<Plan> {
    let selected = project.select(&options.services)?;
    let scope = match options.include_deps {
        true => project.with_dependencies(&selected),
        false => selected,
    };
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    for service in scope.iter().filter_map(|name| project.service(name)) {
        let image = service.image_name(&project.name);
        if service.image.is_none() {
            plan.warn(format!(
                "service {} has no image to pull: it is to be built",
                service.name
            ));
            continue;
        }
        let there = observed.image(&image).is_some();
        let own = options.policy.or_else(|| own_policy(service));
        let wanted = match own {
            Some(PullPolicy::Never) => false,
            Some(PullPolicy::Missing) => !there,
            Some(PullPolicy::Always) | None => true,
        };
        if wanted && seen.insert(image) {
            add(&mut plan, project, service, "asked for");
        }
    }
    Ok(plan)
}

/// Adds what `up` fetches before it makes a container of `service`, once an image. The answer is the
/// step to wait for.
pub(super) fn provide(
    plan: &mut Plan,
    pulls: &mut BTreeMap<String, usize>,
    project: &Project,
    observed: &Observed,
    service: &Service,
    options: &Up,
) -> Result<Option<usize>> {
    let image = service.image_name(&project.name);
    if let Some(step) = pulls.get(&image) {
        return Ok(Some(*step));
    }
    let there = observed.image(&image).is_some();
    let cause = match policy(service, options.pull) {
        PullPolicy::Always if !there || !options.refreshed => "policy is always",
        PullPolicy::Missing if !there => "image is missing",
        PullPolicy::Never if !there => {
            return Err(Error::not_found(format!(
                "service {}: image {image} is not there and its pull policy is `never`: pull or load it first",
                service.name
            )));
        }
        _ => return Ok(None),
    };
    let step = add(plan, project, service, cause);
    pulls.insert(image, step);
    Ok(Some(step))
}

fn add(plan: &mut Plan, project: &Project, service: &Service, cause: &str) -> usize {
    let action = Action::PullImage {
        image: service.image_name(&project.name),
        platform: service.platform.clone(),
    };
    plan.add(Some(&service.name), action, cause, Vec::new())
}

fn policy(service: &Service, over: Option<PullPolicy>) -> PullPolicy {
    over.or_else(|| own_policy(service))
        .unwrap_or(PullPolicy::Missing)
}

/// The policy in the file; refreshing by age counts as `missing` (`support.rs` says so).
fn own_policy(service: &Service) -> Option<PullPolicy> {
    match service.pull_policy.as_deref()? {
        "always" => Some(PullPolicy::Always),
        "never" => Some(PullPolicy::Never),
        _ => Some(PullPolicy::Missing),
    }
}
