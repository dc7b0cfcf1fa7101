//! What happens to containers that exist: `start`, `stop`, `restart`, `kill`, `pause`, `unpause`, `rm`,
//! `rename` and `wait`.

use clap::Args;
use orc_base::Kind;
use orc_host::container::{RemoveOptions, WaitFor};
use orc_host::stop::StopOptions;

use crate::cli::each::{each, each_found};
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::time;
use crate::cli::project::ServiceFlags;
use crate::cli::session::Session;
use crate::cli::target;

/// Stop running containers
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds each may take before it is killed
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    timeout: Option<i64>,
    /// Signal that asks it to end, instead of its own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    #[command(flatten)]
    project: ServiceFlags,
    /// Containers, or services of the project here
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Stop {
    /// One that does not run is fine.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        let names = target::names(&*host, &self.names, &self.project.into()).await;
        let how = &StopOptions {
            signal: self.signal,
            timeout: time::timeout(self.timeout),
        };
        let host = &host;
        each_found(names, |name| async move {
            unchanged_is_fine(host.stop_container(&name, how).await)?;
            Ok(name)
        })
        .await
    }
}

fn unchanged_is_fine(result: orc_base::Result<()>) -> orc_base::Result<()> {
    match result {
        Err(error) if error.kind() == Kind::Unchanged => Ok(()),
        other => other,
    }
}

/// Stop containers and start them again
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Seconds each may take before it is killed
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    timeout: Option<i64>,
    /// Signal that asks it to end, instead of its own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    #[command(flatten)]
    project: ServiceFlags,
    /// Containers, or services of the project here
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Restart {
    /// Those that do not run are started.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        let names = target::names(&*host, &self.names, &self.project.into()).await;
        let how = &StopOptions {
            signal: self.signal,
            timeout: time::timeout(self.timeout),
        };
        let host = &host;
        each_found(names, |name| async move {
            host.restart_container(&name, how).await?;
            Ok(name)
        })
        .await
    }
}

/// Send a signal to running containers
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The signal
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    #[command(flatten)]
    project: ServiceFlags,
    /// Containers, or services of the project here
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Kill {
    /// One that does not run is an error.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        let names = target::names(&*host, &self.names, &self.project.into()).await;
        let (host, signal) = (&host, self.signal.as_str());
        each_found(names, |name| async move {
            host.kill_container(&name, Some(signal)).await?;
            Ok(name)
        })
        .await
    }
}

/// Freeze all processes of containers
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Containers
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Pause {
    /// See [`orc_host::Host::pause_container`].
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = &session.host().await?;
        each(&self.names, |name| async move {
            host.pause_container(&name).await?;
            Ok(name)
        })
        .await
    }
}

/// Let frozen containers go on
#[derive(Debug, Args)]
pub(crate) struct Unpause {
    /// Containers
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Unpause {
    /// See [`orc_host::Host::unpause_container`].
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = &session.host().await?;
        each(&self.names, |name| async move {
            host.unpause_container(&name).await?;
            Ok(name)
        })
        .await
    }
}

/// Remove containers
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Kill those that run
    #[arg(short, long)]
    force: bool,
    /// Remove their anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    #[command(flatten)]
    project: ServiceFlags,
    /// Containers, or services of the project here
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Rm {
    /// With `-f` one that is not there is fine.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        let mut names = target::names(&*host, &self.names, &self.project.into()).await;
        if self.force {
            names.retain(|name| {
                !name
                    .as_ref()
                    .is_err_and(|error| error.kind() == Kind::NotFound)
            });
        }
        let options = RemoveOptions {
            force: self.force,
            volumes: self.volumes,
        };
        let host = &host;
        each_found(names, |name| async move {
            host.remove_container(&name, options).await?;
            Ok(name)
        })
        .await
    }
}

/// Give a container another name
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// The container
    #[arg(value_name = "CONTAINER")]
    name: String,
    /// Its new name
    new_name: String,
}

impl Rename {
    /// Prints nothing, as Docker does.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        session
            .host()
            .await?
            .rename_container(&self.name, &self.new_name)
            .await?;
        Ok(OK)
    }
}

/// Wait until containers end, and print their exit codes
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Containers
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Wait {
    /// See [`orc_host::Host::wait_container`].
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = &session.host().await?;
        each(&self.names, |name| async move {
            Ok(host
                .wait_container(&name, WaitFor::NotRunning)
                .await?
                .code
                .to_string())
        })
        .await
    }
}
