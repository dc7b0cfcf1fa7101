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

use crate::server::call::body_stream;
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
            let mut body = body_stream(body);
            while let Some(Ok(bytes)) = body.next().await {
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
    let stream = parts.io.into_inner();
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
        () = receive(parts.read_buf, reader, stdio.input, stdio.input_ends, &client) => Ok(()),
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
