//! The part of the store that counts how much space images and the build cache take.
//!
//! By blocks on disk, unpacked layers and the blobs beside them, each once however many images share
//! it. The files of a layer do not change, so each layer is counted once in the life of a store.

use std::collections::{HashMap, HashSet};

use orc_base::Result;

use crate::cache::{CacheEntry, CacheKind};
use crate::digest::Digest;
use crate::store::{Store, lock};
use crate::usage::Usage;

/// The space that images and the build cache take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Each image.
    pub images: Vec<ImageFootprint>,
    /// What all images take together.
    pub images_bytes: u64,
    /// What of that no image in use needs.
    pub images_unused_bytes: u64,
    /// What may be used again in builds. A record's size is what its removal frees; that of one whose
    /// layer an image has is what the image has as well.
    pub cache: Vec<CacheEntry>,
    /// What the records take besides the images.
    pub cache_bytes: u64,
}

/// The space that an image takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFootprint {
    /// The image.
    pub id: Digest,
    /// All its layers and blobs.
    pub bytes: u64,
    /// What of that other images have as well.
    pub shared_bytes: u64,
}

/// A layer or a blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    Layer(Digest),
    Blob(Digest),
}

impl Store {
    /// Counts the space that images and the build cache take. `used` are ids of images that must stay.
    pub(crate) fn footprint(&self, used: &HashSet<String>) -> Result<Footprint> {
        let images: Vec<(Digest, HashSet<Piece>)> = self
            .parts()
            .into_iter()
            .map(|image| {
                let layers = image.layers.iter();
                let layers = layers.map(|layer| Piece::Layer(layer.diff_id.clone()));
                let blobs = image.blobs().into_iter();
                let blobs = blobs.map(|need| Piece::Blob(need.blob));
                let pieces = layers.chain(blobs).collect();
                (image.id, pieces)
            })
            .collect();
        let mut users: HashMap<&Piece, usize> = HashMap::new();
        for piece in images.iter().flat_map(|(_, pieces)| pieces) {
            *users.entry(piece).or_default() += 1;
        }
        let mut sizes = HashMap::new();
        for piece in users.keys() {
            sizes.insert((*piece).clone(), self.piece(piece)?);
        }
        let sum = |pieces: &HashSet<Piece>, wanted: &dyn Fn(&Piece) -> bool| {
            let pieces = pieces.iter().filter(|piece| wanted(piece));
            pieces.map(|piece| sizes[piece]).sum()
        };
        let in_use = images.iter().filter(|(id, _)| used.contains(id.as_str()));
        let needed: HashSet<&Piece> = in_use.flat_map(|(_, pieces)| pieces).collect();
        let unused = sizes.iter().filter(|(piece, _)| !needed.contains(piece));
        let mut footprint = Footprint {
            images_bytes: sizes.values().sum(),
            images_unused_bytes: unused.map(|(_, bytes)| bytes).sum(),
            ..Footprint::default()
        };
        for (id, pieces) in &images {
            footprint.images.push(ImageFootprint {
                id: id.clone(),
                bytes: sum(pieces, &|_| true),
                shared_bytes: sum(pieces, &|piece| users[piece] > 1),
            });
        }
        self.cache_footprint(&mut footprint, &sizes)?;
        self.forget_sizes();
        Ok(footprint)
    }

    fn cache_footprint(
        &self,
        footprint: &mut Footprint,
        images: &HashMap<Piece, u64>,
    ) -> Result<()> {
        let mut counted = HashSet::new();
        for mut entry in self.cache_list()? {
            let record = &mut entry.record;
            let layer = record.layer.clone().map(Piece::Layer);
            let blob = record
                .blob
                .as_ref()
                .map(|blob| Piece::Blob(blob.digest.clone()));
            if record.kind != CacheKind::Mount {
                record.size_bytes = 0;
            } else {
                footprint.cache_bytes += record.size_bytes;
            }
            for piece in layer.into_iter().chain(blob) {
                let bytes = match images.get(&piece) {
                    Some(bytes) => *bytes,
                    None => self.piece(&piece)?,
                };
                record.size_bytes += bytes;
                if !images.contains_key(&piece) && counted.insert(piece) {
                    footprint.cache_bytes += bytes;
                }
            }
            footprint.cache.push(entry);
        }
        Ok(())
    }

    fn piece(&self, piece: &Piece) -> Result<u64> {
        let id = match piece {
            Piece::Blob(digest) => return Ok(Usage::of(&self.0.content.path(digest))?.disk_bytes),
            Piece::Layer(id) => id,
        };
        if let Some(bytes) = lock(&self.0.layer_sizes).get(id) {
            return Ok(*bytes);
        }
        let fs = self.0.layers.path(id);
        let bytes = Usage::of(fs.parent().unwrap_or(&fs))?.disk_bytes;
        if bytes > 0 {
            lock(&self.0.layer_sizes).insert(id.clone(), bytes);
        }
        Ok(bytes)
    }

    /// Sizes of layers that are gone are of no use.
    fn forget_sizes(&self) {
        let mut sizes = lock(&self.0.layer_sizes);
        sizes.retain(|id, _| self.0.layers.contains(id));
    }
}
