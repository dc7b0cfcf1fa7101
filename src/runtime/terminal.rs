//! Pseudo-terminals, made without looking up a path: from the `ptmx` of an open devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orc_base::root::Root;
use orc_base::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;

/// `DEVPTS_SUPER_MAGIC` (statfs(2)).
const DEVPTS_MAGIC: u32 = 0x1cd1;

/// Both sides of one terminal.
pub(crate) struct Terminal {
    /// For who watches and types.
    pub(crate) master: OwnedFd,
    /// For the program.
    pub(crate) user: OwnedFd,
}

impl Terminal {
    /// A new terminal of a devpts mount.
    pub(crate) fn open(devpts: BorrowedFd<'_>, size: Option<(u16, u16)>) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let master =
            rustix::fs::openat(devpts, "ptmx", flags, Mode::empty()).context(|| "open ptmx")?;
        Self::of(master, size)
    }

    /// A new terminal of the container whose root is `root`, which may have tampered with `/dev`.
    pub(crate) fn open_in(root: &Root, size: Option<(u16, u16)>) -> Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let master = root
            .open_at("/dev/pts/ptmx", flags, Mode::empty())
            .context(|| "open ptmx")?;
        let magic = rustix::fs::fstatfs(&master)?.f_type as u32;
        let stat = rustix::fs::fstat(&master)?;
        let number = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        if magic != DEVPTS_MAGIC || number != (5, 2) {
            return Err(Error::invalid(
                "/dev/pts/ptmx of the container is not what it should be",
            ));
        }
        Self::of(master, size)
    }

    fn of(master: OwnedFd, size: Option<(u16, u16)>) -> Result<Self> {
        let user = || {
            rustix::pty::unlockpt(&master)?;
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            rustix::pty::ioctl_tiocgptpeer(&master, flags)
        };
        let user = user().context(|| "open the program's side of a terminal")?;
        if let Some((rows, cols)) = size {
            resize(&master, rows, cols)?;
        }
        Ok(Self { master, user })
    }
}

/// Makes `user` the controlling terminal of this process, which must lead a session.
pub(crate) fn control(user: &OwnedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(user).context(|| "take control of the terminal")
}

/// Sets the size of a terminal by its master side.
pub(crate) fn resize(terminal: impl AsFd, rows: u16, cols: u16) -> Result<()> {
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size)
        .context(|| format!("set the terminal's size to {rows} rows, {cols} columns"))
}
