//! The part of the store that remembers what builds may use again.
//!
//! `cache.json` is replaced as a whole, like the catalog, but a hit costs no write: what was used is
//! written when the last ingest ends. A new record is written at once without a sync, and holds
//! through a power loss from the next [`Store::commit`] on, whose sync it shares. A file that cannot
//! be read is an empty cache.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use orc_base::clock::SystemClock;
use orc_base::fs::{self, Durability};
use orc_base::{Clock, Context, Error, Kind, Result};

use crate::cache::{CacheEntry, CacheKind, CachePrune, CachePruned, CacheRecord, Records, doomed};
use crate::cache_mount::{CacheMount, Sharing};
use crate::digest::Digest;
use crate::store::{Ingest, Store, Sweep, lock};
use crate::usage::Usage;

const FILE: &str = "cache.json";
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Without a word from the user the cache may take a tenth of the disk, and at least this.
const LEAST_LIMIT_BYTES: u64 = 2 << 30;

/// What is in memory of the build cache.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    records: Records,
    /// What running builds have asked for or made.
    held: HashSet<Digest>,
    /// Something was used that the file does not know.
    stale: bool,
    limit_bytes: u64,
}

impl Cache {
    pub(super) fn open(directory: &Path) -> Self {
        let boot = boot_id();
        let path = directory.join(FILE);
        let read = || fs::read_json::<Records>(&path, MAX_FILE_BYTES)?.reopened(&boot);
        let records = read().unwrap_or_else(|error| {
            if error.kind() != Kind::NotFound {
                tracing::warn!(%error, "the build cache is lost: the next builds take longer");
            }
            Records::new(&boot)
        });
        Self {
            records,
            held: HashSet::new(),
            stale: false,
            limit_bytes: default_limit(directory),
            path,
        }
    }

    fn write(&mut self, durability: Durability) -> Result<()> {
        fs::write_json(&self.path, &self.records, durability)?;
        self.stale = false;
        Ok(())
    }
}

impl Store {
    /// What a step with this key made, if it is here whole. It stays until `_ingest` ends.
    pub fn cache_get(&self, _ingest: &Ingest, key: &Digest) -> Option<CacheRecord> {
        let mut cache = lock(&self.0.cache);
        let record = cache.records.get(key)?;
        let layer = record.layer.as_ref();
        let blob = record.blob.as_ref();
        let whole = layer.is_none_or(|layer| self.0.layers.contains(layer))
            && blob.is_none_or(|blob| self.0.content.contains(&blob.digest));
        cache.stale = true;
        if !whole {
            cache.records.remove(key);
            return None;
        }
        cache.records.touch(key, SystemClock.now());
        cache.held.insert(key.clone());
        cache.records.get(key).cloned()
    }

    /// Remembers what a step made; its layer and its blob must be here. Fills in the size.
    pub fn cache_put(&self, _ingest: &Ingest, mut record: CacheRecord) -> Result<()> {
        let layer = match &record.layer {
            Some(layer) => self.0.layers.describe(layer)?.size_bytes,
            None => 0,
        };
        if let Some(blob) = &record.blob
            && !self.0.content.contains(&blob.digest)
        {
            return Err(Error::not_found(format!(
                "blob {} is not here",
                blob.digest
            )));
        }
        record.size_bytes = layer + record.blob.as_ref().map_or(0, |blob| blob.size);
        let mut cache = lock(&self.0.cache);
        cache.held.insert(record.key.clone());
        if cache.records.has(&record) {
            cache.records.touch(&record.key, record.last_used);
            cache.stale = true;
            return Ok(());
        }
        let doubtful = self.0.durability == Durability::Synced;
        cache.records.put(record, doubtful);
        cache
            .write(Durability::Process)
            .context(|| "remember a build step")
    }

    /// Takes a directory that steps share, and makes it when there is none; waits when someone else
    /// has locked it.
    pub async fn cache_mount(
        &self,
        ingest: &Ingest,
        id: &str,
        sharing: Sharing,
        description: &str,
    ) -> Result<CacheMount> {
        let mount = self.0.cache_mounts.take(id, sharing).await?;
        let key = mount.key();
        if self.cache_get(ingest, &key).is_none() {
            let mut record = CacheRecord::new(key, description, SystemClock.now());
            record.kind = CacheKind::Mount;
            self.cache_put(ingest, record)?;
        }
        Ok(mount)
    }

    /// All records, in order of their keys.
    pub fn cache_list(&self) -> Result<Vec<CacheEntry>> {
        self.cache_measure(|_| true)?;
        Ok(self.cache_entries())
    }

    /// Forgets records, and removes the files that nothing else needs when no build runs. Says which
    /// of the keys there were.
    pub fn cache_remove(&self, keys: &[Digest]) -> Result<Vec<Digest>> {
        let mut gone = Vec::new();
        {
            let mut cache = lock(&self.0.cache);
            for key in keys {
                if self.cache_forget(&mut cache, key)? {
                    gone.push(key.clone());
                }
            }
            if !gone.is_empty() {
                self.cache_write(&mut cache)?;
            }
        }
        if !gone.is_empty() {
            self.collect(Sweep::KeepPartial)?;
        }
        Ok(gone)
    }

    /// Removes what `prune` says and no running build has asked for.
    pub fn cache_prune(&self, prune: &CachePrune) -> Result<CachePruned> {
        self.cache_measure(|_| true)?;
        let entries = self.cache_entries();
        let keys = self.cache_remove(&doomed(&entries, prune, SystemClock.now()))?;
        let gone: HashSet<_> = keys.iter().collect();
        // Two records may name one layer: its bytes are free when the last one goes.
        let left = entries.iter().filter(|one| !gone.contains(&one.record.key));
        let mut seen: HashSet<_> = left.filter_map(|one| one.record.layer.as_ref()).collect();
        let freed = entries.iter().filter(|one| gone.contains(&one.record.key));
        let bytes = freed
            .filter(|one| !one.shared)
            .filter(|one| one.record.layer.as_ref().is_none_or(|id| seen.insert(id)))
            .map(|one| one.record.size_bytes)
            .sum();
        Ok(CachePruned { keys, bytes })
    }

    /// How many bytes the cache may take when no build runs. Zero is no limit.
    pub fn cache_limit(&self, bytes: u64) {
        lock(&self.0.cache).limit_bytes = bytes;
    }

    /// What is wrong with the file of the records, which is written anew when that is to be.
    pub(super) fn cache_problem(&self, repair: bool) -> Result<Option<(String, String)>> {
        let mut cache = lock(&self.0.cache);
        let problem = match fs::read_json::<Records>(&cache.path, MAX_FILE_BYTES) {
            Err(error) if error.kind() != Kind::NotFound => error.to_string(),
            _ => return Ok(None),
        };
        if repair {
            cache.write(Durability::Process)?;
        }
        Ok(Some((cache.path.display().to_string(), problem)))
    }

    pub(super) fn cache_roots(&self) -> (HashSet<Digest>, HashSet<Digest>) {
        lock(&self.0.cache).records.used()
    }

    /// Which records the sync that follows makes certain.
    pub(super) fn cache_doubtful(&self) -> BTreeSet<Digest> {
        lock(&self.0.cache).records.doubtful()
    }

    /// The files of these records have reached the disk.
    pub(super) fn cache_settle(&self, keys: &BTreeSet<Digest>) {
        let mut cache = lock(&self.0.cache);
        if cache.records.settle(keys)
            && let Err(error) = cache.write(self.0.durability)
        {
            tracing::warn!(%error, "the build cache does not survive a power loss");
        }
    }

    /// Brings the cache below its limit and writes down what was used. Says what that left to collect.
    pub(super) fn cache_end(&self) -> Result<Option<Sweep>> {
        let (held, limit) = {
            let mut cache = lock(&self.0.cache);
            if cache.held.is_empty() && !cache.stale {
                return Ok(None);
            }
            (std::mem::take(&mut cache.held), cache.limit_bytes)
        };
        self.cache_measure(|key| held.contains(key))?;
        let mut cache = lock(&self.0.cache);
        let gone = match limit {
            0 => Vec::new(),
            _ => self.cache_above(&cache, limit),
        };
        let mut swept = None;
        for key in gone {
            if self.cache_forget(&mut cache, &key)? {
                swept = Some(Sweep::KeepPartial);
            }
        }
        if let Err(error) = self.cache_write(&mut cache) {
            tracing::warn!(%error, "what builds used is not written down");
        }
        Ok(swept)
    }

    fn cache_above(&self, cache: &Cache, limit: u64) -> Vec<Digest> {
        let prune = CachePrune {
            keep_bytes: Some(limit),
            ..CachePrune::default()
        };
        doomed(&self.entries(cache), &prune, SystemClock.now())
    }

    /// Removes a record, unless someone has its directory. Says whether it did.
    fn cache_forget(&self, cache: &mut Cache, key: &Digest) -> Result<bool> {
        let Some(record) = cache.records.get(key) else {
            return Ok(false);
        };
        if record.kind == CacheKind::Mount && !self.0.cache_mounts.hide(key)? {
            return Ok(false);
        }
        cache.records.remove(key);
        Ok(true)
    }

    fn cache_entries(&self) -> Vec<CacheEntry> {
        self.entries(&lock(&self.0.cache))
    }

    fn entries(&self, cache: &Cache) -> Vec<CacheEntry> {
        let (_, layers) = lock(&self.0.catalog).used();
        let entry = |record: &CacheRecord| CacheEntry {
            shared: record.layer.as_ref().is_some_and(|id| layers.contains(id)),
            in_use: cache.held.contains(&record.key),
            record: record.clone(),
        };
        cache.records.all().map(entry).collect()
    }

    /// Counts what is in the directories that steps share.
    fn cache_measure(&self, wanted: impl Fn(&Digest) -> bool) -> Result<()> {
        let mounts: Vec<_> = {
            let cache = lock(&self.0.cache);
            let mounts = cache.records.all();
            mounts
                .filter(|one| one.kind == CacheKind::Mount && wanted(&one.key))
                .map(|one| one.key.clone())
                .collect()
        };
        let mut sizes = HashMap::new();
        for key in mounts {
            let bytes = match self.0.cache_mounts.find(&key)? {
                Some(path) => Usage::of(&path)?.disk_bytes,
                None => 0,
            };
            sizes.insert(key, bytes);
        }
        let mut cache = lock(&self.0.cache);
        for (key, bytes) in sizes {
            cache.records.resize(&key, bytes);
        }
        Ok(())
    }

    /// Writes the records; on a full disk, where removing them makes room, with the space set aside.
    fn cache_write(&self, cache: &mut Cache) -> Result<()> {
        cache.write(Durability::Process).or_else(|error| {
            if error.kind() != Kind::Exhausted {
                return Err(error);
            }
            self.0.reserve.spend();
            cache.write(Durability::Process)
        })
    }
}

fn default_limit(directory: &Path) -> u64 {
    let tenth = rustix::fs::statvfs(directory)
        .map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize) / 10);
    tenth.max(LEAST_LIMIT_BYTES)
}

/// Which boot of the machine this is, proc_sys_kernel(5).
fn boot_id() -> String {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let bytes = fs::read_limited(path, 64).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
