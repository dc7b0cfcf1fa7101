//! What a container wrote, kept on disk: the format of one record, and the names of rotated files.
//!
//! A record is `u32 length | u8 stream | i64 nanoseconds | bytes | u32 length`, little-endian: exactly
//! what was read from the container in one chunk, binary data included. The second length lets a
//! reader walk backwards. A record cut short by a crash is no record: readers stop before it and the
//! next writer removes it. There is one [`writer`](crate::log::LogWriter), the monitor, and any
//! number of readers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Result, Time};
use rustix::fs::{Mode, OFlags};

mod reader;
mod writer;

pub use crate::log::reader::LogReader;
pub use crate::log::writer::LogWriter;

/// Bytes before a record's data.
const HEADER: usize = 13;
/// Bytes around a record's data.
const FRAME: usize = HEADER + 4;
/// The most data in one record: far above what a monitor reads at once.
const MAX_DATA: usize = 1 << 20;
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
enum Parsed {
    Whole {
        record: Record,
        size: usize,
    },
    /// So far a record, but not all of it is there.
    Partial,
    Damaged,
}

fn parse(bytes: &[u8]) -> Parsed {
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

fn header(length: usize, stream: Stream, at: Time) -> [u8; HEADER] {
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
fn record_before(file: &File, end: u64) -> Result<Option<(Record, u64)>> {
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
fn whole_end(file: &File) -> Result<u64> {
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
fn file_name(path: &Path, index: u32) -> PathBuf {
    if index == 0 {
        return path.into();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// Opens a file of a log and nothing else: no link, no pipe, no device.
fn open(path: &Path, flags: OFlags) -> Result<File> {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::spec::LogSpec;

    fn spec(dir: &tempfile::TempDir, max_bytes: u64) -> LogSpec {
        LogSpec {
            path: dir.path().join("log"),
            max_bytes,
            max_files: 3,
        }
    }

    fn write(writer: &mut LogWriter, text: &str) {
        let at = Time::from_nanos(text.len() as i64);
        writer.write(Stream::Stdout, at, text.as_bytes()).unwrap();
    }

    fn read(reader: &mut LogReader) -> String {
        reader
            .map(|record| String::from_utf8(record.unwrap().bytes).unwrap())
            .collect()
    }

    #[test]
    fn keeps_chunks_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 1 << 20);
        let mut writer = LogWriter::open(&spec).unwrap();
        let mut reader = LogReader::from_start(&spec.path);
        assert!(reader.next().is_none());
        for (stream, bytes) in [
            (Stream::Stdout, &b"\0\xff no newline"[..]),
            (Stream::Stderr, b""),
            (Stream::Stderr, b"two\nlines\n"),
        ] {
            let at = Time::from_nanos(-5);
            writer.write(stream, at, bytes).unwrap();
            let record = reader.next().unwrap().unwrap();
            assert_eq!(
                record,
                Record {
                    stream,
                    at,
                    bytes: bytes.to_vec()
                }
            );
            assert!(reader.next().is_none());
        }
    }

    #[test]
    fn rotates_and_readers_follow() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 200);
        let mut writer = LogWriter::open(&spec).unwrap();
        let mut follower = LogReader::from_start(&spec.path);
        let mut all = String::new();
        let mut followed = String::new();
        for index in 0..100 {
            let line = format!("line {index}\n");
            write(&mut writer, &line);
            all += &line;
            if index % 7 == 0 {
                followed += &read(&mut follower);
            }
        }
        followed += &read(&mut follower);
        assert_eq!(followed, all);

        let kept = read(&mut LogReader::from_start(&spec.path));
        assert!(all.ends_with(&kept) && kept.len() > 100, "{kept}");
        let files = orc_base::fs::list(dir.path()).unwrap();
        assert_eq!(files.len(), 3, "{files:?}");
        for file in files {
            assert!(file.metadata().unwrap().len() <= 200 + 30);
        }
        assert_eq!(read(&mut LogReader::from_end(&spec.path).unwrap()), "");
    }

    #[test]
    fn a_reader_left_behind_goes_on_with_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 60);
        let mut writer = LogWriter::open(&spec).unwrap();
        write(&mut writer, "first\n");
        let mut reader = LogReader::from_start(&spec.path);
        assert_eq!(read(&mut reader), "first\n");
        for index in 0..50 {
            write(&mut writer, &format!("{index}\n"));
        }
        let rest = read(&mut reader);
        let kept = read(&mut LogReader::from_start(&spec.path));
        // What was still written to the file it had open, and then what is kept.
        assert_eq!(rest, format!("0\n{kept}"));
        assert!(kept.ends_with("48\n49\n"), "{kept}");
    }

    #[test]
    fn tails_by_lines_over_records_and_files() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 100);
        let mut writer = LogWriter::open(&spec).unwrap();
        for chunk in ["a\nb\n", "c", "c\nd\n", "e\n", "f\ng", "g\n"] {
            write(&mut writer, chunk);
        }
        let tail = |lines| read(&mut LogReader::tail(&spec.path, lines).unwrap());
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "gg\n");
        assert_eq!(tail(2), "f\ngg\n");
        assert_eq!(tail(4), "d\ne\nf\ngg\n");
        assert_eq!(tail(5), "cc\nd\ne\nf\ngg\n");
        assert_eq!(tail(6), "b\ncc\nd\ne\nf\ngg\n");
        assert_eq!(tail(99), "a\nb\ncc\nd\ne\nf\ngg\n");
        write(&mut writer, "unfinished");
        assert_eq!(tail(1), "unfinished");
        assert_eq!(tail(2), "gg\nunfinished");
    }

    #[test]
    fn a_torn_tail_is_ignored_and_then_removed() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 1 << 20);
        write(&mut LogWriter::open(&spec).unwrap(), "whole\n");
        let whole = std::fs::read(&spec.path).unwrap();
        for cut in 1..whole.len() {
            let mut torn = whole.clone();
            torn.extend(&whole[..cut]);
            std::fs::write(&spec.path, &torn).unwrap();
            let mut reader = LogReader::from_start(&spec.path);
            assert_eq!(read(&mut reader), "whole\n", "cut at {cut}");
            let mut tail = LogReader::tail(&spec.path, 9).unwrap();
            assert_eq!(read(&mut tail), "whole\n", "cut at {cut}");
            write(&mut LogWriter::open(&spec).unwrap(), "next\n");
            assert_eq!(read(&mut reader), "next\n", "cut at {cut}");
        }
    }

    #[test]
    fn damage_is_named_and_does_not_run_wild() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir, 1 << 20);
        let mut writer = LogWriter::open(&spec).unwrap();
        write(&mut writer, "good\n");
        drop(writer);
        let mut bytes = std::fs::read(&spec.path).unwrap();
        bytes.extend([0xff; 4096]);
        std::fs::write(&spec.path, bytes).unwrap();
        let mut reader = LogReader::from_start(&spec.path);
        assert_eq!(reader.next().unwrap().unwrap().bytes, b"good\n");
        assert!(reader.next().unwrap().is_err());
        assert!(reader.next().is_none());
    }

    #[test]
    fn nothing_but_a_regular_file_is_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, b"secret").unwrap();
        let link = dir.path().join("link");
        symlink(&secret, &link).unwrap();
        assert!(LogReader::from_start(&link).next().unwrap().is_err());
        assert!(LogReader::tail(&link, 3).is_err());
        assert!(LogWriter::open(&LogSpec::at(&link)).is_err());
        assert!(LogReader::from_start(dir.path()).next().unwrap().is_err());
        assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
    }
}
