//! Verbs that are one plan each: `start`, `stop`, `restart`, `kill`, `rm`, `scale`.

use std::time::Duration;

use clap::Args;
use orc_compose::plan::{self, Goal};

use crate::cli::compose::carry_out::Work;
use crate::cli::compose::provide::provided;
use crate::cli::compose::up::scales;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::time;
use crate::cli::project::ProjectFlags;
use crate::cli::prompt;
use crate::cli::session::Session;

/// Brings the project to a goal.
async fn reach(
    session: &Session,
    flags: &ProjectFlags,
    services: &[String],
    goal: Goal,
    verb: &str,
) -> Outcome {
    let project = flags.load_or_name(services)?;
    let work = Work {
        flags,
        project: &project,
        host: session.host().await?,
    };
    work.reach(&goal, verb).await?;
    Ok(OK)
}

/// Start the project's containers
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Be done when everything runs or is healthy
    #[arg(long)]
    wait: bool,
    /// Seconds that may take
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Start {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let goal = Goal::Start(plan::Start {
            services: self.services.clone(),
            wait: self.wait,
            wait_timeout: self.wait_timeout.map(Duration::from_secs),
        });
        reach(session, &flags, &self.services, goal, "start").await
    }
}

/// Stop the project's containers
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds a container may take
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Stop {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let goal = Goal::Stop(plan::Stop {
            services: self.services.clone(),
            timeout: time::timeout(self.timeout),
        });
        reach(session, &flags, &self.services, goal, "stop").await
    }
}

/// Restart the project's containers
#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Seconds a container may take to stop
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Leave alone those that ask to be restarted with them
    #[arg(long)]
    no_deps: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Restart {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let goal = Goal::Restart(plan::Restart {
            services: self.services.clone(),
            timeout: time::timeout(self.timeout),
            no_deps: self.no_deps,
        });
        reach(session, &flags, &self.services, goal, "restart").await
    }
}

/// Send a signal to the project's containers
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The signal
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Containers of services that the files do not know, too
    #[arg(long, env = "COMPOSE_REMOVE_ORPHANS", hide_env = true)]
    remove_orphans: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Kill {
    /// See the flags.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let goal = Goal::Kill(plan::Kill {
            services: self.services.clone(),
            signal: self.signal,
            remove_orphans: flags.removes_orphans(self.remove_orphans),
        });
        reach(session, &flags, &self.services, goal, "kill").await
    }
}

/// Remove the project's stopped containers
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Stop them first
    #[arg(short, long)]
    stop: bool,
    /// Remove their anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Rm {
    /// Asks before, unless told not to.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&self.services)?;
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        let goal = Goal::Remove(plan::Remove {
            services: self.services,
            stop: self.stop,
            volumes: self.volumes,
        });
        let plan = work.plan(&goal).await?;
        if plan.is_empty() {
            crate::ui::out::note("No stopped containers");
            return Ok(OK);
        }
        let what = format!("This will remove containers of project {}.", project.name);
        if !self.force && !flags.dry_run && !prompt::ask(what).await? {
            return Ok(OK);
        }
        work.carry_out(&plan, "rm").await?;
        Ok(OK)
    }
}

/// Change how many containers services have
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  orc compose scale web=3 worker=0")]
pub(crate) struct Scale {
    /// Leave alone what the services need
    #[arg(long)]
    no_deps: bool,
    /// How many each should have
    #[arg(required = true, value_name = "SERVICE=NUMBER")]
    services: Vec<String>,
}

impl Scale {
    /// As `up` of these services with `--scale`.
    pub(crate) async fn run(self, session: &Session, flags: ProjectFlags) -> Outcome {
        let scale = scales(&self.services)?;
        let names: Vec<String> = scale.keys().cloned().collect();
        let project = flags.load_to_make(session, &names, false).await?;
        let wanted = plan::Up {
            services: names,
            scale,
            no_deps: self.no_deps,
            ..plan::Up::default()
        };
        let project = provided(session, &flags, project, &wanted, "scale").await?;
        let goal = Goal::Up(wanted);
        let work = Work {
            flags: &flags,
            project: &project,
            host: session.host().await?,
        };
        work.reach(&goal, "scale").await?;
        Ok(OK)
    }
}
