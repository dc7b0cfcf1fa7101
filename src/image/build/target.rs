//! Where copies go: paths in an image that is being made, and the directories on the way.
//!
//! As BuildKit has it: links on the way are followed inside the image, even to what does not exist
//! yet; what is missing is made with mode 0755 and belongs to whom the copy belongs.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use orc_base::root::Root;
use orc_base::{Context, Error, Kind, Result};

use crate::build::owner::Ids;
use crate::build::view::{open_plain, relative, what_is};

/// Mode of directories that nobody describes.
const IMPLIED_MODE: u32 = 0o755;
/// The most links on one way, as the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// The most components of one way.
const MAX_DEPTH: usize = 512;

/// Where `path` leads to inside of `root`: without links, `.` and `..`, seen from the root. What does
/// not exist is taken as it is written.
pub(crate) fn settle(root: &Root, path: &Path) -> Result<PathBuf> {
    // What is in the way is said when directories are made.
    if let Ok(found) = root.canonical(path) {
        return Ok(relative(&found).to_owned());
    }
    let mut pending: Vec<PathBuf> = components(path);
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(component) = pending.pop() {
        if component == Path::new("..") {
            at.pop();
            continue;
        }
        let target = match root.parent_of(&at.join(&component)) {
            Ok((parent, name)) => read_link(&parent, name)?,
            Err(_) => None,
        };
        let Some(target) = target else {
            at.push(component);
            continue;
        };
        if target.has_root() {
            at.clear();
        }
        pending.extend(components(&target));
        links += 1;
        if links > MAX_LINKS || pending.len() > MAX_DEPTH {
            return Err(Errno::LOOP).context(|| path.display().to_string());
        }
    }
    Ok(at)
}

/// The names and `..` of a path, last one first.
fn components(path: &Path) -> Vec<PathBuf> {
    let wanted = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    let parts = path.components().rev().filter(wanted);
    parts.map(|part| part.as_os_str().into()).collect()
}

fn read_link(parent: &OwnedFd, name: &OsStr) -> Result<Option<PathBuf>> {
    match rustix::fs::readlinkat(parent, name, Vec::new()) {
        Ok(target) => Ok(Some(OsStr::from_bytes(target.to_bytes()).into())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the directory `path`, which is settled, and what is missing above it. Says whether anything
/// was made.
pub(crate) fn make_directories(root: &Root, path: &Path, owner: Option<Ids>) -> Result<bool> {
    let directory = OFlags::PATH | OFlags::DIRECTORY;
    match open_plain(root.as_fd(), path, directory) {
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(_) => return Err(in_the_way(root, path)),
    }
    if path.components().count() > MAX_DEPTH {
        return Err(Error::invalid(format!(
            "a path of more than {MAX_DEPTH} components"
        )));
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(false);
    };
    make_directories(root, above, owner)?;
    let parent = open_plain(root.as_fd(), above, directory)?;
    rustix::fs::mkdirat(&parent, name, Mode::RWXU)
        .context(|| format!("make directory /{}", path.display()))?;
    let made = open_plain(
        parent.as_fd(),
        Path::new(name),
        OFlags::RDONLY | OFlags::DIRECTORY,
    )?;
    let (user, group) = owner.unwrap_or((0, 0));
    rustix::fs::fchown(&made, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(IMPLIED_MODE))?;
    Ok(true)
}

fn in_the_way(root: &Root, path: &Path) -> Error {
    let mut at = path.ancestors().collect::<Vec<_>>();
    at.reverse();
    let file = at.iter().find(|one| {
        let kind = kind_of(root, one);
        matches!(kind, Ok(Some(kind)) if kind != FileType::Directory)
    });
    match file {
        Some(file) => Error::invalid(format!("/{} is not a directory", file.display())),
        None => Error::invalid(format!("/{} cannot be made a directory", path.display())),
    }
}

/// What is at `path`, which is settled; none when there is nothing.
pub(crate) fn kind_of(root: &Root, path: &Path) -> Result<Option<FileType>> {
    let Some(name) = path.file_name() else {
        return Ok(Some(FileType::Directory));
    };
    let above = path.parent().unwrap_or(Path::new(""));
    match open_plain(root.as_fd(), above, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(parent) => what_is(parent.as_fd(), name),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the file at a name to put another one there. A directory stays, and is an error.
pub(crate) fn clear(parent: &OwnedFd, name: &OsStr, shown: &Path) -> Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => Err(Error::invalid(format!(
            "cannot replace the directory /{} with a file",
            shown.display()
        ))),
        Err(errno) => Err(errno).context(|| format!("replace /{}", shown.display())),
    }
}
