//! The digests of what would be copied, so that a step is done again only when it would differ.
//!
//! As in BuildKit what counts is names, kinds, modes, owners, link targets, extended attributes and
//! contents, not times. Contents are read once for each version of a file (device, inode, size and
//! both times): [`Fingerprints`] remembers them between builds, so that a large context that did not
//! change costs only the walk.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use orc_base::clock::SystemClock;
use orc_base::{Clock, Context, Error, Result};

use crate::build::entry::{Entry, Kind, Version};
use crate::build::key::KeyHasher;
use crate::build::stop::Stop;
use crate::build::view::View;
use crate::digest::{Digest, Hasher};
use crate::pack::look;

const CHUNK_BYTES: usize = 256 << 10;
const LEAST_CHUNK_BYTES: usize = 4 << 10;
/// How many files are remembered, in each of two generations.
const MAX_REMEMBERED: usize = 200_000;
/// A file that was changed so recently could be changed once more with the same times: clocks of file
/// systems tick slowly.
const TICK_SECS: i64 = 2;

/// What files contain, by their versions. Clones share everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fingerprints(Arc<Mutex<Generations>>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Version, Digest>,
    old: HashMap<Version, Digest>,
}

impl Fingerprints {
    fn get(&self, version: &Version) -> Option<Digest> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = all.young.get(version) {
            return Some(digest.clone());
        }
        let digest = all.old.remove(version)?;
        all.put(*version, digest.clone());
        Some(digest)
    }

    fn put(&self, version: Version, digest: &Digest) {
        let now = SystemClock.now().secs();
        if now - version.ctime.0.max(version.mtime.0) < TICK_SECS {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.put(version, digest.clone());
    }

    /// Adds what `entries` of the source at `at` are to `hasher`, in their order.
    pub(crate) fn add(
        &self,
        hasher: &mut KeyHasher,
        view: &View,
        at: &Path,
        entries: &[Entry],
        stop: &Stop,
    ) -> Result<()> {
        let contents = self.contents(view, at, entries, stop)?;
        for (entry, content) in entries.iter().zip(contents) {
            hasher.path(&entry.path);
            hasher.number(u64::from(entry.meta.mode));
            hasher.number(u64::from(entry.meta.uid) << 32 | u64::from(entry.meta.gid));
            match &entry.kind {
                Kind::File => hasher.text("file"),
                Kind::Directory => hasher.text("directory"),
                Kind::Symlink(target) => {
                    hasher.text("link");
                    hasher.bytes(target);
                }
                Kind::Node(kind) => {
                    hasher.text("node");
                    hasher.number(u64::from(kind.as_raw_mode()));
                    hasher.number(entry.meta.device);
                }
            }
            hasher.text(content.as_ref().map_or("", Digest::as_str));
        }
        Ok(())
    }

    /// The digests of what files contain, attributes included. Those that are not known are read by
    /// as many threads as there are processors.
    fn contents(
        &self,
        view: &View,
        at: &Path,
        entries: &[Entry],
        stop: &Stop,
    ) -> Result<Vec<Option<Digest>>> {
        let has_contents = |entry: &Entry| matches!(entry.kind, Kind::File);
        let mut digests: Vec<Option<Digest>> = entries
            .iter()
            .map(|entry| match has_contents(entry) {
                true => self.get(&entry.meta.version),
                false => None,
            })
            .collect();
        let unknown: Vec<usize> = (0..entries.len())
            .filter(|index| digests[*index].is_none() && has_contents(&entries[*index]))
            .collect();
        let read = |index: usize| -> Result<(usize, Digest)> {
            stop.check()?;
            let entry = &entries[index];
            // Joined with nothing it would end in a slash, which no file does.
            let path = match entry.path.as_os_str().is_empty() {
                true => at.to_owned(),
                false => at.join(&entry.path),
            };
            let digest = contents(view, &path, entry.meta.version.size)
                .context(|| format!("read {}", path.display()))?;
            self.put(entry.meta.version, &digest);
            Ok((index, digest))
        };
        for (index, digest) in in_parallel(&unknown, &read)? {
            digests[index] = Some(digest);
        }
        Ok(digests)
    }
}

impl Generations {
    fn put(&mut self, version: Version, digest: Digest) {
        if self.young.len() >= MAX_REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(version, digest);
    }
}

type Read1<'a> = dyn Fn(usize) -> Result<(usize, Digest)> + Sync + 'a;

fn in_parallel(unknown: &[usize], read: &Read1<'_>) -> Result<Vec<(usize, Digest)>> {
    /// Starting a thread is worth so many files.
    const WORTH_A_THREAD: usize = 32;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let threads = cores.min(unknown.len() / WORTH_A_THREAD).max(1);
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Digest)>> {
        let mut done = Vec::new();
        while let Some(index) = unknown.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(read(*index)?);
        }
        Ok(done)
    };
    if threads == 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::with_capacity(unknown.len());
        for worker in workers {
            let joined = worker.join();
            all.extend(joined.map_err(|_| Error::internal("a thread that reads files panicked"))??);
        }
        Ok(all)
    })
}

/// The digest of a file's bytes, about `size` of them, and the attributes that are copied with it.
fn contents(view: &View, path: &Path, size: u64) -> Result<Digest> {
    let mut file: File = view.open_file(path)?;
    let mut hasher = Hasher::sha256();
    // Most files are small, and cleaning a large buffer takes longer than reading them.
    let size = usize::try_from(size).unwrap_or(CHUNK_BYTES);
    let mut buffer = vec![0; size.saturating_add(1).clamp(LEAST_CHUNK_BYTES, CHUNK_BYTES)];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let bytes = hasher.finish();
    let attributes = look::xattrs(file.as_fd())?;
    if attributes.is_empty() {
        return Ok(bytes);
    }
    let mut hasher = KeyHasher::new("contents");
    hasher.text(bytes.as_str());
    for (name, value) in &attributes {
        hasher.bytes(name);
        hasher.bytes(value);
    }
    Ok(hasher.finish())
}
