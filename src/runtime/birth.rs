//! Clones a process and talks to it until its program runs: the part that containers and execs have
//! in common.
//!
//! Either the program runs in the end, or the child is dead, reaped, and the whole error is here.
//! The child goes on in parallel while its parent makes its control groups.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orc_base::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use rustix::thread::UnshareFlags;

use crate::handshake::{Channel, Due, Stand, Tidings, Word};
use crate::sys::linux::{self, Alone, Side};
use crate::wire::{self, Trouble};

/// What to clone.
pub(crate) struct Birth<'a> {
    pub(crate) alone: &'a Alone,
    pub(crate) namespaces: UnshareFlags,
    /// A control group of the second version to be born in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Whether the child hands over a terminal.
    pub(crate) terminal: bool,
    /// Whoever waits for this start: when that end closes, the start is given up.
    pub(crate) waiting: BorrowedFd<'a>,
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) warnings: Vec<String>,
}

impl Birth<'_> {
    /// `child` runs in the new process and must execute a program; `meanwhile` runs here, says what it
    /// has done, and returns warnings.
    pub(crate) fn bear(
        self,
        child: impl FnOnce(&Channel) -> Result<Infallible>,
        meanwhile: impl FnOnce(&dyn Fn(Word)) -> Result<Vec<String>>,
    ) -> Result<Born> {
        let (ours, theirs) = wire::pair()?;
        let side = linux::clone(self.alone, self.namespaces, self.cgroup);
        let (pid, pidfd) = match side.context(|| "clone a process")? {
            Side::Child => {
                drop(ours);
                linux::exit(run_child(theirs, child))
            }
            Side::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop(theirs);
        let say = |word: Word| {
            // A child that has failed does not listen; its error comes by the same socket.
            let _ = wire::send(&ours, &word, &[]);
        };
        let result = match meanwhile(&say) {
            Ok(warnings) => self.converse(&ours, warnings),
            Err(error) => Err(last_words(&ours, error)),
        };
        match result {
            Ok((terminal, warnings)) => Ok(Born {
                pid,
                pidfd,
                terminal,
                warnings,
            }),
            Err(error) => {
                drop(ours);
                end(pidfd.as_fd());
                Err(error)
            }
        }
    }

    fn converse(
        &self,
        socket: &OwnedFd,
        mut warnings: Vec<String>,
    ) -> Result<(Option<OwnedFd>, Vec<String>)> {
        let mut due = Due::new(self.terminal);
        loop {
            self.wait(socket)?;
            let (message, fds) = match wire::receive(socket)? {
                Some(packet) => (Some(packet.parse()?), packet.fds),
                None => (None, Vec::new()),
            };
            if let Stand::Executed {
                terminal,
                warnings: more,
            } = due.step(message, fds)?
            {
                warnings.extend(more);
                return Ok((terminal, warnings));
            }
        }
    }

    /// Until the child says something. Nobody says anything on the other socket before the start is
    /// done, so whatever happens there means that it was closed.
    fn wait(&self, socket: &OwnedFd) -> Result<()> {
        loop {
            let mut fds = [
                PollFd::new(socket, PollFlags::IN),
                PollFd::from_borrowed_fd(self.waiting, PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => other.context(|| "wait for the new process")?,
            };
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
            if !fds[1].revents().is_empty() {
                return Err(Error::unavailable("whoever asked for the start is gone"));
            }
        }
    }
}

fn run_child(socket: OwnedFd, child: impl FnOnce(&Channel) -> Result<Infallible>) -> i32 {
    let channel = Channel::new(socket);
    let Err(error) = child(&channel);
    let _ = channel.tell(&Tidings::Failed(Trouble::from(&error)));
    1
}

/// When the parent cannot go on because the child has died, the child's own error is the cause.
fn last_words(socket: &OwnedFd, error: Error) -> Error {
    while let Ok(Some(packet)) = wire::receive_packet(socket, RecvFlags::DONTWAIT) {
        if let Ok(Tidings::Failed(trouble)) = packet.parse() {
            return trouble.into();
        }
    }
    error
}

/// Kills and reaps.
fn end(pidfd: BorrowedFd<'_>) {
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    while let Err(Errno::INTR) =
        rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)
    {}
}
