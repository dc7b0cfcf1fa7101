//! Finds out from the blobs what images there were, when nothing else says so.
//!
//! An image is a manifest whose config, blobs and unpacked layers are all here. Their names are lost;
//! their ids, by which containers know them, are not.

use orc_base::Result;

use crate::catalog::{Addition, Catalog};
use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::content::Content;
use crate::digest::Digest;
use crate::layers::Layers;
use crate::manifest::{Document, MAX_DOCUMENT_BYTES};

/// All images that are here whole, without names.
pub(crate) fn catalog(content: &Content, layers: &Layers) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    for digest in content.list()? {
        if let Some(addition) = image(content, layers, &digest) {
            catalog.add(addition);
        }
    }
    Ok(catalog)
}

fn image(content: &Content, layers: &Layers, manifest: &Digest) -> Option<Addition> {
    if content.size(manifest).ok()? > MAX_DOCUMENT_BYTES {
        return None;
    }
    let bytes = content.read(manifest, MAX_DOCUMENT_BYTES).ok()?;
    let Ok(Document::Manifest(document)) = Document::parse(&bytes, &[]) else {
        return None;
    };
    let id = document.config.digest;
    let config = ConfigFile::parse(&content.read(&id, MAX_CONFIG_BYTES).ok()?).ok()?;
    let blobs: Vec<Digest> = document.layers.into_iter().map(|one| one.digest).collect();
    if blobs.len() != config.diff_ids.len() || !blobs.iter().all(|blob| content.contains(blob)) {
        return None;
    }
    let layers = config.diff_ids.iter().map(|diff_id| {
        let found = layers.contains(diff_id).then(|| layers.describe(diff_id));
        found?.ok()
    });
    Some(Addition {
        id,
        manifest: manifest.clone(),
        blobs,
        layers: layers.collect::<Option<_>>()?,
    })
}
