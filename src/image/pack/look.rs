//! What a header says about a file that is on disk.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use orc_base::{Context, Error, Result, Time};

use crate::pack::tape::{Header, Kind};
use crate::unpack::attributes::is_kept;
use crate::unpack::entry::Device;
use crate::unpack::limits::{MAX_SPARSE_PIECES, MAX_XATTRS};
use crate::unpack::sparse::{Map, Piece};

/// The most seconds from 1970 whose nanoseconds a [`Time`] counts.
const MAX_SECONDS: i64 = i64::MAX / 1_000_000_000 - 1;
/// Marks of overlayfs on what has its contents somewhere else (`metacopy`, `redirect_dir`), which no
/// archive can say. Only the upper directory of an overlay shows them, and none that we mount.
const ELSEWHERE: [&[u8]; 2] = [b"trusted.overlay.metacopy", b"trusted.overlay.redirect"];
/// Fewer bytes of holes than this are written as zeros: every reader knows those.
const WORTH_A_MAP: u64 = 16 << 20;

/// Permission bits with set-id and sticky bits.
pub(super) fn mode(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

/// Whole seconds, as Docker writes them, and none later than `clamp`. A time that [`Time`] cannot say,
/// before 1678 or after 2262, becomes the nearest it can: `unpack` would refuse it.
pub(super) fn mtime(stat: &Stat, clamp: Option<Time>) -> i64 {
    let seconds = stat.st_mtime.clamp(-MAX_SECONDS, MAX_SECONDS);
    clamp.map_or(seconds, |clamp| seconds.min(clamp.secs()))
}

/// A header for `name` with the attributes of `stat`.
pub(super) fn header(name: Vec<u8>, kind: Kind, stat: &Stat, clamp: Option<Time>) -> Header {
    Header {
        name,
        kind,
        mode: mode(stat),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: mtime(stat, clamp),
        xattrs: Vec::new(),
    }
}

/// The numbers of a device node.
pub(super) fn device(stat: &Stat) -> Device {
    Device {
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
    }
}

/// The regular file `name`, open for reading. Never opens anything else, which could have effects: a
/// device answers to being opened. None when it is no regular file (any more).
pub(super) fn open_file(parent: BorrowedFd<'_>, name: &CStr) -> Result<Option<(File, Stat)>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let stat = rustix::fs::fstat(&held)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    // Opens what is held, whatever the name means by now (proc_pid_fd(5)).
    let again = format!("/proc/self/fd/{}", held.as_raw_fd());
    let file = rustix::fs::open(again, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Some((file.into(), stat)))
}

/// The extended attributes that an archive keeps, in the order of their names.
pub(crate) fn xattrs(file: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = names(file)?;
    if let Some(mark) = names.iter().find(|one| ELSEWHERE.contains(&&one[..])) {
        return Err(Error::unsupported(format!(
            "has the mark `{}` of overlayfs: its contents are elsewhere",
            mark.escape_ascii()
        )));
    }
    names.retain(|one| is_kept(one));
    names.sort_unstable();
    if names.len() > MAX_XATTRS {
        return Err(Error::exhausted(format!(
            "has more than {MAX_XATTRS} extended attributes"
        )));
    }
    let mut pairs = Vec::with_capacity(names.len());
    for name in names {
        if let Some(value) = xattr(file, &name)? {
            pairs.push((name, value));
        }
    }
    Ok(pairs)
}

/// The names of all extended attributes.
pub(super) fn names(file: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    // The kernel's XATTR_LIST_MAX is the largest answer there is.
    let mut list = Vec::with_capacity(1 << 10);
    let result = rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut list));
    match result {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            list.reserve_exact(64 << 10);
            rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut list))
                .context(|| "list its extended attributes")?;
        }
        other => {
            other.context(|| "list its extended attributes")?;
        }
    }
    let names = list.split(|byte| *byte == 0).filter(|one| !one.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// One extended attribute; none when it is gone.
pub(super) fn xattr(file: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut value = Vec::with_capacity(256);
    let read = |value: &mut Vec<u8>| {
        let room = rustix::buffer::spare_capacity(value);
        rustix::fs::fgetxattr(file, OsStr::from_bytes(name), room)
    };
    let result = match read(&mut value) {
        Err(Errno::RANGE) => {
            value.reserve_exact(64 << 10);
            read(&mut value)
        }
        other => other,
    };
    match result {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => {
            Err(errno).context(|| format!("read its extended attribute `{}`", name.escape_ascii()))
        }
    }
}

/// Where the bytes of a file of `size` are. The kernel tells holes without reading them (lseek(2)).
pub(crate) fn map(file: &File, size: u64) -> Result<Map> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match rustix::fs::seek(file.as_fd(), SeekFrom::Data(at)) {
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            other => other.context(|| "look for its data")?,
        };
        if offset >= size {
            break;
        }
        let end = rustix::fs::seek(file.as_fd(), SeekFrom::Hole(offset));
        let end = end.context(|| "look for its holes")?.min(size);
        pieces.push(Piece {
            offset,
            length: end.saturating_sub(offset),
        });
        at = end.max(at + 1);
    }
    Ok(Map { size, pieces })
}

/// Whether the archive should say where the holes are instead of writing zeros.
pub(super) fn is_worth_a_map(map: &Map) -> bool {
    let data: u64 = map.pieces.iter().map(|piece| piece.length).sum();
    map.size.saturating_sub(data) >= WORTH_A_MAP && map.pieces.len() < MAX_SPARSE_PIECES
}
