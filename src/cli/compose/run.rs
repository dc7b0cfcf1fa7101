//! `run`: one more container of a service, for one command.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use clap::Args;
use orc_base::{Context, Error, Result};
use orc_compose::one_off::{RunOptions, one_off};
use orc_compose::plan::Up;
use orc_host::container::Mount;

use crate::cli::compose::carry_out::Work;
use crate::cli::compose::provide::provided;
use crate::cli::compose::up::{Pull, build_policy};
use crate::cli::exec::variables;
use crate::cli::failure::{OK, Outcome};
use crate::cli::flags;
use crate::cli::parse::detach::DetachKeys;
use crate::cli::parse::{mount, port};
use crate::cli::project::ProjectFlags;
use crate::cli::run::{self as docker_run, Attach};
use crate::cli::session::Session;
use crate::cli::stdio::Wishes;
use crate::ui::{out, terminal};

/// Run a command in a new container of a service
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  orc compose run --rm web python manage.py migrate")]
pub(crate) struct Run {
    /// Run in the background and print the container's name
    #[arg(short, long)]
    detach: bool,
    /// Program to run instead of the entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_from_file: Vec<String>,
    /// Keep standard input open
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
    /// A label
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Leave alone what the service needs
    #[arg(long)]
    no_deps: bool,
    /// Give it no terminal
    #[arg(short = 'T', long = "no-TTY", visible_alias = "no-tty")]
    no_tty: bool,
    /// There is a terminal anyway
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Publish a port
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Publish the ports of the service, too
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Be found under the names of the service, too
    #[arg(long)]
    use_aliases: bool,
    /// When images are fetched
    #[arg(long, value_enum, value_name = "WHEN")]
    pull: Option<Pull>,
    /// Build the image before, even if it is here
    #[arg(long)]
    build: bool,
    /// No progress of pulls
    #[arg(long)]
    quiet_pull: bool,
    /// No progress of builds
    #[arg(long)]
    quiet_build: bool,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Remove containers of services that the files do not know
    #[arg(long)]
    remove_orphans: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// User to run as
    #[arg(short, long)]
    user: Option<String>,
    /// Mount a path or a volume
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// A further capability
    #[arg(long, value_name = "CAP")]
    cap_add: Vec<String>,
    /// A capability less
    #[arg(long, value_name = "CAP")]
    cap_drop: Vec<String>,
    /// Service, command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["SERVICE", "COMMAND"])]
    service_and_command: Vec<String>,
}

impl Run {
    fn options(&self, command: &[String]) -> Result<RunOptions> {
        let here = std::env::current_dir().context(|| "find the working directory")?;
        let mounts = self
            .volume
            .iter()
            .map(|text| match mount::volume(text, &here)? {
                mount::Volume::Mount(mount) => Ok(mount),
                mount::Volume::Anonymous(target) => Ok(Mount::Volume {
                    name: String::new(),
                    target,
                    read_only: false,
                    no_copy: false,
                    subpath: None,
                    labels: BTreeMap::new(),
                    options: BTreeMap::new(),
                }),
            });
        let ports = self.publish.iter().map(|text| port::publish(text));
        Ok(RunOptions {
            command: command.to_vec(),
            entrypoint: self
                .entrypoint
                .as_ref()
                .map(|program| program.split_whitespace().map(str::to_owned).collect()),
            environment: variables(&self.env, &self.env_from_file)?,
            mounts: mounts.collect::<Result<_>>()?,
            ports: ports.collect::<Result<Vec<_>>>()?.concat(),
            service_ports: self.service_ports,
            use_aliases: self.use_aliases,
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            name: self.name.clone(),
            labels: self.label.clone(),
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            tty: Some(
                !self.no_tty
                    && !self.detach
                    && terminal::stdin_is_terminal()
                    && terminal::stdout_is_terminal(),
            ),
            interactive: self.interactive && !self.detach,
            remove: self.rm,
            no_deps: self.no_deps,
            remove_orphans: self.remove_orphans,
            pull: self.pull.map(Into::into),
            build: build_policy(self.build, false),
        })
    }

    /// Ends with the command's exit code.
    pub(crate) async fn run(self, session: &Session, mut flags: ProjectFlags) -> Outcome {
        let Some((service, command)) = self.service_and_command.split_first() else {
            return Err(Error::invalid("name a service").into());
        };
        if self.quiet || self.quiet_build {
            flags.progress = crate::ui::progress::Mode::Quiet;
        }
        let named = std::slice::from_ref(service);
        let project = flags.load_to_make(session, named, false).await?;
        let options = self.options(command)?;
        let needed = Up {
            services: vec![service.clone()],
            no_deps: options.no_deps,
            ..Up::default()
        };
        let project = provided(session, &flags, project, &needed, "run").await?;
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        let observed = work.look().await?;
        let one_off = one_off(&project, &observed, service, &options, &slug()?)?;
        one_off
            .plan
            .warnings
            .iter()
            .for_each(|warning| out::warning(warning));
        work.carry_out(&one_off.plan, "run").await?;
        if flags.dry_run {
            out::line(&format!("create and start {}", one_off.name));
            return Ok(OK);
        }
        let (host, spec) = (Arc::clone(&work.host), one_off.spec);
        let id = docker_run::create(
            &*host,
            Some(&one_off.name),
            &spec,
            flags::Pull::Missing,
            self.quiet_pull,
        )
        .await?;
        if self.detach {
            host.start_container(&id).await?;
            out::line(&one_off.name);
            return Ok(OK);
        }
        let attach = Attach {
            wishes: Wishes {
                stdin: spec.open_stdin,
                stdout: true,
                stderr: true,
                tty: spec.tty,
                detach: DetachKeys::default(),
            },
            sig_proxy: true,
        };
        docker_run::attached(host, &id, spec.auto_remove, attach).await
    }
}

/// Twelve random hexadecimal digits.
pub(crate) fn slug() -> Result<String> {
    let mut bytes = [0; 6];
    let random =
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    random.context(|| "read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_twelve_digits_and_differ() {
        let (one, two) = (slug().unwrap(), slug().unwrap());
        assert_eq!(one.len(), 12);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, two);
    }
}
