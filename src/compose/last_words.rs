//! What a container wrote last, under the error about it.
//!
//! Only what its last run wrote: lines of an earlier run would explain another failure. A container
//! that cannot be asked any more adds nothing; the error is what matters.

use std::time::Duration;

use futures_util::StreamExt;
use orc_base::{Error, Time};
use orc_host::Host;
use orc_host::container::{Container, State};
use orc_host::stream::LogOptions;

/// How many lines are repeated.
const LINES: usize = 10;
/// How much of a line is repeated, in characters.
const LINE_CHARS: usize = 300;
/// How long the lines may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a program writes at once may be so much older than the moment at which its start was noted.
const NOTED_LATE_NANOS: i64 = 1_000_000_000;

/// Adds what the container wrote last, a line each below the error. The first line stays as it is.
pub(crate) async fn with_last_words(host: &dyn Host, container: &Container, error: Error) -> Error {
    let words = tokio::time::timeout(PATIENCE, last_lines(host, container));
    let lines = words.await.unwrap_or_default();
    match lines.is_empty() {
        true => error,
        false => Error::new(
            error.kind(),
            format!(
                "{error}\nlast lines of {}:\n| {}",
                container.name,
                lines.join("\n| ")
            ),
        ),
    }
}

async fn last_lines(host: &dyn Host, container: &Container) -> Vec<String> {
    let Some(began) = began(&container.state) else {
        return Vec::new();
    };
    let options = LogOptions {
        tail: Some(LINES),
        since: Some(earlier(began)),
        ..LogOptions::default()
    };
    let Ok(lines) = host.logs(&container.name, &options).await else {
        return Vec::new();
    };
    lines
        .take(LINES)
        .filter_map(|line| async move { Some(cut(&line.ok()?.bytes)) })
        .collect()
        .await
}

/// When the last run began; `None` when there was none.
fn began(state: &State) -> Option<Time> {
    match state {
        State::Running { started_at, .. } | State::Paused { started_at, .. } => Some(*started_at),
        state => state.exit()?.started_at,
    }
}

fn earlier(time: Time) -> Time {
    Time::from_nanos(time.nanos().saturating_sub(NOTED_LATE_NANOS))
}

/// The line without its end, of a bearable length.
pub(crate) fn cut(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    match text.char_indices().nth(LINE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded() {
        assert_eq!(cut(b"no disk left\r\n"), "no disk left");
        assert_eq!(cut(&[b'x'; 9000]).chars().count(), LINE_CHARS + 1);
        assert_eq!(
            cut("ü".repeat(LINE_CHARS).as_bytes()).chars().count(),
            LINE_CHARS
        );
    }
}
