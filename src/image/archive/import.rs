//! The archive of a root file system becomes an image of one layer.

use std::io::Read;

use orc_base::{Context, Result, Time};

use crate::archive::changes;
use crate::archive::intake;
use crate::config::{ConfigFile, History, ImageConfig};
use crate::digest::Digest;
use crate::image::Image;
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Commit, Ingest};

/// What to make of the archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name of the image; nameless without one.
    pub reference: Option<Reference>,
    /// Instructions of a Dockerfile for its config: `CMD ["sh"]`, `ENV A=b`.
    pub changes: Vec<String>,
    /// A word about it for its history.
    pub message: Option<String>,
}

/// Makes the image. Blocks.
pub(crate) fn import(
    ingest: &Ingest,
    tar: impl Read + Send,
    options: &ImportOptions,
    now: Time,
) -> Result<Image> {
    // Before the archive is read: a typing error should not cost a gigabyte.
    let mut config = ImageConfig::default();
    for change in &options.changes {
        changes::apply(&mut config, change)?;
    }
    config.check()?;
    let layer = intake::take(ingest, tar).context(|| "import the archive")?;
    let message = options.message.as_deref();
    let file = describe(config, layer.diff_id, message, now);
    keep(ingest, &file, layer.blob, options.reference.as_ref())
}

fn describe(config: ImageConfig, diff_id: Digest, message: Option<&str>, now: Time) -> ConfigFile {
    let host = Platform::host();
    ConfigFile {
        created: Some(now),
        author: String::new(),
        architecture: host.architecture,
        os: host.os,
        variant: host.variant,
        config,
        diff_ids: vec![diff_id],
        history: vec![History {
            created: Some(now),
            comment: message.unwrap_or("Imported from -").into(),
            ..History::default()
        }],
    }
}

fn keep(
    ingest: &Ingest,
    file: &ConfigFile,
    layer: Descriptor,
    reference: Option<&Reference>,
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
    let blob = layer.digest.clone();
    let manifest = Manifest::new(descriptor, vec![layer]).to_bytes();
    let digest = Digest::of(&manifest);
    content.write_whole(&digest, &manifest)?;
    ingest.store().commit(
        ingest,
        &Commit {
            reference,
            target: None,
            manifest: &digest,
            config: &id,
            blobs: &[blob],
        },
    )
}
