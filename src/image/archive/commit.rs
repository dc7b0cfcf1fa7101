//! What a container wrote becomes an image: that of the container with one more layer.

use std::path::Path;

use orc_base::{Context, Error, Result, Time};

use crate::config::{ConfigFile, History, ImageConfig, MAX_CONFIG_BYTES, MAX_LAYERS};
use crate::digest::Digest;
use crate::image::Image;
use crate::manifest::{
    DOCKER_LAYER_GZIP, Descriptor, Document, MAX_DOCUMENT_BYTES, Manifest, OCI_CONFIG,
    OCI_LAYER_GZIP,
};
use crate::pack::blob::{self, LayerBlob};
use crate::pack::layer::PackOptions;
use crate::pack::leftovers::Leftovers;
use crate::reference::Reference;
use crate::store::{Commit, Ingest};
use crate::unpack::compression::Compression;
use crate::unpack::stream::Watch;

/// What the image is to be.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// Its name; nameless without one.
    pub reference: Option<Reference>,
    /// Who made it.
    pub author: String,
    /// A word about it for its history.
    pub message: String,
    /// What the container ran, for the history.
    pub created_by: String,
    /// How containers of it start.
    pub config: ImageConfig,
}

/// Makes an image of `parent` and the upper directory of a container of it. Blocks.
pub(crate) fn commit(
    ingest: &Ingest,
    parent: &Digest,
    upper: &Path,
    leftovers: &Leftovers,
    options: &CommitOptions,
    now: Time,
) -> Result<Image> {
    options.config.check()?;
    let store = ingest.store();
    let content = store.content();
    let (_, manifest) = store.find_manifest(parent.as_str())?;
    let below = Document::parse(&content.read(&manifest, MAX_DOCUMENT_BYTES)?, &[])?;
    let Document::Manifest(below) = below else {
        return Err(Error::internal("the manifest of the image is an index"));
    };
    let file = ConfigFile::parse(&content.read(&below.config.digest, MAX_CONFIG_BYTES)?)?;
    if file.diff_ids.len() >= MAX_LAYERS {
        return Err(Error::exhausted(format!(
            "the image has {MAX_LAYERS} layers, and the kernel stacks no more: export the container and import it"
        )));
    }
    let pack = PackOptions {
        clamp: None,
        root: Some(store.layers().root_look(&file.diff_ids)?),
    };
    let layer = blob::blob_without(content, upper, Compression::Gzip, &pack, Some(leftovers))
        .context(|| "take the container's files")?;
    // Read back rather than copied: what others will pull is what is used here.
    let source = content.open_blob(&layer.blob.digest)?;
    let layers = store.layers();
    layers.unpack(&layer.diff_id, source, &Watch::default(), &mut |_| ())?;
    let file = describe(file, &layer, options, now);
    keep(ingest, &file, below.layers, layer, options)
}

fn describe(
    parent: ConfigFile,
    layer: &LayerBlob,
    options: &CommitOptions,
    now: Time,
) -> ConfigFile {
    let mut file = parent;
    file.created = Some(now);
    file.author.clone_from(&options.author);
    file.config.clone_from(&options.config);
    file.diff_ids.push(layer.diff_id.clone());
    file.history.push(History {
        created: Some(now),
        author: options.author.clone(),
        created_by: options.created_by.clone(),
        comment: options.message.clone(),
        empty_layer: false,
    });
    file
}

fn keep(
    ingest: &Ingest,
    file: &ConfigFile,
    below: Vec<Descriptor>,
    layer: LayerBlob,
    options: &CommitOptions,
) -> Result<Image> {
    let content = ingest.store().content();
    let config = file.render()?;
    let id = Digest::of(&config);
    content.write_whole(&id, &config)?;
    let descriptor = Descriptor {
        media_type: OCI_CONFIG.into(),
        digest: id.clone(),
        size: config.len() as u64,
        platform: None,
    };
    let layers: Vec<_> = below
        .into_iter()
        .map(in_oci_words)
        .chain([layer.blob])
        .collect();
    let blobs: Vec<_> = layers.iter().map(|layer| layer.digest.clone()).collect();
    let manifest = Manifest::new(descriptor, layers).to_bytes();
    let digest = Digest::of(&manifest);
    content.write_whole(&digest, &manifest)?;
    ingest.store().commit(
        ingest,
        &Commit {
            reference: options.reference.as_ref(),
            target: None,
            manifest: &digest,
            config: &id,
            blobs: &blobs,
        },
    )
}

/// The same bytes under the name that they have in an OCI manifest.
fn in_oci_words(mut layer: Descriptor) -> Descriptor {
    if layer.media_type == DOCKER_LAYER_GZIP {
        layer.media_type = OCI_LAYER_GZIP.into();
    }
    layer
}
