//! The bytes of an entry into its file.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use orc_base::{Error, Result};

use crate::unpack::sparse::Map;

/// The bytes of an entry, given piece by piece to a sink.
pub type Data<'a> = dyn FnMut(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> + 'a;

/// Writes them one after the other.
pub(crate) fn write(mut file: &File, data: &mut Data<'_>) -> Result<()> {
    data(&mut |bytes| Ok(file.write_all(bytes)?))
}

/// Puts the bytes where the map says; the rest stays holes.
pub(crate) fn write_sparse(file: &File, map: &Map, data: &mut Data<'_>) -> Result<()> {
    file.set_len(map.size)?;
    let mut pieces = map.pieces.iter().filter(|piece| piece.length > 0);
    let (mut at, mut left) = (0, 0);
    data(&mut |mut bytes| {
        while !bytes.is_empty() {
            if left == 0 {
                let piece = pieces.next();
                let piece = piece.ok_or_else(|| Error::internal("more data than its map has"))?;
                (at, left) = (piece.offset, piece.length);
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all_at(&bytes[..count], at)?;
            bytes = &bytes[count..];
            at += count as u64;
            left -= count as u64;
        }
        Ok(())
    })
}
