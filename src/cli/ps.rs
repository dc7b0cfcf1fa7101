//! `ps`: the list of containers.

use clap::Args;
use orc_base::Result;
use orc_host::container::ContainerFilter;

use crate::cli::describe;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::filter;
use crate::cli::session::Session;
use crate::ui::format::Format;
use crate::ui::out;

/// List containers
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Only some: name=…, status=…, label=…, health=…
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// table, json, or a template such as '{{.Names}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// The newest so many, running or not
    #[arg(
        short = 'n',
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true
    )]
    last: Option<i64>,
    /// The newest one, running or not
    #[arg(short, long)]
    latest: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Sizes; they are not measured yet and shown as 0B
    #[arg(short, long, hide = true)]
    size: bool,
}

impl Ps {
    fn wanted(&self) -> Result<ContainerFilter> {
        let mut wanted = filter::containers(&self.filter)?;
        wanted.all = self.all;
        wanted.limit = match (self.latest, self.last) {
            (true, _) => Some(1),
            (false, Some(last)) => usize::try_from(last).ok(),
            (false, None) => None,
        };
        Ok(wanted)
    }

    /// See the flags.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let wanted = self.wanted()?;
        let format = Format::parse(self.format.as_deref(), self.json)?;
        let containers = session.host().await?.list_containers(&wanted).await?;
        if self.quiet {
            for container in &containers {
                out::line(if self.no_trunc {
                    &container.id
                } else {
                    describe::short_id(&container.id)
                });
            }
            return Ok(OK);
        }
        let now = session.now();
        let rows: Vec<_> = containers
            .iter()
            .map(|container| describe::container(container, now, self.no_trunc))
            .collect();
        format.print(describe::CONTAINERS, &rows)?;
        Ok(OK)
    }
}
