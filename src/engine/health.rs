//! What a probe means: the verdict over a container and when to probe next.
//!
//! Pure. `probe.rs` runs the probes. Docker's rules: one success makes it healthy, `retries`
//! failures in a row make it unhealthy, and failures in the start period do not count as long as
//! there was no success.

use std::time::Duration;

use orc_base::Time;
use orc_host::container::{Health, HealthStatus, Probe};
use orc_host::image::Healthcheck;

/// How many probes are remembered.
pub(crate) const KEPT: usize = 5;
/// How much of a probe's output is remembered.
pub(crate) const MAX_OUTPUT: usize = 4096;

/// A health check with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The program of a probe and its arguments.
    pub command: Vec<String>,
    /// Between two probes.
    pub interval: Duration,
    /// After which a probe has failed.
    pub timeout: Duration,
    /// How long failures do not count after the start.
    pub start_period: Duration,
    /// Between two probes in that period.
    pub start_interval: Duration,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
}

/// The schedule of a check that [`crate::effective::effective`] accepted; `None` when it has no command.
pub(crate) fn schedule(check: &Healthcheck) -> Option<Schedule> {
    let (kind, rest) = check.test.split_first()?;
    let command = match kind.as_str() {
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => ["/bin/sh", "-c"]
            .map(String::from)
            .into_iter()
            .chain(rest.iter().cloned())
            .collect(),
        _ => return None,
    };
    let or = |given: Option<Duration>, default| {
        given.filter(|given| !given.is_zero()).unwrap_or(default)
    };
    Some(Schedule {
        command,
        interval: or(check.interval, Duration::from_secs(30)),
        timeout: or(check.timeout, Duration::from_secs(30)),
        start_period: check.start_period.unwrap_or_default(),
        start_interval: or(check.start_interval, Duration::from_secs(5)),
        retries: check.retries.filter(|retries| *retries > 0).unwrap_or(3),
    })
}

/// The health of a container that just started.
pub(crate) fn starting() -> Health {
    Health {
        status: HealthStatus::Starting,
        failing_streak: 0,
        log: Vec::new(),
    }
}

/// The health after one more probe of a container that runs since `started_at`.
pub(crate) fn judge(
    before: &Health,
    probe: Probe,
    started_at: Time,
    schedule: &Schedule,
) -> Health {
    let grace = before.status == HealthStatus::Starting
        && probe.start.since(started_at) < schedule.start_period;
    let failing_streak = match probe.exit_code {
        0 => 0,
        _ if grace => before.failing_streak,
        _ => before.failing_streak + 1,
    };
    let status = match probe.exit_code {
        0 => HealthStatus::Healthy,
        _ if failing_streak >= schedule.retries => HealthStatus::Unhealthy,
        _ => before.status,
    };
    let forget = (before.log.len() + 1).saturating_sub(KEPT);
    let log = before.log.iter().skip(forget).cloned();
    Health {
        status,
        failing_streak,
        log: log.chain([probe]).collect(),
    }
}

/// How long to wait from now until the next probe.
pub(crate) fn pause(health: &Health, started_at: Time, now: Time, schedule: &Schedule) -> Duration {
    let in_start_period =
        health.status == HealthStatus::Starting && now.since(started_at) < schedule.start_period;
    match in_start_period {
        true => schedule.start_interval,
        false => schedule.interval,
    }
}

/// What is remembered of a probe's output: text, the beginning.
pub(crate) fn output(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MAX_OUTPUT)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if bytes.len() > MAX_OUTPUT {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start_period: u64, retries: u32) -> Schedule {
        schedule(&Healthcheck {
            test: vec!["CMD-SHELL".into(), "true".into()],
            start_period: Some(Duration::from_secs(start_period)),
            retries: Some(retries),
            ..Healthcheck::default()
        })
        .unwrap()
    }

    fn probe(at: i64, exit_code: i32) -> Probe {
        Probe {
            start: Time::from_secs(at),
            end: Time::from_secs(at),
            exit_code,
            output: String::new(),
        }
    }

    /// Runs probes given as (seconds since the start, exit code) and tells the verdicts.
    fn verdicts(schedule: &Schedule, probes: &[(i64, i32)]) -> Vec<(HealthStatus, u32)> {
        let mut health = starting();
        let mut seen = Vec::new();
        for (at, code) in probes {
            health = judge(&health, probe(*at, *code), Time::EPOCH, schedule);
            seen.push((health.status, health.failing_streak));
        }
        assert!(health.log.len() <= KEPT);
        seen
    }

    #[test]
    fn retries_in_a_row_make_unhealthy_and_one_success_heals() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        assert_eq!(
            verdicts(
                &check(0, 2),
                &[(1, 1), (2, -1), (3, 0), (4, 1), (5, 1), (6, 0)]
            ),
            [
                (Starting, 1),
                (Unhealthy, 2),
                (Healthy, 0),
                (Healthy, 1),
                (Unhealthy, 2),
                (Healthy, 0)
            ]
        );
    }

    #[test]
    fn failures_in_the_start_period_do_not_count_before_a_success() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        assert_eq!(
            verdicts(&check(10, 1), &[(1, 1), (2, 1), (11, 1)]),
            [(Starting, 0), (Starting, 0), (Unhealthy, 1)]
        );
        assert_eq!(
            verdicts(&check(10, 1), &[(1, 0), (2, 1)]),
            [(Healthy, 0), (Unhealthy, 1)]
        );
    }

    #[test]
    fn remembers_five_probes() {
        let schedule = check(0, 3);
        let health = (0..9).fold(starting(), |health, at| {
            judge(&health, probe(at, 0), Time::EPOCH, &schedule)
        });
        let kept: Vec<i64> = health.log.iter().map(|probe| probe.start.secs()).collect();
        assert_eq!(kept, [4, 5, 6, 7, 8]);
    }

    #[test]
    fn the_start_period_has_its_own_pace() {
        let schedule = check(10, 3);
        let at = |secs| pause(&starting(), Time::EPOCH, Time::from_secs(secs), &schedule).as_secs();
        assert_eq!((at(0), at(9), at(10)), (5, 5, 30));
        let mut healthy = starting();
        healthy.status = HealthStatus::Healthy;
        assert_eq!(
            pause(&healthy, Time::EPOCH, Time::EPOCH, &schedule).as_secs(),
            30
        );
    }

    #[test]
    fn output_is_cut() {
        assert_eq!(output(b"ok"), "ok");
        assert_eq!(output(&[b'x'; 9000]).len(), MAX_OUTPUT + 3);
        assert_eq!(output(&[0xff]), "\u{fffd}");
    }
}
