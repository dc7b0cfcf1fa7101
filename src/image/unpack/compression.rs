//! Tells how a stream is compressed by its first bytes, and takes the compression off.
//!
//! Everything happens in this process: no decompressor is ever searched or run.

use std::io::{BufRead, Read};

use orc_base::{Context, Error, Result};

use crate::unpack::limits::MAX_WINDOW_LOG;

/// How many first bytes decide, and say how much memory it takes: the longest header of a zstd frame
/// has 18, the headers of an xz stream and its first block with one filter have up to 36.
pub const MAGIC_BYTES: usize = 48;
/// What a decoder of xz needs besides its dictionary.
const XZ_EXTRA_KIB: u32 = 1024;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, of any number of members.
    Gzip,
    /// RFC 8878, of any number of frames. Skippable ones hold the table of contents of zstd:chunked
    /// layers, which nobody needs who reads all.
    Zstd,
    /// The XZ file format 1.2, of any number of streams. In no layer of a registry.
    Xz,
    /// What bzip2(1) writes, of any number of streams. In no layer of a registry.
    Bzip2,
}

impl Compression {
    /// Judges the first [`MAGIC_BYTES`] bytes, or fewer when there are no more.
    pub fn detect(start: &[u8]) -> Result<Self> {
        let foreign: [(&[u8], &str); 2] = [(b"LZIP", "lzip"), (b"PK\x03\x04", "zip")];
        if let Some((_, name)) = foreign.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(Error::unsupported(format!(
                "the archive is compressed with {name}: gzip, zstd, xz, bzip2 and plain tar are supported"
            )));
        }
        Ok(match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        })
    }

    /// Whether a layer that is compressed like this may be kept and pushed as it is.
    pub fn is_of_layers(self) -> bool {
        !matches!(self, Self::Xz | Self::Bzip2)
    }

    /// The stream without its compression. Meant for its start: [`Compression::decoder_within`] bounds
    /// the memory that the whole takes.
    pub fn decoder<'r>(
        self,
        reader: impl BufRead + Send + 'r,
    ) -> Result<Box<dyn Read + Send + 'r>> {
        self.decoder_within(reader, MAX_WINDOW_LOG)
    }

    /// The stream without its compression; the windows of zstd and the dictionaries of xz have at most
    /// two to the power of `window_log` bytes.
    pub(crate) fn decoder_within<'r>(
        self,
        reader: impl BufRead + Send + 'r,
        window_log: u32,
    ) -> Result<Box<dyn Read + Send + 'r>> {
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
            Self::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(reader).context(|| "start zstd")?;
                decoder
                    .window_log_max(window_log)
                    .context(|| "limit the window of zstd")?;
                Box::new(decoder)
            }
            Self::Xz => {
                let limit_kib = (1 << (window_log - 10)) + XZ_EXTRA_KIB;
                Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, limit_kib))
            }
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        })
    }

    /// The word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// The media type of a layer compressed like this; where no registry takes it, of a plain one.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None | Self::Xz | Self::Bzip2 => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::testing::{bzip2, xz};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    fn unpack(bytes: &[u8]) -> std::result::Result<Vec<u8>, String> {
        let compression = Compression::detect(bytes).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        let mut decoder = compression.decoder(bytes).unwrap();
        let read = decoder.read_to_end(&mut out);
        read.map(|_| out).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_several_members_and_frames() {
        for pack in [gzip, zstd, xz, bzip2] {
            let both = [pack(b"one "), pack(b"two")].concat();
            assert_eq!(unpack(&both).unwrap(), b"one two");
        }
        assert_eq!(unpack(b"plain").unwrap(), b"plain");
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn passes_over_skippable_frames() {
        let skippable = |kind: u8| [&[kind, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"table"].concat();
        let all = [
            skippable(0x50),
            zstd(b"one "),
            skippable(0x5f),
            zstd(b"two"),
            skippable(0x5e),
        ]
        .concat();
        assert_eq!(unpack(&all).unwrap(), b"one two");
        assert!(unpack(&all[..all.len() - 1]).is_err());
        assert!(
            unpack(&all[..3]).is_ok(),
            "too short to be anything but plain"
        );
    }

    #[test]
    fn refuses_truncation_and_trailing_garbage() {
        for pack in [gzip, zstd, xz, bzip2] {
            let whole = pack(&[7; 10_000]);
            for cut in 6..whole.len() {
                assert!(unpack(&whole[..cut]).is_err(), "cut at {cut}");
            }
            assert!(unpack(&[&whole[..], b"garbage"].concat()).is_err());
        }
        assert!(unpack(b"LZIP\x01....").unwrap_err().contains("lzip"));
    }

    #[test]
    fn refuses_a_huge_zstd_window() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(MAX_WINDOW_LOG + 1).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&vec![0; 1 << 16]).unwrap();
        let bytes = encoder.finish().unwrap();
        assert!(unpack(&bytes).is_err());
    }
}
