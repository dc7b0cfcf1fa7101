//! Blobs on their way to a registry: there already, taken from a sister repository, or sent.
//!
//! A blob is sent in one request, because that is fastest and every registry takes it; where a proxy in
//! between refuses so large a body, in chunks. A broken upload begins anew: the registry's own check of
//! the digest is what counts, and half an upload is never visible.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use tokio::io::AsyncReadExt;

use orc_base::{Context, Error, Kind, Result};

use crate::digest::Digest;
use crate::registry::http::{self, Answer, Ask, Payload};
use crate::registry::refusal::Asked;
use crate::registry::retry::{Failure, Tries};
use crate::registry::session::Session;

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Large enough for every registry's smallest chunk, small enough for every proxy.
const CHUNK_BYTES: u64 = 16 << 20;

/// How an upload began.
enum Begun {
    /// The registry took the blob from the other repository.
    Mounted,
    /// It goes on here.
    At(Url),
}

/// A blob on disk.
#[derive(Debug, Clone)]
pub(crate) struct Local<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) path: &'a Path,
    pub(crate) size: u64,
}

impl Session {
    /// Whether the registry has a blob of this digest and size.
    pub(crate) async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool> {
        let ask = Ask::new(Method::HEAD, self.url(&format!("blobs/{digest}"))?);
        let answer = self.ask(&ask, Asked::Blob, &[404]).await?;
        let length = answer.header("content-length").map(str::parse::<u64>);
        let same_size = !matches!(length, Some(Ok(other)) if other != size);
        Ok(answer.status().is_success() && same_size)
    }

    /// Asks the registry to take a blob from another of its repositories. False when it does not.
    pub(crate) async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool> {
        match self.begin(Some((digest, from))).await {
            Ok(Begun::Mounted) => Ok(true),
            // Refusing a mount is no reason to give up: the blob is sent instead.
            Ok(Begun::At(_)) => Ok(false),
            Err(error) if error.kind() == Kind::Unavailable => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Sends a blob. `sent` counts its bytes.
    pub(crate) async fn send_blob(&self, blob: &Local<'_>, sent: &Arc<AtomicU64>) -> Result<()> {
        let mut tries = Tries::default();
        loop {
            let whole = self.send_once(blob, sent).await;
            let failure = match whole {
                Ok(()) => return Ok(()),
                Err(failure)
                    if failure.error.kind() == Kind::Exhausted && blob.size > CHUNK_BYTES =>
                {
                    tracing::debug!(error = %failure.error, "send in chunks");
                    match self.send_chunks(blob, sent).await {
                        Ok(()) => return Ok(()),
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            self.pause(&mut tries, failure).await?;
        }
    }

    async fn send_once(&self, blob: &Local<'_>, sent: &Arc<AtomicU64>) -> Result<(), Failure> {
        let payload = Payload::File {
            path: blob.path.to_owned(),
            size: blob.size,
            sent: Arc::clone(sent),
        };
        let at = self.place().await?;
        self.finish(at, blob.digest, payload).await
    }

    async fn send_chunks(&self, blob: &Local<'_>, sent: &AtomicU64) -> Result<(), Failure> {
        sent.store(0, Ordering::Relaxed);
        let mut file = tokio::fs::File::open(blob.path)
            .await
            .context(|| format!("open {}", blob.path.display()))?;
        let mut at = self.place().await?;
        let mut offset = 0;
        while offset < blob.size {
            let length = CHUNK_BYTES.min(blob.size - offset);
            let mut chunk = vec![0; length as usize];
            file.read_exact(&mut chunk)
                .await
                .context(|| format!("read {}", blob.path.display()))?;
            let mut ask = Ask::new(Method::PATCH, at.clone());
            let range = format!("{offset}-{}", offset + length - 1);
            let range = HeaderValue::from_str(&range)
                .map_err(|_| Error::internal("a range that cannot stand in a header"))?;
            ask.headers.insert(CONTENT_RANGE, range);
            ask.headers.insert(CONTENT_TYPE, BYTES);
            ask.payload = Payload::Bytes(chunk.into());
            let answer = self.once(&ask, Asked::Upload, &[]).await?;
            at = self.location(&at, &answer)?;
            offset += length;
            sent.store(offset, Ordering::Relaxed);
        }
        self.finish(at, blob.digest, Payload::Nothing).await
    }

    /// A new upload's place.
    async fn place(&self) -> Result<Url, Failure> {
        match self.begin_once(None).await? {
            Begun::At(url) => Ok(url),
            Begun::Mounted => Err(Failure::last(Error::invalid(format!(
                "{} says it has a blob that it was not told of",
                self.who()
            )))),
        }
    }

    async fn begin(&self, mount: Option<(&Digest, &str)>) -> Result<Begun> {
        self.retry(|| self.begin_once(mount)).await
    }

    async fn begin_once(&self, mount: Option<(&Digest, &str)>) -> Result<Begun, Failure> {
        let mut url = self.url("blobs/uploads/")?;
        if let Some((digest, from)) = mount {
            url.query_pairs_mut()
                .append_pair("mount", digest.as_str())
                .append_pair("from", from);
        }
        let mut ask = Ask::new(Method::POST, url.clone());
        ask.payload = Payload::Bytes(bytes::Bytes::new());
        let answer = self.once(&ask, Asked::Upload, &[]).await?;
        match answer.status() {
            StatusCode::CREATED if mount.is_some() => Ok(Begun::Mounted),
            _ => Ok(Begun::At(self.location(&url, &answer)?)),
        }
    }

    /// The last request of an upload, after which the blob is there.
    async fn finish(&self, mut at: Url, digest: &Digest, payload: Payload) -> Result<(), Failure> {
        at.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut ask = Ask::new(Method::PUT, at);
        ask.headers.insert(CONTENT_TYPE, BYTES);
        ask.payload = match payload {
            Payload::Nothing => Payload::Bytes(bytes::Bytes::new()),
            payload => payload,
        };
        self.once(&ask, Asked::Upload, &[]).await.map(|_| ())
    }

    /// Where an upload goes on.
    fn location(&self, asked: &Url, answer: &Answer) -> Result<Url> {
        let header = answer.response.headers().get(LOCATION).ok_or_else(|| {
            Error::invalid(format!("{} does not say where an upload goes", self.who()))
        })?;
        let mut url = http::locate(asked, header)?;
        // Behind a proxy that speaks TLS for it, a registry takes its own address for plain HTTP.
        let home = &self.home().url;
        if home.scheme() == "https" && url.scheme() == "http" && url.host() == home.host() {
            let port = home.port();
            if url.set_scheme("https").is_err() || url.set_port(port).is_err() {
                return Err(Error::invalid("an upload's address without a host"));
            }
        }
        Ok(url)
    }
}
