//! How much memory the windows of zstd streams and the dictionaries of xz streams take.
//!
//! A decoder keeps as many of its last bytes as the frame says (RFC 8878, section 3.1.1.1.2). Builders
//! of images write windows of 2 MiB by default and of 8 MiB at most, which that section asks every
//! decoder to take; `zstd --long` and `zstd --ultra -22` want 128 MiB. `xz` keeps a dictionary of
//! 8 MiB, `xz -9` one of 64. Small ones are never waited for. Of those of 8 MiB two are in use in this
//! process at once, so that a pull stays below 64 MiB however many layers there are; a larger one waits
//! until it is alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orc_base::{Error, Kind, Result};

use crate::unpack::compression::Compression;
use crate::unpack::limits::MAX_WINDOW_LOG;

/// The largest window that is never waited for, as a power of two.
const SMALL_LOG: u32 = 21;
/// The largest window that is not alone. Every stream may have that much, in later frames, too.
const USUAL_LOG: u32 = 23;
/// How many windows of that size are in use at once.
const ROOM: u8 = 2;
/// How often one that waits looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

static ROOMS: Rooms = Rooms::new();

/// The right to have a window; given back when dropped.
#[derive(Debug)]
pub(crate) struct Window {
    log: u32,
    _room: Room<'static>,
}

impl Window {
    /// Waits until there is memory for what a stream that begins like this wants. `Exhausted` when it
    /// wants more than any may have, `Timeout` when it was cancelled meanwhile.
    pub(crate) fn claim(
        compression: Compression,
        start: &[u8],
        cancelled: &AtomicBool,
    ) -> Result<Self> {
        let wanted = match compression {
            Compression::Zstd => window_of(start).unwrap_or(1 << USUAL_LOG),
            Compression::Xz => dictionary_of(start).unwrap_or(1 << MAX_WINDOW_LOG),
            _ => 0,
        };
        let log = log_of(wanted, compression)?;
        let room = if log <= SMALL_LOG {
            0
        } else if log <= USUAL_LOG {
            1
        } else {
            ROOM
        };
        Ok(Self {
            log: log.max(USUAL_LOG),
            _room: ROOMS.wait(room, cancelled)?,
        })
    }

    /// The largest window that the stream may have, as a power of two.
    pub(crate) fn log(&self) -> u32 {
        self.log
    }
}

/// How much room is left for windows that are not small.
#[derive(Debug)]
struct Rooms {
    free: Mutex<u8>,
    returned: Condvar,
}

/// The part of it that one window has.
#[derive(Debug)]
struct Room<'r> {
    of: &'r Rooms,
    taken: u8,
}

impl Rooms {
    const fn new() -> Self {
        Self {
            free: Mutex::new(ROOM),
            returned: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, u8> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever has room ends when its source does, or stalls for longer than a source may.
    fn wait(&self, wanted: u8, cancelled: &AtomicBool) -> Result<Room<'_>> {
        let mut free = self.lock();
        while *free < wanted {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::new(Kind::Timeout, "unpacking was cancelled"));
            }
            let waited = self.returned.wait_timeout(free, LOOK);
            free = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= wanted;
        Ok(Room {
            of: self,
            taken: wanted,
        })
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        *self.of.lock() += self.taken;
        self.of.returned.notify_all();
    }
}

/// The power of two that holds a window.
fn log_of(bytes: u64, compression: Compression) -> Result<u32> {
    let limit = 1_u64 << MAX_WINDOW_LOG;
    if bytes > limit {
        return Err(Error::exhausted(format!(
            "the {} stream wants a window of {bytes} bytes, the limit is {limit}: compress it with a smaller one",
            compression.name()
        )));
    }
    Ok(bytes.next_power_of_two().ilog2())
}

/// What the header of the first frame says; nothing when a skippable frame is first.
fn window_of(start: &[u8]) -> Option<u64> {
    let header = start.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = header.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let byte = rest.first()?;
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * u64::from(byte & 7));
    }
    // The window is all there is, and how much that is comes behind the id of a dictionary.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let field = rest.get(dictionary..dictionary + size)?;
    let mut bytes = [0; 8];
    bytes[..size].copy_from_slice(field);
    let offset = if size == 2 { 256 } else { 0 };
    Some(u64::from_le_bytes(bytes).saturating_add(offset))
}

/// What the header of the first block of xz says (XZ file format 1.2, sections 3.1 and 5.3.1); nothing
/// when it has more filters than LZMA2.
fn dictionary_of(start: &[u8]) -> Option<u64> {
    // Behind the header of the stream and the size of that of the block.
    let (flags, mut rest) = start.get(13..)?.split_first()?;
    if flags & 3 != 0 {
        return None;
    }
    for size_is_there in [flags & 0x40 != 0, flags & 0x80 != 0] {
        if size_is_there {
            let last = rest.iter().position(|byte| byte & 0x80 == 0)?;
            rest = &rest[last + 1..];
        }
    }
    match rest {
        [0x21, 1, bits @ 0..=39, ..] => Some(u64::from(2 | (bits & 1)) << (bits / 2 + 11)),
        [0x21, 1, 40, ..] => Some(u64::from(u32::MAX)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A frame of `bytes` bytes with a window of two to the power of `log`.
    fn frame(log: u32, bytes: usize, says_size: bool) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        if says_size {
            encoder.set_pledged_src_size(Some(bytes as u64)).unwrap();
        }
        encoder.include_contentsize(says_size).unwrap();
        encoder.write_all(&vec![7; bytes]).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_first_frame_says_how_much() {
        for log in [10, 17, 23, 27] {
            let start = frame(log, 3 << 20, false);
            assert_eq!(window_of(&start[..6]), Some(1 << log));
        }
        for bytes in [1, 255, 256, 300, 65_791, 65_792, 1 << 20] {
            let start = frame(24, bytes, true);
            assert_eq!(window_of(&start), Some(bytes as u64), "{bytes}");
        }
        let odd = [0x28, 0xb5, 0x2f, 0xfd, 0, (13 << 3) | 1];
        assert_eq!(window_of(&odd), Some((8 << 20) + (1 << 20)));
        assert_eq!(
            log_of(window_of(&odd).unwrap(), Compression::Zstd).unwrap(),
            24
        );
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0];
        assert_eq!(window_of(&skippable), None);
        assert_eq!(window_of(&[]), None);
        let large = frame(28, 1 << 20, false);
        let error = Window::claim(Compression::Zstd, &large, &AtomicBool::new(false));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("zstd stream wants a window of 268435456 bytes"),
            "{error}"
        );
    }

    #[test]
    fn the_first_block_says_how_much() {
        for (bytes, says_sizes) in [(1 << 20, false), (8 << 20, true), (96 << 20, false)] {
            let mut options = lzma_rust2::XzOptions::with_preset(1);
            options.lzma_options.dict_size = bytes;
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            encoder.write_all(b"text").unwrap();
            let mut stream = encoder.finish().unwrap();
            if says_sizes {
                // As several threads write it: two numbers of any length before the filter.
                stream[13] |= 0xc0;
                stream.splice(14..14, [0x80, 0x80, 1, 4]);
            }
            assert_eq!(dictionary_of(&stream), Some(u64::from(bytes)), "{bytes}");
        }
        let mut branches = [0; 20];
        branches[13] = 1;
        assert_eq!(dictionary_of(&branches), None);
        assert_eq!(dictionary_of(b"\xfd7zXZ\0"), None);
    }

    #[test]
    fn two_usual_ones_or_a_large_one_at_once() {
        static ALONE: Rooms = Rooms::new();
        let gone = AtomicBool::new(true);
        let (one, _two) = (ALONE.wait(1, &gone).unwrap(), ALONE.wait(1, &gone).unwrap());
        assert!(ALONE.wait(1, &gone).is_err());
        drop(one);
        assert!(ALONE.wait(ROOM, &gone).is_err());
        let third = ALONE.wait(1, &gone).unwrap();
        let waiting = std::thread::spawn(|| ALONE.wait(1, &AtomicBool::new(false)).map(drop));
        drop(third);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn small_ones_never_wait() {
        let gone = AtomicBool::new(true);
        let _large = ROOMS.wait(ROOM, &AtomicBool::new(false)).unwrap();
        let claim = |log| Window::claim(Compression::Zstd, &frame(log, 3 << 20, false), &gone);
        assert_eq!(claim(SMALL_LOG).unwrap().log(), USUAL_LOG);
        for log in [USUAL_LOG, USUAL_LOG + 1] {
            assert_eq!(claim(log).unwrap_err().kind(), Kind::Timeout);
        }
    }
}
