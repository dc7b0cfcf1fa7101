//! Waits until containers are so far: woken by the machine's events, and looking from time to time
//! all the same, so that a lost event costs two seconds and not for ever.

use std::time::Duration;

use futures_util::StreamExt;
use orc_base::units::format_duration;
use orc_base::{Error, Kind, Result};
use orc_host::Host;
use orc_host::container::{Container, Health, HealthStatus, State};
use orc_host::event::{EventFilter, Subject};
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::last_words::{cut, with_last_words};
use crate::plan::Until;
use crate::plan::compare::{ends_for_good, has_completed, is_so_far};

/// How long nothing may be heard before somebody looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many events may wait for a slow listener; one that falls behind looks instead.
const BACKLOG: usize = 256;
/// How many failed probes make a container unhealthy when its check does not say.
const RETRIES: u32 = 3;

/// The names and ids of containers that something happened to.
pub(crate) struct Changes(broadcast::Sender<(String, String)>);

impl Changes {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    /// Passes the machine's events on until they end. Without events the waits look by themselves.
    pub(crate) async fn follow(&self, host: &dyn Host) {
        let filter = EventFilter {
            subjects: vec![Subject::Container],
            ..EventFilter::default()
        };
        let mut events = match host.events(filter).await {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(%error, "no events: looking from time to time");
                return;
            }
        };
        while let Some(Ok(event)) = events.next().await {
            let name = event.attributes.get("name").cloned().unwrap_or_default();
            // Nobody listens when nobody waits yet.
            let _ = self.0.send((event.id, name));
        }
    }
}

/// What a look says.
enum Verdict {
    Reached,
    /// The word for its state, and more for whoever watches.
    NotYet(&'static str, String),
    Failed(Error),
}

/// What is waited for.
pub(crate) struct Wanted<'a> {
    /// The service they are of.
    pub(crate) service: &'a str,
    /// The names of the containers.
    pub(crate) containers: &'a [String],
    /// How far they have to be.
    pub(crate) until: Until,
    /// How long that may take.
    pub(crate) timeout: Option<Duration>,
}

/// Waits for all of the containers. `note` is told what for and how far that is, each time it
/// changes: `db: healthy (probe 3 of 10: connection refused)`.
pub(crate) async fn wait(
    host: &dyn Host,
    changes: &Changes,
    wanted: &Wanted<'_>,
    note: &(dyn Fn(String) + Sync),
) -> Result<()> {
    let deadline = wanted.timeout.map(|timeout| Instant::now() + timeout);
    let until = wanted.until;
    for name in wanted.containers {
        let shown = match wanted.containers.len() {
            1 => wanted.service,
            _ => name,
        };
        let mut heard = changes.0.subscribe();
        let mut last = String::new();
        loop {
            let container = host.inspect_container(name).await?;
            let state = match verdict(&container, until) {
                Verdict::Reached => break,
                Verdict::Failed(error) => return Err(explained(host, &container, error).await),
                Verdict::NotYet(state, why) => {
                    if why != last {
                        note(format!("{shown}: {} ({why})", until.as_str()));
                        last = why;
                    }
                    state
                }
            };
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let error = Error::timeout(format!(
                    "{name} is {state} and not {} after {}",
                    until.as_str(),
                    orc_base::units::format_duration(wanted.timeout.unwrap_or_default())
                ));
                return Err(explained(host, &container, error).await);
            }
            next_change(&mut heard, &container, deadline).await;
        }
    }
    Ok(())
}

/// Waits until a container is ready, and `steady` long ready: it has not ended once meanwhile, and is
/// not unhealthy. A one-shot that ended well has shown all there is. `note` is [`wait`]'s.
pub(crate) async fn prove(
    host: &dyn Host,
    changes: &Changes,
    name: &str,
    steady: Duration,
    note: &(dyn Fn(String) + Sync),
) -> Result<()> {
    let mut heard = changes.0.subscribe();
    let mut restarts = None;
    let mut ready: Option<Instant> = None;
    let mut last = String::new();
    loop {
        let container = host.inspect_container(name).await?;
        let restarts = *restarts.get_or_insert(container.restart_count);
        let text = match verdict(&container, Until::Ready) {
            _ if container.restart_count > restarts => {
                let error = Error::conflict(format!("{name} ended and was started again"));
                return Err(explained(host, &container, error).await);
            }
            Verdict::Failed(error) => return Err(explained(host, &container, error).await),
            Verdict::Reached if has_completed(&container) => return Ok(()),
            Verdict::Reached => {
                let since = *ready.get_or_insert_with(Instant::now);
                if since.elapsed() >= steady {
                    return Ok(());
                }
                format!("{name}: ready for {}", format_duration(steady))
            }
            Verdict::NotYet(_, why) => match &container.state {
                State::Restarting { exit } => {
                    let error = Error::conflict(format!("{name} exited with code {}", exit.code));
                    return Err(explained(host, &container, error).await);
                }
                _ => {
                    ready = None;
                    format!("{name}: ready ({why})")
                }
            },
        };
        if text != last {
            note(text.clone());
            last = text;
        }
        next_change(&mut heard, &container, ready.map(|since| since + steady)).await;
    }
}

/// Sleeps until something happens to the container, or it is time to look.
async fn next_change(
    heard: &mut broadcast::Receiver<(String, String)>,
    container: &Container,
    deadline: Option<Instant>,
) {
    let look = Instant::now() + LOOK_EVERY;
    let until = deadline.map_or(look, |deadline| deadline.min(look));
    let change = async {
        loop {
            match heard.recv().await {
                Ok((id, name)) if id == container.id || name == container.name => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    // Either way the caller looks.
    let _ = tokio::time::timeout_at(until, change).await;
}

fn verdict(container: &Container, until: Until) -> Verdict {
    if is_so_far(container, until) {
        return Verdict::Reached;
    }
    let name = &container.name;
    match (&container.state, until) {
        (State::Exited { exit }, Until::Completed) => Verdict::Failed(Error::conflict(format!(
            "{name} did not complete successfully: exit code {}",
            exit.code
        ))),
        (State::Exited { exit }, _) => Verdict::Failed(Error::conflict(match exit.code {
            0 if ends_for_good(container.spec.restart) => {
                format!(
                    "{name} has ended (exit code 0) and will never be {}",
                    until.as_str()
                )
            }
            code => format!("{name} exited with code {code}"),
        })),
        (State::Removing, _) => {
            Verdict::Failed(Error::conflict(format!("{name} is being removed")))
        }
        (State::Restarting { exit }, _) => Verdict::NotYet(
            "restarting",
            format!("restarting after exit code {}", exit.code),
        ),
        (State::Created { .. }, _) => Verdict::NotYet("created", "created".into()),
        (State::Paused { .. }, _) => Verdict::NotYet("paused", "paused".into()),
        (State::Running { .. }, Until::Completed) => Verdict::NotYet("running", "running".into()),
        (State::Running { .. }, _) => health_verdict(container, until),
    }
}

fn health_verdict(container: &Container, until: Until) -> Verdict {
    let status = container.health.as_ref().map(|health| health.status);
    match (status, until) {
        (Some(HealthStatus::Unhealthy), _) => {
            Verdict::Failed(Error::conflict(format!("{} is unhealthy", container.name)))
        }
        (None, Until::Healthy) if container.healthcheck.is_none() => {
            Verdict::Failed(Error::invalid(format!(
                "{} has no healthcheck: give its service one, or wait for service_started",
                container.name
            )))
        }
        _ => Verdict::NotYet("starting", probes(container)),
    }
}

/// How far the health checks of a container are. Only failures that count have a number; those of
/// the start period have none.
fn probes(container: &Container) -> String {
    let Some((health, probe)) = container
        .health
        .as_ref()
        .and_then(|health| Some((health, health.log.last()?)))
    else {
        return "no probe yet".into();
    };
    let retries = container
        .healthcheck
        .as_ref()
        .and_then(|check| check.retries)
        .filter(|retries| *retries > 0)
        .unwrap_or(RETRIES);
    let which = match health.failing_streak {
        0 => "probe in the start period".to_owned(),
        streak => format!("probe {streak} of {retries}"),
    };
    match words(&probe.output) {
        words if words.is_empty() => format!("{which}: exit code {}", probe.exit_code),
        words => format!("{which}: {words}"),
    }
}

/// The first line with something in it.
fn words(output: &str) -> String {
    let line = output.lines().find(|line| !line.trim().is_empty());
    cut(line.unwrap_or_default().trim().as_bytes())
}

/// Adds what the last probe said, and what the container wrote last.
async fn explained(host: &dyn Host, container: &Container, error: Error) -> Error {
    if error.kind() == Kind::Invalid {
        return error;
    }
    let said = last_probe(
        container
            .health
            .as_ref()
            .filter(|_| container.state.is_running()),
    );
    let error = match said {
        Some(said) => Error::new(error.kind(), format!("{error}: last probe: {said}")),
        None => error,
    };
    with_last_words(host, container, error).await
}

fn last_probe(health: Option<&Health>) -> Option<String> {
    let probe = health?.log.last().filter(|probe| probe.exit_code != 0)?;
    Some(match words(&probe.output) {
        words if words.is_empty() => format!("exit code {}", probe.exit_code),
        words => words,
    })
}
