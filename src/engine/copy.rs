//! Copies a directory of an image into an empty volume: owners, modes, times, links and extended
//! attributes included.
//!
//! Both sides are descriptors and every entry is reached from its parent's descriptor without
//! following links, so what an image contains cannot lead anywhere else (hazard U10). Files of
//! overlayfs's own making (whiteouts) are not seen: the source is the merged view.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orc_base::{Context, Error, Result};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// How deep a tree may be.
const MAX_DEPTH: usize = 512;
/// How many entries a tree may have.
const MAX_ENTRIES: usize = 4_000_000;
/// The most bytes of one extended attribute, and of the list of their names; the kernel's own limit.
const MAX_XATTR: usize = 64 << 10;

/// Copies what is in `source` into `target`, and gives `target` the owner, mode and attributes of
/// `source`.
pub(crate) fn contents(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let mut copier = Copier {
        links: HashMap::new(),
        entries: 0,
        trail: Vec::new(),
    };
    copier
        .directory(source, target)
        .map_err(|error| error.within(copier.place()))
}

struct Copier {
    /// Files with several names that were copied already, by inode: where they are.
    links: HashMap<(u64, u64), (OwnedFd, CString)>,
    entries: usize,
    /// The names from the top to the entry in hand.
    trail: Vec<CString>,
}

impl Copier {
    fn place(&self) -> String {
        let names: Vec<_> = self
            .trail
            .iter()
            .map(|name| name.to_string_lossy())
            .collect();
        format!("copy {}", names.join("/").escape_default())
    }

    fn directory(&mut self, source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
        if self.trail.len() > MAX_DEPTH {
            return Err(Error::exhausted(format!(
                "the directory is more than {MAX_DEPTH} levels deep"
            )));
        }
        for entry in rustix::fs::Dir::read_from(source)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(Error::exhausted(format!(
                    "the directory has more than {MAX_ENTRIES} entries"
                )));
            }
            self.trail.push(name.to_owned());
            self.entry(source, target, name)?;
            self.trail.pop();
        }
        let stat = rustix::fs::fstat(source)?;
        xattrs(source, target)?;
        rustix::fs::fchown(target, uid(&stat), gid(&stat))?;
        rustix::fs::fchmod(target, mode(&stat))?;
        rustix::fs::futimens(target, &times(&stat))?;
        Ok(())
    }

    fn entry(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let several = stat.st_nlink > 1 && kind != FileType::Directory;
        let inode = (stat.st_dev, stat.st_ino);
        if several && let Some((directory, first)) = self.links.get(&inode) {
            rustix::fs::linkat(directory, first, to, name, AtFlags::empty())?;
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                let source = open(from, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                let target = open(to, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
                self.directory(source.as_fd(), target.as_fd())?;
            }
            FileType::RegularFile => file(from, to, name, &stat)?,
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&link, to, name)?;
                meta(to, name, &stat)?;
            }
            // Sockets mean nothing without the process that made them.
            FileType::Socket | FileType::Unknown => return Ok(()),
            kind => {
                rustix::fs::mknodat(to, name, kind, mode(&stat), stat.st_rdev)?;
                meta(to, name, &stat)?;
                rustix::fs::chmodat(to, name, mode(&stat), AtFlags::empty())?;
            }
        }
        if several {
            let place = (to.try_clone_to_owned()?, name.to_owned());
            self.links.insert(inode, place);
        }
        Ok(())
    }
}

fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let source = open(from, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    let (mut reader, mut writer) = (std::fs::File::from(source), std::fs::File::from(target));
    std::io::copy(&mut reader, &mut writer)?;
    let target = writer.as_fd();
    // After the owner: a change of owner drops capabilities and set-user-id bits.
    rustix::fs::fchown(target, uid(stat), gid(stat))?;
    rustix::fs::fchmod(target, mode(stat))?;
    xattrs(reader.as_fd(), target)?;
    rustix::fs::futimens(target, &times(stat))?;
    Ok(())
}

fn meta(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    rustix::fs::chownat(to, name, uid(stat), gid(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn open(directory: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// Copies `user.*` and `security.capability`; all others are the machine's.
fn xattrs(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let mut names = vec![0; MAX_XATTR];
    let length = match rustix::fs::flistxattr(source, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let wanted = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| name.starts_with(b"user.") || *name == b"security.capability");
    let mut value = Vec::new();
    for name in wanted {
        value.resize(MAX_XATTR, 0);
        let length = rustix::fs::fgetxattr(source, name, &mut value[..])?;
        match rustix::fs::fsetxattr(target, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(errno) => {
                return Err(errno).context(|| {
                    format!(
                        "set attribute {}",
                        String::from_utf8_lossy(name).escape_default()
                    )
                });
            }
        }
    }
    Ok(())
}

fn uid(stat: &Stat) -> Option<Uid> {
    Some(Uid::from_raw(stat.st_uid))
}

fn gid(stat: &Stat) -> Option<Gid> {
    Some(Gid::from_raw(stat.st_gid))
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let at = |secs: i64, nanos| rustix::fs::Timespec {
        tv_sec: secs,
        tv_nsec: nanos as _,
    };
    Timestamps {
        last_access: at(stat.st_atime as _, stat.st_atime_nsec),
        last_modification: at(stat.st_mtime as _, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    use super::*;

    fn directory(path: &Path) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn keeps_what_a_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        std::fs::create_dir_all(source.join("a/b")).unwrap();
        std::fs::create_dir(&target).unwrap();
        std::fs::write(source.join("a/file"), b"text").unwrap();
        std::fs::hard_link(source.join("a/file"), source.join("a/b/same")).unwrap();
        symlink("/etc/passwd", source.join("link")).unwrap();
        std::fs::set_permissions(
            source.join("a/file"),
            std::fs::Permissions::from_mode(0o4711),
        )
        .unwrap();
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o1777)).unwrap();
        std::os::unix::fs::chown(source.join("a"), Some(7), Some(8)).unwrap();
        rustix::fs::mknodat(
            directory(&source),
            "fifo",
            FileType::Fifo,
            Mode::from_raw_mode(0o640),
            0,
        )
        .unwrap();

        contents(directory(&source).as_fd(), directory(&target).as_fd()).unwrap();

        let file = std::fs::metadata(target.join("a/file")).unwrap();
        let same = std::fs::metadata(target.join("a/b/same")).unwrap();
        assert_eq!(std::fs::read(target.join("a/file")).unwrap(), b"text");
        assert_eq!(file.mode() & 0o7777, 0o4711);
        assert_eq!((file.ino(), file.nlink()), (same.ino(), 2));
        let owned = std::fs::metadata(target.join("a")).unwrap();
        assert_eq!((owned.uid(), owned.gid()), (7, 8));
        assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o7777, 0o1777);
        let link = std::fs::read_link(target.join("link")).unwrap();
        assert_eq!(link, Path::new("/etc/passwd"));
        let fifo = std::fs::metadata(target.join("fifo")).unwrap();
        assert_eq!(fifo.mode() & 0o7777, 0o640);
    }

    #[test]
    fn an_error_names_the_entry() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        std::fs::create_dir_all(source.join("a")).unwrap();
        std::fs::create_dir_all(target.join("a")).unwrap();
        let error = contents(directory(&source).as_fd(), directory(&target).as_fd()).unwrap_err();
        assert_eq!(error.kind(), orc_base::Kind::Conflict);
        assert!(error.to_string().starts_with("copy a:"), "{error}");
    }
}
