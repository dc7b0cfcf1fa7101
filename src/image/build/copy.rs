//! Puts files into an image that is being made, as BuildKit's `COPY` does.
//!
//! ```text
//! source      target is missing          is a directory        is a file
//! file        becomes it                 goes into it          replaces it
//! directory   its contents, in a new     its contents go in    an error
//!             directory of mode 0755
//! ```
//!
//! A target with a slash at its end is made a directory first. Directories below keep what they have
//! and look like their source afterwards; the target itself keeps its looks. Everything goes by
//! descriptors, and what is at a name in the image is replaced, never followed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use orc_base::root::Root;
use orc_base::{Context, Error, Result};

use crate::build::chmod::Chmod;
use crate::build::entry::{Entry, Kind, Meta, Version};
use crate::build::owner::Ids;
use crate::build::stop::Stop;
use crate::build::target;
use crate::build::view::{View, open_plain, what_is};
use crate::pack::look;
use crate::unpack::attributes::set_xattrs;

/// Files up to this are read and written in one go.
const SMALL_BYTES: usize = 256 << 10;
/// The unit of `st_blocks` (stat(3type)), whatever the file system's is.
const STAT_BLOCK: u64 = 512;

/// A source: a file, or a directory with what is wanted of it.
#[derive(Debug)]
pub(crate) struct Picked {
    /// What it is called in a directory.
    pub(crate) name: OsString,
    /// Where it is in its view.
    pub(crate) at: PathBuf,
    /// The source itself.
    pub(crate) top: Entry,
    /// What is below it.
    pub(crate) below: Vec<Entry>,
}

/// Copies into one image.
#[derive(Debug)]
pub(crate) struct Copier<'a> {
    root: &'a Root,
    owner: Option<Ids>,
    chmod: Option<&'a Chmod>,
    stop: &'a Stop,
    /// Where the first name of a file with several went.
    links: HashMap<(u64, u64), PathBuf>,
    /// The directory that was written into last.
    parent: Option<(PathBuf, Arc<OwnedFd>)>,
    changed: Option<PathBuf>,
    buffer: Vec<u8>,
}

impl<'a> Copier<'a> {
    /// Copies into the image at `root`, for `owner` instead of the source's if there is one.
    pub(crate) fn new(
        root: &'a Root,
        owner: Option<Ids>,
        chmod: Option<&'a Chmod>,
        stop: &'a Stop,
    ) -> Self {
        Self {
            root,
            owner,
            chmod,
            stop,
            links: HashMap::new(),
            parent: None,
            changed: None,
            buffer: Vec::new(),
        }
    }

    /// A file that was changed between being looked at and being copied, if there was one.
    pub(crate) fn changed(self) -> Option<PathBuf> {
        self.changed
    }

    /// Copies one source to `target`, a path as it is written.
    pub(crate) fn put(&mut self, view: &View, source: &Picked, target: &Path) -> Result<()> {
        let to = self.place(source, target)?;
        self.links.clear();
        if !source.top.is_directory() {
            return self.one(view, &source.at, &source.top, &to);
        }
        let mut directories = Vec::new();
        for entry in &source.below {
            self.stop.check()?;
            let (from, to) = (source.at.join(&entry.path), to.join(&entry.path));
            match entry.is_directory() {
                true => {
                    self.directory(&to)?;
                    directories.push((from, to, entry));
                }
                false => self.one(view, &from, entry, &to)?,
            }
        }
        // Last ones first, and only now: what is put into a directory changes its time.
        for (from, to, entry) in directories.iter().rev() {
            self.describe_directory(view, from, to, entry)?;
        }
        Ok(())
    }

    /// Where a source goes, with the directories on the way made.
    fn place(&mut self, source: &Picked, target: &Path) -> Result<PathBuf> {
        let text = target.as_os_str().as_encoded_bytes();
        let is_directory = text.ends_with(b"/") || text.ends_with(b"/.");
        let first = match is_directory {
            true => target,
            false => target.parent().unwrap_or(Path::new("/")),
        };
        let first = target::settle(self.root, first)?;
        target::make_directories(self.root, &first, self.owner)?;
        let to = target::settle(self.root, target)?;
        let there = target::kind_of(self.root, &to)?;
        match (source.top.is_directory(), there) {
            (true, Some(FileType::Directory)) => Ok(to),
            (true, Some(_)) => Err(not_a_directory(&to)),
            (true, None) => {
                target::make_directories(self.root, &to, self.owner)?;
                Ok(to)
            }
            (false, Some(FileType::Directory)) => Ok(to.join(&source.name)),
            (false, _) => {
                let above = to.parent().unwrap_or(Path::new(""));
                target::make_directories(self.root, above, self.owner)?;
                Ok(to)
            }
        }
    }

    /// The open directory that holds `path`, and the last component.
    fn parent<'p>(&mut self, path: &'p Path) -> Result<(Arc<OwnedFd>, &'p OsStr)> {
        let above = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        if let Some((last, fd)) = &self.parent
            && last == above
        {
            return Ok((fd.clone(), name));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = Arc::new(open_plain(self.root.as_fd(), above, flags)?);
        self.parent = Some((above.to_owned(), fd.clone()));
        Ok((fd, name))
    }

    fn directory(&mut self, to: &Path) -> Result<()> {
        let (parent, name) = self.parent(to)?;
        match rustix::fs::mkdirat(&*parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => match what_is(parent.as_fd().as_fd(), name)? {
                Some(FileType::Directory) => Ok(()),
                _ => Err(not_a_directory(to)),
            },
            other => other.context(|| format!("make directory /{}", to.display())),
        }
    }

    fn describe_directory(&self, view: &View, from: &Path, to: &Path, entry: &Entry) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let made = open_plain(self.root.as_fd(), to, flags)?;
        self.own(&made, &entry.meta, true)?;
        if let Ok(source) = view.open(from, flags) {
            set_xattrs(made.as_fd(), &look::xattrs(source.as_fd())?)?;
        }
        rustix::fs::futimens(&made, &times(&entry.meta))?;
        Ok(())
    }

    fn one(&mut self, view: &View, from: &Path, entry: &Entry, to: &Path) -> Result<()> {
        let copied = match &entry.kind {
            Kind::File => self.file(view, from, entry, to),
            Kind::Symlink(text) => self.symlink(text, entry, to),
            Kind::Node(kind) => self.node(*kind, entry, to),
            Kind::Directory => self.directory(to),
        };
        copied.context(|| format!("copy /{} to /{}", from.display(), to.display()))
    }

    fn file(&mut self, view: &View, from: &Path, entry: &Entry, to: &Path) -> Result<()> {
        let version = &entry.meta.version;
        if entry.meta.links > 1 {
            let inode = (version.dev, version.ino);
            if let Some(first) = self.links.get(&inode).cloned() {
                return self.hard_link(&first, to);
            }
            self.links.insert(inode, to.to_owned());
        }
        let source = view.open_file(from)?;
        let made = self.create(to)?;
        self.contents(&source, &made)?;
        let stat = rustix::fs::fstat(&source)?;
        if Version::of(&stat) != *version {
            self.changed.get_or_insert_with(|| from.to_owned());
        }
        let attributes = look::xattrs(source.as_fd())?;
        self.own(&made, &entry.meta, false)?;
        set_xattrs(made.as_fd(), &attributes)?;
        rustix::fs::futimens(&made, &times(&entry.meta)).context(|| "set its time")
    }

    fn create(&mut self, to: &Path) -> Result<File> {
        let (parent, name) = self.parent(to)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(&*parent, name, flags, Mode::RUSR | Mode::WUSR);
        let made = match make() {
            Err(Errno::EXIST) => {
                target::clear(&parent, name, to)?;
                make()
            }
            other => other,
        };
        Ok(made?.into())
    }

    /// The bytes; large files by the kernel, which shares them where the file system can.
    fn contents(&mut self, mut source: &File, mut made: &File) -> Result<()> {
        self.buffer.resize(SMALL_BYTES, 0);
        let mut filled = 0;
        while filled < SMALL_BYTES {
            match source.read(&mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if filled < SMALL_BYTES {
            return Ok(made.write_all(&self.buffer[..filled])?);
        }
        // Only now is it known to be large: from the start, for what is shared is shared in blocks.
        let stat = rustix::fs::fstat(source)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if u64::try_from(stat.st_blocks).unwrap_or(0) * STAT_BLOCK < size {
            return copy_pieces(source, made, size);
        }
        source.rewind()?;
        std::io::copy(&mut source, &mut made)?;
        Ok(())
    }

    fn hard_link(&mut self, first: &Path, to: &Path) -> Result<()> {
        let above = first.parent().unwrap_or(Path::new(""));
        let directory = OFlags::PATH | OFlags::DIRECTORY;
        let held = open_plain(self.root.as_fd(), above, directory)?;
        let old = first.file_name().unwrap_or_default();
        let (parent, name) = self.parent(to)?;
        let link = || rustix::fs::linkat(&held, old, &*parent, name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                target::clear(&parent, name, to)?;
                Ok(link()?)
            }
            other => Ok(other?),
        }
    }

    fn symlink(&mut self, text: &[u8], entry: &Entry, to: &Path) -> Result<()> {
        let (parent, name) = self.parent(to)?;
        let make = || rustix::fs::symlinkat(text, &*parent, name);
        match make() {
            Err(Errno::EXIST) => {
                target::clear(&parent, name, to)?;
                make()?;
            }
            other => other?,
        }
        self.describe(&parent, name, entry)
    }

    fn node(&mut self, kind: FileType, entry: &Entry, to: &Path) -> Result<()> {
        if kind == FileType::CharacterDevice && entry.meta.device == 0 {
            return Err(Error::invalid(
                "is the device 0/0, which means in a layer that something is gone",
            ));
        }
        let (parent, name) = self.parent(to)?;
        let mode = Mode::RUSR | Mode::WUSR;
        let make = || rustix::fs::mknodat(&*parent, name, kind, mode, entry.meta.device);
        match make() {
            Err(Errno::EXIST) => {
                target::clear(&parent, name, to)?;
                make()?;
            }
            other => other?,
        }
        self.describe(&parent, name, entry)?;
        // Made above, where nobody else writes: no link is followed.
        let mode = Mode::from_raw_mode(self.mode(&entry.meta, false));
        rustix::fs::chmodat(&*parent, name, mode, AtFlags::empty())?;
        Ok(())
    }

    /// Owner and time of what cannot be opened without effects.
    fn describe(&self, parent: &OwnedFd, name: &OsStr, entry: &Entry) -> Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let (user, group) = self.ids(&entry.meta);
        rustix::fs::chownat(parent, name, Some(user), Some(group), flags)?;
        rustix::fs::utimensat(parent, name, &times(&entry.meta), flags)?;
        Ok(())
    }

    /// Owner first: changing it drops set-id bits and capabilities.
    fn own(&self, file: impl AsFd, meta: &Meta, is_directory: bool) -> Result<()> {
        let (user, group) = self.ids(meta);
        rustix::fs::fchown(file.as_fd(), Some(user), Some(group)).context(|| "set its owner")?;
        let mode = Mode::from_raw_mode(self.mode(meta, is_directory));
        rustix::fs::fchmod(file.as_fd(), mode).context(|| "set its mode")
    }

    fn ids(&self, meta: &Meta) -> (Uid, Gid) {
        let (user, group) = self.owner.unwrap_or((meta.uid, meta.gid));
        (Uid::from_raw(user), Gid::from_raw(group))
    }

    fn mode(&self, meta: &Meta, is_directory: bool) -> u32 {
        self.chmod
            .map_or(meta.mode, |chmod| chmod.apply(meta.mode, is_directory))
    }
}

/// Copies what is between the holes of a file.
fn copy_pieces(mut source: &File, mut made: &File, size: u64) -> Result<()> {
    made.set_len(size)?;
    for piece in look::map(source, size)?.pieces {
        source.seek(SeekFrom::Start(piece.offset))?;
        made.seek(SeekFrom::Start(piece.offset))?;
        std::io::copy(&mut source.take(piece.length), &mut made)?;
    }
    Ok(())
}

fn not_a_directory(path: &Path) -> Error {
    Error::invalid(format!("cannot copy to non-directory: /{}", path.display()))
}

fn times(meta: &Meta) -> Timestamps {
    let (seconds, nanos) = meta.version.mtime;
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
