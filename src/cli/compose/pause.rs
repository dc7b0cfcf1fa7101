//! `pause` and `unpause` of a project.

use std::sync::Arc;

use clap::Args;
use orc_base::Result;
use orc_compose::labels;
use orc_host::Host;
use orc_host::container::{Container, ContainerFilter, State};

use crate::cli::compose::deeds::{self, Deed};
use crate::cli::compose::names;
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::out;
use crate::ui::progress::Progress;

/// Freeze all processes of the project's containers
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Let the project's frozen containers go on
#[derive(Debug, Args)]
pub(crate) struct Unpause {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// One of the two.
#[derive(Clone, Copy)]
struct Verb {
    name: &'static str,
    words: (&'static str, &'static str),
    freezes: bool,
}

impl Pause {
    /// Those that are frozen already stay so.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let verb = Verb {
            name: "pause",
            words: ("Pausing", "Paused"),
            freezes: true,
        };
        on_all(session, flags, &self.services, verb).await
    }
}

impl Unpause {
    /// Those that are not frozen are left alone.
    pub(crate) async fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let verb = Verb {
            name: "unpause",
            words: ("Unpausing", "Unpaused"),
            freezes: false,
        };
        on_all(session, flags, &self.services, verb).await
    }
}

async fn on_all(
    session: &Session,
    flags: &ProjectFlags,
    services: &[String],
    verb: Verb,
) -> Outcome {
    let project = flags.load_or_name(services)?;
    let host = session.host().await?;
    let mut containers = of_services(&*host, &project.name, services).await?;
    containers.retain(|container| match verb.freezes {
        true => matches!(container.state, State::Running { .. }),
        false => matches!(container.state, State::Paused { .. }),
    });
    if flags.dry_run {
        let line = |container: &Container| out::line(&format!("{} {}", verb.name, container.name));
        containers.iter().for_each(line);
        return Ok(OK);
    }
    let deeds = containers.iter().map(|container| {
        let (host, id) = (Arc::clone(&host), container.id.clone());
        Deed {
            subject: format!("Container {}", container.name),
            words: verb.words,
            work: Box::pin(async move {
                match verb.freezes {
                    true => host.pause_container(&id).await,
                    false => host.unpause_container(&id).await,
                }
            }),
        }
    });
    let display = Progress::new(flags.progress, flags.ansi, verb.name);
    let done = deeds::carry_out(&display, flags.at_once(), deeds.collect()).await;
    done.into_iter().collect::<Result<()>>()?;
    Ok(OK)
}

/// The containers of services (of all when none is named) that run, in order of their names; one-offs
/// are not among them.
async fn of_services(
    host: &dyn Host,
    project: &str,
    services: &[String],
) -> Result<Vec<Container>> {
    let filter = ContainerFilter {
        labels: vec![(labels::PROJECT.into(), Some(project.into()))],
        ..ContainerFilter::default()
    };
    let mut containers = host.list_containers(&filter).await?;
    containers.retain(|container| {
        let service = names::service(container);
        !names::is_one_off(container)
            && (services.is_empty() || services.iter().any(|wanted| wanted == service))
    });
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(containers)
}
