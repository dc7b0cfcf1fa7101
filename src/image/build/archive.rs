//! Archives that become files: the context that comes with a request, and what `ADD` unpacks.
//!
//! Through the one hardened reader (`unpack`), which decides where an entry may go. Here an archive is
//! no layer: a name that means a whiteout in one is refused, because it could not be in the image.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use orc_base::{Context, Error, Result};

use crate::build::owner::Ids;
use crate::build::stop::Stop;
use crate::build::view::path_of;
use crate::unpack::compression::{Compression, MAGIC_BYTES};
use crate::unpack::entry::Entry;
use crate::unpack::limits::Limits;
use crate::unpack::path::{self, Place};
use crate::unpack::stream::{self, Watch, read_full};
use crate::unpack::tar::Reader;
use crate::unpack::tree::Tree;

/// Unpacks the tar archive `source`, compressed or not, into the open directory, for `owner` instead
/// of the archive's if there is one. Blocks.
pub(crate) fn unpack(
    source: impl Read + Send,
    directory: impl AsFd,
    owner: Option<Ids>,
    stop: &Stop,
) -> Result<()> {
    let limits = Limits::default();
    let watch = Watch::default();
    let directory = path_of(directory.as_fd());
    stream::with_uncompressed(source, &limits, &watch, |stream| {
        let mut reader = Reader::new(stream);
        let mut tree = Tree::new(&directory, limits)?;
        while let Some(mut entry) = reader.next_entry()? {
            stop.check()?;
            check(&entry)?;
            tree.arrived(watch.taken.load(Ordering::Relaxed));
            if let Some((uid, gid)) = owner {
                (entry.uid, entry.gid) = (uid, gid);
            }
            tree.put(&entry, &mut |sink| reader.data(sink))?;
        }
        if !reader.has_end_marker() {
            return Err(Error::invalid("the archive has no end: it is truncated"));
        }
        tree.finish()
    })?;
    Ok(())
}

fn check(entry: &Entry) -> Result<()> {
    match path::place(&entry.name) {
        Ok(Place::Whiteout(_) | Place::Opaque(_) | Place::Ignored) => Err(Error::invalid(format!(
            "the entry {}: a name that begins with `.wh.` cannot be in an image",
            path::shown(&entry.name)
        ))),
        _ => Ok(()),
    }
}

/// Whether a file is a tar archive, compressed or not: whether it has a first entry.
pub(crate) fn is_archive(mut file: &File) -> Result<bool> {
    let mut start = vec![0; MAGIC_BYTES];
    let count = read_full(&mut file, &mut start)?;
    start.truncate(count);
    let Ok(compression) = Compression::detect(&start) else {
        return Ok(false);
    };
    file.rewind()?;
    let first = |stream: &mut dyn Read| -> Result<bool> {
        // One header and what may belong to it.
        let stream = BufReader::new(stream.take(4 << 20));
        Ok(matches!(Reader::new(stream).next_entry(), Ok(Some(_))))
    };
    let decoder = compression.decoder(BufReader::new(file));
    let mut decoder = decoder.context(|| "look whether it is an archive")?;
    let is_archive = first(&mut decoder)?;
    drop(decoder);
    file.rewind()?;
    Ok(is_archive)
}

/// Whether bytes begin like something that is unpacked rather than read as text.
pub(crate) fn begins_like_an_archive(bytes: &[u8]) -> bool {
    let compressed = !matches!(Compression::detect(bytes), Ok(Compression::None));
    compressed || bytes.get(257..262) == Some(b"ustar")
}
