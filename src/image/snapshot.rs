//! The writable directories of containers, on top of the layers of an image.
//!
//! ```text
//! <directory>/<container id>/upper   what the container writes
//! <directory>/<container id>/work    overlayfs needs it
//! <directory>/.gone-*                being removed
//! ```
//!
//! Mounting is the runtime's. What is in `upper` was made by strangers: it is only ever removed by
//! descriptors, without following links, however deep it is (`removal`).

use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};

use orc_base::{Context, Error, Id, Kind, Result, fs, id};

use crate::digest::Digest;
use crate::layers::Layers;
use crate::removal;
use crate::usage::Usage;

const NEW: &str = ".new-";
const GONE: &str = ".gone-";

/// What the root file system of a container is put together from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The layers to read from, topmost first.
    pub lowers: Vec<PathBuf>,
    /// The directory to write to.
    pub upper: PathBuf,
    /// The work directory of overlayfs.
    pub work: PathBuf,
}

/// The snapshots below one directory.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    directory: PathBuf,
}

impl Snapshots {
    /// Opens the snapshots at `directory`, and removes what a crash left half made or half removed.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory, 0o700)
            .context(|| format!("make the snapshot store {}", directory.display()))?;
        let snapshots = Self {
            directory: directory.to_owned(),
        };
        for path in fs::list(directory)? {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(NEW) || name.starts_with(GONE)) {
                removal::remove_tree(&path)?;
            }
        }
        Ok(snapshots)
    }

    /// Makes the directories of `container` on top of `layers` (diff ids, lowest first).
    pub(crate) fn create(
        &self,
        container: &Id,
        layers: &Layers,
        diff_ids: &[Digest],
    ) -> Result<Snapshot> {
        let snapshot = self.get(container, layers, diff_ids)?;
        let target = self.directory.join(container.as_str());
        let stage = self.unique(NEW);
        let made = make(&stage, layers, diff_ids).and_then(|()| {
            std::fs::rename(&stage, &target).map_err(|error| match target.exists() {
                true => Error::conflict("it exists already"),
                false => error.into(),
            })
        });
        if made.is_err() {
            let _ = removal::remove_tree(&stage);
        }
        made.context(|| format!("make the root file system of {}", container.short()))?;
        Ok(snapshot)
    }

    /// Where the directories of `container` are, whether or not they are made.
    pub(crate) fn get(
        &self,
        container: &Id,
        layers: &Layers,
        diff_ids: &[Digest],
    ) -> Result<Snapshot> {
        let own = self.directory.join(container.as_str());
        Ok(Snapshot {
            lowers: lowers(layers, diff_ids)?,
            upper: own.join("upper"),
            work: own.join("work"),
        })
    }

    /// Whether the directories of `container` are made.
    pub(crate) fn contains(&self, container: &Id) -> bool {
        self.directory.join(container.as_str()).is_dir()
    }

    /// Removes what `container` wrote; fine when it is gone already. It disappears at once, and a
    /// crash meanwhile is made good at the next start.
    pub(crate) fn remove(&self, container: &Id) -> Result<()> {
        let gone = self.unique(GONE);
        let path = self.directory.join(container.as_str());
        let hidden = std::fs::rename(&path, &gone).map_err(Error::from);
        match hidden {
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            other => other,
        }
        .and_then(|()| removal::remove_tree(&gone))
        .context(|| format!("remove the root file system of {}", container.short()))
    }

    /// How much space the directories of `container` take; none when they are not made.
    pub(crate) fn usage(&self, container: &Id) -> Result<Usage> {
        Usage::of(&self.directory.join(container.as_str()))
    }

    /// The containers that have directories here.
    pub(crate) fn list(&self) -> Result<Vec<Id>> {
        let paths = fs::list(&self.directory)?;
        let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    fn unique(&self, prefix: &str) -> PathBuf {
        let unique = id::hex(&id::random_bytes::<8>());
        self.directory.join(format!("{prefix}{unique}"))
    }
}

fn make(stage: &Path, layers: &Layers, diff_ids: &[Digest]) -> Result<()> {
    fs::create_dir_all(stage, 0o700)?;
    fs::create_dir_all(&stage.join("work"), 0o700)?;
    let upper = stage.join("upper");
    fs::create_dir_all(&upper, 0o755)?;
    like_the_image(&upper, layers, diff_ids)
}

/// The root of an overlay looks like its upper directory: give it what the image's root has.
fn like_the_image(upper: &Path, layers: &Layers, diff_ids: &[Digest]) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let upper = rustix::fs::open(upper, flags, Mode::empty())?;
    let root = layers.root_look(diff_ids)?;
    let (uid, gid) = (Uid::from_raw(root.uid), Gid::from_raw(root.gid));
    rustix::fs::fchown(&upper, Some(uid), Some(gid))?;
    rustix::fs::fchmod(&upper, Mode::from_raw_mode(root.mode))?;
    Ok(())
}

/// The directories of an image's layers, topmost first. `NotFound` when one is not there.
pub(crate) fn lowers(layers: &Layers, diff_ids: &[Digest]) -> Result<Vec<PathBuf>> {
    match diff_ids.iter().find(|diff_id| !layers.contains(diff_id)) {
        None => Ok(layers.stack(diff_ids)),
        Some(diff_id) => Err(Error::not_found(format!(
            "layer {diff_id} is not unpacked: remove the image and pull it again"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::testing::{Tape, tape};
    use crate::unpack::stream::Watch;

    struct Place {
        dir: tempfile::TempDir,
        layers: Layers,
        snapshots: Snapshots,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        Place {
            layers: Layers::open(&dir.path().join("layers")).unwrap(),
            snapshots: Snapshots::open(&dir.path().join("snapshots")).unwrap(),
            dir,
        }
    }

    fn layer(place: &Place, tape: Tape) -> Digest {
        let bytes = tape.end();
        let diff_id = Digest::of(&bytes);
        let watch = Watch::default();
        place
            .layers
            .unpack(&diff_id, &bytes[..], &watch, &mut |_| ())
            .unwrap();
        diff_id
    }

    #[test]
    fn the_topmost_layer_comes_first_and_the_root_is_the_images() {
        let place = place();
        let low = layer(
            &place,
            tape().raw(|header| {
                header[..4].copy_from_slice(b"./\0\0");
                header[156] = b'5';
                header[100..107].copy_from_slice(b"0001770");
                header[116..123].copy_from_slice(b"0000017");
            }),
        );
        let high = layer(&place, tape().file("f", b""));
        let id = Id::random();
        let diff_ids = [low.clone(), high.clone()];
        let made = place
            .snapshots
            .create(&id, &place.layers, &diff_ids)
            .unwrap();
        assert_eq!(
            made.lowers,
            [place.layers.path(&high), place.layers.path(&low)]
        );
        let upper = made.upper.metadata().unwrap();
        assert_eq!((upper.mode() & 0o7777, upper.gid()), (0o1770, 0o17));
        let again = place.snapshots.get(&id, &place.layers, &diff_ids).unwrap();
        assert_eq!(made, again);
        let error = place.snapshots.create(&id, &place.layers, &diff_ids);
        assert_eq!(error.unwrap_err().kind(), Kind::Conflict);
        assert_eq!(place.snapshots.list().unwrap(), [id]);
    }

    /// What whiteouts mean is for the kernel to say.
    #[test]
    fn overlayfs_reads_the_whiteouts() {
        let place = place();
        let low = layer(
            &place,
            tape()
                .file("gone", b"low")
                .file("kept", b"low")
                .file("replaced", b"low")
                .file("tree/gone", b"low")
                .file("opaque/gone", b"low")
                .file("reborn/gone", b"low")
                .file("late/gone", b"low"),
        );
        let high = layer(
            &place,
            tape()
                .file(".wh.gone", b"")
                .file(".wh.replaced", b"")
                .file("replaced", b"high")
                .file(".wh.tree", b"")
                .file("opaque/kept", b"high")
                .file("opaque/.wh..wh..opq", b"")
                .file(".wh.reborn", b"")
                .file("reborn/kept", b"high")
                .file("late/kept", b"high")
                .file(".wh.late", b""),
        );
        let id = Id::random();
        let made = place.snapshots.create(&id, &place.layers, &[low, high]);
        let made = made.unwrap();
        let merged = place.dir.path().join("merged");
        std::fs::create_dir(&merged).unwrap();
        let lowers: Vec<_> = made
            .lowers
            .iter()
            .map(|one| one.to_str().unwrap())
            .collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lowers.join(":"),
            made.upper.display(),
            made.work.display()
        );
        let script = r#"mount -t overlay orc -o "$1" "$2" && cd "$2" && find . -type f -exec grep -H . {} +"#;
        // In a mount namespace of its own, which ends with the shell.
        let shell = std::process::Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh", &options])
            .arg(&merged)
            .output()
            .unwrap();
        assert!(shell.status.success(), "{shell:?}");
        let listed = String::from_utf8(shell.stdout).unwrap();
        let mut listed: Vec<_> = listed.lines().collect();
        listed.sort_unstable();
        assert_eq!(
            listed,
            [
                "./kept:low",
                "./late/kept:high",
                "./opaque/kept:high",
                "./reborn/kept:high",
                "./replaced:high",
            ]
        );
        place.snapshots.remove(&id).unwrap();
    }

    #[test]
    fn a_missing_layer_is_said_before_anything_is_made() {
        let place = place();
        let id = Id::random();
        let missing = [Digest::of(b"missing")];
        let error = place.snapshots.create(&id, &place.layers, &missing);
        assert_eq!(error.unwrap_err().kind(), Kind::NotFound);
        assert!(place.snapshots.list().unwrap().is_empty());
    }

    #[test]
    fn removes_what_strangers_wrote() {
        let place = place();
        let id = Id::random();
        let outside = place.dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), b"untouched").unwrap();
        let made = place.snapshots.create(&id, &place.layers, &[]).unwrap();
        std::os::unix::fs::symlink(&outside, made.upper.join("link")).unwrap();
        std::fs::create_dir_all(made.work.join("work/deep/er")).unwrap();
        place.snapshots.remove(&id).unwrap();
        place.snapshots.remove(&id).unwrap();
        assert!(outside.join("secret").exists());
        let left = std::fs::read_dir(&place.snapshots.directory).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_crash_leaves_nothing_after_the_next_start() {
        let place = place();
        for name in [".new-1/upper/x", ".gone-2/upper/x"] {
            std::fs::create_dir_all(place.snapshots.directory.join(name)).unwrap();
        }
        assert!(place.snapshots.list().unwrap().is_empty());
        Snapshots::open(&place.snapshots.directory).unwrap();
        let left = std::fs::read_dir(&place.snapshots.directory).unwrap();
        assert_eq!(left.count(), 0);
    }
}
