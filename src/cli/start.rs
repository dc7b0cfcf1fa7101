//! `start` and `attach`: containers that exist, with or without this terminal.

use clap::{ArgAction, Args};
use orc_base::{Error, Kind};
use orc_host::container::WaitFor;

use crate::cli::each::each_found;
use crate::cli::failure::{OK, Outcome, exit_code};
use crate::cli::parse::detach::DetachKeys;
use crate::cli::project::ServiceFlags;
use crate::cli::run::{self, Attach};
use crate::cli::session::Session;
use crate::cli::stdio::{self, Ended, Wishes};
use crate::cli::target;

/// Start stopped containers
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Show the container's output until it ends
    #[arg(short, long)]
    attach: bool,
    /// Send what is typed, too
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[command(flatten)]
    project: ServiceFlags,
    /// Containers, or services of the project here
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Start {
    /// Attached: ends with the container's exit code.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        let names = target::names(&*host, &self.names, &self.project.into()).await;
        if !self.attach && !self.interactive {
            let host = &host;
            return each_found(names, |name| async move {
                match host.start_container(&name).await {
                    Err(error) if error.kind() == Kind::Unchanged => Ok(name),
                    other => other.map(|()| name),
                }
            })
            .await;
        }
        let mut names = names.into_iter();
        let (Some(name), None) = (names.next(), names.next()) else {
            return Err(Error::invalid("only one container can be attached to").into());
        };
        let container = host.inspect_container(&name?).await?;
        let attach = Attach {
            wishes: Wishes {
                stdin: self.interactive && container.spec.open_stdin,
                stdout: true,
                stderr: true,
                tty: container.spec.tty,
                detach: run::detach_keys(self.detach_keys.as_deref())?,
            },
            sig_proxy: true,
        };
        run::attached(host, &container.id, container.spec.auto_remove, attach).await
    }
}

/// Take part in a running container
#[derive(Debug, Args)]
pub(crate) struct AttachTo {
    /// Only show its output
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the program
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    sig_proxy: bool,
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// The container
    #[arg(value_name = "CONTAINER")]
    name: String,
}

impl AttachTo {
    /// Ends with the container's exit code, or 0 when it was left.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let keys = run::detach_keys(self.detach_keys.as_deref())?;
        attach(session, &self.name, !self.no_stdin, self.sig_proxy, keys).await
    }
}

/// Takes part in a running container until it ends or is left.
pub(crate) async fn attach(
    session: &Session,
    name: &str,
    stdin: bool,
    sig_proxy: bool,
    keys: DetachKeys,
) -> Outcome {
    let host = session.host().await?;
    let container = host.inspect_container(name).await?;
    if !container.state.is_running() {
        return Err(Error::conflict(format!(
            "the container {} does not run: start it with `orc start -a {}`",
            container.name, container.name
        ))
        .into());
    }
    let wishes = Wishes {
        stdin: stdin && container.spec.open_stdin,
        stdout: true,
        stderr: true,
        tty: container.spec.tty,
        detach: keys,
    };
    let (id, tty) = (container.id.as_str(), container.spec.tty);
    let raw = stdio::prepare(&wishes)?;
    let signals = stdio::signals(&*host, id, raw.is_some(), sig_proxy);
    let streams = host.attach_container(id).await?;
    let beside = async {
        let size = async {
            if tty {
                stdio::follow_container_size(&*host, id).await;
            }
        };
        futures_util::future::join(size, signals).await;
    };
    let ended = stdio::carry(streams, wishes, beside).await;
    drop(raw);
    if ended? == Ended::Detached {
        return Ok(OK);
    }
    match host.wait_container(id, WaitFor::NotRunning).await {
        Ok(exit) => Ok(exit_code(exit.code)),
        // It removed itself; its code went with it.
        Err(error) if error.kind() == Kind::NotFound => Ok(OK),
        Err(error) => Err(error.into()),
    }
}
