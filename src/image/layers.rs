//! Unpacked layers on disk, one directory for each diff id.
//!
//! ```text
//! <directory>/<hex>/fs         what overlayfs stacks
//! <directory>/<hex>/facts.json how large it is
//! <directory>/.new-*           being unpacked; removed after a crash
//! <directory>/.gone-*          being removed; removed after a crash
//! ```
//!
//! A layer appears whole, by a rename, after its digest was compared. The directory is for root only:
//! what layers hold (set-id programs of strangers) is nothing for the users of this machine.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use orc_base::{Context, Error, Kind, Result, Time, fs, id};

use crate::catalog::Layer;
use crate::digest::Digest;
use crate::flight::{Flight, Flights};
use crate::pack::adopt;
use crate::pack::layer::{Packed, RootLook};
use crate::removal;
use crate::unpack::layer::{Options, Unpacked, unpack};
use crate::unpack::limits::Limits;
use crate::unpack::stream::Watch;
use crate::unpack::tree::OPAQUE_XATTR;

const NEW: &str = ".new-";
const GONE: &str = ".gone-";
const MAX_FACTS_BYTES: u64 = 4096;
const BUFFER_BYTES: usize = 256 << 10;

/// The layers below one directory. Clones share everything.
#[derive(Debug, Clone)]
pub struct Layers {
    directory: Arc<Path>,
    flights: Arc<Flights<Digest>>,
}

/// What is remembered of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Bytes of its files.
    pub(crate) size_bytes: u64,
    /// Whether it says what the root directory is like.
    pub(crate) has_root: bool,
}

/// A layer that is unpacked, and whose diff id was compared, but that nobody sees yet. It is removed
/// when it is dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    stage: Stage,
    diff_id: Digest,
}

impl Staged {
    /// Its files.
    pub(crate) fn tree(&self) -> PathBuf {
        self.stage.0.join("fs")
    }

    /// What will be remembered of it.
    pub(crate) fn facts(&self) -> Result<Facts> {
        fs::read_json(&self.stage.0.join("facts.json"), MAX_FACTS_BYTES)
    }
}

/// A directory that becomes a layer, or is removed when dropped.
#[derive(Debug)]
struct Stage(PathBuf);

impl Drop for Stage {
    fn drop(&mut self) {
        // After the rename nothing is here.
        if let Err(error) = removal::remove_tree(&self.0) {
            tracing::warn!(%error, "part of a layer stays until the next start");
        }
    }
}

impl Layers {
    /// Opens the layers at `directory` and makes it when it is missing.
    pub fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory, 0o700)
            .context(|| format!("make the layer store {}", directory.display()))?;
        Ok(Self {
            directory: directory.into(),
            flights: Arc::default(),
        })
    }

    /// Whether the layer is here.
    pub fn contains(&self, diff_id: &Digest) -> bool {
        self.path(diff_id).is_dir()
    }

    /// The directory that overlayfs stacks.
    pub fn path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(diff_id.hex()).join("fs")
    }

    /// The directories of an image's layers (lowest first) as overlayfs has to stack them, topmost first.
    ///
    /// A layer that comes twice counts where it is topmost: there it covers all it has below, and
    /// overlayfs stacks no directory twice. Below a layer whose root is opaque nothing is seen:
    /// overlayfs asks the directories in a root for that, but not the root itself.
    pub(crate) fn stack(&self, diff_ids: &[Digest]) -> Vec<PathBuf> {
        let mut lowers: Vec<PathBuf> = Vec::new();
        for path in diff_ids.iter().rev().map(|diff_id| self.path(diff_id)) {
            let hides_all = is_opaque(&path);
            if !lowers.contains(&path) {
                lowers.push(path);
            }
            if hides_all {
                break;
            }
        }
        lowers
    }

    /// Waits until nobody else unpacks this layer. Look again with [`Layers::contains`] afterwards.
    pub async fn lock(&self, diff_id: &Digest) -> Flight {
        self.flights.lock(diff_id).await
    }

    /// Unpacks the stream of a layer, compressed or not, and compares its diff id. Blocks.
    pub fn unpack(
        &self,
        diff_id: &Digest,
        source: impl Read + Send,
        watch: &Watch,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        if self.contains(diff_id) {
            return Ok(());
        }
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        self.show(self.unpack_aside(diff_id, source, watch, progress)?)
    }

    /// [`Layers::unpack`], but nobody sees the layer before [`Layers::show`]: its source may have
    /// to prove itself first. Blocks.
    pub(crate) fn unpack_aside(
        &self,
        diff_id: &Digest,
        source: impl BufRead + Send,
        watch: &Watch,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Staged> {
        let mut options = Options {
            limits: Limits::default(),
            needs_end_marker: false,
            watch,
            progress,
        };
        let (stage, unpacked) = self.stage(source, &mut options)?;
        if unpacked.passed.digest != *diff_id {
            return Err(Error::invalid(format!(
                "the layer has the diff id {}, its config says {diff_id}",
                unpacked.passed.digest
            )));
        }
        let diff_id = diff_id.clone();
        Ok(Staged { stage, diff_id })
    }

    /// Makes a layer visible.
    pub(crate) fn show(&self, staged: Staged) -> Result<()> {
        let Staged { stage, diff_id } = staged;
        self.keep(&stage, &diff_id)
    }

    /// Puts a layer in the place of the damaged one, in one step, and removes that. Nothing may be
    /// mounted on it.
    pub(crate) fn replace(&self, staged: Staged) -> Result<()> {
        let target = self.directory.join(staged.diff_id.hex());
        let exchange = RenameFlags::EXCHANGE;
        match rustix::fs::renameat_with(CWD, &staged.stage.0, CWD, &target, exchange) {
            // Now the stage is the damaged one, and goes when it is dropped.
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => self.show(staged),
            Err(errno) => Err(errno).context(|| format!("replace layer {}", staged.diff_id)),
        }
    }

    /// Unpacks an archive that nobody has described, and says what its diff id is. Blocks.
    pub(crate) fn unpack_unknown(
        &self,
        source: impl Read + Send,
        watch: &Watch,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Unpacked> {
        let mut options = Options {
            limits: Limits::default(),
            needs_end_marker: true,
            watch,
            progress,
        };
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        let (stage, unpacked) = self.stage(source, &mut options)?;
        self.keep(&stage, &unpacked.passed.digest)?;
        Ok(unpacked)
    }

    /// Makes the layer of the overlay's upper directory `upper`, which was packed as `diff_id` and
    /// which nobody uses any more, by moving it: afterwards it is gone. Stays where it is when the
    /// layer is here already. `clamp` is what it was packed with. Blocks.
    pub fn adopt(
        &self,
        upper: &Path,
        diff_id: &Digest,
        packed: &Packed,
        clamp: Option<Time>,
    ) -> Result<()> {
        if self.contains(diff_id) {
            return Ok(());
        }
        let stage = Stage(self.unique(NEW));
        fs::create_dir_all(&stage.0, 0o700)?;
        let tree = stage.0.join("fs");
        std::fs::rename(upper, &tree).context(|| format!("take over {}", upper.display()))?;
        adopt::settle(&tree, clamp)?;
        let facts = Facts {
            size_bytes: packed.file_bytes,
            has_root: packed.has_root,
        };
        let path = stage.0.join("facts.json");
        fs::write_json(&path, &facts, fs::Durability::Process)?;
        self.keep(&stage, diff_id)
    }

    /// What the root directory of these layers (lowest first) is like: the topmost one that has an
    /// entry for it says so.
    pub fn root_look(&self, diff_ids: &[Digest]) -> Result<RootLook> {
        for diff_id in diff_ids.iter().rev() {
            if self.facts(diff_id)?.has_root {
                return RootLook::of(&self.path(diff_id));
            }
        }
        Ok(RootLook::default())
    }

    fn stage(
        &self,
        source: impl BufRead + Send,
        options: &mut Options<'_>,
    ) -> Result<(Stage, Unpacked)> {
        let stage = Stage(self.unique(NEW));
        let tree = stage.0.join("fs");
        fs::create_dir_all(&stage.0, 0o700)
            .and_then(|()| fs::create_dir_all(&tree, 0o755))
            .context(|| format!("make {}", tree.display()))?;
        let unpacked = unpack(source, &tree, options)?;
        let facts = Facts {
            size_bytes: unpacked.written.file_bytes,
            has_root: unpacked.written.has_root,
        };
        let path = stage.0.join("facts.json");
        fs::write_json(&path, &facts, fs::Durability::Process)?;
        Ok((stage, unpacked))
    }

    fn keep(&self, stage: &Stage, diff_id: &Digest) -> Result<()> {
        let target = self.directory.join(diff_id.hex());
        match std::fs::rename(&stage.0, &target) {
            Err(_) if self.contains(diff_id) => Ok(()),
            other => other.context(|| format!("keep layer {diff_id}")),
        }
    }

    pub(crate) fn facts(&self, diff_id: &Digest) -> Result<Facts> {
        let path = self.directory.join(diff_id.hex()).join("facts.json");
        fs::read_json(&path, MAX_FACTS_BYTES).map_err(|error| match error.kind() {
            Kind::NotFound => Error::not_found(format!("layer {diff_id} is not unpacked")),
            _ => error,
        })
    }

    /// The layer as the catalog records it.
    pub(crate) fn describe(&self, diff_id: &Digest) -> Result<Layer> {
        Ok(Layer {
            diff_id: diff_id.clone(),
            size_bytes: self.facts(diff_id)?.size_bytes,
        })
    }

    /// The diff ids, without their algorithm, of all layers.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let paths = fs::list(&self.directory)?;
        let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
        let whole = |name: &&str| !name.starts_with('.');
        Ok(names.filter(whole).map(str::to_owned).collect())
    }

    /// Makes a layer disappear at once; its files are removed by [`Layers::remove_gone`].
    pub(crate) fn hide(&self, hex: &str) -> Result<()> {
        let path = self.directory.join(hex);
        match std::fs::rename(&path, self.unique(GONE)).map_err(Error::from) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other.context(|| format!("remove layer {hex}")),
        }
    }

    /// Removes the files of layers that disappeared. Tries all, and returns what failed.
    pub(crate) fn remove_gone(&self) -> Result<()> {
        let results = self.named(GONE)?.into_iter();
        let results = results.map(|path| removal::remove_tree(&path));
        Error::all(results.filter_map(Result::err))
    }

    /// Whether there are files to remove.
    pub(crate) fn has_gone(&self) -> Result<bool> {
        Ok(!self.named(GONE)?.is_empty())
    }

    /// Makes what a crash left half unpacked disappear. Only for the owner, before first use.
    pub(crate) fn hide_leftovers(&self) -> Result<()> {
        for path in self.named(NEW)? {
            std::fs::rename(&path, self.unique(GONE))?;
        }
        Ok(())
    }

    fn named(&self, prefix: &str) -> Result<Vec<PathBuf>> {
        let mut paths = fs::list(&self.directory)?;
        paths.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(prefix))
        });
        Ok(paths)
    }

    fn unique(&self, prefix: &str) -> PathBuf {
        let unique = id::hex(&id::random_bytes::<8>());
        self.directory.join(format!("{prefix}{unique}"))
    }
}

fn is_opaque(root: &Path) -> bool {
    let mut value = [0; 1];
    let size = rustix::fs::lgetxattr(root, OPAQUE_XATTR, &mut value[..]);
    size.is_ok_and(|size| &value[..size] == b"y")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{gzip, tape};

    fn store() -> (tempfile::TempDir, Layers) {
        let dir = tempfile::tempdir().unwrap();
        let layers = Layers::open(&dir.path().join("layers")).unwrap();
        (dir, layers)
    }

    fn put(layers: &Layers, diff_id: &Digest, source: &[u8]) -> Result<()> {
        layers.unpack(diff_id, source, &Watch::default(), &mut |_| ())
    }

    #[test]
    fn a_layer_appears_whole_and_once() {
        let (_dir, layers) = store();
        let bytes = tape().file("f", b"hello").end();
        let diff_id = Digest::of(&bytes);
        put(&layers, &diff_id, &gzip(&bytes)).unwrap();
        put(&layers, &diff_id, b"not even read").unwrap();
        assert_eq!(
            std::fs::read(layers.path(&diff_id).join("f")).unwrap(),
            b"hello"
        );
        assert_eq!(layers.describe(&diff_id).unwrap().size_bytes, 5);
        assert_eq!(layers.list().unwrap(), [diff_id.hex()]);
        layers.hide(diff_id.hex()).unwrap();
        assert!(!layers.contains(&diff_id));
        layers.remove_gone().unwrap();
        layers.hide(diff_id.hex()).unwrap();
        assert_eq!(std::fs::read_dir(&layers.directory).unwrap().count(), 0);
    }

    #[test]
    fn a_wrong_layer_leaves_nothing() {
        let (_dir, layers) = store();
        let bytes = tape().file("f", b"hello").end();
        let packed = gzip(&bytes);
        let other = Digest::of(b"other");
        let diff_id = Digest::of(&bytes);
        let escape = tape().file("a", b"").file("../x", b"").end();
        for (diff_id, source, text) in [
            (&other, &packed[..], "its config says"),
            (&diff_id, &packed[..packed.len() - 1], "truncated"),
            (&diff_id, &bytes[..600], "truncated"),
            (&diff_id, &[&packed[..], &[b'x'; 20]].concat(), "corrupt"),
            (&Digest::of(&escape), &escape, "`../x`"),
        ] {
            let error = put(&layers, diff_id, source).unwrap_err().to_string();
            assert!(error.contains(text), "{text}: {error}");
            assert_eq!(std::fs::read_dir(&layers.directory).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_stack_has_each_layer_once_and_ends_where_all_is_hidden() {
        let (_dir, layers) = store();
        let make = |bytes: Vec<u8>| {
            let diff_id = Digest::of(&bytes);
            put(&layers, &diff_id, &bytes).unwrap();
            diff_id
        };
        let low = make(tape().file("f", b"low").end());
        let high = make(tape().file("f", b"high").end());
        let opaque = make(tape().file(".wh..wh..opq", b"").end());
        let path = |diff_id: &Digest| layers.path(diff_id);
        // Two steps that change nothing make the same layer.
        let twice = [low.clone(), high.clone(), low.clone(), low.clone()];
        assert_eq!(layers.stack(&twice), [path(&low), path(&high)]);
        let hidden = [low, opaque.clone(), high.clone()];
        assert_eq!(layers.stack(&hidden), [path(&high), path(&opaque)]);
    }

    #[test]
    fn an_archive_nobody_described_needs_its_end() {
        let (_dir, layers) = store();
        let whole = tape().file("f", b"x").end();
        let unknown = |bytes: &[u8]| {
            let unpacked = layers.unpack_unknown(bytes, &Watch::default(), &mut |_| ());
            unpacked.map(|one| one.passed.digest)
        };
        for bad in [&b""[..], &whole[..1024], b"<html>not found</html>"] {
            assert!(unknown(bad).is_err());
        }
        assert_eq!(unknown(&whole).unwrap(), Digest::of(&whole));
    }

    #[test]
    fn leftovers_of_a_crash_go() {
        let (_dir, layers) = store();
        for name in [".new-1/fs/d", ".gone-2/fs/d"] {
            std::fs::create_dir_all(layers.directory.join(name)).unwrap();
        }
        assert!(layers.list().unwrap().is_empty());
        layers.hide_leftovers().unwrap();
        assert!(layers.has_gone().unwrap());
        layers.remove_gone().unwrap();
        assert_eq!(std::fs::read_dir(&layers.directory).unwrap().count(), 0);
    }
}
