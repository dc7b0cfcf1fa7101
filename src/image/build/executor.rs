//! Walks the graph: what does not wait for another step is done at once, side by side.
//!
//! The first failure stops all others; then every step has said how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use orc_base::{Context, Error, Result};

use crate::build::files::Files;
use crate::build::graph::{Copy, CopyFrom, Mount, Op, Plan, Source, Step, StepId};
use crate::build::layering::{Made, Wanted};
use crate::build::request::StepState;
use crate::build::shared::Shared;
use crate::build::step_copy::{self, Tree};
use crate::build::step_run::{self, Failure};

/// What the sources of a plan are.
pub(crate) type Sources = BTreeMap<Source, Tree>;

/// What a step came to.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// A file system from outside.
    Source(Tree),
    /// Changes of one.
    Made(Made),
}

impl Outcome {
    /// Its file system.
    pub(crate) fn tree(&self) -> Tree {
        match self {
            Self::Source(tree) => tree.clone(),
            Self::Made(made) => Tree::Files(made.files.clone()),
        }
    }
}

/// Carries out all steps of the plan, and returns what they came to, in their order.
pub(crate) async fn execute(
    shared: &Arc<Shared>,
    plan: &Arc<Plan>,
    sources: &Arc<Sources>,
) -> Result<Vec<Outcome>> {
    let lineage = lineage(plan);
    let mut waits: Vec<BTreeSet<StepId>> = plan.steps.iter().map(needs).collect();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; plan.steps.len()];
    let mut tasks = JoinSet::new();
    let mut begun = vec![false; plan.steps.len()];
    loop {
        for (id, waits) in waits.iter().enumerate() {
            if begun[id] || !waits.is_empty() {
                continue;
            }
            begun[id] = true;
            let known = waits_of(&plan.steps[id], &outcomes);
            let job = Job {
                shared: shared.clone(),
                plan: plan.clone(),
                sources: sources.clone(),
                id,
                known,
                wants_blob: lineage.contains(&id),
            };
            tasks.spawn(async move { (id, job.run().await) });
        }
        let Some(ended) = tasks.join_next().await else {
            break;
        };
        let (id, result) =
            ended.map_err(|error| Error::internal(format!("a step was lost: {error}")))?;
        match result {
            Ok(outcome) => {
                outcomes[id] = Some(outcome);
                for waits in &mut waits {
                    waits.remove(&id);
                }
            }
            Err(failure) => {
                shared.stop.stop();
                tasks.shutdown().await;
                report(shared, id, &failure, &outcomes);
                return Err(failure.error.within(place(shared, &plan.steps[id])));
            }
        }
    }
    let all = outcomes.into_iter().collect::<Option<Vec<_>>>();
    all.ok_or_else(|| Error::internal("the steps of the build wait for each other"))
}

fn report(shared: &Shared, failed: StepId, failure: &Failure, outcomes: &[Option<Outcome>]) {
    let why = failure.error.to_string();
    let exit_code = failure.exit_code;
    shared.state(shared.number(failed), StepState::Failed { why, exit_code });
    for (id, outcome) in outcomes.iter().enumerate() {
        if id != failed && outcome.is_none() {
            shared.state(shared.number(id), StepState::Cancelled);
        }
    }
}

/// Where a step stands, for messages.
fn place(shared: &Shared, step: &Step) -> String {
    let name = shared.dockerfile.get().map_or("Dockerfile", String::as_str);
    match step.line {
        0 => step.text.clone(),
        line => format!("{name}:{line}: {}", step.text),
    }
}

/// The steps that the result's layers are from.
fn lineage(plan: &Plan) -> BTreeSet<StepId> {
    let mut lineage = BTreeSet::new();
    let mut at = plan.result;
    while let Some(id) = at {
        lineage.insert(id);
        at = plan.steps.get(id).and_then(|step| parent(&step.op));
    }
    lineage
}

fn parent(op: &Op) -> Option<StepId> {
    match op {
        Op::Source(_) => None,
        Op::Run(run) => run.parent,
        Op::Copy(copy) => copy.parent,
        Op::MakeDirectory { parent, .. } => *parent,
    }
}

/// The steps whose results a step needs.
fn needs(step: &Step) -> BTreeSet<StepId> {
    let mut needs: BTreeSet<_> = parent(&step.op).into_iter().collect();
    match &step.op {
        Op::Run(run) => needs.extend(run.mounts.iter().filter_map(|mount| match mount {
            Mount::Bind { from, .. } | Mount::Cache { from, .. } => *from,
            _ => None,
        })),
        Op::Copy(Copy { from, .. }) => needs.extend(from.iter().filter_map(|from| match from {
            CopyFrom::Tree { step, .. } => Some(*step),
            _ => None,
        })),
        Op::Source(_) | Op::MakeDirectory { .. } => {}
    }
    needs
}

fn waits_of(step: &Step, outcomes: &[Option<Outcome>]) -> BTreeMap<StepId, Tree> {
    let tree = |id: StepId| Some((id, outcomes.get(id)?.as_ref()?.tree()));
    needs(step).into_iter().filter_map(tree).collect()
}

/// One step on its way.
struct Job {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    sources: Arc<Sources>,
    id: StepId,
    known: BTreeMap<StepId, Tree>,
    wants_blob: bool,
}

impl Job {
    async fn run(self) -> Result<Outcome, Failure> {
        let step = &self.plan.steps[self.id];
        let number = self.shared.number(self.id);
        let tree = |id: StepId| {
            let known = self.known.get(&id).cloned();
            known.ok_or_else(|| Error::internal("a step runs before what it needs"))
        };
        let made = match &step.op {
            Op::Source(source) => return Ok(self.source(source)?),
            Op::Run(run) => {
                let wanted = self.wanted(step).await?;
                step_run::run(&self.shared, number, wanted, run, &tree).await?
            }
            Op::Copy(copy) => {
                let wanted = self.wanted(step).await?;
                step_copy::copy(&self.shared, number, wanted, copy, &tree).await?
            }
            Op::MakeDirectory { path, user, .. } => {
                let wanted = self.wanted(step).await?;
                step_copy::make_directory(&self.shared, number, wanted, path, user).await?
            }
        };
        self.shared.state(
            number,
            match made.cached {
                true => StepState::Cached,
                false => StepState::Done,
            },
        );
        Ok(Outcome::Made(made))
    }

    fn source(&self, source: &Source) -> Result<Outcome> {
        let number = self.shared.number(self.id);
        self.shared.state(number, StepState::Running);
        let found = self.sources.get(source).cloned();
        let tree = found.ok_or_else(|| Error::internal("a source that nobody has resolved"));
        self.shared.state(number, StepState::Done);
        Ok(Outcome::Source(tree.context(|| format!("{source:?}"))?))
    }

    async fn wanted(&self, step: &Step) -> Result<Wanted> {
        let use_cache = self.shared.uses_cache(&step.stage);
        let wanted = |parent| Wanted {
            parent,
            use_cache,
            text: step.text.clone(),
            wants_blob: self.wants_blob,
        };
        let Some(parent) = parent(&step.op) else {
            return Ok(wanted(Files::default()));
        };
        match self.known.get(&parent) {
            Some(Tree::Files(files)) => Ok(wanted(files.clone())),
            Some(Tree::Context(view)) => {
                // `FROM` a directory: all of it is the first layer.
                let first = wanted(Files::default());
                let made = step_copy::whole(&self.shared, first, view).await;
                let made = made.context(|| "make a layer of the context")?;
                Ok(wanted(made.files))
            }
            None => Err(Error::internal("a step runs before what it stands on")),
        }
    }
}
