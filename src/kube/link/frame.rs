//! Numbered messages on a stream of bytes.
//!
//! ```text
//! greeting  version u16 | the sender's number u64
//! message   length u32 | number u64 | bytes          numbers in network byte order
//! ```

use bytes::{Bytes, BytesMut};
use orc_base::{Error, Result};
use orc_store::{MAX_MESSAGE_BYTES, NodeId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Changes when what follows would be misread.
const VERSION: u16 = 1;
/// Messages of less than this are copied, to go out in one piece with their header.
const SMALL: usize = 16 << 10;

/// A message or its answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) number: u64,
    pub(super) bytes: Bytes,
}

/// Says who asks.
pub(super) async fn greet(to: &mut (impl AsyncWrite + Unpin), node: NodeId) -> Result<()> {
    let mut greeting = [0; 10];
    greeting[..2].copy_from_slice(&VERSION.to_be_bytes());
    greeting[2..].copy_from_slice(&node.to_be_bytes());
    to.write_all(&greeting).await?;
    Ok(to.flush().await?)
}

/// Who asks, as it says.
pub(super) async fn greeted(from: &mut (impl AsyncRead + Unpin)) -> Result<NodeId> {
    let version = from.read_u16().await?;
    if version != VERSION {
        return Err(Error::unsupported(format!(
            "a member speaks version {version} of the members' protocol, this one {VERSION}: update the older one"
        )));
    }
    Ok(from.read_u64().await?)
}

/// Writes a message; it is on its way when the stream is flushed.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> Result<()> {
    let length = u32::try_from(frame.bytes.len())
        .ok()
        .filter(|length| *length as usize <= MAX_MESSAGE_BYTES)
        .ok_or_else(|| {
            Error::exhausted(format!(
                "a message of {} bytes: the limit is {MAX_MESSAGE_BYTES}",
                frame.bytes.len()
            ))
        })?;
    let mut head = BytesMut::with_capacity(12 + frame.bytes.len().min(SMALL));
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(&frame.number.to_be_bytes());
    match frame.bytes.len() < SMALL {
        true => {
            head.extend_from_slice(&frame.bytes);
            to.write_all(&head).await?;
        }
        false => {
            to.write_all(&head).await?;
            to.write_all(&frame.bytes).await?;
        }
    }
    Ok(())
}

/// The next message. `Unavailable` when the stream has ended.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Frame> {
    let length = from.read_u32().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::unavailable("the other side hung up"),
        _ => error.into(),
    })?;
    let length = length as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err(Error::exhausted(format!(
            "a message of {length} bytes: the limit is {MAX_MESSAGE_BYTES}"
        )));
    }
    let number = from.read_u64().await?;
    // Grows with what arrives, not with what was announced.
    let mut bytes = BytesMut::with_capacity(length.min(SMALL));
    let mut rest = from.take(length as u64);
    while bytes.len() < length {
        if rest.read_buf(&mut bytes).await? == 0 {
            return Err(Error::unavailable(
                "the other side hung up within a message",
            ));
        }
    }
    Ok(Frame {
        number,
        bytes: bytes.freeze(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn arrives_as_it_was_sent() {
        let (mut here, mut there) = tokio::io::duplex(64 << 10);
        let sizes = [0, 1, SMALL - 1, SMALL, 3 << 20];
        let send = async {
            greet(&mut here, 7).await.unwrap();
            for (number, size) in (0_u64..).zip(sizes) {
                let bytes = vec![number as u8; size].into();
                write(&mut here, &Frame { number, bytes }).await.unwrap();
            }
            drop(here);
        };
        let hear = async {
            assert_eq!(greeted(&mut there).await.unwrap(), 7);
            for (number, size) in (0_u64..).zip(sizes) {
                let frame = read(&mut there).await.unwrap();
                assert_eq!((frame.number, frame.bytes.len()), (number, size));
                assert!(frame.bytes.iter().all(|byte| *byte == number as u8));
            }
            read(&mut there).await.unwrap_err().to_string()
        };
        let ((), end) = tokio::join!(send, hear);
        assert_eq!(end, "the other side hung up");
    }

    #[tokio::test]
    async fn nonsense_is_refused_before_it_takes_memory() {
        let large = (MAX_MESSAGE_BYTES as u32 + 1).to_be_bytes();
        let error = read(&mut &large[..]).await.unwrap_err().to_string();
        assert!(error.starts_with("a message of 41943041 bytes"), "{error}");
        let mut short = 9_u32.to_be_bytes().to_vec();
        short.extend_from_slice(&[0; 12]);
        let error = read(&mut &short[..]).await.unwrap_err().to_string();
        assert_eq!(error, "the other side hung up within a message");
        let error = greeted(&mut &[0, 2, 0][..]).await.unwrap_err().to_string();
        assert!(error.contains("speaks version 2"), "{error}");
    }
}
