//! Carries out `RUN`.
//!
//! The key says all that the program can see: what it starts from, its words, variables, user, place,
//! mounts, network and the settings of whoever runs it. Proxies are variables that do not count.

use std::sync::Arc;

use orc_base::{Context, Error, Id, Result};

use crate::archive::pipe::blocking;
use crate::build::graph::{Network, Run};
use crate::build::layering::{Changes, Made, Wanted};
use crate::build::mounts::{self, Mounts};
use crate::build::request::{BuildEvent, StepState};
use crate::build::runner::RunStep;
use crate::build::shared::Shared;
use crate::build::step_copy::{Tree, begin};
use crate::digest::Digest;
use crate::snapshot::Snapshot;

/// A step that did not end well.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) error: Error,
    /// How its program ended, when there was one.
    pub(crate) exit_code: Option<i32>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            exit_code: None,
        }
    }
}

/// Runs a program, unless it was run before. `tree` says what a step has made.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    step: usize,
    wanted: Wanted,
    run: &Run,
    tree: &(dyn Fn(usize) -> Result<Tree> + Sync),
) -> Result<Made, Failure> {
    let keys = vec![key(shared, &wanted, run, tree).await?];
    let _flight = wanted.lock(shared, &keys).await;
    if let Some(made) = wanted.find(shared, &keys).await? {
        return Ok(made);
    }
    let lane = shared.lanes.acquire().await;
    shared.state(step, StepState::Running);
    let (work, parent) = (shared.clone(), wanted.parent.clone());
    let changes = blocking(move || Changes::begin(&work, Some(&parent))).await?;
    let mounts = mounts::prepare(shared, &run.mounts, &run.files, &wanted.text, tree).await?;
    let program = program(shared, &wanted, run, &changes, &mounts);
    let events = shared.events.clone();
    let output = move |stderr: bool, bytes: &[u8]| {
        events.report(BuildEvent::Output {
            step,
            stderr,
            bytes: bytes.to_vec(),
        });
    };
    let code = shared.runner.run(&program, &output).await;
    let code = code.context(|| format!("process {:?}", run.argv.join(" ")))?;
    if code != 0 {
        return Err(Failure {
            error: Error::invalid(format!(
                "process {:?} did not complete successfully: exit code: {code}",
                run.argv.join(" ")
            )),
            exit_code: Some(code),
        });
    }
    drop((mounts, lane));
    Ok(wanted.keep(shared, changes, keys).await?)
}

fn program(
    shared: &Shared,
    wanted: &Wanted,
    run: &Run,
    changes: &Changes,
    mounts: &Mounts,
) -> RunStep {
    let mut lowers = wanted.parent.lowers(shared.layers());
    if lowers.is_empty() {
        lowers.push(shared.empty.clone());
    }
    let mut env = run.env.clone();
    env.extend(run.hidden_env.iter().cloned());
    env.extend(mounts.env.iter().cloned());
    RunStep {
        id: Id::random(),
        rootfs: Snapshot {
            lowers,
            upper: changes.upper.clone(),
            work: changes.work.clone(),
        },
        argv: run.argv.clone(),
        env,
        working_dir: run.working_dir.clone(),
        user: run.user.clone(),
        mounts: mounts.mounts.clone(),
        network: run.network,
        insecure: run.insecure,
    }
}

async fn key(
    shared: &Arc<Shared>,
    wanted: &Wanted,
    run: &Run,
    tree: &(dyn Fn(usize) -> Result<Tree> + Sync),
) -> Result<Digest> {
    let mut hasher = begin(shared, "run", Some(&wanted.parent));
    hasher.text(&shared.runner.settings());
    hasher.list(&run.argv);
    hasher.list(&run.env);
    hasher.text(&run.working_dir);
    hasher.text(&run.user);
    hasher.text(match run.network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
    });
    hasher.number(u64::from(run.insecure));
    hasher.number(run.files.len() as u64);
    for file in &run.files {
        hasher.text(&file.path);
        hasher.bytes(&file.bytes);
    }
    mounts::add_to_key(shared, &mut hasher, &run.mounts, tree).await?;
    Ok(hasher.finish())
}
