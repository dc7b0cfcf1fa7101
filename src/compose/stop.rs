//! Stops a container, and says when it had to be killed.
//!
//! A program that does not hear its signal costs its whole grace period at each `down`, and loses
//! what it wanted to write. Mostly it is process 1 without a handler, for which the kernel drops
//! signals (pid_namespaces(7)).

use std::time::Duration;

use orc_base::{Kind, Result};
use orc_host::Host;
use orc_host::container::{Container, State};
use orc_host::stop::StopOptions;
use orc_host::stream::STOP_TIMEOUT;
use tokio::time::Instant;

/// 128 and SIGKILL.
const KILLED: i32 = 137;
/// Grace is counted in seconds; what stops sooner has heard, and nobody asks about it.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// Stops a container. The answer is what is to be said about it, if there is anything: see
/// [`deaf`]. Errors are those of [`Host::stop_container`].
pub(crate) async fn stop(
    host: &dyn Host,
    name: &str,
    timeout: Option<Duration>,
) -> Result<Option<String>> {
    let began = Instant::now();
    host.stop_container(name, &StopOptions::within(timeout))
        .await?;
    let took = began.elapsed();
    if took < timeout.unwrap_or(LEAST_GRACE).max(LEAST_GRACE) {
        return Ok(None);
    }
    match host.inspect_container(name).await {
        Ok(container) => Ok(deaf(&container, timeout, took)),
        // It removed itself.
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        // It is stopped, which is what was asked for.
        Err(error) => {
            tracing::debug!(%error, name, "how it ended is not known");
            Ok(None)
        }
    }
}

/// The sentence about a container that ignored its signal for the whole grace period and was killed;
/// `None` when it ended in another way.
fn deaf(container: &Container, timeout: Option<Duration>, took: Duration) -> Option<String> {
    let State::Exited { exit } = &container.state else {
        return None;
    };
    let grace = timeout
        .or(container.spec.stop_timeout)
        .unwrap_or(STOP_TIMEOUT);
    let signal = signal_name(&container.stop_signal);
    let killed = exit.code == KILLED && !exit.oom_killed && signal != "SIGKILL";
    if !killed || grace.is_zero() || took < grace {
        return None;
    }
    let hint = match container.spec.init {
        true => "set `stop_signal` to one that it handles",
        false => "set `init: true`, or `stop_signal` to one that it handles",
    };
    Some(format!(
        "{} ignored {signal} for {} and was killed: {hint}",
        container.name,
        orc_base::units::format_duration(grace)
    ))
}

/// The name of the usual ones that may be given by number, for people.
fn signal_name(signal: &str) -> String {
    let upper = signal.to_ascii_uppercase();
    match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "9" | "KILL" => "SIGKILL".into(),
        "15" | "TERM" => "SIGTERM".into(),
        number if number.parse::<u8>().is_ok() => format!("signal {number}"),
        name => format!("SIG{name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orc_base::clock::FakeClock;
    use orc_host::container::ContainerSpec;
    use orc_host::fake::FakeHost;
    use orc_host::image::ImageConfig;

    use super::*;

    /// A container that was stopped; in memory all end with 137.
    async fn stopped(spec: ContainerSpec) -> Container {
        let host = FakeHost::new(Arc::new(FakeClock::default()));
        host.add_image("busybox", ImageConfig::default());
        let spec = ContainerSpec {
            image: "busybox".into(),
            command: Some(vec!["sleep".into(), "9".into()]),
            ..spec
        };
        host.create_container(Some("a-1"), &spec).await.unwrap();
        host.start_container("a-1").await.unwrap();
        // It took no time.
        assert_eq!(stop(&host, "a-1", None).await.unwrap(), None);
        host.inspect_container("a-1").await.unwrap()
    }

    #[tokio::test]
    async fn only_who_was_killed_after_its_grace_is_named() {
        let seconds = Duration::from_secs;
        let container = stopped(ContainerSpec::default()).await;
        assert_eq!(
            deaf(&container, None, seconds(10)).unwrap(),
            "a-1 ignored SIGTERM for 10s and was killed: set `init: true`, or `stop_signal` to one that it handles"
        );
        assert_eq!(deaf(&container, None, seconds(9)), None);
        assert!(deaf(&container, Some(seconds(2)), seconds(2)).is_some());
        assert_eq!(deaf(&container, Some(seconds(0)), seconds(2)), None);
        let mut ended = container.clone();
        ended.state = match container.state.clone() {
            State::Exited { mut exit } => {
                exit.code = 0;
                State::Exited { exit }
            }
            other => other,
        };
        assert_eq!(deaf(&ended, None, seconds(10)), None);
        let mut asked_for = container;
        asked_for.stop_signal = "kill".into();
        assert_eq!(deaf(&asked_for, None, seconds(10)), None);
    }

    #[tokio::test]
    async fn the_hint_knows_the_container() {
        let mut container = stopped(ContainerSpec {
            init: true,
            stop_timeout: Some(Duration::from_millis(1500)),
            ..ContainerSpec::default()
        })
        .await;
        container.stop_signal = "USR1".into();
        assert_eq!(
            deaf(&container, None, Duration::from_secs(2)).unwrap(),
            "a-1 ignored SIGUSR1 for 1.5s and was killed: set `stop_signal` to one that it handles"
        );
    }
}
