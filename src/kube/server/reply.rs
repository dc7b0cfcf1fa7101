//! How answers are written.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::status::Status;

/// Any body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer.
pub(super) type Reply = Response<Body>;

/// Warnings of an answer, at most.
const MAX_WARNINGS: usize = 20;

pub(super) fn json(code: u16, value: &Value) -> Reply {
    let text = serde_json::to_vec(value).expect("JSON values can be written");
    bytes(code, "application/json", text.into())
}

pub(super) fn text(code: u16, text: &str) -> Reply {
    bytes(code, "text/plain; charset=utf-8", text.to_owned().into())
}

pub(super) fn bytes(code: u16, media: &'static str, bytes: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(bytes).boxed_unsync());
    *reply.status_mut() = StatusCode::from_u16(code).expect("a code of our own");
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(
        "cache-control",
        HeaderValue::from_static("no-cache, private"),
    );
    reply
}

pub(super) fn failure(status: &Status) -> Reply {
    let mut reply = json(status.code(), &status.to_json());
    if status.retry_after_seconds() > 0 {
        let seconds = HeaderValue::from(status.retry_after_seconds());
        reply.headers_mut().insert(RETRY_AFTER, seconds);
    }
    if status.code() == 401 {
        let bearer = HeaderValue::from_static("Bearer");
        reply.headers_mut().insert("www-authenticate", bearer);
    }
    reply
}

/// The same answer with warnings, as kubectl prints them (RFC 7234, section 5.5).
pub(super) fn warned(mut reply: Reply, warnings: &[String]) -> Reply {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        let plain: String = warning
            .chars()
            .take(1000)
            .flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                c if c.is_ascii_graphic() || c == ' ' => vec![c],
                _ => vec!['?'],
            })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{plain}\"")) {
            reply.headers_mut().append(WARNING, value);
        }
    }
    reply
}
