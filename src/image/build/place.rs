//! Where builds keep what is no result yet: one directory a build, which goes with it.
//!
//! ```text
//! <directory>/<random>/<n>-<what for>   made by one build
//! <directory>/.gone-*                   being removed
//! ```
//!
//! What must have a path to be mounted into a step (`RUN --mount`) is mounted below as well, and
//! unmounted before anything is removed; after a crash the next start does both.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};

use orc_base::{Context, Error, Result, fs, id};

use crate::removal;

const GONE: &str = ".gone-";
const MAX_MOUNTINFO: u64 = 64 << 20;

/// The directories of all builds.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Path>);

/// The directory of one build.
#[derive(Debug)]
pub(crate) struct Place {
    directory: PathBuf,
    next: AtomicUsize,
    mounts: Mutex<Vec<PathBuf>>,
}

impl Places {
    /// Opens them at `directory`, and removes what a crash left.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory, 0o700)
            .context(|| format!("make the place for builds {}", directory.display()))?;
        let left = fs::list(directory)?;
        if !left.is_empty() {
            unmount_below(directory)?;
        }
        for path in left {
            removal::remove_tree(&path)?;
        }
        Ok(Self(directory.into()))
    }

    /// Makes the directory of a build.
    pub(crate) fn create(&self) -> Result<Place> {
        let directory = self.0.join(id::hex(&id::random_bytes::<8>()));
        fs::create_dir_all(&directory, 0o700).context(|| "make the directory of the build")?;
        Ok(Place {
            directory,
            next: AtomicUsize::new(0),
            mounts: Mutex::default(),
        })
    }
}

impl Place {
    /// A new empty directory, for root only.
    pub(crate) fn directory(&self, what: &str) -> Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{number}-{what}"));
        fs::create_dir_all(&path, 0o700).context(|| format!("make {}", path.display()))?;
        Ok(path)
    }

    /// Gives a mount a path.
    pub(crate) fn mount(&self, mount: &OwnedFd, what: &str) -> Result<PathBuf> {
        let path = self.directory(what)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(mount.as_fd(), c"", CWD, &path, flags)
            .context(|| format!("mount on {}", path.display()))?;
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.push(path.clone());
        Ok(path)
    }

    fn unmount(&self) -> Result<()> {
        let mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        let results = mounts.iter().rev().map(|path| detach(path));
        Error::all(results.filter_map(Result::err))
    }
}

impl Drop for Place {
    /// It is gone at once; its files are removed by a thread of their own, for there may be many.
    fn drop(&mut self) {
        let name = format!("{GONE}{}", base(&self.directory).to_string_lossy());
        let hidden = self.directory.with_file_name(name);
        let gone = self
            .unmount()
            .and_then(|()| Ok(std::fs::rename(&self.directory, &hidden)?));
        let remove = move || {
            if let Err(error) = gone.and_then(|()| removal::remove_tree(&hidden)) {
                tracing::warn!(%error, "files of a build stay until the next start");
            }
        };
        let thread = std::thread::Builder::new().name("build-remove".into());
        if let Err(error) = thread.spawn(remove) {
            tracing::warn!(%error, "files of a build stay until the next start");
        }
    }
}

fn detach(path: &Path) -> Result<()> {
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).context(|| format!("unmount {}", path.display())),
    }
}

/// Unmounts all that is mounted below `directory`, last one first.
fn unmount_below(directory: &Path) -> Result<()> {
    // Names in mountinfo are real ones.
    let directory = std::fs::canonicalize(directory)?;
    let text = fs::read_limited(Path::new("/proc/self/mountinfo"), MAX_MOUNTINFO)?;
    let lines = text.split(|byte| *byte == b'\n');
    let mounted: Vec<PathBuf> = lines
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(unescape)
        .filter(|path| path.starts_with(&directory) && *path != directory)
        .collect();
    let results = mounted.iter().rev().map(|path| detach(path));
    Error::all(results.filter_map(Result::err))
}

/// Mountinfo writes some characters as three octal digits, proc_pid_mountinfo(5).
fn unescape(name: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The name of a path's last component, or nothing.
pub(crate) fn base(path: &Path) -> &OsStr {
    path.file_name().unwrap_or(OsStr::from_bytes(b""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::stack::stack;

    #[test]
    fn a_build_leaves_nothing_and_neither_does_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("with space");
        let places = Places::open(&directory).unwrap();
        for name in ["one", "two", "empty"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("one/kept"), "kept").unwrap();
        let lowers = [dir.path().join("one"), dir.path().join("two")];
        let mounted = || stack(&lowers, None, &dir.path().join("empty")).unwrap();
        let place = places.create().unwrap();
        let at = place.mount(&mounted(), "stage").unwrap();
        assert!(at.join("kept").exists());
        assert!(place.directory("x").unwrap() != place.directory("x").unwrap());
        drop(place);
        for _ in 0..500 {
            if std::fs::read_dir(&directory).unwrap().count() == 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);

        let place = places.create().unwrap();
        place.mount(&mounted(), "stage").unwrap();
        std::mem::forget(place);
        Places::open(&directory).unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        assert!(dir.path().join("one/kept").exists());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(r"with\040space"));
    }
}
