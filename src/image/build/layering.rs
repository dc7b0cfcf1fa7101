//! A step's changes become a layer, or are found to have been made before.
//!
//! ```text
//! keys ─► a record? ─► its layer                                    (cached)
//!         none ─► upper directory ─► changes ─► packed, hashed ─► adopted as layer ─► record
//!                                                                       └─► blob, meanwhile
//! ```
//!
//! Who wants the same key at the same time waits for the first one. A step that changes nothing makes
//! no layer, and its line of the history says so, as BuildKit has it.

use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{Gid, Mode, Uid};

use orc_base::clock::SystemClock;
use orc_base::{Clock, Context, Result, Time, fs};

use crate::archive::pipe::blocking;
use crate::build::files::Files;
use crate::build::shared::Shared;
use crate::cache::CacheRecord;
use crate::digest::{Digest, Hasher};
use crate::flight::Flight;
use crate::manifest::Descriptor;
use crate::pack::layer::{PackOptions, RootLook, layer};

/// What a step has made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// The file system.
    pub(crate) files: Files,
    /// Its layer, if it changed anything.
    pub(crate) layer: Option<Digest>,
    /// When it was made.
    pub(crate) created: Time,
    /// The keys it is known by.
    pub(crate) keys: Vec<Digest>,
    /// An earlier build did it.
    pub(crate) cached: bool,
}

/// A place for changes.
#[derive(Debug)]
pub(crate) struct Changes {
    /// What becomes a layer.
    pub(crate) upper: PathBuf,
    /// What overlayfs needs beside it.
    pub(crate) work: PathBuf,
    /// What its root was like at first; none when that does not matter.
    root: Option<RootLook>,
}

impl Changes {
    /// Directories for changes of `parent`; without one, for a layer that stands alone.
    pub(crate) fn begin(shared: &Shared, parent: Option<&Files>) -> Result<Self> {
        let directory = shared.place.directory("step")?;
        let (upper, work) = (directory.join("upper"), directory.join("work"));
        fs::create_dir_all(&upper, 0o755)?;
        fs::create_dir_all(&work, 0o700)?;
        let root = match parent {
            Some(parent) => Some(shared.layers().root_look(&parent.layers)?),
            None => None,
        };
        let look = root.unwrap_or_default();
        let held = std::fs::File::open(&upper)?;
        let (user, group) = (Uid::from_raw(look.uid), Gid::from_raw(look.gid));
        rustix::fs::fchown(&held, Some(user), Some(group))?;
        rustix::fs::fchmod(&held, Mode::from_raw_mode(look.mode))?;
        Ok(Self { upper, work, root })
    }

    /// Makes a layer of the changes; none when there are none. Blocks.
    pub(crate) fn keep(&self, shared: &Shared) -> Result<Option<Digest>> {
        shared.stop.check()?;
        let options = PackOptions {
            clamp: shared.packing.clamp,
            root: self.root,
        };
        let mut hasher = Hasher::sha256();
        let packed = layer(&self.upper, &mut hasher, &options)?;
        if packed.entries == 0 {
            return Ok(None);
        }
        let diff_id = hasher.finish();
        shared
            .layers()
            .adopt(&self.upper, &diff_id, &packed, options.clamp)?;
        Ok(Some(diff_id))
    }

    /// What the layer's root was like at first.
    pub(crate) fn root(&self) -> Option<RootLook> {
        self.root
    }
}

/// What is known of a step before anything is done.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// What its changes are put on.
    pub(crate) parent: Files,
    /// Whether earlier results count.
    pub(crate) use_cache: bool,
    /// The step as people see it.
    pub(crate) text: String,
    /// Whether its blob will be needed.
    pub(crate) wants_blob: bool,
}

impl Wanted {
    /// An earlier result under one of `keys`, which are remembered all.
    pub(crate) async fn find(&self, shared: &Arc<Shared>, keys: &[Digest]) -> Result<Option<Made>> {
        if !self.use_cache {
            return Ok(None);
        }
        for (index, key) in keys.iter().enumerate() {
            let record = match shared.store().cache_get(&shared.ingest, key) {
                Some(record) => record,
                None => match self.fetch(shared, key).await? {
                    Some(record) => record,
                    None => continue,
                },
            };
            for other in &keys[..index] {
                let record = CacheRecord {
                    key: other.clone(),
                    ..record.clone()
                };
                shared.store().cache_put(&shared.ingest, record)?;
            }
            return Ok(Some(self.made(shared, record, keys)));
        }
        Ok(None)
    }

    /// A result from another machine.
    async fn fetch(&self, shared: &Arc<Shared>, key: &Digest) -> Result<Option<CacheRecord>> {
        for remote in &shared.remote {
            if let Some(record) = remote.fetch(&shared.ingest, key).await {
                shared.store().cache_put(&shared.ingest, record.clone())?;
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn made(&self, shared: &Shared, record: CacheRecord, keys: &[Digest]) -> Made {
        if let (Some(layer), Some(blob)) = (&record.layer, &record.blob) {
            shared.blobs.know(
                layer,
                Descriptor {
                    media_type: blob.media_type.clone(),
                    digest: blob.digest.clone(),
                    size: blob.size,
                    platform: None,
                },
            );
        }
        Made {
            files: self.parent.with(record.layer.as_ref()),
            layer: record.layer,
            created: record.created,
            keys: keys.to_vec(),
            cached: true,
        }
    }

    /// Waits until nobody else works on the same.
    pub(crate) async fn lock(&self, shared: &Shared, keys: &[Digest]) -> Option<Flight> {
        match keys.last() {
            Some(key) if self.use_cache => Some(shared.flights.lock(key).await),
            _ => None,
        }
    }

    /// Keeps the changes and remembers them under `keys`; under none they are kept for this build.
    pub(crate) async fn keep(
        &self,
        shared: &Arc<Shared>,
        changes: Changes,
        keys: Vec<Digest>,
    ) -> Result<Made> {
        let (work, text, parents) = (
            shared.clone(),
            self.text.clone(),
            vec![self.parent.identity()],
        );
        let remembered = keys.clone();
        let (layer, created, root) = blocking(move || {
            let layer = changes.keep(&work)?;
            let now = SystemClock.now();
            for key in remembered {
                let mut record = CacheRecord::new(key, text.clone(), now);
                record.layer.clone_from(&layer);
                record.parents.clone_from(&parents);
                work.store().cache_put(&work.ingest, record)?;
            }
            Ok((layer, now, changes.root()))
        })
        .await
        .context(|| "keep what it changed")?;
        if let (Some(layer), true) = (&layer, self.wants_blob) {
            shared
                .blobs
                .begin(&shared.ingest, layer, shared.packing, root);
        }
        Ok(Made {
            files: self.parent.with(layer.as_ref()),
            layer,
            created,
            keys,
            cached: false,
        })
    }
}
