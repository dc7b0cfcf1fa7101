//! The files of one member: named, flat, in one directory that belongs to it alone.
//!
//! A seam: [`Directory`] is the real one, the simulation has one that forgets what was not synced.
//! Knows nothing of what the files say.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use orc_base::{Context as _, Error, Result, fs};

/// How long someone who has the directory is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A directory of files.
pub(crate) trait Disk: Send + Sync + 'static {
    /// The names of all files, in order.
    fn list(&self) -> Result<Vec<String>>;

    /// At most `length` bytes from `offset`; fewer at the end of the file.
    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Puts bytes at `offset` of a file, which is made when it is missing. Survives a power cut only
    /// after [`Disk::sync`].
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Makes what was written to a file, and that it is there, survive a power cut.
    fn sync(&self, name: &str) -> Result<()>;

    /// Forgets what is behind `length`, durably.
    fn cut(&self, name: &str, length: u64) -> Result<()>;

    /// Gives a synced file another name, durably; a file of that name is replaced.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file; it is fine when there is none.
    fn remove(&self, name: &str) -> Result<()>;

    /// How the place is called in messages.
    fn place(&self) -> String;
}

/// A directory of a real file system, mode 0700, and its files 0600.
pub(crate) struct Directory {
    path: PathBuf,
    /// The file that was written last, and whether its directory entry is durable.
    open: Mutex<Option<Open>>,
    /// Held as long as this lives: two members would ruin each other's log.
    _lock: Option<File>,
}

struct Open {
    name: String,
    file: File,
    new: bool,
}

impl Directory {
    /// Makes the directory when it is missing. `Denied` when others than its owner may read it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = || -> Result<()> {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)?;
            let mode = std::fs::symlink_metadata(path)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(Error::denied(format!(
                    "its mode is {:o}, and others may read it: `chmod 700` it",
                    mode & 0o7777
                )));
            }
            fs::remove_leftovers(path)
        };
        directory().context(|| format!("open the store's directory {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            open: Mutex::new(None),
            _lock: None,
        })
    }

    /// [`Directory::open`], for nobody else. `Conflict` when someone has it; one who is about to stop is
    /// waited for.
    pub(crate) async fn lock(path: &Path) -> Result<Self> {
        let mut directory = Self::open(path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .context(|| format!("lock {}", path.display()))?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while let Err(error) = lock.try_lock() {
            if tokio::time::Instant::now() > deadline {
                return Err(Error::conflict(format!(
                    "the store's directory {} is in use: {error}",
                    path.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        directory._lock = Some(lock);
        Ok(directory)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Runs `deed` with the file open for writing.
    fn with<T>(&self, name: &str, deed: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|open| open.name != name) {
            let path = self.at(name);
            let new = !path.exists();
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            *open = Some(Open {
                name: name.to_owned(),
                file,
                new,
            });
        }
        match open.as_mut() {
            Some(open) => deed(open),
            None => unreachable!("it was opened above"),
        }
    }

    /// Forgets the open file when it is this one.
    fn close(&self, name: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.take_if(|open| open.name == name);
    }

    fn sync_names(&self) -> Result<()> {
        Ok(File::open(&self.path)?.sync_all()?)
    }

    fn named(&self, deed: &str, name: &str) -> String {
        format!("{deed} {}", self.at(name).display())
    }
}

impl Disk for Directory {
    fn list(&self) -> Result<Vec<String>> {
        let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
        Ok(fs::list(&self.path)?.into_iter().filter_map(name).collect())
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let read = || -> Result<Vec<u8>> {
            let file = File::open(self.at(name))?;
            let there = file.metadata()?.len().saturating_sub(offset);
            let length = length.min(usize::try_from(there).unwrap_or(usize::MAX));
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        read().context(|| self.named("read", name))
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.with(name, |open| Ok(open.file.write_all_at(bytes, offset)?))
            .context(|| self.named("write", name))
    }

    fn sync(&self, name: &str) -> Result<()> {
        let sync = |open: &mut Open| {
            open.file.sync_data()?;
            if open.new {
                self.sync_names()?;
                open.new = false;
            }
            Ok(())
        };
        self.with(name, sync).context(|| self.named("sync", name))
    }

    fn cut(&self, name: &str, length: u64) -> Result<()> {
        let cut = |open: &mut Open| {
            open.file.set_len(length)?;
            Ok(open.file.sync_all()?)
        };
        self.with(name, cut).context(|| self.named("cut", name))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.close(from);
        self.close(to);
        let rename = || -> Result<()> {
            std::fs::rename(self.at(from), self.at(to))?;
            self.sync_names()
        };
        rename().context(|| format!("{} to {to}", self.named("rename", from)))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.close(name);
        fs::remove_file(&self.at(name))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}
