//! Names on a registry without moving an image: what one leads to, and artefacts, which are no images
//! but a few small documents under one manifest (image-spec, `manifest.md`, "Guidelines for Artifact
//! Usage").

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use orc_base::{Context, Error, Kind, Result};

use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::manifest::{Descriptor, Document, MAX_DOCUMENT_BYTES, OCI_MANIFEST};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::http::Http;
use crate::registry::session::{Access, Session};
use crate::transfer::push::Pushed;

/// The config of an artefact that has none, and its bytes (image-spec 1.1, "Guidance for an Empty
/// Descriptor").
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";
/// The most platforms of an index that are told.
const MAX_PLATFORMS: usize = 200;

/// What a name leads to on its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// What it can run on; empty when it is no image.
    pub platforms: Vec<Platform>,
}

/// Some documents to be kept under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What kind of thing it is.
    pub media_type: String,
    /// The media type of a config of its own, for registries that do not know `artifactType`
    /// (image-spec 1.0); the empty config of image-spec 1.1 when absent.
    pub config_type: Option<String>,
    /// The documents, in order.
    pub layers: Vec<ArtifactLayer>,
    /// What is said about the whole.
    pub annotations: BTreeMap<String, String>,
}

/// One document of an artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactLayer {
    /// What kind of document it is.
    pub media_type: String,
    /// The document.
    pub bytes: Bytes,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    config: Entry<'a>,
    layers: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
}

impl Artifact {
    /// The manifest's bytes; equal artefacts have equal bytes.
    fn manifest(&self) -> Result<Vec<u8>> {
        let own = self.config_type.as_deref();
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            artifact_type: own.is_none().then_some(self.media_type.as_str()),
            config: Entry {
                media_type: own.unwrap_or(EMPTY_CONFIG),
                digest: Digest::of(EMPTY),
                size: EMPTY.len() as u64,
                annotations: None,
            },
            layers: self
                .layers
                .iter()
                .map(|layer| Entry {
                    media_type: &layer.media_type,
                    digest: Digest::of(&layer.bytes),
                    size: layer.bytes.len() as u64,
                    annotations: Some(&layer.annotations).filter(|all| !all.is_empty()),
                })
                .collect(),
            annotations: &self.annotations,
        };
        let bytes = serde_json::to_vec(&manifest)?;
        match bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            true => Err(Error::exhausted(format!(
                "the artefact's manifest is larger than {MAX_DOCUMENT_BYTES} bytes"
            ))),
            false => Ok(bytes),
        }
    }
}

/// Sends an artefact: its documents, then the manifest under the tag of `reference`.
pub(crate) async fn push(
    http: &Arc<Http>,
    reference: &Reference,
    artifact: &Artifact,
    credentials: Option<Credentials>,
) -> Result<Pushed> {
    let send = async {
        let (Some(tag), None) = (reference.tag(), reference.digest()) else {
            return Err(Error::invalid(
                "an artefact is pushed under a tag, not under a digest",
            ));
        };
        let manifest = artifact.manifest()?;
        let session = Session::open(http, reference, Access::Push, &[], credentials).await?;
        let documents = artifact.layers.iter().map(|layer| layer.bytes.clone());
        for bytes in documents.chain([Bytes::from_static(EMPTY)]) {
            let digest = Digest::of(&bytes);
            if !session.has_blob(&digest, bytes.len() as u64).await? {
                session.send_bytes(&digest, &bytes).await?;
            }
        }
        let pushed = Pushed {
            digest: Digest::of(&manifest),
            size_bytes: manifest.len() as u64,
        };
        session
            .put_manifest(tag, OCI_MANIFEST, manifest.into())
            .await
            .context(|| "the manifest")?;
        Ok(pushed)
    };
    send.await
        .context(|| format!("push {}", reference.familiar()))
}

/// Looks a name up on its registry.
pub(crate) async fn look(
    http: &Arc<Http>,
    reference: &Reference,
    credentials: Option<Credentials>,
) -> Result<Found> {
    let look = async {
        let session = Session::open(http, reference, Access::Pull, &[], credentials).await?;
        let fetched = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => session.pinned(digest).await?,
            (None, Some(tag)) => session.tagged(tag).await?,
            (None, None) => return Err(Error::invalid("a reference without tag and digest")),
        };
        let platforms = match &fetched.document {
            Document::Index(index) => {
                let entries = index.manifests.iter();
                let platforms = entries.filter_map(|entry| entry.platform.clone());
                // Attestations are entries for the platform `unknown/unknown`.
                let known = platforms.filter(|platform| platform.os != "unknown");
                known.take(MAX_PLATFORMS).collect()
            }
            Document::Manifest(manifest) => platform(&session, &manifest.config).await?,
        };
        Ok(Found {
            digest: fetched.digest,
            media_type: fetched.document.media_type().to_owned(),
            size_bytes: fetched.bytes.len() as u64,
            platforms,
        })
    };
    look.await
        .context(|| format!("look {} up", reference.familiar()))
}

/// What an image's config says it is for; nothing when it is no image's.
async fn platform(session: &Session, config: &Descriptor) -> Result<Vec<Platform>> {
    let bytes = match session.small_blob(config, MAX_CONFIG_BYTES).await {
        Err(error) if matches!(error.kind(), Kind::Exhausted | Kind::NotFound) => {
            return Ok(Vec::new());
        }
        other => other?,
    };
    let file = ConfigFile::parse(&bytes);
    let known = file.ok().filter(|file| !file.os.is_empty());
    let platform = known.map(|file| Platform::new(&file.os, &file.architecture, &file.variant));
    Ok(platform.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(config_type: Option<&str>) -> Artifact {
        Artifact {
            media_type: "application/vnd.example.thing".into(),
            config_type: config_type.map(str::to_owned),
            layers: vec![ArtifactLayer {
                media_type: "text/plain".into(),
                bytes: Bytes::from_static(b"hello"),
                annotations: [("k".to_owned(), "v".to_owned())].into(),
            }],
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn manifests_of_both_versions() {
        let hello = Digest::of(b"hello");
        let empty = Digest::of(b"{}");
        let new = String::from_utf8(artifact(None).manifest().unwrap()).unwrap();
        assert_eq!(
            new,
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","artifactType":"application/vnd.example.thing","config":{{"mediaType":"{EMPTY_CONFIG}","digest":"{empty}","size":2}},"layers":[{{"mediaType":"text/plain","digest":"{hello}","size":5,"annotations":{{"k":"v"}}}}]}}"#
            )
        );
        let old = String::from_utf8(artifact(Some("x/config")).manifest().unwrap()).unwrap();
        assert!(!old.contains("artifactType") && old.contains(r#""mediaType":"x/config""#));
        Document::parse(new.as_bytes(), &[]).expect("a manifest that is read back");
    }
}
