//! Goes through a directory tree in the order of names, a directory before what is in it.
//!
//! Trusts nothing below the directory it begins with: every step is one name in an open directory,
//! no link is followed, and what changes meanwhile is seen or not seen but never leads elsewhere. How
//! deep it goes is bounded by what [`crate::unpack`] would take back.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use orc_base::{Context, Error, Result};

/// The most directories inside each other, as in `unpack::path`.
const MAX_DEPTH: usize = 512;
/// The most names in one directory: they are sorted in memory.
const MAX_NAMES: usize = 4_000_000;

/// What the walk met.
pub(crate) struct Met<'w> {
    /// Where it is, seen from the beginning.
    pub(crate) path: &'w Path,
    /// The open directory that holds it.
    pub(crate) parent: BorrowedFd<'w>,
    /// Its name there.
    pub(crate) name: &'w CStr,
    /// What it is.
    pub(crate) stat: &'w Stat,
    /// The directory itself, open, when it is one.
    pub(crate) directory: Option<BorrowedFd<'w>>,
}

impl Met<'_> {
    /// What kind of file it is.
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// What comes of one meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on, into it when it is a directory.
    Enter,
    /// Go on, past it.
    Pass,
}

/// Who is told.
pub(crate) trait Visitor {
    /// Something is there. Directories come before what is in them.
    fn meet(&mut self, met: &Met<'_>) -> Result<Next>;

    /// All that is in this directory was met.
    fn leave(&mut self, _directory: BorrowedFd<'_>, _path: &Path) -> Result<()> {
        Ok(())
    }
}

struct Level {
    directory: OwnedFd,
    /// What is left, last one first.
    names: Vec<CString>,
}

/// Tells `visitor` all that is below `root`; the root itself is not met.
pub(crate) fn walk(root: BorrowedFd<'_>, visitor: &mut dyn Visitor) -> Result<()> {
    walk_below(root, Path::new(""), visitor)
}

/// [`walk`] with paths that begin with `base`.
pub(crate) fn walk_below(
    root: BorrowedFd<'_>,
    base: &Path,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    // The caller's descriptor may be O_PATH, which cannot be read.
    let root = open_directory(root, c".")?.ok_or_else(|| Error::invalid("is no directory"))?;
    let mut path: PathBuf = base.to_owned();
    let mut levels = vec![level(root)?];
    while let Some(top) = levels.last_mut() {
        let Some(name) = top.names.pop() else {
            let done = levels.len() - 1;
            if let Some(level) = levels.pop()
                && done > 0
            {
                visitor
                    .leave(level.directory.as_fd(), &path)
                    .context(|| shown(&path))?;
                path.pop();
            }
            continue;
        };
        path.push(OsStr::from_bytes(name.to_bytes()));
        let entered = visit(top.directory.as_fd(), &name, &path, visitor);
        match entered.context(|| shown(&path))? {
            Some(_) if levels.len() > MAX_DEPTH => {
                return Err(Error::exhausted(format!(
                    "{} lies deeper than {MAX_DEPTH} directories",
                    shown(&path)
                )));
            }
            Some(directory) => levels.push(level(directory).context(|| shown(&path))?),
            None => {
                path.pop();
            }
        }
    }
    Ok(())
}

/// The path of something a stranger named, for messages.
pub(crate) fn shown(path: &Path) -> String {
    crate::unpack::path::shown(path.as_os_str().as_bytes())
}

/// Meets one name; the directory to go into, if there is one.
fn visit(
    parent: BorrowedFd<'_>,
    name: &CStr,
    path: &Path,
    visitor: &mut dyn Visitor,
) -> Result<Option<OwnedFd>> {
    let Some((stat, directory)) = look(parent, name)? else {
        return Ok(None);
    };
    let met = Met {
        path,
        parent,
        name,
        stat: &stat,
        directory: directory.as_ref().map(AsFd::as_fd),
    };
    Ok(match visitor.meet(&met)? {
        Next::Enter => directory,
        Next::Pass => None,
    })
}

/// What is at `name`, and the directory itself if it is one; nothing when it is gone by now.
pub(crate) fn look(parent: BorrowedFd<'_>, name: &CStr) -> Result<Option<(Stat, Option<OwnedFd>)>> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(Some((stat, None)));
    }
    let Some(directory) = open_directory(parent, name)? else {
        return Ok(None);
    };
    // What was opened counts, not what was there before.
    Ok(Some((rustix::fs::fstat(&directory)?, Some(directory))))
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn level(directory: OwnedFd) -> Result<Level> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
        if names.len() > MAX_NAMES {
            return Err(Error::exhausted(format!(
                "is a directory of more than {MAX_NAMES} names"
            )));
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Level { directory, names })
}
