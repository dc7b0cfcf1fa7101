//! How much a layer may ask of this machine. Generous for what people build, fatal for bombs.

use orc_base::{Error, Result};

/// The most bytes of one PAX record block or GNU long name; what Go's reader allows as well.
pub const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// The most extended attributes of one entry.
pub const MAX_XATTRS: usize = 256;
/// The most bytes of one extended attribute, the kernel's `XATTR_SIZE_MAX`.
pub const MAX_XATTR_BYTES: usize = 64 << 10;
/// The most pieces of one sparse file.
pub const MAX_SPARSE_PIECES: usize = 64 << 10;
/// The largest window of a stream in zstd and the largest dictionary of one in xz, as a power of two:
/// 128 MiB, what `zstd` itself allows and twice what `xz -9` wants.
pub const MAX_WINDOW_LOG: u32 = 27;

/// The bounds of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries that any layer may have, however small it is; whiteouts included.
    pub entries: u64,
    /// How many bytes have to arrive for each entry of a layer with more of them. What an entry costs
    /// is time: creating and removing a file on ext4 takes some forty microseconds of the processor's.
    /// Empty files and directories are a header of 512 bytes each, and compress to a dozen bytes.
    /// What people keep in such numbers (packages of JavaScript and Python, whole build machines in one
    /// layer) has one to sixteen KiB for each.
    pub entry_bytes: u64,
    /// Entries of any layer, however large it is.
    pub most_entries: u64,
    /// Bytes of all files, holes included.
    pub file_bytes: u64,
    /// Bytes of the names of all directories: their times are set at the end and kept until then.
    pub directory_name_bytes: usize,
    /// Uncompressed bytes for each compressed one, once `ratio_after_bytes` are reached.
    pub ratio: u64,
    /// Uncompressed bytes that any layer may have, however well it was compressed.
    pub ratio_after_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 200_000,
            entry_bytes: 640,
            most_entries: 4_000_000,
            file_bytes: 1 << 40,
            directory_name_bytes: 32 << 20,
            ratio: 200,
            ratio_after_bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Whether there may be so many entries in an archive of which `taken` bytes have arrived,
    /// compressed as they were.
    pub(crate) fn check_entries(&self, entries: u64, taken: u64) -> Result<()> {
        let earned = self.entries.max(taken / self.entry_bytes);
        let allowed = earned.min(self.most_entries);
        if entries <= allowed {
            return Ok(());
        }
        Err(Error::exhausted(format!(
            "the archive has more than {allowed} entries: beyond {} it may have one for each {} bytes, up to {}",
            self.entries, self.entry_bytes, self.most_entries
        )))
    }

    pub(crate) fn check_file_bytes(&self, bytes: u64) -> Result<()> {
        within(bytes, self.file_bytes, "bytes in files")
    }

    pub(crate) fn check_directory_names(&self, bytes: usize) -> Result<()> {
        let limit = self.directory_name_bytes as u64;
        within(bytes as u64, limit, "bytes in names of directories")
    }

    /// Whether a stream may have grown this much.
    pub(crate) fn check_ratio(&self, compressed: u64, uncompressed: u64) -> Result<()> {
        let allowed = self
            .ratio_after_bytes
            .max(compressed.saturating_mul(self.ratio));
        if uncompressed <= allowed {
            return Ok(());
        }
        Err(Error::exhausted(format!(
            "{compressed} compressed bytes became more than {uncompressed}: that is over the limit of {} to 1 beyond {} bytes",
            self.ratio, self.ratio_after_bytes
        )))
    }
}

fn within(value: u64, limit: u64, what: &str) -> Result<()> {
    if value <= limit {
        return Ok(());
    }
    Err(Error::exhausted(format!(
        "the archive has more than {limit} {what}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_streams_may_grow_and_large_ones_may_not() {
        let limits = Limits::default();
        limits.check_ratio(1, 1 << 30).unwrap();
        limits.check_ratio(1 << 30, 200 << 30).unwrap();
        let error = limits.check_ratio(1 << 20, (1 << 30) + 1).unwrap_err();
        assert!(error.to_string().contains("200 to 1"), "{error}");
    }

    #[test]
    fn many_entries_have_to_be_worth_their_bytes() {
        let limits = Limits::default();
        limits.check_entries(200_000, 0).unwrap();
        // Empty files in a plain archive.
        let error = limits.check_entries(200_001, 200_001 * 512).unwrap_err();
        assert!(error.to_string().contains("200000 entries"), "{error}");
        limits.check_entries(1_200_000, 1 << 30).unwrap();
        assert!(limits.check_entries(4_000_001, u64::MAX).is_err());
    }
}
