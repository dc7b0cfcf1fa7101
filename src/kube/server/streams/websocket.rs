//! WebSocket for a server (RFC 6455): frames, joined into messages.
//!
//! Reads and writes are two halves, so that each can be one task's. Answers to pings are the caller's:
//! who writes decides when. Messages are bounded; extensions are not offered.

use base64::Engine;
use bytes::Bytes;
use orc_base::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a message, at most: kubectl sends 32 KiB at once.
const MAX_MESSAGE: usize = 1 << 20;
/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`.
pub(in crate::server) fn accept_key(key: &str) -> String {
    // SHA-1 proves nothing here; the protocol only wants to see that the server knows it.
    let digest = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// What comes in.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) enum Incoming {
    /// A whole message.
    Message(Bytes),
    /// To be answered with [`Writer::pong`].
    Ping(Bytes),
    /// The other side is done, or gone.
    Closed,
}

/// Reads messages.
pub(in crate::server) struct Reader<R> {
    io: R,
    message: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(in crate::server) fn new(io: R) -> Self {
        Self {
            io,
            message: Vec::new(),
        }
    }

    /// The next of them. Not to be dropped half-way: a frame would be lost. `Invalid` when the client
    /// breaks the protocol.
    pub(in crate::server) async fn next(&mut self) -> Result<Incoming> {
        loop {
            let Some(frame) = self.frame().await? else {
                return Ok(Incoming::Closed);
            };
            match frame.opcode {
                0..=2 => {
                    if frame.is_last {
                        let message = std::mem::take(&mut self.message);
                        return Ok(Incoming::Message(message.into()));
                    }
                }
                8 => return Ok(Incoming::Closed),
                9 => return Ok(Incoming::Ping(frame.control.into())),
                10 => {}
                other => {
                    return Err(Error::invalid(format!("WebSocket: opcode {other}")));
                }
            }
        }
    }

    /// Reads one frame; data is added to the message. Nothing at the end.
    async fn frame(&mut self) -> Result<Option<Frame>> {
        let mut head = [0; 2];
        if self.io.read_exact(&mut head).await.is_err() {
            return Ok(None);
        }
        let (is_last, opcode) = (head[0] & 0x80 != 0, head[0] & 0x0f);
        if head[0] & 0x70 != 0 {
            return Err(Error::invalid("WebSocket: no extension was agreed on"));
        }
        if head[1] & 0x80 == 0 {
            return Err(Error::invalid("WebSocket: a client masks what it sends"));
        }
        let is_control = opcode >= 8;
        let length = match head[1] & 0x7f {
            126 => u64::from(self.io.read_u16().await?),
            127 => self.io.read_u64().await?,
            short => u64::from(short),
        };
        if is_control && (length > 125 || !is_last) {
            return Err(Error::invalid("WebSocket: a control frame is too large"));
        }
        let room = MAX_MESSAGE - self.message.len();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > room {
            return Err(Error::invalid(format!(
                "WebSocket: a message of more than {MAX_MESSAGE} bytes"
            )));
        }
        let mut mask = [0; 4];
        self.io.read_exact(&mut mask).await?;
        let mut control = Vec::new();
        let target = if is_control {
            &mut control
        } else {
            &mut self.message
        };
        let begin = target.len();
        target.resize(begin + length, 0);
        self.io.read_exact(&mut target[begin..]).await?;
        for (byte, mask) in target[begin..].iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Some(Frame {
            is_last,
            opcode,
            control,
        }))
    }
}

struct Frame {
    is_last: bool,
    opcode: u8,
    control: Vec<u8>,
}

/// Writes messages.
pub(in crate::server) struct Writer<W> {
    io: W,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(in crate::server) fn new(io: W) -> Self {
        Self { io }
    }

    /// A binary message.
    pub(in crate::server) async fn message(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.frame(2, parts).await
    }

    /// The answer to a ping, or a sign of life.
    pub(in crate::server) async fn pong(&mut self, payload: &[u8]) -> Result<()> {
        self.frame(10, &[payload]).await
    }

    /// The end, with a code of RFC 6455, section 7.4.
    pub(in crate::server) async fn close(&mut self, code: u16) -> Result<()> {
        self.frame(8, &[&code.to_be_bytes()]).await?;
        Ok(self.io.shutdown().await?)
    }

    async fn frame(&mut self, opcode: u8, parts: &[&[u8]]) -> Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut frame = Vec::with_capacity(length + 10);
        frame.push(0x80 | opcode);
        match length {
            0..126 => frame.push(length as u8),
            126..65_536 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        for part in parts {
            frame.extend_from_slice(part);
        }
        self.io.write_all(&frame).await?;
        Ok(self.io.flush().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Incoming> {
        Reader::new(bytes).next().await
    }

    #[tokio::test]
    async fn knows_the_examples_of_the_rfc() {
        let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        // Section 5.7: a single-frame masked text message.
        let hello = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        let message = read(&hello).await.unwrap();
        assert_eq!(message, Incoming::Message(Bytes::from_static(b"Hello")));
    }

    #[tokio::test]
    async fn joins_fragments_around_a_ping() {
        let mut bytes = vec![0x02, 0x81, 0, 0, 0, 0, b'a'];
        bytes.extend([0x89, 0x80, 0, 0, 0, 0]);
        bytes.extend([0x80, 0x81, 0, 0, 0, 0, b'b']);
        let mut reader = Reader::new(&bytes[..]);
        assert_eq!(reader.next().await.unwrap(), Incoming::Ping(Bytes::new()));
        let whole = Incoming::Message(Bytes::from_static(b"ab"));
        assert_eq!(reader.next().await.unwrap(), whole);
        assert_eq!(reader.next().await.unwrap(), Incoming::Closed);
    }

    #[tokio::test]
    async fn refuses_what_is_too_large_or_not_masked() {
        let huge = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert!(read(&huge).await.is_err());
        assert!(read(&[0x82, 0x01, 0x00]).await.is_err());
        assert!(read(&[0xc2, 0x80, 0, 0, 0, 0]).await.is_err());
        assert!(read(&[0x89, 0xfe, 0, 200, 0, 0, 0, 0]).await.is_err());
    }

    #[tokio::test]
    async fn writes_each_length() {
        for (length, head) in [(5, 2), (300, 4), (70_000, 10)] {
            let mut bytes = Vec::new();
            let payload = vec![7; length];
            Writer::new(&mut bytes).message(&[&payload]).await.unwrap();
            assert_eq!(bytes.len(), length + head);
            assert_eq!(bytes[0], 0x82);
        }
    }
}
