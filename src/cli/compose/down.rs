//! `down`: nothing of the project is left.

use clap::{Args, ValueEnum};
use orc_compose::plan::{Down as Wanted, Goal, RemoveImages};

use crate::cli::compose::carry_out::Work;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::time;
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;

/// Which images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Images {
    /// Those without a name of their own in the file
    Local,
    /// All that the services use
    All,
}

/// Stop and remove the project
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    orc down        containers and networks\n  \
    orc down -v     volumes, too")]
pub(crate) struct Down {
    /// Remove volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Seconds a container may take to stop
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Remove images, too
    #[arg(long, value_enum, value_name = "WHICH")]
    rmi: Option<Images>,
    /// Remove containers of services that the files do not know
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS", hide_env = true)]
    remove_orphans: bool,
    /// Only these services; networks and volumes stay
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Down {
    /// Works by name alone when the files are gone.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&self.services)?;
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        let wanted = Wanted {
            services: self.services,
            volumes: self.volumes,
            images: self.rmi.map(|which| match which {
                Images::Local => RemoveImages::Local,
                Images::All => RemoveImages::All,
            }),
            remove_orphans: flags.removes_orphans(self.remove_orphans),
            timeout: time::timeout(self.timeout),
        };
        work.reach(&Goal::Down(wanted), "down").await?;
        Ok(OK)
    }
}
