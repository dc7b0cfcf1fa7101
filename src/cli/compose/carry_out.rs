//! From a goal to its end: observe once, plan, show or do.

use std::path::PathBuf;
use std::sync::Arc;

use orc_base::Result;
use orc_compose::converge::{Observer, Quiet, converge};
use orc_compose::model::Project;
use orc_compose::observe::observe;
use orc_compose::plan::{Goal, Plan, Up, plan};
use orc_host::Host;

use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::progress::{Progress, TICK};
use crate::ui::{escape, out};

/// A project, the flags it came from, and the machine it is for.
pub(crate) struct Work<'a> {
    /// The flags.
    pub(crate) flags: &'a ProjectFlags,
    /// The project.
    pub(crate) project: &'a Project,
    /// The machine.
    pub(crate) host: Arc<dyn Host>,
}

impl Work<'_> {
    /// Decides what `goal` takes, and says what is to be said about it.
    pub(crate) async fn plan(&self, goal: &Goal) -> Result<Plan> {
        let observed = observe(&*self.host, &self.project.name).await?;
        let plan = plan(self.project, &observed, goal)?;
        plan.warnings
            .iter()
            .for_each(|warning| out::warning(warning));
        Ok(plan)
    }

    /// Fetches and builds the images that somebody wants new each time, before anybody looks which
    /// containers differ. The answer is what is left to be done.
    pub(crate) async fn refresh(&self, wanted: Up, verb: &str) -> Result<Up> {
        self.reach(&Goal::Refresh(wanted.clone()), verb).await?;
        Ok(Up {
            refreshed: true,
            ..wanted
        })
    }

    /// Plans and does; a dry run prints the plan instead.
    pub(crate) async fn reach(&self, goal: &Goal, verb: &str) -> Result<Plan> {
        let plan = self.plan(goal).await?;
        self.carry_out(&plan, verb).await?;
        Ok(plan)
    }

    /// Does what was planned, with progress; a dry run prints it instead.
    pub(crate) async fn carry_out(&self, plan: &Plan, verb: &str) -> Result<()> {
        if self.flags.dry_run {
            out::bytes(escape::text(&plan.to_string()).as_bytes());
            return Ok(());
        }
        if plan.is_empty() {
            return Ok(());
        }
        let display = Progress::new(self.flags.progress, self.flags.ansi, verb);
        let done = self.watched(plan, &display).await;
        display.finish();
        done
    }

    async fn watched(&self, plan: &Plan, display: &Progress) -> Result<()> {
        let mut work = std::pin::pin!(converge(plan, &*self.host, display));
        let mut clock = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = clock.tick() => display.tick(),
            }
        }
    }

    /// Does what was planned and shows nothing but warnings.
    pub(crate) async fn carry_out_quietly(&self, plan: &Plan) -> Result<()> {
        let observer: &dyn Observer = &Quiet;
        converge(plan, &*self.host, observer).await
    }
}

/// Where the content of configs and secrets is put that no file holds: in memory, gone with the
/// machine.
pub(crate) fn files_dir(session: &Session, project: &str) -> Result<Option<PathBuf>> {
    Ok(Some(
        session.place.dirs()?.run().join("compose").join(project),
    ))
}
