//! Pipes and terminals of containers as asynchronous readers and writers.

use std::io::{Error, ErrorKind, Result};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A descriptor that is waited on without a thread. Must be called in a tokio runtime.
#[expect(
    deprecated,
    reason = "the safe way to do it: an `OwnedFd` stays open and the same, which is what tokio asks for"
)]
pub(crate) fn watched(fd: OwnedFd, interest: Interest) -> orc_base::Result<AsyncFd<OwnedFd>> {
    Ok(AsyncFd::with_interest(fd, interest)?)
}

/// The reading side of a pipe or terminal.
pub(crate) struct Reader(AsyncFd<OwnedFd>);

/// The writing side of a pipe or terminal; closed by shutting it down or dropping it.
pub(crate) struct Writer(Option<AsyncFd<OwnedFd>>);

impl Reader {
    /// Must be called in a tokio runtime.
    pub(crate) fn new(fd: OwnedFd) -> orc_base::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self(watched(fd, Interest::READABLE)?))
    }

    /// What is there now; 0 at the end, `None` when there is nothing at the moment.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> Option<usize> {
        read_some(self.0.get_ref(), buffer).ok()
    }
}

/// A terminal whose last user is gone reads as an error: that is its end.
fn read_some(fd: &OwnedFd, buffer: &mut [u8]) -> std::result::Result<usize, Errno> {
    match rustix::io::read(fd, buffer) {
        Err(Errno::IO) => Ok(0),
        other => other,
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let read =
                guard.try_io(|fd| Ok(read_some(fd.get_ref(), buffer.initialize_unfilled())?));
            match read {
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(result) => {
                    buffer.advance(result?);
                    return Poll::Ready(Ok(()));
                }
                Err(_would_block) => {}
            }
        }
    }
}

impl Writer {
    /// Must be called in a tokio runtime.
    pub(crate) fn new(fd: OwnedFd) -> orc_base::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self(Some(watched(fd, Interest::WRITABLE)?)))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let Some(fd) = &self.0 else {
            return Poll::Ready(Err(Error::from(ErrorKind::BrokenPipe)));
        };
        loop {
            let mut guard = ready!(fd.poll_write_ready(context))?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.0 = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn carries_more_than_a_pipe_holds_to_its_end() {
        let (reading, writing) = rustix::pipe::pipe().unwrap();
        let (mut reader, mut writer) =
            (Reader::new(reading).unwrap(), Writer::new(writing).unwrap());
        let sent = vec![7; 300_000];
        let expected = sent.clone();
        let write = async move {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
            assert!(writer.write_all(b"x").await.is_err());
        };
        let mut received = Vec::new();
        let read = reader.read_to_end(&mut received);
        let (_, read) = tokio::join!(write, read);
        read.unwrap();
        assert_eq!(received, expected);
    }

    #[tokio::test]
    async fn says_when_nothing_is_there() {
        let (reading, writing) = rustix::pipe::pipe().unwrap();
        let reader = Reader::new(reading).unwrap();
        assert_eq!(reader.try_read(&mut [0; 4]), None);
        rustix::io::write(&writing, b"ab").unwrap();
        assert_eq!(reader.try_read(&mut [0; 4]), Some(2));
        drop(writing);
        assert_eq!(reader.try_read(&mut [0; 4]), Some(0));
    }
}
