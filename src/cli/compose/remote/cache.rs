//! Where copies of files from elsewhere are kept: a directory for each version, whole or not there.
//!
//! A version is a digest or a commit, so what is in a copy never changes, and one that is here is not
//! fetched again. Only its owner may enter. Copies are not removed: containers may have directories of
//! theirs mounted.

use std::path::{Path, PathBuf};

use orc_base::id::random_bytes;
use orc_base::{Context, Error, Result, fs, id};

use crate::cli::place::Place;

/// The directory of all copies.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    directory: PathBuf,
}

/// A copy under way; gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
}

impl Cache {
    /// Below the data root for whoever may write there, else among the user's caches.
    pub(crate) fn of(place: &Place) -> Result<Self> {
        let dirs = place.dirs()?;
        let own = place.socket()? == dirs.socket() && rustix::process::geteuid().is_root();
        let above = match own {
            true => dirs.data().join("compose"),
            false => home()?.join("orc"),
        };
        Self::at(&above.join("remote"))
    }

    /// The cache in this directory, which is made when it is missing.
    pub(crate) fn at(directory: &Path) -> Result<Self> {
        let made = fs::create_dir_all(directory, 0o700);
        made.context(|| format!("make {}", directory.display()))?;
        let directory =
            std::fs::canonicalize(directory).context(|| format!("open {}", directory.display()))?;
        Ok(Self { directory })
    }

    fn place_of(&self, version: &str) -> PathBuf {
        self.directory.join(version.replace(':', "-"))
    }

    /// The copy of this version if it is here.
    pub(crate) fn find(&self, version: &str) -> Option<PathBuf> {
        let place = self.place_of(version);
        place.is_dir().then_some(place)
    }

    /// An empty directory for what is being fetched.
    pub(crate) fn draft(&self) -> Result<Draft> {
        let name = format!(".draft-{}", id::hex(&random_bytes::<8>()));
        let path = self.directory.join(name);
        fs::create_dir_all(&path, 0o755).context(|| format!("make {}", path.display()))?;
        Ok(Draft { path })
    }

    /// Keeps what was fetched as the copy of this version. Another process may have been faster.
    pub(crate) fn keep(&self, draft: &Draft, version: &str) -> Result<PathBuf> {
        let place = self.place_of(version);
        match std::fs::rename(&draft.path, &place) {
            Err(_) if place.is_dir() => Ok(place),
            done => done
                .context(|| format!("keep {}", place.display()))
                .map(|()| place),
        }
    }

    /// The file that says somebody agreed to this.
    pub(crate) fn consent(&self, what: &str) -> PathBuf {
        self.directory.join(format!("consent-{what}"))
    }
}

impl Draft {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `keep` there is nothing.
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "a draft stays");
        }
    }
}

/// `$XDG_CACHE_HOME`, or `~/.cache` (XDG Base Directory Specification).
fn home() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    cache
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))
        .ok_or_else(|| Error::invalid("neither XDG_CACHE_HOME nor HOME says where caches are"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_whole_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(&directory.path().join("a/remote")).unwrap();
        assert_eq!(cache.find("sha256:12"), None);
        drop(cache.draft().unwrap());
        let (one, other) = (cache.draft().unwrap(), cache.draft().unwrap());
        std::fs::write(one.path().join("compose.yaml"), "one").unwrap();
        std::fs::write(other.path().join("compose.yaml"), "other").unwrap();
        let kept = cache.keep(&one, "sha256:12").unwrap();
        assert_eq!(cache.keep(&other, "sha256:12").unwrap(), kept);
        drop((one, other));
        assert_eq!(cache.find("sha256:12").as_ref(), Some(&kept));
        assert_eq!(
            std::fs::read_to_string(kept.join("compose.yaml")).unwrap(),
            "one"
        );
        let left = fs::list(&cache.directory).unwrap();
        assert_eq!(left, [kept], "drafts are gone");
    }
}
