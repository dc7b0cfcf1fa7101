//! A container's files, seen from inside and held from outside.
//!
//! ```text
//! running   its mount namespace ──copy──▶ a namespace of ours ──unmount /proc, /sys, /dev …──▶ root
//! stopped   the daemon's        ──copy──▶ a namespace of ours ──layers, volumes, binds──────▶ root
//! ```
//!
//! What comes back is a root directory: every look-up in it goes by descriptor through its mounts, and
//! no path of the host's is ever asked, so nothing a container does to names, links or mounts
//! meanwhile leads anywhere else (hazards D1 and D3). The kernel's own file systems are not in it: who
//! writes files into a container must not end up writing into `/proc`. The namespace has no process;
//! it is gone with the view. Nothing of the container is executed or loaded (hazard D2).
//!
//! Namespaces belong to threads: each view is made on a thread of its own that ends at once.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use orc_base::root::Root;
use orc_base::{Context, Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use crate::monitor::Monitor;
use crate::rootfs;
use crate::spec::{Mount, Rootfs};
use crate::sys::linux;

/// The most bytes of a list of mounts: the kernel allows 100 000 of them by default.
const MAX_MOUNTINFO: u64 = 64 << 20;

/// The files of a container. Dropping it takes its mounts down.
#[derive(Debug)]
pub struct View {
    root: Root,
    /// Keeps the mounts below the root: without it each would stand alone.
    _mounts: OwnedFd,
}

impl View {
    /// The files of a running container as they are, with what is mounted on `targets` and below, and
    /// without all other mounts. Blocks.
    pub fn of_running(monitor: &Monitor, targets: &[String]) -> Result<Self> {
        let process = monitor.pidfd().as_fd();
        on_a_thread(|| running(process, targets)).context(|| "look into the running container")
    }

    /// The files of a container that does not run, with what `mounts` binds into it. Nobody may start
    /// it meanwhile. Missing places for the mounts are made, as a start makes them. Blocks.
    pub fn of_stopped(rootfs: &Rootfs, mounts: &[Mount]) -> Result<Self> {
        on_a_thread(|| stopped(rootfs, mounts)).context(|| "put the container's files together")
    }

    /// The root directory of the container.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

fn on_a_thread(work: impl FnOnce() -> Result<View> + Send) -> Result<View> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("view".into());
        let thread = thread.spawn_scoped(scope, work)?;
        thread
            .join()
            .map_err(|_| Error::internal("a thread that looks into a container panicked"))?
    })
}

fn stopped(rootfs: &Rootfs, mounts: &[Mount]) -> Result<View> {
    let proc = Proc::open()?;
    linux::unshare_mounts_of_thread().context(|| "make a mount namespace")?;
    let steps = rootfs::plan_files(rootfs, mounts);
    // Any directory will do: only the descriptor is used.
    let root = rootfs::build::build_files(&steps, &rootfs.upper)?;
    Ok(View {
        root,
        _mounts: proc.open_namespace()?,
    })
}

fn running(process: BorrowedFd<'_>, targets: &[String]) -> Result<View> {
    let proc = Proc::open()?;
    linux::unshare_root_of_thread()?;
    move_into_thread_name_spaces(process, ThreadNameSpaceType::MOUNT)
        .context(|| "enter its mount namespace")?;
    linux::unshare_mounts_of_thread().context(|| "copy its mount namespace")?;
    // Or unmounting here would be seen there.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).context(|| "leave its mounts")?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, "/", flags, Mode::empty())?;
    let root = Root::from_fd(root);
    keep_only(&proc, &root, targets)?;
    Ok(View {
        root,
        _mounts: proc.open_namespace()?,
    })
}

/// Unmounts all but the root and what is on `targets` and below. The names on the way are the
/// container's, which may change them meanwhile: what is left is looked at again.
fn keep_only(proc: &Proc, root: &Root, targets: &[String]) -> Result<()> {
    let mut kept: BTreeSet<u64> = BTreeSet::new();
    for target in targets {
        // A target that the container has moved away is not seen, which is all that happens.
        if let Ok(file) = root.open_at(target, OFlags::PATH, Mode::empty()) {
            kept.insert(mount_of(file.as_fd())?);
        }
    }
    let top = mount_of(root.as_fd())?;
    kept.remove(&top);
    for mount in unwanted(&proc.mounts()?, top, &kept) {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        // What was below something unmounted before is gone with it.
        let _ = rustix::mount::unmount(&mount.point, flags);
    }
    match unwanted(&proc.mounts()?, top, &kept).first() {
        None => Ok(()),
        Some(left) => Err(Error::unavailable(format!(
            "{} cannot be left out: its mounts are being changed, try again",
            left.point.display()
        ))),
    }
}

/// One line of the list of mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    id: u64,
    parent: u64,
    point: PathBuf,
}

/// The mounts that are neither the root, nor kept, nor below something kept; innermost first.
fn unwanted(all: &[Listed], top: u64, kept: &BTreeSet<u64>) -> Vec<Listed> {
    let mut stay = kept.clone();
    let mut others = Vec::new();
    // A mount comes after the one that it is on.
    for mount in all.iter().filter(|mount| mount.id != top) {
        match stay.contains(&mount.id) || stay.contains(&mount.parent) {
            true => drop(stay.insert(mount.id)),
            false => others.push(mount.clone()),
        }
    }
    others.reverse();
    others
}

fn mount_of(file: BorrowedFd<'_>) -> Result<u64> {
    let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .context(|| "ask for its mount")?;
    Ok(stat.stx_mnt_id)
}

/// The host's procfs, opened while its path leads there.
struct Proc(OwnedFd);

impl Proc {
    fn open() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::openat(CWD, "/proc", flags, Mode::empty());
        proc.map(Self).context(|| "open /proc")
    }

    /// The mount namespace that the calling thread is in.
    fn open_namespace(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, "thread-self/ns/mnt", flags, Mode::empty())
            .context(|| "hold the mount namespace")
    }

    /// The mounts that the calling thread sees (proc_pid_mountinfo(5)).
    fn mounts(&self) -> Result<Vec<Listed>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, "thread-self/mountinfo", flags, Mode::empty())?;
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(MAX_MOUNTINFO)
            .read_to_end(&mut bytes)
            .context(|| "list its mounts")?;
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| parse(line).ok_or_else(|| Error::internal("a strange list of mounts")))
            .collect()
    }
}

fn parse(line: &[u8]) -> Option<Listed> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let point = fields.nth(2)?;
    Some(Listed {
        id,
        parent,
        point: unescape(point),
    })
}

/// Blanks and backslashes are written as `\` and three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    Path::new(std::ffi::OsStr::from_bytes(&bytes)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 20 0:1 / / rw - overlay overlay rw
31 30 0:2 / /proc rw,nosuid - proc proc rw
32 31 0:2 /sys /proc/sys ro - proc proc rw
33 30 8:1 /v /my\\040data rw master:1 - ext4 /dev/sda rw
34 33 0:9 / /my\\040data/inner rw - tmpfs tmpfs rw
35 30 0:3 / /dev rw - tmpfs tmpfs rw
36 30 8:1 /h /etc/hosts rw - ext4 /dev/sda rw
";

    #[test]
    fn kept_mounts_keep_what_is_on_them() {
        let all: Vec<_> = MOUNTS
            .lines()
            .map(|line| parse(line.as_bytes()).unwrap())
            .collect();
        assert_eq!(all[3].point, Path::new("/my data"));
        let points = |kept: &[u64]| -> Vec<String> {
            let left = unwanted(&all, 30, &kept.iter().copied().collect());
            left.iter()
                .map(|one| one.point.display().to_string())
                .collect()
        };
        assert_eq!(points(&[33, 36]), ["/dev", "/proc/sys", "/proc"]);
        assert_eq!(points(&[]).len(), 6);
        assert_eq!(parse(b"x y"), None);
        assert_eq!(unescape(b"a\\134b\\"), Path::new("a\\b\\"));
    }
}
