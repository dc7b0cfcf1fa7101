//! `watch`: the project runs, and what changes in its files reaches its containers.
//!
//! Files are watched from before anything is built or started, so nothing is missed meanwhile. Ctrl-C
//! ends the watching; the containers go on.

use clap::Args;
use orc_compose::model::Project;
use orc_compose::plan::{Goal, Up as Wanted};

use crate::cli::compose::carry_out::Work;
use crate::cli::compose::provide::provided;
use crate::cli::compose::watching::runner::{Options, Runner, Watch as Watched, rules_of, say};
use crate::cli::failure::{OK, Outcome, or_interrupted};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::{escape, out};

/// Bring the project up, and follow changes of its files as `develop.watch` says
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    orc compose watch             until Ctrl-C; the containers go on running\n  \
    orc compose watch --no-up     the project runs already\n  \
    orc compose --dry-run watch   only say what would be watched")]
pub(crate) struct Watch {
    /// Do not build and start the project first
    #[arg(long)]
    no_up: bool,
    /// Remove images whose name a rebuild gave to another
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    prune: bool,
    /// No progress of builds
    #[arg(long)]
    quiet: bool,
    /// Only these services and what they need
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Watch {
    /// Ends with 130 after Ctrl-C.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let mut project = flags.load_to_make(session, &self.services, false).await?;
        if flags.dry_run {
            for rule in rules_of(&project, &self.services)? {
                out::line(&escape::line(&rule.to_string()));
            }
            return Ok(OK);
        }
        let watch = Watched::begin(&project, &self.services)?;
        build_each_time(&mut project);
        let up = Wanted {
            services: self.services.clone(),
            ..Wanted::default()
        };
        let project = provided(session, &flags, project, &up, "up").await?;
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        let ended = or_interrupted(self.follow(&work, watch, up)).await;
        say("Watch disabled");
        ended
    }

    async fn follow(&self, work: &Work<'_>, watch: Watched, up: Wanted) -> Outcome {
        if !self.no_up {
            let seen = work.look().await?;
            let (up, seen) = work.refresh(up.clone(), seen, "up").await?;
            let plan = work.decide(&Goal::Up(up), &seen)?;
            work.carry_out(&plan, "up").await?;
        }
        let options = Options {
            up,
            prune: self.prune,
            quiet: self.quiet,
        };
        match Runner::new(work, watch, options).run().await? {}
    }
}

/// Whoever is watched and can be built is built when the project comes up, so that its image has what
/// changed since the last time.
pub(crate) fn build_each_time(project: &mut Project) {
    for service in project.services.values_mut() {
        if service.build.is_some() && service.develop.is_some() {
            service.pull_policy = Some("build".into());
        }
    }
}
