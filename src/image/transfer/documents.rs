//! The way back of `artifact`: the documents that a registry keeps under one name, as a whole.
//!
//! For text that somebody reads at once, so all of it is in memory and little is allowed. Everything is
//! compared with what was announced; nothing is kept. What the documents mean, and what the names in
//! their annotations may be used for, is for whoever asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use orc_base::{Context, Error, Result};

use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::manifest::{Descriptor, Document};
use crate::reference::Reference;
use crate::registry::documents::Fetched;
use crate::registry::http::Http;
use crate::registry::session::{Access, Session};
use crate::transfer::artifact::{Artifact, ArtifactLayer};

/// The most documents of an artefact.
const MAX_DOCUMENTS: usize = 200;
/// The most bytes of all its documents.
const MAX_BYTES: u64 = 8 << 20;
/// How many documents are fetched at once.
const AT_ONCE: usize = 8;

/// An artefact and the digest of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Of the manifest that has the documents, also when an index led to it.
    pub digest: Digest,
    /// Its `config_type` is set when the manifest has no type of its own.
    pub artifact: Artifact,
}

/// What `Document` leaves out: an artefact is told by it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Layer>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(flatten)]
    descriptor: Descriptor,
}

/// Fetches an artefact. Of an index, the last manifest of that `media_type` is meant.
pub(crate) async fn pull(
    http: &Arc<Http>,
    reference: &Reference,
    media_type: &str,
    credentials: Option<Credentials>,
) -> Result<Pulled> {
    let fetch = async {
        let session = Session::open(http, reference, Access::Pull, &[], credentials).await?;
        let root = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => session.pinned(digest).await?,
            (None, Some(tag)) => session.tagged(tag).await?,
            (None, None) => return Err(Error::invalid("a reference without tag and digest")),
        };
        let found = descend(&session, root, media_type).await?;
        let manifest: Manifest = serde_json::from_slice(&found.bytes)?;
        refuse_many(&manifest.layers)?;
        let fetches = manifest.layers.into_iter();
        let layers = stream::iter(fetches.map(|layer| document(&session, layer)))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let own = manifest.artifact_type.filter(|own| !own.is_empty());
        Ok(Pulled {
            digest: found.digest,
            artifact: Artifact {
                config_type: match own {
                    Some(_) => None,
                    None => Some(manifest.config.media_type),
                },
                media_type: own.unwrap_or_default(),
                layers,
                annotations: manifest.annotations.unwrap_or_default(),
            },
        })
    };
    fetch
        .await
        .context(|| format!("pull {}", reference.familiar()))
}

/// The manifest itself, or the one that an index has of that type.
async fn descend(session: &Session, root: Fetched, media_type: &str) -> Result<Fetched> {
    let Document::Index(_) = &root.document else {
        return Ok(root);
    };
    let index: Index = serde_json::from_slice(&root.bytes)?;
    let mut entries = index.manifests.into_iter().rev();
    let meant = entries.find(|entry| entry.artifact_type.as_deref() == Some(media_type));
    let Some(entry) = meant else {
        return Err(Error::not_found(format!(
            "the index has no manifest of the type `{media_type}`"
        )));
    };
    let found = session.described(&entry.descriptor).await?;
    match found.document {
        Document::Manifest(_) => Ok(found),
        Document::Index(_) => Err(Error::invalid("an index in an index is no artefact")),
    }
}

/// By what is announced, before anything is fetched.
fn refuse_many(layers: &[Layer]) -> Result<()> {
    if layers.len() > MAX_DOCUMENTS {
        return Err(Error::exhausted(format!(
            "the artefact has {} documents, more than {MAX_DOCUMENTS}",
            layers.len()
        )));
    }
    let sizes = layers.iter().map(|layer| layer.descriptor.size);
    let total = sizes.fold(0_u64, u64::saturating_add);
    match total > MAX_BYTES {
        true => Err(Error::exhausted(format!(
            "the documents of the artefact have {total} bytes, more than {MAX_BYTES}"
        ))),
        false => Ok(()),
    }
}

async fn document(session: &Session, layer: Layer) -> Result<ArtifactLayer> {
    Ok(ArtifactLayer {
        bytes: session.small_blob(&layer.descriptor, MAX_BYTES).await?,
        media_type: layer.descriptor.media_type,
        annotations: layer.annotations.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(sizes: &[u64]) -> Vec<Layer> {
        let layer = |size: &u64| Layer {
            descriptor: Descriptor {
                media_type: "text/plain".into(),
                digest: Digest::of(b""),
                size: *size,
                platform: None,
            },
            annotations: None,
        };
        sizes.iter().map(layer).collect()
    }

    #[test]
    fn too_much_is_refused_before_it_is_fetched() {
        assert!(refuse_many(&layers(&[MAX_BYTES])).is_ok());
        for bomb in [
            vec![MAX_BYTES, 1],
            vec![2 << 30],
            vec![u64::MAX, u64::MAX],
            vec![0; MAX_DOCUMENTS + 1],
        ] {
            let error = refuse_many(&layers(&bomb)).unwrap_err();
            assert_eq!(error.kind(), orc_base::Kind::Exhausted, "{error}");
        }
    }

    #[test]
    fn reads_what_registries_have() {
        let digest = Digest::of(b"hello");
        let text = format!(
            r#"{{"schemaVersion":2,"artifactType":"x/y","config":{{"mediaType":"c","digest":"{digest}","size":2}},"layers":[{{"mediaType":"t","digest":"{digest}","size":5,"annotations":{{"k":"v"}}}},{{"mediaType":"t","digest":"{digest}","size":5}}]}}"#
        );
        let manifest: Manifest = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest.artifact_type.as_deref(), Some("x/y"));
        let first = manifest.layers[0].annotations.as_ref().unwrap();
        assert_eq!(first["k"], "v");
        assert_eq!(manifest.layers[1].descriptor.size, 5);
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"t","artifactType":"x/y","digest":"{digest}","size":5}},{{"mediaType":"t","digest":"{digest}","size":5}}]}}"#
        );
        let index: Index = serde_json::from_str(&index).unwrap();
        assert_eq!(index.manifests[0].artifact_type.as_deref(), Some("x/y"));
    }
}
