//! Places that were made in an upper directory only to mount something on them.
//!
//! A container gets its `/proc`, its `/etc/hosts` and the like mounted; where its image has no place
//! for them, an empty file or directory is made. That is no change anyone made to the image: neither
//! `diff` nor `commit` shows it, as long as nothing else has become of it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use orc_base::Result;
use orc_base::root::Root;

use crate::pack::walk::Met;

/// The places that may have been made, and what was there before.
#[derive(Debug)]
pub struct Leftovers {
    candidates: BTreeSet<PathBuf>,
    below: Root,
}

impl Leftovers {
    /// `below` is the merged view of the layers below, `candidates` are absolute or seen from there.
    pub fn new<'p>(below: Root, candidates: impl IntoIterator<Item = &'p str>) -> Self {
        let mut all = BTreeSet::new();
        for path in candidates {
            let path = Path::new(path.trim_start_matches('/'));
            let ancestors = path.ancestors().filter(|one| !one.as_os_str().is_empty());
            all.extend(ancestors.map(Path::to_owned));
        }
        Self {
            candidates: all,
            below,
        }
    }

    /// The layers below.
    pub(crate) fn below(&self) -> &Root {
        &self.below
    }

    /// Whether what was met is such a place: nothing is there below, and nothing is in it but such
    /// places.
    pub(crate) fn contains(&self, met: &Met<'_>) -> Result<bool> {
        if !self.candidates.contains(met.path) || stat_below(&self.below, met.path)?.is_some() {
            return Ok(false);
        }
        match met.directory {
            Some(directory) => self.is_hollow(directory, met.path),
            None => Ok(is_blank(met.stat)),
        }
    }

    fn is_hollow(&self, directory: BorrowedFd<'_>, path: &Path) -> Result<bool> {
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if !self.candidates.contains(&path.join(name)) {
                return Ok(false);
            }
            if !is_blank(&rustix::fs::statat(
                directory,
                name,
                AtFlags::SYMLINK_NOFOLLOW,
            )?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn is_blank(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0
}

/// What is at `path` below, a link as itself. No link on the way is followed: what is above a link
/// is something else than what it leads to.
pub(crate) fn stat_below(below: &Root, path: &Path) -> Result<Option<Stat>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(below.as_fd(), path, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(Some(rustix::fs::fstat(file)?)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
