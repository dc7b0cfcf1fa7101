//! Cuts a stream into the entries of a tar archive.
//!
//! Reads POSIX ustar and PAX, GNU and the old format. It is our own reader because the `tar` crate
//! reads extension headers of any size into memory, cuts PAX records at newlines (a file capability
//! may contain one) and passes over malformed ones. Here every extension is bounded, and where
//! readers in the world disagree about an archive (two names for one entry, data behind a directory,
//! a size that is not a number, something behind the end) it is refused: nothing may be seen by one
//! and hidden from another. Knows nothing of files: names and targets are bytes.

use std::io::BufRead;

use orc_base::{Error, Result, Time};

use crate::unpack::limits::MAX_EXTENSION_BYTES;
use crate::unpack::path::shown;
use crate::unpack::pax::{self, Pax};
use crate::unpack::sparse::{self, Map, Piece};
use crate::unpack::stream;

const BLOCK: usize = 512;

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

/// Reads entries one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    /// Data of the current entry that was not read yet.
    data: u64,
    /// Zero bytes between the data and the next header.
    padding: u64,
    position: u64,
    /// Whether the two zero blocks at the end were seen.
    end_marker: bool,
}

/// The extension headers before an entry.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads from an uncompressed stream.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            data: 0,
            padding: 0,
            position: 0,
            end_marker: false,
        }
    }

    /// The next entry, or none at the end of the archive; then the rest of the stream was read too and
    /// held nothing. Data that was not read is passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        self.skip()?;
        let mut extensions = Extensions::default();
        loop {
            let position = self.position;
            let Some(header) = self.header()? else {
                if !extensions.is_empty() {
                    return Err(Error::invalid(
                        "the archive ends between an extension header and its entry",
                    ));
                }
                return Ok(None);
            };
            let header = Header(header);
            let entry = header
                .check()
                .and_then(|()| self.after_header(&header, &mut extensions));
            let entry = entry.map_err(|error| {
                let raw = extensions.pax.as_ref().and_then(|pax| pax.path.clone());
                let name = raw.or(extensions.name.clone()).unwrap_or(header.name());
                error.within(format!(
                    "the entry {} at byte {position} of the archive",
                    shown(&name)
                ))
            })?;
            if entry.is_some() {
                return Ok(entry);
            }
        }
    }

    /// Gives the data of the current entry, piece by piece and in order.
    pub fn data(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.data > 0 {
            let bytes = self.stream.fill_buf().map_err(stream::error)?;
            let count = bytes.len().min(clamp(self.data));
            if count == 0 {
                return Err(truncated());
            }
            let taken = sink(&bytes[..count]);
            self.stream.consume(count);
            self.position += count as u64;
            self.data -= count as u64;
            taken?;
        }
        Ok(())
    }

    /// Whether the archive had its end marker; without one it may have been cut between two entries.
    pub fn has_end_marker(&self) -> bool {
        self.end_marker
    }

    fn after_header(
        &mut self,
        header: &Header,
        extensions: &mut Extensions,
    ) -> Result<Option<Entry>> {
        match header.kind() {
            b'g' => {
                let bytes = self.extension(header)?;
                pax::check_global(&bytes)?;
                Ok(None)
            }
            b'x' => {
                let bytes = self.extension(header)?;
                only_once(&extensions.pax)?;
                extensions.pax = Some(pax::parse(&bytes)?);
                Ok(None)
            }
            b'L' => {
                let bytes = self.extension(header)?;
                only_once(&extensions.name)?;
                extensions.name = Some(until_nul(&bytes).to_vec());
                Ok(None)
            }
            b'K' => {
                let bytes = self.extension(header)?;
                only_once(&extensions.link)?;
                extensions.link = Some(until_nul(&bytes).to_vec());
                Ok(None)
            }
            _ => self.entry(header, std::mem::take(extensions)).map(Some),
        }
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry> {
        let pax = extensions.pax.unwrap_or_default();
        if extensions.name.is_some() && pax.path.is_some() {
            return Err(Error::invalid("has two long names"));
        }
        if extensions.link.is_some() && pax.link.is_some() {
            return Err(Error::invalid("has two long link targets"));
        }
        let size = match pax.size {
            Some(size) => size,
            None => header.number(124..136, "size")?,
        };
        let map_in_records = pax.sparse != pax::Sparse::default();
        let name = pax.sparse.name.clone();
        let name = name.or(pax.path).or(extensions.name);
        let name = name.unwrap_or_else(|| header.name());
        let link = pax.link.or(extensions.link);
        let link = link.unwrap_or_else(|| header.link());
        self.expect(size)?;
        let kind = match header.kind() {
            b'S' if map_in_records => return Err(sparse::wrong("two forms")),
            b'S' => EntryKind::Sparse(self.old_sparse(header, size)?),
            b'0' | 0 if map_in_records => EntryKind::Sparse(self.pax_sparse(&pax.sparse, size)?),
            _ if map_in_records => return Err(sparse::wrong("no regular file")),
            kind => header.entry_kind(kind, &name, link, size)?,
        };
        if name.is_empty() {
            return Err(Error::invalid("has no name"));
        }
        Ok(Entry {
            name,
            kind,
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.owner(108..116, "uid"), Ok)?,
            gid: pax.gid.map_or_else(|| header.owner(116..124, "gid"), Ok)?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
            xattrs: pax.xattrs,
        })
    }

    /// Announces data; refuses a size that no stream can have.
    fn expect(&mut self, size: u64) -> Result<()> {
        if size > i64::MAX as u64 - BLOCK as u64 {
            return Err(Error::invalid(format!("has an impossible size of {size}")));
        }
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    /// The whole data of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.number(124..136, "size")?;
        if size > MAX_EXTENSION_BYTES {
            return Err(Error::exhausted(format!(
                "has an extension header of {size} bytes, the limit is {MAX_EXTENSION_BYTES}"
            )));
        }
        self.expect(size)?;
        let mut bytes = Vec::with_capacity(clamp(size));
        self.data(&mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        self.skip()?;
        Ok(bytes)
    }

    /// The map in a GNU header and the blocks that continue it; the data begins behind them.
    fn old_sparse(&mut self, header: &Header, size: u64) -> Result<Map> {
        if !header.is_gnu() {
            return Err(sparse::wrong("no GNU header"));
        }
        let real_size = header.number(483..495, "real size")?;
        let mut pieces = Vec::new();
        let mut more = old_pieces(&header.0[386..482], header.0[482], &mut pieces)?;
        while more {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            more = old_pieces(&block[..504], block[504], &mut pieces)?;
        }
        Map::new(real_size, pieces, size)
    }

    fn pax_sparse(&mut self, sparse: &pax::Sparse, size: u64) -> Result<Map> {
        let real_size = sparse.real_size;
        let real_size = real_size.ok_or_else(|| sparse::wrong("no size"))?;
        match (sparse.major.unwrap_or(0), sparse.minor.unwrap_or(0)) {
            (1, 0) => {
                let pieces = self.sparse_lines()?;
                Map::new(real_size, pieces, self.data)
            }
            (0, _) => {
                let map = sparse.map.as_deref();
                let map = map.ok_or_else(|| sparse::wrong("no pieces"))?;
                Map::new(real_size, sparse::pairs(map)?, size)
            }
            (major, minor) => Err(Error::unsupported(format!(
                "is a sparse file of the unknown format {major}.{minor}"
            ))),
        }
    }

    /// The map of format 1.0, whole blocks in front of the data.
    fn sparse_lines(&mut self) -> Result<Vec<Piece>> {
        let mut lines = sparse::Lines::default();
        loop {
            let mut block = [0; BLOCK];
            let left = self.data.checked_sub(BLOCK as u64);
            let left = left.ok_or_else(|| sparse::wrong("no end"))?;
            self.fill(&mut block)?;
            self.data = left;
            if let Some(pieces) = lines.feed(&block)? {
                return Ok(pieces);
            }
        }
    }

    /// Passes over what is left of the current entry.
    fn skip(&mut self) -> Result<()> {
        self.data += std::mem::take(&mut self.padding);
        self.data(&mut |_| Ok(()))
    }

    /// The next header, or none at the end.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.stream.fill_buf().map_err(stream::error)?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        self.rest_is_zero()?;
        Ok(None)
    }

    /// After the end marker there may be zeros, however many, and nothing else.
    fn rest_is_zero(&mut self) -> Result<()> {
        let begin = self.position;
        loop {
            let bytes = self.stream.fill_buf().map_err(stream::error)?;
            let count = bytes.len();
            if count == 0 {
                self.end_marker = self.position - begin >= BLOCK as u64;
                return Ok(());
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(Error::invalid(
                    "the archive goes on behind its end: there is garbage or a second archive",
                ));
            }
            self.stream.consume(count);
            self.position += count as u64;
        }
    }

    fn fill(&mut self, block: &mut [u8; BLOCK]) -> Result<()> {
        let mut filled = 0;
        while filled < BLOCK {
            let bytes = self.stream.fill_buf().map_err(stream::error)?;
            let count = bytes.len().min(BLOCK - filled);
            if count == 0 {
                return Err(truncated());
            }
            block[filled..filled + count].copy_from_slice(&bytes[..count]);
            self.stream.consume(count);
            filled += count;
        }
        self.position += BLOCK as u64;
        Ok(())
    }
}

fn clamp(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn only_once<T>(extension: &Option<T>) -> Result<()> {
    match extension {
        None => Ok(()),
        Some(_) => Err(Error::invalid("has two extension headers of one kind")),
    }
}

fn truncated() -> Error {
    Error::invalid("the archive ends in the middle of an entry: it is truncated")
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Adds the used pairs of 24 bytes each; whether another block of them follows.
fn old_pieces(table: &[u8], more: u8, pieces: &mut Vec<Piece>) -> Result<bool> {
    for pair in table.chunks_exact(24).filter(|pair| pair[0] != 0) {
        pieces.push(Piece {
            offset: number(&pair[..12]).ok_or_else(|| sparse::wrong("no numbers"))?,
            length: number(&pair[12..]).ok_or_else(|| sparse::wrong("no numbers"))?,
        });
    }
    sparse::check_count(pieces.len())?;
    Ok(more != 0)
}

/// A header block and what its fields mean.
struct Header([u8; BLOCK]);

impl Header {
    fn check(&self) -> Result<()> {
        let stored = number(&self.0[148..156]);
        let inside = |index: &usize| (148..156).contains(index);
        let bytes = || self.0.iter().enumerate();
        let sum = |value: &dyn Fn(u8) -> i64| -> i64 {
            let byte = |(index, byte): (usize, &u8)| if inside(&index) { b' ' } else { *byte };
            bytes().map(|pair| value(byte(pair))).sum()
        };
        let matches = |sum: i64| stored.is_some() && stored == u64::try_from(sum).ok();
        if !matches(sum(&i64::from)) && !matches(sum(&|byte| i64::from(byte.cast_signed()))) {
            return Err(Error::invalid(
                "has a wrong checksum: this is no tar archive, or it is damaged",
            ));
        }
        let known = self.is_posix() || self.is_gnu() || self.0[257..265] == [0; 8];
        match known {
            true => Ok(()),
            false => Err(Error::unsupported("has a header of an unknown format")),
        }
    }

    fn kind(&self) -> u8 {
        self.0[156]
    }

    fn is_posix(&self) -> bool {
        &self.0[257..265] == b"ustar\x0000"
    }

    fn is_gnu(&self) -> bool {
        &self.0[257..265] == b"ustar  \0"
    }

    fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        // The star format keeps two times behind a shorter prefix.
        let end = if &self.0[508..] == b"tar\0" { 476 } else { 500 };
        let prefix = until_nul(&self.0[345..end]);
        match self.is_posix() && !prefix.is_empty() {
            true => [prefix, b"/", name].concat(),
            false => name.into(),
        }
    }

    fn link(&self) -> Vec<u8> {
        until_nul(&self.0[157..257]).into()
    }

    fn entry_kind(&self, kind: u8, name: &[u8], link: Vec<u8>, size: u64) -> Result<EntryKind> {
        let is_directory = kind == b'5' || kind == 0 && name.ends_with(b"/");
        if matches!(kind, b'0' | b'7' | 0) && !is_directory {
            return match name.ends_with(b"/") {
                true => Err(Error::invalid("is a file with the name of a directory")),
                false => Ok(EntryKind::File(size)),
            };
        }
        if size != 0 {
            return Err(Error::invalid(format!(
                "is no regular file and yet has {size} bytes of data"
            )));
        }
        Ok(match kind {
            _ if is_directory => EntryKind::Directory,
            b'1' => EntryKind::HardLink(link),
            b'2' => EntryKind::Symlink(link),
            b'3' => EntryKind::Char(self.device()?),
            b'4' => EntryKind::Block(self.device()?),
            b'6' => EntryKind::Fifo,
            other => {
                return Err(Error::unsupported(format!(
                    "is of the unknown type `{}`",
                    other.escape_ascii()
                )));
            }
        })
    }

    fn mode(&self) -> Result<u32> {
        Ok((self.number(100..108, "mode")? & 0o7777) as u32)
    }

    /// The largest number means "leave it" to chown(2), so it cannot be meant.
    fn owner(&self, field: std::ops::Range<usize>, what: &str) -> Result<u32> {
        let number = self.number(field, what)?;
        let owner = u32::try_from(number).ok().filter(|id| *id != u32::MAX);
        owner.ok_or_else(|| Error::invalid(format!("has the impossible {what} {number}")))
    }

    fn mtime(&self) -> Result<Time> {
        let field = &self.0[136..148];
        match signed(field) {
            Some(secs) => Ok(Time::from_secs(secs)),
            None => Err(bad_number("mtime", field)),
        }
    }

    fn device(&self) -> Result<Device> {
        let major = self.number(329..337, "device number")?;
        let minor = self.number(337..345, "device number")?;
        // The kernel's own widths: 12 and 20 bits (include/linux/kdev_t.h).
        if major >= 1 << 12 || minor >= 1 << 20 {
            return Err(Error::invalid(format!(
                "is a device with the impossible numbers {major}:{minor}"
            )));
        }
        Ok(Device {
            major: major as u32,
            minor: minor as u32,
        })
    }

    fn number(&self, field: std::ops::Range<usize>, what: &str) -> Result<u64> {
        let field = &self.0[field];
        number(field).ok_or_else(|| bad_number(what, field))
    }
}

fn bad_number(what: &str, field: &[u8]) -> Error {
    Error::invalid(format!(
        "has the {what} `{}`, which is no number",
        field.escape_ascii()
    ))
}

fn number(field: &[u8]) -> Option<u64> {
    signed(field).and_then(|number| u64::try_from(number).ok())
}

/// Octal digits, or with the top bit set a two's complement number of the whole field (GNU).
fn signed(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    let negative = first & 0x40 != 0;
    let start = if negative { -1_i64 } else { 0 };
    let head = if negative { first } else { first & 0x3f };
    let bytes = std::iter::once(head).chain(field[1..].iter().copied());
    bytes.enumerate().try_fold(start, |sum, (index, byte)| {
        let digit = match (index, negative) {
            // The marker bit of a negative number is a bit like the others.
            (0, true) => return (byte == 0xff).then_some(-1),
            _ => i64::from(byte),
        };
        sum.checked_mul(256)?.checked_add(digit)
    })
}

fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte));
    let Some(start) = start else {
        return Some(0);
    };
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    // Behind a space only blanks may follow, behind a NUL anything: some writers leave dirt there.
    if !rest.iter().take_while(|byte| **byte != 0).all(blank) {
        return None;
    }
    digits.iter().try_fold(0_i64, |sum, byte| match byte {
        b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tape;

    fn names(bytes: &[u8]) -> Result<Vec<String>> {
        let mut reader = Reader::new(bytes);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            names.push(String::from_utf8_lossy(&entry.name).into_owned());
        }
        Ok(names)
    }

    fn first(bytes: &[u8]) -> Result<Entry> {
        Ok(Reader::new(bytes).next_entry()?.unwrap())
    }

    #[test]
    fn numbers_of_both_kinds() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0dirt", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\x00", Some(-256)),
            (b"8\0", None),
            (b"-1\0", None),
            (b"1 1\0", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xc0\0\0\0", None),
        ] {
            assert_eq!(signed(field), value, "{}", field.escape_ascii());
        }
        assert_eq!(number(b"\xff\xff\xff\xff"), None);
    }

    #[test]
    fn reads_all_kinds() {
        let bytes = tape()
            .file("a", b"hello")
            .directory("d/")
            .link(b'2', "s", "/etc")
            .link(b'1', "h", "a")
            .raw(|header| {
                header[156] = b'3';
                header[..3].copy_from_slice(b"dev");
                header[329..336].copy_from_slice(b"0000001");
                header[337..344].copy_from_slice(b"0000003");
            })
            .end();
        let mut reader = Reader::new(&bytes[..]);
        let mut kinds = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            kinds.push(entry.kind);
        }
        let device = Device { major: 1, minor: 3 };
        assert_eq!(
            kinds,
            [
                EntryKind::File(5),
                EntryKind::Directory,
                EntryKind::Symlink(b"/etc".into()),
                EntryKind::HardLink(b"a".into()),
                EntryKind::Char(device),
            ]
        );
        assert!(reader.has_end_marker());
    }

    #[test]
    fn long_names_of_both_kinds() {
        let long = "d/".repeat(100) + "f";
        let gnu = tape().extension(b'L', &[long.as_bytes(), b"\0"].concat());
        let pax = tape().pax(&[("path", long.as_bytes())]);
        for tape in [gnu, pax] {
            assert_eq!(names(&tape.file("short", b"x").end()).unwrap(), [&*long]);
        }
        let both = tape()
            .extension(b'L', b"x\0")
            .pax(&[("path", b"y")])
            .file("z", b"");
        let error = names(&both.end()).unwrap_err().to_string();
        assert!(error.contains("two long names"), "{error}");
    }

    #[test]
    fn the_size_of_pax_wins_and_hides_nothing() {
        let inner = tape().file("hidden", b"").done();
        let bytes = tape()
            .pax(&[("size", inner.len().to_string().as_bytes())])
            .raw_file("outer", 0, &inner)
            .file("after", b"")
            .end();
        assert_eq!(names(&bytes).unwrap(), ["outer", "after"]);
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        let directory = |header: &mut [u8; 512]| {
            header[..1].copy_from_slice(b"d");
            header[156] = b'5';
            header[124..135].copy_from_slice(b"00000001000");
        };
        for (bytes, text) in [
            (tape().raw(directory).file("x", b"").end(), "yet has 512"),
            (tape().raw_file("f", u64::MAX, b"").end(), "size"),
            (tape().file("f/", b"").end(), "name of a directory"),
            (tape().link(b'V', "v", "").end(), "unknown type"),
            (tape().extension(b'L', b"x\0").end(), "extension header"),
            (tape().pax(&[("size", b"-1")]).file("f", b"").end(), "PAX"),
            (
                tape().pax(&[]).pax(&[]).file("f", b"").end(),
                "two extension headers",
            ),
            (
                tape().extension(b'x', &vec![b' '; 1 << 21]).end(),
                "limit is 1048576",
            ),
            (
                [tape().file("a", b"").end(), tape().file("b", b"").end()].concat(),
                "behind its end",
            ),
            (b"hello world".repeat(100), "no tar archive"),
            (
                tape()
                    .raw(|h| h[257..265].copy_from_slice(b"ustar\x0099"))
                    .end(),
                "unknown format",
            ),
            (
                tape()
                    .raw(|h| h[108..116].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff"))
                    .end(),
                "uid",
            ),
        ] {
            let error = names(&bytes).unwrap_err().to_string();
            assert!(error.contains(text), "{text}: {error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn truncation_inside_an_entry_is_refused_everywhere() {
        let bytes = tape().file("a", &[7; 1000]).file("b", b"x").done();
        for cut in 1..bytes.len() {
            let result = names(&bytes[..cut]);
            // Between two entries only whoever knows the digest can tell.
            assert_eq!(result.is_ok(), cut == 1536, "cut at {cut}");
        }
        let mut reader = Reader::new(&bytes[..]);
        while reader.next_entry().unwrap().is_some() {}
        assert!(!reader.has_end_marker());
    }

    #[test]
    fn sparse_files_of_all_forms() {
        let map = Map {
            size: 10_000,
            pieces: vec![
                Piece {
                    offset: 0,
                    length: 3,
                },
                Piece {
                    offset: 8_192,
                    length: 2,
                },
            ],
        };
        let old = tape().raw_with_data(b"abcde", |header| {
            header[..4].copy_from_slice(b"s\0\0\0");
            header[156] = b'S';
            header[257..265].copy_from_slice(b"ustar  \0");
            for (at, value) in [(386, 0_u64), (398, 3), (410, 8192), (422, 2), (483, 10_000)] {
                header[at..at + 11].copy_from_slice(format!("{value:011o}").as_bytes());
            }
        });
        let pairs = tape()
            .pax(&[
                ("GNU.sparse.size", b"10000"),
                ("GNU.sparse.numblocks", b"2"),
                ("GNU.sparse.offset", b"0"),
                ("GNU.sparse.numbytes", b"3"),
                ("GNU.sparse.offset", b"8192"),
                ("GNU.sparse.numbytes", b"2"),
            ])
            .file("s", b"abcde");
        let list = tape()
            .pax(&[
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.size", b"10000"),
                ("GNU.sparse.map", b"0,3,8192,2"),
            ])
            .file("GNUSparseFile.0/s", b"abcde");
        let mut lines = b"2\n0\n3\n8192\n2\n".to_vec();
        lines.resize(512, 0);
        let lines = tape()
            .pax(&[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.realsize", b"10000"),
            ])
            .file("GNUSparseFile.0/s", &[&lines[..], b"abcde"].concat());
        for tape in [old, pairs, list, lines] {
            let bytes = tape.file("after", b"").end();
            let mut reader = Reader::new(&bytes[..]);
            let entry = reader.next_entry().unwrap().unwrap();
            assert_eq!(entry.name, b"s");
            assert_eq!(entry.kind, EntryKind::Sparse(map.clone()));
            let mut data = Vec::new();
            reader
                .data(&mut |piece| {
                    data.extend_from_slice(piece);
                    Ok(())
                })
                .unwrap();
            assert_eq!(data, b"abcde");
            assert_eq!(reader.next_entry().unwrap().unwrap().name, b"after");
        }
    }

    #[test]
    fn owners_modes_and_times() {
        let bytes = tape()
            .pax(&[
                ("mtime", b"1.5"),
                ("uid", b"3000000"),
                ("SCHILY.xattr.user.a", b"\n\0"),
            ])
            .file("f", b"")
            .end();
        let entry = first(&bytes).unwrap();
        assert_eq!((entry.uid, entry.gid, entry.mode), (3_000_000, 0, 0o644));
        assert_eq!(entry.mtime.nanos(), 1_500_000_000);
        assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"\n\0".to_vec())]);
    }

    #[test]
    fn mutated_archives_never_panic() {
        let bytes = tape()
            .pax(&[("path", b"some/name"), ("mtime", b"1.5")])
            .file("f", b"data")
            .extension(b'L', b"long\0")
            .link(b'2', "s", "t")
            .end();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            let mut copy = bytes.clone();
            for _ in 0..3 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = random as usize % copy.len();
                copy[at] = (random >> 32) as u8;
                // Repair the checksum of that block, so that the change is looked at.
                crate::testing::checksum(&mut copy, at / 512 * 512);
            }
            let _ = names(&copy);
        }
    }
}
