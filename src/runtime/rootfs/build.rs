//! Carries out a plan of mounts, in the container's first process. Decides nothing.
//!
//! All mounts go from descriptor to descriptor: what was looked up inside the root is what is
//! mounted on, whatever a container that shares a volume does to the names meanwhile. What the
//! kernel's file systems are is known because they are attached here, not looked up.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use orc_base::root::Root;
use orc_base::{Context, Error, Kind, Result};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{
    FsOpenFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_set_flag, fsopen, open_tree,
};

use crate::cgroup::Cgroup;
use crate::handshake::{Channel, Word};
use crate::rootfs::mount::{
    NODEV, NOEXEC, NOSUID, RDONLY, attach, clone_of, filesystem, mounted, set_attributes,
};
use crate::rootfs::target::{self, Shape};
use crate::rootfs::{Step, overlay, source};
use crate::spec::{Device, DeviceKind, Propagation, Submounts};
use crate::sys::linux::{Alone, MountAttributes, mount_setattr};
use crate::terminal::Terminal;

/// The most paths that one pattern of masked paths stands for: there may be many processors.
const MAX_EXPANDED: usize = 4096;
/// Where the kernel shows control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// What the steps need from the host's side.
pub(crate) struct Site<'a> {
    /// A directory of ours to mount the root on, out of the way.
    pub(crate) mountpoint: &'a Path,
    pub(crate) alone: &'a Alone,
    pub(crate) cgroup: &'a Cgroup,
    /// Says when the groups exist, and takes the terminal.
    pub(crate) channel: &'a Channel,
}

/// A root that has been entered.
pub(crate) struct Built {
    pub(crate) root: Root,
    /// The container's own procfs.
    pub(crate) proc: Root,
    /// The container's side of its terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

/// Carries out all steps.
pub(crate) fn build(steps: &[Step], site: &Site<'_>) -> Result<Built> {
    // Modes below are meant as they are written.
    rustix::process::umask(Mode::empty());
    let mut work = Work::default();
    for step in steps {
        work.carry_out(step, site).context(|| step.to_string())?;
    }
    let missing = || Error::internal("a plan without a root and procfs");
    Ok(Built {
        root: work.root.ok_or_else(missing)?,
        proc: work.proc.ok_or_else(missing)?,
        terminal: work.terminal,
    })
}

/// Carries out the steps of [`crate::rootfs::plan_files`]: a root on `mountpoint` that no program
/// runs in. The caller is in a mount namespace of its own.
pub(crate) fn build_files(steps: &[Step], mountpoint: &Path) -> Result<Root> {
    rustix::process::umask(Mode::empty());
    let mut work = Work::default();
    for step in steps {
        work.put(step, mountpoint).context(|| step.to_string())?;
    }
    work.root
        .ok_or_else(|| Error::internal("a plan without a root"))
}

/// What earlier steps left for later ones.
#[derive(Default)]
struct Work {
    sources: BTreeMap<usize, (OwnedFd, Shape)>,
    root: Option<Root>,
    proc: Option<Root>,
    dev: Option<Root>,
    pts: Option<OwnedFd>,
    /// An empty read-only directory that covers masked ones.
    blank: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

impl Work {
    fn carry_out(&mut self, step: &Step, site: &Site<'_>) -> Result<()> {
        match step {
            Step::OpenJoined {
                number,
                namespace,
                path,
            } => {
                let found = source::joined(site.alone, namespace, path)?;
                self.keep(*number, found)
            }
            Step::Proc => self.proc(),
            Step::Sysctl { path, value } => self.sysctl(path, value),
            Step::Sys { readonly } => {
                let mut attributes = NOSUID | NODEV | NOEXEC;
                if *readonly {
                    attributes |= RDONLY;
                }
                let sys = filesystem("sysfs", &[], attributes)?;
                attach(&sys, &target::ensure_top(self.root()?, "sys")?)
            }
            Step::Dev => self.dev(),
            Step::Node(device) => self.node(device),
            Step::Link { name, target } => {
                Ok(rustix::fs::symlinkat(*target, self.dev_root()?, *name)?)
            }
            Step::Terminals => self.terminals(),
            Step::Shm { bytes } => {
                let options = [("mode", "1777".to_owned()), ("size", bytes.to_string())];
                let shm = filesystem("tmpfs", &options, NOSUID | NODEV | NOEXEC)?;
                attach(&shm, &self.dev_directory("shm")?)
            }
            Step::Queues => {
                let queues = filesystem("mqueue", &[], NOSUID | NODEV | NOEXEC)?;
                attach(&queues, &self.dev_directory("mqueue")?)
            }
            Step::Console { size } => self.console(*size, site.channel),
            Step::EnterCgroups => {
                site.channel.expect(Word::Created)?;
                site.cgroup.enter(site.alone)
            }
            Step::Cgroups { own, readonly } => self.cgroups(*own, *readonly, site),
            Step::Directory(path) => self.root()?.create_dir_all(path, 0o755).map(drop),
            Step::Readonly(path) => self.make_readonly(path),
            Step::Mask(path) => self.mask_all(path),
            Step::Pivot => pivot(self.root()?.as_fd()),
            files => self.put(files, site.mountpoint),
        }
    }

    /// The steps that need nothing of a process.
    fn put(&mut self, step: &Step, mountpoint: &Path) -> Result<()> {
        match step {
            Step::Open {
                number,
                source,
                submounts,
                propagation,
                readonly,
            } => {
                let source = open_source(source, *submounts, *propagation, *readonly)?;
                self.keep(*number, source)
            }
            Step::OpenWithin {
                number,
                directory,
                subpath,
                readonly,
            } => {
                let directory = Root::open(directory)?;
                let place = directory.open_at(subpath, OFlags::PATH, Mode::empty())?;
                let tree = clone_of(place.as_fd(), true)?;
                own(&tree, Propagation::Private, *readonly, true)?;
                self.keep(*number, tree)
            }
            Step::Isolate => isolate(),
            Step::Layers {
                number,
                lowers,
                subpath,
            } => {
                let found = source::layers(lowers, subpath.as_deref(), mountpoint)?;
                self.keep(*number, found)
            }
            Step::Copies(files) => {
                let copies = source::copies(files, mountpoint)?;
                copies
                    .into_iter()
                    .try_for_each(|(number, copy)| self.keep(number, copy))
            }
            Step::Overlay(rootfs) => {
                let mount = overlay::mount(rootfs, mountpoint)?;
                self.root = Some(Root::from_fd(mount));
                Ok(())
            }
            Step::Bind { number, target } => {
                let source = self.sources.remove(number);
                let (source, shape) =
                    source.ok_or_else(|| Error::internal("a source that was not opened"))?;
                attach(&source, &target::ensure(self.root()?, target, shape)?)
            }
            Step::Tmpfs {
                target,
                options,
                readonly,
                exec,
            } => {
                let mut attributes = NOSUID | NODEV;
                if *readonly {
                    attributes |= RDONLY;
                }
                if !*exec {
                    attributes |= NOEXEC;
                }
                let tmpfs = filesystem("tmpfs", options, attributes)?;
                let target = target::ensure(self.root()?, target, Shape::Directory)?;
                attach(&tmpfs, &target)
            }
            Step::ReadonlyRoot => Ok(set_attributes(self.root()?.as_fd(), RDONLY, false)?),
            _ => Err(Error::internal("a step that needs a process")),
        }
    }

    /// Keeps what is open under a number, for the step that mounts it.
    fn keep(&mut self, number: usize, source: OwnedFd) -> Result<()> {
        let shape = target::shape(&source)?;
        self.sources.insert(number, (source, shape));
        Ok(())
    }

    fn root(&self) -> Result<&Root> {
        let missing = || Error::internal("a step before the root is there");
        self.root.as_ref().ok_or_else(missing)
    }

    fn dev_root(&self) -> Result<&Root> {
        let missing = || Error::internal("a step before /dev is there");
        self.dev.as_ref().ok_or_else(missing)
    }

    fn proc(&mut self) -> Result<()> {
        let proc = filesystem("proc", &[], NOSUID | NODEV | NOEXEC)?;
        attach(&proc, &target::ensure_top(self.root()?, "proc")?)?;
        self.proc = Some(Root::from_fd(proc));
        Ok(())
    }

    /// Through the procfs that was made here, so that no link can lead the value elsewhere.
    fn sysctl(&self, path: &Path, value: &str) -> Result<()> {
        let missing = || Error::internal("a sysctl before /proc is there");
        let proc = self.proc.as_ref().ok_or_else(missing)?;
        let file = proc.open_at(Path::new("sys").join(path), OFlags::WRONLY, Mode::empty())?;
        rustix::io::write(file, value.as_bytes())?;
        Ok(())
    }

    fn dev(&mut self) -> Result<()> {
        let options = [("mode", "755".to_owned()), ("size", "64m".to_owned())];
        let dev = filesystem("tmpfs", &options, NOSUID)?;
        attach(&dev, &target::ensure_top(self.root()?, "dev")?)?;
        self.dev = Some(Root::from_fd(dev));
        Ok(())
    }

    fn node(&self, device: &Device) -> Result<()> {
        let path = Path::new(&device.path);
        let name = path.strip_prefix("/dev").unwrap_or(path);
        let dev = self.dev_root()?;
        if let Some(parent) = name.parent() {
            dev.create_dir_all(parent, 0o755)?;
        }
        let (parent, name) = dev.parent_of(name)?;
        let kind = match device.kind {
            DeviceKind::Char => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
        };
        let mode = Mode::from_raw_mode(device.mode & 0o777);
        let number = rustix::fs::makedev(device.major, device.minor);
        rustix::fs::mknodat(&parent, name, kind, mode, number)?;
        if (device.uid, device.gid) != (0, 0) {
            let uid = rustix::fs::Uid::from_raw_unchecked(device.uid);
            let gid = rustix::fs::Gid::from_raw_unchecked(device.gid);
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&parent, name, Some(uid), Some(gid), flags)?;
        }
        Ok(())
    }

    fn dev_directory(&self, name: &str) -> Result<OwnedFd> {
        self.dev_root()?.create_dir_all(name, 0o755)
    }

    fn terminals(&mut self) -> Result<()> {
        let options = [
            ("ptmxmode", "0666".to_owned()),
            ("mode", "0620".to_owned()),
            ("gid", "5".to_owned()),
        ];
        let pts = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_flag(&pts, "newinstance")?;
        let pts = mounted(&pts, &options, NOSUID | NOEXEC)?;
        attach(&pts, &self.dev_directory("pts")?)?;
        self.pts = Some(pts);
        Ok(())
    }

    /// The terminal comes from the devpts made here, and its file is bound by descriptor: an image
    /// that ships `/dev/console` or `/dev/pts/0` has no say (CVE-2025-52565).
    fn console(&mut self, size: Option<(u16, u16)>, channel: &Channel) -> Result<()> {
        let missing = || Error::internal("a terminal before devpts is there");
        let pts = self.pts.as_ref().ok_or_else(missing)?;
        let terminal = Terminal::open(pts.as_fd(), size)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o600);
        drop(self.dev_root()?.open_at("console", flags, mode)?);
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let console = self.dev_root()?.open_at("console", flags, Mode::empty())?;
        attach(&clone_of(terminal.user.as_fd(), false)?, &console)?;
        channel.hand_terminal(&terminal.master)?;
        self.terminal = Some(terminal.user);
        Ok(())
    }

    fn cgroups(&self, own: bool, readonly: bool, site: &Site<'_>) -> Result<()> {
        let mut attributes = NOSUID | NODEV | NOEXEC;
        if readonly {
            attributes |= RDONLY;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let place = match self.root()?.open_at(CGROUPS, flags, Mode::empty()) {
            // A kernel without control groups.
            Err(error) if error.kind() == Kind::NotFound => return Ok(()),
            other => other?,
        };
        if !own {
            return attach_clone(Path::new(CGROUPS), true, attributes, &place);
        }
        let views = site.cgroup.views();
        if let [(None, path)] = views.as_slice() {
            return attach_clone(path, false, attributes, &place);
        }
        let options = [("mode", "755".to_owned())];
        let shelf = filesystem("tmpfs", &options, NOSUID | NODEV | NOEXEC)?;
        attach(&shelf, &place)?;
        let directory = Root::from_fd(shelf);
        for (name, path) in &views {
            let name = name.as_deref().unwrap_or("unified");
            let place = directory.create_dir_all(name, 0o755)?;
            attach_clone(path, false, attributes, &place)?;
            // `cpu,cpuacct` is also known by each of its names.
            for alias in name.split(',').filter(|alias| *alias != name) {
                rustix::fs::symlinkat(name, &directory, alias)?;
            }
        }
        match readonly {
            true => Ok(set_attributes(directory.as_fd(), RDONLY, false)?),
            false => Ok(()),
        }
    }

    fn make_readonly(&self, path: &Path) -> Result<()> {
        let Some(target) = self.existing(path)? else {
            return Ok(());
        };
        let copy = clone_of(target.as_fd(), true)?;
        set_attributes(copy.as_fd(), RDONLY, true)?;
        attach(&copy, &target)
    }

    fn mask_all(&mut self, path: &Path) -> Result<()> {
        for path in self.expand(path)? {
            self.mask(&path)?;
        }
        Ok(())
    }

    /// The path itself, or what its one component with a `*` at its end stands for.
    fn expand(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let Some((directory, prefix, rest)) = split_pattern(path) else {
            return Ok(vec![path.into()]);
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let list = match self.root()?.open_at(&directory, flags, Mode::empty()) {
            Err(error) if error.kind() == Kind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut paths = Vec::new();
        for entry in rustix::fs::Dir::read_from(&list)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) && paths.len() < MAX_EXPANDED {
                paths.push(directory.join(name).join(&rest));
            }
        }
        Ok(paths)
    }

    fn mask(&mut self, path: &Path) -> Result<()> {
        let Some(target) = self.existing(path)? else {
            return Ok(());
        };
        if target::shape(&target)? == Shape::Directory {
            return self.mask_directory(&target);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let null = self.dev_root()?.open_at("null", flags, Mode::empty())?;
        if !target::is_char_device(&null, 1, 3)? {
            return Err(Error::internal("/dev/null is not the null device"));
        }
        attach(&clone_of(null.as_fd(), false)?, &target)
    }

    /// All masked directories are one empty file system.
    fn mask_directory(&mut self, target: &OwnedFd) -> Result<()> {
        if let Some(blank) = &self.blank {
            return attach(&clone_of(blank.as_fd(), false)?, target);
        }
        let options = [("mode", "755".to_owned()), ("size", "0".to_owned())];
        let blank = filesystem("tmpfs", &options, NOSUID | NODEV | NOEXEC | RDONLY)?;
        attach(&blank, target)?;
        self.blank = Some(blank);
        Ok(())
    }

    /// What is at `path`, if anything is.
    fn existing(&self, path: &Path) -> Result<Option<OwnedFd>> {
        match self.root()?.open_at(path, OFlags::PATH, Mode::empty()) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

/// What is before, in, and after the component that ends in `*`.
fn split_pattern(path: &Path) -> Option<(PathBuf, String, PathBuf)> {
    let mut before = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        let name = component.as_os_str().to_str()?;
        if let Some(prefix) = name.strip_suffix('*') {
            return Some((before, prefix.into(), components.as_path().into()));
        }
        before.push(name);
    }
    None
}

fn open_source(
    source: &Path,
    submounts: Submounts,
    propagation: Propagation,
    readonly: bool,
) -> Result<OwnedFd> {
    let recursive = submounts != Submounts::Leave;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(CWD, source, flags)?;
    let below = readonly && submounts != Submounts::Writable;
    own(&tree, propagation, below, recursive)?;
    if readonly && !below {
        set_attributes(tree.as_fd(), RDONLY, false)?;
    }
    Ok(tree)
}

/// Sets how a tree of mounts is connected with the one it was copied from, and whether it is written.
fn own(tree: &OwnedFd, propagation: Propagation, readonly: bool, recursive: bool) -> Result<()> {
    let attributes = MountAttributes {
        set: if readonly { libc::MOUNT_ATTR_RDONLY } else { 0 },
        propagation: match propagation {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
        },
        recursive,
    };
    Ok(mount_setattr(tree.as_fd(), attributes)?)
}

fn isolate() -> Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", flags)?)
}

/// The root becomes `/`, and nothing of the host's tree is left (pivot_root(2), notes on `"."`).
fn pivot(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Mounts a directory of the host's on a place inside.
fn attach_clone(
    source: &Path,
    recursive: bool,
    attributes: MountAttrFlags,
    place: &OwnedFd,
) -> Result<()> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(CWD, source, flags).context(|| source.display().to_string())?;
    set_attributes(tree.as_fd(), attributes, recursive)?;
    attach(&tree, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_one_star() {
        let split = |path: &str| {
            split_pattern(Path::new(path)).map(|(before, prefix, rest)| {
                format!("{} {prefix} {}", before.display(), rest.display())
            })
        };
        assert_eq!(split("/sys/cpu*/x/y").as_deref(), Some("/sys cpu x/y"));
        assert_eq!(split("/a/*").as_deref(), Some("/a  "));
        assert_eq!(split("/proc/kcore"), None);
    }
}
