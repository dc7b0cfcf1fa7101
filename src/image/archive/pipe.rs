//! Bytes between async callers and the threads that read or write archives.
//!
//! An end of file is said, never guessed: when the caller goes away in the middle, the thread sees an
//! error and not a short archive.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use orc_base::{Context, Error, Kind, Result};

use crate::progress::{Progress, ProgressEvent};
use crate::unpack::stream;

const CHUNK_BYTES: usize = 256 << 10;
const CHUNKS_IN_FLIGHT: usize = 4;

/// Takes progress from a working thread.
pub(crate) type Reports = mpsc::UnboundedSender<ProgressEvent>;

enum Item {
    Bytes(Bytes),
    Failed(Error),
    End,
}

/// Runs `work` on a thread where blocking is fine.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| Error::internal(format!("a working thread was lost: {error}")))?
}

/// Runs `work` on a thread with what `source` gives, and reports what it sends.
pub(crate) async fn feed<T: Send + 'static>(
    source: impl AsyncRead + Unpin,
    progress: &dyn Progress,
    work: impl FnOnce(PipeReader, Reports) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (items, queue) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let (reports, mut events) = mpsc::unbounded_channel();
    let reader = PipeReader {
        queue,
        current: Bytes::new(),
        ended: false,
    };
    let work = blocking(move || work(reader, reports));
    let pump = pump(source, items);
    tokio::pin!(work, pump);
    let mut pumped = false;
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => progress.report(event),
            () = &mut pump, if !pumped => pumped = true,
            done = &mut work => {
                while let Ok(event) = events.try_recv() {
                    progress.report(event);
                }
                return done;
            }
        }
    }
}

/// Sends all of `source`, or until nobody listens.
async fn pump(mut source: impl AsyncRead + Unpin, items: mpsc::Sender<Item>) {
    loop {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        let item = match source.read_buf(&mut buffer).await {
            Ok(0) => Item::End,
            Ok(_) => Item::Bytes(buffer.freeze()),
            Err(error) => Item::Failed(stream::error(error).within("read the archive")),
        };
        let last = !matches!(item, Item::Bytes(_));
        if items.send(item).await.is_err() || last {
            return;
        }
    }
}

/// The working thread's end of [`feed`].
pub(crate) struct PipeReader {
    queue: mpsc::Receiver<Item>,
    current: Bytes,
    ended: bool,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.queue.blocking_recv() {
                Some(Item::Bytes(bytes)) => self.current = bytes,
                Some(Item::End) => self.ended = true,
                Some(Item::Failed(error)) => return Err(io::Error::other(error)),
                None => {
                    return Err(io::Error::other(Error::new(
                        Kind::Unavailable,
                        "whoever sent the archive went away",
                    )));
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Runs `work` on a thread and sends what it writes to `out`.
pub(crate) async fn drain(
    mut out: impl AsyncWrite + Unpin,
    work: impl FnOnce(PipeWriter) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (items, mut queue) = mpsc::channel::<Bytes>(CHUNKS_IN_FLIGHT);
    let writer = PipeWriter {
        items,
        buffer: BytesMut::with_capacity(CHUNK_BYTES),
    };
    let work = tokio::spawn(blocking(move || work(writer)));
    let copied = async {
        while let Some(bytes) = queue.recv().await {
            out.write_all(&bytes).await?;
        }
        out.flush().await
    };
    let copied = copied.await;
    drop(queue);
    let worked = work
        .await
        .map_err(|error| Error::internal(format!("a working thread was lost: {error}")))?;
    // The thread only fails to write because the copy has failed before.
    copied.context(|| "write the archive")?;
    worked
}

/// The working thread's end of [`drain`].
pub(crate) struct PipeWriter {
    items: mpsc::Sender<Bytes>,
    buffer: BytesMut,
}

impl PipeWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.split().freeze();
        self.buffer.reserve(CHUNK_BYTES);
        self.items
            .blocking_send(bytes)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PipeWriter {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[tokio::test]
    async fn bytes_arrive_in_both_directions() {
        let bytes: Vec<u8> = (0..CHUNK_BYTES * 3 + 5).map(|n| n as u8).collect();
        let read = feed(&bytes[..], &Silent, |mut reader, _| {
            let mut all = Vec::new();
            reader.read_to_end(&mut all)?;
            Ok(all)
        });
        assert!(read.await.unwrap() == bytes);
        let (mut out, sent) = (Vec::new(), bytes.clone());
        let wrote = drain(&mut out, move |mut writer| {
            writer.write_all(&sent)?;
            writer.flush()?;
            Ok(())
        });
        wrote.await.unwrap();
        assert!(out == bytes);
    }

    #[tokio::test]
    async fn going_away_is_not_an_end() {
        let (items, queue) = mpsc::channel(1);
        drop(items);
        let mut reader = PipeReader {
            queue,
            current: Bytes::new(),
            ended: false,
        };
        let read = blocking(move || Ok(reader.read(&mut [0; 8]).is_err()));
        assert!(read.await.unwrap());
    }

    #[tokio::test]
    async fn errors_of_either_side_come_back() {
        struct Broken;
        impl AsyncRead for Broken {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::task::Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
        let result = feed(Broken, &Silent, |mut reader, _| {
            let mut all = Vec::new();
            reader
                .read_to_end(&mut all)
                .map_err(crate::unpack::stream::error)?;
            Ok(())
        });
        assert_eq!(result.await.unwrap_err().kind(), Kind::Unavailable);
        let early = feed(tokio::io::repeat(1), &Silent, |_, _| {
            Err::<(), _>(Error::invalid("enough"))
        });
        assert_eq!(early.await.unwrap_err().to_string(), "enough");
        let (client, server) = tokio::io::duplex(8);
        drop(server);
        let result = drain(client, |mut writer| {
            writer.write_all(&[0; 10 * CHUNK_BYTES])?;
            Ok(())
        });
        assert!(
            result
                .await
                .unwrap_err()
                .to_string()
                .contains("write the archive")
        );
    }
}
