//! Compresses the stream of a new layer, always the same way: the same layer gives the same blob.

use std::io::{self, Write};
use std::ops::Deref;

use orc_base::{Context, Result};

use crate::unpack::compression::Compression;

/// Two and a half times as fast as the usual 6, for a tenth more bytes (measured).
const GZIP_LEVEL: u32 = 1;
/// What `zstd` itself uses: faster than gzip's fastest and smaller than its best (measured).
const ZSTD_LEVEL: i32 = 3;

/// Writes all `chunks` to `out`, compressed, and gives `out` back.
pub(crate) fn compress<W: Write>(
    chunks: impl IntoIterator<Item: Deref<Target: AsRef<[u8]>>>,
    out: W,
    compression: Compression,
) -> Result<W> {
    match compression {
        Compression::None => copy(chunks, out),
        Compression::Gzip => {
            let level = flate2::Compression::new(GZIP_LEVEL);
            // Without a name or a time in its header.
            copy(chunks, flate2::write::GzEncoder::new(out, level))
                .and_then(flate2::write::GzEncoder::finish)
        }
        Compression::Zstd => zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)
            .and_then(|encoder| copy(chunks, encoder))
            .and_then(zstd::stream::write::Encoder::finish),
        Compression::Xz | Compression::Bzip2 => Err(io::ErrorKind::Unsupported.into()),
    }
    .context(|| "keep the layer")
}

fn copy<W: Write>(
    chunks: impl IntoIterator<Item: Deref<Target: AsRef<[u8]>>>,
    mut out: W,
) -> io::Result<W> {
    for chunk in chunks {
        out.write_all(chunk.as_ref())?;
    }
    Ok(out)
}
