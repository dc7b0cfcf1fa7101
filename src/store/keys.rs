//! What the store's files are encrypted with.
//!
//! A ring of data keys (AES-256-GCM) seals what is written; each is named by a number, and the newest
//! is the one in use. The ring lies beside the data, each key sealed by the key in the key file, so a
//! copy of the data without that file is worth nothing. Whoever reads both reads all: the key file
//! protects backups and lost disks, not a running machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use orc_base::fs::{self, Durability};
use orc_base::{Context as _, Error, Kind, Result, id};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

/// Bytes that sealing adds: the nonce before, the tag behind.
pub(crate) const OVERHEAD: usize = NONCE_LEN + 16;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes of the file of the ring, at most: some thousand keys.
const RING_BYTES: u64 = 1 << 20;

/// The data keys of one member.
pub(crate) struct Keys {
    ring: RwLock<Ring>,
}

struct Ring {
    keys: BTreeMap<u32, LessSafeKey>,
    /// What lies on disk; nothing for a ring that lives in memory.
    file: Option<RingFile>,
}

/// The ring as it lies on disk.
#[derive(Serialize, Deserialize)]
struct RingFile {
    version: u32,
    keys: BTreeMap<u32, Vec<u8>>,
}

impl Keys {
    /// Reads the ring at `ring`, sealed by the key in `key_file`; makes both when there is no ring yet.
    /// `NotFound` when the ring is there and the key file is not, `Denied` when it is not the right one.
    pub(crate) fn open(ring: &Path, key_file: &Path) -> Result<Self> {
        let opened = match fs::read_json::<RingFile>(ring, RING_BYTES) {
            Ok(file) => Self::read(file, &read_key(key_file)?),
            Err(error) if error.kind() == Kind::NotFound => Self::make(ring, key_file),
            Err(error) => Err(error),
        };
        opened.context(|| format!("open the keys of the store in {}", ring.display()))
    }

    /// A ring of one random key that is kept nowhere.
    #[cfg(test)]
    pub(crate) fn ephemeral() -> Self {
        Self::of(random_key())
    }

    /// A ring of this key alone, for a backup.
    pub(crate) fn of(key: [u8; KEY_BYTES]) -> Self {
        let ring = Ring {
            keys: BTreeMap::from([(1, sealing(&key))]),
            file: None,
        };
        Self {
            ring: RwLock::new(ring),
        }
    }

    fn read(file: RingFile, wrapping: &LessSafeKey) -> Result<Self> {
        if file.version != 1 {
            return Err(Error::unsupported(format!(
                "the ring has version {}: this orc reads version 1",
                file.version
            )));
        }
        let mut keys = BTreeMap::new();
        for (number, sealed) in &file.keys {
            let key = open(wrapping, &about(*number), sealed.clone())
                .map_err(|_| Error::denied("the key file is not the one the ring was made with"))?;
            let key = <[u8; KEY_BYTES]>::try_from(key)
                .map_err(|_| Error::invalid(format!("key {number} has another length")))?;
            keys.insert(*number, sealing(&key));
        }
        if keys.is_empty() {
            return Err(Error::invalid("the ring has no keys"));
        }
        let ring = Ring {
            keys,
            file: Some(file),
        };
        Ok(Self {
            ring: RwLock::new(ring),
        })
    }

    fn make(ring: &Path, key_file: &Path) -> Result<Self> {
        let wrapping = match read_key(key_file) {
            Err(error) if error.kind() == Kind::NotFound => {
                fs::write_atomic(key_file, &random_key(), Durability::Synced)?;
                read_key(key_file)?
            }
            other => other?,
        };
        let mut file = RingFile {
            version: 1,
            keys: BTreeMap::new(),
        };
        file.keys
            .insert(1, seal(&wrapping, &about(1), &random_key())?);
        fs::write_json(ring, &file, Durability::Synced)?;
        Self::read(file, &wrapping)
    }

    /// Adds a key, which is used from the next file on. What the older ones sealed stays readable.
    pub(crate) fn rotate(&self, ring: &Path, key_file: &Path) -> Result<()> {
        let wrapping = read_key(key_file)?;
        let mut held = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let number = newest(&held.keys) + 1;
        let key = random_key();
        let sealed = seal(&wrapping, &about(number), &key)?;
        if let Some(file) = &mut held.file {
            file.keys.insert(number, sealed);
            fs::write_json(ring, file, Durability::Synced)?;
        }
        held.keys.insert(number, sealing(&key));
        Ok(())
    }

    /// The key that new files are sealed with.
    pub(crate) fn current(&self) -> u32 {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        newest(&ring.keys)
    }

    /// Seals bytes; `about` must be given again to open them.
    pub(crate) fn seal(&self, key: u32, about: &[u8], bytes: &[u8]) -> Result<Vec<u8>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        seal(of(&ring, key)?, about, bytes)
    }

    /// Opens what [`Keys::seal`] made. `NotFound` when the key is not in the ring, `Invalid` when the
    /// bytes are not what was sealed.
    pub(crate) fn open_sealed(&self, key: u32, about: &[u8], sealed: Vec<u8>) -> Result<Vec<u8>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        open(of(&ring, key)?, about, sealed)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

fn newest(keys: &BTreeMap<u32, LessSafeKey>) -> u32 {
    keys.last_key_value().map_or(0, |(number, _)| *number)
}

fn of(ring: &Ring, key: u32) -> Result<&LessSafeKey> {
    ring.keys
        .get(&key)
        .ok_or_else(|| Error::not_found(format!("key {key} is not in the ring")))
}

fn about(number: u32) -> Vec<u8> {
    format!("orc store key {number}").into_bytes()
}

pub(crate) fn random_key() -> [u8; KEY_BYTES] {
    id::random_bytes()
}

fn read_key(path: &Path) -> Result<LessSafeKey> {
    let bytes = fs::read_limited(path, KEY_BYTES as u64)?;
    let key = <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| {
        Error::invalid(format!(
            "the key file {} must have {KEY_BYTES} bytes",
            path.display()
        ))
    })?;
    Ok(sealing(&key))
}

fn sealing(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes any 32 bytes");
    LessSafeKey::new(key)
}

fn seal(key: &LessSafeKey, about: &[u8], bytes: &[u8]) -> Result<Vec<u8>> {
    let nonce: [u8; NONCE_LEN] = id::random_bytes();
    let mut sealed = Vec::with_capacity(bytes.len() + OVERHEAD);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(bytes);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(about),
            &mut sealed[NONCE_LEN..],
        )
        .map_err(|_| Error::exhausted("too many bytes to seal at once"))?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn open(key: &LessSafeKey, about: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>> {
    let damaged = || Error::invalid("it does not open with its key");
    let (nonce, rest) = sealed
        .split_first_chunk_mut::<NONCE_LEN>()
        .ok_or_else(damaged)?;
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let length = key
        .open_in_place(nonce, Aad::from(about), rest)
        .map_err(|_| damaged())?
        .len();
    sealed.drain(..NONCE_LEN);
    sealed.truncate(length);
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_opens_with_its_key_file_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let (ring, key_file) = (place.path().join("keys"), place.path().join("key"));
        let keys = Keys::open(&ring, &key_file).unwrap();
        let sealed = keys.seal(keys.current(), b"about", b"planted").unwrap();
        keys.rotate(&ring, &key_file).unwrap();
        assert_eq!(keys.current(), 2);
        let newer = keys.seal(2, b"about", b"later").unwrap();
        for path in [&ring, &key_file] {
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }

        let again = Keys::open(&ring, &key_file).unwrap();
        let opened = again.open_sealed(1, b"about", sealed.clone()).unwrap();
        assert_eq!(opened, b"planted");
        assert_eq!(again.open_sealed(2, b"about", newer).unwrap(), b"later");
        let other = again.open_sealed(1, b"other", sealed.clone());
        assert_eq!(other.unwrap_err().kind(), Kind::Invalid);
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(again.open_sealed(1, b"about", bad).is_err(), "byte {at}");
            assert!(
                again
                    .open_sealed(1, b"about", sealed[..at].to_vec())
                    .is_err()
            );
        }

        std::fs::write(&key_file, [7; 32]).unwrap();
        assert_eq!(
            Keys::open(&ring, &key_file).unwrap_err().kind(),
            Kind::Denied
        );
        std::fs::remove_file(&key_file).unwrap();
        assert_eq!(
            Keys::open(&ring, &key_file).unwrap_err().kind(),
            Kind::NotFound
        );
    }
}
