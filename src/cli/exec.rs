//! `exec`: one more process in a running container.

use clap::Args;
use orc_base::{Error, Kind, Result};
use orc_host::Host;
use orc_host::exec::ExecSpec;

use crate::cli::failure::{NO_PROGRAM, NOT_EXECUTABLE, OK, OrExit, Outcome, exit_code};
use crate::cli::parse::detach::DetachKeys;
use crate::cli::parse::env;
use crate::cli::project::ServiceFlags;
use crate::cli::run::{self, read_file};
use crate::cli::session::Session;
use crate::cli::stdio::{self, Ended, Wishes};
use crate::cli::target::{self, Target};
use crate::ui::terminal;

/// Run a command in a running container
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    orc exec -it web sh          a shell in the container `web`\n  \
    orc exec web cat /etc/hosts\n  \
    orc exec web sh              `web` may be a service of the project here: a shell, too")]
pub(crate) struct Exec {
    /// Run it in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave the command running
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Set an environment variable; NAME alone takes its value from here
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// All capabilities
    #[arg(long)]
    privileged: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// User to run as: NAME|UID[:GROUP|GID]
    #[arg(short, long)]
    user: Option<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    #[command(flatten)]
    project: ServiceFlags,
    /// Container (or service of the project here), command and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["NAME", "COMMAND"])]
    name_and_command: Vec<String>,
}

impl Exec {
    /// Ends with the command's exit code.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let Some((name, command)) = self.name_and_command.split_first() else {
            return Err(Error::invalid("name a container and a command").into());
        };
        let keys = run::detach_keys(self.detach_keys.as_deref())?;
        let host = session.host().await?;
        let found = target::find(&*host, name, &self.project.into()).await?;
        let mut spec = ExecSpec {
            command: command.to_vec(),
            env: variables(&self.env, &self.env_file)?,
            working_dir: self.workdir,
            user: self.user,
            tty: self.tty,
            stdin: self.interactive,
            stdout: true,
            stderr: true,
            privileged: self.privileged,
            size: None,
        };
        if let Target::Service(_) = &found {
            // As `orc compose exec` does for a service.
            spec.stdin = !self.detach;
            spec.tty = !self.detach && terminal::stdin_is_terminal();
        }
        let names = found.names();
        exec(&*host, &names[0], spec, self.detach, keys).await
    }
}

/// The variables of `-e` and `--env-file`.
pub(crate) fn variables(texts: &[String], files: &[String]) -> Result<Vec<String>> {
    let here = |name: &str| std::env::var(name).ok();
    let mut variables = Vec::new();
    for file in files {
        variables.extend(env::variables(file, &read_file(file)?, &here)?);
    }
    for text in texts {
        variables.push(env::variable(text, &here)?);
    }
    Ok(variables)
}

/// Runs `spec` in a container and ends with its exit code.
pub(crate) async fn exec(
    host: &dyn Host,
    name: &str,
    mut spec: ExecSpec,
    detach: bool,
    keys: DetachKeys,
) -> Outcome {
    let wishes = Wishes {
        stdin: spec.stdin && !detach,
        stdout: true,
        stderr: true,
        tty: spec.tty,
        detach: keys,
    };
    spec.size = spec.tty.then(terminal::size).flatten();
    let tty = spec.tty;
    let raw = match detach {
        true => None,
        false => stdio::prepare(&wishes)?,
    };
    let exec = host.create_exec(name, &spec).await;
    let exec = exec.map_err(coded).or_exit_code()?;
    let streams = host.start_exec(&exec, detach).await;
    let streams = streams.map_err(coded).or_exit_code()?;
    if detach {
        return Ok(OK);
    }
    let signals = stdio::signals(host, name, raw.is_some(), false);
    let beside = async {
        let size = async {
            if tty {
                stdio::follow_exec_size(host, &exec).await;
            }
        };
        futures_util::future::join(size, signals).await;
    };
    let ended = stdio::carry(streams, wishes, beside).await;
    drop(raw);
    if ended? == Ended::Detached {
        return Ok(OK);
    }
    let ended = host.inspect_exec(&exec).await?;
    Ok(ended.exit_code.map_or(OK, exit_code))
}

/// An error and Docker's code for it: a container that is not there or does not run is 1.
fn coded(error: Error) -> (u8, Error) {
    let text = error.to_string();
    let code = match error.kind() {
        Kind::Conflict => 1,
        Kind::NotFound if text.to_ascii_lowercase().contains("no such container") => 1,
        _ => match run::start_code(&error) {
            code @ (NO_PROGRAM | NOT_EXECUTABLE) => code,
            _ => 1,
        },
    };
    (code, error)
}

trait OrExitCode<T> {
    fn or_exit_code(self) -> std::result::Result<T, crate::cli::failure::Failure>;
}

impl<T> OrExitCode<T> for std::result::Result<T, (u8, Error)> {
    fn or_exit_code(self) -> std::result::Result<T, crate::cli::failure::Failure> {
        self.or_else(|(code, error)| Err(error).or_exit(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        assert_eq!(coded(Error::not_found("No such container: x")).0, 1);
        assert_eq!(coded(Error::conflict("container x does not run")).0, 1);
        assert_eq!(
            coded(Error::not_found("exec `/x`: no such file or directory")).0,
            NO_PROGRAM
        );
        assert_eq!(
            coded(Error::denied("exec `/x`: permission denied")).0,
            NOT_EXECUTABLE
        );
        assert_eq!(coded(Error::unavailable("gone")).0, 1);
    }
}
