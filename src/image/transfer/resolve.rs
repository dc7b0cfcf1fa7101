//! From a name to the one manifest and config that fit this machine.
//!
//! Everything is fetched by digest from the name on, and each step compares what it got with what the
//! step before announced. The way through indexes is bounded.

use bytes::Bytes;

use orc_base::{Context, Error, Result};

use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::content::Content;
use crate::digest::Digest;
use crate::manifest::{self, Document, MAX_DEPTH, Manifest};
use crate::platform::{self, Platform};
use crate::reference::Reference;
use crate::registry::documents::Fetched;
use crate::registry::session::Session;

/// What a name leads to.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// What the name itself stands for: an index's digest or the manifest's.
    pub(crate) target: Digest,
    /// The manifest's digest and bytes.
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) manifest: Manifest,
    pub(crate) config: ConfigFile,
    pub(crate) config_bytes: Bytes,
    /// What the image is for, when that is not what was wanted.
    pub(crate) mismatch: Option<Platform>,
}

/// Finds the image. `platform` is what the user insists on; none is this machine's.
pub(crate) async fn resolve(
    session: &Session,
    content: &Content,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Result<Resolved> {
    let root = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => session.pinned(digest).await?,
        (None, Some(tag)) => session.tagged(tag).await?,
        (None, None) => return Err(Error::invalid("a reference without tag and digest")),
    };
    let wanted = platform.map_or_else(Platform::host, Platform::normalised);
    let target = root.digest.clone();
    let (fetched, manifest) = descend(session, root, &wanted).await?;
    manifest::require_image(&manifest)?;
    let config_bytes = config(session, content, &manifest).await?;
    let config = ConfigFile::parse(&config_bytes)
        .context(|| format!("the image's config {}", manifest.config.digest.short()))?;
    check_layers(&manifest, &config)?;
    let mismatch = judge_platform(&config, &wanted, platform.is_some())?;
    Ok(Resolved {
        target,
        digest: fetched.digest,
        bytes: fetched.bytes,
        manifest,
        config,
        config_bytes,
        mismatch,
    })
}

/// Chooses in indexes until there is a manifest.
async fn descend(
    session: &Session,
    root: Fetched,
    wanted: &Platform,
) -> Result<(Fetched, Manifest)> {
    let mut fetched = root;
    for _ in 0..MAX_DEPTH {
        let index = match &fetched.document {
            Document::Manifest(manifest) => {
                let manifest = manifest.clone();
                return Ok((fetched, manifest));
            }
            Document::Index(index) => index,
        };
        let offered: Vec<_> = index
            .manifests
            .iter()
            .map(|entry| entry.platform.clone())
            .collect();
        let chosen = platform::choose(wanted, &offered)?;
        fetched = session.described(&index.manifests[chosen]).await?;
    }
    Err(Error::invalid(format!(
        "the image's indexes are nested deeper than {MAX_DEPTH}"
    )))
}

async fn config(session: &Session, content: &Content, manifest: &Manifest) -> Result<Bytes> {
    let descriptor = &manifest.config;
    if content.contains(&descriptor.digest) {
        let bytes = content.read(&descriptor.digest, MAX_CONFIG_BYTES)?;
        return Ok(bytes.into());
    }
    session
        .small_blob(descriptor, MAX_CONFIG_BYTES)
        .await
        .context(|| "the image's config")
}

fn check_layers(manifest: &Manifest, config: &ConfigFile) -> Result<()> {
    let (layers, diff_ids) = (manifest.layers.len(), config.diff_ids.len());
    if layers != diff_ids {
        return Err(Error::invalid(format!(
            "the manifest has {layers} layers, but the image's config has {diff_ids}"
        )));
    }
    for (index, layer) in manifest.layers.iter().enumerate() {
        let twin = manifest.layers[..index]
            .iter()
            .zip(&config.diff_ids)
            .find(|(other, _)| other.digest == layer.digest);
        if let Some((other, diff_id)) = twin
            && (other.size != layer.size || *diff_id != config.diff_ids[index])
        {
            return Err(Error::invalid(format!(
                "layer {} is there twice, with different sizes or contents",
                layer.digest.short()
            )));
        }
    }
    Ok(())
}

/// An image without an index can be for anything. What was insisted on must hold; otherwise it is a
/// warning, because an emulator may run it.
fn judge_platform(
    config: &ConfigFile,
    wanted: &Platform,
    insisted: bool,
) -> Result<Option<Platform>> {
    let image = Platform::new(&config.os, &config.architecture, &config.variant);
    if !image.os.is_empty() && image.os != wanted.os {
        return Err(Error::not_found(format!(
            "there is no image for {wanted}; there is {image}"
        )));
    }
    if image.architecture.is_empty() || wanted.accepts(&image) {
        return Ok(None);
    }
    // Many images for ARM do not say for which version.
    let same = image.architecture == wanted.architecture;
    match (insisted, same) {
        (_, true) => Ok(None),
        (false, false) => Ok(Some(image)),
        (true, false) => Err(Error::not_found(format!(
            "there is no image for {wanted}; there is {image}"
        ))),
    }
}
