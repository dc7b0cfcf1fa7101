//! One record, and the names of a log's files.
//!
//! A record is `u32 length | u8 stream | i64 nanoseconds | bytes | u32 length`, little-endian: exactly
//! what was read from the container in one chunk, binary data included. The second length lets a
//! reader walk backwards. A record cut short by a crash is no record: readers stop before it and the
//! next writer removes it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Result, Time};
use rustix::fs::{Mode, OFlags};

/// Bytes before a record's data.
const HEADER: usize = 13;
/// Bytes around a record's data.
pub(super) const FRAME: usize = HEADER + 4;
/// The most data in one record: far above what a monitor reads at once.
pub(super) const MAX_DATA: usize = 1 << 20;
/// The most files a log may have: bounds the search for them.
pub const MAX_FILES: u32 = 64;

/// Which of the container's outputs a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One chunk of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it came from.
    pub stream: Stream,
    /// When the monitor read it.
    pub at: Time,
    /// The bytes as they were.
    pub bytes: Vec<u8>,
}

impl Stream {
    fn code(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// What stands at the beginning of some bytes of a log.
pub(super) enum Parsed {
    Whole {
        record: Record,
        size: usize,
    },
    /// So far a record, but not all of it is there.
    Partial,
    Damaged,
}

pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Parsed::Partial;
    };
    let (length, stream, nanos) = split_header(header);
    let Some(stream) = Stream::from_code(stream).filter(|_| length <= MAX_DATA) else {
        return Parsed::Damaged;
    };
    let Some(rest) = bytes[HEADER..].get(..length + 4) else {
        return Parsed::Partial;
    };
    let (data, trailer) = rest.split_at(length);
    if trailer != &header[..4] {
        return Parsed::Damaged;
    }
    Parsed::Whole {
        record: Record {
            stream,
            at: Time::from_nanos(nanos),
            bytes: data.to_vec(),
        },
        size: length + FRAME,
    }
}

pub(super) fn header(length: usize, stream: Stream, at: Time) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&(length as u32).to_le_bytes());
    header[4] = stream.code();
    header[5..].copy_from_slice(&at.nanos().to_le_bytes());
    header
}

fn split_header(header: &[u8; HEADER]) -> (usize, u8, i64) {
    let [a, b, c, d, stream, nanos @ ..] = *header;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    (length, stream, i64::from_le_bytes(nanos))
}

/// The record that ends at `end`, and where it begins; none when no record ends there.
pub(super) fn record_before(file: &File, end: u64) -> Result<Option<(Record, u64)>> {
    let Some(trailer_at) = end.checked_sub(4) else {
        return Ok(None);
    };
    let mut trailer = [0; 4];
    file.read_exact_at(&mut trailer, trailer_at)?;
    let length = u32::from_le_bytes(trailer) as usize;
    let start = end.checked_sub((length + FRAME) as u64);
    let Some(start) = start.filter(|_| length <= MAX_DATA) else {
        return Ok(None);
    };
    let mut bytes = vec![0; length + FRAME];
    file.read_exact_at(&mut bytes, start)?;
    match parse(&bytes) {
        Parsed::Whole { record, .. } => Ok(Some((record, start))),
        Parsed::Partial | Parsed::Damaged => Ok(None),
    }
}

/// Where the last whole record of a file ends.
///
/// Usually that is the end of the file. After a crash the records are walked from the beginning.
pub(super) fn whole_end(file: &File) -> Result<u64> {
    let size = file.metadata()?.len();
    if size == 0 || record_before(file, size)?.is_some() {
        return Ok(size);
    }
    let mut end = 0;
    let mut head = [0; HEADER];
    while size - end >= FRAME as u64 {
        file.read_exact_at(&mut head, end)?;
        let (length, stream, _) = split_header(&head);
        let next = end + (length + FRAME) as u64;
        if length > MAX_DATA || Stream::from_code(stream).is_none() || next > size {
            break;
        }
        end = next;
    }
    Ok(end)
}

/// The name of the `index`-th file: 0 is the newest.
pub(super) fn file_name(path: &Path, index: u32) -> PathBuf {
    if index == 0 {
        return path.into();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// Opens a file of a log and nothing else: no link, no pipe, no device.
pub(super) fn open(path: &Path, flags: OFlags) -> Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map(File::from);
    let file = file.context(|| format!("open log {}", path.display()))?;
    if !file.metadata()?.is_file() {
        return Err(Error::invalid(format!(
            "log {} is not a regular file: someone replaced it",
            path.display()
        )));
    }
    Ok(file)
}
