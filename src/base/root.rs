//! Paths that an image, an archive, a container or a user names, resolved inside one directory.
//!
//! Every look-up is one `openat2(2)` with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS` from the root's
//! file descriptor: `..` and absolute links stay inside, whoever swaps links meanwhile. What comes
//! back is a descriptor; nothing here resolves the same string twice. The last component is never
//! followed unless the method says so.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};

/// How often a look-up that lost a race with a rename is repeated (`EAGAIN`, openat2(2)).
const RACE_TRIES: usize = 128;
/// The most components a path may have: bounds the walk of [`Root::create_dir_all`].
const MAX_DEPTH: usize = 4096;
/// The most links on the way to a file, as the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A directory that no path leaves.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// Opens `path`, which is ours and is resolved as usual.
    pub fn open(path: &Path) -> Result<Self> {
        let fd = rustix::fs::open(
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .context(|| format!("open {}", path.display()))?;
        Ok(Self { fd })
    }

    /// A root at an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens `path` inside the root. With `O_PATH` in `flags` any kind of file can be opened; add
    /// `O_NOFOLLOW` to get a link itself.
    pub fn open_at(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let path = path.as_ref();
        resolve(self.fd.as_fd(), path, flags, mode).context(|| shown(path))
    }

    /// The directory that holds `path` and the last component: the pair for every `*at` call that
    /// must not follow a link. `path` must have a last component that is a name.
    pub fn parent_of<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let (parent, name) = split(path)?;
        let parent = resolve(
            self.fd.as_fd(),
            parent,
            OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .context(|| shown(parent))?;
        Ok((parent, name))
    }

    /// Makes the directory at `path` and its missing parents with `mode` (owner root) and opens it.
    /// Links on the way are followed inside the root; a dangling one or a file in the way is an error.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        let open = OFlags::PATH | OFlags::DIRECTORY;
        match resolve(self.fd.as_fd(), path, open, Mode::empty()) {
            Err(Errno::NOENT) => {}
            other => return other.context(|| shown(path)),
        }
        if path.components().count() > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "a path of more than {MAX_DEPTH} components"
            )));
        }
        let (parent, name) = split(path)?;
        let parent = self.create_dir_all(parent, mode)?;
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
            Ok(()) => inherit_nothing(parent.as_fd(), name, mode)
                .context(|| format!("make directory {}", shown(path)))?,
            Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(errno).context(|| format!("make directory {}", shown(path)));
            }
        }
        resolve(self.fd.as_fd(), path, open, Mode::empty()).context(|| shown(path))
    }

    /// Where the file at `path` really is, seen from the root: links resolved, `..` gone.
    pub fn canonical(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let file = self.open_at(path, OFlags::PATH, Mode::empty())?;
        let file = fd_path(file.as_fd())?;
        let root = fd_path(self.fd.as_fd())?;
        let inside = file
            .strip_prefix(&root)
            .map_err(|_| Error::invalid(format!("{} is outside its root", file.display())))?;
        Ok(Path::new("/").join(inside))
    }

    /// Whether a link on the way to `path` leads up past the root. Such a path is safe here, because
    /// the root is where it ends; but nobody writes it by accident. Absolute links lead to the root.
    pub fn climbs_out(&self, path: impl AsRef<Path>) -> Result<bool> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::openat2(&self.fd, path.as_ref(), flags, Mode::empty(), beneath) {
            Err(Errno::XDEV) => self.walks_out(path.as_ref()),
            _ => Ok(false),
        }
    }

    /// [`Root::climbs_out`] link by link: the kernel does not say why it refused.
    fn walks_out(&self, path: &Path) -> Result<bool> {
        let mut pending: Vec<PathBuf> = components(path).collect();
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(component) = pending.pop() {
            if component == Path::new("..") {
                if !at.pop() {
                    return Ok(true);
                }
                continue;
            }
            at.push(component);
            let Ok((parent, name)) = self.parent_of(&at) else {
                return Ok(false);
            };
            if let Ok(target) = rustix::fs::readlinkat(&parent, name, Vec::new()) {
                let target = PathBuf::from(OsStr::from_bytes(target.to_bytes()));
                at.pop();
                if target.has_root() {
                    at.clear();
                }
                pending.extend(components(&target));
                links += 1;
            }
            if links > MAX_LINKS || pending.len() > MAX_DEPTH {
                return Err(Errno::LOOP).context(|| shown(path));
            }
        }
        Ok(false)
    }

    /// Removes the file, link or directory tree at `path`; fine when it is gone already. Nothing
    /// outside the root is touched, and no link is followed on the way down.
    pub fn remove_all(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (parent, name) = match self.parent_of(path) {
            Err(error) if error.kind() == crate::error::Kind::NotFound => return Ok(()),
            other => other?,
        };
        remove_tree(parent.as_fd(), name).context(|| format!("remove {}", shown(path)))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The path of an open file as the kernel names it, for messages and for calls that take no fd.
pub fn fd_path(fd: BorrowedFd<'_>) -> Result<PathBuf> {
    use std::os::fd::AsRawFd;
    Ok(std::fs::read_link(format!(
        "/proc/self/fd/{}",
        fd.as_raw_fd()
    ))?)
}

fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let path = match path.as_os_str().as_bytes() {
        b"" => OsStr::new("."),
        _ => path.as_os_str(),
    };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RACE_TRIES {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// A directory in a set-group-id directory gets its group and that bit (inode(7)): takes both back.
fn inherit_nothing(parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        // Somebody was faster: then it is theirs.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        other => other?,
    };
    if rustix::fs::fstat(&directory)?.st_mode & Mode::SGID.bits() == 0 {
        return Ok(());
    }
    rustix::fs::fchown(&directory, None, Some(rustix::process::getegid()))?;
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))
}

/// The names and `..` of a path, last one first.
fn components(path: &Path) -> impl Iterator<Item = PathBuf> {
    use std::path::Component;
    path.components()
        .rev()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| part.as_os_str().into())
}

fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(Error::invalid(format!(
            "`{}` does not end in a name",
            path.display()
        ))),
    }
}

/// Removes `name` in `parent` and all below it, deepest first, by descriptors only.
fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    for name in names {
        remove_tree(directory.as_fd(), OsStr::from_bytes(name.to_bytes()))?;
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A path in a message: of a very long one the beginning.
fn shown(path: &Path) -> String {
    const LIMIT: usize = 256;
    let text = path.display().to_string();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree with a sentinel beside the root that no test may reach.
    fn trap() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/secret"), b"untouched").unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn no_path_leaves_the_root() {
        let (dir, root) = trap();
        let inside = dir.path().join("root");
        symlink("../outside", inside.join("relative")).unwrap();
        symlink(dir.path().join("outside"), inside.join("absolute")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        for path in [
            "relative/secret",
            "absolute/secret",
            "../outside/secret",
            "/../../outside/secret",
            "magic/etc/passwd",
        ] {
            let result = root.open_at(path, OFlags::RDONLY, Mode::empty());
            assert!(result.is_err(), "{path} was opened");
        }
        assert!(root.create_dir_all("relative/new", 0o755).is_err());
        root.create_dir_all("../../a/b", 0o755).unwrap();
        assert!(inside.join("a/b").is_dir());
        assert_eq!(
            std::fs::read_dir(dir.path().join("outside"))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn follows_links_inside() {
        let (dir, root) = trap();
        let inside = dir.path().join("root");
        std::fs::create_dir_all(inside.join("usr/lib")).unwrap();
        symlink("/usr/lib", inside.join("lib")).unwrap();
        root.create_dir_all("lib/x", 0o755).unwrap();
        assert!(inside.join("usr/lib/x").is_dir());
        assert_eq!(root.canonical("lib/x").unwrap(), Path::new("/usr/lib/x"));
    }

    #[test]
    fn tells_links_that_climb_out_from_those_that_stay() {
        let (dir, root) = trap();
        let inside = dir.path().join("root");
        std::fs::create_dir_all(inside.join("usr/lib")).unwrap();
        symlink("/usr/lib", inside.join("lib")).unwrap();
        symlink("../usr", inside.join("usr/again")).unwrap();
        symlink("../..", inside.join("up")).unwrap();
        symlink("up", inside.join("usr/lib/hop")).unwrap();
        symlink("../../up/x", inside.join("usr/lib/far")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        for stays in [
            "usr/lib/new",
            "lib/new",
            "usr/again/lib/new",
            "nope/new",
            "usr/lib/hop/new",
        ] {
            assert!(!root.climbs_out(stays).unwrap(), "{stays}");
        }
        for climbs in ["up", "up/tmp/new", "usr/lib/far/new"] {
            assert!(root.climbs_out(climbs).unwrap(), "{climbs}");
        }
        assert!(!root.climbs_out("loop/new").unwrap_or(false));
    }

    #[test]
    fn made_directories_inherit_nothing() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let (dir, root) = trap();
        let shared = dir.path().join("root/shared");
        std::fs::create_dir(&shared).unwrap();
        std::os::unix::fs::chown(&shared, None, Some(1234)).unwrap();
        std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o2775)).unwrap();
        root.create_dir_all("shared/a/b", 0o755).unwrap();
        for path in ["a", "a/b"] {
            let made = shared.join(path).metadata().unwrap();
            assert_eq!((made.mode() & 0o7777, made.gid()), (0o755, 0), "{path}");
        }
    }

    #[test]
    fn removes_links_not_their_targets() {
        let (dir, root) = trap();
        let inside = dir.path().join("root");
        std::fs::create_dir_all(inside.join("d/e")).unwrap();
        symlink(dir.path().join("outside"), inside.join("d/e/link")).unwrap();
        root.remove_all("d").unwrap();
        root.remove_all("d").unwrap();
        assert!(!inside.join("d").exists());
        assert!(dir.path().join("outside/secret").exists());
    }
}
