//! Writes the headers and the data of a tar archive (POSIX ustar, pax(1)).
//!
//! An entry that fits into the old header gets no more than that; what does not (a long name, a large
//! number, a time before 1970, extended attributes, holes) goes into one PAX header before it, with
//! its records in a fixed order. Nothing here looks at files or clocks: the same entries give the same
//! bytes. Knows no way to leave out an end: [`Tape::finish`] writes it.

use std::io::Write;

use orc_base::{Context, Result};

use crate::unpack::entry::Device;
use crate::unpack::header::BLOCK;
use crate::unpack::sparse::{Map, Piece};

/// The largest numbers that seven and eleven octal digits hold.
const MAX_SMALL: u64 = 0o7_777_777;
const MAX_LARGE: u64 = 0o77_777_777_777;
/// The most bytes of a name and of what may stand before its last slash.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file of so many bytes, which follow.
    File(u64),
    /// A regular file with holes; the bytes of its pieces follow.
    Sparse(Map),
    Directory,
    Symlink(Vec<u8>),
    /// Another name of the entry of this name.
    HardLink(Vec<u8>),
    Char(Device),
    Block(Device),
    Fifo,
}

/// One entry without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// As it is written: without a leading slash, and with a slash at the end for a directory.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits with set-id and sticky bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) mtime: i64,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive on its way to `out`.
pub(super) struct Tape<'o> {
    out: &'o mut dyn Write,
    bytes: u64,
    /// Bytes of data that are still to come.
    expected: u64,
    padding: usize,
}

impl<'o> Tape<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        Self {
            out,
            bytes: 0,
            expected: 0,
            padding: 0,
        }
    }

    /// Begins an entry. Its data must follow, all of it.
    pub(super) fn header(&mut self, header: &Header) -> Result<()> {
        debug_assert_eq!(self.expected, 0, "the entry before is not whole");
        let table = sparse_table(&header.kind);
        let size = match &header.kind {
            Kind::File(size) => *size,
            Kind::Sparse(map) => table.len() as u64 + data_bytes(map),
            _ => 0,
        };
        let records = records(header, size);
        if !records.is_empty() {
            let name = b"PaxHeaders.0/entry";
            let block = block(name, b"", b'x', b"", &Fields::plain(records.len() as u64));
            self.raw(&block)?;
            self.raw(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.raw(&ustar(header, size))?;
        self.raw(&table)?;
        self.expected = size - table.len() as u64;
        self.padding = padding(size);
        match self.expected {
            0 => self.end_of_data(),
            _ => Ok(()),
        }
    }

    /// Adds to the data of the entry.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<()> {
        debug_assert!(bytes.len() as u64 <= self.expected, "more than was said");
        self.raw(bytes)?;
        self.expected -= bytes.len() as u64;
        match self.expected {
            0 => self.end_of_data(),
            _ => Ok(()),
        }
    }

    /// Writes the end marker; how many bytes the archive has.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.raw(&[0; 2 * BLOCK])?;
        self.out.flush().context(written)?;
        Ok(self.bytes)
    }

    fn end_of_data(&mut self) -> Result<()> {
        let padding = std::mem::take(&mut self.padding);
        self.raw(&[0; BLOCK][..padding])
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        self.raw(&[0; BLOCK][..padding(size)])
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).context(written)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn written() -> &'static str {
    "write the archive"
}

fn padding(size: u64) -> usize {
    // Less than a block.
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

fn data_bytes(map: &Map) -> u64 {
    map.pieces.iter().map(|piece| piece.length).sum()
}

/// The map of a sparse file in the form 1.0: numbers on lines of their own, filled up to a block
/// (GNU tar manual, "Storing Sparse Files").
fn sparse_table(kind: &Kind) -> Vec<u8> {
    let Kind::Sparse(map) = kind else {
        return Vec::new();
    };
    let mut text = format!("{}\n", map.pieces.len());
    for Piece { offset, length } in &map.pieces {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut table = text.into_bytes();
    table.resize(table.len().next_multiple_of(BLOCK), 0);
    table
}

/// What the old header cannot hold, as PAX records.
fn records(header: &Header, size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| record(&mut records, key, value);
    if let Kind::Sparse(map) = &header.kind {
        add(b"GNU.sparse.major", b"1");
        add(b"GNU.sparse.minor", b"0");
        add(b"GNU.sparse.name", &header.name);
        add(b"GNU.sparse.realsize", map.size.to_string().as_bytes());
    } else if split(&header.name).is_none() {
        add(b"path", &header.name);
    }
    if let Kind::Symlink(target) | Kind::HardLink(target) = &header.kind
        && target.len() > NAME
    {
        add(b"linkpath", target);
    }
    if size > MAX_LARGE {
        add(b"size", size.to_string().as_bytes());
    }
    for (key, id) in [(b"uid", header.uid), (b"gid", header.gid)] {
        if u64::from(id) > MAX_SMALL {
            add(key, id.to_string().as_bytes());
        }
    }
    if !(0..=MAX_LARGE as i64).contains(&header.mtime) {
        add(b"mtime", header.mtime.to_string().as_bytes());
    }
    for (name, value) in &header.xattrs {
        add(&[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// One record: its own length in decimal, the key and the value.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// The name cut where a slash lets both parts fit.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME {
        return Some((b"", name));
    }
    let cut = |at: usize| (&name[..at], &name[at + 1..]);
    let fits = |at: &usize| name[*at] == b'/' && *at <= PREFIX && name.len() - at - 1 <= NAME;
    // Not at the slash of a directory's end: nothing would be left.
    (1..name.len() - 1).rev().find(fits).map(cut)
}

/// The numbers of a header.
struct Fields {
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: i64,
    device: Device,
}

impl Fields {
    fn plain(size: u64) -> Self {
        Self {
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            device: NO_DEVICE,
        }
    }
}

const NO_DEVICE: Device = Device { major: 0, minor: 0 };

fn ustar(header: &Header, size: u64) -> [u8; BLOCK] {
    let (kind, link, device) = match &header.kind {
        Kind::File(_) | Kind::Sparse(_) => (b'0', &b""[..], NO_DEVICE),
        Kind::HardLink(target) => (b'1', &target[..], NO_DEVICE),
        Kind::Symlink(target) => (b'2', &target[..], NO_DEVICE),
        Kind::Char(device) => (b'3', &b""[..], *device),
        Kind::Block(device) => (b'4', &b""[..], *device),
        Kind::Directory => (b'5', &b""[..], NO_DEVICE),
        Kind::Fifo => (b'6', &b""[..], NO_DEVICE),
    };
    // A name that does not fit stands in the records before; what is here is cut off.
    let (prefix, name) = match &header.kind {
        Kind::Sparse(_) => (&b""[..], &b"GNUSparseFile.0/entry"[..]),
        _ => split(&header.name).unwrap_or((b"", &header.name)),
    };
    let fields = Fields {
        mode: header.mode,
        uid: header.uid,
        gid: header.gid,
        size,
        mtime: header.mtime,
        device,
    };
    block(name, prefix, kind, link, &fields)
}

fn block(name: &[u8], prefix: &[u8], kind: u8, link: &[u8], fields: &Fields) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut text = |at: usize, limit: usize, bytes: &[u8]| {
        let count = bytes.len().min(limit);
        block[at..at + count].copy_from_slice(&bytes[..count]);
    };
    text(0, NAME, name);
    text(157, NAME, link);
    text(257, 8, b"ustar\x0000");
    text(345, PREFIX, prefix);
    text(100, 8, &octal(u64::from(fields.mode), 7));
    text(108, 8, &octal(u64::from(fields.uid), 7));
    text(116, 8, &octal(u64::from(fields.gid), 7));
    text(124, 12, &octal(fields.size, 11));
    let mtime = u64::try_from(fields.mtime).unwrap_or(0);
    text(136, 12, &octal(mtime, 11));
    text(329, 8, &octal(u64::from(fields.device.major), 7));
    text(337, 8, &octal(u64::from(fields.device.minor), 7));
    text(156, 1, &[kind]);
    let spaces = 8 * u64::from(b' ');
    let sum = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() + spaces;
    let sum = octal(sum, 6);
    block[148..154].copy_from_slice(&sum);
    block[154..156].copy_from_slice(b"\0 ");
    block
}

/// So many octal digits; zero for what they cannot hold, which then stands in a record.
fn octal(value: u64, digits: usize) -> Vec<u8> {
    let fits = value < 1 << (3 * digits);
    format!("{:0digits$o}", if fits { value } else { 0 }).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::entry::{Entry, EntryKind};
    use crate::unpack::tar::Reader;

    fn header(name: &str, kind: Kind) -> Header {
        Header {
            name: name.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1,
            xattrs: Vec::new(),
        }
    }

    fn written(header: &Header, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut tape = Tape::new(&mut bytes);
        tape.header(header).unwrap();
        tape.data(data).unwrap();
        assert_eq!(tape.finish().unwrap() as usize, bytes.len());
        bytes
    }

    fn read(bytes: &[u8]) -> (Entry, Vec<u8>) {
        let mut reader = Reader::new(bytes);
        let entry = reader.next_entry().unwrap().unwrap();
        let mut data = Vec::new();
        reader
            .data(&mut |piece| {
                data.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        assert_eq!(reader.next_entry().unwrap(), None);
        assert!(reader.has_end_marker());
        (entry, data)
    }

    #[test]
    fn what_fits_needs_no_extension() {
        let bytes = written(&header("a", Kind::File(3)), b"abc");
        assert_eq!(bytes.len(), 4 * BLOCK);
        let (entry, data) = read(&bytes);
        assert_eq!((&entry.name[..], &data[..]), (&b"a"[..], &b"abc"[..]));
        let two = format!("{}/{}", "p".repeat(150), "n".repeat(100));
        assert_eq!(written(&header(&two, Kind::Fifo), b"").len(), 3 * BLOCK);
    }

    #[test]
    fn whatever_is_written_is_read_back() {
        let device = Device { major: 1, minor: 3 };
        let long = "x".repeat(250);
        let deep = format!("{}/", "d".repeat(101));
        for (name, kind, expected) in [
            ("d/", Kind::Directory, EntryKind::Directory),
            (&deep, Kind::Directory, EntryKind::Directory),
            (&long, Kind::Fifo, EntryKind::Fifo),
            (
                &long,
                Kind::Symlink(long.clone().into()),
                EntryKind::Symlink(long.clone().into()),
            ),
            (
                "\u{e4}",
                Kind::HardLink(b"\xff".into()),
                EntryKind::HardLink(b"\xff".into()),
            ),
            ("c", Kind::Char(device), EntryKind::Char(device)),
            ("b", Kind::Block(device), EntryKind::Block(device)),
        ] {
            for mtime in [0, 1, -5, 8_589_934_591, 8_589_934_592] {
                for id in [0, 2_097_151, 2_097_152, u32::MAX - 1] {
                    let one = Header {
                        uid: id,
                        gid: id,
                        mtime,
                        mode: 0o7777,
                        xattrs: vec![(b"user.a".into(), b"\n1 b=c\n\0".into())],
                        ..header(name, kind.clone())
                    };
                    let (entry, _) = read(&written(&one, b""));
                    assert_eq!(entry.name, one.name);
                    assert_eq!(entry.kind, expected);
                    assert_eq!((entry.uid, entry.gid, entry.mode), (id, id, 0o7777));
                    assert_eq!(entry.mtime.secs(), mtime);
                    assert_eq!(entry.xattrs, one.xattrs);
                }
            }
        }
    }

    #[test]
    fn holes_are_kept() {
        let pieces = vec![
            Piece {
                offset: 4096,
                length: 3,
            },
            Piece {
                offset: 1 << 30,
                length: 2,
            },
        ];
        let map = Map::new(1 << 40, pieces, 5).unwrap();
        let bytes = written(&header("s", Kind::Sparse(map.clone())), b"abcde");
        assert!(bytes.len() < 8192);
        let (entry, data) = read(&bytes);
        assert_eq!(
            (entry.kind, &data[..]),
            (EntryKind::Sparse(map), &b"abcde"[..])
        );
        assert_eq!(entry.name, b"s");
    }
}
