//! Answers: JSON, nothing, text, or a stream; and errors as Docker's refusals.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use orc_base::{Error, Kind, Result};
use orc_host::stream::Stream;
use serde::Serialize;

use crate::body::{self, Body};
use crate::convert::kind;
use crate::wire::message::Refusal;

/// An answer.
pub(crate) type Reply = Response<Body>;

/// JSON, with its line feed as Go writes it.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Reply> {
    let mut bytes = serde_json::to_vec(value).map_err(|error| {
        Error::from(error)
            .with_kind(Kind::Internal)
            .within("write the answer")
    })?;
    bytes.push(b'\n');
    Ok(with_type(status, "application/json", body::whole(bytes)))
}

/// 200 and JSON.
pub(crate) fn ok(value: &impl Serialize) -> Result<Reply> {
    json(StatusCode::OK, value)
}

/// A status that says it all.
pub(crate) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(body::whole(Bytes::new()));
    *reply.status_mut() = status;
    reply
}

/// Text.
pub(crate) fn text(status: StatusCode, text: &'static str) -> Reply {
    with_type(status, "text/plain; charset=utf-8", body::whole(text))
}

/// What comes, as it comes.
pub(crate) fn stream(media_type: &'static str, stream: Stream<Bytes>) -> Reply {
    with_type(StatusCode::OK, media_type, body::flowing(stream))
}

/// A refusal. [`Kind::Unchanged`] has no body: its status has none in HTTP.
pub(crate) fn refusal(error: &Error) -> Reply {
    let status = kind::status(error.kind());
    refusal_as(
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        error,
    )
}

/// A refusal with a status of its own.
pub(crate) fn refusal_as(status: StatusCode, error: &Error) -> Reply {
    let message = error.to_string();
    let mut reply = match status {
        StatusCode::NOT_MODIFIED => empty(status),
        _ => json(status, &Refusal { message }).unwrap_or_else(|_| empty(status)),
    };
    reply.headers_mut().insert(
        HeaderName::from_static(kind::HEADER),
        HeaderValue::from_static(kind::word(error.kind())),
    );
    reply
}

fn with_type(status: StatusCode, media_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}
