//! Answers of the built-in registry: what all of them have in common.

use std::io;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::serve::refusal::Refusal;

/// What is sent; an error breaks the connection off.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer.
pub(super) type Reply = Response<Body>;

/// How much of a blob is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// A status and nothing more.
pub(super) fn empty(status: StatusCode) -> Reply {
    whole(status, Bytes::new())
}

/// Bytes that are all there.
pub(super) fn whole(status: StatusCode, bytes: impl Into<Bytes>) -> Reply {
    let bytes = bytes.into();
    let length = bytes.len() as u64;
    let body = Full::new(bytes).map_err(|never| match never {});
    let mut reply = Response::new(body.boxed_unsync());
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    reply
}

/// JSON.
pub(super) fn json(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let reply = whole(status, text);
    with(reply, CONTENT_TYPE.as_str(), "application/json")
}

/// `length` bytes as they are read.
pub(super) fn stream(
    status: StatusCode,
    length: u64,
    source: impl AsyncRead + Send + 'static,
) -> Reply {
    let pieces = ReaderStream::with_capacity(source, PIECE_BYTES).map_ok(Frame::data);
    let mut reply = Response::new(StreamBody::new(pieces).boxed_unsync());
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    reply
}

/// An error of the specification.
pub(super) fn refusal(refusal: &Refusal) -> Reply {
    let reply = json(refusal.status, refusal.json());
    refusal
        .headers
        .iter()
        .fold(reply, |reply, (name, value)| with(reply, name, value))
}

/// One more header. A value that cannot be one is left out.
pub(super) fn with(mut reply: Reply, name: &str, value: &str) -> Reply {
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
        reply.headers_mut().insert(name, value);
    }
    reply
}
