//! What is mounted into a root and is no place of the host's: the layers of an image, copies of small
//! files in memory, and directories of other containers.
//!
//! The first two are made on a directory of ours in the container's own mount namespace and taken off it again
//! at once: open_tree(2) copies only what is attached (before Linux 6.15). What was copied keeps the
//! file system alive, so it is gone with the container and there is nothing to clean up.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use orc_base::root::Root;
use orc_base::{Context, Error, Result};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsOpenFlags, MoveMountFlags, UnmountFlags, fsconfig_set_flag, fsopen, move_mount, unmount,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::namespaces;
use crate::rootfs::mount::{NODEV, NOEXEC, NOSUID, RDONLY, clone_of, mounted, set_attributes};
use crate::rootfs::{Copied, overlay};
use crate::sys::linux::Alone;

/// The most bytes of a file that is copied: as much as Docker's store of configs takes.
const MAX_COPY: u64 = 1 << 20;
/// The most bytes of all copies of one container.
const MAX_COPIES: u64 = 64 << 20;

/// The layers, topmost first, or what `subpath` names in them: a mount that is attached nowhere.
/// Links of the image lead nowhere but inside. `at` is a directory to mount on for a moment.
pub(super) fn layers(lowers: &[PathBuf], subpath: Option<&str>, at: &Path) -> Result<OwnedFd> {
    let (root, stacked) = match lowers {
        [] => return Err(Error::internal("an image without layers")),
        [only] => (Root::open(only)?, false),
        lowers => (Root::from_fd(overlay::mount_readonly(lowers, at)?), true),
    };
    let found = inside(&root, subpath);
    drop(root);
    if stacked {
        unmount(at, UnmountFlags::DETACH).context(|| "put the layers aside")?;
    }
    found
}

fn inside(root: &Root, subpath: Option<&str>) -> Result<OwnedFd> {
    let place = match subpath.filter(|path| !path.is_empty()) {
        Some(path) => root
            .open_at(path, OFlags::PATH, Mode::empty())
            .context(|| format!("find {path} in the image"))?,
        None => root.open_at(".", OFlags::PATH, Mode::empty())?,
    };
    let copy = clone_of(place.as_fd(), false)?;
    set_attributes(copy.as_fd(), RDONLY | NODEV, false)?;
    Ok(copy)
}

/// A directory that another mount namespace has at `path`: a mount that is attached nowhere, for
/// open_tree(2) copies nothing of other namespaces. This process goes there and comes back: nothing
/// that it finds there is more than a name below the root of that namespace.
pub(super) fn joined(_alone: &Alone, namespace: &Path, path: &str) -> Result<OwnedFd> {
    let own = namespaces::open(Path::new("/proc/self/ns/mnt")).context(|| "hold its own mounts")?;
    let root = Root::open(Path::new("/"))?;
    let other = namespaces::open(namespace)?;
    move_into_link_name_space(other.as_fd(), Some(LinkNameSpaceType::Mount))
        .context(|| format!("enter the mounts of {}", namespace.display()))?;
    let found = directory(path);
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))
        .context(|| "come back to its own mounts")?;
    // Entering leads to the root of all mounts, which need not be where this process was.
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    found
}

fn directory(path: &str) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let place = Root::open(Path::new("/"))?.open_at(path, flags, Mode::empty())?;
    clone_of(place.as_fd(), false)
}

/// Copies of files, each as a mount that is attached nowhere, by their numbers. They are never
/// swapped out where the kernel can see to it (Linux 6.4).
pub(super) fn copies(files: &[Copied], at: &Path) -> Result<Vec<(usize, OwnedFd)>> {
    let memory = memory()?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&memory, c"", CWD, at, flags).context(|| "mount memory for files")?;
    let memory = Root::from_fd(memory);
    let copied = files
        .iter()
        .map(|file| Ok((file.number, copy(&memory, file)?)))
        .collect();
    drop(memory);
    unmount(at, UnmountFlags::DETACH).context(|| "put the memory for files aside")?;
    copied
}

fn memory() -> Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    match fsconfig_set_flag(&context, "noswap") {
        // An older kernel.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno).context(|| "set noswap"),
    }
    let options = [("mode", "700".into()), ("size", MAX_COPIES.to_string())];
    mounted(&context, &options, NOSUID | NODEV | NOEXEC)
}

fn copy(memory: &Root, file: &Copied) -> Result<OwnedFd> {
    let bytes = read(&file.source).context(|| format!("read {}", file.source.display()))?;
    let name = file.number.to_string();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = memory.open_at(&name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut written = std::fs::File::from(written);
    written.write_all(&bytes)?;
    let (uid, gid) = (
        Uid::from_raw_unchecked(file.uid),
        Gid::from_raw_unchecked(file.gid),
    );
    rustix::fs::fchown(&written, Some(uid), Some(gid))?;
    // After the owner, whose change drops bits.
    rustix::fs::fchmod(&written, Mode::from_raw_mode(file.mode & 0o7777))?;
    drop(written);
    let place = memory.open_at(&name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let copy = clone_of(place.as_fd(), false)?;
    set_attributes(copy.as_fd(), RDONLY | NOSUID | NODEV | NOEXEC, false)?;
    Ok(copy)
}

/// The bytes of a file of the host's. A pipe or a device would be waited for.
fn read(path: &Path) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Error::invalid("it is not a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(MAX_COPY + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= MAX_COPY {
        true => Ok(bytes),
        false => Err(Error::exhausted(format!(
            "it is larger than the {} KiB of a file that is copied into memory: mount it instead",
            MAX_COPY >> 10
        ))),
    }
}
