//! Whether a container that ended starts again, and when.
//!
//! Pure. Docker's rules: waits begin at 100 ms and double to a minute, and begin anew after ten
//! seconds of running. Whoever stops a container by hand is obeyed until someone starts it.

use std::time::Duration;

use orc_host::container::RestartPolicy;

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
    /// How often the policy started it again since someone last did.
    pub restarts: u32,
    /// How long it ran.
    pub ran: Duration,
    /// The wait before this run; zero when someone started it.
    pub waited: Duration,
}

/// How long to wait before the next start; `None` when it stays as it is.
pub(crate) fn after(policy: RestartPolicy, ended: Ended) -> Option<Duration> {
    (!ended.by_hand && wanted(policy, ended)).then(|| match ended.waited {
        _ if ended.ran >= STEADY => FIRST,
        Duration::ZERO => FIRST,
        waited => (waited * 2).min(LONGEST),
    })
}

fn wanted(policy: RestartPolicy, ended: Ended) -> bool {
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnFailure { max_retries } => {
            // Docker takes 0 for no limit.
            let most = max_retries.filter(|most| *most > 0).unwrap_or(u32::MAX);
            ended.code != 0 && ended.restarts < most
        }
    }
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
        restarts: 0,
        ran: Duration::from_millis(5),
        waited: Duration::ZERO,
    };

    #[test]
    fn waits_double_to_a_minute_and_begin_anew() {
        let mut waited = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            waited = after(RestartPolicy::Always, Ended { waited, ..ENDED }).unwrap();
            waits.push(waited.as_millis());
        }
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[10..], [60_000, 60_000]);
        let ran = STEADY;
        let again = after(
            RestartPolicy::Always,
            Ended {
                waited,
                ran,
                ..ENDED
            },
        );
        assert_eq!(again, Some(FIRST));
    }

    #[test]
    fn policies() {
        let failures = |most| RestartPolicy::OnFailure { max_retries: most };
        let ok = Ended { code: 0, ..ENDED };
        let third = Ended {
            restarts: 3,
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
            assert_eq!(after(policy, ended).is_some(), restarts, "{policy:?}");
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
