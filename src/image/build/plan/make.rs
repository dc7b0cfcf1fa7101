//! What a build needs from outside, and the plan once that is known.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Context, Result};

use crate::build::graph::{Bases, Plan, Source};
use crate::build::plan::arguments;
use crate::build::plan::findings::Findings;
use crate::build::plan::options::PlanOptions;
use crate::build::plan::stages::{Need, Origin, Stages};
use crate::build::plan::steps::Steps;
use crate::build::plan::walk::{State, Walk};
use crate::config::ConfigFile;
use crate::dockerfile::ast::Dockerfile;

/// What is needed from outside for the target.
///
/// `bases` has the configs that are known. A base image may have triggers that need more, so ask
/// again with its config until nothing new is wanted. May name the main context where in the end
/// nothing is taken from it: that depends on variables. Errors: `Invalid` with the line, `NotFound`
/// for the target.
pub fn wanted(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    bases: &Bases,
) -> Result<BTreeMap<Source, Need>> {
    let mut findings = Findings::new(dockerfile);
    let globals = arguments::globals(dockerfile, options)?;
    Stages::resolve(dockerfile, options, &globals, bases, &mut findings)?.wanted()
}

/// The steps of a build and the config of what it makes.
///
/// `bases` has the config of each image that [`wanted`] asked one of; a context without a config is a
/// bare directory. Errors: `Invalid` with the line; `Denied` for what must be allowed; `NotFound` for
/// the target; `Exhausted` when variables make the plan too large.
pub fn plan(dockerfile: &Dockerfile, options: &PlanOptions, bases: &Bases) -> Result<Plan> {
    let mut findings = Findings::new(dockerfile);
    let globals = arguments::globals(dockerfile, options)?;
    arguments::check_defaults(dockerfile, options, &mut findings);
    let stages = Stages::resolve(dockerfile, options, &globals, bases, &mut findings)?;
    let triggers = stages.nodes.iter().flat_map(|node| &node.triggers);
    arguments::check_given(dockerfile, triggers, options, &mut findings);
    let mut walk = Walk {
        stages: &stages,
        globals: &globals,
        bases,
        findings: &mut findings,
        steps: Steps::default(),
        states: vec![None; stages.nodes.len()],
    };
    for index in &stages.needed {
        walk.stage(*index)?;
    }
    let state = walk.state(stages.target)?.clone();
    let kept = ancestors(&stages);
    let steps = walk.steps.finish(|stage| kept.contains(&stage));
    let platform = state.platform.clone();
    Ok(Plan {
        steps,
        result: state.result,
        config: config(state, options)?,
        platform,
        warnings: findings.finish()?,
    })
}

/// The target and the stages that it descends from.
fn ancestors(stages: &Stages<'_>) -> BTreeSet<usize> {
    let mut kept = BTreeSet::new();
    let mut next = Some(stages.target);
    while let Some(index) = next {
        kept.insert(index);
        next = match stages.nodes[index].base {
            Origin::Stage(above) => Some(above),
            _ => None,
        };
    }
    kept
}

/// The config of the image.
fn config(state: State, options: &PlanOptions) -> Result<ConfigFile> {
    let mut file = state.file;
    file.config = state.metadata.config;
    file.author = state.metadata.author;
    let labels = options.labels.iter();
    file.config
        .labels
        .extend(labels.map(|(name, value)| (name.clone(), value.clone())));
    if let Some(platform) = &options.platform {
        let same = file.os == platform.os && file.architecture == platform.architecture;
        file.os.clone_from(&platform.os);
        file.architecture.clone_from(&platform.architecture);
        if !platform.variant.is_empty() || !same {
            file.variant.clone_from(&platform.variant);
        }
    }
    file.config
        .check()
        .context(|| "the result of the Dockerfile")?;
    Ok(file)
}
