//! What signals do to our own processes, and how a program gets the usual actions back.

use orc_base::{Context, Result};

use crate::sys::linux;

/// What ends neither the launcher nor a monitor. Programs start with the default actions.
const IGNORED: [i32; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGPIPE,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// In the launcher: every signal has its default action, whatever the daemon's parent has ignored,
/// but for [`IGNORED`]. None is blocked.
pub(crate) fn ignore() -> Result<()> {
    for signal in 1..=linux::LAST_SIGNAL {
        linux::default_signal(signal);
    }
    for signal in IGNORED {
        linux::ignore_signal(signal);
    }
    linux::unblock_signals().context(|| "unblock signals")
}

/// Undoes [`IGNORED`], and unblocks what a monitor has blocked, in a process that is about to execute
/// a program.
pub(crate) fn restore() -> Result<()> {
    for signal in IGNORED {
        linux::default_signal(signal);
    }
    linux::unblock_signals().context(|| "unblock signals")
}
