//! Files of the content store that are not whole yet.
//!
//! A [`Partial`] knows the digest it must end with and survives a crash, so that a download can go on;
//! an [`Incoming`] learns its digest at the end and does not. Both hash while they write, and neither
//! becomes visible under a digest its bytes do not have.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use orc_base::{Context, Error, Result, fs, id};

use crate::digest::{Digest, Hasher};

const INCOMING: &str = ".incoming-";
/// How many bytes are hashed at once of what was here before.
const CHUNK_BYTES: usize = 256 << 10;

/// A blob on its way, whose bytes are appended in order.
///
/// Dropping it keeps what was written: the next [`crate::content::Content::partial`] goes on there.
/// What an earlier one has left is hashed before the first byte is added to it.
#[derive(Debug)]
pub struct Partial {
    digest: Digest,
    file: File,
    path: PathBuf,
    target: PathBuf,
    hasher: Hasher,
    /// How many bytes the hasher has seen.
    hashed: u64,
    offset: u64,
}

impl Partial {
    pub(crate) fn open(digest: &Digest, path: PathBuf, target: PathBuf) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::conflict("someone else is writing it"))?;
        let offset = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            digest: digest.clone(),
            file,
            path,
            target,
            hasher: digest.hasher(),
            hashed: 0,
            offset,
        })
    }

    /// The file opened once more, for whoever reads what was written. No duplicate of the descriptor:
    /// that would keep the lock, however long someone reads (flock(2)).
    pub(crate) fn reader(&self) -> Result<File> {
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(libc::O_NOFOLLOW);
        options
            .open(&self.path)
            .context(|| format!("read blob {} as it comes", self.digest))
    }

    /// How many bytes are here. It may be all of them: then [`Partial::finish`] at once.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds the bytes that follow.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.catch_up()?;
        let written = self.file.write_all(bytes);
        if written.is_err() {
            // A full disk may have taken a part: keep the file and the hash telling the same story.
            let _ = self.file.set_len(self.offset);
            let _ = self.file.seek(SeekFrom::Start(self.offset));
        }
        written.context(|| format!("write blob {}", self.digest))?;
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        self.hashed = self.offset;
        Ok(())
    }

    /// Hashes what was here when it was opened.
    fn catch_up(&mut self) -> Result<()> {
        let behind = self.offset - self.hashed;
        let mut buffer = vec![0; CHUNK_BYTES.min(behind as usize)];
        while self.hashed < self.offset {
            let count = buffer.len().min((self.offset - self.hashed) as usize);
            self.file
                .read_exact_at(&mut buffer[..count], self.hashed)
                .context(|| format!("read what is here of blob {}", self.digest))?;
            self.hasher.update(&buffer[..count]);
            self.hashed += count as u64;
        }
        Ok(())
    }

    /// Forgets what is here and begins anew, when it is of no use.
    pub fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .context(|| format!("begin blob {} anew", self.digest))?;
        self.hasher = self.digest.hasher();
        self.hashed = 0;
        self.offset = 0;
        Ok(())
    }

    /// Compares size and digest and makes the blob visible. When they differ the bytes are removed:
    /// going on from wrong bytes can never succeed.
    pub fn finish(mut self, expected_size: u64) -> Result<()> {
        self.catch_up()?;
        let verdict = self.verdict(expected_size);
        if let Err(error) = verdict {
            self.discard()?;
            return Err(error);
        }
        std::fs::rename(&self.path, &self.target).context(|| format!("keep blob {}", self.digest))
    }

    /// Removes what is here.
    pub fn discard(self) -> Result<()> {
        fs::remove_file(&self.path)
    }

    fn verdict(&self, expected_size: u64) -> Result<()> {
        if self.offset != expected_size {
            return Err(Error::invalid(format!(
                "blob {} has {} bytes, but {expected_size} were announced",
                self.digest, self.offset
            )));
        }
        let digest = self.hasher.clone().finish();
        if digest != self.digest {
            return Err(Error::invalid(format!(
                "blob {} has the digest {digest}: its bytes are not what was announced",
                self.digest
            )));
        }
        Ok(())
    }
}

/// Bytes that get their name when all of them are here. Removed when dropped before.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size: u64,
}

impl Incoming {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let path = Self::unique(directory);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .context(|| format!("make {}", path.display()))?;
        Ok(Self {
            file,
            path,
            hasher: Hasher::sha256(),
            size: 0,
        })
    }

    /// A name for bytes without one.
    pub(crate) fn unique(directory: &Path) -> PathBuf {
        let unique = id::hex(&id::random_bytes::<8>());
        directory.join(format!("{INCOMING}{unique}"))
    }

    /// Whether a file in the directory of partial blobs is one of these.
    pub(crate) fn owns(path: &Path) -> bool {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(INCOMING))
    }

    pub(crate) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn rename(self, target: &Path) -> Result<()> {
        std::fs::rename(&self.path, target).context(|| format!("keep {}", target.display()))
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After `rename` the path is free already, and its name is never used again.
        let _ = std::fs::remove_file(&self.path);
    }
}
