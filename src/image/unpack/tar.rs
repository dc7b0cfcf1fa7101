//! Cuts a stream into the entries of a tar archive.
//!
//! Reads POSIX ustar and PAX, GNU and the old format. It is our own reader because the `tar` crate
//! reads extension headers of any size into memory, cuts PAX records at newlines (a file capability
//! may contain one) and passes over malformed ones. Here every extension is bounded, and where
//! readers in the world disagree about an archive (two names for one entry, data behind a directory,
//! a size that is not a number, something behind the end) it is refused: nothing may be seen by one
//! and hidden from another. Knows nothing of files: names and targets are bytes.

use std::io::BufRead;

use orc_base::{Error, Result};

use crate::unpack::entry::{Entry, EntryKind};
use crate::unpack::header::{BLOCK, Header, number, until_nul};
use crate::unpack::limits::MAX_EXTENSION_BYTES;
use crate::unpack::path::shown;
use crate::unpack::pax::{self, Pax};
use crate::unpack::sparse::{self, Map, Piece};
use crate::unpack::stream;

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
            let header = Header::new(header);
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
                let name = self.long_text(header)?;
                only_once(&extensions.name)?;
                extensions.name = Some(name);
                Ok(None)
            }
            b'K' => {
                let link = self.long_text(header)?;
                only_once(&extensions.link)?;
                extensions.link = Some(link);
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
        let bytes = self.extension_data(header)?;
        self.skip()?;
        Ok(bytes)
    }

    /// A long name or link target (GNU). Without a NUL it ends with its size to some readers, and to
    /// others with the first NUL in the padding: they must not differ.
    fn long_text(&mut self, header: &Header) -> Result<Vec<u8>> {
        let bytes = self.extension_data(header)?;
        let mut follows = None;
        self.data += std::mem::take(&mut self.padding);
        self.data(&mut |piece| {
            follows = follows.or(piece.first().copied());
            Ok(())
        })?;
        if !bytes.contains(&0) && follows.is_some_and(|byte| byte != 0) {
            return Err(Error::invalid("has a long name that does not end"));
        }
        Ok(until_nul(&bytes).to_vec())
    }

    fn extension_data(&mut self, header: &Header) -> Result<Vec<u8>> {
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
        Ok(bytes)
    }

    /// The map in a GNU header and the blocks that continue it; the data begins behind them.
    fn old_sparse(&mut self, header: &Header, size: u64) -> Result<Map> {
        if !header.is_gnu() {
            return Err(sparse::wrong("no GNU header"));
        }
        let real_size = header.number(483..495, "real size")?;
        let mut pieces = Vec::new();
        let mut more = old_pieces(header.sparse_table(), header.continues(), &mut pieces)?;
        while more {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            more = old_pieces(&block[..504], block[504] != 0, &mut pieces)?;
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

/// Adds the used pairs of 24 bytes each; whether another block of them follows.
fn old_pieces(table: &[u8], more: bool, pieces: &mut Vec<Piece>) -> Result<bool> {
    for pair in table.chunks_exact(24).filter(|pair| pair[0] != 0) {
        pieces.push(Piece {
            offset: number(&pair[..12]).ok_or_else(|| sparse::wrong("no numbers"))?,
            length: number(&pair[12..]).ok_or_else(|| sparse::wrong("no numbers"))?,
        });
    }
    sparse::check_count(pieces.len())?;
    Ok(more)
}
