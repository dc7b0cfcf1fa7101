//! Makes the images that are pulled, always the same bytes, as OCI layouts that `skopeo` pushes.
//!
//! What is in them is invented, but shaped like what people ship: three quarters is text made of
//! words, which gzip makes three times smaller, the rest looks like machine code; most files are small
//! and a few hold half of the bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The shape of an image.
pub(crate) struct Shape {
    /// What it is called, here and on the registry.
    pub(crate) name: &'static str,
    /// How many layers it has.
    pub(crate) layers: usize,
    /// How many files each of them has.
    pub(crate) files: usize,
    /// How many bytes each of them has, before compression.
    pub(crate) layer_bytes: usize,
}

/// An image on disk.
pub(crate) struct Layout {
    /// Where it is.
    pub(crate) directory: PathBuf,
    /// Its layers, as gzip files.
    pub(crate) layers: Vec<PathBuf>,
    /// Bytes of all layers as they are moved.
    pub(crate) packed_bytes: u64,
    /// Bytes of all layers as they are unpacked.
    pub(crate) bytes: u64,
}

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Writes an image below `place`.
pub(crate) fn make(place: &Path, shape: &Shape) -> io::Result<Layout> {
    let directory = place.join(shape.name);
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs)?;
    let words = Words::new();
    let (mut diff_ids, mut descriptors, mut layers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut packed_bytes, mut bytes) = (0, 0);
    for index in 0..shape.layers {
        let path = directory.join("layer");
        let file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        let packer = GzEncoder::new(Hashed::new(file), Compression::default());
        let mut tar = tar::Builder::new(Hashed::new(packer));
        fill(&mut tar, shape, index, &words)?;
        let (packer, diff_id, unpacked) = tar.into_inner()?.finish();
        let (mut file, digest, packed) = packer.finish()?.finish();
        file.flush()?;
        std::fs::rename(&path, blobs.join(&digest))?;
        layers.push(blobs.join(&digest));
        descriptors.push(descriptor(GZIP, &digest, packed));
        diff_ids.push(format!("sha256:{diff_id}"));
        packed_bytes += packed;
        bytes += unpacked;
    }
    let config = json!({
        "os": "linux",
        "architecture": std::env::consts::ARCH.replace("x86_64", "amd64").replace("aarch64", "arm64"),
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = put(&blobs, CONFIG, &config)?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors,
    });
    let manifest = put(&blobs, MANIFEST, &manifest)?;
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(directory.join("index.json"), index.to_string())?;
    let version = json!({"imageLayoutVersion": "1.0.0"});
    std::fs::write(directory.join("oci-layout"), version.to_string())?;
    Ok(Layout {
        directory,
        layers,
        packed_bytes,
        bytes,
    })
}

fn descriptor(media_type: &str, digest: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size})
}

fn put(blobs: &Path, media_type: &str, document: &Value) -> io::Result<Value> {
    let bytes = document.to_string();
    let digest = hex(&Sha256::digest(&bytes));
    std::fs::write(blobs.join(&digest), &bytes)?;
    Ok(descriptor(media_type, &digest, bytes.len() as u64))
}

/// One directory for each fifty files, and a larger file for each hundred small ones.
fn fill(
    tar: &mut tar::Builder<impl Write>,
    shape: &Shape,
    layer: usize,
    words: &Words,
) -> io::Result<()> {
    let mut dice = Dice(0x9e37_79b9 + layer as u64);
    let large = shape.files.div_ceil(100);
    let small_bytes = shape.layer_bytes / 2 / shape.files;
    let large_bytes = shape.layer_bytes / 2 / large;
    let mut data = Vec::new();
    for number in 0..shape.files {
        let directory = format!("usr/share/l{layer}/d{:03}", number / 50);
        if number % 50 == 0 {
            let mut header = header(tar::EntryType::Directory, 0o755, 0);
            tar.append_data(&mut header, format!("{directory}/"), io::empty())?;
        }
        // Between nothing and twice the mean.
        let size = match number % 100 {
            0 => large_bytes,
            _ => dice.below(2 * small_bytes),
        };
        words.fill(&mut data, size, number % 4 == 0, &mut dice);
        let mut header = header(tar::EntryType::Regular, 0o644, size);
        tar.append_data(&mut header, format!("{directory}/f{number:05}"), &*data)?;
    }
    Ok(())
}

fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A generator of numbers that look random and are always the same (Marsaglia's xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() >> 33) as usize % limit.max(1)
    }
}

/// How many words there are: so few that gzip makes texts three times smaller.
const WORDS: usize = 512;

/// What texts are made of.
struct Words(Vec<String>);

impl Words {
    fn new() -> Self {
        let mut dice = Dice(42);
        let mut word = || -> String {
            let length = 2 + dice.below(9);
            let letter = |_| b"etaoinshrdlcumwfgypbvk"[dice.below(22)] as char;
            (0..length).map(letter).collect()
        };
        Self((0..WORDS).map(|_| word()).collect())
    }

    /// Frequent words come first, as in all texts.
    fn one(&self, dice: &mut Dice) -> &str {
        let spread = dice.below(WORDS) * dice.below(WORDS) / WORDS;
        &self.0[spread * dice.below(WORDS) / WORDS]
    }

    fn fill(&self, data: &mut Vec<u8>, size: usize, binary: bool, dice: &mut Dice) {
        data.clear();
        while data.len() < size {
            match binary {
                // Instructions: few opcodes, many operands.
                true => {
                    let number = dice.roll();
                    data.extend_from_slice(&[0x48, b"\x89\x8b\x8d\xe8"[(number & 3) as usize]]);
                    data.extend_from_slice(&(number >> 48).to_le_bytes()[..2]);
                    data.extend_from_slice(&[0, 0, 0, 0]);
                }
                false => {
                    data.extend_from_slice(self.one(dice).as_bytes());
                    data.push(if dice.below(12) == 0 { b'\n' } else { b' ' });
                }
            }
        }
        data.truncate(size);
    }
}

/// Hashes and counts what is written through it.
struct Hashed<W> {
    out: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    fn finish(self) -> (W, String, u64) {
        (self.out, hex(&self.hasher.finalize()), self.bytes)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
