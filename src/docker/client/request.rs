//! Requests and what is read from their answers.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use orc_base::{Context, Error, Kind, Result};
use orc_host::image_build::BuildSpec;
use orc_host::stream::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::codec::{Decoder, FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use crate::body::{self, Body};
use crate::client::address::Address;
use crate::client::connection::{Connections, whole};
use crate::convert::kind;
use crate::wire::build::BUILD;
use crate::wire::message::Refusal;

/// The longest line of JSON that is read.
const MAX_LINE: usize = 4 << 20;

/// A request.
pub(crate) struct Ask {
    method: &'static str,
    address: Address,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

impl Ask {
    pub(crate) fn get(address: Address) -> Self {
        Self::new("GET", address)
    }

    pub(crate) fn post(address: Address) -> Self {
        Self::new("POST", address)
    }

    pub(crate) fn put(address: Address) -> Self {
        Self::new("PUT", address)
    }

    pub(crate) fn head(address: Address) -> Self {
        Self::new("HEAD", address)
    }

    pub(crate) fn delete(address: Address) -> Self {
        Self::new("DELETE", address)
    }

    fn new(method: &'static str, address: Address) -> Self {
        Self {
            method,
            address,
            headers: Vec::new(),
            body: body::whole(""),
        }
    }

    /// Adds a JSON body.
    pub(crate) fn json(mut self, value: &impl Serialize) -> Result<Self> {
        self.body = body::whole(serde_json::to_vec(value)?);
        Ok(self.header(CONTENT_TYPE.as_str(), "application/json".into()))
    }

    /// Adds a tar archive that is sent as it comes.
    pub(crate) fn tar(mut self, tar: Stream<Bytes>) -> Self {
        self.body = body::flowing(tar);
        self.header(CONTENT_TYPE.as_str(), "application/x-tar".into())
    }

    /// Adds what to build, and the archive of its context.
    pub(crate) fn build(
        mut self,
        spec: &BuildSpec,
        archive: Option<Stream<Bytes>>,
    ) -> Result<Self> {
        let mut line = serde_json::to_vec(spec)?;
        line.push(b'\n');
        let line = stream::iter([Ok(line.into())]);
        self.body = match archive {
            Some(archive) => body::flowing(Box::pin(line.chain(archive))),
            None => body::flowing(Box::pin(line)),
        };
        Ok(self.header(CONTENT_TYPE.as_str(), BUILD.into()))
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn request(self) -> Result<Request<Body>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.address.as_str())
            .header(HOST, "orc");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        request
            .body(self.body)
            .map_err(|error| Error::invalid(format!("this cannot be asked: {error}")))
    }

    /// The whole answer.
    pub(crate) async fn answer(self, connections: &Connections) -> Result<Response<Bytes>> {
        let response = connections.exchange(self.request()?).await?;
        match is_refusal(response.status()) {
            true => Err(refusal(
                response.status(),
                response.headers(),
                response.body(),
            )),
            false => Ok(response),
        }
    }

    /// Only whether it was done.
    pub(crate) async fn done(self, connections: &Connections) -> Result<()> {
        self.answer(connections).await.map(drop)
    }

    /// The answer as JSON.
    pub(crate) async fn read<T: DeserializeOwned>(self, connections: &Connections) -> Result<T> {
        parse(self.answer(connections).await?.body())
    }

    /// The answer as it comes.
    pub(crate) async fn open(self, connections: &Connections) -> Result<Response<Incoming>> {
        let response = connections.open(self.request()?).await?;
        if !is_refusal(response.status()) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = whole(body).await.unwrap_or_default();
        Err(refusal(parts.status, &parts.headers, &body))
    }

    /// The answer's lines, each of them JSON.
    pub(crate) async fn lines<T>(self, connections: &Connections) -> Result<Stream<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let answer = self.open(connections).await?.into_body();
        let lines = FramedRead::new(reader(answer), LinesCodec::new_with_max_length(MAX_LINE));
        let lines = lines.try_filter(|line| std::future::ready(!line.trim().is_empty()));
        Ok(Box::pin(lines.map(|line| match line {
            Ok(line) => parse(line.as_bytes()),
            Err(LinesCodecError::MaxLineLengthExceeded) => Err(Error::exhausted(format!(
                "a line of the daemon's answer is over {MAX_LINE} bytes"
            ))),
            Err(LinesCodecError::Io(error)) => Err(unwrapped(error)),
        })))
    }

    /// The answer's bytes.
    pub(crate) async fn bytes(self, connections: &Connections) -> Result<Stream<Bytes>> {
        Ok(body::stream(self.open(connections).await?.into_body()))
    }

    /// The answer taken apart by `decoder`.
    pub(crate) async fn decoded<D>(
        self,
        connections: &Connections,
        decoder: D,
    ) -> Result<Stream<D::Item>>
    where
        D: Decoder<Error = Error> + Send + 'static,
        D::Item: Send,
    {
        let answer = self.open(connections).await?.into_body();
        Ok(Box::pin(FramedRead::new(reader(answer), decoder)))
    }
}

fn reader(
    answer: Incoming,
) -> StreamReader<impl futures_util::Stream<Item = std::io::Result<Bytes>>, Bytes> {
    StreamReader::new(body::stream(answer).map_err(std::io::Error::other))
}

/// Our own error out of the one that `StreamReader` needs.
fn unwrapped(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => error.into(),
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    serde_json::from_slice(text)
        .map_err(|error| Error::internal(error.to_string()))
        .context(|| "understand the daemon's answer")
}

fn is_refusal(status: StatusCode) -> bool {
    status.as_u16() >= 400 || status == StatusCode::NOT_MODIFIED
}

fn refusal(status: StatusCode, headers: &hyper::HeaderMap, body: &[u8]) -> Error {
    let word = headers
        .get(kind::HEADER)
        .and_then(|word| word.to_str().ok());
    let kind = kind::of(word, status.as_u16());
    let told = serde_json::from_slice::<Refusal>(body)
        .ok()
        .map(|refusal| refusal.message);
    match (told, kind) {
        (Some(message), _) if !message.is_empty() => Error::new(kind, message),
        (_, Kind::Unchanged) => Error::new(kind, "it is already as asked"),
        _ => Error::new(kind, format!("the daemon answered {status}")),
    }
}
