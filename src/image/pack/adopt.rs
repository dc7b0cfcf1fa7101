//! An upper directory becomes what unpacking its own layer would give, without unpacking it.
//!
//! Takes away what is not in the layer: marks of overlayfs that only mean something to the mount that
//! wrote them, attributes that no archive keeps, sockets; and cuts times to whole seconds, none later
//! than the layer says. Whiteouts and opaque directories stay: overlayfs reads them.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Stat, Timespec, Timestamps};

use orc_base::{Context, Result, Time};

use crate::pack::layer::{OPAQUE_XATTR, is_opaque, is_whiteout, open};
use crate::pack::look;
use crate::pack::walk::{self, Met, Next, Visitor};
use crate::unpack::attributes::is_kept;

/// Makes the directory `upper`, which nobody else uses, like its unpacked layer. Blocks.
pub fn settle(upper: &Path, clamp: Option<Time>) -> Result<()> {
    let directory = open(upper)?;
    strip(directory.as_fd(), is_opaque(directory.as_fd())?)?;
    let times = Vec::new();
    walk::walk(directory.as_fd(), &mut Settler { clamp, times })
        .context(|| format!("settle {}", upper.display()))
}

struct Settler {
    clamp: Option<Time>,
    /// The times of the directories we are in: taking a socket away changes them.
    times: Vec<Timestamps>,
}

impl Settler {
    fn times(&self, stat: &Stat) -> Timestamps {
        let time = Timespec {
            tv_sec: look::mtime(stat, self.clamp),
            tv_nsec: 0,
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }

    fn set_times(&self, parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(parent, name, &self.times(stat), flags).context(|| "set its time")
    }
}

impl Visitor for Settler {
    fn meet(&mut self, met: &Met<'_>) -> Result<Next> {
        if let Some(directory) = met.directory {
            strip(directory, is_opaque(directory)?)?;
            self.times.push(self.times(met.stat));
            return Ok(Next::Enter);
        }
        if is_whiteout(met) {
            return Ok(Next::Pass);
        }
        if met.kind() == FileType::Socket {
            rustix::fs::unlinkat(met.parent, met.name, AtFlags::empty())?;
            return Ok(Next::Pass);
        }
        if met.kind() == FileType::RegularFile
            && let Some((file, _)) = look::open_file(met.parent, met.name)?
        {
            strip(file.as_fd(), false)?;
        }
        self.set_times(met.parent, met.name, met.stat)?;
        Ok(Next::Pass)
    }

    fn leave(&mut self, directory: BorrowedFd<'_>, _path: &Path) -> Result<()> {
        match self.times.pop() {
            Some(times) => {
                rustix::fs::futimens(directory, &times).context(|| "set the time of a directory")
            }
            None => Ok(()),
        }
    }
}

/// Removes all extended attributes that a layer does not keep.
fn strip(file: BorrowedFd<'_>, opaque: bool) -> Result<()> {
    for name in look::names(file)? {
        // The labels of security modules are this machine's own.
        let stays = is_kept(&name) || name.starts_with(b"security.");
        if stays || (opaque && name == OPAQUE_XATTR) {
            continue;
        }
        rustix::fs::fremovexattr(file, OsStr::from_bytes(&name))
            .context(|| format!("remove its extended attribute `{}`", name.escape_ascii()))?;
    }
    Ok(())
}
