//! Carries out a plan: as much at once as its graph allows. The only branch is success or failure.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use orc_base::{Error, Kind, Result};
use orc_host::Host;
use orc_host::container::{ContainerSpec, RemoveOptions};
use orc_host::image::Progress;
use orc_host::image_build::{BuildEvent, BuildRequest};
use orc_host::stop::StopOptions;

use crate::hook;
use crate::image_build::ImageBuild;
use crate::labels;
use crate::model::provider::Provided;
use crate::plan::{Action, Operation, Plan};
use crate::provider::run::{self, Said};
use crate::provider::{NoPrograms, Programs};
use crate::stop;
use crate::trials::{Trials, Verdict};
use crate::undo;
use crate::wait::{self, Changes};

/// More steps are never under way at once.
pub const MAX_AT_ONCE: usize = 64;

/// What happens to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationEvent {
    /// The step's number in the plan.
    pub id: usize,
    /// What it is about: `Container demo-web-1`.
    pub subject: String,
    /// One word: `Creating`, `Created`, `Waiting`, `Healthy`, `Error`.
    pub text: String,
    /// What happens.
    pub phase: Phase,
}

/// What happens to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It begins.
    Started,
    /// It goes on, and this is what for: `db: healthy (probe 3 of 10: connection refused)`.
    Waiting(String),
    /// A layer of an image goes on.
    Progress(Progress),
    /// A build goes on.
    Build(BuildEvent),
    /// A hook says something.
    Output {
        /// The service that it is for.
        service: String,
        /// One line, without its end.
        line: String,
    },
    /// Something was asked for and is not done.
    Warning(String),
    /// It is done.
    Done,
    /// It failed. The first line is the reason; more are a container's last ones.
    Failed(String),
}

/// Whoever shows progress. Called from one task; must not block.
pub trait Observer: Send + Sync {
    /// Something happens.
    fn event(&self, event: OperationEvent);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Observer for Quiet {
    fn event(&self, _event: OperationEvent) {}
}

/// What came of a plan.
#[derive(Debug)]
pub struct Outcome {
    /// The first failure that was not forgiven.
    pub done: Result<()>,
    /// The services whose update failed and that are to become what they were before, each with the
    /// digest of that when it is known.
    pub back: Vec<(String, Option<String>)>,
    /// What programs have given that stand for services and models.
    pub given: Provided,
}

/// Carries out `plan`. After a failure nothing new is begun, waits are given up, the rest of what is
/// under way is finished, what was made and is not used is taken back (`undo.rs`), and the first
/// error is returned. What replicas of an update may cost is said in the plan (`trials.rs`).
pub async fn converge(plan: &Plan, host: &dyn Host, observer: &dyn Observer) -> Result<()> {
    carry_out(plan, host, &NoPrograms, observer).await.done
}

/// The same with programs that stand for services and models, what those have given, and what is to be
/// done about updates that failed.
pub async fn carry_out(
    plan: &Plan,
    host: &dyn Host,
    programs: &dyn Programs,
    observer: &dyn Observer,
) -> Outcome {
    let changes = Changes::new();
    let given = Mutex::default();
    let world = World {
        host,
        programs,
        given: &given,
        observer,
    };
    let mut outcome = follow(plan, &world, &changes).await;
    outcome.given = given.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcome
}

async fn follow(plan: &Plan, world: &World<'_>, changes: &Changes) -> Outcome {
    let work = walk(plan, world, changes);
    if !plan.operations().iter().any(is_wait) {
        return work.await;
    }
    tokio::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        () = changes.follow(world.host) => work.await,
    }
}

async fn walk(plan: &Plan, world: &World<'_>, changes: &Changes) -> Outcome {
    let operations = plan.operations();
    let at_once = plan.at_once.unwrap_or(MAX_AT_ONCE).clamp(1, MAX_AT_ONCE);
    let step = |operation| Step { operation, world };
    let mut missing: Vec<usize> = operations
        .iter()
        .map(|operation| operation.after.len())
        .collect();
    let mut dependents = vec![Vec::new(); operations.len()];
    for operation in operations {
        for other in &operation.after {
            dependents[*other].push(operation.id);
        }
    }
    let mut ready: VecDeque<usize> = (0..operations.len())
        .filter(|id| missing[*id] == 0)
        .collect();
    let mut under_way = FuturesUnordered::new();
    let mut first_error: Option<Error> = None;
    let mut succeeded = vec![false; operations.len()];
    let mut trials = Trials::new(plan);
    let (give_up, given_up) = tokio::sync::watch::channel(false);
    loop {
        while first_error.is_none() && under_way.len() < at_once {
            let Some(id) = ready.pop_front() else { break };
            let how = match (
                trials.leaves_out(&operations[id]),
                trials.failed_before(&operations[id]),
            ) {
                (true, _) => Run::LeaveOut,
                (false, Some(error)) => Run::Fail(error),
                (false, None) => Run::Act,
            };
            under_way.push(step(&operations[id]).run(how, changes, given_up.clone()));
        }
        let Some((id, ran)) = under_way.next().await else {
            break;
        };
        let operation = &operations[id];
        let verdict = match ran {
            Some(done) => trials.judge(operation, done),
            None => Verdict::Forgiven(Error::conflict("left out")),
        };
        match verdict {
            Verdict::Failed(error) => {
                step(operation).tell("Error", Phase::Failed(error.to_string()));
                first_error.get_or_insert(error);
                give_up.send_replace(true);
                continue;
            }
            Verdict::Done => {
                succeeded[id] = true;
                step(operation).tell(operation.action.words().1, Phase::Done);
            }
            Verdict::Forgiven(error) => {
                // A warning is one line.
                let text = error.to_string().replace('\n', " ");
                step(operation).tell("Warning", Phase::Warning(text));
            }
        }
        for dependent in &dependents[id] {
            missing[*dependent] -= 1;
            if missing[*dependent] == 0 {
                ready.push_back(*dependent);
            }
        }
    }
    let back = trials.back();
    let take_back = match first_error {
        Some(_) => undo::undone(plan, &succeeded),
        None => undo::failed_newcomers(plan, &succeeded),
    };
    for operation in take_back {
        if undo::take_back(plan, world.host, operation).await {
            step(operation).tell("Removed", Phase::Done);
        }
    }
    Outcome {
        done: first_error.map_or(Ok(()), Err),
        back,
        given: Provided::default(),
    }
}

/// How a step is run.
enum Run {
    Act,
    /// It has failed before it began.
    Fail(Error),
    /// It is not wanted any more.
    LeaveOut,
}

fn is_wait(operation: &Operation) -> bool {
    matches!(
        operation.action,
        Action::Wait { .. } | Action::Prove { .. } | Action::Pause { .. }
    )
}

/// Whether a step is ended when another one has failed, instead of coming to its end.
fn is_given_up(operation: &Operation) -> bool {
    let runs_program = matches!(
        operation.action,
        Action::RunProvider { .. } | Action::PrepareModel { .. }
    );
    runs_program || is_wait(operation)
}

/// What steps act on, and who is told.
struct World<'a> {
    host: &'a dyn Host,
    programs: &'a dyn Programs,
    given: &'a Mutex<Provided>,
    observer: &'a dyn Observer,
}

/// One step on its way.
struct Step<'a> {
    operation: &'a Operation,
    world: &'a World<'a>,
}

impl<'a> Step<'a> {
    /// The step's number and how it ended; `None` when it was left out.
    fn run(
        self,
        how: Run,
        changes: &'a Changes,
        mut given_up: tokio::sync::watch::Receiver<bool>,
    ) -> BoxFuture<'a, (usize, Option<Result<()>>)> {
        async move {
            let id = self.operation.id;
            match how {
                Run::LeaveOut => return (id, None),
                Run::Fail(error) => return (id, Some(Err(error))),
                Run::Act => {}
            }
            self.tell(self.operation.action.words().0, Phase::Started);
            let work = self.act(changes);
            let done = match is_given_up(self.operation) {
                false => work.await,
                true => tokio::select! {
                    biased;
                    done = work => done,
                    _ = given_up.wait_for(|given_up| *given_up) => {
                        Err(Error::new(Kind::Unavailable, "given up because another step failed"))
                    }
                },
            };
            (id, Some(done))
        }
        .boxed()
    }

    fn tell(&self, text: &str, phase: Phase) {
        self.world.observer.event(OperationEvent {
            id: self.operation.id,
            subject: self.operation.action.subject(),
            text: text.to_owned(),
            phase,
        });
    }

    async fn act(&self, changes: &Changes) -> Result<()> {
        let host = self.world.host;
        match &self.operation.action {
            Action::PullImage { image, platform } => self.pull(image, platform.as_deref()).await,
            Action::BuildImage { image, build } => {
                self.build(build).await.map_err(naming("build", image))
            }
            Action::CreateNetwork(spec) => {
                let made = host.create_network(spec).await.map(drop);
                made.map_err(naming("create network", &spec.name))
            }
            Action::RemoveNetwork { name } => {
                gone(host.remove_network(name).await).map_err(naming("remove network", name))
            }
            Action::CreateVolume(spec) => {
                let made = host.create_volume(spec).await.map(drop);
                made.map_err(naming("create volume", &spec.name))
            }
            Action::RemoveVolume { name } => {
                gone(host.remove_volume(name, false).await).map_err(naming("remove volume", name))
            }
            Action::CreateContainer { name, spec } => {
                let spec = with_image(host, spec).await;
                let made = host.create_container(Some(name), &spec).await;
                let made = made.map_err(naming("create", name))?;
                for warning in made.warnings {
                    self.tell("Warning", Phase::Warning(warning));
                }
                Ok(())
            }
            Action::StartContainer { name } => {
                settled(host.start_container(name).await).map_err(naming("start", name))
            }
            Action::RunHook {
                container,
                when,
                number,
                process,
            } => {
                let service = self.operation.service.clone().unwrap_or_default();
                let tell = |line: String| {
                    let service = service.clone();
                    self.tell("Running", Phase::Output { service, line });
                };
                hook::run(host, container, *when, process, &tell)
                    .await
                    .map_err(|error| {
                        let what = format!("{} {number} of {container}", when.as_str());
                        error.within(what)
                    })
            }
            Action::StopContainer { name, timeout } => {
                let stopped = stop::stop(host, name, *timeout).await.map(|deaf| {
                    if let Some(deaf) = deaf {
                        self.tell("Warning", Phase::Warning(deaf));
                    }
                });
                gone(settled(stopped)).map_err(naming("stop", name))
            }
            Action::RestartContainer { name, timeout } => host
                .restart_container(name, &StopOptions::within(*timeout))
                .await
                .map_err(naming("restart", name)),
            Action::KillContainer { name, signal } => host
                .kill_container(name, signal.as_deref())
                .await
                .map_err(naming("kill", name)),
            Action::RemoveContainer { name, volumes } => {
                let options = RemoveOptions {
                    force: false,
                    volumes: *volumes,
                };
                gone(host.remove_container(name, options).await).map_err(naming("remove", name))
            }
            Action::RunProvider { service, call, .. } => {
                let given = run::provider(self.world.programs, call, &|said| self.heard(said))
                    .await
                    .map_err(|error| error.within(format!("provider {}", call.program)))
                    .map_err(naming("service", service))?;
                self.keep(|all| all.services.insert(service.clone(), given).is_none());
                Ok(())
            }
            Action::PrepareModel { key, model, call } => {
                let programs = self.world.programs;
                let endpoint = run::model(programs, call, model, &|said| self.heard(said))
                    .await
                    .map_err(naming("model", key))?;
                self.keep(|all| all.endpoints.insert(key.clone(), endpoint).is_none());
                Ok(())
            }
            Action::RemoveImage { image } => {
                let removed = host.remove_image(image, false).await.map(drop);
                gone(removed).map_err(naming("remove image", image))
            }
            Action::RenameContainer { name, new_name } => host
                .rename_container(name, new_name)
                .await
                .map_err(naming("rename", name)),
            Action::Prove { name, steady, .. } => {
                let note = |text: String| self.tell("Waiting", Phase::Waiting(text));
                wait::prove(host, changes, name, *steady, &note).await
            }
            Action::Pause { time } => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            Action::Wait {
                service,
                containers,
                until,
                required,
                timeout,
            } => {
                let note = |text: String| self.tell("Waiting", Phase::Waiting(text));
                let wanted = wait::Wanted {
                    service,
                    containers,
                    until: *until,
                    timeout: *timeout,
                };
                let waited = wait::wait(host, changes, &wanted, &note).await;
                let waited = waited.map_err(|error| {
                    error.within(format!("{} ({})", service, self.operation.cause))
                });
                match waited {
                    Err(error) if !required => {
                        // A warning is one line.
                        let error = error.to_string().replace('\n', " ");
                        self.tell(
                            "Warning",
                            Phase::Warning(format!("optional dependency: {error}")),
                        );
                        Ok(())
                    }
                    waited => waited,
                }
            }
        }
    }

    /// A program says something.
    fn heard(&self, said: Said) {
        match said {
            Said::Info(text) => self.tell("Waiting", Phase::Waiting(text)),
            Said::Warning(text) => self.tell("Warning", Phase::Warning(text)),
        }
    }

    fn keep(&self, put: impl FnOnce(&mut Provided) -> bool) {
        let given = self.world.given.lock();
        let new = put(&mut given.unwrap_or_else(PoisonError::into_inner));
        debug_assert!(new, "a program runs once in a plan");
    }

    async fn build(&self, build: &ImageBuild) -> Result<()> {
        let request = BuildRequest {
            spec: build.whole()?,
            archive: None,
        };
        let mut events = self.world.host.build_image(request).await?;
        while let Some(event) = events.next().await {
            self.tell("Building", Phase::Build(event?));
        }
        Ok(())
    }

    async fn pull(&self, image: &str, platform: Option<&str>) -> Result<()> {
        let work = async {
            let mut progress = self.world.host.pull_image(image, platform, None).await?;
            while let Some(item) = progress.next().await {
                self.tell("Pulling", Phase::Progress(item?));
            }
            Ok(())
        };
        work.await.map_err(naming("pull", image))
    }
}

/// The container with the label that names its image, which the plan could not know of an image that
/// it fetches or builds: docker compose replaces what lacks it.
async fn with_image<'s>(host: &dyn Host, spec: &'s ContainerSpec) -> Cow<'s, ContainerSpec> {
    let ours = spec.labels.contains_key(labels::SERVICE);
    if !ours || spec.labels.contains_key(labels::IMAGE) {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    // What is not there is told by whoever makes the container.
    if let Ok(image) = host.inspect_image(&spec.image).await {
        spec.labels.insert(labels::IMAGE.into(), image.id);
    }
    Cow::Owned(spec)
}

/// Adds what was done to which thing, unless the cause names the thing already.
fn naming<'a>(verb: &'a str, name: &'a str) -> impl FnOnce(Error) -> Error + 'a {
    move |error| match error.to_string().contains(name) {
        true => error,
        false => error.within(format!("{verb} {name}")),
    }
}

/// What is gone already need not go.
fn gone(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        result => result,
    }
}

/// What is so already need not be done.
fn settled(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == Kind::Unchanged => Ok(()),
        result => result,
    }
}
