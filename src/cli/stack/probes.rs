//! Health checks and hooks.
//!
//! A health check of Compose says whether others may use a container, and restarts nothing: that is a
//! readiness probe. While a container starts, failures do not count: a readiness probe needs no
//! `start_period` for that. Commands of probes and hooks are run as they are, without `$(NAME)`.

use std::time::Duration;

use orc_compose::model::service::{Healthcheck, Hook, Service};
use serde_json::{Map, Value, json};

use crate::cli::stack::notes::Notes;

/// Docker's, which are not Kubernetes'.
const INTERVAL: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// `readinessProbe` of a container.
pub(super) fn readiness(service: &Service, notes: &mut Notes) -> Option<Value> {
    let check = service
        .healthcheck
        .as_ref()
        .filter(|check| !check.disable)?;
    let command = command(&service.name, check, notes)?;
    let seconds = |time: Option<Duration>| seconds(time.unwrap_or(INTERVAL));
    Some(json!({
        "exec": {"command": command},
        "failureThreshold": check.retries.unwrap_or(RETRIES).max(1),
        "periodSeconds": seconds(check.interval),
        "timeoutSeconds": seconds(check.timeout),
    }))
}

fn command(service: &str, check: &Healthcheck, notes: &mut Notes) -> Option<Vec<String>> {
    let test: Vec<&str> = check.test.iter().map(String::as_str).collect();
    match test.as_slice() {
        ["NONE", ..] => None,
        ["CMD", words @ ..] => Some(words.iter().map(|word| (*word).to_owned()).collect()),
        ["CMD-SHELL", line, ..] => Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec()),
        _ => {
            notes.service(
                service,
                "healthcheck",
                "the image's own check is not known to Kubernetes: say it by `test`",
            );
            None
        }
    }
}

/// Whole seconds, rounded up, at least one.
pub(super) fn seconds(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    (time.as_secs() + more).max(1)
}

/// `lifecycle` of a container.
pub(super) fn lifecycle(service: &Service, notes: &mut Notes) -> Option<Value> {
    let mut all = Map::new();
    for (key, name, hooks) in [
        ("post_start", "postStart", &service.post_start),
        ("pre_stop", "preStop", &service.pre_stop),
    ] {
        match hooks.as_slice() {
            [] => {}
            [hook] if is_plain(hook) => {
                all.insert(name.into(), json!({"exec": {"command": hook.command}}));
            }
            _ => notes.service(
                &service.name,
                key,
                "left out: Kubernetes runs one command there, as the container's own user and with its variables",
            ),
        }
    }
    (!all.is_empty()).then(|| all.into())
}

fn is_plain(hook: &Hook) -> bool {
    let changes_user = hook.user.is_some() || hook.privileged;
    !changes_user && hook.working_dir.is_none() && hook.environment.is_empty()
}
