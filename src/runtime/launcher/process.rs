//! The launcher process: waits for orders and forks a monitor for each.
//!
//! Small and single-threaded, so that a fork is cheap and ordinary code may run after it. What every
//! monitor needs is computed here once, before the forks. Knows nothing of the monitors it has
//! started: they live on when it ends.

use orc_base::{Error, Result};
use rustix::process::DumpableBehavior;

use crate::cgroup::Layout;
use crate::seccomp::Filter;
use crate::sys::linux::{self, Alone};
use crate::task::{Common, Task};
use crate::wire::{self, Packet, Report, Trouble};

/// The whole life of `orc launcher`: call it before anything else in `main`, with no thread started
/// and no file opened. Returns the exit code.
pub fn run_launcher() -> i32 {
    match serve() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("orc launcher: {error}");
            1
        }
    }
}

fn serve() -> Result<()> {
    let alone = Alone::prove()?;
    linux::close_from(&alone, 3)?;
    let socket = linux::take_stdin()?;
    settle()?;
    let common = Common {
        layout: Layout::detect()?,
        filter: Filter::default_profile(),
    };
    while let Some(packet) = wire::receive(&socket)? {
        if let Some(task) = fork(&alone, packet) {
            // Else a daemon could not tell that its launcher has died.
            drop(socket);
            crate::shim::run(&alone, &common, task);
        }
    }
    Ok(())
}

/// A process that outlives terminals and that nothing in a container may look into.
fn settle() -> Result<()> {
    // Fails only for a process that leads a group already, which is as good.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // A huge page would make each monitor's memory two megabytes.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let _ = rustix::thread::set_name(c"orc-launcher");
    crate::disposition::ignore()?;
    // Monitors are reaped by the kernel.
    linux::ignore_signal(libc::SIGCHLD);
    Ok(())
}

/// The task, in the new process only.
fn fork(alone: &Alone, packet: Packet) -> Option<Task> {
    let mut fds = packet.fds.into_iter();
    let task = Task {
        order: fds.next()?,
        control: fds.next()?,
        container: fds.next(),
    };
    match linux::fork(alone) {
        Ok(None) => return Some(task),
        Ok(Some(_)) => {}
        Err(errno) => {
            let error = Error::from(errno).within("fork a monitor");
            let _ = wire::send(&task.control, &Report::Failed(Trouble::from(&error)), &[]);
        }
    }
    None
}
