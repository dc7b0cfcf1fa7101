//! All commands, and the way from what was typed to one of them.

use std::ffi::OsString;

use clap::{ArgAction, Parser, Subcommand};
use orc_base::Context;

use crate::cli::compose::command::{Compose, ShortDown, ShortPlan, ShortUp};
use crate::cli::daemon::Daemon;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::place::Place;
use crate::cli::session::Session;
use crate::cli::{
    build_flags, commit, cp, exec, groups, help, images, inspect, lifecycle, login, logs, look,
    networks, ps, registry, run, start, stats, system, transfer, update, usage, volumes,
};
use crate::ui::{error, out};

/// Run containers, and projects of several, on an engine of its own
#[derive(Debug, Parser)]
#[command(
    name = "orc",
    version,
    max_term_width = 100,
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Print the version
    #[arg(short = 'V', visible_short_alias = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create and start the project here; short for `compose up`
    Up(Box<ShortUp>),
    /// Stop and remove the project here; short for `compose down`
    Down(Box<ShortDown>),
    /// Show what `up` would do here, and why; short for `compose plan`
    Plan(Box<ShortPlan>),
    /// Run projects of several services from a Compose file
    Compose(Box<Compose>),

    /// Run a command in a new container
    Run(Box<run::Run>),
    /// Run a command in a running container
    Exec(exec::Exec),
    /// List containers
    Ps(ps::Ps),
    /// Show what a container wrote
    Logs(logs::Logs),
    /// Create a container and do not start it
    Create(Box<run::Create>),
    /// Start stopped containers
    Start(start::Start),
    /// Stop running containers
    Stop(lifecycle::Stop),
    /// Stop containers and start them again
    Restart(lifecycle::Restart),
    /// Send a signal to running containers
    Kill(lifecycle::Kill),
    /// Remove containers
    Rm(lifecycle::Rm),
    /// Take part in a running container
    Attach(start::AttachTo),
    /// Wait until containers end, and print their exit codes
    Wait(lifecycle::Wait),
    /// Freeze all processes of containers
    Pause(lifecycle::Pause),
    /// Let frozen containers go on
    Unpause(lifecycle::Unpause),
    /// Give a container another name
    Rename(lifecycle::Rename),
    /// Change limits and the restart policy of containers
    Update(Box<update::Update>),
    /// Show the processes of a container
    Top(look::Top),
    /// Show what containers use
    Stats(stats::Stats),
    /// Show where a container's ports are reachable
    Port(look::PortOf),
    /// Copy files between a container and this machine
    Cp(cp::Cp),
    /// Show what a container has changed in its files
    Diff(commit::Diff),
    /// Write the files of a container to a tar archive
    Export(commit::Export),
    /// Make an image of a container
    Commit(commit::Commit),
    /// Containers
    #[command(subcommand)]
    Container(groups::Containers),

    /// Build an image from a Dockerfile
    Build(Box<build_flags::Build>),
    /// List images
    Images(images::List),
    /// Fetch an image from its registry
    Pull(transfer::Pull),
    /// Send an image to its registry
    Push(transfer::Push),
    /// Give an image one more name
    Tag(images::Tag),
    /// Remove images
    Rmi(images::Remove),
    /// Show how an image was made
    History(images::History),
    /// Make an image of a root file system's tar archive
    Import(transfer::Import),
    /// Write images to a tar archive
    Save(transfer::Save),
    /// Take images from a tar archive that `save` wrote
    Load(transfer::Load),
    /// Images
    #[command(subcommand)]
    Image(groups::Images),
    /// Builds and what they keep
    #[command(subcommand, visible_alias = "buildx")]
    Builder(groups::Builder),

    /// Check an account at a registry, and keep it
    Login(login::Login),
    /// Forget an account at a registry
    Logout(login::Logout),
    /// Serve the images of this machine, and look at other registries
    #[command(subcommand)]
    Registry(registry::Registry),

    /// Networks of containers
    #[command(subcommand)]
    Network(networks::Networks),
    /// Data that outlives containers
    #[command(subcommand)]
    Volume(volumes::Volumes),

    /// Show all that is known of containers, images, networks or volumes
    Inspect(inspect::Inspect),
    /// Show what happens, as it happens
    Events(look::Events),
    /// Show facts about this machine
    Info(system::Info),
    /// Show the versions of the command line and of the daemon
    Version(system::Version),
    /// This machine
    #[command(subcommand)]
    System(system::System),
    /// Run, stop or ask the daemon that the other commands talk to
    Daemon(Box<Daemon>),
}

/// Runs what was typed and ends the process.
pub(crate) fn main(words: &[OsString]) -> ! {
    let cli = match usage::parse(help::command::<Cli>, words) {
        Ok(cli) => cli,
        Err(code) => out::exit(code.into()),
    };
    let outcome = match foreground(&cli) {
        Some(outcome) => outcome,
        None => in_runtime(cli),
    };
    let code = match outcome {
        Ok(code) => code,
        Err(failure) => {
            failure.error.iter().for_each(error::print);
            failure.code
        }
    };
    out::exit(code.into())
}

/// The daemon makes its own threads, so it runs before there are any.
fn foreground(cli: &Cli) -> Option<Outcome> {
    let Command::Daemon(daemon) = &cli.command else {
        return None;
    };
    match daemon.foreground(&cli.place) {
        Ok(None) => None,
        Ok(Some(options)) => Some(crate::daemon::run(&options).map_err(Failure::from)),
        Err(error) => Some(Err(error.into())),
    }
}

fn in_runtime(cli: Cli) -> Outcome {
    // One thread is enough for a command that waits for a daemon, and it starts at once.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context(|| "start")?;
    let outcome = runtime.block_on(cli.command.run(cli.place));
    // A read of standard input may still be under way; it ends with the process.
    runtime.shutdown_background();
    outcome
}

impl Command {
    /// Leads to the command.
    async fn run(self, place: Place) -> Outcome {
        let session = &Session::new(place.clone());
        match self {
            Self::Up(verb) => verb.run(session).await,
            Self::Down(verb) => verb.run(session).await,
            Self::Plan(verb) => verb.run(session).await,
            Self::Compose(verb) => verb.run(session).await,
            Self::Run(verb) => verb.run(session).await,
            Self::Exec(verb) => verb.run(session).await,
            Self::Ps(verb) => verb.run(session).await,
            Self::Logs(verb) => verb.run(session).await,
            Self::Create(verb) => verb.run(session).await,
            Self::Start(verb) => verb.run(session).await,
            Self::Stop(verb) => verb.run(session).await,
            Self::Restart(verb) => verb.run(session).await,
            Self::Kill(verb) => verb.run(session).await,
            Self::Rm(verb) => verb.run(session).await,
            Self::Attach(verb) => verb.run(session).await,
            Self::Wait(verb) => verb.run(session).await,
            Self::Pause(verb) => verb.run(session).await,
            Self::Unpause(verb) => verb.run(session).await,
            Self::Rename(verb) => verb.run(session).await,
            Self::Update(verb) => verb.run(session).await,
            Self::Top(verb) => verb.run(session).await,
            Self::Stats(verb) => verb.run(session).await,
            Self::Port(verb) => verb.run(session).await,
            Self::Cp(verb) => verb.run(session).await,
            Self::Diff(verb) => verb.run(session).await,
            Self::Export(verb) => verb.run(session).await,
            Self::Commit(verb) => verb.run(session).await,
            Self::Container(verb) => verb.run(session).await,
            Self::Build(verb) => verb.run(session).await,
            Self::Builder(verb) => verb.run(session).await,
            Self::Images(verb) => verb.run(session).await,
            Self::Pull(verb) => verb.run(session).await,
            Self::Push(verb) => verb.run(session).await,
            Self::Tag(verb) => verb.run(session).await,
            Self::Rmi(verb) => verb.run(session).await,
            Self::History(verb) => verb.run(session).await,
            Self::Import(verb) => verb.run(session).await,
            Self::Save(verb) => verb.run(session).await,
            Self::Load(verb) => verb.run(session).await,
            Self::Image(verb) => verb.run(session).await,
            Self::Login(verb) => verb.run(session).await,
            Self::Logout(verb) => verb.run(session).await,
            Self::Registry(verb) => verb.run(session).await,
            Self::Network(verb) => verb.run(session).await,
            Self::Volume(verb) => verb.run(session).await,
            Self::Inspect(verb) => verb.run(session).await,
            Self::Events(verb) => verb.run(session).await,
            Self::Info(verb) => verb.run(session).await,
            Self::Version(verb) => verb.run(session).await,
            Self::System(verb) => verb.run(session).await,
            Self::Daemon(verb) => verb.run(place).await,
        }
    }
}
