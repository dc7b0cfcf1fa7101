//! What the container writes, on its way into the log.
//!
//! Each chunk that is read becomes one record at once. When the log cannot be written (the disk is
//! full) the container is not held up: the output is lost, and the log says how much as soon as it
//! can be written again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orc_base::{Clock, clock::SystemClock};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::log::{LogWriter, Stream};

/// How much is read at once.
const CHUNK: usize = 16 << 10;
/// How much is read after the end, from pipes that someone outside still holds open.
const MAX_LAST_BYTES: usize = 4 << 20;
/// How long more output is waited for after the end, while someone still holds the pipe open.
const LAST_WAIT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// The outputs of one container.
pub(super) struct Output {
    /// Standard output or the terminal's master side, then standard error; closed when they ended.
    streams: [Option<OwnedFd>; 2],
    /// Whether the first is a terminal.
    terminal: bool,
    log: Option<LogWriter>,
    lost_bytes: u64,
}

/// Whether there may be more.
#[derive(PartialEq, Eq)]
enum Chunk {
    Data(usize),
    NotNow,
    End,
}

impl Output {
    pub(super) fn new(
        terminal: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
        log: Option<LogWriter>,
    ) -> Self {
        Self {
            terminal: terminal.is_some(),
            streams: [terminal.or(stdout), stderr],
            log,
            lost_bytes: 0,
        }
    }

    /// The terminal's master side.
    pub(super) fn terminal(&self) -> Option<&OwnedFd> {
        self.streams[0].as_ref().filter(|_| self.terminal)
    }

    /// What to wait for.
    pub(super) fn open(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let streams = self.streams.iter().enumerate();
        streams.filter_map(|(index, stream)| Some((index, stream.as_ref()?.as_fd())))
    }

    /// Moves one chunk into the log.
    pub(super) fn read(&mut self, index: usize) {
        if self.chunk(index) == Chunk::End {
            self.streams[index] = None;
        }
    }

    /// Moves all that is left.
    pub(super) fn drain(&mut self) {
        for index in 0..self.streams.len() {
            let mut left = MAX_LAST_BYTES;
            loop {
                match self.chunk(index) {
                    Chunk::Data(count) if count < left => left -= count,
                    Chunk::NotNow if self.comes_soon(index) => {}
                    Chunk::Data(_) | Chunk::NotNow | Chunk::End => break,
                }
            }
        }
    }

    /// For a terminal and for pipes that are shared with someone outside.
    fn comes_soon(&self, index: usize) -> bool {
        let Some(stream) = &self.streams[index] else {
            return false;
        };
        let mut fds = [PollFd::new(stream, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&LAST_WAIT)).is_ok_and(|ready| ready > 0)
    }

    fn chunk(&mut self, index: usize) -> Chunk {
        let Some(fd) = &self.streams[index] else {
            return Chunk::End;
        };
        let mut buffer = [std::mem::MaybeUninit::uninit(); CHUNK];
        match rustix::io::read(fd, &mut buffer) {
            Ok((bytes, _)) if !bytes.is_empty() => {
                let count = bytes.len();
                let bytes: &[u8] = bytes;
                let stream = [Stream::Stdout, Stream::Stderr][index];
                store(&mut self.log, &mut self.lost_bytes, stream, bytes);
                Chunk::Data(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Chunk::NotNow,
            // A terminal whose last user has closed it says EIO.
            Ok(_) | Err(_) => Chunk::End,
        }
    }
}

fn store(log: &mut Option<LogWriter>, lost_bytes: &mut u64, stream: Stream, bytes: &[u8]) {
    let Some(log) = log else {
        return;
    };
    let now = SystemClock.now();
    if *lost_bytes > 0 {
        let note = format!("orc: {lost_bytes} bytes of output could not be kept here\n");
        if log.write(Stream::Stderr, now, note.as_bytes()).is_err() {
            *lost_bytes += bytes.len() as u64;
            return;
        }
        *lost_bytes = 0;
    }
    if log.write(stream, now, bytes).is_err() {
        *lost_bytes += bytes.len() as u64;
    }
}
