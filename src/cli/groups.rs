//! `orc container …` and `orc image …`: the same verbs under the names that Docker gave them later.

use clap::Subcommand;

use crate::cli::failure::Outcome;
use crate::cli::session::Session;
use crate::cli::{
    build_flags, commit, cp, exec, images, inspect, lifecycle, logs, look, prune, ps, run, start,
    stats, transfer, update,
};

/// Containers
#[derive(Debug, Subcommand)]
pub(crate) enum Containers {
    /// Take part in a running container
    Attach(start::AttachTo),
    /// Make an image of a container
    Commit(commit::Commit),
    /// Copy files between a container and this machine
    Cp(cp::Cp),
    /// Create a container and do not start it
    Create(Box<run::Create>),
    /// Show what a container has changed in its files
    Diff(commit::Diff),
    /// Run a command in a running container
    Exec(exec::Exec),
    /// Write the files of a container to a tar archive
    Export(commit::Export),
    /// Show all that is known of containers
    Inspect(inspect::Of),
    /// Send a signal to running containers
    Kill(lifecycle::Kill),
    /// Show what a container wrote
    Logs(logs::Logs),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Ps),
    /// Freeze all processes of containers
    Pause(lifecycle::Pause),
    /// Show where a container's ports are reachable
    Port(look::PortOf),
    /// Remove all stopped containers
    Prune(prune::Containers),
    /// Give a container another name
    Rename(lifecycle::Rename),
    /// Stop containers and start them again
    Restart(lifecycle::Restart),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(lifecycle::Rm),
    /// Run a command in a new container
    Run(Box<run::Run>),
    /// Start stopped containers
    Start(start::Start),
    /// Show what containers use
    Stats(stats::Stats),
    /// Stop running containers
    Stop(lifecycle::Stop),
    /// Show the processes of a container
    Top(look::Top),
    /// Let frozen containers go on
    Unpause(lifecycle::Unpause),
    /// Change limits and the restart policy of containers
    Update(Box<update::Update>),
    /// Wait until containers end, and print their exit codes
    Wait(lifecycle::Wait),
}

impl Containers {
    /// Leads to the verb.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Attach(verb) => verb.run(session).await,
            Self::Commit(verb) => verb.run(session).await,
            Self::Cp(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Diff(verb) => verb.run(session).await,
            Self::Export(verb) => verb.run(session).await,
            Self::Exec(verb) => verb.run(session).await,
            Self::Inspect(verb) => verb.run(session, inspect::Kind::Container).await,
            Self::Kill(verb) => verb.run(session).await,
            Self::Logs(verb) => verb.run(session).await,
            Self::Ls(verb) => verb.run(session).await,
            Self::Pause(verb) => verb.run(session).await,
            Self::Port(verb) => verb.run(session).await,
            Self::Prune(verb) => verb.run(session).await,
            Self::Rename(verb) => verb.run(session).await,
            Self::Restart(verb) => verb.run(session).await,
            Self::Rm(verb) => verb.run(session).await,
            Self::Run(verb) => verb.run(session).await,
            Self::Start(verb) => verb.run(session).await,
            Self::Stats(verb) => verb.run(session).await,
            Self::Stop(verb) => verb.run(session).await,
            Self::Top(verb) => verb.run(session).await,
            Self::Unpause(verb) => verb.run(session).await,
            Self::Update(verb) => verb.run(session).await,
            Self::Wait(verb) => verb.run(session).await,
        }
    }
}

/// Images
#[derive(Debug, Subcommand)]
pub(crate) enum Images {
    /// Build an image from a Dockerfile
    Build(Box<build_flags::Build>),
    /// Show how an image was made
    History(images::History),
    /// Make an image of a root file system's tar archive
    Import(transfer::Import),
    /// Show all that is known of images
    Inspect(inspect::OfImages),
    /// Take images from a tar archive that `save` wrote
    Load(transfer::Load),
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::List),
    /// Remove images without a name
    Prune(prune::Images),
    /// Fetch an image from its registry
    Pull(transfer::Pull),
    /// Send an image to its registry
    Push(transfer::Push),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(images::Remove),
    /// Write images to a tar archive
    Save(transfer::Save),
    /// Give an image one more name
    Tag(images::Tag),
}

impl Images {
    /// Leads to the verb.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Build(verb) => verb.run(session).await,
            Self::History(verb) => verb.run(session).await,
            Self::Import(verb) => verb.run(session).await,
            Self::Inspect(verb) => verb.run(session).await,
            Self::Load(verb) => verb.run(session).await,
            Self::Ls(verb) => verb.run(session).await,
            Self::Prune(verb) => verb.run(session).await,
            Self::Pull(verb) => verb.run(session).await,
            Self::Push(verb) => verb.run(session).await,
            Self::Rm(verb) => verb.run(session).await,
            Self::Save(verb) => verb.run(session).await,
            Self::Tag(verb) => verb.run(session).await,
        }
    }
}

/// Builds and what they keep
#[derive(Debug, Subcommand)]
pub(crate) enum Builder {
    /// Build an image from a Dockerfile
    Build(Box<build_flags::Build>),
    /// Remove what builds may use again
    Prune(prune::Builds),
}

impl Builder {
    /// Leads to the verb.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Build(verb) => verb.run(session).await,
            Self::Prune(verb) => verb.run(session).await,
        }
    }
}
