//! The files of containers: looked at, sent as archives, taken in, compared, and made an image.
//!
//! A path is the container's: absolute, or seen from its root directory, links resolved inside it. As
//! in `docker cp`, a path that ends in `/` or `/.` means what a link leads to, and must be a directory;
//! any other path means the thing of that name, a link as itself.

use orc_base::Time;
use serde::{Deserialize, Serialize};

use crate::stream::{Bytes, Stream};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// The last component of the path as it was given: `/` for the root, `.` after `/.`.
    pub name: String,
    /// Bytes of a file; of others what the file system says.
    pub size_bytes: u64,
    /// Kind and permissions, as in `st_mode` (inode(7)).
    pub mode: u32,
    /// When it was changed.
    pub mtime: Time,
    /// Where a link leads, resolved as far as it goes, seen from the root; empty for others.
    pub link_target: String,
}

/// What is at a path, and the archive of it.
pub struct PathArchive {
    /// What it is.
    pub stat: PathStat,
    /// A tar archive whose names begin with `stat.name`.
    pub tar: Stream<Bytes>,
}

/// How files are written into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WriteOptions {
    /// Refuse to replace a directory by something else, or something else by a directory.
    pub keeps_kinds: bool,
    /// The container's user owns what is written, whatever the archive says.
    pub as_user: bool,
}

/// How a path differs from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// It is in the image, and another here.
    Modified,
    /// It is not in the image.
    Added,
    /// It is only in the image.
    Deleted,
}

/// One difference of a container from its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathChange {
    /// How it differs.
    pub kind: ChangeKind,
    /// Absolute. Bytes that are no text are replaced.
    pub path: String,
}

/// An image to make of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CommitSpec {
    /// The name of the image; nameless without one.
    pub reference: Option<String>,
    /// Who made it.
    pub author: String,
    /// A word about it for its history.
    pub message: String,
    /// Instructions of a Dockerfile for its config: `CMD ["sh"]`, `ENV A=b`.
    pub changes: Vec<String>,
    /// Freeze a running container meanwhile, so that what is taken fits together.
    pub pause: bool,
}
