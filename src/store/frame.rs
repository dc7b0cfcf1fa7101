//! One sealed piece of a file: numbered, encrypted, with checksums.
//!
//! ```text
//! "orc1" | length u32 | number u64 | key u32 | CRC-32C of these 20 bytes | sealed | CRC-32C of it | 0xa5
//! ```
//!
//! Numbers are little-endian. The seal covers the head and the name of the file too, so that no piece
//! can stand elsewhere. The checksums tell damage from a wrong key; the last byte tells a piece that was
//! never written to its end (there are zeros, or nothing) from one that changed afterwards.
//! Both the log and the snapshots are made of these.

use orc_base::{Error, Kind, Result};

use crate::keys::{Keys, OVERHEAD};

const MAGIC: &[u8; 4] = b"orc1";
/// Bytes before the sealed ones.
pub(crate) const HEAD: usize = 24;
/// Bytes behind the sealed ones.
const TAIL: usize = 5;
const END: u8 = 0xa5;
/// Sealed bytes of a frame, at most.
pub(crate) const MAX_SEALED: usize = 64 << 20;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Sealed bytes.
    pub(crate) length: usize,
    /// Counts the frames of the log, or of one snapshot.
    pub(crate) number: u64,
    key: u32,
}

impl Head {
    /// Reads the first [`HEAD`] bytes of a frame; nothing when they are not that.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..HEAD)?;
        let sum = u32::from_le_bytes(head[20..].try_into().ok()?);
        if &head[..4] != MAGIC || crc32c::crc32c(&head[..20]) != sum {
            return None;
        }
        let head = Self {
            length: u32::from_le_bytes(head[4..8].try_into().ok()?) as usize,
            number: u64::from_le_bytes(head[8..16].try_into().ok()?),
            key: u32::from_le_bytes(head[16..20].try_into().ok()?),
        };
        (OVERHEAD..=MAX_SEALED)
            .contains(&head.length)
            .then_some(head)
    }

    fn bytes(self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(MAGIC);
        head[4..8].copy_from_slice(&(self.length as u32).to_le_bytes());
        head[8..16].copy_from_slice(&self.number.to_le_bytes());
        head[16..20].copy_from_slice(&self.key.to_le_bytes());
        let sum = crc32c::crc32c(&head[..20]);
        head[20..].copy_from_slice(&sum.to_le_bytes());
        head
    }

    /// Bytes of the whole frame.
    pub(crate) fn whole(self) -> usize {
        HEAD + self.length + TAIL
    }
}

/// Seals `body` as frame `number` of `file`. `Exhausted` when it is too large.
pub(crate) fn seal(keys: &Keys, key: u32, file: &str, number: u64, body: &[u8]) -> Result<Vec<u8>> {
    let length = body.len() + OVERHEAD;
    if length > MAX_SEALED {
        return Err(Error::exhausted(format!(
            "{} bytes to write at once: the limit is {}",
            body.len(),
            MAX_SEALED - OVERHEAD
        )));
    }
    let head = Head {
        length,
        number,
        key,
    };
    let sealed = keys.seal(key, &about(&head, file), body)?;
    let mut frame = Vec::with_capacity(head.whole());
    frame.extend_from_slice(&head.bytes());
    frame.extend_from_slice(&sealed);
    frame.extend_from_slice(&crc32c::crc32c(&sealed).to_le_bytes());
    frame.push(END);
    Ok(frame)
}

/// Whether the bytes behind the head are those that were written.
pub(crate) fn intact(head: Head, frame: &[u8]) -> bool {
    let Some(rest) = frame.get(HEAD..head.whole()) else {
        return false;
    };
    let (sealed, tail) = rest.split_at(head.length);
    tail[4] == END && crc32c::crc32c(sealed).to_le_bytes() == tail[..4]
}

/// Opens a whole, intact frame of `file`. `Invalid` when it was made for another place.
pub(crate) fn open(keys: &Keys, file: &str, head: Head, frame: &[u8]) -> Result<Vec<u8>> {
    let sealed = frame[HEAD..HEAD + head.length].to_vec();
    let opened = keys.open_sealed(head.key, &about(&head, file), sealed);
    opened.map_err(|error| match error.kind() {
        Kind::NotFound => error,
        _ => Error::invalid("its checksum is right, but it does not open: it was made elsewhere"),
    })
}

fn about(head: &Head, file: &str) -> Vec<u8> {
    let mut about = head.bytes()[..20].to_vec();
    about.extend_from_slice(file.as_bytes());
    about
}

/// Whether what begins at `bytes`, which is no intact frame, may be a frame that was never written to
/// its end: parts of it are missing, and no frame is behind it. `offset` is where it begins in its file,
/// and `bytes` go on to the file's end.
///
/// A frame that was written whole and changed afterwards has no zeros where a sector or its last byte
/// should be: what is sealed is as good as random.
pub(crate) fn torn(bytes: &[u8], offset: u64) -> bool {
    if bytes.windows(HEAD).skip(1).any(is_head) {
        return false;
    }
    let ends_early = match Head::read(bytes) {
        Some(head) => bytes.get(head.whole() - 1).is_none_or(|last| *last == 0),
        None => bytes.iter().skip(HEAD - 1).all(|byte| *byte == 0),
    };
    let end = match Head::read(bytes) {
        Some(head) => head.whole(),
        None => HEAD + to_sector(offset + HEAD as u64),
    };
    ends_early || misses_a_sector(&bytes[..end.min(bytes.len())], offset)
}

/// Bytes from an offset to the end of its sector.
fn to_sector(offset: u64) -> usize {
    (SECTOR - (offset % SECTOR as u64) as usize) % SECTOR
}

fn misses_a_sector(bytes: &[u8], offset: u64) -> bool {
    let (first, rest) = bytes.split_at(to_sector(offset).min(bytes.len()));
    std::iter::once(first)
        .chain(rest.chunks(SECTOR))
        .any(|part| !part.is_empty() && part.iter().all(|byte| *byte == 0))
}

fn is_head(window: &[u8]) -> bool {
    window.starts_with(MAGIC) && Head::read(window).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(keys: &Keys) -> Vec<u8> {
        seal(keys, 1, "log-1", 7, &[9; 700]).unwrap()
    }

    #[test]
    fn opens_where_it_was_made_and_nowhere_else() {
        let keys = Keys::ephemeral();
        let frame = frame(&keys);
        let head = Head::read(&frame).unwrap();
        assert_eq!((head.number, head.whole()), (7, frame.len()));
        assert!(intact(head, &frame));
        assert_eq!(open(&keys, "log-1", head, &frame).unwrap(), [9; 700]);
        assert!(open(&keys, "log-2", head, &frame).is_err());
        assert!(open(&Keys::ephemeral(), "log-1", head, &frame).is_err());
        assert!(seal(&keys, 1, "x", 1, &vec![0; MAX_SEALED]).is_err());
    }

    #[test]
    fn every_flipped_bit_is_damage_and_every_missing_part_is_a_torn_tail() {
        let keys = Keys::ephemeral();
        for offset in [0_u64, 500, 511, 512, 1000] {
            let frame = frame(&keys);
            let padded = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                bytes.resize(2048, 0);
                bytes
            };
            for bit in 0..frame.len() * 8 {
                let mut bad = frame.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let whole = Head::read(&bad).is_some_and(|head| intact(head, &bad));
                assert!(
                    !whole && !torn(&padded(&bad), offset),
                    "bit {bit} at {offset}"
                );
            }
            for length in 0..frame.len() {
                assert!(
                    torn(&padded(&frame[..length]), offset),
                    "{length} at {offset}"
                );
                assert!(
                    torn(&frame[..length], offset),
                    "{length} at {offset}, no padding"
                );
            }
            let sectors = (offset as usize + frame.len()).div_ceil(SECTOR);
            for sector in offset as usize / SECTOR..sectors {
                let mut missing = frame.clone();
                for (at, byte) in missing.iter_mut().enumerate() {
                    if (at + offset as usize) / SECTOR == sector {
                        *byte = 0;
                    }
                }
                assert!(
                    torn(&padded(&missing), offset),
                    "sector {sector} at {offset}"
                );
                let mut followed = missing;
                followed.extend_from_slice(&frame);
                assert!(!torn(&followed, offset), "sector {sector}, a frame behind");
            }
        }
    }
}
