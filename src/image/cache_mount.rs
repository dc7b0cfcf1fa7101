//! The directories of `RUN --mount=type=cache`, which outlive the builds that fill them.
//!
//! ```text
//! <directory>/<hash of the id>-<n>   the n-th directory of an id
//! <directory>/.gone-*                being removed
//! ```
//!
//! Who may have one at the same time is said by [`Sharing`]; further directories of an id are made
//! when those that are there are taken. What is in them was made by strangers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use orc_base::{Context, Error, Kind, Result, fs, id};

use crate::digest::Digest;
use crate::removal;

const GONE: &str = ".gone-";

/// Who may have a cache directory at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// All who say so.
    #[default]
    Shared,
    /// One: who comes second gets another directory.
    Private,
    /// One: who comes second waits.
    Locked,
}

/// The cache directories below one directory. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct CacheMounts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    /// Who has what, by the name of the directory.
    taken: Mutex<HashMap<String, Taken>>,
    given_back: Notify,
}

#[derive(Debug)]
struct Taken {
    users: usize,
    sharing: Sharing,
}

/// The right to use a cache directory, until dropped.
#[derive(Debug)]
pub struct CacheMount {
    mounts: CacheMounts,
    name: String,
    fresh: bool,
}

impl CacheMount {
    /// The directory.
    pub fn path(&self) -> PathBuf {
        self.mounts.0.directory.join(&self.name)
    }

    /// Whether it is empty: then owner, mode and first content are for the caller to give.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    pub(crate) fn key(&self) -> Digest {
        key(&self.name)
    }
}

impl Drop for CacheMount {
    fn drop(&mut self) {
        let mut taken = self.mounts.taken();
        if let Some(one) = taken.get_mut(&self.name) {
            one.users -= 1;
            if one.users == 0 {
                taken.remove(&self.name);
            }
        }
        drop(taken);
        self.mounts.0.given_back.notify_waiters();
    }
}

impl CacheMounts {
    /// Opens the cache directories at `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory, 0o700)
            .context(|| format!("make the cache directories {}", directory.display()))?;
        Ok(Self(Arc::new(Inner {
            directory: directory.to_owned(),
            taken: Mutex::default(),
            given_back: Notify::new(),
        })))
    }

    /// Takes a directory of `id`, and makes it when there is none. Waits when it is locked.
    pub(crate) async fn take(&self, id: &str, sharing: Sharing) -> Result<CacheMount> {
        loop {
            let given_back = self.0.given_back.notified();
            tokio::pin!(given_back);
            given_back.as_mut().enable();
            if let Some(mount) = self.try_take(id, sharing)? {
                return Ok(mount);
            }
            given_back.await;
        }
    }

    fn try_take(&self, id: &str, sharing: Sharing) -> Result<Option<CacheMount>> {
        let stem = Digest::of(id.as_bytes());
        let mut taken = self.taken();
        for number in 0.. {
            let name = format!("{}-{number}", stem.hex());
            match taken.get_mut(&name) {
                None => {
                    let fresh = self.make(&name)?;
                    taken.insert(name.clone(), Taken { users: 1, sharing });
                    return Ok(Some(self.mount(name, fresh)));
                }
                Some(one) if one.sharing == Sharing::Shared && sharing == Sharing::Shared => {
                    one.users += 1;
                    return Ok(Some(self.mount(name, false)));
                }
                // Nobody else may have it as long as it is locked, nor another one like it.
                Some(one) if one.sharing == Sharing::Locked || sharing == Sharing::Locked => {
                    return Ok(None);
                }
                Some(_) => {}
            }
        }
        unreachable!("as many builds as numbers")
    }

    fn mount(&self, name: String, fresh: bool) -> CacheMount {
        CacheMount {
            mounts: self.clone(),
            name,
            fresh,
        }
    }

    fn make(&self, name: &str) -> Result<bool> {
        let path = self.0.directory.join(name);
        fs::create_dir_all(&path, 0o755).context(|| format!("make {}", path.display()))?;
        Ok(std::fs::read_dir(&path)?.next().is_none())
    }

    /// The names of all directories.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let paths = fs::list(&self.0.directory)?;
        let names = paths.iter().filter_map(|path| path.file_name()?.to_str());
        let whole = |name: &&str| !name.starts_with('.');
        Ok(names.filter(whole).map(str::to_owned).collect())
    }

    /// Where the directory of this key is, if there is one.
    pub(crate) fn find(&self, wanted: &Digest) -> Result<Option<PathBuf>> {
        let names = self.list()?;
        let found = names.iter().find(|name| key(name) == *wanted);
        Ok(found.map(|name| self.0.directory.join(name)))
    }

    /// Makes a directory that nobody has disappear; its files are removed by
    /// [`CacheMounts::remove_gone`]. Says whether it did.
    pub(crate) fn hide(&self, wanted: &Digest) -> Result<bool> {
        let taken = self.taken();
        let Some(path) = self.find(wanted)? else {
            return Ok(true);
        };
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| taken.contains_key(name)) {
            return Ok(false);
        }
        let gone = format!("{GONE}{}", id::hex(&id::random_bytes::<8>()));
        match std::fs::rename(&path, self.0.directory.join(gone)).map_err(Error::from) {
            Err(error) if error.kind() == Kind::NotFound => Ok(true),
            other => {
                other.context(|| format!("remove {}", path.display()))?;
                Ok(true)
            }
        }
    }

    /// Removes the files of directories that disappeared. Tries all, and returns what failed.
    pub(crate) fn remove_gone(&self) -> Result<()> {
        let mut paths = fs::list(&self.0.directory)?;
        paths.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(GONE))
        });
        let results = paths.iter().map(|path| removal::remove_tree(path));
        Error::all(results.filter_map(Result::err))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        let taken = self.0.taken.lock();
        taken.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of the record of a directory.
pub(crate) fn key(name: &str) -> Digest {
    Digest::of(format!("cache mount {name}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> (tempfile::TempDir, CacheMounts) {
        let dir = tempfile::tempdir().unwrap();
        let mounts = CacheMounts::open(&dir.path().join("mounts")).unwrap();
        (dir, mounts)
    }

    #[tokio::test]
    async fn who_shares_gets_the_same_and_who_does_not_another() {
        let (_dir, mounts) = mounts();
        let one = mounts.take("a", Sharing::Shared).await.unwrap();
        let two = mounts.take("a", Sharing::Shared).await.unwrap();
        let own = mounts.take("a", Sharing::Private).await.unwrap();
        let other = mounts.take("b", Sharing::Shared).await.unwrap();
        assert!(one.is_fresh() && !two.is_fresh() && own.is_fresh());
        assert_eq!(one.path(), two.path());
        assert!(own.path() != one.path() && other.path() != one.path());
        std::fs::write(one.path().join("f"), b"kept").unwrap();
        drop((one, two, own));
        let again = mounts.take("a", Sharing::Private).await.unwrap();
        assert_eq!(std::fs::read(again.path().join("f")).unwrap(), b"kept");
        assert_eq!(mounts.list().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn who_locks_waits() {
        let (_dir, mounts) = mounts();
        let first = mounts.take("a", Sharing::Locked).await.unwrap();
        let path = first.path();
        for sharing in [Sharing::Locked, Sharing::Shared, Sharing::Private] {
            let waits = mounts.take("a", sharing);
            tokio::pin!(waits);
            assert!(futures_util::poll!(&mut waits).is_pending(), "{sharing:?}");
        }
        let second = tokio::spawn({
            let mounts = mounts.clone();
            async move { mounts.take("a", Sharing::Locked).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(second.await.unwrap().unwrap().path(), path);
    }

    #[tokio::test]
    async fn what_is_taken_stays() {
        let (_dir, mounts) = mounts();
        let mount = mounts.take("a", Sharing::Shared).await.unwrap();
        let (key, path) = (mount.key(), mount.path());
        std::fs::create_dir_all(path.join("d/e")).unwrap();
        assert!(!mounts.hide(&key).unwrap());
        assert_eq!(mounts.find(&key).unwrap(), Some(path));
        drop(mount);
        assert!(mounts.hide(&key).unwrap() && mounts.hide(&key).unwrap());
        mounts.remove_gone().unwrap();
        assert_eq!(std::fs::read_dir(&mounts.0.directory).unwrap().count(), 0);
        assert!(mounts.take("a", Sharing::Shared).await.unwrap().is_fresh());
    }
}
