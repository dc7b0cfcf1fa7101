//! A decoded request. Everything a handler decides on is read from here, once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Limited};
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::upgrade::OnUpgrade;
use orc_base::{Clock, Error, Kind, Result, Time};
use orc_host::Host;
use orc_host::stream::Stream;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::body;
use crate::convert::path;
use crate::server::query::Query;

/// The longest JSON body that is read.
const MAX_BODY: usize = 4 << 20;
/// How long a client may take to send it.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a body that nobody wants any more is read on.
const DRAIN: Duration = Duration::from_secs(10);

/// A request.
pub(crate) struct Call {
    /// Who answers it.
    pub(crate) host: Arc<dyn Host>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// The part of the address that names something; empty when the row has none.
    pub(crate) name: String,
    /// What stands after the question mark.
    pub(crate) query: Query,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, not read yet.
    pub(crate) body: Incoming,
    /// The connection behind the request, when the client asks for it.
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl Call {
    /// The time.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Whether orc's own client asks, which reads members that Docker does not have.
    pub(crate) fn extended(&self) -> bool {
        self.query.flag("orc")
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON. It must be there.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        match self.bytes().await? {
            bytes if bytes.is_empty() => {
                Err(Error::invalid("the body is missing: send a JSON object"))
            }
            bytes => self.decode(&bytes),
        }
    }

    /// The body as JSON, or the zero value when there is none.
    pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        match self.bytes().await? {
            bytes if bytes.is_empty() => Ok(T::default()),
            bytes => self.decode(&bytes),
        }
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        // A page in a browser can send text to anybody, but not JSON.
        let media_type = self
            .header(CONTENT_TYPE.as_str())
            .unwrap_or("application/json");
        let plain = media_type.split(';').next().unwrap_or_default().trim();
        if !plain.is_empty() && !plain.eq_ignore_ascii_case("application/json") {
            return Err(Error::invalid(format!(
                "the header `Content-Type` says {plain}: send application/json"
            )));
        }
        path::decode(bytes)
    }

    async fn bytes(&mut self) -> Result<Bytes> {
        let read = Limited::new(&mut self.body, MAX_BODY).collect();
        match tokio::time::timeout(BODY_TIMEOUT, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(Error::invalid(format!(
                "read the body (at most {MAX_BODY} bytes): {error}"
            ))),
            Err(_) => Err(Error::new(
                Kind::Timeout,
                format!("the body did not arrive in {} s", BODY_TIMEOUT.as_secs()),
            )),
        }
    }

    /// The body as it comes, for a reader that may stop in the middle.
    ///
    /// What it leaves unread is read and dropped for a while: a connection that is closed on a
    /// client that still sends takes the answer away from it.
    pub(crate) fn into_stream(self) -> Stream<Bytes> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut pieces = body::stream(self.body);
            while let Some(item) = pieces.next().await {
                if sender.send(item).await.is_err() {
                    let rest = async { while let Some(Ok(_)) = pieces.next().await {} };
                    let _ = tokio::time::timeout(DRAIN, rest).await;
                    return;
                }
            }
        });
        Box::pin(stream::unfold(receiver, |mut receiver| async move {
            let item = receiver.recv().await?;
            Some((item, receiver))
        }))
    }
}
