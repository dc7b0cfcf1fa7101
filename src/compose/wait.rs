//! Waits until containers are so far: woken by the machine's events, and looking from time to time
//! all the same, so that a lost event costs two seconds and not for ever.

use std::time::Duration;

use futures_util::StreamExt;
use orc_base::{Error, Kind, Result};
use orc_host::Host;
use orc_host::container::{Container, HealthStatus, State};
use orc_host::event::{EventFilter, Subject};
use orc_host::stream::LogOptions;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::plan::Until;
use crate::plan::compare::{ends_for_good, is_so_far};

/// How long nothing may be heard before somebody looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many events may wait for a slow listener; one that falls behind looks instead.
const BACKLOG: usize = 256;
/// How much of a container's last words an error repeats.
const LAST_WORDS: usize = 3;

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
    NotYet(String),
    Failed(Error),
}

/// Waits for all of `containers`. `note` is told what for, each time it changes.
pub(crate) async fn wait(
    host: &dyn Host,
    changes: &Changes,
    containers: &[String],
    until: Until,
    timeout: Option<Duration>,
    note: &(dyn Fn(String) + Sync),
) -> Result<()> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    for name in containers {
        let mut heard = changes.0.subscribe();
        let mut last = String::new();
        loop {
            let container = host.inspect_container(name).await?;
            match verdict(&container, until) {
                Verdict::Reached => break,
                Verdict::Failed(error) => {
                    return Err(with_last_words(host, &container, error).await);
                }
                Verdict::NotYet(state) if state != last => {
                    note(state.clone());
                    last = state;
                }
                Verdict::NotYet(_) => {}
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let error = Error::timeout(format!(
                    "{name} is {last} and not {} after {}",
                    until.as_str(),
                    orc_base::units::format_duration(timeout.unwrap_or_default())
                ));
                return Err(with_last_words(host, &container, error).await);
            }
            next_change(&mut heard, &container, deadline).await;
        }
    }
    Ok(())
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
        (State::Restarting { .. }, _) => Verdict::NotYet("restarting".into()),
        (State::Created { .. }, _) => Verdict::NotYet("created".into()),
        (State::Running { .. } | State::Paused { .. }, Until::Completed) => {
            Verdict::NotYet("running".into())
        }
        (State::Running { .. } | State::Paused { .. }, _) => health_verdict(container, until),
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
        _ => Verdict::NotYet("starting".into()),
    }
}

/// Adds what the last probe or the container itself said last.
async fn with_last_words(host: &dyn Host, container: &Container, error: Error) -> Error {
    if error.kind() == Kind::Invalid {
        return error;
    }
    let probe = container
        .health
        .as_ref()
        .and_then(|health| health.log.last());
    let words = match probe {
        Some(probe) if container.state.is_running() => one_line(&probe.output),
        _ => last_log_lines(host, &container.name).await,
    };
    match words.is_empty() {
        true => error,
        false => {
            let kind = error.kind();
            let what = match probe.is_some() && container.state.is_running() {
                true => "last probe",
                false => "last output",
            };
            Error::new(kind, format!("{error}: {what}: {words}"))
        }
    }
}

async fn last_log_lines(host: &dyn Host, name: &str) -> String {
    let options = LogOptions {
        tail: Some(LAST_WORDS),
        ..LogOptions::default()
    };
    let read = async {
        let mut lines = host.logs(name, &options).await.ok()?;
        let mut text = String::new();
        while let Some(Ok(line)) = lines.next().await {
            text.push_str(&String::from_utf8_lossy(&line.bytes));
            if text.len() > 4096 {
                break;
            }
        }
        Some(text)
    };
    let text = tokio::time::timeout(LOOK_EVERY, read).await;
    one_line(&text.ok().flatten().unwrap_or_default())
}

/// The text in one line of a bearable length.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
