//! The course of an update: how many replicas at once, in which order, and what a failure means.
//!
//! Pure: it reads `deploy.update_config` (or `rollback_config`), refuses words that mean nothing, and
//! says when a new replica cannot run beside the one it replaces. `up.rs` makes steps of it.

use std::time::Duration;

use orc_base::{Error, Result};
use orc_host::image::Image;

use crate::model::Project;
use crate::model::service::{Healthcheck, Service};
use crate::model::update::UpdateConfig;
use crate::plan::OnFailure;
use crate::short::ports::range;

/// How long a replica has to stand when nothing checks its health: Swarm's number.
const STEADY: Duration = Duration::from_secs(5);

/// How the replicas of one service are replaced.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Course {
    /// How many at once.
    pub(super) at_once: usize,
    /// Between one lot and the next.
    pub(super) delay: Option<Duration>,
    /// How long each has to stand.
    pub(super) steady: Duration,
    /// The new one starts before the old one stops.
    pub(super) start_first: bool,
    /// What a failure leads to.
    pub(super) on_failure: OnFailure,
    /// How many may fail before.
    pub(super) allowed_failures: usize,
}

/// The course for replacing `total` containers of a service; `None` when the file asks for none, and
/// all are replaced at once.
pub(super) fn course(
    service: &Service,
    image: Option<&Image>,
    total: usize,
    back: bool,
) -> Result<Option<Course>> {
    let Some(deploy) = &service.deploy else {
        return Ok(None);
    };
    let (key, config) = match (back, &deploy.rollback_config, &deploy.update_config) {
        (false, _, Some(config)) => ("update_config", config.clone()),
        (true, Some(config), _) => ("rollback_config", config.clone()),
        (true, None, Some(_)) => ("rollback_config", UpdateConfig::default()),
        _ => return Ok(None),
    };
    let read = Course {
        at_once: match config.parallelism {
            Some(0) => total,
            Some(count) => usize::try_from(count).unwrap_or(total),
            None => 1,
        },
        delay: config.delay.filter(|delay| !delay.is_zero()),
        steady: match config.monitor.filter(|monitor| !monitor.is_zero()) {
            Some(monitor) => monitor,
            None if is_checked(service, image) => Duration::ZERO,
            None => STEADY,
        },
        start_first: config.order.as_deref() == Some("start-first"),
        on_failure: on_failure(&config, back)
            .map_err(|error| error.within(format!("service {}: deploy.{key}", service.name)))?,
        allowed_failures: allowed(&config, total)
            .map_err(|error| error.within(format!("service {}: deploy.{key}", service.name)))?,
    };
    Ok(Some(read))
}

/// Refuses sections that mean nothing, before anything is done.
pub(super) fn check(service: &Service) -> Result<()> {
    course(service, None, 1, false)?;
    course(service, None, 1, true)?;
    match service.mode() {
        "replicated" | "global" | "replicated-job" | "global-job" => Ok(()),
        other => Err(Error::invalid(format!(
            "service {}: deploy.mode: `{other}`: use replicated, global, replicated-job or global-job",
            service.name
        ))),
    }
}

fn on_failure(config: &UpdateConfig, back: bool) -> Result<OnFailure> {
    match config.failure_action.as_deref() {
        None | Some("pause" | "") => Ok(OnFailure::Pause),
        Some("continue") => Ok(OnFailure::Continue),
        Some("rollback") if !back => Ok(OnFailure::RollBack),
        Some(other) => Err(Error::invalid(format!(
            "failure_action: `{other}`: use pause, continue{}",
            if back { "" } else { " or rollback" }
        ))),
    }
}

/// How many of `total` may fail: more than that is more than the ratio.
fn allowed(config: &UpdateConfig, total: usize) -> Result<usize> {
    let ratio = config.max_failure_ratio.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&ratio) {
        return Err(Error::invalid(format!(
            "max_failure_ratio: `{ratio}` is not between 0 and 1"
        )));
    }
    // A ratio like 0.3 of 10 is 3, whatever binary fractions say.
    Ok((ratio * total as f64 + 1e-9).floor() as usize)
}

/// Whether somebody checks the health of the service's containers.
fn is_checked(service: &Service, image: Option<&Image>) -> bool {
    let runs = |test: &[String]| !matches!(test.first().map(String::as_str), None | Some("NONE"));
    let of_image = image.and_then(|image| image.config.healthcheck.as_ref());
    match &service.healthcheck {
        Some(Healthcheck { disable: true, .. }) => false,
        Some(check) if !check.test.is_empty() => runs(&check.test),
        _ => of_image.is_some_and(|check| runs(&check.test)),
    }
}

/// Why a new replica cannot run beside the one it replaces.
pub(super) fn obstacle(
    project: &Project,
    service: &Service,
    replicas: u64,
    at_once: usize,
) -> Option<String> {
    let together = replicas.saturating_add(at_once as u64);
    let port = service.ports.iter().find_map(|port| {
        let published = port.published.as_deref().filter(|text| !text.is_empty())?;
        let (first, last) = range(published).ok()?;
        (u64::from(last - first) + 1 < together).then_some(published)
    });
    if let Some(port) = port {
        return Some(format!("both would publish port {port} of this machine"));
    }
    if service.network_mode.as_deref() == Some("host") {
        return Some("both would use the machine's own network".into());
    }
    let fixed = |network: &crate::model::service::ServiceNetwork| {
        network.ipv4_address.is_some() || network.mac_address.is_some()
    };
    if service.mac_address.is_some() || service.networks.values().flatten().any(fixed) {
        return Some("both would have the same address".into());
    }
    let shares = |other: &&Service| other.shares_with().any(|name| name == service.name);
    let other = project.services.values().find(shares)?;
    Some(format!("{} shares a namespace with it", other.name))
}
