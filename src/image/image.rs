//! An image as the rest of orc sees it.

use orc_base::Time;

use crate::config::{ConfigFile, History, ImageConfig};
use crate::digest::Digest;
use crate::reference::Reference;

/// An image on this machine, whole: its layers are unpacked and its blobs are here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of its config.
    pub id: Digest,
    /// The digest of its manifest, as it would be pushed.
    pub manifest: Digest,
    /// Its names, in order; none when another image has taken them over.
    pub references: Vec<Reference>,
    /// `name@sha256:…` for each registry it was pulled from or pushed to, in Docker's short form.
    pub repo_digests: Vec<String>,
    /// When it was made.
    pub created: Option<Time>,
    /// Bytes of its unpacked layers.
    pub size_bytes: u64,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v7`, `v8`, …, or empty.
    pub variant: String,
    /// Who made it.
    pub author: String,
    /// How a container starts.
    pub config: ImageConfig,
    /// The digests of its uncompressed layers, lowest first.
    pub layers: Vec<Digest>,
    /// Unpacked bytes of each layer, in the order of `layers`.
    pub layer_sizes: Vec<u64>,
    /// How the layers came to be, lowest first.
    pub history: Vec<History>,
}

/// What the store knows of an image besides its config.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) id: Digest,
    pub(crate) manifest: Digest,
    pub(crate) references: Vec<Reference>,
    pub(crate) repo_digests: Vec<Reference>,
    pub(crate) layer_sizes: Vec<u64>,
}

impl Image {
    pub(crate) fn new(facts: Facts, file: ConfigFile) -> Self {
        Self {
            id: facts.id,
            manifest: facts.manifest,
            references: facts.references,
            repo_digests: facts.repo_digests.iter().map(Reference::familiar).collect(),
            created: file.created,
            size_bytes: facts.layer_sizes.iter().sum(),
            architecture: file.architecture,
            os: file.os,
            variant: file.variant,
            author: file.author,
            config: file.config,
            layers: file.diff_ids,
            layer_sizes: facts.layer_sizes,
            history: file.history,
        }
    }
}

/// One thing that `rmi` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// A name is gone.
    Untagged(String),
    /// An image or a layer is gone.
    Deleted(Digest),
}
