//! Compares two trees that should be the same layer.
//!
//! All that a container can see of it counts: names, types, owners, modes, bytes, links, devices and
//! extended attributes; times to the second, and those of directories not, for a layer does not
//! describe each directory it implies. Works on open directories and follows no link.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use orc_base::{Context, Error, Result};

use crate::unpack::attributes;

/// Differences that are told; one is enough to know.
const MAX_TOLD: usize = 8;
/// Directories inside each other that are compared.
const MAX_DEPTH: usize = 250;
const CHUNK_BYTES: usize = 256 << 10;

/// How the tree at `found` differs from the one at `wanted`, one line for each file: `bin/sh: other
/// bytes`. Few at most, none when they are the same.
pub(crate) fn trees(wanted: &Path, found: &Path) -> Result<Vec<String>> {
    let top = |path: &Path| {
        rustix::fs::open(path, DIRECTORY, Mode::empty())
            .context(|| format!("open {}", path.display()))
    };
    let pair = Pair {
        wanted: top(wanted)?,
        found: top(found)?,
    };
    let mut comparison = Comparison {
        told: Vec::new(),
        path: Vec::new(),
        buffers: [vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]],
    };
    let stats = (
        rustix::fs::fstat(&pair.wanted)?,
        rustix::fs::fstat(&pair.found)?,
    );
    if let Some(what) = described(&stats.0, &stats.1) {
        comparison.tell(what);
    }
    comparison.directory(&pair)?;
    Ok(comparison.told)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// The same directory of both trees.
struct Pair {
    wanted: OwnedFd,
    found: OwnedFd,
}

struct Comparison {
    told: Vec<String>,
    /// Where it is.
    path: Vec<CString>,
    buffers: [Vec<u8>; 2],
}

impl Comparison {
    fn tell(&mut self, what: &str) {
        let names = self.path.iter().map(|name| name.to_bytes().escape_ascii());
        let names: Vec<_> = names.map(|name| name.to_string()).collect();
        let name = match names.is_empty() {
            true => "/".to_owned(),
            false => names.join("/"),
        };
        self.told.push(format!("{name}: {what}"));
    }

    fn is_done(&self) -> bool {
        self.told.len() >= MAX_TOLD
    }

    /// As deep as trees of people go: what is deeper is an error, not a difference.
    fn directory(&mut self, pair: &Pair) -> Result<()> {
        if self.path.len() >= MAX_DEPTH {
            return Err(Error::exhausted(format!(
                "its directories are more than {MAX_DEPTH} deep"
            )));
        }
        self.attributes(pair.wanted.as_fd(), pair.found.as_fd())?;
        let (wanted, mut found) = (entries(&pair.wanted)?, entries(&pair.found)?);
        for (name, stat) in wanted {
            if self.is_done() {
                return Ok(());
            }
            self.path.push(name.clone());
            match found.remove(&name) {
                None => self.tell("missing"),
                Some(other) => self.entry(pair, &name, &stat, &other)?,
            }
            self.path.pop();
        }
        for (name, _) in found {
            self.path.push(name);
            self.tell("not part of the layer");
            self.path.pop();
        }
        self.told.truncate(MAX_TOLD);
        Ok(())
    }

    fn entry(&mut self, pair: &Pair, name: &CStr, wanted: &Stat, found: &Stat) -> Result<()> {
        if let Some(what) = described(wanted, found) {
            self.tell(what);
            return Ok(());
        }
        match FileType::from_raw_mode(wanted.st_mode) {
            FileType::Directory => {
                let pair = Pair {
                    wanted: open(&pair.wanted, name, DIRECTORY)?,
                    found: open(&pair.found, name, DIRECTORY)?,
                };
                self.directory(&pair)
            }
            FileType::RegularFile => {
                let wanted = open(&pair.wanted, name, FILE)?;
                let found = open(&pair.found, name, FILE)?;
                self.attributes(wanted.as_fd(), found.as_fd())?;
                self.bytes(wanted.into(), found.into())
            }
            FileType::Symlink => {
                let target = |directory| rustix::fs::readlinkat(directory, name, Vec::new());
                if target(&pair.wanted)? != target(&pair.found)? {
                    self.tell("leads elsewhere");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn bytes(&mut self, mut wanted: File, mut found: File) -> Result<()> {
        let [one, two] = &mut self.buffers;
        let differs = loop {
            let count = wanted.read(one)?;
            match found.read_exact(&mut two[..count]) {
                // A disk that cannot read it, or a file that became shorter.
                Err(_) => break true,
                Ok(()) if one[..count] != two[..count] => break true,
                Ok(()) if count == 0 => break false,
                Ok(()) => {}
            }
        };
        if differs {
            self.tell("other bytes");
        }
        Ok(())
    }

    fn attributes(&mut self, wanted: BorrowedFd<'_>, found: BorrowedFd<'_>) -> Result<()> {
        if attributes_of(wanted)? != attributes_of(found)? {
            self.tell("other extended attributes");
        }
        Ok(())
    }
}

/// What differs of the descriptions.
fn described(wanted: &Stat, found: &Stat) -> Option<&'static str> {
    let kind = FileType::from_raw_mode(wanted.st_mode);
    let differs = |what, differs: bool| differs.then_some(what);
    let whiteout = kind == FileType::CharacterDevice && wanted.st_rdev == 0;
    differs(
        "another type",
        kind != FileType::from_raw_mode(found.st_mode),
    )
    .or(differs("another device", wanted.st_rdev != found.st_rdev))
    .or(differs(
        "another owner",
        (wanted.st_uid, wanted.st_gid) != (found.st_uid, found.st_gid),
    ))
    .or(differs(
        "another mode",
        !whiteout && wanted.st_mode != found.st_mode,
    ))
    .or(differs(
        "another size",
        kind == FileType::RegularFile && wanted.st_size != found.st_size,
    ))
    .or(differs(
        "another number of names",
        kind == FileType::RegularFile && wanted.st_nlink != found.st_nlink,
    ))
    .or(differs(
        "another time",
        kind != FileType::Directory && !whiteout && wanted.st_mtime != found.st_mtime,
    ))
}

fn entries(directory: &OwnedFd) -> Result<BTreeMap<CString, Stat>> {
    let mut entries = BTreeMap::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            entries.insert(name.to_owned(), stat);
        }
    }
    Ok(entries)
}

fn open(directory: &OwnedFd, name: &CStr, flags: OFlags) -> Result<OwnedFd> {
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// The attributes that a layer brings, and the one by which overlayfs hides what is below.
fn attributes_of(file: BorrowedFd<'_>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut attributes = BTreeMap::new();
    let names = names[..length].split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        if !attributes::is_kept(name) && name != b"trusted.overlay.opaque" {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(file, OsStr::from_bytes(name), &mut value[..])?;
        value.truncate(length);
        attributes.insert(name.to_vec(), value);
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        fs::create_dir_all(top.join("d/e")).unwrap();
        for (name, text) in [("f", "hello"), ("d/g", "x"), ("d/e/h", "")] {
            fs::write(top.join(name), text).unwrap();
            let file = File::open(top.join(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000))
                .unwrap();
        }
        symlink("f", top.join("link")).unwrap();
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec::default(),
            last_modification: rustix::fs::Timespec::default(),
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, top.join("link"), &times, flags).unwrap();
        dir
    }

    fn check(change: impl FnOnce(&Path), expected: &[&str]) {
        let (wanted, found) = (tree(), tree());
        assert!(trees(wanted.path(), found.path()).unwrap().is_empty());
        change(found.path());
        assert_eq!(trees(wanted.path(), found.path()).unwrap(), expected);
    }

    fn again(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        let file = File::open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000))
            .unwrap();
    }

    #[test]
    fn every_difference_is_told() {
        check(|_| (), &[]);
        check(|top| again(&top.join("f"), "hellp"), &["f: other bytes"]);
        check(|top| again(&top.join("f"), "hell"), &["f: another size"]);
        check(
            |top| fs::remove_file(top.join("d/g")).unwrap(),
            &["d/g: missing"],
        );
        check(
            |top| fs::write(top.join("d/e/new"), "").unwrap(),
            &["d/e/new: not part of the layer"],
        );
        check(
            |top| {
                let path = top.join("d/e/h");
                fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).unwrap();
            },
            &["d/e/h: another mode"],
        );
        check(
            |top| {
                fs::remove_file(top.join("link")).unwrap();
                symlink("/etc/passwd", top.join("link")).unwrap();
                let times = rustix::fs::Timestamps {
                    last_access: rustix::fs::Timespec::default(),
                    last_modification: rustix::fs::Timespec::default(),
                };
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(rustix::fs::CWD, top.join("link"), &times, flags).unwrap();
            },
            &["link: leads elsewhere"],
        );
        check(
            |top| {
                fs::remove_file(top.join("d/g")).unwrap();
                fs::create_dir(top.join("d/g")).unwrap();
            },
            &["d/g: another type"],
        );
        check(
            |top| fs::hard_link(top.join("f"), top.join("d/f")).unwrap(),
            &["d/f: not part of the layer", "f: another number of names"],
        );
        check(
            |top| {
                let file = File::open(top.join("f")).unwrap();
                file.set_modified(UNIX_EPOCH).unwrap();
            },
            &["f: another time"],
        );
    }

    #[test]
    fn what_is_too_deep_is_no_difference() {
        let dir = tempfile::tempdir().unwrap();
        let deep = vec!["d"; 300].join("/");
        for name in ["a", "b"] {
            fs::create_dir_all(dir.path().join(name).join(&deep)).unwrap();
        }
        let result = trees(&dir.path().join("a"), &dir.path().join("b"));
        assert_eq!(result.unwrap_err().kind(), orc_base::Kind::Exhausted);
    }
}
