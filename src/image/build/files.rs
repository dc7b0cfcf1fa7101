//! What a step has made: a file system as the list of its layers.

use std::path::PathBuf;

use crate::build::key::KeyHasher;
use crate::digest::Digest;
use crate::layers::Layers;

/// Unpacked layers on top of each other; none is an empty file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Their diff ids, lowest first.
    pub(crate) layers: Vec<Digest>,
}

impl Files {
    /// These with one more on top, unless nothing was changed.
    pub(crate) fn with(&self, layer: Option<&Digest>) -> Self {
        let mut layers = self.layers.clone();
        layers.extend(layer.cloned());
        Self { layers }
    }

    /// The same layers in the same order have the same identity, and only these.
    pub(crate) fn identity(&self) -> Digest {
        let mut hasher = KeyHasher::new("files");
        hasher.list(&self.layers);
        hasher.finish()
    }

    /// The directories to stack, topmost first.
    pub(crate) fn lowers(&self, layers: &Layers) -> Vec<PathBuf> {
        layers.stack(&self.layers)
    }
}
