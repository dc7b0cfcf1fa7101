//! Whether a container that ended starts again, and when.
//!
//! Pure. Docker's rules: waits begin at 100 ms and double to a minute, and begin anew after ten
//! seconds of running. A container with a pace of its own (`deploy.restart_policy` of Compose files)
//! waits as long as that says, and a start that held for the pace's window counts for no limit.
//! Whoever stops a container by hand is obeyed until someone starts it.

use std::time::Duration;

use orc_host::container::{RestartPace, RestartPolicy};

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// After so much running the waits begin anew.
const STEADY: Duration = Duration::from_secs(10);

/// What is known of a container that just ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// Its exit code.
    pub code: i32,
    /// Someone asked it to end.
    pub by_hand: bool,
    /// The starts by the policy that count, this run's among them if the policy began it.
    pub attempts: u32,
    /// How long it ran.
    pub ran: Duration,
    /// The wait before this run; zero when someone started it.
    pub waited: Duration,
}

/// A start that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry {
    /// When, from now.
    pub wait: Duration,
    /// The starts that count from then on.
    pub attempts: u32,
}

/// The next start; `None` when it stays as it is.
pub(crate) fn after(policy: RestartPolicy, pace: RestartPace, ended: Ended) -> Option<Retry> {
    let held = pace.window.is_some_and(|window| ended.ran >= window);
    let attempts = ended.attempts.saturating_sub(u32::from(held));
    let goes_on = !ended.by_hand && wanted(policy, ended.code) && attempts < most(policy, pace);
    goes_on.then(|| Retry {
        wait: pace.delay.unwrap_or_else(|| growing(ended)),
        attempts: attempts.saturating_add(1),
    })
}

fn growing(ended: Ended) -> Duration {
    match ended.waited {
        _ if ended.ran >= STEADY => FIRST,
        Duration::ZERO => FIRST,
        waited => (waited * 2).min(LONGEST),
    }
}

fn wanted(policy: RestartPolicy, code: i32) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { .. } => code != 0,
    }
}

/// The most starts that count. Docker takes 0 for no limit.
fn most(policy: RestartPolicy, pace: RestartPace) -> u32 {
    let own = match policy {
        RestartPolicy::OnFailure { max_retries } => max_retries,
        _ => None,
    };
    let most = own.or(pace.max_attempts);
    most.filter(|most| *most > 0).unwrap_or(u32::MAX)
}

/// Whether a container that does not run is started when the machine has booted.
pub(crate) fn at_boot(policy: RestartPolicy, was_running: bool, by_hand: bool) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !by_hand,
        RestartPolicy::OnFailure { .. } => was_running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: Ended = Ended {
        code: 1,
        by_hand: false,
        attempts: 0,
        ran: Duration::from_millis(5),
        waited: Duration::ZERO,
    };

    const PLAIN: RestartPace = RestartPace {
        delay: None,
        window: None,
        max_attempts: None,
    };

    fn wait(pace: RestartPace, ended: Ended) -> Duration {
        after(RestartPolicy::Always, pace, ended).unwrap().wait
    }

    #[test]
    fn waits_double_to_a_minute_and_begin_anew() {
        let mut waited = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            waited = wait(PLAIN, Ended { waited, ..ENDED });
            waits.push(waited.as_millis());
        }
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[10..], [60_000, 60_000]);
        let steady = Ended {
            waited,
            ran: STEADY,
            ..ENDED
        };
        assert_eq!(wait(PLAIN, steady), FIRST);
    }

    #[test]
    fn a_delay_is_the_same_each_time() {
        for delay in [Duration::ZERO, Duration::from_secs(300)] {
            let pace = RestartPace {
                delay: Some(delay),
                ..PLAIN
            };
            for waited in [Duration::ZERO, delay] {
                assert_eq!(wait(pace, Ended { waited, ..ENDED }), delay);
            }
        }
    }

    /// Which of these runs, in milliseconds, are followed by another one.
    fn followed(policy: RestartPolicy, pace: RestartPace, runs: &[u64]) -> Vec<bool> {
        let mut attempts = 0;
        let each = runs.iter().map(|ran| {
            let ended = Ended {
                attempts,
                ran: Duration::from_millis(*ran),
                ..ENDED
            };
            let next = after(policy, pace, ended);
            attempts = next.map_or(attempts, |next| next.attempts);
            next.is_some()
        });
        each.collect()
    }

    #[test]
    fn starts_that_hold_for_the_window_count_for_no_limit() {
        let two = RestartPace {
            max_attempts: Some(2),
            ..PLAIN
        };
        let failures = RestartPolicy::OnFailure {
            max_retries: Some(2),
        };
        for (policy, pace) in [(RestartPolicy::Always, two), (failures, PLAIN)] {
            assert_eq!(followed(policy, pace, &[5, 5, 5]), [true, true, false]);
            let windowed = RestartPace {
                window: Some(Duration::from_millis(100)),
                ..pace
            };
            // What someone started and held is no restart that could have counted.
            assert_eq!(
                followed(policy, windowed, &[500, 5, 100, 500, 99]),
                [true, true, true, true, false]
            );
        }
        let none = RestartPace {
            max_attempts: Some(0),
            ..PLAIN
        };
        assert_eq!(followed(RestartPolicy::Always, none, &[5; 9]), [true; 9]);
    }

    #[test]
    fn policies() {
        let failures = |most| RestartPolicy::OnFailure { max_retries: most };
        let ok = Ended { code: 0, ..ENDED };
        let third = Ended {
            attempts: 3,
            ..ENDED
        };
        let by_hand = Ended {
            by_hand: true,
            ..ENDED
        };
        for (policy, ended, restarts) in [
            (RestartPolicy::No, ENDED, false),
            (RestartPolicy::Always, ok, true),
            (RestartPolicy::Always, by_hand, false),
            (RestartPolicy::UnlessStopped, ok, true),
            (failures(None), ok, false),
            (failures(None), third, true),
            (failures(Some(0)), third, true),
            (failures(Some(3)), third, false),
            (failures(Some(4)), third, true),
        ] {
            assert_eq!(
                after(policy, PLAIN, ended).is_some(),
                restarts,
                "{policy:?}"
            );
        }
    }

    #[test]
    fn boot_obeys_a_stop_by_hand_only_for_unless_stopped() {
        for (policy, was_running, by_hand, starts) in [
            (RestartPolicy::No, true, false, false),
            (RestartPolicy::Always, false, true, true),
            (RestartPolicy::UnlessStopped, false, true, false),
            (RestartPolicy::UnlessStopped, true, false, true),
            (
                RestartPolicy::OnFailure { max_retries: None },
                true,
                false,
                true,
            ),
            (
                RestartPolicy::OnFailure { max_retries: None },
                false,
                false,
                false,
            ),
        ] {
            assert_eq!(at_boot(policy, was_running, by_hand), starts, "{policy:?}");
        }
    }
}
