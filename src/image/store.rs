//! What images this machine has: blobs, layers and the catalog that ties them together.
//!
//! ```text
//! <directory>/blobs        content.rs
//! <directory>/layers       layers.rs
//! <directory>/images.json  the catalog, replaced as a whole, with a copy (ledger.rs)
//! <directory>/cache.json   what builds may use again (cache.rs), replaced as a whole
//! <directory>/cache-mounts cache_mount.rs
//! <directory>/reserve      reserve.rs
//! ```
//!
//! An image becomes visible by one atomic, synced write of the catalog, after one `syncfs` of all that
//! it needs; it disappears by the same write, and only then are its files removed. What no record
//! names is garbage: collected when nobody is putting an image together, and at the start. So a crash
//! at any instant leaves the image there or absent, and garbage only until the next sweep. What an
//! interrupted download left is kept for [`RESUME_WITHIN`].

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use orc_base::clock::SystemClock;
use orc_base::fs::Durability;
use orc_base::{Clock, Context, Error, Kind, Result, fs};

use crate::cache_mount::CacheMounts;
use crate::catalog::{Addition, Catalog};
use crate::config::{ConfigFile, MAX_CONFIG_BYTES};
use crate::content::Content;
use crate::digest::Digest;
use crate::image::{Image, Removal};
use crate::layers::Layers;
use crate::ledger::{self, Ledger};
use crate::rebuild;
use crate::reference::Reference;
use crate::reserve::Reserve;

/// How long an interrupted download is kept.
pub const RESUME_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The images below one directory. Clones share everything. Its calls block, mostly shortly.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    content: Content,
    layers: Layers,
    directory: PathBuf,
    ledger: Ledger,
    reserve: Reserve,
    durability: Durability,
    catalog: Mutex<Catalog>,
    cache: Mutex<cache::Cache>,
    cache_mounts: CacheMounts,
    /// Bytes on disk of layers, as far as somebody asked.
    layer_sizes: Mutex<HashMap<Digest, u64>>,
    ingests: Mutex<Ingests>,
}

/// Who is putting images together, and what is to be done when the last one ends.
#[derive(Debug, Default)]
struct Ingests {
    running: usize,
    due: Option<Sweep>,
}

/// How much garbage to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sweep {
    /// All but blobs and downloads that someone may go on with.
    KeepDownloads,
    /// All but downloads that are not whole.
    KeepPartial,
    /// All.
    Everything,
}

/// An image whose parts are all here.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Its name. A tag moves to it; a digest is remembered.
    pub reference: Option<&'a Reference>,
    /// Under which digest a registry has it: an index's or the manifest's.
    pub target: Option<&'a Digest>,
    /// Its manifest, a blob.
    pub manifest: &'a Digest,
    /// Its config, a blob.
    pub config: &'a Digest,
    /// The blobs of its layers, lowest first.
    pub blobs: &'a [Digest],
}

impl Store {
    /// Opens the images below `directory`, which nobody else may have open, and removes what a crash
    /// left behind.
    pub fn open(directory: &Path, durability: Durability) -> Result<Self> {
        fs::create_dir_all(directory, 0o700)
            .context(|| format!("make the image store {}", directory.display()))?;
        let content = Content::open(&directory.join("blobs"))?;
        let layers = Layers::open(&directory.join("layers"))?;
        let ledger = Ledger::new(directory, durability);
        let store = Self(Arc::new(Inner {
            catalog: Mutex::new(load(&ledger, &content, &layers)?),
            content,
            layers,
            ledger,
            directory: directory.to_owned(),
            reserve: Reserve::new(directory),
            durability,
            cache: Mutex::new(cache::Cache::open(directory)),
            cache_mounts: CacheMounts::open(&directory.join("cache-mounts"))?,
            layer_sizes: Mutex::default(),
            ingests: Mutex::default(),
        }));
        store.recover()?;
        Ok(store)
    }

    /// The blobs.
    pub fn content(&self) -> &Content {
        &self.0.content
    }

    /// The layers.
    pub fn layers(&self) -> &Layers {
        &self.0.layers
    }

    /// Announces that an image is being put together: until the last [`Ingest`] is dropped no blob and
    /// no layer is collected, so what was found here stays here.
    pub fn begin(&self) -> Ingest {
        lock(&self.0.ingests).running += 1;
        let (ended, wait) = watch::channel(());
        Ingest {
            guard: Arc::new(IngestGuard {
                store: self.clone(),
                settled: AtomicBool::new(false),
                _ended: ended,
            }),
            ended: wait,
        }
    }

    /// Makes an image visible. Every part must be here: the blobs, and the layers that the config
    /// names, unpacked.
    pub fn commit(&self, ingest: &Ingest, commit: &Commit<'_>) -> Result<Image> {
        let addition = self.addition(commit)?;
        let cached = self.cache_doubtful();
        self.sync()?;
        let id = addition.id.clone();
        self.change(|catalog| {
            catalog.add(addition);
            if let Some(reference) = commit.reference {
                name(catalog, &id, reference, commit)?;
            }
            Ok(())
        })?;
        self.cache_settle(&cached);
        ingest.settle();
        self.set_aside();
        self.image(&id)
    }

    /// All images, in no order that means anything. One whose config is damaged is left out, and said
    /// so in the log; the others go on.
    pub fn list(&self) -> Result<Vec<Image>> {
        let ids = lock(&self.0.catalog).ids();
        let mut images = Vec::with_capacity(ids.len());
        for id in ids {
            match self.image(&id) {
                Ok(image) => images.push(image),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => tracing::warn!(image = %id, %error, "an image cannot be read"),
            }
        }
        Ok(images)
    }

    /// Finds an image by name, `name@digest`, id or the start of an id.
    pub fn find(&self, name: &str) -> Result<Image> {
        let found = lock(&self.0.catalog).find(name)?;
        self.image(found.id())
    }

    /// Finds an image and the manifest that `name` stands for.
    pub fn find_manifest(&self, name: &str) -> Result<(Image, Digest)> {
        let (found, manifest) = {
            let catalog = lock(&self.0.catalog);
            let found = catalog.find(name)?;
            let manifest = catalog.manifest(&found)?;
            (found, manifest)
        };
        Ok((self.image(found.id())?, manifest))
    }

    /// Which image has this tag.
    pub fn tagged(&self, reference: &Reference) -> Option<Digest> {
        lock(&self.0.catalog).tagged(reference).cloned()
    }

    /// The manifest that a tag stands for.
    pub fn manifest_of(&self, tag: &Reference) -> Option<Digest> {
        lock(&self.0.catalog).manifest_of(tag).cloned()
    }

    /// All tags of all images, in no order that means anything.
    pub fn tags(&self) -> Vec<Reference> {
        lock(&self.0.catalog).tags().cloned().collect()
    }

    /// Whether this is the manifest of some image.
    pub fn has_manifest(&self, digest: &Digest) -> bool {
        lock(&self.0.catalog).has_manifest(digest)
    }

    /// Whether some image has this blob as its config, its manifest or a layer.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        lock(&self.0.catalog).has_blob(digest)
    }

    /// The diff ids of an image, lowest first, without reading its config.
    pub fn layers_of(&self, id: &Digest) -> Result<Vec<Digest>> {
        lock(&self.0.catalog).layers(id)
    }

    /// Gives an image one more name, taking it from the image that has it.
    pub fn tag(&self, name: &str, target: &Reference) -> Result<()> {
        self.change(|catalog| {
            let found = catalog.find(name)?;
            let manifest = catalog.manifest(&found)?;
            catalog.tag(found.id(), target, &manifest)?;
            Ok(())
        })
    }

    /// Remembers that a registry has the image of `name` under `digest`.
    pub fn add_repo_digest(
        &self,
        name: &str,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<()> {
        self.change(|catalog| {
            let found = catalog.find(name)?;
            catalog.add_repo_digest(found.id(), reference.with_digest(digest.clone()));
            Ok(())
        })
    }

    /// Takes a name from an image, and removes the image with its last name. `in_use` names a container
    /// that needs the image, if there is one. Says what was done, the layers that went included.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        in_use: &dyn Fn(&Digest) -> Option<String>,
    ) -> Result<Vec<Removal>> {
        let id = lock(&self.0.catalog).find(name)?.id().clone();
        // Asked without the lock: whoever answers may look at images.
        let user = in_use(&id);
        let (mut removals, orphans) = self.change(|catalog| {
            if *catalog.find(name)?.id() != id {
                return Err(Error::conflict(format!(
                    "`{name}` became another image meanwhile: try again"
                )));
            }
            let before = catalog.used().1;
            let removals = catalog.remove(name, force, &|_| user.clone())?;
            let after = catalog.used().1;
            let orphans: Vec<_> = before.difference(&after).cloned().collect();
            Ok((removals, orphans))
        })?;
        removals.extend(orphans.into_iter().map(Removal::Deleted));
        if removals
            .iter()
            .any(|one| matches!(one, Removal::Deleted(_)))
        {
            self.collect(Sweep::Everything)?;
        }
        Ok(removals)
    }

    fn image(&self, id: &Digest) -> Result<Image> {
        let facts = lock(&self.0.catalog).facts(id)?;
        let config = || -> Result<ConfigFile> {
            ConfigFile::parse(&self.0.content.read(id, MAX_CONFIG_BYTES)?)
        };
        let config = config().context(|| format!("image {}", id.short()))?;
        Ok(Image::new(facts, config))
    }

    fn addition(&self, commit: &Commit<'_>) -> Result<Addition> {
        let content = &self.0.content;
        let config = ConfigFile::parse(&content.read(commit.config, MAX_CONFIG_BYTES)?)?;
        if config.diff_ids.len() != commit.blobs.len() {
            return Err(Error::invalid(format!(
                "the manifest has {} layers, the config {}",
                commit.blobs.len(),
                config.diff_ids.len()
            )));
        }
        for blob in commit.blobs.iter().chain([commit.manifest]) {
            if !content.contains(blob) {
                return Err(Error::not_found(format!("blob {blob} is not here")));
            }
        }
        let layers = config.diff_ids.iter().map(|id| self.0.layers.describe(id));
        Ok(Addition {
            id: commit.config.clone(),
            manifest: commit.manifest.clone(),
            blobs: commit.blobs.to_vec(),
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// Changes a copy of the catalog, writes it and only then believes it.
    fn change<T>(&self, change: impl FnOnce(&mut Catalog) -> Result<T>) -> Result<T> {
        let mut catalog = lock(&self.0.catalog);
        let mut changed = catalog.clone();
        let result = change(&mut changed)?;
        if changed != *catalog {
            self.write(&changed)?;
            *catalog = changed;
        }
        Ok(result)
    }

    fn write(&self, catalog: &Catalog) -> Result<()> {
        let write = || self.0.ledger.write(catalog);
        write().or_else(|error| {
            if error.kind() != Kind::Exhausted {
                return Err(error);
            }
            self.0.reserve.spend();
            write()
        })
    }

    /// Sees to the reserve: with nothing to remove there is nothing to set aside for.
    fn set_aside(&self) {
        match lock(&self.0.catalog).ids().is_empty() {
            true => self.0.reserve.spend(),
            false => self.0.reserve.keep(self.record_bytes()),
        }
    }

    /// How large the files are that are written anew when something is removed.
    fn record_bytes(&self) -> u64 {
        let size = |name| {
            let found = self.0.directory.join(name).symlink_metadata();
            found.map_or(0, |meta| meta.len())
        };
        size("images.json") * 2 + size("cache.json")
    }

    /// Brings everything written so far to the disk, in one call instead of one for each file.
    fn sync(&self) -> Result<()> {
        if self.0.durability == Durability::Synced {
            let directory = File::open(&self.0.directory)?;
            rustix::fs::syncfs(&directory).context(|| "sync the image store")?;
        }
        Ok(())
    }

    /// Collects garbage now, or when the last ingest ends.
    fn collect(&self, sweep: Sweep) -> Result<()> {
        let mut ingests = lock(&self.0.ingests);
        if ingests.running > 0 {
            ingests.due = ingests.due.max(Some(sweep));
            return Ok(());
        }
        self.sweep(sweep)?;
        drop(ingests);
        self.0.layers.remove_gone()?;
        self.0.cache_mounts.remove_gone()?;
        self.set_aside();
        Ok(())
    }

    /// Removes what no image needs; the caller sees to it that nobody is putting one together. Large
    /// trees only disappear here, their files are removed later. Tries all, and returns what failed.
    fn sweep(&self, sweep: Sweep) -> Result<()> {
        let (blobs, layers) = self.roots();
        let (content, unpacked) = (&self.0.content, &self.0.layers);
        let mut results = Vec::new();
        let layers: HashSet<_> = layers.iter().map(Digest::hex).collect();
        for hex in unpacked.list()? {
            if !layers.contains(hex.as_str()) {
                results.push(unpacked.hide(&hex));
            }
        }
        for digest in content.list()? {
            if !blobs.contains(&digest) {
                results.push(match sweep {
                    Sweep::Everything | Sweep::KeepPartial => content.remove(&digest),
                    // Its age is then that of a download, and so is its end.
                    Sweep::KeepDownloads => content.demote(&digest),
                });
            }
        }
        let age = match sweep {
            Sweep::Everything => Duration::ZERO,
            Sweep::KeepDownloads | Sweep::KeepPartial => RESUME_WITHIN,
        };
        results.push(content.remove_stale_partials(SystemClock.now(), age));
        Error::all(results.into_iter().filter_map(Result::err))
    }

    /// The blobs and the layers that an image or the build cache needs.
    fn roots(&self) -> (HashSet<Digest>, HashSet<Digest>) {
        let (mut blobs, mut layers) = lock(&self.0.catalog).used();
        let (cached_blobs, cached_layers) = self.cache_roots();
        blobs.extend(cached_blobs);
        layers.extend(cached_layers);
        (blobs, layers)
    }

    /// What is left of a crash goes; what can be gone on with stays, in doubt.
    fn recover(&self) -> Result<()> {
        fs::remove_leftovers(&self.0.directory)?;
        self.0.content.remove_leftovers()?;
        self.0.layers.hide_leftovers()?;
        self.sweep(Sweep::KeepDownloads)?;
        self.set_aside();
        self.0.cache_mounts.remove_gone()?;
        if !self.0.layers.has_gone()? {
            return Ok(());
        }
        // Trees may be large, and nobody waits for their end.
        let layers = self.0.layers.clone();
        std::thread::Builder::new()
            .name("image-recover".into())
            .spawn(move || {
                if let Err(error) = layers.remove_gone() {
                    tracing::warn!(%error, "parts of removed layers stay until the next start");
                }
            })?;
        Ok(())
    }

    /// Something will be left when the last ingest ends.
    fn note(&self, sweep: Sweep) {
        let mut ingests = lock(&self.0.ingests);
        ingests.due = ingests.due.max(Some(sweep));
    }

    fn end_of_ingest(&self) -> Result<()> {
        let due = {
            let mut ingests = lock(&self.0.ingests);
            ingests.running -= 1;
            if ingests.running > 0 {
                return Ok(());
            }
            ingests.due.take()
        };
        // The builds are over: now their cache may be too large.
        let due = due.max(self.cache_end()?);
        due.map_or(Ok(()), |sweep| self.collect(sweep))
    }
}

/// An image is being put together. Clones count as one; keep one wherever work goes on. Dropped
/// without [`Store::commit`] or [`Ingest::failed`], it was cancelled: downloads may be gone on with.
#[derive(Debug, Clone)]
pub struct Ingest {
    guard: Arc<IngestGuard>,
    ended: watch::Receiver<()>,
}

#[derive(Debug)]
struct IngestGuard {
    store: Store,
    settled: AtomicBool,
    /// Dropped after `Drop` has run: then those who wait are told.
    _ended: watch::Sender<()>,
}

impl Ingest {
    /// Where it is put together.
    pub fn store(&self) -> &Store {
        &self.guard.store
    }

    /// Waits until all work on it has ended and what it left is removed.
    pub async fn end(self) {
        let Self { guard, mut ended } = self;
        // Removing files blocks.
        let dropped = tokio::task::spawn_blocking(move || drop(guard));
        let _ = dropped.await;
        // Fails when the sender is gone, which is what is waited for.
        while ended.changed().await.is_ok() {}
    }

    /// Says that it failed. What a later attempt can go on with is kept when one may succeed as it is;
    /// after an error that will not go away by itself nothing is.
    pub fn failed(&self, error: &Error) {
        self.settle();
        self.guard.store.note(match error.kind() {
            Kind::Unavailable | Kind::Timeout => Sweep::KeepDownloads,
            _ => Sweep::Everything,
        });
    }

    /// Says that it is over, and that nothing of what it left and no image needs is worth keeping.
    pub(crate) fn sweep_after(&self) {
        self.settle();
        self.guard.store.note(Sweep::Everything);
    }

    /// Says that nothing is left of it, or only what an image needs.
    pub(crate) fn settle(&self) {
        self.guard.settled.store(true, Ordering::Relaxed);
    }
}

impl Drop for IngestGuard {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Relaxed) {
            self.store.note(Sweep::KeepDownloads);
        }
        if let Err(error) = self.store.end_of_ingest() {
            tracing::warn!(%error, "what a failed image left could not be removed");
        }
    }
}

fn name(
    catalog: &mut Catalog,
    id: &Digest,
    reference: &Reference,
    commit: &Commit<'_>,
) -> Result<()> {
    if reference.digest().is_none() {
        catalog.tag(id, reference, commit.manifest)?;
    }
    if let Some(digest) = reference.digest().or(commit.target) {
        catalog.add_repo_digest(id, reference.with_digest(digest.clone()));
    }
    Ok(())
}

/// The catalog as it was, or as the copy or the blobs say it was.
fn load(ledger: &Ledger, content: &Content, layers: &Layers) -> Result<Catalog> {
    let catalog = match ledger.read()? {
        ledger::Found::Whole(catalog) => {
            if !catalog.ids().is_empty() && !ledger.copy_is(&catalog) {
                ledger.write_copy(&catalog);
            }
            return Ok(catalog);
        }
        ledger::Found::Copy(catalog) => catalog,
        ledger::Found::Lost => rebuild::catalog(content, layers)?,
    };
    ledger.set_aside()?;
    ledger.write(&catalog)?;
    Ok(catalog)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

mod cache;
#[cfg(test)]
mod cache_tests;
pub mod footprint;
mod inspect;
#[cfg(test)]
mod tests;
