//! A layer's blob from an upper directory in one pass: packed here, hashed on a second thread,
//! compressed and kept on a third. Memory stays at a few chunks whatever the layer holds.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use orc_base::{Context, Error, Result};

use crate::content::Content;
use crate::digest::{Digest, Hasher};
use crate::manifest::Descriptor;
use crate::pack::compress::compress;
use crate::pack::layer::{self, PackOptions, Packed};
use crate::pack::leftovers::Leftovers;
use crate::unpack::compression::Compression;

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_IN_FLIGHT: usize = 6;

/// A layer that is in the content store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The blob as a manifest names it.
    pub blob: Descriptor,
    /// What is in it.
    pub packed: Packed,
}

/// Packs the layer of the overlay's upper directory `upper` into `content`. Hold an ingest of the
/// store meanwhile, or its sweeper may take the blob. Blocks.
pub fn blob(
    content: &Content,
    upper: &Path,
    compression: Compression,
    options: &PackOptions,
) -> Result<LayerBlob> {
    blob_without(content, upper, compression, options, None)
}

/// [`blob`] without what mounts left behind.
pub fn blob_without(
    content: &Content,
    upper: &Path,
    compression: Compression,
    options: &PackOptions,
    leftovers: Option<&Leftovers>,
) -> Result<LayerBlob> {
    let incoming = content.incoming()?;
    let (to_hash, hashed) = sync_channel(CHUNKS_IN_FLIGHT);
    let (to_keep, kept) = sync_channel(CHUNKS_IN_FLIGHT);
    let (packed, diff_id, incoming) = std::thread::scope(|scope| {
        let hash = spawn(scope, "pack-hash", move || Ok(hash(&hashed)))?;
        let keep = spawn(scope, "pack-keep", move || {
            compress(kept, incoming, compression)
        })?;
        let mut fork = Fork {
            buffer: Vec::with_capacity(CHUNK_BYTES),
            outs: [to_hash, to_keep],
        };
        let packed = layer::layer_without(upper, &mut fork, options, leftovers);
        drop(fork);
        // When the keeper fails the packer only sees that nobody listens.
        let incoming = join(keep)?;
        Ok::<_, Error>((packed?, join(hash)?, incoming))
    })
    .context(|| format!("pack {}", upper.display()))?;
    let (digest, size) = content.keep(incoming)?;
    Ok(LayerBlob {
        diff_id,
        blob: Descriptor {
            media_type: compression.media_type().into(),
            digest,
            size,
            platform: None,
        },
        packed,
    })
}

type Work<'s, T> = std::thread::ScopedJoinHandle<'s, Result<T>>;

fn spawn<'s, T: Send + 's>(
    scope: &'s std::thread::Scope<'s, '_>,
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 's,
) -> Result<Work<'s, T>> {
    let thread = std::thread::Builder::new().name(name.into());
    thread
        .spawn_scoped(scope, work)
        .context(|| "start a thread")
}

fn join<T>(work: Work<'_, T>) -> Result<T> {
    work.join()
        .map_err(|_| Error::internal("a thread that packs a layer panicked"))?
}

fn hash(chunks: &Receiver<Arc<Vec<u8>>>) -> Digest {
    let mut hasher = Hasher::sha256();
    for chunk in chunks {
        hasher.update(&chunk);
    }
    hasher.finish()
}

/// Gives what is written to both threads, in chunks that they share.
struct Fork {
    buffer: Vec<u8>,
    outs: [SyncSender<Arc<Vec<u8>>>; 2],
}

impl Fork {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(CHUNK_BYTES);
        let chunk = Arc::new(std::mem::replace(&mut self.buffer, next));
        for out in &self.outs {
            out.send(chunk.clone())
                .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(())
    }
}

impl Write for Fork {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == CHUNK_BYTES {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
