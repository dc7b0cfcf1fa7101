//! The built-in first process (`init: true`): starts the program as its child, forwards signals to
//! it, reaps what is orphaned, and ends with the program's exit code.
//!
//! It is this very process, forked, never an executed file: no image brings it, and no container
//! can open or replace it. It holds no descriptor but 0, 1 and 2.

use std::convert::Infallible;
use std::os::fd::RawFd;

use orc_base::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::sys::linux::{self, Alone};

/// The first descriptor that is not standard input, output or error.
const FIRST_OTHER: RawFd = 3;

/// Splits in two: the child runs `program`, which must execute something, and this process looks
/// after it until it ends.
pub(crate) fn with_child(
    alone: &Alone,
    terminal: bool,
    program: impl FnOnce() -> Result<Infallible>,
) -> Result<Infallible> {
    // So that no signal comes between the fork and the loop.
    linux::block_signals();
    match linux::fork(alone).context(|| "fork the program")? {
        None => {
            lead(terminal)?;
            program()
        }
        Some(child) => {
            let _ = linux::close_from(alone, FIRST_OTHER);
            linux::exit(look_after(child))
        }
    }
}

/// A process group of its own, so that what the terminal sends reaches the program once.
fn lead(terminal: bool) -> Result<()> {
    let lead = || {
        rustix::process::setpgid(None, None)?;
        match terminal {
            // Allowed in the background while SIGTTOU is blocked.
            true => rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp()),
            false => Ok(()),
        }
    };
    lead().context(|| "make a process group for the program")
}

fn look_after(child: Pid) -> i32 {
    loop {
        match linux::wait_for_signal() {
            Ok(libc::SIGCHLD) => {
                if let Some(code) = reap(child) {
                    return code;
                }
            }
            Ok(signal) => {
                let _ = linux::kill(child, signal);
            }
            Err(_) => {}
        }
    }
}

/// The exit code of `child`, when it is among those that have ended.
fn reap(child: Pid) -> Option<i32> {
    let mut code = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => code = Some(exit_code(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return code,
        }
    }
}

/// 128 + the signal for who was killed, as shells say it.
pub(crate) fn exit_code(status: WaitStatus) -> i32 {
    match status.terminating_signal() {
        Some(signal) => 128 + signal,
        None => status.exit_status().unwrap_or(0),
    }
}
