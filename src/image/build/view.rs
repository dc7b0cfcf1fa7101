//! A file system to copy from: a context as its ignore file leaves it, or what an image looks like.
//!
//! Names come from Dockerfiles and links from strangers: every look-up stays inside the root, and what
//! an ignore file hides is not there, whichever way leads to it. A directory that belongs to someone
//! may change meanwhile: files are opened without following links, and whoever copies compares what
//! was opened with what was looked at.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};

use orc_base::root::Root;
use orc_base::{Context, Error, Kind as Why, Result};

use crate::build::entry::{Entry, Kind, Meta};
use crate::build::stop::Stop;
use crate::dockerfile::ignore::Ignore;
use crate::pack::walk::{self, Met, Next, Visitor};

/// The most files that one source may have.
const MAX_ENTRIES: usize = 2_000_000;

/// What can be seen of a file system.
#[derive(Debug)]
pub(crate) struct View {
    root: Root,
    ignore: Option<Ignore>,
    anonymous: bool,
}

/// Something that was looked up.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where it really is, seen from the root: no link is on the way.
    pub(crate) at: PathBuf,
    /// What it is; its path is empty.
    pub(crate) entry: Entry,
}

/// Whether something is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keep {
    /// No, and nothing below it.
    No,
    /// Only when something below it is.
    Below,
    /// Yes.
    Yes,
}

impl View {
    /// All of an image, with its owners.
    pub(crate) fn of_image(root: Root) -> Self {
        Self {
            root,
            ignore: None,
            anonymous: false,
        }
    }

    /// A context: what `ignore` leaves, all of it root's.
    pub(crate) fn of_context(root: Root, ignore: Option<Ignore>) -> Self {
        Self {
            root,
            ignore,
            anonymous: true,
        }
    }

    /// The root.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Finds what `path` leads to, through links inside the root.
    pub(crate) fn find(&self, path: &Path) -> Result<Found> {
        let missing = || Error::not_found(format!("/{}: not found", relative(path).display()));
        let at = match self.root.canonical(path) {
            Err(error) if error.kind() == Why::NotFound => return Err(missing()),
            other => relative(&other?).to_owned(),
        };
        let held = self.open(&at, OFlags::PATH | OFlags::NOFOLLOW)?;
        let stat = rustix::fs::fstat(&held)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !at.as_os_str().is_empty() && self.visible(&at, is_directory) == Keep::No {
            return Err(missing().within("the ignore file hides it"));
        }
        let link = || Ok(rustix::fs::readlinkat(&held, c"", Vec::new())?);
        let kind = kind(&stat, link)?.ok_or_else(|| Error::invalid("is a socket"))?;
        let entry = Entry {
            path: PathBuf::new(),
            kind,
            meta: Meta::of(&stat, self.anonymous),
        };
        Ok(Found { at, entry })
    }

    /// All below the directory `at` that can be seen and that `keep` (asked with paths seen from
    /// there) wants, in the order of names, directories before what is in them.
    pub(crate) fn walk(
        &self,
        at: &Path,
        keep: &dyn Fn(&Path, bool) -> Keep,
        stop: &Stop,
    ) -> Result<Vec<Entry>> {
        let directory = self.open(at, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut collect = Collect {
            view: self,
            at,
            keep,
            stop,
            pending: Vec::new(),
            entries: Vec::new(),
        };
        walk::walk(directory.as_fd(), &mut collect)
            .context(|| format!("look through /{}", at.display()))?;
        Ok(collect.entries)
    }

    /// Opens a regular file; no component of its path may be a link.
    pub(crate) fn open_file(&self, path: &Path) -> Result<File> {
        // A pipe that has taken its place must not hold us up.
        let file = self.open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(file.into()),
            _ => Err(Error::conflict("is no file any more")),
        }
    }

    /// Opens what has no link on its way.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        open_plain(self.root.as_fd(), path, flags)
    }

    fn visible(&self, path: &Path, is_directory: bool) -> Keep {
        match &self.ignore {
            Some(ignore) => left_by(ignore, path, is_directory),
            None => Keep::Yes,
        }
    }
}

/// What an ignore file leaves of a path.
pub(crate) fn left_by(ignore: &Ignore, path: &Path, is_directory: bool) -> Keep {
    let path = path.to_string_lossy();
    match ignore.excludes(&path) {
        false => Keep::Yes,
        true if is_directory && ignore.may_contain_included(&path) => Keep::Below,
        true => Keep::No,
    }
}

/// Opens `path` below `root`; no component may be a link.
pub(crate) fn open_plain(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let name = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let flags = flags | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat2(root, name, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            other => return other.context(|| format!("/{}", path.display())),
        }
    }
}

/// A path seen from the root, without the slash.
pub(crate) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn kind(stat: &Stat, link: impl FnOnce() -> Result<std::ffi::CString>) -> Result<Option<Kind>> {
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink(link()?.into_bytes()),
        FileType::Socket | FileType::Unknown => return Ok(None),
        node => Kind::Node(node),
    }))
}

struct Collect<'a> {
    view: &'a View,
    at: &'a Path,
    keep: &'a dyn Fn(&Path, bool) -> Keep,
    stop: &'a Stop,
    /// Directories that are only wanted when something in them is.
    pending: Vec<Entry>,
    entries: Vec<Entry>,
}

impl Collect<'_> {
    fn verdict(&self, met: &Met<'_>) -> Keep {
        let is_directory = met.directory.is_some();
        match self.view.ignore {
            Some(_) => {
                let visible = self.view.visible(&self.at.join(met.path), is_directory);
                visible.min((self.keep)(met.path, is_directory))
            }
            None => (self.keep)(met.path, is_directory),
        }
    }

    fn entry(&self, met: &Met<'_>) -> Result<Option<Entry>> {
        let link = || read_link(met.parent, met.name);
        let Some(kind) = kind(met.stat, link)? else {
            return Ok(None);
        };
        Ok(Some(Entry {
            path: met.path.to_owned(),
            kind,
            meta: Meta::of(met.stat, self.view.anonymous),
        }))
    }
}

fn read_link(parent: BorrowedFd<'_>, name: &CStr) -> Result<std::ffi::CString> {
    Ok(rustix::fs::readlinkat(parent, name, Vec::new())?)
}

impl Visitor for Collect<'_> {
    fn meet(&mut self, met: &Met<'_>) -> Result<Next> {
        self.stop.check()?;
        let verdict = self.verdict(met);
        if verdict == Keep::No {
            return Ok(Next::Pass);
        }
        let Some(entry) = self.entry(met)? else {
            return Ok(Next::Pass);
        };
        match verdict {
            Keep::Yes => {
                self.entries.append(&mut self.pending);
                self.entries.push(entry);
            }
            _ if entry.is_directory() => self.pending.push(entry),
            _ => return Ok(Next::Pass),
        }
        match self.entries.len() > MAX_ENTRIES {
            true => Err(Error::exhausted(format!("more than {MAX_ENTRIES} files"))),
            false => Ok(Next::Enter),
        }
    }

    fn leave(&mut self, _directory: BorrowedFd<'_>, path: &Path) -> Result<()> {
        if self.pending.last().is_some_and(|entry| entry.path == path) {
            self.pending.pop();
        }
        Ok(())
    }
}

/// The file type of a name that is not followed; none when there is nothing.
pub(crate) fn what_is(parent: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<Option<FileType>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        other => Ok(Some(FileType::from_raw_mode(other?.st_mode))),
    }
}

/// A path that leads to an open file, for calls that take no descriptor (proc_pid_fd(5)).
pub(crate) fn path_of(fd: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}
