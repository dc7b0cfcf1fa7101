//! What an upper directory changes about the layers below it: what `diff` shows.
//!
//! Overlayfs copies a file up when it is opened to be written, changed or not; so what is in the upper
//! directory is compared with what is below, and only what differs is told. A directory is told when
//! it differs itself or something in it does, as Docker tells it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use orc_base::Result;
use orc_base::root::Root;

use crate::pack::layer::{is_opaque, is_whiteout, open};
use crate::pack::leftovers::{self, Leftovers};
use crate::pack::walk::{self, Met, Next, Visitor};

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was there before, and is another.
    Modified,
    /// It was not there.
    Added,
    /// It was there.
    Deleted,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// How it differs.
    pub kind: ChangeKind,
    /// Where, seen from the root, without a leading slash.
    pub path: PathBuf,
}

/// The differences between the layers below and these with `upper` on top, in the
/// order of their paths. What mounts left behind is passed over. Blocks.
pub fn changes(upper: &Path, leftovers: &Leftovers) -> Result<Vec<Change>> {
    let directory = open(upper)?;
    let mut visitor = Compare {
        below: leftovers.below(),
        leftovers,
        found: Vec::new(),
    };
    walk::walk(directory.as_fd(), &mut visitor)?;
    let mut found = visitor.found;
    found.extend(parents(&found));
    found.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
    // What was told for itself comes before what is told for what is in it.
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

struct Compare<'a> {
    below: &'a Root,
    leftovers: &'a Leftovers,
    found: Vec<Change>,
}

impl Compare<'_> {
    fn say(&mut self, kind: ChangeKind, path: &Path) {
        self.found.push(Change {
            kind,
            path: path.to_owned(),
        });
    }

    /// All that is in the directory below, and not here, is gone.
    fn hidden(&mut self, met: &Met<'_>, directory: BorrowedFd<'_>) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let Ok(below) = self.below.open_at(met.path, flags, Mode::empty()) else {
            return Ok(());
        };
        for entry in rustix::fs::Dir::read_from(&below)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let here = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
            if matches!(here, Err(Errno::NOENT)) {
                let path = met.path.join(OsStr::from_bytes(name.to_bytes()));
                self.say(ChangeKind::Deleted, &path);
            }
        }
        Ok(())
    }
}

impl Visitor for Compare<'_> {
    fn meet(&mut self, met: &Met<'_>) -> Result<Next> {
        if self.leftovers.contains(met)? {
            return Ok(Next::Pass);
        }
        let before = leftovers::stat_below(self.below, met.path)?;
        if is_whiteout(met) {
            // Without something below it hides nothing.
            if before.is_some() {
                self.say(ChangeKind::Deleted, met.path);
            }
            return Ok(Next::Pass);
        }
        match before {
            None => self.say(ChangeKind::Added, met.path),
            Some(before) => {
                if !same(self.below, met, &before)? {
                    self.say(ChangeKind::Modified, met.path);
                }
                if let Some(directory) = met.directory
                    && is_opaque(directory)?
                {
                    self.hidden(met, directory)?;
                }
            }
        }
        Ok(Next::Enter)
    }
}

/// Whether both are the same to whoever looks. Times of directories change with what is in them.
fn same(below: &Root, met: &Met<'_>, before: &Stat) -> Result<bool> {
    let now = met.stat;
    let alike = (now.st_mode, now.st_uid, now.st_gid, now.st_rdev)
        == (before.st_mode, before.st_uid, before.st_gid, before.st_rdev);
    if !alike || met.directory.is_some() {
        return Ok(alike);
    }
    let times = (now.st_mtime, now.st_mtime_nsec) == (before.st_mtime, before.st_mtime_nsec);
    if !times || now.st_size != before.st_size {
        return Ok(false);
    }
    if met.kind() != FileType::Symlink {
        return Ok(true);
    }
    let (parent, name) = below.parent_of(met.path)?;
    let then = rustix::fs::readlinkat(parent, name, Vec::new())?;
    Ok(then == rustix::fs::readlinkat(met.parent, met.name, Vec::new())?)
}

/// The directories that something has changed in.
fn parents(found: &[Change]) -> Vec<Change> {
    let above = |change: &Change| {
        change
            .path
            .ancestors()
            .skip(1)
            .map(Path::to_owned)
            .collect()
    };
    let all: BTreeSet<PathBuf> = found
        .iter()
        .flat_map(|one| -> Vec<_> { above(one) })
        .collect();
    all.into_iter()
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| Change {
            kind: ChangeKind::Modified,
            path,
        })
        .collect()
}
