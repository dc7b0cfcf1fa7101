//! Connections that carry a program's stdio instead of HTTP.
//!
//! After 101 the bytes of the client are the program's input and the frames of the program the
//! client's. A client that asks for no upgrade gets 200 and the output as a body.
//!
//! A client that shuts its writing side down has said end of file; one that is gone has not, unless
//! the program was to end with it. A client that leaves is noticed even while there is nothing to
//! send: epoll reports the hang-up on a second descriptor of the connection.

use std::os::fd::AsFd;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{StatusCode, body::Body as _};
use hyper_util::rt::TokioIo;
use orc_base::{Error, Result};
use orc_host::stream::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::body;
use crate::server::reply::{self, Reply};

/// How long a client that still sends is listened to after the program has ended.
const LINGER: Duration = Duration::from_secs(5);
/// How much input is taken at once.
const BUFFER: usize = 16 * 1024;

/// What ends the program's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputEnds {
    /// The client's end of file, and also its leaving.
    WithClient,
    /// The client's end of file only.
    WithEndOfFile,
    /// Nothing the client does.
    Never,
}

/// Both directions of a program, as they go over the connection.
pub(crate) struct Stdio {
    /// Frames or raw bytes.
    pub(crate) media_type: &'static str,
    /// Where the client's bytes go.
    pub(crate) input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// What ends the input.
    pub(crate) input_ends: InputEnds,
    /// What the client gets. No item is an error: those are frames by now.
    pub(crate) output: Stream<Bytes>,
    /// Whether there is input at all, for orc's own client.
    pub(crate) has_input: bool,
}

/// Answers and connects the two.
pub(crate) fn reply(upgrade: Option<OnUpgrade>, body: Incoming, stdio: Stdio) -> Reply {
    let (media_type, has_input) = (stdio.media_type, stdio.has_input);
    let mut reply = match upgrade {
        Some(upgrade) => {
            tokio::spawn(async move {
                if let Err(error) = carry(upgrade, stdio).await {
                    tracing::debug!(%error, "an attached connection ended badly");
                }
            });
            switching(media_type)
        }
        None => plain(body, stdio),
    };
    if has_input {
        reply
            .headers_mut()
            .insert("orc-input", HeaderValue::from_static("true"));
    }
    reply
}

fn switching(media_type: &'static str) -> Reply {
    let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

/// Without an upgrade the body of the request is the input, when it has one.
fn plain(body: Incoming, stdio: Stdio) -> Reply {
    if let Some(input) = stdio.input
        && !body.is_end_stream()
    {
        let ends = stdio.input_ends;
        tokio::spawn(async move {
            let mut input = input;
            let mut pieces = body::stream(body);
            while let Some(Ok(bytes)) = pieces.next().await {
                if input.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            if ends != InputEnds::Never {
                let _ = input.shutdown().await;
            }
        });
    }
    reply::stream(stdio.media_type, stdio.output)
}

async fn carry(upgrade: OnUpgrade, stdio: Stdio) -> Result<()> {
    let broken = |error: hyper::Error| Error::unavailable(error.to_string());
    let parts = upgrade
        .await
        .map_err(broken)?
        .downcast::<TokioIo<UnixStream>>()
        .map_err(|_| Error::internal("the connection is not a unix socket"))?;
    connect(parts.io.into_inner(), parts.read_buf, stdio).await
}

/// Carries both directions until the program has ended or the client has left. `early` are the
/// bytes of the client that came with its request.
async fn connect(stream: UnixStream, early: Bytes, stdio: Stdio) -> Result<()> {
    let second: std::os::unix::net::UnixStream = stream.as_fd().try_clone_to_owned()?.into();
    let client = Client {
        second: UnixStream::from_std(second)?,
    };
    let (reader, mut writer) = stream.into_split();
    let mut output = stdio.output;
    let send = async {
        while let Some(bytes) = output.next().await {
            writer.write_all(&bytes?).await?;
        }
        // The program has ended. What the client still sends is read, for an unread byte would
        // turn the end that it sees into a reset.
        writer.shutdown().await?;
        tokio::time::sleep(LINGER).await;
        Ok(())
    };
    tokio::select! {
        result = send => result,
        () = client.left() => Ok(()),
        () = receive(early, reader, stdio.input, stdio.input_ends, &client) => Ok(()),
    }
}

/// The other end of a connection.
struct Client {
    /// A descriptor of its own, so that watching it takes no event away from the one that writes.
    second: UnixStream,
}

impl Client {
    /// Waits until both its directions are closed.
    async fn left(&self) {
        loop {
            match self.second.ready(Interest::WRITABLE).await {
                Ok(ready) if !ready.is_write_closed() => {}
                _ => return,
            }
            // Waits for the next event: that it can be written to is not news.
            let _ = self
                .second
                .try_io(Interest::WRITABLE, || -> std::io::Result<()> {
                    Err(std::io::ErrorKind::WouldBlock.into())
                });
        }
    }

    /// Whether both its directions are closed now.
    fn has_left(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.second, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let found = poll(&mut fds, Some(&now)).is_ok();
        found && fds[0].revents().contains(PollFlags::HUP)
    }
}

/// Passes the client's bytes on, and never ends before the client has left.
async fn receive(
    early: Bytes,
    reader: impl AsyncRead + Unpin,
    mut input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    ends: InputEnds,
    client: &Client,
) {
    let mut reader = std::io::Cursor::new(early).chain(reader);
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = reader.read(&mut buffer).await {
        let Some(open) = &mut input else { continue };
        let written = async {
            open.write_all(&buffer[..count]).await?;
            open.flush().await
        };
        // A program that has closed its input takes no more; the client may go on.
        if written.await.is_err() {
            input = None;
        }
    }
    let ended = match ends {
        InputEnds::WithClient => true,
        InputEnds::WithEndOfFile => !client.has_left(),
        InputEnds::Never => false,
    };
    if ended && let Some(open) = &mut input {
        let _ = open.shutdown().await;
    }
    // What is dropped here may be taken for the end of the input, so it is kept.
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::stream;
    use tokio::io::duplex;

    use super::*;
    use crate::stream::RAW;

    fn stdio(output: Stream<Bytes>) -> Stdio {
        Stdio {
            media_type: RAW,
            input: None,
            input_ends: InputEnds::WithClient,
            output,
            has_input: false,
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_noticed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (input, mut program) = duplex(64);
        let silent = Stdio {
            input: Some(Box::pin(input)),
            ..stdio(Box::pin(stream::pending()))
        };
        let carried = tokio::spawn(connect(ours, Bytes::from_static(b"ea"), silent));
        let (reader, mut writer) = theirs.into_split();
        writer.write_all(b"rly").await.unwrap();
        // The end of file alone is no leaving.
        drop(writer);
        let mut heard = String::new();
        program.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "early");
        assert!(!carried.is_finished());
        drop(reader);
        carried.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn output_waits_for_its_reader() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let polled = Arc::new(AtomicUsize::new(0));
        let count = polled.clone();
        let endless = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Bytes::from(vec![0; 64 * 1024]))
        });
        let carried = tokio::spawn(connect(ours, Bytes::new(), stdio(Box::pin(endless))));
        let mut before = usize::MAX;
        // The socket's buffers fill up, and then nothing moves.
        while polled.load(Ordering::SeqCst) != before {
            before = polled.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(before < 1000, "{before} pieces of 64 KiB for nobody");
        drop(theirs);
        // It ends; whether by the write or by the hang-up is a race.
        let _ = carried.await.unwrap();
    }

    #[tokio::test]
    async fn the_end_is_seen_by_one_who_still_sends() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let output = stream::iter([Ok(Bytes::from_static(b"bye"))]);
        let carried = tokio::spawn(connect(ours, Bytes::new(), stdio(Box::pin(output))));
        let (mut reader, mut writer) = theirs.into_split();
        for _ in 0..100 {
            writer.write_all(&[7; 4096]).await.unwrap();
        }
        let mut heard = String::new();
        reader.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "bye");
        drop((reader, writer));
        carried.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_leaves_has_not_said_end_of_file() {
        for (ends, closes) in [
            (InputEnds::WithClient, true),
            (InputEnds::WithEndOfFile, false),
            (InputEnds::Never, false),
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (input, mut program) = duplex(64);
            let kept = Stdio {
                input: Some(Box::pin(input)),
                input_ends: ends,
                ..stdio(Box::pin(stream::pending()))
            };
            let client = Client {
                second: UnixStream::from_std(ours.as_fd().try_clone_to_owned().unwrap().into())
                    .unwrap(),
            };
            drop(theirs);
            let received = receive(Bytes::new(), ours, kept.input, ends, &client);
            // It never ends by itself: whether the input was shut down is all there is to see.
            let mut byte = [0];
            let ended = tokio::select! {
                () = received => unreachable!("it waits for the client"),
                read = program.read(&mut byte) => read.unwrap() == 0,
                () = tokio::time::sleep(Duration::from_millis(300)) => false,
            };
            assert_eq!(ended, closes, "{ends:?}");
        }
    }
}
