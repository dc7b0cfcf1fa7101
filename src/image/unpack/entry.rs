//! What one entry of an archive says, before anyone believes it.

use orc_base::Time;

use crate::unpack::sparse::Map;

/// One entry, its data still to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As written, never empty.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When it was changed.
    pub mtime: Time,
    /// Extended attributes, as written.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file of so many bytes.
    File(u64),
    /// A regular file with holes.
    Sparse(Map),
    /// A directory.
    Directory,
    /// A link to this text.
    Symlink(Vec<u8>),
    /// Another name of an entry before it.
    HardLink(Vec<u8>),
    /// A character device.
    Char(Device),
    /// A block device.
    Block(Device),
    /// A named pipe.
    Fifo,
}

/// The numbers of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}
