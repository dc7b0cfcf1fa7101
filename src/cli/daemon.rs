//! `orc daemon`: run it in the foreground, stop it, ask whether it is there.
//!
//! Stopping the daemon stops no container.

use std::time::Duration;

use clap::{Args, Subcommand};
use orc_base::{Context, Error, Result};
use rustix::process::{Pid, Signal};
use tokio::time::Instant;

use crate::cli::connect;
use crate::cli::failure::{OK, Outcome};
use crate::cli::place::Place;
use crate::daemon::{self, Options};
use crate::ui::out;

/// How long a daemon may take to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at whether it has.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Run, stop or ask the daemon that the other commands talk to
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground (the default)
    Run(Run),
    /// Stop the daemon; containers go on
    Stop,
    /// Stop the daemon and start it again; containers go on
    Restart,
    /// Say whether the daemon runs; exit code 1 when it does not
    Status,
}

#[derive(Debug, Args, Default)]
struct Run {
    /// In a session of its own: no terminal ends it
    #[arg(long, hide = true)]
    detached: bool,
    #[command(flatten)]
    place: Place,
}

impl Daemon {
    /// What to run in this very process, before any thread is started; `None` for the others.
    pub(crate) fn foreground(&self, place: &Place) -> Result<Option<Options>> {
        let none = Run::default();
        let run = match &self.command {
            None => &none,
            Some(Command::Run(run)) => run,
            Some(_) => return Ok(None),
        };
        let place = run.place.clone().or(self.place.clone()).or(place.clone());
        if !rustix::process::geteuid().is_root() {
            return Err(Error::denied("only root can run the daemon: use sudo"));
        }
        Ok(Some(Options {
            dirs: place.dirs()?,
            socket: place.socket()?,
            cgroup_parent: place.cgroup_parent()?,
            insecure_registries: place.insecure_registry.clone(),
            registries: place.registries()?,
            build_cache_limit: place.build_cache_limit,
            log_level: place.log_level()?.to_owned(),
            detached: run.detached,
        }))
    }

    /// Everything but running it here.
    pub(crate) async fn run(self, place: Place) -> Outcome {
        let place = self.place.or(place);
        match self.command {
            Some(Command::Stop) => match stop(&place).await? {
                true => out::line("stopped"),
                false => out::note("orc: no daemon runs here"),
            },
            Some(Command::Restart) => {
                stop(&place).await?;
                connect::connect(&place).await?;
                out::line("restarted");
            }
            Some(Command::Status) => return status(&place).await,
            None | Some(Command::Run(_)) => unreachable!("`foreground` has run it"),
        }
        Ok(OK)
    }
}

async fn status(place: &Place) -> Outcome {
    let dirs = place.dirs()?;
    match (connect::running(place).await?, daemon::holder(&dirs)?) {
        (Some(_), pid) => {
            let pid = pid
                .map(|pid| format!(", process {pid}"))
                .unwrap_or_default();
            out::line(&format!(
                "running{pid}, socket {}, log {}",
                place.socket()?.display(),
                dirs.daemon_log().display()
            ));
            Ok(OK)
        }
        (None, Some(pid)) => {
            out::line(&format!(
                "not answering, process {pid}, log {}",
                dirs.daemon_log().display()
            ));
            Ok(1)
        }
        (None, None) => {
            out::line("not running");
            Ok(1)
        }
    }
}

/// Asks the daemon to end and waits until it has; `false` when there is none.
async fn stop(place: &Place) -> Result<bool> {
    let dirs = place.dirs()?;
    let Some(pid) = daemon::holder(&dirs)? else {
        return Ok(false);
    };
    let process =
        Pid::from_raw(pid).ok_or_else(|| Error::internal(format!("`{pid}` is not a process")))?;
    rustix::process::kill_process(process, Signal::TERM)
        .context(|| format!("ask the daemon (process {pid}) to end"))?;
    let deadline = Instant::now() + PATIENCE;
    while daemon::holder(&dirs)? == Some(pid) {
        if Instant::now() >= deadline {
            return Err(Error::timeout(format!(
                "the daemon (process {pid}) did not end within {} s; see its log {}",
                PATIENCE.as_secs(),
                dirs.daemon_log().display()
            )));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(true)
}
