//! Bodies of requests and answers, the same on both sides.

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use orc_base::Error;
use orc_host::stream::Stream;

/// A body that is sent as it comes.
pub(crate) type Body = UnsyncBoxBody<Bytes, Error>;

/// A body that is all there.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body of what comes; an error breaks the connection off, so that nobody takes it for the end.
pub(crate) fn flowing(bytes: Stream<Bytes>) -> Body {
    StreamBody::new(bytes.map(|bytes| bytes.map(Frame::data))).boxed_unsync()
}

/// A body that was received, as it comes.
pub(crate) fn stream(body: Incoming) -> Stream<Bytes> {
    Box::pin(BodyStream::new(body).filter_map(|frame| async move {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(Error::unavailable(format!("read the body: {error}")))),
        }
    }))
}
