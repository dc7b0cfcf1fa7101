//! A watch, which is a line of JSON for each event.

use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::object::Object;
use crate::objects::{Watch, WatchEvent};
use crate::remote::answer::{Answer, broken};
use crate::status::{Result, Status};

/// Bytes of a line, at most: an object and what is around it.
const MAX_LINE: usize = 8 << 20;

/// Follows an answer to its end.
pub(super) fn watch(answer: Answer) -> Watch {
    let lines = Some(Lines {
        body: answer.body,
        buffer: Vec::new(),
        searched: 0,
    });
    Watch::new(stream::unfold(lines, |lines| async {
        let mut lines = lines?;
        match lines.next().await {
            Ok(None) => None,
            Ok(Some(line)) => match event(&line) {
                Ok(event) => Some((Ok(event), Some(lines))),
                Err(status) => Some((Err(status), None)),
            },
            Err(status) => Some((Err(status), None)),
        }
    }))
}

struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    /// No line ends before this place in the buffer.
    searched: usize,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let end = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let end = self.searched + end + 1;
                let rest = self.buffer.split_off(end);
                self.searched = 0;
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE {
                return Err(broken(&format!("a line of more than {MAX_LINE} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(broken(&format!("a watch broke off: {error}"))),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(broken("a watch ended within a line")),
            }
        }
    }
}

fn event(line: &[u8]) -> Result<WatchEvent> {
    let mut event: Value =
        serde_json::from_slice(line).map_err(|error| broken(&format!("no JSON: {error}")))?;
    let object = event["object"].take();
    let kind = event["type"].as_str().unwrap_or_default();
    if kind == "ERROR" {
        return Err(Status::from_json(&object, 500));
    }
    let object = Object::from_value(object)?;
    match kind {
        "ADDED" => Ok(WatchEvent::Added(object)),
        "MODIFIED" => Ok(WatchEvent::Modified(object)),
        "DELETED" => Ok(WatchEvent::Deleted(object)),
        "BOOKMARK" => Ok(WatchEvent::Bookmark(object)),
        other => Err(broken(&format!("an event of the unknown type {other:?}"))),
    }
}
