//! The verbs of `orc compose`.

use clap::{Args, Subcommand};

use crate::cli::compose::{
    alpha, bridge, build, config, copy, down, exec, graph, history, lint, list, logs, look, pause,
    plan, publish, pull, push, rollback, run, up, verbs, watch,
};
use crate::cli::failure::{Outcome, or_interrupted};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;

/// Run projects of several services from a Compose file
#[derive(Debug, Args)]
pub(crate) struct Compose {
    #[command(flatten)]
    project: ProjectFlags,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create and start the project
    Up(Box<up::Up>),
    /// Stop and remove the project
    Down(down::Down),
    /// Show what `up` would do, and why
    Plan(Box<plan::Plan>),
    /// Show what ran before
    History(history::History),
    /// Run again what ran before
    Rollback(rollback::Rollback),
    /// Build the images of the project
    Build(build::Build),
    /// List the project's containers
    Ps(list::Ps),
    /// Show what the project's containers wrote
    Logs(logs::Logs),
    /// Run a command in a running container of a service
    Exec(exec::Exec),
    /// Run a command in a new container of a service
    Run(Box<run::Run>),
    /// Take part in a running container of a service
    Attach(exec::Attach),
    /// Make the containers of the project and start none
    Create(up::Create),
    /// Start the project's containers
    Start(verbs::Start),
    /// Stop the project's containers
    Stop(verbs::Stop),
    /// Restart the project's containers
    Restart(verbs::Restart),
    /// Send a signal to the project's containers
    Kill(verbs::Kill),
    /// Remove the project's stopped containers
    Rm(verbs::Rm),
    /// Change how many containers services have
    Scale(verbs::Scale),
    /// Freeze all processes of the project's containers
    Pause(pause::Pause),
    /// Let the project's frozen containers go on
    Unpause(pause::Unpause),
    /// Copy files between a service and this machine
    Cp(copy::Cp),
    /// Make an image of a service's container
    Commit(copy::Commit),
    /// Write the files of a service's container to a tar archive
    Export(copy::Export),
    /// Fetch the images of the project
    Pull(pull::Pull),
    /// Send the images that the project builds to their registries
    Push(push::Push),
    /// Send the project to a registry, for others to run
    Publish(publish::Publish),
    /// Print the project as it is understood, or one of its lists
    #[command(visible_alias = "convert")]
    Config(Box<config::Config>),
    /// Say what could be better in the project's files
    Lint(lint::Lint),
    /// Draw the project: services, what they wait for, networks and volumes
    Graph(graph::Graph),
    /// List projects
    Ls(list::Ls),
    /// List the images of the project's containers
    Images(list::Images),
    /// List the volumes of the project
    Volumes(list::Volumes),
    /// Show where a port of a service is reachable
    Port(look::PortOf),
    /// Show the processes of the project's containers
    Top(look::Top),
    /// Show what the project's containers use
    Stats(look::Stats),
    /// Show what happens to the project's containers, as it happens
    Events(look::Events),
    /// Wait until the first container of services ends
    Wait(look::Wait),
    /// Bring the project up, and follow changes of its files
    Watch(watch::Watch),
    /// Turn the project into files for other systems
    #[command(subcommand)]
    Bridge(bridge::Bridge),
    /// Docker compose's experiments
    #[command(subcommand, hide = true)]
    Alpha(alpha::Alpha),
    /// Show the version of orc
    Version(look::Version),
}

impl Verb {
    /// Whether it knows itself what to do when somebody interrupts it.
    fn heeds_signals(&self) -> bool {
        matches!(
            self,
            Self::Up(_)
                | Self::Exec(_)
                | Self::Run(_)
                | Self::Attach(_)
                | Self::Cp(_)
                | Self::Export(_)
                | Self::Watch(_)
        )
    }
}

impl Compose {
    /// Leads to the verb.
    pub(crate) async fn run(mut self, session: &Session) -> Outcome {
        self.project.prepare(session)?;
        match self.verb.heeds_signals() {
            true => self.lead(session).await,
            false => or_interrupted(self.lead(session)).await,
        }
    }

    /// A dry run by `alpha dry-run` leads here again.
    async fn lead(self, session: &Session) -> Outcome {
        let project = self.project;
        match self.verb {
            Verb::Up(verb) => verb.run(session, project).await,
            Verb::Down(verb) => verb.run(session, project).await,
            Verb::Plan(verb) => verb.run(session, project).await,
            Verb::History(verb) => verb.run(session, &project),
            Verb::Rollback(verb) => verb.run(session, project).await,
            Verb::Build(verb) => verb.run(session, project).await,
            Verb::Ps(verb) => verb.run(session, &project).await,
            Verb::Logs(verb) => verb.run(session, &project).await,
            Verb::Exec(verb) => verb.run(session, &project).await,
            Verb::Run(verb) => verb.run(session, project).await,
            Verb::Attach(verb) => verb.run(session, &project).await,
            Verb::Create(verb) => verb.run(session, project).await,
            Verb::Start(verb) => verb.run(session, project).await,
            Verb::Stop(verb) => verb.run(session, project).await,
            Verb::Restart(verb) => verb.run(session, project).await,
            Verb::Kill(verb) => verb.run(session, project).await,
            Verb::Rm(verb) => verb.run(session, project).await,
            Verb::Scale(verb) => verb.run(session, project).await,
            Verb::Pause(verb) => verb.run(session, &project).await,
            Verb::Unpause(verb) => verb.run(session, &project).await,
            Verb::Cp(verb) => verb.run(session, &project).await,
            Verb::Commit(verb) => verb.run(session, &project).await,
            Verb::Export(verb) => verb.run(session, &project).await,
            Verb::Pull(verb) => verb.run(session, project).await,
            Verb::Push(verb) => verb.run(session, project).await,
            Verb::Publish(verb) => verb.run(session, project).await,
            Verb::Bridge(verb) => verb.run(session, &project).await,
            Verb::Alpha(alpha::Alpha::DryRun(words)) => {
                let verb = words.verb()?;
                let mut project = project;
                project.dry_run = true;
                Box::pin(Self { project, verb }.lead(session)).await
            }
            Verb::Alpha(verb) => verb.run(session, project).await,
            Verb::Config(verb) => verb.run(session, &project).await,
            Verb::Lint(verb) => verb.run(&project),
            Verb::Graph(verb) => verb.run(&project),
            Verb::Ls(verb) => verb.run(session).await,
            Verb::Images(verb) => verb.run(session, &project).await,
            Verb::Volumes(verb) => verb.run(session, &project).await,
            Verb::Port(verb) => verb.run(session, &project).await,
            Verb::Top(verb) => verb.run(session, &project).await,
            Verb::Stats(verb) => verb.run(session, &project).await,
            Verb::Events(verb) => verb.run(session, &project).await,
            Verb::Wait(verb) => verb.run(session, &project).await,
            Verb::Watch(verb) => verb.run(session, project).await,
            Verb::Version(verb) => verb.run(),
        }
    }
}

/// `orc up`: the same as `orc compose up`, with the flags of both behind it.
#[derive(Debug, Args)]
pub(crate) struct ShortUp {
    #[command(flatten)]
    project: ProjectFlags,
    #[command(flatten)]
    up: up::Up,
}

impl ShortUp {
    /// See `up.rs`.
    pub(crate) async fn run(mut self, session: &Session) -> Outcome {
        self.project.prepare(session)?;
        self.up.run(session, self.project).await
    }
}

/// `orc down`: the same as `orc compose down`, with the flags of both behind it.
#[derive(Debug, Args)]
pub(crate) struct ShortDown {
    #[command(flatten)]
    project: ProjectFlags,
    #[command(flatten)]
    down: down::Down,
}

impl ShortDown {
    /// See `down.rs`.
    pub(crate) async fn run(mut self, session: &Session) -> Outcome {
        self.project.prepare(session)?;
        or_interrupted(self.down.run(session, self.project)).await
    }
}

/// `orc plan`: the same as `orc compose plan`, with the flags of both behind it.
#[derive(Debug, Args)]
pub(crate) struct ShortPlan {
    #[command(flatten)]
    project: ProjectFlags,
    #[command(flatten)]
    plan: plan::Plan,
}

impl ShortPlan {
    /// See `plan.rs`.
    pub(crate) async fn run(mut self, session: &Session) -> Outcome {
        self.project.prepare(session)?;
        self.plan.run(session, self.project).await
    }
}
