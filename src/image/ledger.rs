//! The catalog on disk: a file and a copy of it.
//!
//! ```text
//! <directory>/images.json          synced, replaced as a whole
//! <directory>/images.copy.json     the same, written after it and not synced
//! <directory>/images.json.damaged  what could not be read, kept for people
//! ```
//!
//! Each carries its checksum. A file that is damaged is set aside and made anew from the other one;
//! when both are, the caller finds out from the blobs what images there were. What a newer orc wrote
//! is refused and left as it is.

use std::path::{Path, PathBuf};

use orc_base::fs::{self, Durability};
use orc_base::{Context, Error, Kind, Result};

use crate::catalog::Catalog;

const MAX_BYTES: u64 = 256 << 20;

/// The two files.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: PathBuf,
    copy: PathBuf,
    durability: Durability,
}

/// What the files say.
#[derive(Debug)]
pub(crate) enum Found {
    /// The catalog; of nothing when there never was one.
    Whole(Catalog),
    /// The file was damaged: this is the copy.
    Copy(Catalog),
    /// Both are damaged.
    Lost,
}

impl Ledger {
    pub(crate) fn new(directory: &Path, durability: Durability) -> Self {
        Self {
            file: directory.join("images.json"),
            copy: directory.join("images.copy.json"),
            durability,
        }
    }

    /// Reads what is there, and changes nothing.
    pub(crate) fn read(&self) -> Result<Found> {
        let error = match read(&self.file) {
            Ok(catalog) => return Ok(Found::Whole(catalog)),
            Err(error) => error,
        };
        if !matches!(error.kind(), Kind::Invalid | Kind::NotFound) {
            return Err(error);
        }
        match read(&self.copy) {
            Ok(catalog) => {
                tracing::warn!(%error, "the catalog of the images is taken from its copy");
                Ok(Found::Copy(catalog))
            }
            Err(other) if other.kind() == error.kind() && error.kind() == Kind::NotFound => {
                Ok(Found::Whole(Catalog::default()))
            }
            Err(other) if !matches!(other.kind(), Kind::Invalid | Kind::NotFound) => Err(other),
            Err(_) => {
                tracing::error!(%error, "the catalog of the images and its copy are damaged");
                Ok(Found::Lost)
            }
        }
    }

    /// What is wrong with the files: each, and why.
    pub(crate) fn problems(&self, catalog: &Catalog) -> Vec<(String, String)> {
        let problem = |path: &PathBuf| {
            let problem = match read(path) {
                Ok(found) if found == *catalog => return None,
                Ok(_) => "it is not the list of images that the daemon has".to_owned(),
                Err(error) if error.kind() == Kind::NotFound => "missing".to_owned(),
                Err(error) => error.to_string(),
            };
            Some((path.display().to_string(), problem))
        };
        let both = [&self.file, &self.copy];
        both.into_iter().filter_map(problem).collect()
    }

    /// Whether the copy can be read and says the same.
    pub(crate) fn copy_is(&self, catalog: &Catalog) -> bool {
        read(&self.copy).is_ok_and(|copy| copy == *catalog)
    }

    /// Replaces both.
    pub(crate) fn write(&self, catalog: &Catalog) -> Result<()> {
        fs::write_json(&self.file, catalog, self.durability)?;
        self.write_copy(catalog);
        Ok(())
    }

    /// The file is what counts: without the copy there is only no way back from a damaged one.
    pub(crate) fn write_copy(&self, catalog: &Catalog) {
        if let Err(error) = fs::write_json(&self.copy, catalog, Durability::Process) {
            tracing::debug!(%error, "the catalog of the images has no copy");
        }
    }

    /// Keeps what could not be read under another name.
    pub(crate) fn set_aside(&self) -> Result<()> {
        match std::fs::rename(&self.file, self.damaged()).map_err(Error::from) {
            Err(error) if error.kind() != Kind::NotFound => {
                Err(error).context(|| format!("set {} aside", self.file.display()))
            }
            _ => Ok(()),
        }
    }

    /// What was set aside, if there is something.
    pub(crate) fn damaged_file(&self) -> Option<PathBuf> {
        Some(self.damaged()).filter(|path| path.exists())
    }

    fn damaged(&self) -> PathBuf {
        self.file.with_extension("json.damaged")
    }
}

fn read(path: &Path) -> Result<Catalog> {
    let catalog: Catalog = fs::read_json(path, MAX_BYTES)?;
    catalog.check()?;
    Ok(catalog)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(ledger: &Ledger) -> &'static str {
        match ledger.read() {
            Ok(Found::Whole(_)) => "whole",
            Ok(Found::Copy(_)) => "copy",
            Ok(Found::Lost) => "lost",
            Err(error) if error.kind() == Kind::Unsupported => "newer",
            Err(_) => "error",
        }
    }

    #[test]
    fn one_of_the_two_is_enough() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path(), Durability::Process);
        assert_eq!(kind(&ledger), "whole");
        let catalog = Catalog::default();
        ledger.write(&catalog).unwrap();
        assert!(ledger.copy_is(&catalog));
        let good = std::fs::read_to_string(&ledger.file).unwrap();
        let json = good.lines().next().unwrap();
        let newer = json.replacen(":1", ":9", 1);
        let flipped = good.replacen(":1", ":9", 1);
        for (file, copy, expected) in [
            (Some(good.as_str()), Some(""), "whole"),
            (Some(json), None, "whole"),
            (Some(""), Some(&*good), "copy"),
            (Some("{"), Some(&*good), "copy"),
            (Some(&*flipped), Some(&*good), "copy"),
            (None, Some(&*good), "copy"),
            (Some(&*flipped), Some(&*flipped), "lost"),
            (Some(&*flipped), None, "lost"),
            (None, Some("{"), "lost"),
            (Some(&*newer), Some(&*newer), "newer"),
            (Some(&*newer), Some(&*good), "newer"),
            (Some(&*newer), None, "newer"),
        ] {
            for (path, text) in [(&ledger.file, file), (&ledger.copy, copy)] {
                match text {
                    Some(text) => std::fs::write(path, text).unwrap(),
                    None => fs::remove_file(path).unwrap(),
                }
            }
            assert_eq!(kind(&ledger), expected, "{file:?} {copy:?}");
        }
        std::fs::write(&ledger.file, "x").unwrap();
        ledger.set_aside().unwrap();
        ledger.set_aside().unwrap();
        assert_eq!(std::fs::read(ledger.damaged_file().unwrap()).unwrap(), b"x");
    }
}
