//! The one place where this layer touches the disk, and the bound on what it reads there.

use std::io::Read;
use std::path::{Path, PathBuf};

use orc_base::{Context, Error, Result};

/// No Compose file, `.env` file or label file is larger; more is refused.
pub const MAX_FILE_BYTES: u64 = 8 << 20;

/// What the file of a project is called when nobody says; the first that is there.
pub const COMPOSE_FILES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];

/// What is found at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A file, or something else that can be opened.
    File,
}

/// Where files come from: the disk, or a map in tests.
pub trait Files: Send + Sync {
    /// The text of a file, which must be UTF-8 and at most [`MAX_FILE_BYTES`] long.
    fn read(&self, path: &Path) -> Result<String>;

    /// What is at a path, links followed.
    fn look(&self, path: &Path) -> Found;

    /// The same place without links; the path itself when there is nothing.
    fn canonical(&self, path: &Path) -> PathBuf {
        path.to_path_buf()
    }
}

/// The machine's own disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    fn read(&self, path: &Path) -> Result<String> {
        let file = std::fs::File::open(path).context(|| format!("read {}", path.display()))?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .context(|| format!("read {}", path.display()))?;
        decode(path, bytes)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    fn look(&self, path: &Path) -> Found {
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Found::Directory,
            Ok(_) => Found::File,
            Err(_) => Found::Nothing,
        }
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
    }
}

/// Checks size and encoding of a file's content, and drops a byte order mark.
pub(crate) fn decode(path: &Path, bytes: Vec<u8>) -> Result<String> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::exhausted(format!(
            "{} is larger than {} MiB",
            path.display(),
            MAX_FILE_BYTES >> 20
        )));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::invalid(format!("{} is not UTF-8 text", path.display())))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// At most `most` bytes of a file.
#[expect(clippy::disallowed_methods, reason = "this is the file that may")]
pub(crate) fn read_bytes(path: &Path, most: usize) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).context(|| format!("read {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .context(|| format!("read {}", path.display()))?;
    match bytes.len() <= most {
        true => Ok(bytes),
        false => Err(Error::exhausted(format!(
            "{} is larger than {most} bytes",
            path.display()
        ))),
    }
}

/// What tells a directory from another one of the same name on another machine: device and inode.
#[expect(clippy::disallowed_methods, reason = "this is the file that may")]
pub(crate) fn identity(directory: &Path) -> Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let shown = directory.display();
    let meta = std::fs::metadata(directory).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::not_found(format!("the context {shown} does not exist"))
        }
        _ => Error::from(error).within(format!("look at the context {shown}")),
    })?;
    match meta.is_dir() {
        true => Ok((meta.dev(), meta.ino())),
        false => Err(Error::invalid(format!(
            "the context {shown} is not a directory"
        ))),
    }
}

/// The place of `path` without links, as far as there is something on the way.
pub(crate) fn real(files: &dyn Files, path: &Path) -> PathBuf {
    let there = path
        .ancestors()
        .find(|above| files.look(above) != Found::Nothing);
    match there.map(|above| (above, path.strip_prefix(above))) {
        Some((above, Ok(rest))) if rest.as_os_str().is_empty() => files.canonical(above),
        Some((above, Ok(rest))) => files.canonical(above).join(rest),
        _ => path.to_path_buf(),
    }
}

/// Joins and tidies: `a/./b/../c` becomes `a/c` without asking the disk, as Go's `filepath.Join`.
pub(crate) fn join(base: &Path, path: &str) -> PathBuf {
    use std::path::Component;
    let mut tidy = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match tidy.components().next_back() {
                Some(Component::Normal(_)) => {
                    tidy.pop();
                }
                Some(Component::RootDir) => {}
                _ => tidy.push(".."),
            },
            part => tidy.push(part),
        }
    }
    tidy
}

/// Files in memory, for tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Memory(pub(crate) std::collections::BTreeMap<PathBuf, String>);

#[cfg(test)]
impl Files for Memory {
    fn read(&self, path: &Path) -> Result<String> {
        self.0.get(path).cloned().ok_or_else(|| {
            Error::not_found("no such file or directory").within(format!("read {}", path.display()))
        })
    }

    fn look(&self, path: &Path) -> Found {
        if self.0.contains_key(path) {
            Found::File
        } else if self.0.keys().any(|file| file.starts_with(path)) {
            Found::Directory
        } else {
            Found::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_like_go() {
        for (base, path, joined) in [
            ("/a/b", "./c", "/a/b/c"),
            ("/a/b", "../c", "/a/c"),
            ("/a", "../../../c", "/c"),
            ("/a", "/x/./y", "/x/y"),
            ("/a", ".", "/a"),
            ("a", "../../c", "../c"),
        ] {
            assert_eq!(
                join(Path::new(base), path),
                Path::new(joined),
                "{base} {path}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_text() {
        assert!(decode(Path::new("x"), vec![0xff, 0xfe]).is_err());
        assert!(decode(Path::new("x"), vec![b'a'; MAX_FILE_BYTES as usize + 1]).is_err());
        assert_eq!(
            decode(Path::new("x"), b"\xef\xbb\xbfa".to_vec()).unwrap(),
            "a"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Disk
            .read(Path::new("/nonexistent/compose.yaml"))
            .unwrap_err();
        assert_eq!(error.kind(), orc_base::Kind::NotFound);
        assert!(error.to_string().contains("/nonexistent/compose.yaml"));
    }
}
