//! Owner, mode, times and extended attributes of what was unpacked.
//!
//! By descriptor where there is one, and otherwise by calls that do not follow links.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use orc_base::{Context, Error, Result, Time};

use crate::unpack::born::Needs;
use crate::unpack::entry::Entry;
use crate::unpack::limits::MAX_XATTR_BYTES;

/// Owner first: changing it drops set-id bits and file capabilities. Times last.
pub(crate) fn finish(file: impl AsFd, entry: &Entry, needs: Needs) -> Result<()> {
    let file = file.as_fd();
    own(file, entry, needs)?;
    set_xattrs(file, &entry.xattrs)?;
    rustix::fs::futimens(file, &times(entry.mtime)).context(|| "set its time")
}

/// Owner and mode of an open file, where it does not have them.
pub(crate) fn own(file: BorrowedFd<'_>, entry: &Entry, needs: Needs) -> Result<()> {
    if needs.owner {
        rustix::fs::fchown(file, uid(entry), gid(entry)).context(|| "set its owner")?;
    }
    if needs.mode {
        rustix::fs::fchmod(file, mode(entry)).context(|| "set its mode")?;
    }
    Ok(())
}

/// Owner and time of what cannot be opened without side effects.
pub(crate) fn describe(parent: &OwnedFd, name: &OsStr, entry: &Entry, needs: Needs) -> Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    if needs.owner {
        rustix::fs::chownat(parent, name, uid(entry), gid(entry), flags)
            .context(|| "set its owner")?;
    }
    rustix::fs::utimensat(parent, name, &times(entry.mtime), flags).context(|| "set its time")
}

/// The mode of a node of `kind`, which is not opened. chmod(2) would follow a link that someone puts
/// there meanwhile, so what is there is held first.
pub(crate) fn set_node_mode(
    parent: &OwnedFd,
    name: &OsStr,
    kind: FileType,
    entry: &Entry,
) -> Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&held)?.st_mode) != kind {
        return Err(Error::conflict("was replaced while it was written"));
    }
    // Leads to what is held and nowhere else (proc_pid_fd(5)).
    let path = format!("/proc/self/fd/{}", held.as_raw_fd());
    rustix::fs::chmod(path, mode(entry)).context(|| "set its mode")
}

fn uid(entry: &Entry) -> Option<Uid> {
    Some(Uid::from_raw(entry.uid))
}

fn gid(entry: &Entry) -> Option<Gid> {
    Some(Gid::from_raw(entry.gid))
}

/// The permission bits.
pub(crate) fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

/// Both times of a file.
pub(crate) fn times(mtime: Time) -> Timestamps {
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
pub(crate) fn is_kept(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    user || name == b"security.capability"
}

/// The extended attributes that are kept.
pub(crate) fn set_xattrs(file: BorrowedFd<'_>, xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
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
            other => other.context(|| {
                format!(
                    "set its extended attribute `{shown}` of {} bytes",
                    value.len()
                )
            })?,
        }
    }
    Ok(())
}
