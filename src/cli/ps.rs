//! `ps`: the list of containers.

use clap::Args;
use orc_base::{Result, units};
use orc_host::Host;
use orc_host::container::{Container, ContainerFilter};
use orc_host::storage::UsageOf;

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
    /// What each wrote, and the size of its image with it
    #[arg(short, long)]
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
        let mut rows: Vec<_> = containers
            .iter()
            .map(|container| describe::container(container, now, self.no_trunc))
            .collect();
        let mut columns = describe::CONTAINERS.to_vec();
        if self.size {
            columns.push(("SIZE", "Size"));
            let sizes = sizes(&*session.host().await?, &containers).await?;
            for (row, size) in rows.iter_mut().zip(sizes) {
                row.set("Size", size);
            }
        }
        format.print(&columns, &rows)?;
        Ok(OK)
    }
}

/// `12.3kB (virtual 4.4MB)`: what each wrote, and with its image.
async fn sizes(host: &dyn Host, containers: &[Container]) -> Result<Vec<String>> {
    let only: Vec<String> = containers.iter().map(|one| one.id.clone()).collect();
    if only.is_empty() {
        return Ok(Vec::new());
    }
    let of = UsageOf {
        containers: true,
        only,
        ..UsageOf::default()
    };
    let usage = host.disk_usage(&of).await?;
    let images = host.list_images().await?;
    let size = |container: &Container| {
        let mut spaces = usage.containers.iter();
        let own = spaces.find(|one| one.id == container.id);
        let own = own.map_or(0, |one| one.bytes);
        let image = images.iter().find(|one| one.id == container.image_id);
        let all = own + image.map_or(0, |one| one.size_bytes);
        let (own, all) = (units::format_bytes(own), units::format_bytes(all));
        format!("{own} (virtual {all})")
    };
    Ok(containers.iter().map(size).collect())
}
