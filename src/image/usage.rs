//! How much space trees take, as du(1) counts it.
//!
//! By blocks, each file once however many names it has, the directories included. Works on open
//! directories and follows no link: what is counted was made by strangers. Files that go while they
//! are counted count for nothing.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use orc_base::{Context, Result};

/// The unit of `st_blocks`, inode(7).
const BLOCK_BYTES: u64 = 512;
/// How many directories are open at once; what lies deeper is opened again from the top.
const MAX_OPEN: usize = 64;

/// The space that a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk: blocks of all files and directories.
    pub disk_bytes: u64,
    /// Bytes that the regular files hold, as they say.
    pub file_bytes: u64,
    /// Files, directories, links.
    pub inodes: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.disk_bytes += other.disk_bytes;
        self.file_bytes += other.file_bytes;
        self.inodes += other.inodes;
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

impl Usage {
    /// Counts the file or tree at `path`, which is ours, as far as it is on one file system; nothing
    /// when it is not there.
    pub fn of(path: &Path) -> Result<Self> {
        Self::except(path, &|_| false)
    }

    /// [`Usage::of`] without what `skips` says, which is asked with the names below `path` of each
    /// file and directory.
    pub fn except(path: &Path, skips: &dyn Fn(&[&[u8]]) -> bool) -> Result<Self> {
        let count = || -> Result<Self, Errno> {
            let stat = match rustix::fs::lstat(path) {
                Err(Errno::NOENT) => return Ok(Self::default()),
                other => other?,
            };
            let mut counter = Counter {
                usage: Self::default(),
                seen: HashSet::new(),
                device: stat.st_dev,
                skips,
            };
            counter.add(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let top = rustix::fs::open(path, flags, Mode::empty())?;
                counter.walk(top)?;
            }
            Ok(counter.usage)
        };
        count().context(|| format!("count the space of {}", path.display()))
    }
}

struct Counter<'a> {
    usage: Usage,
    /// Files with several names, by device and number.
    seen: HashSet<(u64, u64)>,
    /// The file system that it is about.
    device: u64,
    skips: &'a dyn Fn(&[&[u8]]) -> bool,
}

/// A directory on the way down.
struct Level {
    /// Closed while the walk is far below.
    fd: Option<OwnedFd>,
    /// Which directory it is, to know it again.
    identity: (u64, u64),
    name: CString,
    left: Vec<CString>,
}

impl Counter<'_> {
    fn add(&mut self, stat: &Stat) {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory
            && stat.st_nlink > 1
            && !self.seen.insert((stat.st_dev, stat.st_ino))
        {
            return;
        }
        self.usage.disk_bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK_BYTES;
        self.usage.inodes += 1;
        if kind == FileType::RegularFile {
            self.usage.file_bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
    }

    /// Depth first without recursion: a tree may be deeper than there are descriptors. What is far up
    /// is closed, and opened again as `..` of what is below it.
    fn walk(&mut self, top: OwnedFd) -> Result<(), Errno> {
        let mut levels = vec![self.enter(top, CString::default(), &[])?];
        loop {
            let depth = levels.len();
            let Some(level) = levels.last_mut() else {
                return Ok(());
            };
            let Some(fd) = &level.fd else {
                return Ok(());
            };
            let Some(child) = level.left.pop() else {
                let parent = open(fd.as_fd(), c"..");
                levels.pop();
                if let Some(above) = levels.last_mut() {
                    above.reopen(parent)?;
                }
                continue;
            };
            match open(fd.as_fd(), &child) {
                // It went, or became something else: it was counted as what it was.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                other => {
                    let next = self.enter(other?, child, &levels)?;
                    levels.push(next);
                }
            }
            if let Some(far) = depth.checked_sub(MAX_OPEN) {
                levels[far].fd = None;
            }
        }
    }

    fn enter(&mut self, fd: OwnedFd, name: CString, above: &[Level]) -> Result<Level, Errno> {
        let mut left = Vec::new();
        let above = above.iter().skip(1).map(|level| level.name.to_bytes());
        let mut names: Vec<&[u8]> = above.collect();
        // The top has no name.
        names.extend(Some(name.to_bytes()).filter(|name| !name.is_empty()));
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let child = entry.file_name();
            if matches!(child.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match rustix::fs::statat(&fd, child, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            let path: Vec<&[u8]> = names.iter().copied().chain([child.to_bytes()]).collect();
            if stat.st_dev != self.device || (self.skips)(&path) {
                continue;
            }
            self.add(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                left.push(child.to_owned());
            }
        }
        let identity = identity(&rustix::fs::fstat(&fd)?);
        Ok(Level {
            fd: Some(fd),
            identity,
            name,
            left,
        })
    }
}

impl Level {
    /// Opens it again when it was closed; when the tree was moved meanwhile the walk ends here.
    fn reopen(&mut self, parent: Result<OwnedFd, Errno>) -> Result<(), Errno> {
        if self.fd.is_none() {
            let parent = parent?;
            if identity(&rustix::fs::fstat(&parent)?) == self.identity {
                self.fd = Some(parent);
            }
        }
        Ok(())
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn du(path: &Path) -> u64 {
        let output = Command::new("du").args(["-s", "-B512"]).arg(path).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let blocks: u64 = text.split_whitespace().next().unwrap().parse().unwrap();
        blocks * BLOCK_BYTES
    }

    #[test]
    fn counts_as_du_does() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("tree");
        for n in 0..50 {
            let place = top.join(format!("d{n}/e"));
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("f"), vec![b'x'; n * 1000]).unwrap();
        }
        std::fs::hard_link(top.join("d49/e/f"), top.join("again")).unwrap();
        symlink("/etc", top.join("link")).unwrap();
        let sparse = std::fs::File::create(top.join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        let usage = Usage::of(&top).unwrap();
        assert_eq!(usage.disk_bytes, du(&top));
        let files: u64 = (0..50).map(|n| n * 1000).sum();
        assert_eq!(usage.file_bytes, files + (1 << 30));
        assert_eq!(usage.inodes, 1 + 50 * 3 + 2);
        assert_eq!(Usage::of(&top.join("d1/e/f")).unwrap().file_bytes, 1000);
        assert_eq!(Usage::of(&top.join("none")).unwrap(), Usage::default());
    }

    #[test]
    fn leaves_out_what_is_counted_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a/skip/f", "a/f", "skip/f", "b/c/f"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![b'x'; 1000]).unwrap();
        }
        let usage = Usage::except(dir.path(), &|path| match path {
            [first, second] => *first == b"a" && *second == b"skip",
            _ => path.ends_with(&[b"c", b"f"]),
        });
        // The top, a, a/f, skip, skip/f, b, b/c.
        assert_eq!(usage.unwrap().inodes, 7);
    }

    #[test]
    fn counts_trees_deeper_than_any_path() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("tree");
        std::fs::create_dir(&top).unwrap();
        let mut fd = rustix::fs::open(&top, OFlags::PATH, Mode::empty()).unwrap();
        for _ in 0..300 {
            rustix::fs::mkdirat(&fd, "a", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&fd, "d", Mode::RWXU).unwrap();
            fd = rustix::fs::openat(&fd, "d", OFlags::PATH, Mode::empty()).unwrap();
        }
        assert_eq!(Usage::of(&top).unwrap().inodes, 601);
        crate::removal::remove_tree(&top).unwrap();
    }
}
