//! Lines of progress: Docker's JSON of them, and back.

use orc_base::units::format_bytes;
use orc_base::{Error, Result};
use orc_host::image::Progress;

use crate::convert::kind;
use crate::wire::message::{ErrorDetail, Message, ProgressDetail};

/// Where the sentence of a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// In `status`: pull, push, import.
    Status,
    /// In `stream`, with a line feed: load.
    Stream,
}

/// How wide Docker draws a bar.
const BAR: u64 = 50;

/// One line.
pub(crate) fn to_wire(progress: &Progress, style: Style) -> Message {
    let mut message = Message {
        id: progress.layer.clone().unwrap_or_default(),
        orc_image: progress.image.clone(),
        ..Message::default()
    };
    match style {
        Style::Status => message.status = progress.status.clone(),
        Style::Stream => message.stream = Some(format!("{}\n", progress.status)),
    }
    if progress.layer.is_some() || progress.bytes.is_some() {
        message.progress_detail = Some(ProgressDetail {
            current: progress.bytes.map(|(current, _)| current),
            total: progress.bytes.map(|(_, total)| total),
        });
    }
    if let Some((current, total)) = progress.bytes {
        message.progress = bar(current, total);
    }
    message
}

/// Without what only orc's client reads.
pub(crate) fn plain(mut message: Message) -> Message {
    message.orc_image = None;
    message.orc_kind.clear();
    message
}

fn bar(current: u64, total: u64) -> String {
    let done = format_bytes(current);
    if total == 0 {
        return done;
    }
    let filled = (u128::from(current.min(total)) * u128::from(BAR) / u128::from(total)) as usize;
    let rest = (BAR as usize).saturating_sub(filled + 1);
    let head = if filled < BAR as usize { ">" } else { "" };
    let total = format_bytes(total);
    format!(
        "[{}{head}{}]  {done:>8}/{total}",
        "=".repeat(filled),
        " ".repeat(rest)
    )
}

/// The line that ends a transfer that failed.
pub(crate) fn failure(error: &Error) -> Message {
    Message {
        error_detail: Some(ErrorDetail {
            code: kind::status(error.kind()),
            message: error.to_string(),
        }),
        error: error.to_string(),
        orc_kind: kind::word(error.kind()).into(),
        ..Message::default()
    }
}

/// The inverse of [`to_wire`] and [`failure`].
pub(crate) fn from_wire(message: Message) -> Result<Progress> {
    if message.error_detail.is_some() || !message.error.is_empty() {
        let detail = message.error_detail.unwrap_or_default();
        let text = match detail.message.is_empty() {
            true => message.error,
            false => detail.message,
        };
        let word = Some(message.orc_kind.as_str()).filter(|word| !word.is_empty());
        return Err(Error::new(kind::of(word, detail.code), text));
    }
    let bytes = message
        .progress_detail
        .and_then(|detail| Some((detail.current?, detail.total?)));
    let status = match message.stream {
        Some(text) => text.strip_suffix('\n').unwrap_or(&text).to_owned(),
        None => message.status,
    };
    Ok(Progress {
        layer: Some(message.id).filter(|id| !id.is_empty()),
        status,
        bytes,
        image: message.orc_image,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        for progress in [
            Progress::message("Pulling from library/busybox"),
            Progress {
                layer: Some("0123456789ab".into()),
                status: "Downloading".into(),
                bytes: Some((5_000_000, 10_000_000)),
                image: None,
            },
            Progress {
                image: Some("sha256:00".into()),
                ..Progress::message("done")
            },
        ] {
            for style in [Style::Status, Style::Stream] {
                let line = serde_json::to_string(&to_wire(&progress, style)).unwrap();
                let back = from_wire(serde_json::from_str(&line).unwrap()).unwrap();
                assert_eq!(back, progress, "{line}");
            }
        }
        for kind in [orc_base::Kind::NotFound, orc_base::Kind::Exhausted] {
            let error = Error::new(kind, "disk full").within("pull x");
            let back = from_wire(failure(&error)).unwrap_err();
            assert_eq!((back.kind(), back.to_string()), (kind, error.to_string()));
        }
    }

    #[test]
    fn docker_sees_its_own_lines() {
        let progress = Progress {
            layer: Some("abc".into()),
            status: "Downloading".into(),
            bytes: Some((1, 2)),
            image: None,
        };
        let line = serde_json::to_string(&plain(to_wire(&progress, Style::Status))).unwrap();
        let bar = format!("[{}>{}]        1B/2B", "=".repeat(25), " ".repeat(24));
        assert_eq!(
            line,
            format!(
                r#"{{"status":"Downloading","progressDetail":{{"current":1,"total":2}},"progress":"{bar}","id":"abc"}}"#
            )
        );
    }

    #[test]
    fn bars_stay_in_their_bounds() {
        for (current, total) in [(0, 0), (0, 1), (9, 3), (u64::MAX, u64::MAX)] {
            let bar = bar(current, total);
            assert!(bar.len() < 80, "{bar}");
        }
    }
}
