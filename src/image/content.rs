//! Blobs on disk, each under the digest of its bytes.
//!
//! ```text
//! <directory>/sha256/<hex>           whole and verified
//! <directory>/partial/sha256-<hex>   a download that may go on
//! <directory>/partial/.incoming-*    bytes whose digest is not known yet
//! ```
//!
//! A name outside `partial` only ever appears by a rename of a file whose digest was compared. Bytes
//! are not synced one blob at a time: whoever makes an image visible syncs the file system first
//! (`store`), and blobs that no image needs after a restart are partial again ([`Content::demote`]),
//! because a power loss may have eaten them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orc_base::{Context, Error, Kind, Result, Time, fs};

use crate::digest::{Algorithm, Digest};
use crate::flight::{Flight, Flights};
use crate::partial::{Incoming, Partial};

/// The blobs below one directory. Clones share everything.
#[derive(Debug, Clone)]
pub struct Content {
    directory: Arc<Path>,
    flights: Arc<Flights<Digest>>,
}

impl Content {
    /// Opens the store at `directory` and makes it when it is missing.
    pub fn open(directory: &Path) -> Result<Self> {
        for child in ["sha256", "sha512", "partial"] {
            fs::create_dir_all(&directory.join(child), 0o700)
                .context(|| format!("make the content store {}", directory.display()))?;
        }
        Ok(Self {
            directory: directory.into(),
            flights: Arc::default(),
        })
    }

    /// Whether the blob is here, whole.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Where the blob is when it is here.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.directory
            .join(digest.algorithm().name())
            .join(digest.hex())
    }

    /// How many bytes the blob has.
    pub fn size(&self, digest: &Digest) -> Result<u64> {
        Ok(self.open_blob(digest)?.metadata()?.len())
    }

    /// Opens a blob for streaming; whoever streams compares what matters.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).map_err(|error| missing(error, digest))
    }

    /// Reads a small blob of at most `limit` bytes and compares its digest, so that a bit that flipped
    /// on disk is an error here and not a surprise later.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .context(|| format!("read blob {digest}"))?;
        if bytes.len() as u64 > limit {
            return Err(Error::exhausted(format!(
                "blob {digest} is larger than {limit} bytes"
            )));
        }
        if !digest.matches(&bytes) {
            return Err(Error::internal(format!(
                "blob {digest} is damaged on disk: remove the image and pull it again"
            )));
        }
        Ok(bytes)
    }

    /// Whether the bytes of a blob still have its digest. Reads all of them.
    pub fn is_sound(&self, digest: &Digest) -> Result<bool> {
        let mut file = self.open_blob(digest)?;
        let mut hasher = digest.hasher();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish() == *digest),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(|| format!("read blob {digest}")),
            }
        }
    }

    /// Keeps bytes that are all here already.
    pub fn write_whole(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if !digest.matches(bytes) {
            return Err(Error::invalid(format!(
                "the bytes of blob {digest} have another digest"
            )));
        }
        if self.contains(digest) {
            return Ok(());
        }
        fs::write_atomic(&self.path(digest), bytes, fs::Durability::Process)
            .context(|| format!("keep blob {digest}"))
    }

    /// Goes on with the download of a blob, or begins it. Reads what is there already to rebuild the
    /// hash; hold the blob's [`Content::lock`], for a second writer is refused.
    pub fn partial(&self, digest: &Digest) -> Result<Partial> {
        Partial::open(digest, self.partial_path(digest), self.path(digest))
            .context(|| format!("download blob {digest}"))
    }

    /// Takes in bytes whose digest is only known at their end.
    pub fn incoming(&self) -> Result<Incoming> {
        Incoming::create(&self.directory.join("partial"))
    }

    /// Keeps what came in, and says what it is: its digest and size.
    pub fn keep(&self, incoming: Incoming) -> Result<(Digest, u64)> {
        let (digest, size) = (incoming.digest(), incoming.size());
        incoming.rename(&self.path(&digest))?;
        Ok((digest, size))
    }

    /// Waits until nobody else fetches this blob. Look again with [`Content::contains`] afterwards.
    pub async fn lock(&self, digest: &Digest) -> Flight {
        self.flights.lock(digest).await
    }

    /// The digests of all whole blobs.
    pub fn list(&self) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for path in fs::list(&self.directory.join(algorithm.name()))? {
                let name = path.file_name().and_then(|name| name.to_str());
                let digest =
                    name.and_then(|hex| format!("{}:{hex}", algorithm.name()).parse().ok());
                digests.extend(digest);
            }
        }
        Ok(digests)
    }

    /// Removes a blob; fine when it is gone already.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        fs::remove_file(&self.path(digest))
    }

    /// Makes a whole blob partial again: its digest is compared before anyone relies on it.
    pub fn demote(&self, digest: &Digest) -> Result<()> {
        std::fs::rename(self.path(digest), self.partial_path(digest))
            .context(|| format!("doubt blob {digest}"))
    }

    /// Puts a blob whose bytes are bad where nobody sees it; fine when it is missing.
    pub(crate) fn set_aside(&self, digest: &Digest) -> Result<Aside> {
        let aside = Aside {
            path: self.path(digest),
            // What a crash leaves here is removed at the start, as other bytes without a name are.
            aside: Incoming::unique(&self.directory.join("partial")),
        };
        match std::fs::rename(&aside.path, &aside.aside).map_err(Error::from) {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Ok(aside),
        }
    }

    /// Downloads that nobody went on with for longer than `age`, and bytes without a name.
    pub(crate) fn strays(&self, now: Time, age: Duration) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
        let (mut stale, mut nameless) = (Vec::new(), Vec::new());
        for path in fs::list(&self.directory.join("partial"))? {
            let Ok(metadata) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            let touched = metadata.modified().map_or(Time::EPOCH, Time::from);
            match Incoming::owns(&path) {
                true => nameless.push(path),
                false if now.since(touched) >= age => stale.push(path),
                false => {}
            }
        }
        Ok((stale, nameless))
    }

    /// Removes what a crash left and nobody can go on with. Only for the owner, before first use.
    pub fn remove_leftovers(&self) -> Result<()> {
        for child in ["sha256", "sha512"] {
            fs::remove_leftovers(&self.directory.join(child))?;
        }
        for path in fs::list(&self.directory.join("partial"))? {
            if Incoming::owns(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes downloads that nobody went on with for longer than `age`.
    pub fn remove_stale_partials(&self, now: Time, age: Duration) -> Result<()> {
        for path in fs::list(&self.directory.join("partial"))? {
            if Incoming::owns(&path) {
                continue;
            }
            let Ok(metadata) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            let touched = metadata.modified().map_or(Time::EPOCH, Time::from);
            if now.since(touched) >= age {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("partial").join(format!(
            "{}-{}",
            digest.algorithm().name(),
            digest.hex()
        ))
    }
}

/// A blob that nobody sees.
#[derive(Debug)]
pub(crate) struct Aside {
    path: PathBuf,
    aside: PathBuf,
}

impl Aside {
    /// Removes the bytes.
    pub(crate) fn discard(self) -> Result<()> {
        fs::remove_file(&self.aside)
    }

    /// Makes them visible again, unless there are better ones.
    pub(crate) fn restore(self) -> Result<()> {
        match std::fs::hard_link(&self.aside, &self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                let error = Error::from(error);
                match error.kind() {
                    // It was missing from the start.
                    Kind::NotFound => Ok(()),
                    _ => Err(error),
                }
            }
            _ => fs::remove_file(&self.aside),
        }
    }
}

fn missing(error: std::io::Error, digest: &Digest) -> Error {
    let error = Error::from(error);
    match error.kind() {
        Kind::NotFound => Error::not_found(format!("blob {digest} is not here")),
        _ => error.within(format!("open blob {digest}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Content) {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::open(&dir.path().join("blobs")).unwrap();
        (dir, content)
    }

    fn names(content: &Content, child: &str) -> usize {
        fs::list(&content.directory.join(child)).unwrap().len()
    }

    #[test]
    fn keeps_whole_blobs_and_refuses_wrong_ones() {
        let (_dir, content) = store();
        let digest = Digest::of(b"hello");
        assert!(!content.contains(&digest));
        assert_eq!(
            content.read(&digest, 10).unwrap_err().kind(),
            Kind::NotFound
        );
        assert!(content.write_whole(&digest, b"other").is_err());
        assert!(!content.contains(&digest));
        content.write_whole(&digest, b"hello").unwrap();
        content.write_whole(&digest, b"hello").unwrap();
        assert_eq!(content.read(&digest, 5).unwrap(), b"hello");
        assert_eq!(content.size(&digest).unwrap(), 5);
        assert_eq!(
            content.read(&digest, 4).unwrap_err().kind(),
            Kind::Exhausted
        );
        assert_eq!(content.list().unwrap(), std::slice::from_ref(&digest));
        content.remove(&digest).unwrap();
        content.remove(&digest).unwrap();
        assert!(!content.contains(&digest));
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let (_dir, content) = store();
        let digest = Digest::of(b"hello");
        content.write_whole(&digest, b"hello").unwrap();
        assert!(content.is_sound(&digest).unwrap());
        std::fs::write(content.path(&digest), b"hellp").unwrap();
        assert!(!content.is_sound(&digest).unwrap());
        let error = content.read(&digest, 10).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }

    #[test]
    fn resumes_where_it_stopped() {
        let (_dir, content) = store();
        let digest = Digest::of(b"hello world");
        let mut partial = content.partial(&digest).unwrap();
        partial.append(b"hello ").unwrap();
        assert!(content.partial(&digest).is_err(), "two writers");
        drop(partial);
        let mut partial = content.partial(&digest).unwrap();
        assert_eq!(partial.offset(), 6);
        partial.append(b"world").unwrap();
        partial.finish(11).unwrap();
        assert_eq!(content.read(&digest, 100).unwrap(), b"hello world");
        assert_eq!(names(&content, "partial"), 0);
    }

    #[test]
    fn wrong_bytes_or_size_leave_nothing() {
        let (_dir, content) = store();
        let digest = Digest::of(b"hello");
        for (bytes, size) in [(&b"hellp"[..], 5), (b"hello", 6), (b"hell", 5), (b"", 0)] {
            let mut partial = content.partial(&digest).unwrap();
            partial.append(bytes).unwrap();
            let error = partial.finish(size).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{error}");
            assert!(!content.contains(&digest));
            assert_eq!(names(&content, "partial"), 0);
        }
    }

    #[test]
    fn a_doubted_blob_is_compared_again() {
        let (_dir, content) = store();
        let digest = Digest::of(b"hello");
        content.write_whole(&digest, b"hello").unwrap();
        content.demote(&digest).unwrap();
        assert!(!content.contains(&digest));
        let partial = content.partial(&digest).unwrap();
        assert_eq!(partial.offset(), 5);
        partial.finish(5).unwrap();
        assert!(content.contains(&digest));
    }

    #[test]
    fn names_incoming_bytes_by_what_they_are() {
        let (_dir, content) = store();
        let mut incoming = content.incoming().unwrap();
        std::io::Write::write_all(&mut incoming, b"hello").unwrap();
        let (digest, size) = content.keep(incoming).unwrap();
        assert_eq!((digest.clone(), size), (Digest::of(b"hello"), 5));
        assert!(content.contains(&digest));
        drop(content.incoming().unwrap());
        std::mem::forget(content.incoming().unwrap());
        assert_eq!(names(&content, "partial"), 1);
        content.remove_leftovers().unwrap();
        assert_eq!(names(&content, "partial"), 0);
    }

    #[test]
    fn forgets_downloads_nobody_went_on_with() {
        let (_dir, content) = store();
        let digest = Digest::of(b"hello");
        content.partial(&digest).unwrap().append(b"he").unwrap();
        let day = Duration::from_secs(86_400);
        let now = Time::from(
            std::fs::metadata(content.partial_path(&digest))
                .unwrap()
                .modified()
                .unwrap(),
        );
        content.remove_stale_partials(now, day).unwrap();
        assert_eq!(names(&content, "partial"), 1);
        content.remove_stale_partials(now.plus(day), day).unwrap();
        assert_eq!(names(&content, "partial"), 0);
    }

    #[tokio::test]
    async fn one_download_at_a_time() {
        let (_dir, content) = store();
        let digest = Digest::of(b"x");
        let first = content.lock(&digest).await;
        let second = content.lock(&digest);
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        second.await;
    }
}
