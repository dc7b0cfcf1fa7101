//! The runtime's door: starts containers, starts processes in them, and finds them again.
//!
//! Holds the launcher, a small process that forks a monitor for each container; the daemon itself is
//! large and never forks. A launcher that dies is replaced; containers do not depend on it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orc_base::{Context, Error, Kind, Result};

use crate::cgroup::{Cgroup, Layout};
use crate::control::{Control, gone};
use crate::exec::Exec;
use crate::launcher::Launcher;
use crate::monitor::Monitor;
use crate::spec::{ContainerSpec, ExecSpec, Exit};
use crate::state::StateDir;
use crate::wire::{self, Handed, OrderRef, Report};

/// How long a start may take before it is given up.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether the launcher has died, and how long between.
const DEATH_LOOKS: u32 = 50;
const DEATH_PAUSE: Duration = Duration::from_millis(10);
/// How long a monitor may take to greet a daemon that connects to it.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the runtime keeps things.
#[derive(Debug, Clone)]
pub struct Config {
    /// All state directories of containers are below this.
    pub state_root: PathBuf,
    /// The control group that all containers' groups are below, such as `/orc`.
    pub cgroup_parent: String,
    /// The program whose `launcher` command calls [`crate::run_launcher`]; this very program when
    /// none is given.
    pub exe: Option<PathBuf>,
}

/// Starts and finds containers.
#[derive(Debug)]
pub struct Runtime {
    config: Config,
    layout: Layout,
    launcher: Mutex<Launcher>,
}

/// What is known about a container that an earlier daemon started.
#[derive(Debug)]
pub enum Adopted {
    /// It runs.
    Running(Monitor),
    /// It ended in the meantime.
    Exited(Exit),
    /// Its monitor vanished without leaving an exit status (the machine restarted, or someone killed
    /// it). What was left of the container has been killed.
    Lost,
}

struct Started {
    control: Control,
    pid: i32,
    stdio: Handed,
    fds: Vec<OwnedFd>,
}

impl Runtime {
    /// Starts the launcher.
    pub fn launch(config: Config) -> Result<Self> {
        let layout = Layout::detect()?;
        Cgroup::new(&layout, &format!("{}/name", config.cgroup_parent))
            .context(|| format!("use `{}` as the parent of groups", config.cgroup_parent))?;
        Ok(Self {
            launcher: Mutex::new(Launcher::spawn(config.exe.as_deref())?),
            config,
            layout,
        })
    }

    /// Starts a container: returns when its program has been executed, or the whole error and
    /// nothing left behind. When the future is dropped before that, the start is undone.
    pub async fn start(&self, spec: &ContainerSpec) -> Result<Monitor> {
        crate::check::container(spec, &self.config.state_root, &self.config.cgroup_parent)?;
        let started = self.submit(OrderRef::Start(spec), &[]).await?;
        Monitor::new(
            started.control,
            started.pid,
            started.stdio,
            started.fds,
            StateDir::new(&spec.state_dir),
        )
    }

    /// Starts one more process in a running container.
    pub async fn exec(&self, target: &Monitor, spec: &ExecSpec) -> Result<Exec> {
        crate::check::exec(spec, &self.config.cgroup_parent)?;
        let container = target.pidfd().as_fd();
        let started = self.submit(OrderRef::Exec(spec), &[container]).await?;
        Exec::new(started.control, started.pid, started.stdio, started.fds)
    }

    /// Finds a container again by its state directory.
    pub async fn adopt(&self, state_dir: &Path) -> Result<Adopted> {
        let state = StateDir::new(state_dir);
        if let Some(monitor) = greet(&state).await? {
            return Ok(Adopted::Running(monitor));
        }
        if let Some(exit) = state.exit()? {
            return Ok(Adopted::Exited(exit));
        }
        let layout = self.layout.clone();
        tokio::task::spawn_blocking(move || state.clean_up(&layout))
            .await
            .map_err(|error| Error::internal(error.to_string()))??;
        Ok(Adopted::Lost)
    }

    /// The control group of a container, to pause it or to see what it uses.
    pub fn cgroup(&self, path: &str) -> Result<Cgroup> {
        Cgroup::new(&self.layout, path)
    }

    /// Removes the parent of all groups from every hierarchy when nothing is left in it.
    pub fn remove_empty_parent(&self) {
        let parent = self.config.cgroup_parent.trim_start_matches('/');
        for tree in self.layout.trees() {
            // It is busy while a container runs, and gone when there never was one.
            let _ = std::fs::remove_dir(tree.mount.join(parent));
        }
    }

    /// An order that reached a launcher which died before it forked is given to the next one: with
    /// all ends of the control socket closed, nobody is at work on it.
    async fn submit(&self, order: OrderRef<'_>, further: &[BorrowedFd<'_>]) -> Result<Started> {
        let order = wire::pack(&order)?;
        for _ in 0..2 {
            if let Some(started) = self.try_submit(order.as_fd(), further).await? {
                return Ok(started);
            }
            if !self.launcher_died().await {
                break;
            }
        }
        Err(gone("start"))
    }

    /// None when the monitor said nothing at all.
    async fn try_submit(
        &self,
        order: BorrowedFd<'_>,
        further: &[BorrowedFd<'_>],
    ) -> Result<Option<Started>> {
        let (ours, theirs) = wire::pair()?;
        let mut fds = vec![order, theirs.as_fd()];
        fds.extend_from_slice(further);
        self.launcher().submit(&fds, self.config.exe.as_deref())?;
        drop(theirs);
        let control = Control::new(ours)?;
        let report = tokio::time::timeout(START_TIMEOUT, control.receive()).await;
        let report = report.map_err(|_| {
            Error::timeout(format!(
                "the start took longer than {} s and was given up",
                START_TIMEOUT.as_secs()
            ))
        })?;
        let Some((report, fds)) = report? else {
            return Ok(None);
        };
        match report {
            Report::Running {
                pid,
                stdio,
                warnings,
            } => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                Ok(Some(Started {
                    control,
                    pid,
                    stdio,
                    fds,
                }))
            }
            Report::Failed(trouble) => Err(trouble.into()),
            Report::Exited(_) => Err(Error::internal("a monitor spoke out of turn")),
        }
    }

    /// A dying process closes its sockets a moment before it can be seen to be dead.
    async fn launcher_died(&self) -> bool {
        for _ in 0..DEATH_LOOKS {
            if self.launcher().is_dead() {
                return true;
            }
            tokio::time::sleep(DEATH_PAUSE).await;
        }
        false
    }

    fn launcher(&self) -> MutexGuard<'_, Launcher> {
        self.launcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to a monitor; none when there is none any more.
async fn greet(state: &StateDir) -> Result<Option<Monitor>> {
    let Some(socket) = state.connect()? else {
        return Ok(None);
    };
    let control = Control::new(socket)?;
    let report = tokio::time::timeout(GREETING_TIMEOUT, control.receive()).await;
    let report = report.map_err(|_| {
        Error::timeout(format!(
            "the monitor of {} does not answer (is it stopped?)",
            state.path().display()
        ))
    })?;
    match report {
        Ok(Some((Report::Running { pid, stdio, .. }, fds))) => {
            Monitor::new(control, pid, stdio, fds, state.clone()).map(Some)
        }
        // It was about to end: its exit status is there.
        Ok(Some((Report::Exited(_), _)) | None) => Ok(None),
        Ok(Some((Report::Failed(trouble), _))) => Err(trouble.into()),
        Err(error) if error.kind() == Kind::Unavailable => Ok(None),
        Err(error) => Err(error),
    }
}
