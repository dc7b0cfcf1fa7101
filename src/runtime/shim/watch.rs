//! The monitor's loop: output, daemons, and the end of the container.
//!
//! ```text
//! running ──the first process ends──▶ look for the memory killer ▶ remove the groups ▶ drain the
//! output ▶ write the exit status ▶ tell the daemons ▶ end
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orc_base::clock::SystemClock;
use orc_base::{Clock, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::cgroup::Cgroup;
use crate::init::exit_code;
use crate::log::LogWriter;
use crate::shim::output::Output;
use crate::spec::Exit;
use crate::state::StateDir;
use crate::stdio::WatcherSide;
use crate::wire::{self, Ask, Handed, Report};

/// The most daemons that are served at once.
const MAX_DAEMONS: usize = 8;

/// A process and all that its monitor holds for it.
pub(super) struct Watch {
    pid: Pid,
    pidfd: OwnedFd,
    /// Readable when a child has ended.
    children: OwnedFd,
    daemons: Vec<OwnedFd>,
    /// None for an exec.
    container: Option<Container>,
}

/// What only the monitor of a container holds.
struct Container {
    stdin: Option<OwnedFd>,
    output: Output,
    listener: OwnedFd,
    state: StateDir,
    cgroup: Cgroup,
}

/// What woke the monitor up.
enum Woken {
    Child,
    Output(usize),
    Connection,
    Daemon(usize),
}

impl Watch {
    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where all that a start has made comes together"
    )]
    pub(super) fn container(
        pid: Pid,
        pidfd: OwnedFd,
        children: OwnedFd,
        sides: WatcherSide,
        log: Option<LogWriter>,
        listener: OwnedFd,
        state: &StateDir,
        cgroup: &Cgroup,
    ) -> Self {
        Self {
            pid,
            pidfd,
            children,
            daemons: Vec::with_capacity(MAX_DAEMONS),
            container: Some(Container {
                stdin: sides.stdin,
                output: Output::new(sides.terminal, sides.stdout, sides.stderr, log),
                listener,
                state: state.clone(),
                cgroup: cgroup.clone(),
            }),
        }
    }

    pub(super) fn exec(pid: Pid, pidfd: OwnedFd, children: OwnedFd) -> Self {
        Self {
            pid,
            pidfd,
            children,
            daemons: Vec::with_capacity(1),
            container: None,
        }
    }

    /// Introduces the container to a daemon.
    pub(super) fn greet(&self, daemon: BorrowedFd<'_>, warnings: &[String]) -> Result<()> {
        let container = self.container.as_ref();
        let terminal = container.and_then(|container| container.output.terminal());
        let stdin = container.and_then(|container| container.stdin.as_ref());
        let (stdio, fds) = match (terminal, stdin) {
            (Some(terminal), _) => (Handed::Terminal, vec![terminal]),
            (None, Some(stdin)) => (Handed::Input, vec![stdin]),
            (None, None) => (Handed::Nothing, Vec::new()),
        };
        self.report_running(daemon, stdio, &fds, warnings)
    }

    /// Says that the program runs and hands over descriptors.
    pub(super) fn report_running(
        &self,
        daemon: BorrowedFd<'_>,
        stdio: Handed,
        fds: &[&OwnedFd],
        warnings: &[String],
    ) -> Result<()> {
        let mut all = vec![self.pidfd.as_fd()];
        all.extend(fds.iter().map(|fd| fd.as_fd()));
        let report = Report::Running {
            pid: self.pid.as_raw_nonzero().get(),
            stdio,
            warnings: wire::clip_warnings(warnings),
        };
        wire::send(daemon, &report, &all)
    }

    /// Kills and reaps a process that nobody waits for any more.
    pub(super) fn abandon(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.pid), WaitOptions::empty())
        {
        }
    }

    /// Serves until the process has ended.
    pub(super) fn run(mut self, control: OwnedFd) {
        self.daemons.push(control);
        loop {
            for woken in self.wait() {
                match woken {
                    Woken::Child => {
                        if let Some(code) = self.reap() {
                            return self.finish(code);
                        }
                    }
                    Woken::Output(index) => {
                        if let Some(container) = &mut self.container {
                            container.output.read(index);
                        }
                    }
                    Woken::Connection => self.accept(),
                    Woken::Daemon(index) => self.hear(index),
                }
            }
        }
    }

    /// Daemons come last and backwards, so that one that is let go does not move the others.
    fn wait(&self) -> Vec<Woken> {
        let mut fds = vec![(Woken::Child, self.children.as_fd())];
        if let Some(container) = &self.container {
            let outputs = container.output.open();
            fds.extend(outputs.map(|(index, fd)| (Woken::Output(index), fd)));
            fds.push((Woken::Connection, container.listener.as_fd()));
        }
        let daemons = self.daemons.iter().enumerate().rev();
        fds.extend(daemons.map(|(index, fd)| (Woken::Daemon(index), fd.as_fd())));
        let mut polled: Vec<PollFd<'_>> = fds
            .iter()
            .map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
            .collect();
        if rustix::event::poll(&mut polled, None).is_err() {
            return Vec::new();
        }
        let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
        let woken = fds.into_iter().zip(ready);
        woken
            .filter_map(|((woken, _), ready)| ready.then_some(woken))
            .collect()
    }

    /// Reaps whoever has ended: the process, or an orphan that it left. The exit code when it was
    /// the process itself.
    fn reap(&self) -> Option<i32> {
        let mut information = [0; 128];
        while rustix::io::read(&self.children, &mut information).is_ok_and(|count| count > 0) {}
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => return Some(exit_code(status)),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return None,
                // Cannot be, since nobody else reaps; but waiting for ever would be worse.
                Err(_) => return Some(128 + crate::signal::KILL),
            }
        }
    }

    fn finish(mut self, code: i32) {
        let oom_killed = self.container.as_mut().is_some_and(Container::clean_up);
        let exit = Exit {
            code,
            oom_killed,
            at: SystemClock.now(),
        };
        if let Some(container) = &self.container {
            // When the run directory is full or gone the daemons still hear it.
            let _ = container.state.save_exit(&exit);
            // Before anyone hears of the end: the next run of the container uses the same names.
            let _ = container.state.close();
        }
        for daemon in &self.daemons {
            let _ = wire::send(daemon, &Report::Exited(exit), &[]);
        }
    }

    /// One more daemon; who is not of this user, or one too many, is turned away.
    fn accept(&mut self) {
        let Some(container) = &self.container else {
            return;
        };
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let Ok(daemon) = rustix::net::accept_with(&container.listener, flags) else {
            return;
        };
        let ours = rustix::net::sockopt::socket_peercred(&daemon)
            .is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        if ours && self.daemons.len() < MAX_DAEMONS && self.greet(daemon.as_fd(), &[]).is_ok() {
            self.daemons.push(daemon);
        }
    }

    /// What a daemon asks, or that it is gone.
    fn hear(&mut self, index: usize) {
        let Some(daemon) = self.daemons.get(index) else {
            return;
        };
        match wire::receive_packet(daemon, RecvFlags::DONTWAIT) {
            Ok(Some(packet)) => match (packet.parse(), &mut self.container) {
                (Ok(Ask::CloseStdin), Some(container)) => container.stdin = None,
                (Ok(Ask::CloseStdin), None) => {}
                (Err(_), _) => drop(self.daemons.remove(index)),
            },
            Err(Errno::AGAIN) => {}
            Ok(None) | Err(_) => drop(self.daemons.remove(index)),
        }
    }
}

impl Container {
    /// Takes down what is left. Whether the memory killer has struck.
    fn clean_up(&mut self) -> bool {
        self.stdin = None;
        let oom_killed = self.cgroup.oom_killed();
        // Processes that share their PID namespace with others outlive the first one, and may hold
        // the output open.
        let _ = self.cgroup.remove();
        self.output.drain();
        oom_killed
    }
}
