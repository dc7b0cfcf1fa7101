//! The kernel's calls that make, copy, change and attach mounts, all by descriptor (fsopen(2),
//! open_tree(2), move_mount(2), mount_setattr(2)). What is mounted where is decided elsewhere.

use std::os::fd::{BorrowedFd, OwnedFd};

use orc_base::{Context, Result};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::sys::linux::{MountAttributes, mount_setattr};

pub(super) const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
pub(super) const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
pub(super) const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
pub(super) const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// A new file system of one of the kernel's own kinds, attached nowhere.
pub(super) fn filesystem(
    kind: &str,
    options: &[(&str, String)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    mounted(&context, options, attributes)
}

/// The file system that a context describes, attached nowhere.
pub(super) fn mounted(
    context: &OwnedFd,
    options: &[(&str, String)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd> {
    for (key, value) in options {
        fsconfig_set_string(context, *key, value)
            .context(|| format!("set option {key}={value}"))?;
    }
    fsconfig_create(context)?;
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Mounts what is open on a place that is open.
pub(super) fn attach(mount: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", target, c"", flags)?)
}

/// Another mount of what is open.
pub(super) fn clone_of(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(fd, c"", flags)?)
}

/// Adds attributes to a mount, and to those below it if that is wanted.
pub(super) fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttrFlags,
    recursive: bool,
) -> Result<(), Errno> {
    let attributes = MountAttributes {
        set: attributes.bits().into(),
        propagation: 0,
        recursive,
    };
    mount_setattr(mount, attributes)
}
