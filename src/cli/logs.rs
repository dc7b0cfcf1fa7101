//! `logs` of a container, or of a service of the project here (`compose/logs.rs`).

use clap::Args;
use futures_util::StreamExt;
use orc_base::Time;
use orc_host::Host;
use orc_host::stream::Output;

use crate::cli::compose::logs as project_logs;
use crate::cli::failure::{OK, Outcome};
use crate::cli::log_flags::LogFlags;
use crate::cli::project::{ProjectFlags, ServiceFlags};
use crate::cli::session::Session;
use crate::cli::target::{self, Target};
use crate::ui::{out, prefix};

/// Show what a container wrote
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    orc logs -f web              follow a container, or a service of the project here\n  \
    orc logs --tail 20 --since 10m web")]
pub(crate) struct Logs {
    #[command(flatten)]
    logs: LogFlags,
    // What a driver of Docker's adds to each line when its options say so; orc's have no such options.
    #[arg(long, hide = true)]
    details: bool,
    #[command(flatten)]
    project: ServiceFlags,
    /// A container, or a service of the project here
    #[arg(value_name = "NAME")]
    name: String,
}

impl Logs {
    /// A container's lines as they are, a service's with the names of its containers.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        let project = ProjectFlags::from(self.project);
        match target::find(&*host, &self.name, &project).await? {
            Target::Container(container) => {
                show(&*host, &container.id, &self.logs, session.now()).await
            }
            Target::Service(_) => {
                let logs = project_logs::Logs::of_service(self.logs, self.name);
                logs.run(session, &project).await
            }
        }
    }
}

/// Shows the lines of one container, each on the stream it was written to.
async fn show(host: &dyn Host, name: &str, flags: &LogFlags, now: Time) -> Outcome {
    let mut lines = host.logs(name, &flags.options(now)?).await?;
    while let Some(line) = lines.next().await {
        let line = line?;
        let bytes = match flags.timestamps {
            true => [
                format!("{} ", prefix::timestamp(line.time)).as_bytes(),
                &line.bytes,
            ]
            .concat(),
            false => line.bytes.to_vec(),
        };
        match line.output {
            Output::Stdout => out::bytes(&bytes),
            Output::Stderr => out::error_bytes(&bytes),
        }
    }
    Ok(OK)
}
