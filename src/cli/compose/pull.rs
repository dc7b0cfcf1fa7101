//! `pull` of a project.

use std::sync::Arc;

use clap::Args;
use orc_base::Result;
use orc_compose::model::Project;
use orc_compose::plan::{self, Action, Goal, Plan};

use crate::cli::compose::carry_out::Work;
use crate::cli::compose::deeds::{self, Deed};
use crate::cli::compose::up::Pull as When;
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::out;
use crate::ui::progress::{Mode, Progress};

/// Fetch the images of the project
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Leave out images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// Fetch what can be fetched, and end well if something cannot
    #[arg(long)]
    ignore_pull_failures: bool,
    /// And those of what the services need
    #[arg(long)]
    include_deps: bool,
    /// When images are fetched
    #[arg(long, value_enum, value_name = "WHEN")]
    policy: Option<When>,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Pull {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, mut flags: ProjectFlags) -> Outcome {
        if self.quiet {
            flags.progress = Mode::Quiet;
        }
        let project = flags.load(&self.services)?;
        let services = self.services(&project)?;
        if services.is_empty() {
            return Ok(OK);
        }
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        let goal = Goal::Pull(plan::Pull {
            services,
            include_deps: false,
            policy: self.policy.map(Into::into),
        });
        let plan = work.plan(&goal).await?;
        match self.ignore_pull_failures && !flags.dry_run {
            false => work.carry_out(&plan, "pull").await?,
            true => {
                let failed = fetch_all(&work, &plan).await;
                failed
                    .iter()
                    .for_each(|error| out::warning(&error.to_string()));
            }
        }
        Ok(OK)
    }

    /// The services whose images are meant, and what they need when that is asked for.
    fn services(&self, project: &Project) -> Result<Vec<String>> {
        let mut selected = project.select(&self.services)?;
        if self.include_deps {
            selected = project.with_dependencies(&selected);
        }
        selected.retain(|name| {
            let buildable = project
                .service(name)
                .is_some_and(|service| service.build.is_some());
            !(self.ignore_buildable && buildable)
        });
        Ok(selected.into_iter().collect())
    }
}

/// Fetches every image of a plan, whatever becomes of the others. Returns what went wrong.
async fn fetch_all(work: &Work<'_>, plan: &Plan) -> Vec<orc_base::Error> {
    let display = &Progress::new(work.flags.progress, work.flags.ansi, "pull");
    let images = plan
        .operations()
        .iter()
        .filter_map(|operation| match &operation.action {
            Action::PullImage { image, platform } => Some((image, platform)),
            _ => None,
        });
    let deeds = images.enumerate().map(|(id, (image, platform))| {
        let subject = format!("Image {image}");
        let (host, told) = (Arc::clone(&work.host), subject.clone());
        let fetch = async move {
            let steps = host.pull_image(image, platform.as_deref(), None).await?;
            deeds::follow(display, id, &told, steps).await
        };
        Deed {
            subject,
            words: ("Pulling", "Pulled"),
            work: Box::pin(fetch),
        }
    });
    let done = deeds::carry_out(display, work.flags.at_once(), deeds.collect()).await;
    done.into_iter().filter_map(Result::err).collect()
}
