//! `exec` and `attach` in a container of a service.

use clap::Args;
use orc_base::{Error, Result};
use orc_host::Host;
use orc_host::container::Container;
use orc_host::exec::ExecSpec;

use crate::cli::exec::{self, variables};
use crate::cli::failure::Outcome;
use crate::cli::parse::detach::DetachKeys;
use crate::cli::project::ProjectFlags;
use crate::cli::run;
use crate::cli::session::Session;
use crate::cli::start;
use crate::cli::target;
use crate::ui::terminal;

/// Run a command in a running container of a service
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// Run it in the background
    #[arg(short, long)]
    detach: bool,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Which container of the service
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u64,
    /// Give it no terminal
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Standard input is open and there is a terminal anyway
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// As above
    #[arg(short, long, hide = true)]
    tty: bool,
    /// All capabilities
    #[arg(long)]
    privileged: bool,
    /// User to run as
    #[arg(short, long)]
    user: Option<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Service, command and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["SERVICE", "COMMAND"])]
    service_and_command: Vec<String>,
}

impl Exec {
    /// Ends with the command's exit code.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let Some((service, command)) = self.service_and_command.split_first() else {
            return Err(Error::invalid("name a service and a command").into());
        };
        let host = session.host().await?;
        let container = one(&*host, flags, service, self.index).await?;
        let spec = ExecSpec {
            command: command.to_vec(),
            env: variables(&self.env, &[])?,
            working_dir: self.workdir,
            user: self.user,
            tty: !self.no_tty && !self.detach && terminal::stdin_is_terminal(),
            stdin: !self.detach,
            stdout: true,
            stderr: true,
            privileged: self.privileged,
            size: None,
        };
        exec::exec(
            &*host,
            &container.id,
            spec,
            self.detach,
            DetachKeys::default(),
        )
        .await
    }
}

/// The container of a service with a number; the first one that runs when it is 0.
pub(crate) async fn one(
    host: &dyn Host,
    flags: &ProjectFlags,
    service: &str,
    index: u64,
) -> Result<Container> {
    let project = flags.load_or_name(&[])?;
    if !project.services.is_empty() {
        project
            .service(service)
            .ok_or_else(|| project.no_such_service(service))?;
    }
    let containers = target::service(host, &project.name, service).await?;
    let wanted = |container: &Container| match index {
        0 => container.state.is_running(),
        index => target::number(container) == index,
    };
    containers
        .into_iter()
        .find(wanted)
        .ok_or_else(|| match index {
            0 => Error::not_found(format!(
                "the service `{service}` does not run: start it with `orc up`"
            )),
            index => Error::not_found(format!(
                "the service `{service}` has no container with number {index}"
            )),
        })
}

/// Take part in a running container of a service
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Which container of the service
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u64,
    /// Only show its output
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the program
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// The service
    service: String,
}

impl Attach {
    /// Ends with the container's exit code, or 0 when it was left.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let host = session.host().await?;
        let container = one(&*host, flags, &self.service, self.index).await?;
        let keys = run::detach_keys(self.detach_keys.as_deref())?;
        start::attach(session, &container.id, !self.no_stdin, self.sig_proxy, keys).await
    }
}
