//! `volume …`.

use clap::{Args, Subcommand};
use orc_base::{Error, Kind, Result};
use orc_host::Host;
use orc_host::container::ContainerFilter;
use orc_host::volume::VolumeSpec;

use crate::cli::describe;
use crate::cli::each::each;
use crate::cli::failure::{OK, Outcome};
use crate::cli::inspect;
use crate::cli::parse::{env, filter};
use crate::cli::prune;
use crate::cli::session::Session;
use crate::ui::format::Format;
use crate::ui::out;

/// Data that outlives containers
#[derive(Debug, Subcommand)]
pub(crate) enum Volumes {
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(List),
    /// Make a volume
    Create(Create),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Show all that is known of volumes
    Inspect(inspect::Of),
    /// Remove all anonymous volumes that no container uses
    Prune(prune::Volumes),
}

impl Volumes {
    /// Leads to the verb.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Ls(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Rm(verb) => verb.run(session).await,
            Self::Inspect(verb) => verb.run(session, inspect::Kind::Volume).await,
            Self::Prune(verb) => verb.run(session).await,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only some: name=…, driver=…, label=…, dangling=true
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// table, json, or a template such as '{{.Name}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

impl List {
    async fn run(self, session: &Session) -> Outcome {
        let wanted = filter::named(&self.filter, &["name", "driver", "dangling"])?;
        let format = Format::parse(self.format.as_deref(), self.json)?;
        let host = session.host().await?;
        let volumes = host.list_volumes().await?;
        let used = match wanted.dangling {
            None => Vec::new(),
            Some(_) => used(&*host).await?,
        };
        let shown = volumes.iter().filter(|volume| {
            wanted.labels_match(&volume.labels)
                && wanted.field_matches("name", |name| volume.name.contains(name))
                && wanted.field_matches("driver", |driver| volume.driver == driver)
                && wanted
                    .dangling
                    .is_none_or(|dangling| dangling != used.contains(&volume.name))
        });
        if self.quiet {
            shown.for_each(|volume| out::line(&volume.name));
            return Ok(OK);
        }
        let rows: Vec<_> = shown.map(describe::volume).collect();
        format.print(describe::VOLUMES, &rows)?;
        Ok(OK)
    }
}

/// The names of the volumes that containers, running or not, have.
async fn used(host: &dyn Host) -> Result<Vec<String>> {
    let containers = host.list_containers(&ContainerFilter::everything()).await?;
    let mounts = containers
        .into_iter()
        .flat_map(|container| container.mounts);
    Ok(mounts.filter_map(|mount| mount.name).collect())
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// local
    #[arg(short, long, default_value = "local")]
    driver: String,
    /// A label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// An option of the driver
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Its name, with a flag as Docker once had it
    #[arg(long = "name", hide = true, value_name = "NAME")]
    flag_name: Option<String>,
    /// Its name; a random one when absent
    name: Option<String>,
}

impl Create {
    async fn run(self, session: &Session) -> Outcome {
        let name = match (self.name, self.flag_name) {
            (Some(_), Some(_)) => return Err(Error::invalid("name the volume once").into()),
            (name, flag) => name.or(flag).unwrap_or_default(),
        };
        let spec = VolumeSpec {
            name,
            driver: self.driver,
            options: env::pairs("option", &self.opt)?,
            labels: env::pairs("label", &self.label)?,
        };
        out::line(&session.host().await?.create_volume(&spec).await?.name);
        Ok(OK)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// One that is not there is fine
    #[arg(short, long)]
    force: bool,
    /// The volumes
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

impl Remove {
    async fn run(self, session: &Session) -> Outcome {
        let (host, force) = (&session.host().await?, self.force);
        each(&self.names, |name| async move {
            match host.remove_volume(&name, force).await {
                Err(error) if force && error.kind() == Kind::NotFound => Ok(String::new()),
                other => other.map(|()| name),
            }
        })
        .await
    }
}
