//! Archives for tests: the tapes of `tests/hostile`, under the names that the tests of this crate use.

use std::io::Write;

pub(crate) use orc_hostile::tape::{Tape, checksum, gzip, tape, zstd};

/// Bytes compressed with xz.
pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes compressed with bzip2.
pub(crate) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let level = bzip2::Compression::fast();
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
