//! Reads records from the start, from the end, or the last lines, and follows rotation.
//!
//! Never blocks: at the end of what is there it yields `None`, and may be asked again when the log
//! has grown (watch its directory). A record that is only half there is not there yet.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Kind, Result};
use rustix::fs::OFlags;

use crate::log::format::{
    FRAME, MAX_DATA, MAX_FILES, Parsed, Record, file_name, open, parse, record_before, whole_end,
};

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
/// How often the search for the next file is repeated when it meets a rotation.
const ROTATION_TRIES: usize = 16;

/// A place in the log of one container.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: Option<File>,
    /// Where in the file `ahead` begins.
    position: u64,
    /// What has been read but not yet given out.
    ahead: Vec<u8>,
    /// How much of `ahead` has been given out.
    taken: usize,
    /// How many bytes of the next record were asked not to be given out.
    skip: usize,
    /// The rest of this file cannot be read.
    damaged: bool,
}

impl LogReader {
    /// Begins with the oldest record that is kept. The log need not exist yet.
    pub fn from_start(path: &Path) -> Self {
        Self {
            path: path.into(),
            file: None,
            position: 0,
            ahead: Vec::new(),
            taken: 0,
            skip: 0,
            damaged: false,
        }
    }

    /// Begins with what is written after this call.
    pub fn from_end(path: &Path) -> Result<Self> {
        let mut reader = Self::from_start(path);
        // The newest is missing between the two steps of a rotation, and before the first write.
        for index in 0..2 {
            if let Some(file) = open_existing(path, index)? {
                reader.go(whole_end(&file)?, file);
                break;
            }
        }
        Ok(reader)
    }

    /// Begins with the last `lines` lines of both streams together; an unfinished line at the end
    /// counts as one.
    pub fn tail(path: &Path, lines: usize) -> Result<Self> {
        if lines == 0 {
            return Self::from_end(path);
        }
        let mut reader = Self::from_start(path);
        let mut count = Lines {
            wanted: lines,
            at_end: true,
        };
        for index in 0..MAX_FILES {
            let Some(file) = open_existing(path, index)? else {
                if index > 0 {
                    break;
                }
                continue;
            };
            let mut end = whole_end(&file)?;
            while let Some((record, start)) = record_before(&file, end)? {
                if let Some(skip) = count.backwards(&record.bytes) {
                    reader.go(start, file);
                    reader.skip = skip;
                    return Ok(reader);
                }
                end = start;
            }
        }
        reader.file = oldest(path)?;
        Ok(reader)
    }

    /// The newest file's path, whose directory shows growth and rotation.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn go(&mut self, position: u64, file: File) {
        self.file = Some(file);
        self.position = position;
        self.ahead.clear();
        self.taken = 0;
        self.damaged = false;
    }

    fn advance(&mut self) -> Result<Option<Record>> {
        if self.file.is_none() {
            self.file = oldest(&self.path)?;
        }
        // One turn per file of the log at most.
        for _ in 0..=MAX_FILES {
            if let Some(record) = self.in_this_file()? {
                return Ok(Some(record));
            }
            let Some(next) = self.successor()? else {
                return Ok(None);
            };
            // It is rotated, so it will not grow any more; but it may have grown before that.
            if let Some(record) = self.in_this_file()? {
                return Ok(Some(record));
            }
            self.go(0, next);
        }
        Ok(None)
    }

    fn in_this_file(&mut self) -> Result<Option<Record>> {
        while !self.damaged {
            match parse(&self.ahead[self.taken..]) {
                Parsed::Whole { record, size } => {
                    self.taken += size;
                    if let Some(record) = self.skipped(record) {
                        return Ok(Some(record));
                    }
                }
                Parsed::Damaged => {
                    self.damaged = true;
                    let at = self.position + self.taken as u64;
                    return Err(Error::invalid(format!(
                        "log {} is damaged at byte {at}: the rest of that file is skipped",
                        self.path.display()
                    )));
                }
                Parsed::Partial => {
                    if !self.read_more()? {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Drops what the caller of [`LogReader::tail`] did not ask for; none when nothing is left.
    fn skipped(&mut self, mut record: Record) -> Option<Record> {
        let skip = std::mem::take(&mut self.skip);
        if skip > 0 {
            record.bytes.drain(..skip.min(record.bytes.len()));
            if record.bytes.is_empty() {
                return None;
            }
        }
        Some(record)
    }

    /// Whether there was more. A partial record is forgotten when not: a writer may take it back.
    fn read_more(&mut self) -> Result<bool> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        self.ahead.drain(..self.taken);
        self.position += self.taken as u64;
        self.taken = 0;
        let before = self.ahead.len();
        debug_assert!(before < MAX_DATA + FRAME, "a partial record is bounded");
        self.ahead.resize(before + READ_BYTES, 0);
        let count = file.read_at(&mut self.ahead[before..], self.position + before as u64);
        let count = count.context(|| format!("read log {}", self.path.display()));
        self.ahead
            .truncate(before + count.as_ref().copied().unwrap_or(0));
        if count? > 0 {
            return Ok(true);
        }
        self.ahead.clear();
        self.ahead.shrink_to(READ_BYTES);
        Ok(false)
    }

    /// The file after the one being read, or none while that is the newest.
    fn successor(&self) -> Result<Option<File>> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let own = identity(file)?;
        for _ in 0..ROTATION_TRIES {
            match self.index_of(own)? {
                Some(0) => return Ok(None),
                Some(index) => {
                    let next = open_existing(&self.path, index - 1)?;
                    let stayed = open_existing(&self.path, index)?
                        .map(|file| identity(&file))
                        .transpose()?;
                    if stayed == Some(own) {
                        // Missing between a rename and the making of the new file.
                        return Ok(next);
                    }
                }
                // Rotated away: some output is lost to this reader.
                None => return oldest(&self.path),
            }
        }
        Ok(None)
    }

    fn index_of(&self, own: (u64, u64)) -> Result<Option<u32>> {
        let mut missing = 0;
        for index in 0..MAX_FILES {
            match open_existing(&self.path, index)? {
                Some(file) if identity(&file)? == own => return Ok(Some(index)),
                Some(_) => missing = 0,
                None => missing += 1,
            }
            if missing > 1 {
                break;
            }
        }
        Ok(None)
    }
}

impl Iterator for LogReader {
    type Item = Result<Record>;

    /// The next record, or `None` while there is none.
    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// Counts line ends from the end of the log towards its beginning.
struct Lines {
    wanted: usize,
    at_end: bool,
}

impl Lines {
    /// Where in `bytes` the wanted lines begin, when they begin there.
    fn backwards(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        if self.at_end && !rest.is_empty() {
            self.at_end = false;
            rest = rest.strip_suffix(b"\n").unwrap_or(rest);
        }
        for (index, _) in rest.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            self.wanted -= 1;
            if self.wanted == 0 {
                return Some(index + 1);
            }
        }
        None
    }
}

fn identity(file: &File) -> Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

fn open_existing(path: &Path, index: u32) -> Result<Option<File>> {
    match open(&file_name(path, index), OFlags::RDONLY) {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The file with the highest number. During a rotation one number in between may be missing.
fn oldest(path: &Path) -> Result<Option<File>> {
    let mut oldest = None;
    let mut missing = 0;
    for index in 0..MAX_FILES {
        match open_existing(path, index)? {
            Some(file) => {
                oldest = Some(file);
                missing = 0;
            }
            None => missing += 1,
        }
        if missing > 1 {
            break;
        }
    }
    Ok(oldest)
}
