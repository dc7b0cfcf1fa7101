//! `--cidfile`: the file that says which container a command made.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use orc_base::{Context, Error, Result};

/// A file that is there and waits for the id. Dropped before it has one, it is removed.
pub(crate) struct CidFile {
    path: PathBuf,
    /// Gone once the id is in it.
    file: Option<File>,
}

impl CidFile {
    /// Makes the file, before the container: a file of an earlier one is refused while nothing has
    /// happened yet.
    pub(crate) fn reserve(path: &str) -> Result<Self> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self {
                path: path.into(),
                file: Some(file),
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::conflict(format!(
                    "`--cidfile {path}`: the file is there already, of another container: remove the file, or name another one"
                )))
            }
            Err(error) => {
                Err(error).context(|| format!("make the file {path} for the container's id"))
            }
        }
    }

    /// Writes the id, without a line feed as Docker does.
    pub(crate) fn write(mut self, id: &str) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(id.as_bytes())
                .context(|| format!("write the container's id to {}", self.path.display()))?;
        }
        self.file = None;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    #[test]
    fn a_file_is_of_one_container() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("id");
        let name = path.to_str().unwrap();
        drop(CidFile::reserve(name).unwrap());
        assert!(!path.exists(), "a container that failed left its file");
        CidFile::reserve(name).unwrap().write("abc").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        let error = CidFile::reserve(name).err().unwrap();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert!(CidFile::reserve("/no/such/directory/id").is_err());
    }
}
