//! A tree, as it looks from inside, becomes an archive: what `export` and `cp` send.
//!
//! The tree may be in use and may change meanwhile; the archive then has what was there when the walk
//! came by. Names of whiteouts mean nothing here.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use orc_base::{Context, Error, Result, Time};

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

struct TreeEntries<'o>(Entries<'o>);

impl Visitor for TreeEntries<'_> {
    fn meet(&mut self, met: &Met<'_>) -> Result<Next> {
        self.0.add(met, met.path)?;
        Ok(Next::Enter)
    }
}
