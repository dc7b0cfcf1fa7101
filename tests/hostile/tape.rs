//! Archives for tests, written by hand so that they can be as wrong as a test needs them.

use std::io::Write;

/// A tar archive under construction.
#[derive(Debug, Clone, Default)]
pub struct Tape(Vec<u8>);

/// An empty tape.
pub fn tape() -> Tape {
    Tape::default()
}

/// Puts the right checksum into the header at `at`.
pub fn checksum(bytes: &mut [u8], at: usize) {
    let Some(header) = bytes.get_mut(at..at + 512) else {
        return;
    };
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn header(kind: u8, name: &str, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let name = &name.as_bytes()[..name.len().min(100)];
    header[..name.len()].copy_from_slice(name);
    header[100..107].copy_from_slice(match kind {
        b'5' => b"0000755",
        _ => b"0000644",
    });
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    let digits = format!("{size:011o}");
    match digits.len() {
        11 => header[124..135].copy_from_slice(digits.as_bytes()),
        _ => {
            header[124] = 0x80;
            header[128..136].copy_from_slice(&size.to_be_bytes());
        }
    }
    header[136..147].copy_from_slice(b"14000000000");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    header
}

impl Tape {
    fn push(mut self, mut header: [u8; 512], data: &[u8]) -> Self {
        checksum(&mut header, 0);
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// A regular file.
    pub fn file(self, name: &str, data: &[u8]) -> Self {
        self.push(header(b'0', name, data.len() as u64), data)
    }

    /// A regular file whose header lies about its size.
    pub fn raw_file(self, name: &str, size: u64, data: &[u8]) -> Self {
        self.push(header(b'0', name, size), data)
    }

    /// A directory.
    pub fn directory(self, name: &str) -> Self {
        self.push(header(b'5', name, 0), b"")
    }

    /// An entry of any kind with a link target.
    pub fn link(self, kind: u8, name: &str, target: &str) -> Self {
        let mut header = header(kind, name, 0);
        header[157..157 + target.len()].copy_from_slice(target.as_bytes());
        self.push(header, b"")
    }

    /// A header changed by hand.
    pub fn raw(self, change: impl FnOnce(&mut [u8; 512])) -> Self {
        self.raw_with_data(b"", change)
    }

    /// A header changed by hand, with data behind it.
    pub fn raw_with_data(self, data: &[u8], change: impl FnOnce(&mut [u8; 512])) -> Self {
        let mut header = header(b'0', "raw", data.len() as u64);
        change(&mut header);
        self.push(header, data)
    }

    /// An extension header.
    pub fn extension(self, kind: u8, data: &[u8]) -> Self {
        self.push(header(kind, "extension", data.len() as u64), data)
    }

    /// A PAX header with these records.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let bytes: Vec<u8> = records
            .iter()
            .flat_map(|one| record(one.0, one.1))
            .collect();
        self.extension(b'x', &bytes)
    }

    /// Bytes as they are, even when they are no whole block.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The bytes without an end marker.
    pub fn done(self) -> Vec<u8> {
        self.0
    }

    /// The bytes with an end marker.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// One PAX record with the right length.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = body.len() + 1;
    while length != body.len() + length.to_string().len() {
        length = body.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &body].concat()
}

/// Bytes compressed with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// Bytes compressed with zstd.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).expect("memory takes all")
}
