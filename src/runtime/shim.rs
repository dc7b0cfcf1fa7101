//! The monitor: one process for each container, forked by the launcher, that outlives the daemon.
//!
//! It is the parent of the container's first process, holds its standard input, writes its log,
//! learns how it ended, and cleans up after it. It serves any daemon that connects to its socket.
//! It has one thread and no runtime, and allocates next to nothing while it waits. The monitor of an
//! exec is the same without a log and a socket: it ends with its process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use orc_base::{Context, Error, Result};
use rustix::thread::UnshareFlags;

use crate::birth::{Birth, Born};
use crate::cgroup::{Cgroup, devices};
use crate::child::Child;
use crate::handshake::Word;
use crate::log::LogWriter;
use crate::namespaces;
use crate::shim::watch::Watch;
use crate::spec::{ContainerSpec, ExecSpec};
use crate::state::{Run, StateDir};
use crate::stdio;
use crate::sys::linux::{self, Alone};
use crate::task::{Common, Task};
use crate::wire::{self, Order, Report, Trouble};

mod output;
mod watch;

/// The whole life of a monitor.
pub(crate) fn run(alone: &Alone, common: &Common, task: Task) -> ! {
    let Task {
        order,
        control,
        container,
    } = task;
    let start = Start {
        alone,
        common,
        control: control.as_fd(),
    };
    let started = settle().and_then(|children| match (wire::unpack(order)?, container) {
        (Order::Start(spec), None) => start.container(&spec, children),
        (Order::Exec(spec), Some(target)) => start.exec(&spec, target.as_fd(), children),
        _ => Err(Error::internal("an order without what belongs to it")),
    });
    match started {
        Ok(watch) => {
            watch.run(control);
            linux::exit(0)
        }
        Err(error) => {
            let _ = wire::send(&control, &Report::Failed(Trouble::from(&error)), &[]);
            linux::exit(1)
        }
    }
}

/// A session of its own, and orphans of the container for children. Returns what tells of their end.
fn settle() -> Result<OwnedFd> {
    rustix::process::setsid().context(|| "begin a session")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context(|| "become a subreaper")?;
    let _ = rustix::thread::set_name(c"orc-shim");
    // Blocked, not ignored: an ignored one would let the kernel reap.
    linux::default_signal(libc::SIGCHLD);
    linux::signal_fd(&[libc::SIGCHLD]).context(|| "watch for the end of children")
}

/// What a start needs besides its order.
struct Start<'a> {
    alone: &'a Alone,
    common: &'a Common,
    /// Whoever waits for it.
    control: BorrowedFd<'a>,
}

impl Start<'_> {
    /// Starts a container; leaves nothing behind when that fails.
    fn container(&self, spec: &ContainerSpec, children: OwnedFd) -> Result<Watch> {
        let state = StateDir::new(&spec.state_dir);
        let cgroup = Cgroup::new(&self.common.layout, &spec.cgroup)?;
        // Before anything is changed: it may be that the container runs already.
        cgroup.claim()?;
        let started = self.first_process(spec, &cgroup, &state, children);
        started.inspect_err(|_| {
            // The start's own error is what matters.
            let _ = cgroup.remove();
            let _ = state.clear();
        })
    }

    fn first_process(
        &self,
        spec: &ContainerSpec,
        cgroup: &Cgroup,
        state: &StateDir,
        children: OwnedFd,
    ) -> Result<Watch> {
        state.clear()?;
        state.save_run(&Run {
            cgroup: spec.cgroup.clone(),
        })?;
        let log = spec.log.as_ref().map(LogWriter::open).transpose()?;
        let (program, mut sides) =
            stdio::open(spec.stdio.terminal, spec.stdio.stdin, log.is_some())?;
        let listener = state.listen()?;
        let unified = cgroup.open_unified()?;
        namespaces::join_for_children(&spec.namespaces)?;
        let rules = devices::rules(&spec.devices, &spec.device_rules);
        let rules = (!spec.privileged).then_some(rules.as_slice());
        let birth = Birth {
            alone: self.alone,
            namespaces: namespaces::new_at_clone(&spec.namespaces),
            cgroup: unified.as_ref().map(AsFd::as_fd),
            terminal: spec.stdio.terminal,
            waiting: self.control,
        };
        let born = birth.bear(
            |channel| {
                let child = Child {
                    alone: self.alone,
                    filter: &self.common.filter,
                    stdio: &program,
                    channel,
                };
                child.container(spec, cgroup)
            },
            |say| {
                let warnings = cgroup.create_rest(&spec.resources, rules)?;
                say(Word::Created);
                Ok(warnings)
            },
        )?;
        drop(program);
        let Born {
            pid,
            pidfd,
            terminal,
            warnings,
        } = born;
        sides.terminal = terminal;
        for fd in sides.outputs() {
            stdio::set_nonblocking(fd)?;
        }
        let watch = Watch::container(pid, pidfd, children, sides, log, listener, state, cgroup);
        watch
            .greet(self.control, &warnings)
            .inspect_err(|_| watch.abandon())?;
        Ok(watch)
    }

    /// Starts one more process of a running container.
    fn exec(&self, spec: &ExecSpec, container: BorrowedFd<'_>, children: OwnedFd) -> Result<Watch> {
        let cgroup = Cgroup::new(&self.common.layout, &spec.cgroup)?;
        let (program, mut sides) = stdio::open(spec.terminal, spec.stdin, true)?;
        let unified = cgroup.open_unified()?;
        namespaces::join_container_for_children(container)?;
        let birth = Birth {
            alone: self.alone,
            namespaces: UnshareFlags::empty(),
            cgroup: unified.as_ref().map(AsFd::as_fd),
            terminal: spec.terminal,
            waiting: self.control,
        };
        let born = birth.bear(
            |channel| {
                let child = Child {
                    alone: self.alone,
                    filter: &self.common.filter,
                    stdio: &program,
                    channel,
                };
                child.exec(spec, &cgroup, container)
            },
            |_| Ok(Vec::new()),
        )?;
        drop(program);
        sides.terminal = born.terminal;
        let watch = Watch::exec(born.pid, born.pidfd, children);
        let (stdio, fds) = sides.handed();
        watch
            .report_running(self.control, stdio, &fds, &born.warnings)
            .inspect_err(|_| watch.abandon())?;
        Ok(watch)
    }
}
