//! Blobs on their way to a registry: there already, taken from a sister repository, or sent.
//!
//! A blob is sent in one request, because that is fastest and every registry takes it. Where a proxy in
//! between refuses so large a body, or the connection broke once, it goes in chunks: then the registry
//! is asked how far it got, and the upload goes on there. The registry's own check of the digest is what
//! counts, and half an upload is never visible.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, StatusCode, Url};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};

use orc_base::{Context, Error, Kind, Result};

use crate::digest::Digest;
use crate::registry::http::{self, Answer, Ask, Payload};
use crate::registry::refusal::Asked;
use crate::registry::retry::{Failure, Hope, Tries};
use crate::registry::session::{Endpoint, Session};

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// The largest chunk that is kept in memory, whatever a registry wants at least.
const MAX_CHUNK_BYTES: u64 = 64 << 20;

/// How an upload began.
enum Begun {
    /// The registry took the blob from the other repository.
    Mounted,
    /// It goes on here, in chunks of at least so many bytes.
    At(Url, u64),
}

/// A blob on disk.
#[derive(Debug, Clone)]
pub(crate) struct Local<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) path: &'a Path,
    pub(crate) size: u64,
}

/// An upload in chunks, as far as it got.
struct Chunked {
    /// Where it goes on; none before it began.
    at: Option<Url>,
    /// How many bytes the registry said it has.
    offset: u64,
    chunk_bytes: u64,
    /// Whether something went wrong since the registry last said how far it is.
    in_doubt: bool,
}

impl Session {
    /// Whether the registry has a blob of this digest and size.
    pub(crate) async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool> {
        let make = |at: &Endpoint| {
            let url = at.url(&format!("blobs/{digest}"))?;
            Ok(Ask::new(Method::HEAD, url))
        };
        let answer = self.ask(&make, Asked::Blob, &[404]).await?;
        let length = answer.header("content-length").map(str::parse::<u64>);
        let same_size = !matches!(length, Some(Ok(other)) if other != size);
        Ok(answer.status().is_success() && same_size)
    }

    /// Asks the registry to take a blob from another of its repositories. False when it does not.
    pub(crate) async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool> {
        let mount = Some((digest, from));
        match self.retry(|| self.begin(mount)).await {
            Ok(Begun::Mounted) => Ok(true),
            // Refusing a mount is no reason to give up: the blob is sent instead.
            Ok(Begun::At(..)) => Ok(false),
            Err(error) if error.kind() == Kind::Unavailable => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Sends a blob. `sent` counts its bytes.
    pub(crate) async fn send_blob(&self, blob: &Local<'_>, sent: &Arc<AtomicU64>) -> Result<()> {
        let limits = self.http().limits();
        let (mut tries, mut resumes) = (Tries::default(), 0);
        let mut chunked: Option<Chunked> = None;
        loop {
            let before = chunked.as_ref().map_or(0, |chunked| chunked.offset);
            let result = match &mut chunked {
                None => self.send_whole(blob, sent).await,
                Some(chunked) => self.send_chunks(blob, sent, chunked).await,
            };
            let Err(failure) = result else {
                return Ok(());
            };
            let too_large = failure.error.kind() == Kind::Exhausted;
            let parts = blob.size > limits.chunk_bytes;
            if chunked.is_none() && parts && (too_large || failure.hope != Hope::None) {
                tracing::debug!(error = %failure.error, "send in chunks");
                chunked = Some(Chunked::new(limits.chunk_bytes));
                if too_large {
                    continue;
                }
            }
            let after = chunked.as_ref().map_or(0, |chunked| chunked.offset);
            if after > before && resumes < limits.resumes {
                resumes += 1;
                tries.reset();
            }
            self.pause(&mut tries, failure).await?;
        }
    }

    /// Sends a small blob from memory.
    pub(crate) async fn send_bytes(&self, digest: &Digest, bytes: &bytes::Bytes) -> Result<()> {
        let send = || async {
            let (at, _) = self.place().await?;
            let payload = || Payload::Bytes(bytes.clone());
            self.finish(&at, digest, &payload).await
        };
        self.retry(send).await
    }

    async fn send_whole(&self, blob: &Local<'_>, sent: &Arc<AtomicU64>) -> Result<(), Failure> {
        let payload = || Payload::File {
            path: blob.path.to_owned(),
            size: blob.size,
            sent: Arc::clone(sent),
        };
        let (at, _) = self.place().await?;
        self.finish(&at, blob.digest, &payload).await
    }

    /// Sends what the registry does not have yet.
    async fn send_chunks(
        &self,
        blob: &Local<'_>,
        sent: &AtomicU64,
        upload: &mut Chunked,
    ) -> Result<(), Failure> {
        let mut file = tokio::fs::File::open(blob.path)
            .await
            .context(|| format!("open {}", blob.path.display()))?;
        let mut at = self.go_on(upload, blob.size).await?;
        sent.store(upload.offset, Ordering::Relaxed);
        upload.in_doubt = true;
        let read = || format!("read {}", blob.path.display());
        let start = SeekFrom::Start(upload.offset);
        file.seek(start).await.context(read)?;
        while upload.offset < blob.size {
            let length = upload.chunk_bytes.min(blob.size - upload.offset);
            let mut chunk = vec![0; length as usize];
            file.read_exact(&mut chunk).await.context(read)?;
            at = self.send_chunk(&at, upload.offset, chunk).await?;
            upload.at = Some(at.clone());
            upload.offset += length;
            sent.store(upload.offset, Ordering::Relaxed);
        }
        self.finish(&at, blob.digest, &|| Payload::Bytes(bytes::Bytes::new()))
            .await
    }

    async fn send_chunk(&self, at: &Url, offset: u64, chunk: Vec<u8>) -> Result<Url, Failure> {
        let range = format!("{offset}-{}", offset + chunk.len() as u64 - 1);
        let range = HeaderValue::from_str(&range)
            .map_err(|_| Error::internal("a range that cannot stand in a header"))?;
        let chunk = bytes::Bytes::from(chunk);
        let make = |_: &Endpoint| {
            let mut ask = Ask::new(Method::PATCH, at.clone());
            ask.headers.insert(CONTENT_RANGE, range.clone());
            ask.headers.insert(CONTENT_TYPE, BYTES);
            ask.payload = Payload::Bytes(chunk.clone());
            Ok(ask)
        };
        let answer = self.once(&make, Asked::Upload, &[]).await?;
        Ok(self.location(at, &answer)?)
    }

    /// Where an upload in chunks goes on, and sets how far it is.
    async fn go_on(&self, upload: &mut Chunked, size: u64) -> Result<Url, Failure> {
        if let Some(at) = upload.at.clone().filter(|_| upload.in_doubt) {
            match self.progress(&at).await? {
                Some((at, offset)) if offset <= size => {
                    upload.offset = offset;
                    upload.at = Some(at.clone());
                    return Ok(at);
                }
                _ => upload.at = None,
            }
        }
        if let Some(at) = upload.at.clone() {
            return Ok(at);
        }
        let (at, least) = self.place().await?;
        upload.offset = 0;
        upload.chunk_bytes = upload.chunk_bytes.max(least.min(MAX_CHUNK_BYTES));
        upload.at = Some(at.clone());
        Ok(at)
    }

    /// How far the registry says an upload is, and where it goes on; none when it forgot the upload.
    async fn progress(&self, at: &Url) -> Result<Option<(Url, u64)>, Failure> {
        let make = |_: &Endpoint| Ok(Ask::new(Method::GET, at.clone()));
        let answer = self.once(&make, Asked::Upload, &[400, 404, 416]).await?;
        let offset = answer.header(RANGE.as_str()).and_then(read_progress);
        match (answer.status().is_success(), offset) {
            (true, Some(offset)) => Ok(Some((self.location(at, &answer)?, offset))),
            _ => Ok(None),
        }
    }

    /// A new upload's place, and its smallest chunk.
    async fn place(&self) -> Result<(Url, u64), Failure> {
        match self.begin(None).await? {
            Begun::At(url, least) => Ok((url, least)),
            Begun::Mounted => Err(Failure::last(Error::invalid(format!(
                "{} says it has a blob that it was not told of",
                self.who()
            )))),
        }
    }

    async fn begin(&self, mount: Option<(&Digest, &str)>) -> Result<Begun, Failure> {
        let make = |at: &Endpoint| {
            let mut url = at.url("blobs/uploads/")?;
            if let Some((digest, from)) = mount {
                url.query_pairs_mut()
                    .append_pair("mount", digest.as_str())
                    .append_pair("from", from);
            }
            let mut ask = Ask::new(Method::POST, url);
            ask.payload = Payload::Bytes(bytes::Bytes::new());
            Ok(ask)
        };
        let answer = self.once(&make, Asked::Upload, &[]).await?;
        if answer.status() == StatusCode::CREATED && mount.is_some() {
            return Ok(Begun::Mounted);
        }
        let asked = self.url("blobs/uploads/")?;
        let least = answer.header("oci-chunk-min-length");
        let least = least.and_then(|least| least.parse().ok()).unwrap_or(0);
        Ok(Begun::At(self.location(&asked, &answer)?, least))
    }

    /// The last request of an upload, after which the blob is there.
    async fn finish(
        &self,
        at: &Url,
        digest: &Digest,
        payload: &(dyn Fn() -> Payload + Send + Sync),
    ) -> Result<(), Failure> {
        let mut at = at.clone();
        at.query_pairs_mut().append_pair("digest", digest.as_str());
        let make = |_: &Endpoint| {
            let mut ask = Ask::new(Method::PUT, at.clone());
            ask.headers.insert(CONTENT_TYPE, BYTES);
            ask.payload = payload();
            Ok(ask)
        };
        self.once(&make, Asked::Upload, &[]).await.map(|_| ())
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

impl Chunked {
    fn new(chunk_bytes: u64) -> Self {
        Self {
            at: None,
            offset: 0,
            chunk_bytes: chunk_bytes.max(1),
            in_doubt: false,
        }
    }
}

/// How many bytes `0-9` are. Registries say `0-0` when there is none; chunks are larger than one byte,
/// so that is what it means.
fn read_progress(range: &str) -> Option<u64> {
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    match range.split_once('-')? {
        ("0", "0") => Some(0),
        ("0", last) => last.trim().parse::<u64>().ok()?.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_far_an_upload_is() {
        for (range, expected) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("0-0", Some(0)),
            ("0-", None),
            ("5-9", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(read_progress(range), expected, "{range}");
        }
    }
}
