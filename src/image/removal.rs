//! Removes directory trees that strangers made.
//!
//! A container may leave a tree of any depth, deeper than a path can say and than there are file
//! descriptors. So nothing here recurses: what lies deep is first moved up, next to the tree, and
//! removed from there. Works on names in open directories only and never follows a link.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use orc_base::{Context, Error, Kind, Result, id};

/// How many directories are open at once.
const MAX_OPEN: usize = 32;

/// Removes the file, link or tree at `path`, which is ours; fine when it is gone already.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::invalid(format!(
            "`{}` does not end in a name",
            path.display()
        )));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => remove_at(parent.as_fd(), name),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
    .context(|| format!("remove {}", path.display()))
}

/// Removes `name` and all below it. Deep parts are moved into `parent` under names of their own.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let name = CString::new(name.as_bytes())
        .map_err(|_| Error::new(Kind::Invalid, "a name with a NUL byte"))?;
    let mut trees = vec![name];
    while let Some(tree) = trees.pop() {
        remove_one(parent, &tree, &mut trees)?;
    }
    Ok(())
}

/// A directory on the way down.
struct Level {
    fd: OwnedFd,
    name: CString,
    /// Subdirectories that are not removed yet.
    left: Vec<CString>,
}

/// Removes one tree but for the parts that are too deep: these are moved up and added to `more`.
fn remove_one(
    parent: BorrowedFd<'_>,
    tree: &CString,
    more: &mut Vec<CString>,
) -> Result<(), Errno> {
    if unlink(parent, tree)? {
        return Ok(());
    }
    let mut levels = Vec::new();
    levels.extend(enter(parent, tree.clone())?);
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else {
            return Ok(());
        };
        let Some(child) = level.left.pop() else {
            let done = levels.pop().expect("the loop holds the last one");
            let above = levels.last().map_or(parent, |level| level.fd.as_fd());
            gone(rustix::fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR))?;
            continue;
        };
        // An empty one goes without a look inside.
        if rustix::fs::unlinkat(&level.fd, &child, AtFlags::REMOVEDIR).is_ok() {
            continue;
        }
        if depth < MAX_OPEN {
            let next = enter(level.fd.as_fd(), child)?;
            levels.extend(next);
            continue;
        }
        let unique = format!(".deep-{}", id::hex(&id::random_bytes::<8>()));
        let unique = CString::new(unique).expect("hexadecimal digits have no NUL");
        rustix::fs::renameat(&level.fd, &child, parent, &unique)?;
        more.push(unique);
    }
}

/// Opens a directory, removes the files in it and lists its subdirectories; none when someone else
/// has removed it.
fn enter(parent: BorrowedFd<'_>, name: CString) -> Result<Option<Level>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(parent, &name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let mut left = Vec::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let child = entry.file_name();
        if matches!(child.to_bytes(), b"." | b"..") {
            continue;
        }
        let directory = entry.file_type() == rustix::fs::FileType::Directory;
        if directory || !unlink(fd.as_fd(), child)? {
            left.push(child.to_owned());
        }
    }
    Ok(Some(Level { fd, name, left }))
}

/// Whether it is gone now; a directory is not.
fn unlink(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn removes_trees_deeper_than_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("tree");
        std::fs::create_dir(&top).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut fd = rustix::fs::open(&top, flags, Mode::empty()).unwrap();
        for depth in 0..3_000 {
            rustix::fs::mkdirat(&fd, "d", Mode::RWXU).unwrap();
            if depth % 500 == 0 {
                rustix::fs::symlinkat("/etc", &fd, "link").unwrap();
                rustix::fs::mkdirat(&fd, "side", Mode::RWXU).unwrap();
            }
            fd = rustix::fs::openat(&fd, "d", flags, Mode::empty()).unwrap();
        }
        drop(fd);
        remove_tree(&top).unwrap();
        remove_tree(&top).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn removes_wide_trees_and_spares_what_links_point_at() {
        let dir = tempfile::tempdir().unwrap();
        let (top, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("secret"), b"untouched").unwrap();
        for n in 0..2_000 {
            std::fs::create_dir_all(top.join(format!("{n}/x"))).unwrap();
        }
        symlink(&outside, top.join("link")).unwrap();
        symlink(&outside, dir.path().join("top-link")).unwrap();
        remove_tree(&top).unwrap();
        remove_tree(&dir.path().join("top-link")).unwrap();
        remove_tree(&dir.path().join("missing/x")).unwrap();
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"untouched");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
