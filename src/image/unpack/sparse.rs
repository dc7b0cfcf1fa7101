//! Maps of sparse files: which bytes of the archive belong where in the file.
//!
//! Reads the old GNU form (in and after the header) and the three PAX forms (0.0 and 0.1 in records,
//! 1.0 before the data). Whatever the form, pieces are in order, do not overlap, lie inside the file
//! and add up to the data that follows; a map that is not like that refuses the archive.

use orc_base::{Error, Result};

use crate::unpack::limits::MAX_SPARSE_PIECES;
use crate::unpack::pax::decimal;

/// A run of bytes that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the file.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// A file of `size` bytes with `pieces` of data in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Bytes of the file, holes included.
    pub size: u64,
    /// In order.
    pub pieces: Vec<Piece>,
}

impl Map {
    /// Checks a map against the bytes of data that the archive has for it.
    pub(crate) fn new(size: u64, pieces: Vec<Piece>, data_size: u64) -> Result<Self> {
        check_count(pieces.len())?;
        let mut end = 0;
        let mut data = 0_u64;
        for piece in &pieces {
            let next = piece.offset.checked_add(piece.length);
            let next = next.filter(|next| piece.offset >= end && *next <= size);
            end = next.ok_or_else(|| wrong("pieces that overlap or lie outside the file"))?;
            data += piece.length;
        }
        match data == data_size {
            true => Ok(Self { size, pieces }),
            false => Err(wrong("another size than the data that follows")),
        }
    }
}

/// Pairs of offset and length, as the records of PAX list them.
pub(crate) fn pairs(numbers: &[u64]) -> Result<Vec<Piece>> {
    if !numbers.len().is_multiple_of(2) {
        return Err(wrong("an offset without a length"));
    }
    check_count(numbers.len() / 2)?;
    let piece = |pair: &[u64]| Piece {
        offset: pair[0],
        length: pair[1],
    };
    Ok(numbers.chunks_exact(2).map(piece).collect())
}

pub(crate) fn check_count(pieces: usize) -> Result<()> {
    match pieces <= MAX_SPARSE_PIECES {
        true => Ok(()),
        false => Err(Error::exhausted(format!(
            "is a sparse file of more than {MAX_SPARSE_PIECES} pieces"
        ))),
    }
}

/// The numbers of format 1.0, one a line, fed block by block.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    digits: Vec<u8>,
    wanted: Option<usize>,
    numbers: Vec<u64>,
}

impl Lines {
    /// Takes one block of 512 bytes; the pieces when it was the last one of the map.
    pub(crate) fn feed(&mut self, block: &[u8]) -> Result<Option<Vec<Piece>>> {
        for byte in block {
            if *byte != b'\n' {
                self.digits.push(*byte);
                if self.digits.len() > 20 {
                    return Err(wrong("no numbers where they should be"));
                }
                continue;
            }
            let number =
                decimal(&self.digits).ok_or_else(|| wrong("no numbers where they should be"))?;
            self.digits.clear();
            match self.wanted {
                None => {
                    let count = usize::try_from(number).unwrap_or(usize::MAX);
                    check_count(count)?;
                    self.wanted = Some(count * 2);
                }
                Some(_) => self.numbers.push(number),
            }
            if self.wanted == Some(self.numbers.len()) {
                return pairs(&self.numbers).map(Some);
            }
        }
        Ok(None)
    }
}

pub(crate) fn wrong(what: &str) -> Error {
    Error::invalid(format!("is a sparse file whose map has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(size: u64, numbers: &[u64], data: u64) -> Result<Map> {
        Map::new(size, pairs(numbers)?, data)
    }

    #[test]
    fn good_maps_are_in_order_and_add_up() {
        assert!(map(100, &[0, 10, 50, 5, 100, 0], 15).is_ok());
        assert!(map(1 << 40, &[1 << 40, 0], 0).is_ok());
        for (size, numbers, data) in [
            (100, &[0_u64, 10, 5, 10][..], 20),
            (100, &[50, 5, 0, 5], 10),
            (100, &[95, 10], 10),
            (100, &[0, 10], 11),
            (100, &[u64::MAX, 2], 2),
            (100, &[0, 10, 20], 10),
        ] {
            assert!(map(size, numbers, data).is_err(), "{numbers:?}");
        }
        assert!(pairs(&vec![0; MAX_SPARSE_PIECES * 2 + 2]).is_err());
    }

    #[test]
    fn lines_may_cross_blocks() {
        let mut lines = Lines::default();
        assert_eq!(lines.feed(b"2\n0\n1").unwrap(), None);
        let pieces = lines.feed(b"0\n512\n7\n\0\0\0").unwrap().unwrap();
        let numbers: Vec<_> = pieces.iter().map(|one| (one.offset, one.length)).collect();
        assert_eq!(numbers, [(0, 10), (512, 7)]);
        for bad in [&b"x\n"[..], b"\n", b"-1\n", b"99999999999\n", &[b'1'; 30]] {
            assert!(Lines::default().feed(bad).is_err());
        }
        assert_eq!(Lines::default().feed(b"0\n\0").unwrap(), Some(vec![]));
    }
}
