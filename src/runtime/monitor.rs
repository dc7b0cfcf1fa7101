//! A running container, seen from the daemon.
//!
//! The process that stays with the container is [`crate::shim`]; this is the connection to it. It
//! may be dropped and made again at any time: the container does not notice.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orc_base::{Clock, Context, Error, Result};
use rustix::io::Errno;
use tokio::sync::watch;

use crate::cgroup::Layout;
use crate::control::{Control, duplicate};
use crate::spec::Exit;
use crate::state::StateDir;
use crate::wire::{Ask, Handed, Report};

/// How long a container that lost its monitor is waited for after it was killed.
const LOST_WAIT: Duration = Duration::from_secs(10);

/// The connection to a running container's monitor.
#[derive(Debug)]
pub struct Monitor {
    pid: i32,
    pidfd: Arc<OwnedFd>,
    terminal: Option<OwnedFd>,
    stdin: Mutex<Option<OwnedFd>>,
    control: Arc<Control>,
    exit: watch::Receiver<Option<Exit>>,
    watcher: tokio::task::AbortHandle,
}

impl Monitor {
    /// From the first report of a monitor and the descriptors beside it.
    pub(crate) fn new(
        control: Control,
        pid: i32,
        stdio: Handed,
        fds: Vec<OwnedFd>,
        state: StateDir,
    ) -> Result<Self> {
        if fds.len() != 1 + stdio.count() {
            return Err(Error::internal(
                "a monitor handed over a wrong number of descriptors",
            ));
        }
        let mut fds = fds.into_iter();
        let pidfd = fds.next().map(Arc::new);
        let pidfd = pidfd.ok_or_else(|| Error::internal("a monitor handed over no pidfd"))?;
        let (mut terminal, mut stdin) = (None, None);
        match stdio {
            Handed::Terminal => terminal = fds.next(),
            Handed::Input => stdin = fds.next(),
            Handed::Nothing | Handed::Output | Handed::InputOutput => {}
        }
        let control = Arc::new(control);
        let (sender, exit) = watch::channel(None);
        let watcher = tokio::spawn(watch(
            Arc::clone(&control),
            Arc::clone(&pidfd),
            state,
            sender,
        ));
        Ok(Self {
            pid,
            pidfd,
            terminal,
            stdin: Mutex::new(stdin),
            control,
            exit,
            watcher: watcher.abort_handle(),
        })
    }

    /// The container's first process, for people and for files in `/proc`; signals go by
    /// [`Monitor::signal`], which cannot hit a process that got the same number later.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for the end; any number of callers may wait, and the end is remembered.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.map(|exit| *exit);
        match ended {
            Ok(exit) => exit.expect("waited for it"),
            // Only when the runtime is shutting down and took the watcher with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// How it ended, when it has.
    pub fn exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Sends a signal to the first process. [`Kind::NotFound`](orc_base::Kind) when it has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        send_signal(&self.pidfd, signal)
    }

    /// A writing end of standard input, or the terminal; none when the container has neither or it
    /// was closed.
    pub async fn stdin(&self) -> Result<Option<OwnedFd>> {
        let held = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let fd = self.terminal.as_ref().or(held.as_ref());
        fd.map(duplicate)
            .transpose()
            .context(|| "duplicate standard input")
    }

    /// Ends standard input once all writing ends that were given out are closed too. Does nothing
    /// for a terminal.
    pub async fn close_stdin(&self) -> Result<()> {
        let held = self
            .stdin
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match held {
            Some(_) => self.control.ask(Ask::CloseStdin).await,
            None => Ok(()),
        }
    }

    /// Sets the size of the terminal, which tells the program.
    pub fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        let terminal = self.terminal.as_ref();
        let terminal = terminal.ok_or_else(|| Error::conflict("the container has no terminal"))?;
        crate::terminal::resize(terminal, rows, cols)
    }

    /// The file of one of the container's namespaces (`net`, `ipc`, `pid`, `uts`, `mnt`, `cgroup`),
    /// valid while it runs.
    pub fn namespace_path(&self, name: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.pid.to_string())
            .join("ns")
            .join(name)
    }

    /// A descriptor of the first process for someone else.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Waits for the report of the end. When the monitor itself ends without one, the container cannot
/// be looked after any more: it is killed.
async fn watch(
    control: Arc<Control>,
    pidfd: Arc<OwnedFd>,
    state: StateDir,
    exit: watch::Sender<Option<Exit>>,
) {
    let ended = loop {
        match control.receive().await {
            Ok(Some((Report::Exited(ended), _))) => break Some(ended),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break None,
        }
    };
    let ended = match ended.or_else(|| state.exit().ok().flatten()) {
        Some(ended) => ended,
        None => lost(&pidfd, state).await,
    };
    exit.send_replace(Some(ended));
}

/// Does what the monitor would have done.
async fn lost(pidfd: &OwnedFd, state: StateDir) -> Exit {
    tracing::warn!(
        "the monitor of {} was lost: its container is killed",
        state.path().display()
    );
    let _ = send_signal(pidfd, crate::signal::KILL);
    if let Ok(Ok(ended)) = duplicate(pidfd).map(crate::sys::linux::watch) {
        let _ = tokio::time::timeout(LOST_WAIT, ended.readable()).await;
    }
    let exit = Exit {
        code: 128 + crate::signal::KILL,
        oom_killed: false,
        at: orc_base::clock::SystemClock.now(),
    };
    let clean_up = move || -> Result<()> {
        state.save_exit(&exit)?;
        state.clean_up(&Layout::detect()?)
    };
    let cleaned = tokio::task::spawn_blocking(clean_up).await;
    if let Ok(Err(error)) = cleaned {
        tracing::warn!("clean up after a lost monitor: {error}");
    }
    exit
}

/// Sends a signal by a descriptor of a process.
pub(crate) fn send_signal(pidfd: &OwnedFd, signal: i32) -> Result<()> {
    match crate::sys::linux::pidfd_send_signal(pidfd.as_fd(), signal) {
        Err(Errno::SRCH) => Err(Error::not_found("the process has ended")),
        Err(Errno::INVAL) => Err(Error::invalid(format!("{signal} is not a signal"))),
        other => other.context(|| format!("send signal {signal}")),
    }
}
