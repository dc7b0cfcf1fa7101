//! Manifests and indexes: fetched, compared with every digest that was announced, and pushed.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use orc_base::{Context, Error, Result};

use crate::digest::Digest;
use crate::manifest::{self, Descriptor, Document, MAX_DOCUMENT_BYTES};
use crate::registry::http::{Ask, Payload};
use crate::registry::refusal::Asked;
use crate::registry::session::{Endpoint, Session};

const DIGEST_HEADER: &str = "docker-content-digest";

/// A document and its exact bytes.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) document: Document,
}

impl Session {
    /// What a tag leads to now.
    pub(crate) async fn tagged(&self, tag: &str) -> Result<Fetched> {
        self.document(tag, None, &[]).await
    }

    /// What a digest names.
    pub(crate) async fn pinned(&self, digest: &Digest) -> Result<Fetched> {
        self.document(digest.as_str(), Some(digest), &[]).await
    }

    /// What an entry of an index names.
    pub(crate) async fn described(&self, descriptor: &Descriptor) -> Result<Fetched> {
        if descriptor.size > MAX_DOCUMENT_BYTES {
            return Err(Error::exhausted(format!(
                "manifest {} is announced with {} bytes, more than {MAX_DOCUMENT_BYTES}",
                descriptor.digest, descriptor.size
            )));
        }
        let announced = [descriptor.media_type.as_str()];
        let digest = &descriptor.digest;
        let fetched = self
            .document(digest.as_str(), Some(digest), &announced)
            .await?;
        if fetched.bytes.len() as u64 != descriptor.size {
            return Err(Error::invalid(format!(
                "manifest {digest} has {} bytes, but {} were announced",
                fetched.bytes.len(),
                descriptor.size
            )));
        }
        Ok(fetched)
    }

    async fn document(
        &self,
        version: &str,
        digest: Option<&Digest>,
        announced: &[&str],
    ) -> Result<Fetched> {
        let accept = HeaderValue::from_str(&manifest::accepted())
            .map_err(|_| Error::internal("media types that cannot stand in a header"))?;
        let make = |at: &Endpoint| {
            let mut ask = Ask::new(Method::GET, at.url(&format!("manifests/{version}"))?);
            ask.headers.insert(ACCEPT, accept.clone());
            Ok(ask)
        };
        let read = |headers: &HeaderMap, bytes: Bytes| {
            let digest = verify(headers, &bytes, digest)?;
            let content_type = headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            let announced: Vec<&str> = announced.iter().copied().chain(content_type).collect();
            let document = Document::parse(&bytes, &announced)
                .context(|| format!("manifest {version} from {}", self.who()))?;
            Ok(Fetched {
                digest,
                bytes,
                document,
            })
        };
        self.ask_whole(&make, Asked::Manifest, MAX_DOCUMENT_BYTES, read)
            .await
    }

    /// Puts a manifest under a tag or its digest.
    pub(crate) async fn put_manifest(
        &self,
        version: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<()> {
        let digest = Digest::of(&bytes);
        let content_type = HeaderValue::from_str(media_type)
            .map_err(|_| Error::invalid("the manifest's media type cannot stand in a header"))?;
        let make = |at: &Endpoint| {
            let mut ask = Ask::new(Method::PUT, at.url(&format!("manifests/{version}"))?);
            ask.headers.insert(CONTENT_TYPE, content_type.clone());
            ask.payload = Payload::Bytes(bytes.clone());
            Ok(ask)
        };
        let answer = self.ask(&make, Asked::Upload, &[]).await?;
        // Not every registry says what it stored; one that says it must have stored our bytes.
        match answer.header(DIGEST_HEADER) {
            Some(stored) if stored != digest.as_str() => Err(Error::invalid(format!(
                "{} stored another manifest than was pushed",
                self.who()
            ))),
            _ => Ok(()),
        }
    }
}

/// The digest of a document, when it is the one that was asked for and the one the registry claims.
fn verify(headers: &HeaderMap, bytes: &[u8], wanted: Option<&Digest>) -> Result<Digest> {
    let claimed = headers
        .get(DIGEST_HEADER)
        .map(|value| Digest::parse(&String::from_utf8_lossy(value.as_bytes())))
        .transpose()
        .context(|| "the registry's Docker-Content-Digest header")?;
    for digest in wanted.into_iter().chain(&claimed) {
        if !digest.matches(bytes) {
            return Err(Error::invalid(format!(
                "the registry's manifest has the digest {}, but {digest} was announced: its bytes are not what was asked for",
                Digest::of(bytes)
            )));
        }
    }
    Ok(wanted.cloned().unwrap_or_else(|| Digest::of(bytes)))
}
