//! A tree, as it looks from inside, becomes an archive: what `export` and `cp` send.
//!
//! The tree may be in use and may change meanwhile; the archive then has what was there when the walk
//! came by. Names of whiteouts mean nothing here.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Result, Time};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::pack::entries::{Entries, Packed};
use crate::pack::walk::{self, Met, Next, Visitor};

/// Writes all that is below the directory `root` to `out`, named from there. Blocks.
pub fn tree(root: BorrowedFd<'_>, out: &mut dyn Write, clamp: Option<Time>) -> Result<Packed> {
    let mut visitor = TreeEntries(Entries::new(out, clamp));
    walk::walk(root, &mut visitor)?;
    visitor.0.finish()
}

/// Writes `name` of the directory `parent`, and all below it, to `out` as `called`. Follows no link:
/// a link is packed as a link. Blocks.
pub fn one(
    parent: BorrowedFd<'_>,
    name: &Path,
    called: &Path,
    out: &mut dyn Write,
) -> Result<Packed> {
    let name = CString::new(name.as_os_str().as_bytes())
        .map_err(|_| Error::invalid("a name with a NUL byte"))?;
    let (stat, directory) = walk::look(parent, &name)?
        .ok_or_else(|| Error::not_found(format!("{} is gone", called.display())))?;
    let mut visitor = TreeEntries(Entries::new(out, None));
    let met = Met {
        path: called,
        parent,
        name: &name,
        stat: &stat,
        directory: directory.as_ref().map(AsFd::as_fd),
    };
    visitor.meet(&met).context(|| walk::shown(called))?;
    if let Some(directory) = &directory {
        walk::walk_below(directory.as_fd(), called, &mut visitor)?;
    }
    visitor.0.finish()
}

/// Something by its path here, and what it is called in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Where it is.
    pub path: PathBuf,
    /// Its name, without a leading slash.
    pub called: PathBuf,
}

/// Writes `things` to `out`, none of them with what is below it. Follows no link at the end of a path.
/// What is gone is left out; all belongs to `owner`. Blocks.
pub fn several(things: &[Named], owner: (u32, u32), out: &mut dyn Write) -> Result<Packed> {
    let mut entries = Entries::new(out, None).owned_by(owner);
    for thing in things {
        single(&mut entries, thing).context(|| walk::shown(&thing.path))?;
    }
    entries.finish()
}

fn single(entries: &mut Entries<'_>, thing: &Named) -> Result<()> {
    let (Some(parent), Some(name)) = (thing.path.parent(), thing.path.file_name()) else {
        return Err(Error::invalid("has no name"));
    };
    let name =
        CString::new(name.as_bytes()).map_err(|_| Error::invalid("a name with a NUL byte"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    let Some((stat, directory)) = walk::look(parent.as_fd(), &name)? else {
        return Ok(());
    };
    let met = Met {
        path: &thing.called,
        parent: parent.as_fd(),
        name: &name,
        stat: &stat,
        directory: directory.as_ref().map(AsFd::as_fd),
    };
    entries.add(&met, &thing.called)
}

struct TreeEntries<'o>(Entries<'o>);

impl Visitor for TreeEntries<'_> {
    fn meet(&mut self, met: &Met<'_>) -> Result<Next> {
        self.0.add(met, met.path)?;
        Ok(Next::Enter)
    }
}
