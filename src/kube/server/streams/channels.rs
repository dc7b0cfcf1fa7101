//! kubectl's streams of exec and attach inside a WebSocket: `v5.channel.k8s.io` and `v4.channel.k8s.io`.
//!
//! The first byte of each message says which stream it is of (KEP-4006). How it ended is told by a
//! `Status` on the error channel, then the connection is closed. In version 5 a client can end its input
//! alone, with a byte 255 and the channel's number.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orc_base::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc};

use crate::server::streams::node::{Size, Terminal};
use crate::server::streams::websocket::{Incoming, Reader, Writer};

/// The protocols, best first.
pub(in crate::server) const PROTOCOLS: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Messages that wait for the program or the client, at most, in each direction.
const QUEUE: usize = 16;
/// How often the client hears of us: it gives up after a minute of silence.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Which streams the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::server) struct Wanted {
    pub(in crate::server) stdin: bool,
    pub(in crate::server) stdout: bool,
    pub(in crate::server) stderr: bool,
    pub(in crate::server) tty: bool,
}

/// Runs a program between the client's streams until it ends, the client is gone, or `valid` ends (the
/// client's rights are).
pub(in crate::server) async fn serve<S, F>(
    io: S,
    wanted: Wanted,
    run: impl FnOnce(Terminal) -> F,
    valid: impl Future<Output = ()>,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite,
    F: Future<Output = Result<i32>>,
{
    let (read, write) = tokio::io::split(io);
    let mut reader = Reader::new(tokio::io::BufReader::new(read));
    let writer = Arc::new(Mutex::new(Writer::new(write)));
    let (stdin, program_stdin) = mpsc::channel(QUEUE);
    let (program_stdout, stdout) = mpsc::channel(QUEUE);
    let (program_stderr, stderr) = mpsc::channel(QUEUE);
    let (sizes, program_sizes) = mpsc::channel(QUEUE);
    let terminal = Terminal {
        stdin: wanted.stdin.then_some(program_stdin),
        stdout: wanted.stdout.then_some(program_stdout),
        stderr: (wanted.stderr && !wanted.tty).then_some(program_stderr),
        sizes: program_sizes,
        tty: wanted.tty,
    };
    // Tells clients that wait for a first message that the program is about to run.
    let first = if wanted.stdout { STDOUT } else { ERROR };
    writer.lock().await.message(&[&[first]]).await?;

    let ended = async {
        let (exit, out, err) = tokio::join!(
            run(terminal),
            pass_on(stdout, STDOUT, &writer),
            pass_on(stderr, STDERR, &writer)
        );
        out.and(err).and(exit)
    };
    let incoming = take_in(&mut reader, stdin, sizes, &writer);
    let exit = tokio::select! {
        exit = ended => exit,
        gone = incoming => return gone,
        () = valid => Err(Error::denied("the credentials are no longer good")),
        never = beat(&writer) => return never,
    };
    let status = status(&exit).to_string();
    let mut writer = writer.lock().await;
    writer.message(&[&[ERROR], status.as_bytes()]).await?;
    writer.close(1000).await
}

async fn pass_on<W: AsyncWrite + Unpin>(
    mut from: mpsc::Receiver<Bytes>,
    channel: u8,
    writer: &Mutex<Writer<W>>,
) -> Result<()> {
    while let Some(bytes) = from.recv().await {
        writer.lock().await.message(&[&[channel], &bytes]).await?;
    }
    Ok(())
}

/// Ends when the client has closed the connection.
async fn take_in<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut Reader<R>,
    stdin: mpsc::Sender<Bytes>,
    sizes: mpsc::Sender<Size>,
    writer: &Mutex<Writer<W>>,
) -> Result<()> {
    let mut stdin = Some(stdin);
    loop {
        let mut message = match reader.next().await? {
            Incoming::Message(message) => message,
            Incoming::Ping(payload) => {
                writer.lock().await.pong(&payload).await?;
                continue;
            }
            Incoming::Closed => return Ok(()),
        };
        if message.is_empty() {
            continue;
        }
        let channel = message.split_to(1)[0];
        match channel {
            STDIN => {
                if let Some(open) = &stdin
                    && !message.is_empty()
                    && open.send(message).await.is_err()
                {
                    // The program reads no more; the rest is thrown away.
                    stdin = None;
                }
            }
            RESIZE => {
                if let Some(size) = size(&message) {
                    // A size that finds no room is followed by the next one.
                    let _ = sizes.try_send(size);
                }
            }
            CLOSE if message.first() == Some(&STDIN) => stdin = None,
            _ => {}
        }
    }
}

async fn beat<W: AsyncWrite + Unpin>(writer: &Mutex<Writer<W>>) -> Result<()> {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        writer.lock().await.pong(&[]).await?;
    }
}

fn size(message: &[u8]) -> Option<Size> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Wire {
        width: u16,
        height: u16,
    }
    let Wire { width, height } = serde_json::from_slice(message).ok()?;
    Some(Size { width, height })
}

/// How it ended, as `kubectl exec` reads it.
fn status(exit: &Result<i32>) -> Value {
    match exit {
        Ok(0) => json!({ "metadata": {}, "status": "Success" }),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit code {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(error) => json!({
            "metadata": {},
            "status": "Failure",
            "message": error.to_string(),
            "reason": "InternalError",
            "code": 500,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn frame(channel: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x82, 0x80 | (payload.len() as u8 + 1), 0, 0, 0, 0, channel];
        frame.extend(payload);
        frame
    }

    /// Copies its input to its output and ends with 3 when it is over.
    async fn cat(mut terminal: Terminal) -> Result<i32> {
        let mut stdin = terminal.stdin.take().unwrap();
        let stdout = terminal.stdout.take().unwrap();
        while let Some(bytes) = stdin.recv().await {
            stdout.send(bytes).await.unwrap();
        }
        let size = terminal.sizes.recv().await.unwrap();
        assert_eq!((size.width, size.height), (80, 24));
        Ok(3)
    }

    #[tokio::test]
    async fn carries_a_program_to_its_end() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let wanted = Wanted {
            stdin: true,
            stdout: true,
            ..Wanted::default()
        };
        let serving = tokio::spawn(serve(server, wanted, cat, std::future::pending()));
        client.write_all(&frame(STDIN, b"hello")).await.unwrap();
        let size = br#"{"Width":80,"Height":24}"#;
        client.write_all(&frame(RESIZE, size)).await.unwrap();
        client.write_all(&frame(CLOSE, &[STDIN])).await.unwrap();
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).await.unwrap();
        serving.await.unwrap().unwrap();
        assert_eq!(&seen[..3], [0x82, 1, STDOUT]);
        assert_eq!(
            &seen[3..11],
            [0x82, 6, STDOUT, b'h', b'e', b'l', b'l', b'o']
        );
        let rest = String::from_utf8_lossy(&seen[11..]).into_owned();
        assert!(rest.contains(r#""reason":"ExitCode""#), "{rest}");
        assert!(seen.ends_with(&[0x88, 2, 0x03, 0xe8]));
    }

    #[tokio::test]
    async fn ends_the_program_with_the_client() {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (alive, mut gone) = mpsc::channel::<()>(1);
        let run = move |_: Terminal| async move {
            let _alive = alive;
            std::future::pending::<Result<i32>>().await
        };
        let wanted = Wanted::default();
        let serving = tokio::spawn(serve(server, wanted, run, std::future::pending()));
        drop(client);
        let _ = serving.await.unwrap();
        assert_eq!(gone.recv().await, None);
    }
}
