//! Writes the entries of an archive into a directory: of a layer into one of its own, or of plain
//! files into a tree that is there and in use.
//!
//! Every path goes through `orc_base::root`; every file is made by name in the open directory that
//! holds it, with flags that refuse to follow or reuse anything, and gets its attributes through its
//! own descriptor or with calls that do not follow links. Later entries replace earlier ones, as in
//! Docker; a directory keeps its contents when a directory replaces it. Whiteouts become what
//! overlayfs reads. No file is synced: whoever makes the layer visible syncs them all at once.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use orc_base::root::Root;
use orc_base::{Context, Error, Result, Time};

use crate::removal;
use crate::unpack::attributes;
use crate::unpack::born::{Born, Needs};
use crate::unpack::contents::{self, Data};
use crate::unpack::entry::{Device, Entry, EntryKind};
use crate::unpack::limits::Limits;
use crate::unpack::parents::{Parent, Parents};
use crate::unpack::path::{self, Place};

/// The mode of directories that no entry describes.
const IMPLIED_MODE: u32 = 0o755;
/// Hides a name of the layers below (Documentation/filesystems/overlayfs.rst).
const WHITEOUT_DEVICE: u64 = 0;
/// Hides all that the layers below have in a directory.
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// What plain files are written into, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The directory below the root that the names begin at. It must be there.
    pub directory: PathBuf,
    /// Whether it is an error when a directory would be replaced by something else, or something else
    /// by a directory.
    pub keeps_kinds: bool,
    /// Who owns what is written, whatever the archive says.
    pub owner: Option<(u32, u32)>,
    /// What names begin with in the archive, and with what instead they begin here.
    pub rename: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    /// A name of the archive as it is here.
    fn renamed(&self, name: &[u8]) -> Vec<u8> {
        let rename = self.rename.as_ref();
        let rest = rename.and_then(|(from, to)| Some((name.strip_prefix(&from[..])?, to)));
        match rest {
            Some((rest, to)) => [to, rest].concat(),
            None => name.to_vec(),
        }
    }

    /// An entry of the archive as it is here.
    fn adapted(&self, entry: &Entry) -> Entry {
        let (uid, gid) = self.owner.unwrap_or((entry.uid, entry.gid));
        let kind = match &entry.kind {
            EntryKind::HardLink(target) => EntryKind::HardLink(self.renamed(target)),
            other => other.clone(),
        };
        Entry {
            name: self.renamed(&entry.name),
            kind,
            uid,
            gid,
            ..entry.clone()
        }
    }
}

/// A directory that entries are written into.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    /// None for a layer, where names of whiteouts hide what is below.
    files: Option<Files>,
    limits: Limits,
    parents: Parents,
    /// What new files are like; none where others may change the tree meanwhile.
    born: Option<Born>,
    /// Directories whose times are set at the end, when nothing is written into them any more.
    times: Vec<(PathBuf, Time)>,
    times_bytes: usize,
    entries: u64,
    /// Bytes of the archive, compressed as it is, that have arrived.
    taken: u64,
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
        let root = Root::open(directory)?;
        let born = Born::observe(&root);
        Ok(Self::at(root, None, Some(born), limits))
    }

    /// Writes plain files below `root`, which others may use and change meanwhile: whatever they do,
    /// nothing outside is touched.
    pub fn of_files(root: Root, files: Files, limits: Limits) -> Self {
        Self::at(root, Some(files), None, limits)
    }

    fn at(root: Root, files: Option<Files>, born: Option<Born>, limits: Limits) -> Self {
        Self {
            root,
            files,
            limits,
            parents: Parents::default(),
            born,
            times: Vec::new(),
            times_bytes: 0,
            entries: 0,
            taken: 0,
            file_bytes: 0,
            has_root: false,
        }
    }

    /// Hears how many bytes of the archive have arrived, compressed as it is: more of them allow more
    /// entries.
    pub fn arrived(&mut self, taken: u64) {
        self.taken = taken;
    }

    /// Writes one entry.
    pub fn put(&mut self, entry: &Entry, data: &mut Data<'_>) -> Result<()> {
        self.entries += 1;
        self.limits.check_entries(self.entries, self.taken)?;
        let adapted = self.files.as_ref().map(|files| files.adapted(entry));
        let entry = adapted.as_ref().unwrap_or(entry);
        let result = self.place(&entry.name).and_then(|place| match place {
            Place::Root => self.root_entry(entry),
            Place::File(path) => self.file(&path, entry, data),
            Place::Whiteout(path) => self.whiteout(&path),
            Place::Opaque(path) => self.opaque(&path),
            Place::Ignored => Ok(()),
        });
        result.context(|| format!("the entry {}", path::shown(&entry.name)))
    }

    fn place(&self, name: &[u8]) -> Result<Place> {
        let Some(files) = &self.files else {
            return path::place(name);
        };
        Ok(match path::plain(name)? {
            Place::File(path) => Place::File(files.directory.join(path)),
            other => other,
        })
    }

    /// Sets what had to wait for the last entry.
    pub fn finish(self) -> Result<Written> {
        // In order: of two entries for one directory the later one counts.
        for (path, mtime) in &self.times {
            // A directory that another entry has replaced since has no time to set.
            if let Ok(directory) = self.open_directory(path) {
                rustix::fs::futimens(&directory, &attributes::times(*mtime))
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
        if self.files.is_some() {
            // The directory was there before, and stays what it is.
            return Ok(());
        }
        self.has_root = true;
        self.parents.forget();
        self.describe_directory(Path::new(""), entry, Needs::ALL)
    }

    fn file(&mut self, path: &Path, entry: &Entry, data: &mut Data<'_>) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        let (mode, needs) = self.make(entry, &parent);
        let parent = &parent.fd;
        match &entry.kind {
            EntryKind::Directory => self.directory(path, parent, name, entry, (mode, needs)),
            EntryKind::File(size) => {
                self.count(*size)?;
                let file = self.create_file(path, parent, name, mode)?;
                contents::write(&file, data)?;
                attributes::finish(&file, entry, needs)
            }
            EntryKind::Sparse(map) => {
                self.count(map.size)?;
                let file = self.create_file(path, parent, name, mode)?;
                contents::write_sparse(&file, map, data)?;
                attributes::finish(&file, entry, needs)
            }
            EntryKind::Symlink(target) => {
                let target = OsStr::from_bytes(target);
                self.create(path, || rustix::fs::symlinkat(target, &**parent, name))?;
                attributes::describe(parent, name, entry, needs)
            }
            EntryKind::HardLink(target) => self.hard_link(path, parent, name, target),
            EntryKind::Fifo => self.node(path, parent, name, entry, FileType::Fifo, None),
            EntryKind::Char(device) => {
                let kind = FileType::CharacterDevice;
                self.node(path, parent, name, entry, kind, Some(*device))
            }
            EntryKind::Block(device) => {
                let kind = FileType::BlockDevice;
                self.node(path, parent, name, entry, kind, Some(*device))
            }
        }
    }

    /// The mode to make a file with in `parent`, and what is left to set.
    fn make(&self, entry: &Entry, parent: &Parent) -> (Mode, Needs) {
        match (&self.born, &entry.kind) {
            (Some(born), _) => born.make(entry, parent.usual),
            (None, EntryKind::Directory) => (Mode::RWXU, Needs::ALL),
            (None, _) => (Mode::RUSR | Mode::WUSR, Needs::ALL),
        }
    }

    fn count(&mut self, bytes: u64) -> Result<()> {
        self.file_bytes = self.file_bytes.saturating_add(bytes);
        self.limits.check_file_bytes(self.file_bytes)
    }

    /// The open directory that holds `path`, made when it is missing, and the last component.
    fn parent<'p>(&mut self, path: &'p Path) -> Result<(Parent, &'p OsStr)> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or_default();
        if let Some(parent) = self.parents.get(directory) {
            return Ok((parent, name));
        }
        let fd = match self.step_into(directory) {
            Some(fd) => fd,
            None => self.make_directory(directory)?,
        };
        let usual = match &self.born {
            Some(born) => born.is_usual_in(&fd)?,
            None => {
                // Whoever uses the tree may have moved the others.
                self.parents.forget();
                false
            }
        };
        let fd = Arc::new(fd);
        let parent = Parent { fd, usual };
        self.parents.put(directory, parent.clone());
        Ok((parent, name))
    }

    /// Opens a directory from the one above it, when that is open and no link is in between. Only
    /// where nobody else moves directories about.
    fn step_into(&mut self, directory: &Path) -> Option<OwnedFd> {
        self.born?;
        let above = self.parents.get(directory.parent()?)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&*above.fd, directory.file_name()?, flags, Mode::empty()).ok()
    }

    fn make_directory(&self, path: &Path) -> Result<OwnedFd> {
        // In a layer nobody means that. A container's own links may be as they like.
        if self.files.is_none() && self.root.climbs_out(path)? {
            return Err(Error::invalid(
                "is written through a link that leads out of the layer",
            ));
        }
        let make = || self.root.create_dir_all(path, IMPLIED_MODE);
        make().or_else(|error| match self.files.is_none() && self.unhide(path)? {
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
                self.check_kinds(path, false)?;
                self.clear(path)?;
                Ok(make()?)
            }
            other => Ok(other?),
        }
    }

    /// Refuses to put a directory in the place of something else, or the other way round, where that
    /// was asked for. Links count as what they are.
    fn check_kinds(&self, path: &Path, directory: bool) -> Result<()> {
        if !self.files.as_ref().is_some_and(|files| files.keeps_kinds) {
            return Ok(());
        }
        let (parent, name) = self.root.parent_of(path)?;
        let shown = path::shown(path.as_os_str().as_bytes());
        match (existing(&parent, name)?, directory) {
            (Some(Existing::Directory), false) => Err(Error::invalid(format!(
                "cannot overwrite directory {shown} with non-directory"
            ))),
            (Some(Existing::Whiteout | Existing::Other), true) => Err(Error::invalid(format!(
                "cannot overwrite non-directory {shown} with directory"
            ))),
            _ => Ok(()),
        }
    }

    /// Removes what earlier entries have left at `path`.
    fn clear(&mut self, path: &Path) -> Result<()> {
        let (parent, name) = self.root.parent_of(path)?;
        // Directories that are open may be in what goes away.
        self.parents.forget();
        removal::remove_at(parent.as_fd(), name)
    }

    fn create_file(
        &mut self,
        path: &Path,
        parent: &OwnedFd,
        name: &OsStr,
        mode: Mode,
    ) -> Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.create(path, || rustix::fs::openat(parent, name, flags, mode))?;
        Ok(file.into())
    }

    fn directory(
        &mut self,
        path: &Path,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &Entry,
        (mode, needs): (Mode, Needs),
    ) -> Result<()> {
        let make = || rustix::fs::mkdirat(parent, name, mode | Mode::RWXU);
        let mut needs = Needs {
            mode: needs.mode || !mode.contains(Mode::RWXU),
            ..needs
        };
        match make() {
            Err(Errno::EXIST) => match existing(parent, name)? {
                Some(Existing::Directory) => {
                    needs = Needs::ALL;
                    // Its group may change, and that is what files in it get.
                    self.parents.forget();
                }
                Some(Existing::Whiteout) if self.files.is_none() => {
                    self.create(path, make)?;
                    set_opaque(&self.open_directory(path)?)?;
                }
                _ => {
                    self.check_kinds(path, true)?;
                    self.create(path, make)?;
                }
            },
            other => other?,
        }
        self.describe_directory(path, entry, needs)
    }

    fn describe_directory(&mut self, path: &Path, entry: &Entry, needs: Needs) -> Result<()> {
        if needs != Needs::NOTHING || !entry.xattrs.is_empty() {
            let directory = self.open_directory(path)?;
            attributes::own(directory.as_fd(), entry, needs)?;
            attributes::set_xattrs(directory.as_fd(), &entry.xattrs)?;
        }
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
        let target_path = match &self.files {
            Some(files) => files.directory.join(target_path),
            None => target_path,
        };
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
        attributes::describe(parent, name, entry, Needs::ALL)?;
        // The mode changes the ctime only, the mtime is as `describe` set it.
        attributes::set_node_mode(parent, name, kind, entry)
    }

    fn whiteout(&mut self, path: &Path) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        let parent = parent.fd;
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
