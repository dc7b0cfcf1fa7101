//! Places inside the root where something is mounted: found, or made when missing.
//!
//! Every look-up goes through [`Root`], so links of the image lead nowhere but inside. A dangling
//! link (an image's `/etc/resolv.conf` often is one) is followed by hand, one link at a time, each
//! target resolved anew inside the root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use orc_base::root::Root;
use orc_base::{Context, Error, Kind, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// How many dangling links are followed to make one target.
const MAX_LINKS: usize = 16;
/// The most components of a target that is made.
const MAX_DEPTH: usize = 256;
/// Files of `/proc` that may be covered: those that lxcfs serves.
const COVERABLE: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];
/// `PROC_SUPER_MAGIC` (statfs(2)).
const PROC_MAGIC: u32 = 0x9fa0;

/// What is to be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Directory,
    File,
}

/// Opens the place at `path` for something of `shape`, making it if need be.
pub(super) fn ensure(root: &Root, path: &Path, shape: Shape) -> Result<OwnedFd> {
    let found = ensure_within(root, path, shape, MAX_LINKS)?;
    if self::shape(&found)? != shape {
        return Err(Error::invalid(match shape {
            Shape::Directory => "a directory cannot be mounted over a file",
            Shape::File => "a file cannot be mounted over a directory",
        }));
    }
    let covers_proc = magic(&found)? == PROC_MAGIC;
    if covers_proc && !COVERABLE.iter().any(|file| Path::new(file) == path) {
        return Err(Error::invalid("nothing may be mounted inside /proc"));
    }
    Ok(found)
}

/// Opens the directory `name` directly below the root for one of the kernel's file systems. It must
/// be a directory and no link: through one, `/proc` would be something that the image controls.
pub(super) fn ensure_top(root: &Root, name: &str) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(root, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => Err(Error::invalid(format!(
            "/{name} of the image is not a directory: it may not be a link or a file"
        ))),
        other => Ok(other?),
    }
}

/// Whether an open file is a directory.
pub(super) fn shape(file: impl AsFd) -> Result<Shape> {
    let stat = rustix::fs::fstat(file)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Shape::Directory,
        _ => Shape::File,
    })
}

/// The kind of file system that an open file is on.
#[expect(
    clippy::cast_possible_truncation,
    reason = "magic numbers have 32 bits; the field is wider and signed on some machines"
)]
pub(super) fn magic(file: impl AsFd) -> Result<u32> {
    Ok(rustix::fs::fstatfs(file)?.f_type as u32)
}

fn ensure_within(root: &Root, path: &Path, shape: Shape, links: usize) -> Result<OwnedFd> {
    match root.open_at(path, OFlags::PATH, Mode::empty()) {
        Err(error) if error.kind() == Kind::NotFound => {}
        other => return other,
    }
    if path.components().count() > MAX_DEPTH {
        return Err(Error::invalid(format!(
            "a path of more than {MAX_DEPTH} components"
        )));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::invalid("the path does not end in a name"));
    };
    let directory = ensure_within(root, parent, Shape::Directory, links)?;
    match rustix::fs::readlinkat(&directory, name, Vec::new()) {
        Ok(_) if links == 0 => return Err(Error::invalid("too many links")),
        Ok(target) => {
            use std::os::unix::ffi::OsStrExt;
            let target = Path::new(std::ffi::OsStr::from_bytes(target.as_bytes()));
            let next = followed(parent, target);
            return ensure_within(root, &next, shape, links - 1);
        }
        Err(Errno::INVAL | Errno::NOENT) => {}
        Err(errno) => return Err(errno).context(|| path.display().to_string()),
    }
    make(&directory, name, shape).context(|| format!("make {}", path.display()))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&directory, name, flags, Mode::empty())
        .context(|| path.display().to_string())
}

fn make(directory: &OwnedFd, name: &std::ffi::OsStr, shape: Shape) -> Result<(), Errno> {
    let made = match shape {
        Shape::Directory => rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755)),
        Shape::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
            let flags = flags | OFlags::CLOEXEC;
            rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        // Someone was faster: what is there is opened and looked at next.
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Where a link in `parent` points, `..` resolved as text: the way there is resolved in the root.
fn followed(parent: &Path, target: &Path) -> PathBuf {
    let joined = parent.join(target);
    let text = joined.to_string_lossy();
    clean(&text)
}

/// The path without `.`, `..` and doubled slashes, as text: links play no part yet.
pub(super) fn clean(path: &str) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

/// Whether something at this path of a directory is the device `major:minor`.
pub(super) fn is_char_device(file: impl AsFd, major: u32, minor: u32) -> Result<bool> {
    let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::TYPE)?;
    let kind = FileType::from_raw_mode(stat.stx_mode.into());
    Ok(kind == FileType::CharacterDevice
        && (stat.stx_rdev_major, stat.stx_rdev_minor) == (major, minor))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn trap() -> (tempfile::TempDir, Root, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("root");
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(dir.path().join("outside")).unwrap();
        let root = Root::open(&inside).unwrap();
        (dir, root, inside)
    }

    fn outside_is_empty(dir: &tempfile::TempDir) -> bool {
        let outside = dir.path().join("outside");
        std::fs::read_dir(outside).unwrap().next().is_none()
    }

    #[test]
    fn makes_what_is_missing() {
        let (_dir, root, inside) = trap();
        ensure(&root, Path::new("/a/b/c"), Shape::Directory).unwrap();
        ensure(&root, Path::new("/etc/hosts"), Shape::File).unwrap();
        ensure(&root, Path::new("/etc/hosts"), Shape::File).unwrap();
        assert!(inside.join("a/b/c").is_dir() && inside.join("etc/hosts").is_file());
        assert!(ensure(&root, Path::new("/etc/hosts"), Shape::Directory).is_err());
        assert!(ensure(&root, Path::new("/a"), Shape::File).is_err());
        assert!(ensure(&root, Path::new("/etc/hosts/x"), Shape::File).is_err());
    }

    #[test]
    fn dangling_links_are_made_whole_inside() {
        let (dir, root, inside) = trap();
        std::fs::create_dir(inside.join("etc")).unwrap();
        symlink("../run/resolve/stub.conf", inside.join("etc/resolv.conf")).unwrap();
        symlink("/../../../outside/file", inside.join("etc/trap")).unwrap();
        symlink(dir.path().join("outside"), inside.join("etc/away")).unwrap();
        ensure(&root, Path::new("/etc/resolv.conf"), Shape::File).unwrap();
        assert!(inside.join("run/resolve/stub.conf").is_file());
        ensure(&root, Path::new("/etc/trap"), Shape::File).unwrap();
        assert!(inside.join("outside/file").is_file());
        ensure(&root, Path::new("/etc/away/x"), Shape::Directory).unwrap();
        assert!(outside_is_empty(&dir));
    }

    #[test]
    fn loops_end() {
        let (_dir, root, inside) = trap();
        symlink("b", inside.join("a")).unwrap();
        symlink("a", inside.join("b")).unwrap();
        symlink("grow/x", inside.join("grow")).unwrap();
        for path in ["/a", "/a/x", "/grow", "/grow/y"] {
            assert!(
                ensure(&root, Path::new(path), Shape::File).is_err(),
                "{path}"
            );
        }
        let deep = "/d".repeat(1000);
        assert!(ensure(&root, Path::new(&deep), Shape::Directory).is_err());
    }

    /// R3: a link in place of `/proc` would let the image choose what proc is.
    #[test]
    fn kernel_file_systems_go_on_real_directories() {
        let (dir, root, inside) = trap();
        ensure_top(&root, "proc").unwrap();
        ensure_top(&root, "proc").unwrap();
        for (name, target) in [
            ("sys", dir.path().join("outside")),
            ("dev", "proc".into()),
            ("x", "../outside".into()),
        ] {
            symlink(target, inside.join(name)).unwrap();
            assert_eq!(ensure_top(&root, name).unwrap_err().kind(), Kind::Invalid);
        }
        std::fs::write(inside.join("file"), b"").unwrap();
        assert!(ensure_top(&root, "file").is_err());
        assert!(outside_is_empty(&dir));
    }

    #[test]
    fn nothing_covers_proc() {
        let root = Root::open(Path::new("/")).unwrap();
        for (path, shape) in [("/proc", Shape::Directory), ("/proc/version", Shape::File)] {
            let error = ensure(&root, Path::new(path), shape).unwrap_err();
            assert!(error.to_string().contains("inside /proc"), "{error}");
        }
        ensure(&root, Path::new("/proc/meminfo"), Shape::File).unwrap();
    }

    #[test]
    fn targets_are_cleaned_as_text() {
        for (path, cleaned) in [
            ("/a/./b//c/", "/a/b/c"),
            ("/../../etc", "/etc"),
            ("/a/../..", "/"),
        ] {
            assert_eq!(clean(path), Path::new(cleaned));
        }
    }

    #[test]
    fn devices_are_recognised() {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty()).unwrap();
        assert!(is_char_device(&null, 1, 3).unwrap());
        assert!(!is_char_device(&null, 1, 5).unwrap());
        let file = tempfile::tempfile().unwrap();
        assert!(!is_char_device(&file, 0, 0).unwrap());
    }
}
