//! Decides what has to happen on a machine so that a project is as somebody wants it.
//!
//! Pure: `plan(project, observed, goal)` looks at nothing but its arguments, and returns every step
//! there is — pull, create, start, wait, stop, remove — as one graph of operations, each with its
//! cause. Printing the plan is the dry run; `converge.rs` carries it out and decides nothing.

pub(crate) mod before;
mod builds;
mod carry;
pub(crate) mod compare;
mod describe;
mod down;
mod fate;
mod graph;
mod hooks;
mod images;
mod initial;
mod lifecycle;
mod orphans;
mod planner;
mod preview;
mod provide;
mod refuse;
mod removal;
mod resources;
mod rolling;
mod up;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orc_base::Result;
use orc_host::container::ContainerSpec;
use orc_host::exec::ExecSpec;
use orc_host::network::NetworkSpec;
use orc_host::volume::VolumeSpec;

use crate::image_build::{ImageBuild, Overrides};
use crate::model::Project;
use crate::model::provider::Model;
use crate::model::service::Condition;
use crate::observe::{Observed, remembered};
use crate::provider::call::Call;
use crate::provider::metadata::Verb;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// The images whose policy is `always` are fetched, and those are built that somebody wants
    /// built each time, before anybody looks which containers differ: `up` is this, another look, and [`Goal::Up`] with [`Up::refreshed`].
    Refresh(Up),
    /// The programs that stand for services and models have said what they give, and what they need runs:
    /// one round of it, without those that need others of them first. `up` and `run` are this until
    /// nothing is left, each time with what was given ([`Project::provided`]), and then the rest.
    Provide(Up),
    /// The project runs as its files say.
    Up(Up),
    /// Nothing of the project is left.
    Down(Down),
    /// Containers that exist run.
    Start(Start),
    /// Containers that run stop, those that depend on others first.
    Stop(Stop),
    /// Containers that exist stop and start again.
    Restart(Restart),
    /// Containers that run get a signal.
    Kill(Kill),
    /// Stopped containers are removed.
    Remove(Remove),
    /// Images are fetched.
    Pull(Pull),
    /// Images are built.
    Build(Build),
}

/// Options of `up` and `create`.
#[derive(Debug, Clone, PartialEq)]
pub struct Up {
    /// Only these and what they need; all when empty.
    pub services: Vec<String>,
    /// How many replicas, over what the files say.
    pub scale: BTreeMap<String, u64>,
    /// When containers that exist are replaced.
    pub recreate: Recreate,
    /// The same for what named services need and is not named.
    pub recreate_dependencies: Recreate,
    /// Leave alone what the services need.
    pub no_deps: bool,
    /// Remove containers of services that the files do not know.
    pub remove_orphans: bool,
    /// Over the services' own `pull_policy`.
    pub pull: Option<PullPolicy>,
    /// When images are built that have a `build` section.
    pub build: BuildPolicy,
    /// [`Goal::Refresh`] has been carried out: what is there is new enough.
    pub refreshed: bool,
    /// Start what was made; `create` does not.
    pub start: bool,
    /// Be done only when all run, or are healthy, or have ended well as one-shots do.
    pub wait: bool,
    /// How long that may take.
    pub wait_timeout: Option<Duration>,
    /// How long a container that is replaced may take to stop.
    pub timeout: Option<Duration>,
    /// Fresh anonymous volumes instead of those of the container that is replaced.
    pub renew_anonymous_volumes: bool,
    /// Volumes of the project, by their names on the machine, that are made anew without their data
    /// when they are not as the file says: see [`changed_volumes`].
    pub renew_volumes: BTreeSet<String>,
    /// The project is what ran before: `rollback_config` says how containers are replaced.
    pub back: bool,
}

impl Default for Up {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            scale: BTreeMap::new(),
            recreate: Recreate::Diverged,
            recreate_dependencies: Recreate::Diverged,
            no_deps: false,
            remove_orphans: false,
            pull: None,
            build: BuildPolicy::Missing,
            refreshed: false,
            start: true,
            wait: false,
            wait_timeout: None,
            timeout: None,
            renew_anonymous_volumes: false,
            renew_volumes: BTreeSet::new(),
            back: false,
        }
    }
}

/// When containers that exist are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recreate {
    /// When what they were made from changed.
    #[default]
    Diverged,
    /// Always.
    Force,
    /// Never.
    Never,
}

/// When images are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// When they are not there.
    Missing,
    /// Not at all.
    Never,
}

/// When images are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BuildPolicy {
    /// When they are not there, or their service says each time.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Not at all.
    Never,
}

/// Options of `build`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Build {
    /// Only these; all when empty.
    pub services: Vec<String>,
    /// And what they depend on.
    pub with_dependencies: bool,
    /// What is said beside the files.
    pub over: Overrides,
}

/// Options of `down`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Down {
    /// Only these; then networks, volumes and images stay.
    pub services: Vec<String>,
    /// Named volumes of the files and anonymous ones too.
    pub volumes: bool,
    /// Images too.
    pub images: Option<RemoveImages>,
    /// Containers of services that the files do not know too.
    pub remove_orphans: bool,
    /// How long a container may take to stop.
    pub timeout: Option<Duration>,
}

/// Which images `down` removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveImages {
    /// Those without a name of their own in the file.
    Local,
    /// All that the services use.
    All,
}

/// Options of `start`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Start {
    /// Only these and what they need; all when empty.
    pub services: Vec<String>,
    /// As in [`Up::wait`].
    pub wait: bool,
    /// As in [`Up::wait_timeout`].
    pub wait_timeout: Option<Duration>,
}

/// Options of `stop`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stop {
    /// Only these; all when empty.
    pub services: Vec<String>,
    /// How long a container may take.
    pub timeout: Option<Duration>,
}

/// Options of `restart`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restart {
    /// Only these; all when empty.
    pub services: Vec<String>,
    /// How long a container may take to stop.
    pub timeout: Option<Duration>,
    /// Leave alone those that ask to be restarted with them (`depends_on.*.restart`).
    pub no_deps: bool,
}

/// Options of `kill`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kill {
    /// Only these; all when empty.
    pub services: Vec<String>,
    /// `SIGKILL` when absent.
    pub signal: Option<String>,
    /// Containers of services that the files do not know too.
    pub remove_orphans: bool,
}

/// Options of `rm`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remove {
    /// Only these; all when empty.
    pub services: Vec<String>,
    /// Stop them first.
    pub stop: bool,
    /// Their anonymous volumes too.
    pub volumes: bool,
}

/// Options of `pull`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pull {
    /// Only these; all when empty.
    pub services: Vec<String>,
    /// And what they need.
    pub include_deps: bool,
    /// Over the services' own; `always` when absent.
    pub policy: Option<PullPolicy>,
}

/// What has to happen, in which order, and what has to be said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    operations: Vec<Operation>,
    /// One sentence each.
    pub warnings: Vec<String>,
    /// More steps are not to be under way at the same time.
    pub at_once: Option<usize>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its place in [`Plan::operations`].
    pub id: usize,
    /// The step.
    pub action: Action,
    /// Why.
    pub cause: String,
    /// The service it is for.
    pub service: Option<String>,
    /// What has to have succeeded before; always smaller numbers.
    pub after: Vec<usize>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Fetches an image.
    PullImage {
        /// Its reference.
        image: String,
        /// `linux/amd64`.
        platform: Option<String>,
    },
    /// Builds an image.
    BuildImage {
        /// Its name.
        image: String,
        /// How.
        build: Box<ImageBuild>,
    },
    /// Makes a network.
    CreateNetwork(NetworkSpec),
    /// Removes a network.
    RemoveNetwork {
        /// Its name.
        name: String,
    },
    /// Makes a volume.
    CreateVolume(VolumeSpec),
    /// Removes a volume.
    RemoveVolume {
        /// Its name.
        name: String,
    },
    /// Makes a container.
    CreateContainer {
        /// Its name.
        name: String,
        /// What it is made from.
        spec: Box<ContainerSpec>,
    },
    /// Starts a container.
    StartContainer {
        /// Its name.
        name: String,
    },
    /// Stops a container.
    StopContainer {
        /// Its name.
        name: String,
        /// How long it may take.
        timeout: Option<Duration>,
    },
    /// Stops and starts a container.
    RestartContainer {
        /// Its name.
        name: String,
        /// How long it may take to stop.
        timeout: Option<Duration>,
    },
    /// Runs a hook of its service in a container.
    RunHook {
        /// The container's name.
        container: String,
        /// Which list it is of.
        when: When,
        /// Its place in the list, from 1.
        number: usize,
        /// The process.
        process: Box<ExecSpec>,
    },
    /// Sends a signal to a container.
    KillContainer {
        /// Its name.
        name: String,
        /// `SIGKILL` when absent.
        signal: Option<String>,
    },
    /// Removes a container.
    RemoveContainer {
        /// Its name.
        name: String,
        /// Its anonymous volumes too.
        volumes: bool,
    },
    /// Gives a container another name.
    RenameContainer {
        /// Its name.
        name: String,
        /// Its name afterwards.
        new_name: String,
    },
    /// Waits until a container that takes the place of another has shown that it works.
    Prove {
        /// Its name.
        name: String,
        /// How long it has to stay ready.
        steady: Duration,
        /// What happens when it does not.
        trial: Trial,
    },
    /// Lets time pass between one lot of an update and the next.
    Pause {
        /// How much.
        time: Duration,
    },
    /// Waits until containers are so far.
    Wait {
        /// The service they are of.
        service: String,
        /// Their names.
        containers: Vec<String>,
        /// How far.
        until: Until,
        /// Go on with a warning when they fail.
        required: bool,
        /// How long it may take.
        timeout: Option<Duration>,
    },
    /// Runs the program that stands for a service.
    RunProvider {
        /// The service.
        service: String,
        /// What for.
        verb: Verb,
        /// How.
        call: Box<Call>,
    },
    /// Fetches and sets up a model.
    PrepareModel {
        /// Its key in the file.
        key: String,
        /// The model.
        model: Box<Model>,
        /// A call of the plug-in for models, with any arguments.
        call: Box<Call>,
    },
    /// Removes an image.
    RemoveImage {
        /// Its reference.
        image: String,
    },
}

/// What the failure of one replica means for the update it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// How many replicas of the service may fail without anything coming of it but a warning.
    pub allowed_failures: usize,
    /// What comes of one more.
    pub on_failure: OnFailure,
    /// The container that runs until this one has proved itself, when both run side by side.
    pub beside: Option<String>,
    /// The digest of what the container was made from whose place this one takes.
    pub was: Option<String>,
}

/// What comes of an update when a replica fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It ends there.
    Pause,
    /// It goes on.
    Continue,
    /// It ends there, and the service becomes what it was before.
    RollBack,
}

/// How far containers have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The health check succeeds.
    Healthy,
    /// Ended with exit code 0.
    Completed,
    /// Running, healthy when there is a health check, or ended with exit code 0 for good.
    Ready,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// After its container was started.
    PostStart,
    /// Before its container is stopped.
    PreStop,
}

impl When {
    /// The key in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PostStart => "post_start",
            Self::PreStop => "pre_stop",
        }
    }
}

impl Until {
    pub(crate) fn of(condition: Condition) -> Option<Self> {
        match condition {
            Condition::ServiceStarted => None,
            Condition::ServiceHealthy => Some(Self::Healthy),
            Condition::ServiceCompletedSuccessfully => Some(Self::Completed),
        }
    }

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Completed => "completed",
            Self::Ready => "ready",
        }
    }
}

impl Action {
    /// The name of the one container that the step is about, if there is one.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::CreateContainer { name, .. }
            | Self::StartContainer { name }
            | Self::StopContainer { name, .. }
            | Self::RestartContainer { name, .. }
            | Self::KillContainer { name, .. }
            | Self::RemoveContainer { name, .. }
            | Self::RenameContainer { name, .. }
            | Self::Prove { name, .. }
            | Self::RunHook {
                container: name, ..
            } => Some(name),
            _ => None,
        }
    }
}

/// Decides what has to happen. An error means that nothing was decided and nothing may be done.
///
/// A project without files is known by the labels of what is left of it.
pub fn plan(project: &Project, observed: &Observed, goal: &Goal) -> Result<Plan> {
    let remembered = match project.files.is_empty() {
        true => Some(remembered(&project.name, observed)),
        false => None,
    };
    let project = remembered.as_ref().unwrap_or(project);
    match goal {
        Goal::Refresh(options) => images::refresh(project, observed, options),
        Goal::Provide(options) => provide::round(project, observed, options),
        Goal::Up(options) => up::plan(project, observed, options),
        Goal::Down(options) => down::plan(project, observed, options),
        Goal::Start(options) => lifecycle::start(project, observed, options),
        Goal::Stop(options) => lifecycle::stop(project, observed, options),
        Goal::Restart(options) => lifecycle::restart(project, observed, options),
        Goal::Kill(options) => lifecycle::kill(project, observed, options),
        Goal::Remove(options) => lifecycle::remove(project, observed, options),
        Goal::Pull(options) => images::pull(project, observed, options),
        Goal::Build(options) => builds::plan(project, observed, options),
    }
}

/// All that `up` does as one plan, from one look: [`Goal::Refresh`], then [`Goal::Up`] with
/// [`Up::refreshed`].
///
/// Whether an image that is fetched or built anew turns out another one is not known before, so the
/// containers that would be replaced for it are a warning and no steps. Errors are [`plan`]'s.
pub fn preview(project: &Project, observed: &Observed, options: &Up) -> Result<Plan> {
    preview::preview(project, observed, options)
}

/// The volumes that `up` needs and that are not as the file says now, by their names on the machine.
/// Only making them anew changes that, and loses their data: somebody has to want it
/// ([`Up::renew_volumes`]).
pub fn changed_volumes(
    project: &Project,
    observed: &Observed,
    options: &Up,
) -> Result<BTreeSet<String>> {
    let selected = project.select(&options.services)?;
    let scope = match options.no_deps {
        true => selected,
        false => project.with_dependencies(&selected),
    };
    Ok(resources::changed_volumes(project, observed, &scope))
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The steps; each comes after those it waits for.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The names of containers that the plan starts, in order.
    pub fn started(&self) -> impl Iterator<Item = &str> {
        self.operations
            .iter()
            .filter_map(|operation| match &operation.action {
                Action::StartContainer { name } | Action::RestartContainer { name, .. } => {
                    Some(name.as_str())
                }
                _ => None,
            })
    }

    /// Whether containers are replaced lot after lot.
    pub fn updates(&self) -> bool {
        let mut steps = self.operations.iter();
        steps.any(|step| matches!(step.action, Action::Prove { .. }))
    }

    /// Adds a step and returns its number.
    pub(crate) fn add(
        &mut self,
        service: Option<&str>,
        action: Action,
        cause: impl Into<String>,
        mut after: Vec<usize>,
    ) -> usize {
        let id = self.operations.len();
        after.sort_unstable();
        after.dedup();
        debug_assert!(after.iter().all(|other| *other < id));
        self.operations.push(Operation {
            id,
            action,
            cause: cause.into(),
            service: service.map(str::to_owned),
            after,
        });
        id
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }
}
