//! SPDY/3.1 as far as port-forward needs it: frames, and headers behind a shared dictionary.
//!
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>. Bytes in, frames out, and back;
//! no I/O. Headers of all frames of one direction are one zlib stream, so a decoder and an encoder live as
//! long as their connection. There is no flow control, as in the library that kubectl uses.

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use orc_base::{Error, Result};

/// Bytes of a frame, at most: kubectl sends 32 KiB at once.
const MAX_FRAME: usize = 1 << 20;
/// Bytes of the headers of a frame, unpacked, at most.
const MAX_HEADERS: usize = 16 << 10;
/// Headers of a frame, at most.
const MAX_PAIRS: u32 = 64;

/// What headers are full of: draft 3, section 2.6.10.1. Each word has its length before it.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding \
accept-language accept-ranges age allow authorization cache-control connection content-base \
content-encoding content-language content-length content-location content-md5 content-range \
content-type date etag expect expires from host if-match if-modified-since if-none-match if-range \
if-unmodified-since last-modified location max-forwards pragma proxy-authenticate \
proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
user-agent vary via warning www-authenticate method get status 200\u{a0}OK version HTTP/1.1 url \
public set-cookie keep-alive origin";
/// The rest of the dictionary, which is plain text.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417\
502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 \
Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service \
UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, \
Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,\
text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,\
utf-,*,enq=0.";

fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS.split(' ') {
        let word = word.replace('\u{a0}', " ");
        bytes.extend((word.len() as u32).to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(TAIL.as_bytes());
    bytes
}

/// A frame that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// The client opens a stream.
    Open {
        /// Its number, odd.
        stream: u32,
        /// Names in lower case.
        headers: Vec<(String, String)>,
        /// Whether the client will send nothing on it.
        is_last: bool,
    },
    /// Data of a stream.
    Data {
        stream: u32,
        data: Bytes,
        /// Whether the client will send no more on it.
        is_last: bool,
    },
    /// The client gives a stream up.
    Reset { stream: u32 },
    /// To be sent back.
    Ping { id: u32 },
    /// The client will open no more streams.
    GoAway,
    /// Something that changes nothing here.
    Other,
}

/// From bytes to frames.
pub(super) struct Decoder {
    buffer: BytesMut,
    inflate: Decompress,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            inflate: Decompress::new(true),
        }
    }

    /// Takes what came in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame; nothing when more bytes are needed. `Invalid` ends the connection.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        let Some(head) = self.buffer.first_chunk::<8>() else {
            return Ok(None);
        };
        let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let flags = head[4];
        let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
        if length > MAX_FRAME {
            return Err(Error::invalid(format!(
                "SPDY: a frame of {length} bytes: the limit is {MAX_FRAME}"
            )));
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        self.buffer.advance(8);
        let payload = self.buffer.split_to(length).freeze();
        let is_last = flags & 1 != 0;
        if word & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data {
                stream: word,
                data: payload,
                is_last,
            }));
        }
        if word >> 16 & 0x7fff != 3 {
            return Err(Error::invalid("SPDY: only version 3 is spoken"));
        }
        self.control(word as u16, is_last, payload).map(Some)
    }

    fn control(&mut self, kind: u16, is_last: bool, mut payload: Bytes) -> Result<Frame> {
        let number = |payload: &mut Bytes| {
            payload
                .try_get_u32()
                .map(|number| number & 0x7fff_ffff)
                .map_err(|_| Error::invalid("SPDY: a frame is too short"))
        };
        Ok(match kind {
            1 => {
                let stream = number(&mut payload)?;
                number(&mut payload)?;
                if payload.len() < 2 {
                    return Err(Error::invalid("SPDY: a frame is too short"));
                }
                payload.advance(2);
                let headers = self.headers(&payload)?;
                Frame::Open {
                    stream,
                    headers,
                    is_last,
                }
            }
            // Replies and headers are read although nobody wants them: the zlib stream goes on.
            2 | 8 => {
                number(&mut payload)?;
                self.headers(&payload)?;
                Frame::Other
            }
            3 => Frame::Reset {
                stream: number(&mut payload)?,
            },
            6 => Frame::Ping {
                id: payload
                    .try_get_u32()
                    .map_err(|_| Error::invalid("SPDY: a frame is too short"))?,
            },
            7 => Frame::GoAway,
            _ => Frame::Other,
        })
    }

    fn headers(&mut self, packed: &[u8]) -> Result<Vec<(String, String)>> {
        let mut block = Bytes::from(self.unpack(packed)?);
        let short = || Error::invalid("SPDY: the headers are cut off");
        let count = block.try_get_u32().map_err(|_| short())?;
        if count > MAX_PAIRS {
            return Err(Error::invalid(format!(
                "SPDY: more than {MAX_PAIRS} headers"
            )));
        }
        let mut text = || {
            let length = block.try_get_u32().map_err(|_| short())? as usize;
            if length > block.len() {
                return Err(short());
            }
            let bytes = block.split_to(length);
            String::from_utf8(bytes.to_vec())
                .map_err(|_| Error::invalid("SPDY: a header is not valid UTF-8"))
        };
        (0..count).map(|_| Ok((text()?, text()?))).collect()
    }

    fn unpack(&mut self, packed: &[u8]) -> Result<Vec<u8>> {
        let bad = || Error::invalid("SPDY: the headers cannot be unpacked");
        let mut block = Vec::with_capacity(MAX_HEADERS);
        let begin = self.inflate.total_in();
        loop {
            let taken = usize::try_from(self.inflate.total_in() - begin).map_err(|_| bad())?;
            let before = (taken, block.len());
            let rest = &packed[taken..];
            match self
                .inflate
                .decompress_vec(rest, &mut block, FlushDecompress::Sync)
            {
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate
                        .set_dictionary(&dictionary())
                        .map_err(|_| bad())?;
                    continue;
                }
                Err(_) => return Err(bad()),
            }
            let taken = usize::try_from(self.inflate.total_in() - begin).map_err(|_| bad())?;
            if block.len() == block.capacity() {
                return Err(Error::invalid(format!(
                    "SPDY: headers of more than {MAX_HEADERS} bytes"
                )));
            }
            if taken == packed.len() {
                return Ok(block);
            }
            if before == (taken, block.len()) {
                return Err(bad());
            }
        }
    }
}

/// From frames to bytes.
pub(super) struct Encoder {
    deflate: Compress,
    has_dictionary: bool,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            deflate: Compress::new(Compression::best(), true),
            has_dictionary: false,
        }
    }

    /// SYN_REPLY without headers: the stream is taken.
    pub(super) fn reply(&mut self, stream: u32) -> Result<Vec<u8>> {
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend(self.pack(&0_u32.to_be_bytes())?);
        Ok(control(2, &payload))
    }

    fn pack(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        let bad = |_| Error::internal("SPDY: headers could not be packed");
        if !self.has_dictionary {
            self.deflate.set_dictionary(&dictionary()).map_err(bad)?;
            self.has_dictionary = true;
        }
        let mut packed = Vec::with_capacity(block.len() + 64);
        self.deflate
            .compress_vec(block, &mut packed, FlushCompress::Sync)
            .map_err(bad)?;
        Ok(packed)
    }
}

/// Data of a stream; the last of it, when nothing follows.
pub(super) fn data(stream: u32, data: &[u8], is_last: bool) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    let length = (data.len() as u32).to_be_bytes();
    frame.extend([u8::from(is_last), length[1], length[2], length[3]]);
    frame.extend(data);
    frame
}

/// RST_STREAM with a status of section 2.6.3.
pub(super) fn reset(stream: u32, status: u32) -> Vec<u8> {
    control(3, &[stream.to_be_bytes(), status.to_be_bytes()].concat())
}

/// The answer to a ping.
pub(super) fn pong(id: u32) -> Vec<u8> {
    control(6, &id.to_be_bytes())
}

fn control(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3];
    frame.extend(kind.to_be_bytes());
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// What a client sends to open a stream.
    pub(in super::super) struct Client(Encoder);

    impl Client {
        pub(in super::super) fn new() -> Self {
            Self(Encoder::new())
        }

        pub(in super::super) fn open(&mut self, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
            let mut block = (headers.len() as u32).to_be_bytes().to_vec();
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                block.extend((text.len() as u32).to_be_bytes());
                block.extend(text.as_bytes());
            }
            let mut payload = stream.to_be_bytes().to_vec();
            payload.extend([0; 6]);
            payload.extend(self.0.pack(&block).unwrap());
            control(1, &payload)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Client;
    use super::*;

    #[test]
    fn the_dictionary_is_the_one_of_the_draft() {
        let bytes = dictionary();
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in &bytes {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        // The Adler-32 by which zlib streams of SPDY/3 name it.
        assert_eq!((bytes.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn reads_streams_however_they_are_cut() {
        let mut client = Client::new();
        let mut bytes = client.open(1, &[("streamtype", "error"), ("port", "80")]);
        bytes.extend(client.open(3, &[("streamtype", "data"), ("port", "80")]));
        bytes.extend(data(3, b"hello", true));
        bytes.extend(pong(7));
        for piece in [1, 3, bytes.len()] {
            let mut decoder = Decoder::new();
            let mut frames = Vec::new();
            for part in bytes.chunks(piece) {
                decoder.push(part);
                while let Some(frame) = decoder.next().unwrap() {
                    frames.push(frame);
                }
            }
            let [Frame::Open { headers, .. }, second, third, ping] = &frames[..] else {
                panic!("{frames:?}");
            };
            assert_eq!(headers[0], ("streamtype".into(), "error".into()));
            assert!(matches!(second, Frame::Open { stream: 3, .. }));
            let hello = Frame::Data {
                stream: 3,
                data: Bytes::from_static(b"hello"),
                is_last: true,
            };
            assert_eq!((third, ping), (&hello, &Frame::Ping { id: 7 }));
        }
    }

    #[test]
    fn reads_its_own_replies() {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new();
        for stream in [1, 3] {
            decoder.push(&encoder.reply(stream).unwrap());
            assert_eq!(decoder.next().unwrap(), Some(Frame::Other));
        }
        assert_eq!(decoder.next().unwrap(), None);
    }

    #[test]
    fn refuses_bombs() {
        let mut client = Client::new();
        let bomb = "a".repeat(1 << 20);
        let mut decoder = Decoder::new();
        decoder.push(&client.open(1, &[("x", &bomb)]));
        assert!(decoder.next().is_err());
        let mut decoder = Decoder::new();
        decoder.push(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]);
        assert!(decoder.next().is_err());
        let mut decoder = Decoder::new();
        decoder.push(&control(1, &[0; 30]));
        assert!(decoder.next().is_err());
        let mut decoder = Decoder::new();
        decoder.push(&[0x80, 2, 0, 1, 0, 0, 0, 0]);
        assert!(decoder.next().is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(
            kind in 0_u8..12,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            let mut decoder = Decoder::new();
            decoder.push(&control(kind.into(), &bytes));
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
