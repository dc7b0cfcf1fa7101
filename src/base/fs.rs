//! Files of orc's own that must survive a crash whole.
//!
//! Paths here are ours; whatever an image, a container or a user names goes through
//! [`crate::root::Root`].

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Context, Error, Kind, Result};
use crate::seal;

/// Makes `path` and its missing parents with `mode`; an existing directory is left as it is.
pub fn create_dir_all(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    Ok(())
}

/// How hard a write tries to outlive the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Survives power loss: the file and its directory are synced.
    Synced,
    /// Survives the death of this process, which is enough for what a reboot makes meaningless.
    Process,
}

/// Replaces the file at `path` in one step: a reader sees the old bytes or the new ones.
///
/// Writes beside it with mode 0600 and renames.
pub fn write_atomic(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let beside = beside(path)?;
    let result = write_and_rename(path, &beside, bytes, durability);
    if result.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    result.context(|| format!("write {}", path.display()))
}

fn write_and_rename(
    path: &Path,
    beside: &Path,
    bytes: &[u8],
    durability: Durability,
) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(beside)?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_data()?;
    }
    std::fs::rename(beside, path)?;
    if let (Durability::Synced, Some(parent)) = (durability, path.parent()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn beside(path: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| Error::invalid(format!("{} has no file name", path.display())))?;
    let unique = crate::id::hex(&crate::id::random_bytes::<8>());
    Ok(path.with_file_name(format!(".{name}.{unique}.tmp")))
}

/// Removes what a crash in [`write_atomic`] left in `directory`. Only its owner may call this.
pub fn remove_leftovers(directory: &Path) -> Result<()> {
    for entry in list(directory)? {
        let left = entry
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with('.') && name.ends_with(".tmp"));
        if left {
            remove_file(&entry)?;
        }
    }
    Ok(())
}

/// [`write_atomic`] of a value as JSON, sealed (`seal`): [`read_json`] notices when the file changes
/// on disk.
pub fn write_json(path: &Path, value: &impl Serialize, durability: Durability) -> Result<()> {
    let sealed = seal::seal(serde_json::to_vec(value)?);
    write_atomic(path, &sealed, durability)
}

/// Reads a JSON file of at most `limit` bytes. `Invalid` when it is damaged, or another value.
pub fn read_json<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<T> {
    let bytes = read_limited(path, limit)?;
    seal::open(&bytes)
        .and_then(|json| Ok(serde_json::from_slice(json)?))
        .context(|| format!("read {}", path.display()))
}

/// Reads a whole file of at most `limit` bytes.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = || -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Error::exhausted(format!("larger than {limit} bytes")));
        }
        Ok(bytes)
    };
    read().context(|| format!("read {}", path.display()))
}

/// The entries of a directory, in order of name; none when it does not exist.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Error::from(error).within(format!("list {}", directory.display())));
        }
    };
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()
        .context(|| format!("list {}", directory.display()))?;
    paths.sort();
    Ok(paths)
}

/// Removes a file; it is fine when it is gone already.
pub fn remove_file(path: &Path) -> Result<()> {
    gone(std::fs::remove_file(path), path)
}

/// Removes a directory and all below it without following links; fine when it is gone already.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    gone(std::fs::remove_dir_all(path), path)
}

fn gone(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result.map_err(Error::from) {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other.context(|| format!("remove {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_json(&path, &vec![1, 2], Durability::Synced).unwrap();
        write_json(&path, &vec![3], Durability::Process).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path, 100).unwrap(), [3]);
        assert_eq!(list(dir.path()).unwrap(), std::slice::from_ref(&path));
        assert_eq!(read_limited(&path, 1).unwrap_err().kind(), Kind::Exhausted);

        std::fs::write(dir.path().join(".state.json.00.tmp"), b"torn").unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert_eq!(list(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn removal_is_safe_to_repeat() {
        let dir = tempfile::tempdir().unwrap();
        remove_file(&dir.path().join("nope")).unwrap();
        remove_dir_all(&dir.path().join("nope")).unwrap();
        assert!(list(&dir.path().join("nope")).unwrap().is_empty());
    }
}
