//! Watches over HTTP: one JSON object a line, until the client goes, its time is up, or its rights are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use orc_base::id::random_bytes;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::kind::ObjectKind;
use crate::objects::{Scope, Watch, WatchEvent};
use crate::server::accept::Form;
use crate::server::reply::Reply;
use crate::server::state::{Call, State};
use crate::server::{options, tables, verbs};
use crate::status::{Reason, Result, Status};

/// How long a watch lasts when the client does not say: between once and twice this, so that not all of
/// them come back at once.
const LIFE: Duration = Duration::from_secs(1800);
/// How often it is asked whether the client may still watch (HAZARDS K13: thirty seconds at most).
const RECHECK: Duration = Duration::from_secs(20);

/// Begins a watch. 429 when there are too many.
pub(super) async fn answer(
    service: &Arc<State>,
    call: Call,
    kind: &'static ObjectKind,
) -> Result<Reply> {
    let permit = service.watch_permit()?;
    let options = options::watch(kind, &call.query)?;
    let scope = Scope::inside(kind, &call.resource.namespace);
    let life = match call.query.number("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.min(86_400)),
        _ => {
            let chance = u16::from_be_bytes(random_bytes());
            LIFE + LIFE * u32::from(chance) / u32::from(u16::MAX)
        }
    };
    let watch = service.objects().watch(&scope, &options).await?;
    let following = Following {
        service: service.clone(),
        call,
        kind,
        watch,
        until: Instant::now() + life,
        recheck: Instant::now() + RECHECK,
        is_over: false,
        _permit: permit,
    };
    let lines = futures_util::stream::unfold(following, |mut following| async move {
        let line = following.next().await?;
        Some((Ok(Frame::data(line)), following))
    });
    let mut reply = Response::new(StreamBody::new(lines).boxed_unsync());
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, json);
    Ok(reply)
}

struct Following {
    service: Arc<State>,
    call: Call,
    kind: &'static ObjectKind,
    watch: Watch,
    until: Instant,
    recheck: Instant,
    is_over: bool,
    /// Counts against the limit of watches until dropped.
    _permit: OwnedSemaphorePermit,
}

impl Following {
    /// The next line; nothing at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        loop {
            let event = tokio::select! {
                event = self.watch.next() => event?,
                () = tokio::time::sleep_until(self.until) => return None,
                () = self.service.stopped() => return None,
                () = tokio::time::sleep_until(self.recheck) => {
                    self.recheck = Instant::now() + RECHECK;
                    match self.service.is_still_allowed(&self.call).await {
                        true => continue,
                        false => Err(Status::new(Reason::Unauthorized, "Unauthorized")),
                    }
                }
            };
            return Some(match event {
                Ok(event) => line(event.name(), &self.object(event)),
                Err(status) => {
                    self.is_over = true;
                    line("ERROR", &status.to_json())
                }
            });
        }
    }

    fn object(&self, event: WatchEvent) -> Value {
        let (WatchEvent::Added(object)
        | WatchEvent::Modified(object)
        | WatchEvent::Deleted(object)
        | WatchEvent::Bookmark(object)) = event;
        match self.call.form {
            Form::Table { version } => tables::of_one(&self.call, self.kind, version, object),
            Form::Metadata => verbs::metadata(&object),
            _ => object.into_value(),
        }
    }
}

fn line(name: &str, object: &Value) -> Bytes {
    let mut line = json!({ "type": name, "object": object }).to_string();
    line.push('\n');
    line.into()
}
