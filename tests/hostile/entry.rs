//! One entry of an archive, before it is bytes.
//!
//! Names and targets are bytes and may be anything; what a header cannot hold goes into a PAX record.

use crate::tape::{Tape, tape};

/// What an archive says about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As written.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission, set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file with these bytes.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to this text.
    Symlink(Vec<u8>),
    /// Another name of this entry.
    HardLink(Vec<u8>),
    /// A character device.
    Char(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

impl Entry {
    /// An entry with the usual mode of its kind, owned by root.
    pub fn new(name: impl Into<Vec<u8>>, kind: Kind) -> Self {
        let mode = match kind {
            Kind::Directory => 0o755,
            Kind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        Self {
            name: name.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: 1_600_000_000,
            xattrs: Vec::new(),
        }
    }

    /// A regular file.
    pub fn file(name: impl Into<Vec<u8>>, data: impl Into<Vec<u8>>) -> Self {
        Self::new(name, Kind::File(data.into()))
    }

    /// A directory.
    pub fn directory(name: impl Into<Vec<u8>>) -> Self {
        Self::new(name, Kind::Directory)
    }

    /// A symbolic link.
    pub fn symlink(name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self::new(name, Kind::Symlink(target.into()))
    }

    /// A hard link.
    pub fn hard_link(name: impl Into<Vec<u8>>, target: impl Into<Vec<u8>>) -> Self {
        Self::new(name, Kind::HardLink(target.into()))
    }

    /// The same with other permission bits.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// The same with another owner and group.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }

    /// The same with another time.
    #[must_use]
    pub fn mtime(self, mtime: i64) -> Self {
        Self { mtime, ..self }
    }

    /// The same with one more extended attribute.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs.push((name.to_owned(), value.to_owned()));
        self
    }

    fn write(&self, mut tape: Tape) -> Tape {
        let (kind, target, data): (u8, &[u8], &[u8]) = match &self.kind {
            Kind::File(data) => (b'0', b"", data),
            Kind::HardLink(target) => (b'1', target, b""),
            Kind::Symlink(target) => (b'2', target, b""),
            Kind::Char(..) => (b'3', b"", b""),
            Kind::Block(..) => (b'4', b"", b""),
            Kind::Directory => (b'5', b"", b""),
            Kind::Fifo => (b'6', b"", b""),
        };
        let fits = |text: &[u8]| text.len() <= 100 && !text.contains(&0);
        let mut records: Vec<(String, &[u8])> = Vec::new();
        if !fits(&self.name) {
            records.push(("path".into(), &self.name));
        }
        if !fits(target) {
            records.push(("linkpath".into(), target));
        }
        for (name, value) in &self.xattrs {
            records.push((format!("SCHILY.xattr.{name}"), value));
        }
        if !records.is_empty() {
            let records: Vec<_> = records.iter().map(|one| (&*one.0, one.1)).collect();
            tape = tape.pax(&records);
        }
        tape.raw_with_data(data, |header| {
            header[..100].fill(0);
            put(&mut header[..100], &self.name);
            put(&mut header[157..257], target);
            header[156] = kind;
            octal(&mut header[100..108], u64::from(self.mode));
            octal(&mut header[108..116], u64::from(self.uid));
            octal(&mut header[116..124], u64::from(self.gid));
            octal(&mut header[136..148], self.mtime.unsigned_abs());
            if let Kind::Char(major, minor) | Kind::Block(major, minor) = self.kind {
                octal(&mut header[329..337], u64::from(major));
                octal(&mut header[337..345], u64::from(minor));
            }
        })
    }
}

fn put(field: &mut [u8], text: &[u8]) {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let count = text.len().min(field.len());
    field[..count].copy_from_slice(&text[..count]);
}

fn octal(field: &mut [u8], number: u64) {
    let width = field.len() - 1;
    field[..width].copy_from_slice(format!("{number:0width$o}").as_bytes());
}

/// The archive of these entries, with its end marker.
pub fn archive(entries: &[Entry]) -> Vec<u8> {
    let written = entries.iter().fold(tape(), |tape, entry| entry.write(tape));
    written.end()
}
