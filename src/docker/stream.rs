//! Docker's frames: several outputs over one connection.
//!
//! Each frame is a byte that says which output, three zero bytes, four bytes of length (big endian)
//! and the bytes. 1 and 2 are the descriptors; 3 is a message from the daemon that ends the stream.
//! Of a terminal there are no frames, only bytes. The length is bounded on reading.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use orc_base::{Error, Kind, Result};
use orc_host::stream::{Chunk, LogLine, Output};
use tokio_util::codec::Decoder;

/// The media type of frames.
pub(crate) const FRAMES: &str = "application/vnd.docker.multiplexed-stream";
/// The media type of bytes without frames.
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";

/// The longest frame that is read or written.
const MAX_FRAME: usize = 1 << 20;
const HEADER: usize = 8;
/// How much is read at once where there are no frames.
const RAW_CHUNK: usize = 64 * 1024;

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const FAILURE: u8 = 3;

/// `bytes` in as many frames as they need.
pub(crate) fn frames(output: Output, bytes: &[u8]) -> Bytes {
    let kind = match output {
        Output::Stdout => STDOUT,
        Output::Stderr => STDERR,
    };
    encode(kind, &[bytes])
}

/// The frame that says why the stream ends.
pub(crate) fn failure(error: &Error) -> Bytes {
    encode(FAILURE, &[error.to_string().as_bytes()])
}

/// A log line in one frame, after its time when `stamped`.
pub(crate) fn line(line: &LogLine, stamped: bool) -> Bytes {
    let stamp = if stamped { stamp(line) } else { String::new() };
    let kind = match line.output {
        Output::Stdout => STDOUT,
        Output::Stderr => STDERR,
    };
    encode(kind, &[stamp.as_bytes(), &line.bytes])
}

/// A log line of a terminal.
pub(crate) fn raw_line(line: &LogLine, stamped: bool) -> Bytes {
    if !stamped {
        return line.bytes.clone();
    }
    let mut bytes = BytesMut::from(stamp(line).as_bytes());
    bytes.extend_from_slice(&line.bytes);
    bytes.freeze()
}

fn stamp(line: &LogLine) -> String {
    format!("{} ", crate::convert::time::stamp(line.time))
}

fn encode(kind: u8, parts: &[&[u8]]) -> Bytes {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut frames = BytesMut::with_capacity(HEADER + length);
    let mut left = length;
    let mut room = 0;
    let start = |frames: &mut BytesMut, left: usize| {
        let size = left.min(MAX_FRAME);
        frames.put_slice(&[kind, 0, 0, 0]);
        frames.put_u32(size as u32);
        size
    };
    for part in parts {
        let mut part = *part;
        while !part.is_empty() {
            if room == 0 {
                room = start(&mut frames, left);
            }
            let (now, later) = part.split_at(part.len().min(room));
            frames.put_slice(now);
            room -= now.len();
            left -= now.len();
            part = later;
        }
    }
    frames.freeze()
}

/// Reads frames back into chunks.
#[derive(Debug, Default)]
pub(crate) struct Frames;

impl Decoder for Frames {
    type Item = Chunk;
    type Error = Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Chunk>> {
        loop {
            let Some(header) = buffer.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let [kind, _, _, _, length @ ..] = *header;
            let length = u32::from_be_bytes(length) as usize;
            if length > MAX_FRAME {
                return Err(Error::exhausted(format!(
                    "a frame of {length} bytes is over the limit of {MAX_FRAME}"
                )));
            }
            if buffer.len() < HEADER + length {
                buffer.reserve(HEADER + length - buffer.len());
                return Ok(None);
            }
            buffer.advance(HEADER);
            let bytes = buffer.split_to(length).freeze();
            let output = match kind {
                // 0 is standard input, which nobody sends back.
                0 | STDOUT => Output::Stdout,
                STDERR => Output::Stderr,
                FAILURE => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    return Err(Error::internal(text));
                }
                _ => {
                    return Err(Error::internal(format!("{kind} is not a kind of frame")));
                }
            };
            if !bytes.is_empty() {
                return Ok(Some(Chunk { output, bytes }));
            }
        }
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Chunk>> {
        match self.decode(buffer)? {
            Some(chunk) => Ok(Some(chunk)),
            None if buffer.is_empty() => Ok(None),
            None => Err(Error::new(
                Kind::Unavailable,
                "the stream ends in the middle of a frame",
            )),
        }
    }
}

/// Reads the bytes of a terminal as chunks.
#[derive(Debug, Default)]
pub(crate) struct Raw;

impl Decoder for Raw {
    type Item = Chunk;
    type Error = Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Chunk>> {
        if buffer.is_empty() {
            return Ok(None);
        }
        let bytes = buffer.split_to(buffer.len().min(RAW_CHUNK)).freeze();
        Ok(Some(Chunk {
            output: Output::Stdout,
            bytes,
        }))
    }
}

/// Reads a stamped line back.
pub(crate) fn parse_line(chunk: &Chunk) -> Result<LogLine> {
    let space = chunk.bytes.iter().take(64).position(|byte| *byte == b' ');
    let time = space
        .and_then(|end| std::str::from_utf8(&chunk.bytes[..end]).ok())
        .and_then(|text| text.parse().ok());
    match (time, space) {
        (Some(time), Some(end)) => Ok(LogLine {
            output: chunk.output,
            time,
            bytes: chunk.bytes.slice(end + 1..),
        }),
        _ => Err(Error::internal("a log line came without its time")),
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Time;

    use super::*;

    fn decode(
        mut decoder: impl Decoder<Item = Chunk, Error = Error>,
        bytes: &[u8],
    ) -> Result<Vec<Chunk>> {
        // One byte at a time: frames come in any pieces.
        let mut buffer = BytesMut::new();
        let mut chunks = Vec::new();
        for byte in bytes {
            buffer.put_u8(*byte);
            chunks.extend(decoder.decode(&mut buffer)?);
        }
        while let Some(chunk) = decoder.decode_eof(&mut buffer)? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    #[test]
    fn frames_come_back() {
        let sent = [
            frames(Output::Stdout, b"out\0"),
            frames(Output::Stderr, b"err"),
        ]
        .concat();
        let chunks = decode(Frames, &sent).unwrap();
        assert_eq!(chunks.len(), 2);
        assert_eq!(
            (chunks[0].output, &chunks[0].bytes[..]),
            (Output::Stdout, &b"out\0"[..])
        );
        assert_eq!(
            (chunks[1].output, &chunks[1].bytes[..]),
            (Output::Stderr, &b"err"[..])
        );
        assert!(frames(Output::Stdout, b"").is_empty());
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = vec![7; MAX_FRAME + 10];
        let sent = frames(Output::Stderr, &long);
        let mut buffer = BytesMut::from(&sent[..]);
        let first = Frames.decode(&mut buffer).unwrap().unwrap();
        let second = Frames.decode(&mut buffer).unwrap().unwrap();
        assert_eq!((first.bytes.len(), second.bytes.len()), (MAX_FRAME, 10));
    }

    #[test]
    fn wrong_frames_are_refused() {
        let torn = &frames(Output::Stdout, b"half")[..10];
        assert_eq!(decode(Frames, torn).unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(
            decode(Frames, &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
                .unwrap_err()
                .kind(),
            Kind::Exhausted
        );
        assert!(decode(Frames, &[9, 0, 0, 0, 0, 0, 0, 0]).is_err());
        let told = decode(Frames, &failure(&Error::internal("the log is gone"))).unwrap_err();
        assert_eq!(told.to_string(), "the log is gone");
    }

    #[test]
    fn a_terminal_has_no_frames() {
        let chunks = decode(Raw, b"ab").unwrap();
        assert_eq!(chunks.len(), 2);
        assert!(chunks.iter().all(|chunk| chunk.output == Output::Stdout));
    }

    #[test]
    fn log_lines_come_back() {
        let sent = LogLine {
            output: Output::Stderr,
            time: Time::from_nanos(1_700_000_000_000_000_000),
            bytes: Bytes::from_static(b"\xff a b\r\n"),
        };
        let mut buffer = BytesMut::from(&line(&sent, true)[..]);
        let chunk = Frames.decode(&mut buffer).unwrap().unwrap();
        assert_eq!(parse_line(&chunk).unwrap(), sent);
        assert_eq!(&raw_line(&sent, false)[..], b"\xff a b\r\n");
        let unstamped = Chunk {
            output: Output::Stdout,
            bytes: Bytes::from_static(b"hello world\n"),
        };
        assert!(parse_line(&unstamped).is_err());
    }
}
