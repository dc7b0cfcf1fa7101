//! What a file that may be copied is like, as it was when it was looked at.

use std::path::PathBuf;

use rustix::fs::{FileType, Stat};

/// A file below a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it is, seen from the source; empty for the source itself.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) kind: Kind,
    /// The rest.
    pub(crate) meta: Meta,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link to this text.
    Symlink(Vec<u8>),
    /// A device or a named pipe.
    Node(FileType),
}

/// What stat(2) says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Meta {
    /// Permission bits with set-id and sticky bits.
    pub(crate) mode: u32,
    /// The owner, as far as it counts: a context's files are root's.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
    /// The numbers of a device node.
    pub(crate) device: u64,
    /// How many names it has.
    pub(crate) links: u64,
    /// What tells whether it is the same file and was not changed.
    pub(crate) version: Version,
}

/// A file at one time: what differs when it is another one, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    /// The file system.
    pub(crate) dev: u64,
    /// The file.
    pub(crate) ino: u64,
    /// Its bytes.
    pub(crate) size: u64,
    /// When its contents were changed: seconds and nanoseconds.
    pub(crate) mtime: (i64, i64),
    /// When anything of it was changed.
    pub(crate) ctime: (i64, i64),
}

impl Version {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
            ctime: (stat.st_ctime, nanos(stat.st_ctime_nsec)),
        }
    }
}

fn nanos(nanos: impl TryInto<i64>) -> i64 {
    nanos.try_into().unwrap_or(0)
}

/// Its type differs between processors.
fn many(links: impl TryInto<u64>) -> u64 {
    links.try_into().unwrap_or(u64::MAX)
}

impl Meta {
    /// What stat(2) says; `anonymous` files are root's whoever owns them here.
    pub(crate) fn of(stat: &Stat, anonymous: bool) -> Self {
        let owner = |id| if anonymous { 0 } else { id };
        Self {
            mode: stat.st_mode & 0o7777,
            uid: owner(stat.st_uid),
            gid: owner(stat.st_gid),
            device: stat.st_rdev,
            links: many(stat.st_nlink),
            version: Version::of(stat),
        }
    }
}

impl Entry {
    pub(crate) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}
