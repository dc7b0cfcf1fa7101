//! One more process in a running container, seen from the daemon.

use std::os::fd::OwnedFd;

use orc_base::{Error, Result};
use tokio::sync::watch;

use crate::control::Control;
use crate::monitor::send_signal;
use crate::terminal::resize;
use crate::wire::{Handed, Report};

/// The exit code of a process whose monitor was lost: as if it was killed.
const LOST: i32 = 128 + crate::signal::KILL;

/// A running exec. Dropping it leaves the process alone, but its pipes close with the descriptors
/// held here.
#[derive(Debug)]
pub struct Exec {
    pid: i32,
    pidfd: OwnedFd,
    /// Writing end of standard input, when it was asked for.
    pub stdin: Option<OwnedFd>,
    /// Reading end of standard output; none with a terminal.
    pub stdout: Option<OwnedFd>,
    /// Reading end of standard error; none with a terminal.
    pub stderr: Option<OwnedFd>,
    /// The master side of the terminal.
    pub terminal: Option<OwnedFd>,
    exit: watch::Receiver<Option<i32>>,
    watcher: tokio::task::AbortHandle,
}

impl Exec {
    pub(crate) fn new(
        control: Control,
        pid: i32,
        stdio: Handed,
        fds: Vec<OwnedFd>,
    ) -> Result<Self> {
        if fds.len() != 1 + stdio.count() {
            return Err(Error::internal(
                "a monitor handed over a wrong number of descriptors",
            ));
        }
        let mut fds = fds.into_iter();
        let pidfd = fds.next();
        let pidfd = pidfd.ok_or_else(|| Error::internal("a monitor handed over no pidfd"))?;
        let (sender, exit) = watch::channel(None);
        let watcher = tokio::spawn(watch(control, sender)).abort_handle();
        let mut exec = Self {
            pid,
            pidfd,
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
            exit,
            watcher,
        };
        if stdio == Handed::Terminal {
            exec.terminal = fds.next();
            return Ok(exec);
        }
        if matches!(stdio, Handed::Input | Handed::InputOutput) {
            exec.stdin = fds.next();
        }
        exec.stdout = fds.next();
        exec.stderr = fds.next();
        Ok(exec)
    }

    /// Its process id on the host.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal. [`Kind::NotFound`](orc_base::Kind) when it has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        send_signal(&self.pidfd, signal)
    }

    /// Sets the size of the terminal.
    pub fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        let terminal = self.terminal.as_ref();
        let terminal = terminal.ok_or_else(|| Error::conflict("the exec has no terminal"))?;
        resize(terminal, rows, cols)
    }

    /// Waits for the end and gives the exit code, 128 + the signal when one ended it. Any number of
    /// callers may wait.
    pub async fn wait(&self) -> i32 {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.map(|code| *code);
        match ended {
            Ok(code) => code.expect("waited for it"),
            Err(_) => std::future::pending().await,
        }
    }

    /// The exit code, when it has ended.
    pub fn exited(&self) -> Option<i32> {
        *self.exit.borrow()
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

async fn watch(control: Control, exit: watch::Sender<Option<i32>>) {
    let code = loop {
        match control.receive().await {
            Ok(Some((Report::Exited(ended), _))) => break ended.code,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break LOST,
        }
    };
    exit.send_replace(Some(code));
}
