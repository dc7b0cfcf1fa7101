//! Unpacks one layer, from its compressed stream to a directory, and says what it was.
//!
//! What is in the directory after an error is the caller's to remove; so is comparing the digest.

use std::io::BufRead;
use std::path::Path;
use std::sync::atomic::Ordering;

use orc_base::{Error, Result};

use crate::unpack::limits::Limits;
use crate::unpack::stream::{self, Passed, Uncompressed, Watch};
use crate::unpack::tar::Reader;
use crate::unpack::tree::{Tree, Written};

/// How one layer is to be read.
pub struct Options<'a> {
    /// The bounds.
    pub limits: Limits,
    /// Whether the archive must have its end marker. A known digest makes up for a missing one.
    pub needs_end_marker: bool,
    /// Lets others see how far it is, and end it.
    pub watch: &'a Watch,
    /// Hears how many compressed bytes were taken, now and then.
    pub progress: &'a mut dyn FnMut(u64),
}

/// A layer that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The stream.
    pub passed: Passed,
    /// The tree.
    pub written: Written,
}

/// Writes the layer of `source` into `directory`, which is ours and empty.
pub fn unpack(
    source: impl BufRead + Send,
    directory: &Path,
    options: &mut Options<'_>,
) -> Result<Unpacked> {
    let limits = options.limits;
    let watch = options.watch;
    let (written, passed) = stream::with_uncompressed_of(source, &limits, watch, |stream| {
        write(stream, directory, options)
    })?;
    Ok(Unpacked { passed, written })
}

fn write(
    stream: &mut Uncompressed,
    directory: &Path,
    options: &mut Options<'_>,
) -> Result<Written> {
    let mut tree = Tree::new(directory, options.limits)?;
    let mut reader = Reader::new(stream);
    let mut seen = 0;
    let mut report = || {
        let taken = options.watch.taken.load(Ordering::Relaxed);
        if taken != seen {
            seen = taken;
            (options.progress)(taken);
        }
    };
    while let Some(entry) = reader.next_entry()? {
        tree.arrived(options.watch.taken.load(Ordering::Relaxed));
        tree.put(&entry, &mut |sink| {
            reader.data(&mut |bytes| {
                report();
                sink(bytes)
            })
        })?;
    }
    if options.needs_end_marker && !reader.has_end_marker() {
        return Err(Error::invalid(
            "the archive has no end: it is truncated, or no tar archive at all",
        ));
    }
    tree.finish()
}
