//! Appends records and rotates. Owned by the monitor; never more than one for a log.

use std::fs::File;
use std::io::{IoSlice, Write};

use orc_base::{Context, Error, Result, Time};
use rustix::fs::OFlags;

use crate::log::format::{FRAME, MAX_DATA, MAX_FILES, Stream, file_name, header, open, whole_end};
use crate::spec::LogSpec;

/// Writes the log of one container.
#[derive(Debug)]
pub struct LogWriter {
    spec: LogSpec,
    file: File,
    /// Where the last whole record ends.
    size: u64,
}

impl LogWriter {
    /// Opens or makes the log; what a crash cut short at its end is removed.
    pub fn open(spec: &LogSpec) -> Result<Self> {
        if !(1..=MAX_FILES).contains(&spec.max_files) {
            return Err(Error::invalid(format!(
                "a log of {} files: use 1 to {MAX_FILES}",
                spec.max_files
            )));
        }
        let file = open(&spec.path, OFlags::RDWR | OFlags::APPEND | OFlags::CREATE)?;
        let size = whole_end(&file)?;
        file.set_len(size)?;
        Ok(Self {
            spec: spec.clone(),
            file,
            size,
        })
    }

    /// Appends one chunk. When that fails the log is as it was before.
    pub fn write(&mut self, stream: Stream, at: Time, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(MAX_DATA) {
            self.append(stream, at, chunk)?;
        }
        if bytes.is_empty() {
            self.append(stream, at, bytes)?;
        }
        Ok(())
    }

    fn append(&mut self, stream: Stream, at: Time, bytes: &[u8]) -> Result<()> {
        let record = (bytes.len() + FRAME) as u64;
        if self.size > 0 && self.size + record > self.spec.max_bytes {
            self.rotate()?;
        }
        let header = header(bytes.len(), stream, at);
        let mut parts = [
            IoSlice::new(&header),
            IoSlice::new(bytes),
            IoSlice::new(&header[..4]),
        ];
        let mut parts = &mut parts[..];
        while !parts.is_empty() {
            match self.file.write_vectored(parts) {
                Ok(0) => return self.undo(std::io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return self.undo(error),
            }
        }
        self.size += record;
        Ok(())
    }

    /// Takes back a record of which only a part could be written (the disk is full).
    fn undo(&mut self, error: std::io::Error) -> Result<()> {
        self.file.set_len(self.size)?;
        Err(error).context(|| format!("write log {}", self.spec.path.display()))
    }

    /// Oldest first, so that a crash in between loses nothing.
    fn rotate(&mut self) -> Result<()> {
        let path = &self.spec.path;
        if self.spec.max_files == 1 {
            orc_base::fs::remove_file(path)?;
        }
        for index in (0..self.spec.max_files - 1).rev() {
            let (from, to) = (file_name(path, index), file_name(path, index + 1));
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context(|| format!("rotate log {}", from.display()));
                }
                _ => {}
            }
        }
        let fresh = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
        self.file = open(path, fresh)?;
        self.size = 0;
        Ok(())
    }
}
