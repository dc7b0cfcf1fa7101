//! Archives for tests: the tapes of `tests/hostile`, under the names that the tests of this crate use.

pub(crate) use orc_hostile::tape::{Tape, checksum, gzip, tape, zstd};
