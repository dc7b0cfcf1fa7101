//! From a goal to its end: observe once, plan, show or do.
//!
//! What was seen goes from decision to decision until something is done, or somebody was waited for.

use std::collections::BTreeSet;
use std::sync::Arc;

use orc_base::Result;
use orc_compose::converge::{Outcome, Quiet, carry_out};
use orc_compose::model::Project;
use orc_compose::model::provider::Provided;
use orc_compose::model::service::Service;
use orc_compose::observe::{Observed, observe};
use orc_compose::plan::{Goal, Plan, Up, changed_volumes, plan};
use orc_host::Host;

use crate::cli::compose::dry_run;
use crate::cli::compose::programs::{self, OfThisMachine};
use crate::cli::project::ProjectFlags;
use crate::cli::prompt;
use crate::ui::progress::{Progress, TICK};
use crate::ui::{out, terminal};

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
    /// Looks at the machine.
    pub(crate) async fn look(&self) -> Result<Observed> {
        let mut seen = observe(&*self.host, &self.project.name).await?;
        programs::look(self.project, &mut seen).await;
        Ok(seen)
    }

    /// Looks at the machine and decides.
    pub(crate) async fn plan(&self, goal: &Goal) -> Result<Plan> {
        self.decide(goal, &self.look().await?)
    }

    /// Decides what `goal` takes, and says what is to be said about it.
    pub(crate) fn decide(&self, goal: &Goal, seen: &Observed) -> Result<Plan> {
        let mut plan = plan(self.project, seen, goal)?;
        plan.at_once = Some(self.flags.at_once());
        plan.warnings
            .iter()
            .for_each(|warning| out::warning(warning));
        Ok(plan)
    }

    /// Whether `up` replaces containers lot after lot.
    pub(crate) fn updates(&self, wanted: &Up, seen: &Observed) -> Result<bool> {
        let deploys = |service: &Service| service.deploy.is_some();
        if !self.project.services.values().any(deploys) {
            return Ok(false);
        }
        let plan = plan(self.project, seen, &Goal::Up(wanted.clone()))?;
        Ok(plan.updates())
    }

    /// Fetches and builds the images that somebody wants new each time, before anybody decides which
    /// containers differ. The answer is what is left to be done, and what is seen now.
    pub(crate) async fn refresh(
        &self,
        wanted: Up,
        seen: Observed,
        verb: &str,
    ) -> Result<(Up, Observed)> {
        let plan = self.decide(&Goal::Refresh(wanted.clone()), &seen)?;
        self.carry_out(&plan, verb).await?;
        let wanted = Up {
            refreshed: true,
            ..wanted
        };
        match plan.is_empty() {
            true => Ok((wanted, seen)),
            false => Ok((wanted, self.look().await?)),
        }
    }

    /// Asks about volumes that are not as the file says, when there is somebody to ask; `yes` is the
    /// answer beforehand. Who does not want to lose data is told what else there is by the plan. What
    /// is seen now comes back, too.
    pub(crate) async fn renewing(&self, wanted: Up, yes: bool) -> Result<(Up, Observed)> {
        let seen = self.look().await?;
        let changed = changed_volumes(self.project, &seen, &wanted)?;
        let asks = !yes && !self.flags.dry_run && terminal::stdin_is_terminal();
        let waited = asks && !changed.is_empty();
        let mut renew_volumes = BTreeSet::new();
        for name in changed {
            let question = format!(
                "Volume {name} exists and is not as the file says now. It can be made anew, and all that is in it is lost."
            );
            if yes || (asks && prompt::ask(question).await?) {
                renew_volumes.insert(name);
            }
        }
        let wanted = Up {
            renew_volumes,
            ..wanted
        };
        match waited {
            true => Ok((wanted, self.look().await?)),
            false => Ok((wanted, seen)),
        }
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
            given: Provided::default(),
        };
        if self.flags.dry_run {
            dry_run::show(plan, self.flags.progress);
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
        let mut work = std::pin::pin!(carry_out(plan, &*self.host, &OfThisMachine, display));
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
        carry_out(plan, &*self.host, &OfThisMachine, &Quiet)
            .await
            .done
    }
}
