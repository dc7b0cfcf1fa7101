//! A manifest that was pushed becomes an image: its blobs are compared, its layers unpacked, and its
//! name given, as with a pull.

use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::StatusCode;

use orc_base::{Context, Kind};

use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::content::Content;
use crate::digest::Digest;
use crate::manifest::{self, Descriptor, Document, Manifest};
use crate::reference::Reference;
use crate::serve::refusal::Refusal;
use crate::store::{Commit, Ingest};
use crate::unpacker::unpack_blob;

/// How many layers are unpacked at once.
const PARALLEL: usize = 3;

/// Reads a manifest that somebody pushed. `media_type` is what its sender calls it.
pub(super) fn read(bytes: &[u8], media_type: Option<&str>) -> Result<Manifest, Refusal> {
    let announced: Vec<&str> = media_type.into_iter().collect();
    let document = Document::parse(bytes, &announced)
        .map_err(|error| Refusal::manifest_invalid(error.to_string()))?;
    match document {
        Document::Manifest(manifest) => {
            manifest::require_image(&manifest)?;
            Ok(manifest)
        }
        Document::Index(_) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "UNSUPPORTED",
            "this registry keeps images of one platform: push the image and not its index",
        )),
    }
}

/// Makes an image of the manifest, under `reference`.
pub(super) async fn keep(
    ingest: Ingest,
    reference: Reference,
    bytes: Vec<u8>,
    manifest: Manifest,
) -> Result<Digest, Refusal> {
    let content = ingest.store().content();
    let blobs = manifest.layers.iter().chain([&manifest.config]);
    for blob in blobs {
        check(content, blob)?;
    }
    let config = ConfigFile::parse(&content.read(&manifest.config.digest, MAX_CONFIG_BYTES)?)
        .context(|| "the image's config")?;
    if config.diff_ids.len() != manifest.layers.len() {
        return Err(Refusal::manifest_invalid(format!(
            "the manifest has {} layers, but the image's config has {}",
            manifest.layers.len(),
            config.diff_ids.len()
        )));
    }
    let blobs = manifest.layers.iter().map(|layer| layer.digest.clone());
    let layers: Vec<(Digest, Digest)> = blobs.zip(config.diff_ids).collect();
    stream::iter(layers)
        .map(|(blob, diff_id)| {
            let ingest = ingest.clone();
            async move { unpack_blob(&ingest, &blob, &diff_id, |_| ()).await }
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<()>()
        .await?;
    let kept = tokio::task::spawn_blocking(move || {
        let digest = Digest::of(&bytes);
        let content = ingest.store().content();
        content.write_whole(&digest, &bytes)?;
        let layers: Vec<Digest> = manifest
            .layers
            .iter()
            .map(|layer| layer.digest.clone())
            .collect();
        let commit = Commit {
            reference: Some(&reference),
            target: None,
            manifest: &digest,
            config: &manifest.config.digest,
            blobs: &layers,
        };
        ingest.store().commit(&ingest, &commit)?;
        Ok(digest)
    });
    kept.await
        .map_err(|error| orc_base::Error::internal(format!("a push was lost: {error}")))?
}

/// Whether a blob of the manifest was sent before it.
fn check(content: &Content, blob: &Descriptor) -> Result<(), Refusal> {
    let unknown = |why: String| Refusal::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", why);
    match content.size(&blob.digest) {
        Ok(size) if size == blob.size => Ok(()),
        Ok(size) => Err(Refusal::manifest_invalid(format!(
            "blob {} has {size} bytes, but the manifest says {}",
            blob.digest, blob.size
        ))),
        Err(error) if error.kind() == Kind::NotFound => Err(unknown(format!(
            "blob {} was not sent: send it before the manifest",
            blob.digest
        ))),
        Err(error) => Err(error.into()),
    }
}
