//! Carries a layer from its compressed source to whoever unpacks it, over three threads.
//!
//! One reads and decompresses, one hashes the uncompressed bytes, and the caller's unpacks; chunks go
//! round between them, so memory stays at a few chunks whatever the layer holds. Bytes are copied
//! nowhere on the way: the decoder reads where the source keeps them, and its output is hashed and
//! written from the same chunk. The first error ends all three. The digest is that of the whole
//! uncompressed stream, with what follows the archive's end.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use orc_base::{Error, Kind, Result};

use crate::digest::{Digest, Hasher};
use crate::unpack::compression::{Compression, MAGIC_BYTES};
use crate::unpack::limits::Limits;
use crate::unpack::window::Window;

const CHUNK_BYTES: usize = 128 << 10;
const CHUNKS_IN_FLIGHT: usize = 4;

/// How others watch a stream and end it.
#[derive(Debug, Default)]
pub struct Watch {
    /// Compressed bytes taken from the source.
    pub taken: AtomicU64,
    /// Set to give up.
    pub cancelled: AtomicBool,
}

/// What went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// How the source was compressed.
    pub compression: Compression,
    /// The digest of the uncompressed bytes.
    pub digest: Digest,
    /// How many there were.
    pub bytes: u64,
}

type Chunk = Arc<Vec<u8>>;

/// The uncompressed bytes, for the caller's thread.
#[derive(Debug)]
pub struct Uncompressed {
    chunks: Receiver<Result<Chunk>>,
    empty: Sender<Vec<u8>>,
    current: Option<Chunk>,
    used: usize,
}

/// Runs `work` on the uncompressed bytes of `source`. `work` must read to the end, or fail.
pub fn with_uncompressed<T>(
    source: impl Read + Send,
    limits: &Limits,
    watch: &Watch,
    work: impl FnOnce(&mut Uncompressed) -> Result<T>,
) -> Result<(T, Passed)> {
    let source = BufReader::with_capacity(CHUNK_BYTES, source);
    with_uncompressed_of(source, limits, watch, work)
}

/// [`with_uncompressed`] of a source that has a buffer already.
pub fn with_uncompressed_of<T>(
    source: impl BufRead + Send,
    limits: &Limits,
    watch: &Watch,
    work: impl FnOnce(&mut Uncompressed) -> Result<T>,
) -> Result<(T, Passed)> {
    let (chunks_in, chunks) = sync_channel(CHUNKS_IN_FLIGHT);
    let (hash_in, to_hash) = sync_channel::<Chunk>(CHUNKS_IN_FLIGHT);
    let (empty, recycled) = channel();
    let hashed_empty = empty.clone();
    std::thread::scope(|scope| {
        let hash = spawn(scope, "hash", move || hash(&to_hash, &hashed_empty))?;
        let decode = spawn(scope, "decode", move || {
            let decoder = Decode {
                limits,
                watch,
                out: &chunks_in,
                hash: &hash_in,
                recycled: &recycled,
            };
            decoder.run(source)
        })?;
        let mut uncompressed = Uncompressed {
            chunks,
            empty,
            current: None,
            used: 0,
        };
        let worked = work(&mut uncompressed);
        drop(uncompressed);
        let decoded = decode.join().map_err(|_| crashed())?;
        let (digest, bytes) = hash.join().map_err(|_| crashed())?;
        let worked = worked?;
        let compression = decoded?;
        let passed = Passed {
            compression,
            digest,
            bytes,
        };
        Ok((worked, passed))
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<std::thread::ScopedJoinHandle<'scope, T>> {
    let builder = std::thread::Builder::new().name(format!("layer-{name}"));
    Ok(builder.spawn_scoped(scope, work)?)
}

fn crashed() -> Error {
    Error::internal("a thread that unpacks a layer panicked: this is a bug in orc")
}

fn hash(chunks: &Receiver<Chunk>, empty: &Sender<Vec<u8>>) -> (Digest, u64) {
    let (mut hasher, mut bytes) = (Hasher::sha256(), 0);
    for chunk in chunks {
        hasher.update(&chunk);
        bytes += chunk.len() as u64;
        recycle(chunk, empty);
    }
    (hasher.finish(), bytes)
}

/// Whoever has the chunk last sends its memory back.
fn recycle(chunk: Chunk, empty: &Sender<Vec<u8>>) {
    if let Some(memory) = Arc::into_inner(chunk) {
        let _ = empty.send(memory);
    }
}

/// The thread that reads and decompresses.
struct Decode<'a> {
    limits: &'a Limits,
    watch: &'a Watch,
    out: &'a SyncSender<Result<Chunk>>,
    hash: &'a SyncSender<Chunk>,
    recycled: &'a Receiver<Vec<u8>>,
}

impl Decode<'_> {
    /// An error goes to the reader, who reports it; it is repeated here in case nobody read so far.
    fn run(&self, source: impl BufRead + Send) -> Result<Compression> {
        let result = self.decode(source);
        if let Err(error) = &result {
            let _ = self.out.send(Err(error.clone()));
        }
        result
    }

    fn decode(&self, mut source: impl BufRead + Send) -> Result<Compression> {
        let start = read_start(&mut source).map_err(error)?;
        let compression = Compression::detect(&start)?;
        let window = Window::claim(compression, &start, &self.watch.cancelled)?;
        let source = Counted {
            source: io::Cursor::new(start).chain(source),
            taken: &self.watch.taken,
        };
        let mut decoder = compression.decoder_within(source, window.log())?;
        let mut total = 0;
        loop {
            let mut memory = self.recycled.try_recv().unwrap_or_default();
            memory.resize(CHUNK_BYTES, 0);
            let count =
                read_full(&mut decoder, &mut memory).map_err(|why| corrupt(why, compression))?;
            if count == 0 {
                return Ok(compression);
            }
            memory.truncate(count);
            total += count as u64;
            if compression != Compression::None {
                let taken = self.watch.taken.load(Ordering::Relaxed);
                self.limits.check_ratio(taken, total)?;
            }
            if self.watch.cancelled.load(Ordering::Relaxed) {
                return Err(Error::new(Kind::Timeout, "unpacking was cancelled"));
            }
            let chunk = Arc::new(memory);
            let _ = self.hash.send(chunk.clone());
            if self.out.send(Ok(chunk)).is_err() {
                return Ok(compression);
            }
        }
    }
}

fn read_start(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = vec![0; MAGIC_BYTES];
    let count = read_full(source, &mut start)?;
    start.truncate(count);
    Ok(start)
}

/// Reads until `buffer` is full or the source ends.
pub(crate) fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

struct Counted<'a, R> {
    source: R,
    taken: &'a AtomicU64,
}

impl<R: BufRead> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// What a decoder complains about is the stream's fault, unless the source below it failed.
fn corrupt(why: io::Error, compression: Compression) -> Error {
    let from_source = why.raw_os_error().is_some() || inner(&why).is_some();
    if from_source {
        return error(why);
    }
    let name = compression.name();
    Error::invalid(match why.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("the {name} stream ends in the middle: it is truncated")
        }
        // Of zstd (ZSTD_error_frameParameter_windowTooLarge) and of xz.
        _ if is_about_memory(&why) => {
            format!("a later part of the {name} stream wants a larger window than its start")
        }
        _ => format!("the {name} stream is corrupt: {why}"),
    })
}

fn is_about_memory(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::OutOfMemory || why.to_string().contains("too much memory")
}

/// An error of ours that went through `std::io` comes out as it was.
pub(crate) fn error(error: io::Error) -> Error {
    match inner(&error) {
        Some(inner) => inner.clone(),
        None => error.into(),
    }
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

impl BufRead for Uncompressed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let spent = |chunk: &Chunk| chunk.len() == self.used;
        if self.current.as_ref().is_none_or(spent) {
            if let Some(chunk) = self.current.take() {
                recycle(chunk, &self.empty);
            }
            self.used = 0;
            self.current = match self.chunks.recv() {
                Ok(Ok(chunk)) => Some(chunk),
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(_) => None,
            };
        }
        Ok(match &self.current {
            Some(chunk) => &chunk[self.used..],
            None => &[],
        })
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
    }
}

impl Read for Uncompressed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(source: impl Read + Send, limits: &Limits) -> Result<(Vec<u8>, Passed)> {
        let watch = Watch::default();
        with_uncompressed(source, limits, &watch, |stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).map_err(error)?;
            Ok(all)
        })
    }

    fn noise(size: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..size).map(|_| next()).collect()
    }

    #[test]
    fn all_bytes_arrive_and_are_hashed() {
        let bytes = noise(3 * CHUNK_BYTES + 17);
        let packed = zstd::stream::encode_all(&bytes[..], 1).unwrap();
        for (source, compression) in [
            (bytes.clone(), Compression::None),
            (packed, Compression::Zstd),
        ] {
            let (all, passed) = run(&source[..], &Limits::default()).unwrap();
            assert!(all == bytes);
            assert_eq!(passed.digest, Digest::of(&bytes));
            assert_eq!(passed.bytes, bytes.len() as u64);
            assert_eq!(passed.compression, compression);
        }
        let (all, passed) = run(&b""[..], &Limits::default()).unwrap();
        assert!(all.is_empty() && passed.digest == Digest::of(b""));
    }

    #[test]
    fn a_bomb_is_stopped() {
        let limits = Limits {
            ratio_after_bytes: 1 << 20,
            ..Limits::default()
        };
        let bomb = zstd::stream::encode_all(&vec![0; 4 << 20][..], 1).unwrap();
        let error = run(&bomb[..], &limits).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
        assert!(error.to_string().contains("200 to 1"), "{error}");
    }

    #[test]
    fn errors_keep_their_words() {
        struct Fails(Error);
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other(self.0.clone()))
            }
        }
        let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0];
        let source = (&gzip[..]).chain(Fails(Error::unavailable("the line is dead")));
        let error = run(source, &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "the line is dead");
        let error = run(&gzip[..], &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("truncated"), "{error}");
        assert_eq!(error.kind(), Kind::Invalid);
    }

    #[test]
    fn the_worker_may_give_up_and_so_may_the_caller() {
        let watch = Watch::default();
        let bytes = noise(64 * CHUNK_BYTES);
        let result = with_uncompressed(&bytes[..], &Limits::default(), &watch, |_| {
            Err::<(), _>(Error::invalid("enough"))
        });
        assert_eq!(result.unwrap_err().to_string(), "enough");
        watch.cancelled.store(true, Ordering::Relaxed);
        let result = with_uncompressed(io::repeat(1), &Limits::default(), &watch, |stream| {
            io::copy(stream, &mut io::sink()).map_err(error)
        });
        assert!(result.unwrap_err().to_string().contains("cancelled"));
    }
}
