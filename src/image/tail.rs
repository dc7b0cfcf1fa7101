//! A file that grows, read by one thread while another appends to it.
//!
//! The newest bytes are handed over in memory, so whoever keeps up reads nothing back; whoever falls
//! behind reads the file, which the page cache holds. So the writer never waits for the reader, and
//! memory is bounded by [`RECENT_BYTES`]. The reader waits for bytes that are not there yet and sees an
//! end only when the writer says so: a writer that goes away is an error, never a short file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use orc_base::{Error, Result};

/// How many of the newest bytes stay in memory for the reader.
const RECENT_BYTES: usize = 1 << 20;
/// How many bytes are read back from the file at once.
const BACK_BYTES: usize = 256 << 10;

/// The writer's side. It does not write the file itself: it is told what was written.
#[derive(Debug)]
pub(crate) struct Tail(Arc<Shared>);

/// The reader's side.
#[derive(Debug)]
pub(crate) struct Follower {
    shared: Arc<Shared>,
    position: u64,
    current: Piece,
    used: usize,
    back: Vec<u8>,
}

/// Where the bytes come from that the reader looks at.
#[derive(Debug)]
enum Piece {
    Recent(Bytes),
    /// As many bytes of `back`.
    Back(usize),
}

#[derive(Debug)]
struct Shared {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// How many bytes the file has.
    end: u64,
    /// The newest of them, without a gap up to `end`.
    recent: VecDeque<Bytes>,
    recent_bytes: usize,
    read: bool,
    over: Option<Result<()>>,
}

/// Follows `file`, which has `end` bytes so far, from its start.
pub(crate) fn follow(file: File, end: u64) -> (Tail, Follower) {
    let shared = Arc::new(Shared {
        file,
        state: Mutex::new(State {
            end,
            recent: VecDeque::new(),
            recent_bytes: 0,
            read: true,
            over: None,
        }),
        changed: Condvar::new(),
    });
    let follower = Follower {
        shared: Arc::clone(&shared),
        position: 0,
        current: Piece::Back(0),
        used: 0,
        back: Vec::new(),
    };
    (Tail(shared), follower)
}

impl Tail {
    /// Says that these bytes were appended.
    pub(crate) fn appended(&self, bytes: Bytes) {
        let mut state = self.0.lock();
        state.end += bytes.len() as u64;
        if state.read && !bytes.is_empty() {
            state.recent_bytes += bytes.len();
            state.recent.push_back(bytes);
            while state.recent_bytes > RECENT_BYTES {
                state.forget_oldest();
            }
        }
        self.0.changed.notify_one();
    }

    /// Says that all bytes are there, and right.
    pub(crate) fn finish(self) {
        self.over(Ok(()));
    }

    fn over(&self, how: Result<()>) {
        self.0.lock().over.get_or_insert(how);
        self.0.changed.notify_one();
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.over(Err(Error::unavailable("the download was given up")));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_oldest(&mut self) {
        if let Some(bytes) = self.recent.pop_front() {
            self.recent_bytes -= bytes.len();
        }
    }

    /// The bytes from `position` on that are in memory.
    fn take_recent(&mut self, position: u64) -> Option<Bytes> {
        loop {
            let start = self.end - self.recent_bytes as u64;
            let skip = position.checked_sub(start)?;
            let bytes = self.recent.pop_front()?;
            self.recent_bytes -= bytes.len();
            if skip < bytes.len() as u64 {
                return Some(bytes.slice(skip as usize..));
            }
        }
    }
}

impl Follower {
    /// The next bytes, waiting for them; none at the end.
    fn advance(&mut self) -> io::Result<()> {
        let mut state = self.shared.lock();
        while self.position == state.end && state.over.is_none() {
            let waited = self.shared.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(Err(error)) = &state.over {
            return Err(io::Error::other(error.clone()));
        }
        if let Some(bytes) = state.take_recent(self.position) {
            self.current = Piece::Recent(bytes);
            return Ok(());
        }
        let behind = state.end - state.recent_bytes as u64 - self.position;
        drop(state);
        self.back.resize(BACK_BYTES, 0);
        let count = BACK_BYTES.min(usize::try_from(behind).unwrap_or(usize::MAX));
        let file = &self.shared.file;
        file.read_exact_at(&mut self.back[..count], self.position)?;
        self.current = Piece::Back(count);
        Ok(())
    }

    fn left(&self) -> &[u8] {
        match &self.current {
            Piece::Recent(bytes) => &bytes[self.used..],
            Piece::Back(count) => &self.back[self.used..*count],
        }
    }
}

impl BufRead for Follower {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left().is_empty() {
            self.used = 0;
            self.current = Piece::Back(0);
            self.advance()?;
        }
        Ok(self.left())
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
        self.position += count as u64;
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.read = false;
        state.recent.clear();
        state.recent_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn noise(size: usize) -> Vec<u8> {
        (0..size)
            .map(|n| (n as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect()
    }

    /// Appends `bytes` in pieces to a file that already has `before`.
    fn append(mut file: File, tail: Tail, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece) {
            file.write_all(piece).unwrap();
            tail.appended(Bytes::copy_from_slice(piece));
        }
        tail.finish();
    }

    fn read(mut follower: Follower) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        follower.read_to_end(&mut all).map(|_| all)
    }

    #[test]
    fn all_bytes_arrive_however_far_the_reader_is_behind() {
        let bytes = noise(3 * RECENT_BYTES + 12_345);
        for (before, piece) in [
            (0, 1000),
            (0, 3 * RECENT_BYTES),
            (100_000, 16 << 10),
            (bytes.len(), 1),
        ] {
            for read_late in [true, false] {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&bytes[..before]).unwrap();
                let (tail, follower) = follow(file.try_clone().unwrap(), before as u64);
                let rest = &bytes[before..];
                let all = match read_late {
                    true => {
                        append(file, tail, rest, piece);
                        read(follower)
                    }
                    false => std::thread::scope(|scope| {
                        scope.spawn(|| append(file, tail, rest, piece));
                        read(follower)
                    }),
                };
                assert!(all.unwrap() == bytes, "{before} {piece} {read_late}");
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_freed() {
        let file = tempfile::tempfile().unwrap();
        let (tail, follower) = follow(file, 0);
        for _ in 0..1_000 {
            tail.appended(Bytes::from(vec![7; 10_000]));
            assert!(tail.0.lock().recent_bytes <= RECENT_BYTES);
        }
        assert!(tail.0.lock().recent_bytes > RECENT_BYTES / 2);
        drop(follower);
        assert!(tail.0.lock().recent.is_empty());
        tail.appended(Bytes::from_static(b"nobody listens"));
        assert!(tail.0.lock().recent.is_empty());
    }

    #[test]
    fn a_writer_that_goes_away_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        let (tail, follower) = follow(file, 0);
        tail.appended(Bytes::from_static(b"half"));
        let error = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(follower));
            drop(tail);
            reader.join().unwrap().unwrap_err()
        });
        assert!(error.to_string().contains("given up"), "{error}");
    }
}
