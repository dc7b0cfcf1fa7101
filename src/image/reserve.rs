//! A little space set aside, so that things can be removed when the disk is full.
//!
//! To remove an image the catalog is written anew, which takes space before it gives any. The reserve
//! is a file that can go first; it is made again as soon as there is room.

use std::path::{Path, PathBuf};

use orc_base::fs::{self, Durability};

/// The least that is set aside, and what it grows by.
const STEP_BYTES: u64 = 256 << 10;

/// The file that can go.
#[derive(Debug)]
pub(crate) struct Reserve(PathBuf);

impl Reserve {
    pub(crate) fn new(directory: &Path) -> Self {
        Self(directory.join("reserve"))
    }

    /// Sets space aside for writing so many bytes anew, if there is any: without it only removing on
    /// a full disk may fail.
    pub(crate) fn keep(&self, bytes: u64) {
        let wanted = bytes.next_multiple_of(STEP_BYTES).max(STEP_BYTES);
        let here = self.0.symlink_metadata().map_or(0, |meta| meta.len());
        if here >= wanted {
            return;
        }
        let bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        if let Err(error) = fs::write_atomic(&self.0, &bytes, Durability::Process) {
            tracing::debug!(%error, "no space to set aside");
        }
    }

    /// Gives the space back.
    pub(crate) fn spend(&self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, "the space set aside stays");
        }
    }
}
