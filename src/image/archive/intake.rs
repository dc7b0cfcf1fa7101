//! A layer from a stream that nobody has described: unpacked and kept as a blob in one pass.
//!
//! What comes compressed is kept as it came. What comes plain is compressed with gzip, which every
//! client of a registry reads, on another thread while this one unpacks. So is what comes as xz or
//! bzip2, which no registry takes.

use std::io::{self, Read};
use std::sync::mpsc::{SyncSender, sync_channel};

use orc_base::{Context, Error, Result};

use crate::content::Content;
use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::pack::compress::compress;
use crate::partial::Incoming;
use crate::store::Ingest;
use crate::unpack::compression::{Compression, MAGIC_BYTES};
use crate::unpack::limits::Limits;
use crate::unpack::stream::{self, Watch, read_full};

const CHUNKS_IN_FLIGHT: usize = 8;

/// A layer that is here now, as a blob and unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) blob: Descriptor,
    pub(crate) diff_id: Digest,
}

/// Takes in the tar archive of `source`.
pub(crate) fn take(ingest: &Ingest, mut source: impl Read + Send) -> Result<Taken> {
    let mut start = vec![0; MAGIC_BYTES];
    let count = read_full(&mut source, &mut start)
        .map_err(crate::unpack::stream::error)
        .context(|| "read the archive")?;
    start.truncate(count);
    let compression = Compression::detect(&start)?;
    let source = io::Cursor::new(start).chain(source);
    match compression.is_of_layers() {
        true => keep(ingest, source, compression),
        false => {
            stream::with_uncompressed(source, &Limits::default(), &Watch::default(), |plain| {
                keep(ingest, plain, Compression::None)
            })
            .map(|(taken, _)| taken)
        }
    }
}

fn keep(ingest: &Ingest, source: impl Read + Send, compression: Compression) -> Result<Taken> {
    let (kept_as, missing) = match compression {
        Compression::None => (Compression::Gzip, Compression::Gzip),
        compressed => (compressed, Compression::None),
    };
    let content = ingest.store().content();
    let incoming = content.incoming()?;
    let (chunks, kept) = sync_channel(CHUNKS_IN_FLIGHT);
    std::thread::scope(|scope| {
        let keeper = std::thread::Builder::new()
            .name("layer-keep".into())
            .spawn_scoped(scope, move || compress(kept, incoming, missing))?;
        let tee = Tee { source, chunks };
        let unpacked = ingest
            .store()
            .layers()
            .unpack_unknown(tee, &Watch::default(), &mut |_| ());
        let kept = keeper
            .join()
            .map_err(|_| Error::internal("the thread that keeps a layer panicked"))?;
        // When the keeper fails the reader only sees that nobody listens.
        let incoming = kept?;
        let diff_id = unpacked?.passed.digest;
        let blob = finish(content, incoming, kept_as.media_type())?;
        Ok(Taken { blob, diff_id })
    })
}

fn finish(content: &Content, incoming: Incoming, media_type: &str) -> Result<Descriptor> {
    let (digest, size) = content.keep(incoming)?;
    Ok(Descriptor {
        media_type: media_type.into(),
        digest,
        size,
        platform: None,
    })
}

/// Reads, and gives a copy of all it read to the keeper.
struct Tee<R> {
    source: R,
    chunks: SyncSender<Vec<u8>>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if count > 0 && self.chunks.send(buffer[..count].to_vec()).is_err() {
            return Err(io::Error::other(Error::internal(
                "the layer could not be kept",
            )));
        }
        Ok(count)
    }
}
