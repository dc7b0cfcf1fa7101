//! The daemon's handle of the launcher process.
//!
//! The launcher runs the same program through a detached read-only mount of it: a container that
//! reaches the program through `/proc/PID/exe` of a process that is about to enter it cannot write
//! it (CVE-2019-5736). Its only inheritance is one end of a socket, as standard input.

pub(crate) mod process;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orc_base::{Context, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::net::SendFlags;

use crate::sys::linux::{MountAttributes, mount_setattr};
use crate::wire;

/// How long the launcher may be too busy to take an order.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// A running launcher. It ends when this is dropped, or with the daemon.
#[derive(Debug)]
pub(crate) struct Launcher {
    socket: Option<OwnedFd>,
    child: Child,
}

impl Launcher {
    /// Starts a launcher of this program, or of the one at `exe`.
    pub(crate) fn spawn(exe: Option<&Path>) -> Result<Self> {
        let program = readonly_program(exe)?;
        let (ours, theirs) = wire::pair()?;
        let child = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
            .arg0("orc")
            .arg("launcher")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(|| "start the launcher")?;
        Ok(Self {
            socket: Some(ours),
            child,
        })
    }

    /// Hands an order over; a launcher that has died is replaced once.
    pub(crate) fn submit(&mut self, fds: &[BorrowedFd<'_>], exe: Option<&Path>) -> Result<()> {
        match self.send(fds) {
            Err(Errno::PIPE | Errno::CONNRESET) => {
                tracing::warn!("the launcher has died: starting another one");
                *self = Self::spawn(exe)?;
                self.send(fds)
            }
            other => other,
        }
        .context(|| "ask the launcher to start a process")
    }

    /// Whether it has ended.
    pub(crate) fn is_dead(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn send(&self, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let socket = self.socket.as_ref().ok_or(Errno::PIPE)?;
        let started = Instant::now();
        loop {
            match wire::send_packet(socket, b"order", fds, SendFlags::DONTWAIT) {
                Err(Errno::AGAIN) if started.elapsed() < BUSY_TIMEOUT => {
                    std::thread::sleep(BUSY_PAUSE);
                }
                other => return other,
            }
        }
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        self.socket = None;
        // It ends by itself now; if it hangs, nothing of it is worth waiting for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program through a mount of its own that nobody can write through and no path leads to.
fn readonly_program(exe: Option<&Path>) -> Result<OwnedFd> {
    const READONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
    let path = exe.unwrap_or(Path::new("/proc/self/exe"));
    let mount = || -> Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, path, flags)?;
        let readonly = MountAttributes {
            set: READONLY,
            ..MountAttributes::default()
        };
        mount_setattr(tree.as_fd(), readonly)?;
        Ok(tree)
    };
    mount().map_err(|error| {
        let hint = "make a read-only mount of this program (root and Linux 5.12 are needed)";
        error.within(hint)
    })
}
