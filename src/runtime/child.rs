//! The life of a container's or an exec's process between its clone and its program.
//!
//! Everything that can fail happens before [`Tidings::Executing`]; an error anywhere is the return
//! value and goes home whole. What needs the host's paths comes first, what needs rights next, and
//! the rights go last.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use orc_base::root::Root;
use orc_base::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};

use crate::cgroup::Cgroup;
use crate::handshake::{Channel, Tidings};
use crate::program::Program;
use crate::rootfs::build::{Site, build};
use crate::seccomp::Filter;
use crate::spec::{ContainerSpec, ExecSpec, Namespace, ProcessSpec};
use crate::stdio::ProgramSide;
use crate::sys::linux::{self, Alone};
use crate::terminal::Terminal;
use crate::{confine, disposition, init, namespaces, rootfs, stdio, user};

/// The first descriptor that a program does not inherit.
const FIRST_OTHER: RawFd = 3;

/// What the new process was born with.
pub(crate) struct Child<'a> {
    pub(crate) alone: &'a Alone,
    pub(crate) filter: &'a Filter,
    pub(crate) stdio: &'a ProgramSide,
    pub(crate) channel: &'a Channel,
}

impl Child<'_> {
    /// A container's first process.
    pub(crate) fn container(&self, spec: &ContainerSpec, cgroup: &Cgroup) -> Result<Infallible> {
        rustix::process::setsid().context(|| "begin a session")?;
        namespaces::join_at_start(&spec.namespaces)?;
        if spec.namespaces.net == Namespace::New {
            linux::raise_loopback().context(|| "bring up the loopback device")?;
        }
        let cgroup_namespace = namespaces::open_cgroup(&spec.namespaces)?;
        name_host(spec)?;
        let site = Site {
            mountpoint: &spec.state_dir,
            alone: self.alone,
            cgroup,
            channel: self.channel,
        };
        let built = build(&rootfs::plan(spec)?, &site)?;
        if let Some(score) = spec.oom_score_adj {
            self.warn(confine::oom_score(&built.proc, score)?)?;
        }
        let prepared = self.prepare(&built.root, &spec.process, built.terminal.as_ref())?;
        namespaces::enter_cgroup(self.alone, &spec.namespaces, cgroup_namespace.as_ref())?;
        self.confine(&spec.process, &prepared)?;
        match spec.init {
            false => self.execute(&prepared.program),
            true => init::with_child(self.alone, spec.stdio.terminal, || {
                self.execute(&prepared.program)
            }),
        }
    }

    /// One more process of a running container.
    pub(crate) fn exec(
        &self,
        spec: &ExecSpec,
        cgroup: &Cgroup,
        container: BorrowedFd<'_>,
    ) -> Result<Infallible> {
        rustix::process::setsid().context(|| "begin a session")?;
        cgroup.enter(self.alone)?;
        namespaces::join_container_rest(container)?;
        let root = Root::open(Path::new("/"))?;
        let terminal = match spec.terminal {
            true => {
                let terminal = Terminal::open_in(&root, spec.size)?;
                self.channel.hand_terminal(&terminal.master)?;
                Some(terminal.user)
            }
            false => None,
        };
        if let Some(score) = spec.oom_score_adj {
            let proc = own_proc(&root)?;
            self.warn(confine::oom_score(&proc, score)?)?;
        }
        root.create_dir_all(cwd(&spec.process), 0o755)
            .context(|| format!("make directory {}", spec.process.cwd))?;
        let prepared = self.prepare(&root, &spec.process, terminal.as_ref())?;
        self.confine(&spec.process, &prepared)?;
        self.execute(&prepared.program)
    }

    /// What is looked up and opened while all rights are still there.
    fn prepare(
        &self,
        root: &Root,
        process: &ProcessSpec,
        terminal: Option<&OwnedFd>,
    ) -> Result<Prepared> {
        let identity = user::resolve(root, &process.user, &process.groups)?;
        let program = Program::new(&process.args, &process.env, &identity.home)?;
        enter_directory(root, cwd(process))?;
        stdio::connect(self.stdio, terminal, identity.uid)?;
        for warning in confine::limit(&process.rlimits)? {
            self.channel.warn(&warning)?;
        }
        // Not every kernel has keyrings, and a shared one is no reason not to start.
        let _ = linux::new_session_keyring();
        Ok(Prepared {
            filter: confine::filter(process, self.filter)?,
            identity,
            program,
        })
    }

    fn confine(&self, process: &ProcessSpec, prepared: &Prepared) -> Result<()> {
        let filter = prepared.filter.as_ref();
        self.warn(confine::confine(process, &prepared.identity, filter)?)
    }

    fn execute(&self, program: &Program) -> Result<Infallible> {
        linux::close_from_at_exec(FIRST_OTHER).context(|| "close descriptors")?;
        self.channel.tell(&Tidings::Executing)?;
        disposition::restore()?;
        Err(program.execute())
    }

    fn warn(&self, warning: Option<Error>) -> Result<()> {
        warning.map_or(Ok(()), |warning| self.channel.warn(&warning))
    }
}

/// What was looked up and computed while that was still possible.
struct Prepared {
    identity: user::Identity,
    program: Program,
    filter: Option<Filter>,
}

fn name_host(spec: &ContainerSpec) -> Result<()> {
    if spec.namespaces.uts != Namespace::New {
        return Ok(());
    }
    rustix::system::sethostname(spec.hostname.as_bytes()).context(|| "set the host name")?;
    match &spec.domainname {
        Some(name) => {
            rustix::system::setdomainname(name.as_bytes()).context(|| "set the domain name")
        }
        None => Ok(()),
    }
}

fn cwd(process: &ProcessSpec) -> &str {
    match process.cwd.as_str() {
        "" => "/",
        other => other,
    }
}

/// Enters a directory that was looked up inside the root, and makes sure that this is where it is: a
/// working directory outside would be a way out (CVE-2024-21626).
fn enter_directory(root: &Root, path: &str) -> Result<()> {
    let enter = || -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = root.open_at(path, flags, Mode::empty())?;
        rustix::process::fchdir(directory.as_fd())?;
        let inside = rustix::process::getcwd(Vec::new())?;
        match inside.as_bytes().first() {
            Some(b'/') => Ok(()),
            _ => Err(Error::invalid("it is outside the container's root")),
        }
    };
    enter().context(|| format!("enter the working directory {path}"))
}

/// The container's procfs, if it is one.
fn own_proc(root: &Root) -> Result<Root> {
    const PROC_MAGIC: u32 = 0x9fa0;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let proc = root.open_at("/proc", flags, Mode::empty())?;
    let magic = rustix::fs::fstatfs(&proc)?.f_type as u32;
    match magic {
        PROC_MAGIC => Ok(Root::from_fd(proc)),
        _ => Err(Error::invalid("/proc of the container is not procfs")),
    }
}
