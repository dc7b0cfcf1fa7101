//! From a goal to its end: observe once, plan, show or do.

use std::collections::BTreeSet;
use std::sync::Arc;

use orc_base::Result;
use orc_compose::converge::{Observer, Outcome, Quiet, carry_out, converge};
use orc_compose::model::Project;
use orc_compose::model::service::Service;
use orc_compose::observe::observe;
use orc_compose::plan::{Goal, Plan, Up, changed_volumes, plan};
use orc_host::Host;

use crate::cli::project::ProjectFlags;
use crate::cli::prompt;
use crate::ui::progress::{Progress, TICK};
use crate::ui::{escape, out, terminal};

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
        let mut plan = plan(self.project, &observed, goal)?;
        plan.at_once = Some(self.flags.at_once());
        plan.warnings
            .iter()
            .for_each(|warning| out::warning(warning));
        Ok(plan)
    }

    /// Whether `up` replaces containers lot after lot.
    pub(crate) async fn updates(&self, wanted: &Up) -> Result<bool> {
        let deploys = |service: &Service| service.deploy.is_some();
        if !self.project.services.values().any(deploys) {
            return Ok(false);
        }
        let observed = observe(&*self.host, &self.project.name).await?;
        let plan = plan(self.project, &observed, &Goal::Up(wanted.clone()))?;
        Ok(plan.updates())
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

    /// Asks about volumes that are not as the file says, when there is somebody to ask; `yes` is the
    /// answer beforehand. Who does not want to lose data is told what else there is by the plan.
    pub(crate) async fn renewing(&self, wanted: Up, yes: bool) -> Result<Up> {
        let observed = observe(&*self.host, &self.project.name).await?;
        let changed = changed_volumes(self.project, &observed, &wanted)?;
        let asks = !self.flags.dry_run && terminal::stdin_is_terminal();
        let mut renew_volumes = BTreeSet::new();
        for name in changed {
            let question = format!(
                "Volume {name} exists and is not as the file says now. It can be made anew, and all that is in it is lost."
            );
            if yes || (asks && prompt::ask(question).await?) {
                renew_volumes.insert(name);
            }
        }
        Ok(Up {
            renew_volumes,
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
        self.outcome(plan, verb).await.done
    }

    /// The same, and what is to be done about updates that failed.
    pub(crate) async fn outcome(&self, plan: &Plan, verb: &str) -> Outcome {
        let nothing = Outcome {
            done: Ok(()),
            back: Vec::new(),
        };
        if self.flags.dry_run {
            out::bytes(escape::text(&plan.to_string()).as_bytes());
            return nothing;
        }
        if plan.is_empty() {
            return nothing;
        }
        let display = Progress::new(self.flags.progress, self.flags.ansi, verb);
        let done = self.watched(plan, &display).await;
        display.finish();
        done
    }

    async fn watched(&self, plan: &Plan, display: &Progress) -> Outcome {
        let mut work = std::pin::pin!(carry_out(plan, &*self.host, display));
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
