//! Which images have to be fetched or built.

use std::collections::BTreeSet;

use orc_base::{Error, Result};

use crate::image_build::Overrides;
use crate::model::Project;
use crate::model::service::Service;
use crate::notation::{self, PullWhen};
use crate::observe::Observed;
use crate::plan::builds::Builds;
use crate::plan::{Action, BuildPolicy, Plan, Pull, PullPolicy, Up};

/// Fetches images whose policy is `always` and that are there, for [`crate::plan::Goal::Refresh`].
pub(super) fn refresh(project: &Project, observed: &Observed, options: &Up) -> Result<Plan> {
    let selected = project.select(&options.services)?;
    let scope = match options.no_deps {
        true => selected,
        false => project.with_dependencies(&selected),
    };
    let mut plan = Plan::default();
    let mut seen = BTreeSet::new();
    let over = Overrides::default();
    let mut builds = Builds::new(project, observed, &over);
    for service in scope.iter().filter_map(|name| project.service(name)) {
        if let Some(cause) = build_each_time(service, options) {
            builds.add(&mut plan, service, cause)?;
            continue;
        }
        let image = service.image_name(&project.name);
        let there = service.image.is_some() && observed.image(&image).is_some();
        let (policy, cause) = policy(project, service, observed, options.pull)?;
        if there && policy == PullPolicy::Always && seen.insert(image) {
            add(&mut plan, project, service, &cause);
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
    let services = scope.iter().filter_map(|name| project.service(name));
    for service in services.filter(|service| service.provider.is_none()) {
        let image = service.image_name(&project.name);
        if service.image.is_none() {
            plan.warn(format!(
                "service {} has no image to pull: it is to be built",
                service.name
            ));
            continue;
        }
        let there = observed.image(&image).is_some();
        let own = match (options.policy, &service.pull_policy) {
            (Some(policy), _) => Some(policy),
            (None, Some(_)) => Some(own_policy(project, service, observed)?.0),
            (None, None) => None,
        };
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

/// Why a service's image is built even though there is one.
fn build_each_time(service: &Service, options: &Up) -> Option<&'static str> {
    service.build.as_ref()?;
    match (options.build, service.pull_policy.as_deref()) {
        (BuildPolicy::Never, _) => None,
        (BuildPolicy::Always, _) => Some("asked to build"),
        (BuildPolicy::Missing, Some("build")) => Some("policy is build"),
        (BuildPolicy::Missing, _) => None,
    }
}

/// Adds what `up` fetches or builds before it makes a container of `service`, once an image. The
/// answer is the step to wait for.
pub(super) fn provide(
    plan: &mut Plan,
    builds: &mut Builds<'_>,
    service: &Service,
    options: &Up,
) -> Result<Option<usize>> {
    let (project, observed) = (builds.project, builds.observed);
    let image = service.image_name(&project.name);
    if let Some(step) = builds.steps.get(&image) {
        return Ok(Some(*step));
    }
    let there = observed.image(&image).is_some();
    if let Some(cause) = build_each_time(service, options).filter(|_| !options.refreshed) {
        return builds.add(plan, service, cause);
    }
    // An image that can be built is only fetched when the file or the caller says so.
    let fetched = options.pull.is_some()
        || matches!(service.pull_policy.as_deref(), Some(policy) if policy != "build");
    if service.build.is_some() && (service.image.is_none() || !fetched) {
        return match (there, options.build) {
            (true, _) => Ok(None),
            (false, BuildPolicy::Never) => Err(Error::not_found(format!(
                "service {}: image {image} is not there, and it is not to be built: build or load it first",
                service.name
            ))),
            (false, _) => builds.add(plan, service, "image is missing"),
        };
    }
    let (policy, why) = policy(project, service, observed, options.pull)?;
    let cause = match policy {
        PullPolicy::Always if !there || !options.refreshed => why.as_str(),
        PullPolicy::Missing if !there => "image is missing",
        PullPolicy::Never if !there && service.build.is_some() => {
            return builds.add(plan, service, "image is missing");
        }
        PullPolicy::Never if !there => {
            return Err(Error::not_found(format!(
                "service {}: image {image} is not there and its pull policy is `never`: pull or load it first",
                service.name
            )));
        }
        _ => return Ok(None),
    };
    let step = add(plan, project, service, cause);
    builds.steps.insert(image, step);
    Ok(Some(step))
}

/// Adds the steps that fetch the images that a service uses beside its own, once an image. One that a
/// service of the project builds or fetches comes from there. The answer is the steps to wait for.
pub(super) fn provide_further(
    plan: &mut Plan,
    builds: &mut Builds<'_>,
    service: &Service,
    options: &Up,
) -> Result<Vec<usize>> {
    let (project, observed) = (builds.project, builds.observed);
    let mut steps = Vec::new();
    for (image, cause) in service.further_images() {
        if let Some(step) = builds.steps.get(image) {
            steps.push(*step);
            continue;
        }
        if observed.image(image).is_some() {
            continue;
        }
        let all = project.services.values().chain(project.disabled.values());
        let mut makers = all.filter(|other| other.build.is_some());
        if let Some(maker) = makers.find(|other| other.image_name(&project.name) == image) {
            let cause = format!("{} needs it", service.name);
            steps.extend(builds.add(plan, maker, &cause)?);
            continue;
        }
        if options.pull == Some(PullPolicy::Never) {
            return Err(Error::not_found(format!(
                "service {}: image {image}, which it needs, is not there, and images are not to be pulled: pull or load it first",
                service.name
            )));
        }
        let action = Action::PullImage {
            image: image.to_owned(),
            platform: service.platform.clone(),
        };
        let step = plan.add(Some(&service.name), action, cause, Vec::new());
        builds.steps.insert(image.to_owned(), step);
        steps.push(step);
    }
    Ok(steps)
}

fn add(plan: &mut Plan, project: &Project, service: &Service, cause: &str) -> usize {
    let action = Action::PullImage {
        image: service.image_name(&project.name),
        platform: service.platform.clone(),
    };
    plan.add(Some(&service.name), action, cause, Vec::new())
}

/// What to do about the image of a service now, and why it would be fetched although it is there.
fn policy(
    project: &Project,
    service: &Service,
    observed: &Observed,
    over: Option<PullPolicy>,
) -> Result<(PullPolicy, String)> {
    match over {
        Some(policy) => Ok((policy, "policy is always".into())),
        None => own_policy(project, service, observed),
    }
}

/// The policy in the file; one that depends on the image's age is `always` or `missing` now.
fn own_policy(
    project: &Project,
    service: &Service,
    observed: &Observed,
) -> Result<(PullPolicy, String)> {
    let text = service.pull_policy.as_deref().unwrap_or_default();
    let when = notation::pull_policy(text, service.pull_refresh_after.as_deref())
        .map_err(|error| error.within(format!("service {}", service.name)))?;
    let policy = match when {
        PullWhen::Always => PullPolicy::Always,
        PullWhen::Never => PullPolicy::Never,
        PullWhen::Missing | PullWhen::Build => PullPolicy::Missing,
        PullWhen::Older(limit) => {
            let image = observed.image(&service.image_name(&project.name));
            return Ok(match image.map(|image| image.pulled) {
                None => (PullPolicy::Missing, String::new()),
                Some(None) => (
                    PullPolicy::Always,
                    format!("policy is {text}, image was never pulled"),
                ),
                Some(Some(pulled)) if observed.at.since(pulled) > limit => (
                    PullPolicy::Always,
                    format!("policy is {text}, image was pulled {pulled}"),
                ),
                Some(Some(_)) => (PullPolicy::Missing, String::new()),
            });
        }
    };
    Ok((policy, "policy is always".into()))
}
