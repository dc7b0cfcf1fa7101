//! How much memory the windows of zstd streams and the dictionaries of xz streams take.
//!
//! A decoder keeps as many of its last bytes as the frame says (RFC 8878, section 3.1.1.1.2). Builders
//! of images write windows up to 8 MiB, which that section asks every decoder to take; `zstd --long`
//! and `zstd --ultra -22` want 128 MiB. `xz` keeps a dictionary of 8 MiB, `xz -9` one of 64. The usual
//! ones are never waited for: as many are in use as layers are unpacked. Larger ones take turns, so at
//! most one of them is in use in this process. Measured, the daemon's peak while it pulls four layers
//! at once: 74 MiB with windows of 8 MiB, 175 with windows of 128.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orc_base::{Error, Kind, Result};

use crate::unpack::compression::Compression;
use crate::unpack::limits::MAX_WINDOW_LOG;

/// The largest window that takes no turns, as a power of two. Every stream may have that much, in
/// later frames, too.
const USUAL_LOG: u32 = 23;
/// How often one that waits looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

static LARGE: Large = Large::new();

/// The right to have a window; given back when dropped.
#[derive(Debug)]
pub(crate) struct Window {
    log: u32,
    _turn: Option<Turn<'static>>,
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
        let is_large = log > USUAL_LOG;
        let turn = is_large.then(|| LARGE.wait(cancelled)).transpose()?;
        Ok(Self { log, _turn: turn })
    }

    /// The largest window that the stream may have, as a power of two.
    pub(crate) fn log(&self) -> u32 {
        self.log
    }
}

/// Whether a large window is in use.
#[derive(Debug)]
struct Large {
    used: Mutex<bool>,
    free: Condvar,
}

/// The only large window.
#[derive(Debug)]
struct Turn<'l>(&'l Large);

impl Large {
    const fn new() -> Self {
        Self {
            used: Mutex::new(false),
            free: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever has it ends when its source does, or stalls for longer than a source may.
    fn wait(&self, cancelled: &AtomicBool) -> Result<Turn<'_>> {
        let mut used = self.lock();
        while *used {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::new(Kind::Timeout, "unpacking was cancelled"));
            }
            let waited = self.free.wait_timeout(used, LOOK);
            used = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *used = true;
        Ok(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.lock() = false;
        self.0.free.notify_one();
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
    Ok(bytes.next_power_of_two().ilog2().max(USUAL_LOG))
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
    fn large_ones_take_turns() {
        static ALONE: Large = Large::new();
        let turn = ALONE.wait(&AtomicBool::new(false)).unwrap();
        assert!(ALONE.wait(&AtomicBool::new(true)).is_err());
        let waiting = std::thread::spawn(|| ALONE.wait(&AtomicBool::new(false)).map(drop));
        drop(turn);
        waiting.join().unwrap().unwrap();
        drop(ALONE.wait(&AtomicBool::new(true)).unwrap());
    }

    #[test]
    fn usual_ones_never_wait() {
        let gone = AtomicBool::new(true);
        let _large = LARGE.wait(&AtomicBool::new(false)).unwrap();
        let usual = frame(USUAL_LOG, 3 << 20, false);
        let claim = |start: &[u8]| Window::claim(Compression::Zstd, start, &gone);
        assert_eq!(claim(&usual).unwrap().log(), USUAL_LOG);
        let larger = frame(USUAL_LOG + 1, 3 << 20, false);
        assert_eq!(claim(&larger).unwrap_err().kind(), Kind::Timeout);
    }
}
