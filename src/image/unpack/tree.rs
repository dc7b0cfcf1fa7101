//! Writes the entries of one layer into a directory.
//!
//! Every path goes through `orc_base::root`; every file is made by name in the open directory that
//! holds it, with flags that refuse to follow or reuse anything, and gets its attributes through its
//! own descriptor or with calls that do not follow links. Later entries replace earlier ones, as in
//! Docker; a directory keeps its contents when a directory replaces it. Whiteouts become what
//! overlayfs reads. No file is synced: whoever makes the layer visible syncs them all at once.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use orc_base::root::Root;
use orc_base::{Context, Error, Result, Time};

use crate::removal;
use crate::unpack::limits::{Limits, MAX_XATTR_BYTES};
use crate::unpack::path::{self, Place};
use crate::unpack::sparse::Map;
use crate::unpack::tar::{Device, Entry, EntryKind};

/// The mode of directories that no entry describes.
const IMPLIED_MODE: u32 = 0o755;
/// Hides a name of the layers below (Documentation/filesystems/overlayfs.rst).
const WHITEOUT_DEVICE: u64 = 0;
/// Hides all that the layers below have in a directory.
const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// The bytes of an entry, given piece by piece to a sink.
pub type Data<'a> = dyn FnMut(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> + 'a;

/// A directory that entries are written into.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    limits: Limits,
    /// The directory of the last entry: the next one is mostly in the same.
    parent: Option<(PathBuf, Arc<OwnedFd>)>,
    /// Directories whose times are set at the end, when nothing is written into them any more.
    times: Vec<(PathBuf, Time)>,
    times_bytes: usize,
    entries: u64,
    file_bytes: u64,
    has_root: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Bytes of all files, holes included.
    pub file_bytes: u64,
    /// Whether an entry described the root directory.
    pub has_root: bool,
}

impl Tree {
    /// Writes into `directory`, which is ours and empty.
    pub fn new(directory: &Path, limits: Limits) -> Result<Self> {
        Ok(Self {
            root: Root::open(directory)?,
            limits,
            parent: None,
            times: Vec::new(),
            times_bytes: 0,
            entries: 0,
            file_bytes: 0,
            has_root: false,
        })
    }

    /// Writes one entry.
    pub fn put(&mut self, entry: &Entry, data: &mut Data<'_>) -> Result<()> {
        self.entries += 1;
        self.limits.check_entries(self.entries)?;
        let result = path::place(&entry.name).and_then(|place| match place {
            Place::Root => self.root_entry(entry),
            Place::File(path) => self.file(&path, entry, data),
            Place::Whiteout(path) => self.whiteout(&path),
            Place::Opaque(path) => self.opaque(&path),
            Place::Ignored => Ok(()),
        });
        result.context(|| format!("the entry {}", path::shown(&entry.name)))
    }

    /// Sets what had to wait for the last entry.
    pub fn finish(self) -> Result<Written> {
        for (path, mtime) in self.times.iter().rev() {
            // A directory that another entry has replaced since has no time to set.
            if let Ok(directory) = self.open_directory(path) {
                rustix::fs::futimens(&directory, &times(*mtime))
                    .context(|| format!("set the time of {}", path.display()))?;
            }
        }
        Ok(Written {
            entries: self.entries,
            file_bytes: self.file_bytes,
            has_root: self.has_root,
        })
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(Error::invalid("would replace the root directory"));
        }
        self.has_root = true;
        self.describe_directory(Path::new(""), entry)
    }

    fn file(&mut self, path: &Path, entry: &Entry, data: &mut Data<'_>) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        match &entry.kind {
            EntryKind::Directory => self.directory(path, &parent, name, entry),
            EntryKind::File(size) => {
                self.count(*size)?;
                let file = self.create_file(path, &parent, name)?;
                let mut sink = |bytes: &[u8]| write_all(&file, bytes);
                data(&mut sink)?;
                finish_file(&file, entry)
            }
            EntryKind::Sparse(map) => {
                self.count(map.size)?;
                let file = self.create_file(path, &parent, name)?;
                let file = std::fs::File::from(file);
                write_sparse(&file, map, data)?;
                finish_file(&file.into(), entry)
            }
            EntryKind::Symlink(target) => {
                let target = OsStr::from_bytes(target);
                self.create(path, || rustix::fs::symlinkat(target, &*parent, name))?;
                describe(&parent, name, entry)
            }
            EntryKind::HardLink(target) => self.hard_link(path, &parent, name, target),
            EntryKind::Fifo => self.node(path, &parent, name, entry, FileType::Fifo, None),
            EntryKind::Char(device) => {
                let kind = FileType::CharacterDevice;
                self.node(path, &parent, name, entry, kind, Some(*device))
            }
            EntryKind::Block(device) => {
                let kind = FileType::BlockDevice;
                self.node(path, &parent, name, entry, kind, Some(*device))
            }
        }
    }

    fn count(&mut self, bytes: u64) -> Result<()> {
        self.file_bytes = self.file_bytes.saturating_add(bytes);
        self.limits.check_file_bytes(self.file_bytes)
    }

    /// The open directory that holds `path`, made when it is missing, and the last component.
    fn parent<'p>(&mut self, path: &'p Path) -> Result<(Arc<OwnedFd>, &'p OsStr)> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        if let Some((last, fd)) = &self.parent
            && last == directory
        {
            return Ok((fd.clone(), name));
        }
        let fd = Arc::new(self.make_directory(directory)?);
        self.parent = Some((directory.to_owned(), fd.clone()));
        Ok((fd, name))
    }

    fn make_directory(&self, path: &Path) -> Result<OwnedFd> {
        let make = || self.root.create_dir_all(path, IMPLIED_MODE);
        make().or_else(|error| match self.unhide(path)? {
            true => make(),
            false => Err(error.within("its directory")),
        })
    }

    /// Makes a directory of the first whiteout on the way to `path`: the layer hides what was below
    /// and begins anew.
    fn unhide(&self, path: &Path) -> Result<bool> {
        let above: Vec<_> = path
            .ancestors()
            .filter(|one| one.file_name().is_some())
            .collect();
        for prefix in above.into_iter().rev() {
            let Ok((parent, name)) = self.root.parent_of(prefix) else {
                return Ok(false);
            };
            if existing(&parent, name)? == Some(Existing::Whiteout) {
                rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(IMPLIED_MODE))?;
                set_opaque(&self.open_directory(prefix)?)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs `make`, once more when something was in its place and had to go.
    fn create<T>(&mut self, path: &Path, make: impl Fn() -> Result<T, Errno>) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(path)?;
                Ok(make()?)
            }
            other => Ok(other?),
        }
    }

    /// Removes what earlier entries have left at `path`.
    fn clear(&mut self, path: &Path) -> Result<()> {
        let (parent, name) = self.root.parent_of(path)?;
        // The directory that is open may be in what goes away.
        self.parent = None;
        removal::remove_at(parent.as_fd(), name)
    }

    fn create_file(&mut self, path: &Path, parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        self.create(path, || rustix::fs::openat(parent, name, flags, mode))
    }

    fn directory(
        &mut self,
        path: &Path,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &Entry,
    ) -> Result<()> {
        let make = || rustix::fs::mkdirat(parent, name, Mode::RWXU);
        match make() {
            Err(Errno::EXIST) => match existing(parent, name)? {
                Some(Existing::Directory) => {}
                Some(Existing::Whiteout) => {
                    self.create(path, make)?;
                    set_opaque(&self.open_directory(path)?)?;
                }
                Some(Existing::Other) | None => self.create(path, make)?,
            },
            other => other?,
        }
        self.describe_directory(path, entry)
    }

    fn describe_directory(&mut self, path: &Path, entry: &Entry) -> Result<()> {
        let directory = self.open_directory(path)?;
        own(&directory, entry)?;
        set_xattrs(&directory, &entry.xattrs)?;
        self.times_bytes += path.as_os_str().len() + size_of::<(PathBuf, Time)>();
        self.limits.check_directory_names(self.times_bytes)?;
        self.times.push((path.to_owned(), entry.mtime));
        Ok(())
    }

    /// Opens a directory by its own name, not by a link's.
    fn open_directory(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        self.root.open_at(path, flags, Mode::empty())
    }

    fn hard_link(
        &mut self,
        path: &Path,
        parent: &OwnedFd,
        name: &OsStr,
        target: &[u8],
    ) -> Result<()> {
        let missing = || {
            Error::invalid(format!(
                "is a hard link to {}, which is no file of this layer",
                path::shown(target)
            ))
        };
        let target_path = path::link_target(target)?;
        let target = self.root.parent_of(&target_path).map_err(|_| missing())?;
        if existing(&target.0, target.1)? != Some(Existing::Other) {
            return Err(missing());
        }
        if inode(&target.0, target.1)? == inode(parent, name)? {
            return Ok(());
        }
        let link = || rustix::fs::linkat(&target.0, target.1, parent, name, AtFlags::empty());
        self.create(path, link).map_err(|error| {
            // Clearing the way may have removed the target, when it was inside.
            match inode(&target.0, target.1) {
                Ok(None) => missing(),
                _ => error,
            }
        })
    }

    fn node(
        &mut self,
        path: &Path,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &Entry,
        kind: FileType,
        device: Option<Device>,
    ) -> Result<()> {
        let device = device.map_or(0, |one| rustix::fs::makedev(one.major, one.minor));
        let mode = Mode::RUSR | Mode::WUSR;
        let make = || rustix::fs::mknodat(parent, name, kind, mode, device);
        self.create(path, make).context(|| "make the node")?;
        describe(parent, name, entry)?;
        // Made a line above in a directory that only we can reach: there is no link to follow.
        rustix::fs::chmodat(parent, name, mode_of(entry), AtFlags::empty())?;
        // The mode changed the ctime only, the mtime is as `describe` set it.
        Ok(())
    }

    fn whiteout(&mut self, path: &Path) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        match existing(&parent, name)? {
            // A whiteout is about the layers below: what this layer has stays.
            Some(Existing::Directory) => set_opaque(&self.open_directory(path)?),
            Some(_) => Ok(()),
            None => {
                let kind = FileType::CharacterDevice;
                rustix::fs::mknodat(&*parent, name, kind, Mode::empty(), WHITEOUT_DEVICE)
                    .context(|| "make the whiteout")
            }
        }
    }

    fn opaque(&mut self, path: &Path) -> Result<()> {
        let directory = self.make_directory(path)?;
        drop(directory);
        // Through links, as any other entry of that directory would go.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = self.root.open_at(path, flags, Mode::empty())?;
        set_opaque(&directory)
    }
}

/// What is in the place of a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Directory,
    Whiteout,
    Other,
}

fn existing(parent: &OwnedFd, name: &OsStr) -> Result<Option<Existing>> {
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Existing::Directory,
        FileType::CharacterDevice if stat.st_rdev == WHITEOUT_DEVICE => Existing::Whiteout,
        _ => Existing::Other,
    }))
}

fn inode(parent: &OwnedFd, name: &OsStr) -> Result<Option<u64>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        other => Ok(Some(other?.st_ino)),
    }
}

fn set_opaque(directory: &OwnedFd) -> Result<()> {
    rustix::fs::fsetxattr(directory, OPAQUE_XATTR, b"y", XattrFlags::empty())
        .context(|| "mark the directory as opaque")
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Puts the bytes where the map says; the rest stays holes.
fn write_sparse(file: &std::fs::File, map: &Map, data: &mut Data<'_>) -> Result<()> {
    file.set_len(map.size)?;
    let mut pieces = map.pieces.iter().filter(|piece| piece.length > 0);
    let (mut at, mut left) = (0, 0);
    data(&mut |mut bytes| {
        while !bytes.is_empty() {
            if left == 0 {
                let piece = pieces.next();
                let piece = piece.ok_or_else(|| Error::internal("more data than its map has"))?;
                (at, left) = (piece.offset, piece.length);
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all_at(&bytes[..count], at)?;
            bytes = &bytes[count..];
            at += count as u64;
            left -= count as u64;
        }
        Ok(())
    })
}

/// Owner first: changing it drops set-id bits and file capabilities. Times last.
fn finish_file(file: &OwnedFd, entry: &Entry) -> Result<()> {
    own(file, entry)?;
    set_xattrs(file, &entry.xattrs)?;
    rustix::fs::futimens(file, &times(entry.mtime)).context(|| "set its time")
}

fn own(file: &OwnedFd, entry: &Entry) -> Result<()> {
    rustix::fs::fchown(file, uid(entry), gid(entry)).context(|| "set its owner")?;
    rustix::fs::fchmod(file, mode_of(entry)).context(|| "set its mode")
}

/// Owner and time of what cannot be opened without side effects.
fn describe(parent: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    if (entry.uid, entry.gid) != (0, 0) {
        rustix::fs::chownat(parent, name, uid(entry), gid(entry), flags)
            .context(|| "set its owner")?;
    }
    rustix::fs::utimensat(parent, name, &times(entry.mtime), flags).context(|| "set its time")
}

fn uid(entry: &Entry) -> Option<Uid> {
    Some(Uid::from_raw(entry.uid))
}

fn gid(entry: &Entry) -> Option<Gid> {
    Some(Gid::from_raw(entry.gid))
}

fn mode_of(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

fn times(mtime: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.secs(),
        tv_nsec: mtime.nanos().rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Keeps file capabilities and what users attach; all else would steer this machine (`trusted.*`,
/// `security.*`) or overlayfs.
fn is_kept(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    user || name == b"security.capability"
}

fn set_xattrs(file: &OwnedFd, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    for (name, value) in xattrs.iter().filter(|(name, _)| is_kept(name)) {
        let shown = name.escape_ascii();
        if value.len() > MAX_XATTR_BYTES {
            return Err(Error::exhausted(format!(
                "has the extended attribute `{shown}` of more than {MAX_XATTR_BYTES} bytes"
            )));
        }
        let set = rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty());
        match set {
            // The file system of this machine knows no attributes of users: Docker goes on as well.
            Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => {}
            other => other.context(|| format!("set its extended attribute `{shown}`"))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

    use super::*;
    use crate::testing::{Tape, tape};
    use crate::unpack::tar::Reader;

    fn unpack(into: &Path, tape: Tape) -> Result<Written> {
        unpack_within(into, tape, Limits::default())
    }

    fn unpack_within(into: &Path, tape: Tape, limits: Limits) -> Result<Written> {
        let bytes = tape.end();
        let mut tree = Tree::new(into, limits)?;
        let mut reader = Reader::new(&bytes[..]);
        while let Some(entry) = reader.next_entry()? {
            tree.put(&entry, &mut |sink| reader.data(sink))?;
        }
        tree.finish()
    }

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn opaque(path: &Path) -> bool {
        let mut value = [0; 8];
        let size = rustix::fs::getxattr(path, OPAQUE_XATTR, &mut value[..]);
        size.is_ok_and(|size| &value[..size] == b"y")
    }

    fn is_whiteout(path: &Path) -> bool {
        let meta = path.symlink_metadata().unwrap();
        meta.file_type().is_char_device() && meta.rdev() == 0
    }

    #[test]
    fn writes_everything_as_described() {
        let dir = dir();
        let root = dir.path();
        let written = unpack(
            root,
            tape()
                .directory("./")
                .raw_with_data(b"#!", |header| {
                    header[..7].copy_from_slice(b"bin/su\0");
                    header[100..107].copy_from_slice(b"0004755");
                    header[108..115].copy_from_slice(b"0001750");
                })
                .link(b'1', "bin/also", "./bin/su")
                .link(b'2', "bin/sh", "/bin/su")
                .pax(&[("mtime", b"12.5"), ("SCHILY.xattr.user.k", b"a\nb")])
                .directory("d")
                .file("d/f", b"x")
                .raw(|header| {
                    header[..5].copy_from_slice(b"fifo\0");
                    header[156] = b'6';
                    header[100..107].copy_from_slice(b"0000622");
                }),
        )
        .unwrap();
        let su = root.join("bin/su").metadata().unwrap();
        assert_eq!((su.mode() & 0o7777, su.uid()), (0o4755, 1000));
        assert_eq!(su.mtime(), 1_610_612_736);
        assert_eq!(root.join("bin/also").metadata().unwrap().ino(), su.ino());
        assert_eq!(
            root.join("bin/sh").read_link().unwrap(),
            Path::new("/bin/su")
        );
        let d = root.join("d").metadata().unwrap();
        assert_eq!((d.mtime(), d.mtime_nsec()), (12, 500_000_000));
        let mut value = [0; 8];
        let size = rustix::fs::getxattr(root.join("d"), "user.k", &mut value[..]).unwrap();
        assert_eq!(&value[..size], b"a\nb");
        let fifo = root.join("fifo").metadata().unwrap();
        assert!(fifo.file_type().is_fifo());
        assert_eq!(fifo.permissions().mode() & 0o7777, 0o622);
        assert_eq!(
            written,
            Written {
                entries: 7,
                file_bytes: 3,
                has_root: true
            }
        );
    }

    #[test]
    fn later_entries_replace_earlier_ones() {
        let dir = dir();
        let root = dir.path();
        unpack(
            root,
            tape()
                .file("a/b/c", b"deep")
                .file("a/b", b"file instead of directory")
                .file("f", b"one")
                .file("f", b"two")
                .link(b'2', "l", "f")
                .file("l", b"own")
                .link(b'2', "s", "/etc")
                .directory("s")
                .directory("keep")
                .file("keep/x", b"x")
                .directory("keep"),
        )
        .unwrap();
        let read = |name: &str| std::fs::read(root.join(name)).unwrap();
        assert_eq!(read("a/b"), b"file instead of directory");
        assert_eq!((read("f"), read("l")), (b"two".into(), b"own".into()));
        assert!(root.join("s").symlink_metadata().unwrap().is_dir());
        assert_eq!(read("keep/x"), b"x");
    }

    #[test]
    fn the_open_directory_is_forgotten_when_it_goes() {
        let dir = dir();
        unpack(
            dir.path(),
            tape()
                .file("a/one", b"")
                .file("a", b"")
                .directory("a")
                .file("a/two", b""),
        )
        .unwrap();
        assert!(dir.path().join("a/two").is_file());
        assert!(!dir.path().join("a/one").exists());
    }

    #[test]
    fn whiteouts_hide_what_is_below_and_nothing_else() {
        let dir = dir();
        let root = dir.path();
        unpack(
            root,
            tape()
                .file(".wh.gone", b"")
                .file("x/.wh.gone", b"")
                .file("f1", b"stays")
                .file(".wh.f1", b"")
                .file(".wh.f2", b"")
                .file("f2", b"stays")
                .directory("d1")
                .file(".wh.d1", b"")
                .file(".wh.d2", b"")
                .directory("d2")
                .file(".wh.d3", b"")
                .file("d3/f", b"")
                .file("before/f", b"")
                .file("before/.wh..wh..opq", b"")
                .file("after/.wh..wh..opq", b"")
                .file("after/f", b"")
                .file(".wh..wh.plnk", b"")
                .file(".wh..wh..opq", b""),
        )
        .unwrap();
        assert!(is_whiteout(&root.join("gone")) && is_whiteout(&root.join("x/gone")));
        for name in ["f1", "f2"] {
            assert_eq!(std::fs::read(root.join(name)).unwrap(), b"stays");
        }
        for name in ["d1", "d2", "d3", "before", "after", ""] {
            assert!(opaque(&root.join(name)), "{name}");
        }
        for name in ["d3/f", "before/f", "after/f"] {
            assert!(root.join(name).is_file());
        }
        assert!(!root.join(".wh..wh.plnk").exists());
    }

    #[test]
    fn attributes_that_steer_overlayfs_are_dropped() {
        let dir = dir();
        let caps = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        unpack(
            dir.path(),
            tape()
                .pax(&[
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.user.overlay.opaque", b"y"),
                    ("SCHILY.xattr.security.selinux", b"x"),
                    ("SCHILY.xattr.security.capability", caps),
                ])
                .file("f", b""),
        )
        .unwrap();
        let mut names = vec![0; 1000];
        let size = rustix::fs::listxattr(dir.path().join("f"), &mut names[..]).unwrap();
        assert_eq!(&names[..size], b"security.capability\0");
    }

    #[test]
    fn refuses_with_the_name_of_the_entry() {
        for (tape, text) in [
            (tape().file("../x", b""), "`../x`"),
            (tape().link(b'2', "./", "/etc"), "`./`"),
            (tape().file("/", b""), "directory"),
            (tape().link(b'1', "h", "missing"), "no file of this layer"),
            (
                tape().link(b'1', "h", "/etc/passwd"),
                "no file of this layer",
            ),
            (tape().link(b'1', "h", "../x"), "link target"),
            (tape().directory("d").link(b'1', "h", "d"), "no file"),
            (tape().link(b'1', "h", "h"), "no file of this layer"),
            (tape().link(b'2', "s", ""), "`s`"),
            (tape().link(b'2', "s", "nowhere").file("s/f", b""), "`s/f`"),
            (tape().file("f", b"").file("f/x", b""), "`f/x`"),
            (
                tape().file("d/a", b"").link(b'1', "d", "d/a"),
                "no file of this layer",
            ),
            (
                tape()
                    .pax(&[("SCHILY.xattr.user.x", &vec![b'x'; MAX_XATTR_BYTES + 1])])
                    .file("f", b""),
                "extended attribute `user.x`",
            ),
        ] {
            let error = unpack(dir().path(), tape).unwrap_err().to_string();
            assert!(error.contains(text), "{text}: {error}");
            assert!(!error.contains('\n'));
        }
    }

    #[test]
    fn a_hard_link_to_itself_changes_nothing() {
        let dir = dir();
        let tape = tape().file("f", b"x").link(b'1', "./f", "f");
        unpack(dir.path(), tape).unwrap();
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"x");
    }

    #[test]
    fn links_on_the_way_stay_inside() {
        let dir = dir();
        unpack(
            dir.path(),
            tape()
                .directory("usr/lib")
                .link(b'2', "lib", "/usr/lib")
                .link(b'2', "up", "../../../../usr")
                .file("lib/a", b"")
                .file("up/b", b"")
                .file("lib/.wh.c", b""),
        )
        .unwrap();
        assert!(dir.path().join("usr/lib/a").is_file());
        assert!(dir.path().join("usr/b").is_file());
        assert!(is_whiteout(&dir.path().join("usr/lib/c")));
    }

    #[test]
    fn bounds_are_named() {
        let tight = Limits {
            entries: 2,
            file_bytes: 10,
            directory_name_bytes: 100,
            ..Limits::default()
        };
        for (tape, text) in [
            (
                tape().file("a", b"").file("b", b"").file("c", b""),
                "2 entries",
            ),
            (tape().file("a", &[0; 11]), "10 bytes in files"),
            (
                tape().directory(&"a".repeat(90)),
                "100 bytes in names of directories",
            ),
            (
                tape()
                    .pax(&[
                        ("GNU.sparse.size", b"1099511627776"),
                        ("GNU.sparse.map", b""),
                    ])
                    .file("s", b""),
                "10 bytes in files",
            ),
        ] {
            let error = unpack_within(dir().path(), tape, tight).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(error.kind(), orc_base::Kind::Exhausted);
        }
    }

    #[test]
    fn holes_are_not_written() {
        let dir = dir();
        unpack(
            dir.path(),
            tape()
                .pax(&[
                    ("GNU.sparse.size", b"100000000"),
                    ("GNU.sparse.map", b"0,2,50000000,3"),
                ])
                .file("s", b"abcde"),
        )
        .unwrap();
        let path = dir.path().join("s");
        let meta = path.metadata().unwrap();
        assert_eq!(meta.len(), 100_000_000);
        assert!(meta.blocks() < 1000);
        let file = std::fs::File::open(path).unwrap();
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 49_999_999).unwrap();
        assert_eq!(&bytes, b"\0cde");
    }
}
