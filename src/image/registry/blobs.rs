//! Blobs as they come: a stream that begins where it was asked to, and never waits for ever.
//!
//! Bytes are handed on unverified; `transfer/download.rs` hashes them as it writes.

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, timeout};

use orc_base::{Context, Error, Result};

use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::registry::config::Limits;
use crate::registry::http::{self, Answer, Ask};
use crate::registry::refusal::Asked;
use crate::registry::retry::Failure;
use crate::registry::session::{Endpoint, Session};

/// The bytes of a blob from `start` on.
#[derive(Debug)]
pub(crate) struct BlobStream {
    answer: Answer,
    who: String,
    limits: Limits,
    pace: Pace,
    /// Where the stream begins: where it was asked to, or 0 when the registry does not resume.
    pub(crate) start: u64,
}

impl Session {
    /// Opens a blob at `offset`. Tries once; the caller knows how far it got and what to retry.
    pub(crate) async fn open_blob(
        &self,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<BlobStream, Failure> {
        let make = |at: &Endpoint| {
            let mut ask = Ask::new(Method::GET, at.url(&format!("blobs/{}", blob.digest))?);
            if offset > 0 {
                let range = format!("bytes={offset}-");
                let range = HeaderValue::from_str(&range)
                    .map_err(|_| Error::internal("a range that cannot stand in a header"))?;
                ask.headers.insert(RANGE, range);
            }
            Ok(ask)
        };
        let answer = self.once(&make, Asked::Blob, &[416]).await?;
        let start = begin(&answer, offset, blob.size)?;
        check_length(&answer, blob, start)?;
        Ok(BlobStream {
            answer,
            who: self.who(),
            limits: self.http().limits().clone(),
            pace: Pace::new(Instant::now()),
            start,
        })
    }

    /// A small blob as a whole, compared with its descriptor.
    pub(crate) async fn small_blob(&self, blob: &Descriptor, limit: u64) -> Result<Bytes> {
        if blob.size > limit {
            return Err(Error::exhausted(format!(
                "blob {} is announced with {} bytes, more than {limit}",
                blob.digest, blob.size
            )));
        }
        let make = |at: &Endpoint| {
            let url = at.url(&format!("blobs/{}", blob.digest))?;
            Ok(Ask::new(Method::GET, url))
        };
        let read = |_: &HeaderMap, bytes: Bytes| check_whole(blob, bytes);
        self.ask_whole(&make, Asked::Blob, blob.size, read)
            .await
            .context(|| format!("blob {}", blob.digest))
    }
}

/// The bytes, when they are what the descriptor says.
fn check_whole(blob: &Descriptor, bytes: Bytes) -> Result<Bytes> {
    if bytes.len() as u64 != blob.size {
        return Err(Error::invalid(format!(
            "it has {} bytes, but {} were announced",
            bytes.len(),
            blob.size
        )));
    }
    if !blob.digest.matches(&bytes) {
        return Err(Error::invalid(format!(
            "it has the digest {}: its bytes are not what was announced",
            Digest::of(&bytes)
        )));
    }
    Ok(bytes)
}

/// Where the answer to a request from `offset` on begins.
fn begin(answer: &Answer, offset: u64, size: u64) -> Result<u64, Failure> {
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => {
            let range = answer.header(CONTENT_RANGE.as_str()).and_then(read_range);
            match range {
                Some((start, total)) if start == offset && total.is_none_or(|t| t == size) => {
                    Ok(start)
                }
                _ => Err(no_range()),
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE => Err(no_range()),
        _ => Ok(0),
    }
}

/// The registry answers a request for a range with another range. The caller begins anew, so this is
/// not the end.
fn no_range() -> Failure {
    Failure::passing(Error::conflict(
        "the registry does not go on where the download broke off",
    ))
}

/// `bytes 5-9/10` as the start and the total, which may be `*`.
fn read_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (start <= end).then_some((start, total))
}

/// Refuses an answer of another length before a single byte of it is written.
fn check_length(answer: &Answer, blob: &Descriptor, start: u64) -> Result<(), Failure> {
    let expected = blob.size - start.min(blob.size);
    match answer.response.content_length() {
        Some(length) if length > expected => {
            let what = match answer.header(CONTENT_TYPE.as_str()) {
                Some(kind) if kind.starts_with("text/html") => " of a web page",
                _ => "",
            };
            Err(Failure::last(Error::invalid(format!(
                "blob {} comes with {length} bytes{what}, but {expected} were announced",
                blob.digest
            ))))
        }
        // Fewer, and not because a connection broke: the registry has only a part of it.
        Some(length) if length < expected => Err(Failure::last(Error::invalid(format!(
            "blob {} has {} bytes on the registry, but {} were announced: it is truncated there",
            blob.digest,
            start + length,
            blob.size
        )))),
        _ => Ok(()),
    }
}

impl BlobStream {
    /// The next bytes; none at the end, which may come too early.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = match timeout(self.limits.stall, self.answer.response.chunk()).await {
            Ok(chunk) => chunk.map_err(|error| http::explain(&error, &self.who))?,
            Err(_) => {
                return Err(Failure::passing(Error::timeout(format!(
                    "{} sent nothing for {} s in the middle of a layer",
                    self.who,
                    self.limits.stall.as_secs_f32().ceil()
                ))));
            }
        };
        let arrived = chunk.as_ref().map_or(0, Bytes::len) as u64;
        if self.pace.is_dead(arrived, Instant::now(), &self.limits) {
            return Err(Failure::passing(Error::timeout(format!(
                "{} sends less than {} bytes in {} s",
                self.who,
                self.limits.slow_bytes,
                self.limits.slow_window.as_secs_f32().ceil()
            ))));
        }
        Ok(chunk)
    }
}

/// How fast bytes come, one window of time after the other.
#[derive(Debug)]
struct Pace {
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            bytes: 0,
        }
    }

    /// Counts what arrived; true when a whole window brought too little.
    fn is_dead(&mut self, arrived: u64, now: Instant, limits: &Limits) -> bool {
        self.bytes += arrived;
        if now.duration_since(self.since) < limits.slow_window {
            return false;
        }
        let dead = self.bytes < limits.slow_bytes;
        *self = Self::new(now);
        dead
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reads_ranges() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 0-0/*", Some((0, None))),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 5-/10", None),
            ("bytes -5-9/10", None),
            ("bytes 5-9", None),
            ("lines 5-9/10", None),
            ("", None),
        ] {
            assert_eq!(read_range(text), expected, "{text}");
        }
    }

    #[test]
    fn a_trickle_is_a_dead_connection() {
        let limits = Limits::default();
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut pace = Pace::new(start);
        assert!(!pace.is_dead(1, at(59), &limits));
        assert!(pace.is_dead(1, at(60), &limits));
        assert!(!pace.is_dead(limits.slow_bytes, at(120), &limits));
        assert!(pace.is_dead(1, at(181), &limits));
    }
}
