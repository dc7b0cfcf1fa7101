//! How to see whether a container works, and what was seen.

use orc_base::{Error, Result};
use orc_host::container::{Health, HealthStatus, Probe};
use orc_host::image::Healthcheck;

use crate::convert::time;
use crate::wire::container as wire;

/// Docker's `Healthcheck`. A zero is the image's value or the default.
pub(crate) fn check_to_wire(check: &Healthcheck) -> wire::Healthcheck {
    wire::Healthcheck {
        test: check.test.clone(),
        interval: time::nanos(check.interval),
        timeout: time::nanos(check.timeout),
        start_period: time::nanos(check.start_period),
        start_interval: time::nanos(check.start_interval),
        retries: check.retries.unwrap_or(0).into(),
    }
}

/// The inverse of [`check_to_wire`].
pub(crate) fn check_from_wire(check: &wire::Healthcheck) -> Result<Healthcheck> {
    let duration = |name: &str, nanos| time::from_nanos(&format!("Healthcheck.{name}"), nanos);
    let retries = u32::try_from(check.retries)
        .map_err(|_| Error::invalid("`Healthcheck.Retries` is not a count"))?;
    Ok(Healthcheck {
        test: check.test.clone(),
        interval: duration("Interval", check.interval)?,
        timeout: duration("Timeout", check.timeout)?,
        start_period: duration("StartPeriod", check.start_period)?,
        start_interval: duration("StartInterval", check.start_interval)?,
        retries: (retries > 0).then_some(retries),
    })
}

/// Docker's `State.Health`.
pub(crate) fn to_wire(health: &Health) -> wire::Health {
    wire::Health {
        status: health.status.as_str().into(),
        failing_streak: health.failing_streak,
        log: health
            .log
            .iter()
            .map(|probe| wire::Probe {
                start: probe.start.to_string(),
                end: probe.end.to_string(),
                exit_code: probe.exit_code,
                output: probe.output.clone(),
            })
            .collect(),
    }
}

/// The inverse of [`to_wire`].
pub(crate) fn from_wire(health: &wire::Health) -> Result<Health> {
    let status = [
        HealthStatus::Starting,
        HealthStatus::Healthy,
        HealthStatus::Unhealthy,
    ]
    .into_iter()
    .find(|status| status.as_str() == health.status)
    .ok_or_else(|| Error::internal(format!("`{}` is not a health state", health.status)))?;
    let probe = |probe: &wire::Probe| -> Result<Probe> {
        Ok(Probe {
            start: probe.start.parse()?,
            end: probe.end.parse()?,
            exit_code: probe.exit_code,
            output: probe.output.clone(),
        })
    };
    Ok(Health {
        status,
        failing_streak: health.failing_streak,
        log: health.log.iter().map(probe).collect::<Result<_>>()?,
    })
}
