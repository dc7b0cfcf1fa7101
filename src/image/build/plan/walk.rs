//! What a stage is while it is walked through, and what all of them share.
//!
//! Here is what every instruction needs: what the base gives, a line of the history, a step. What each
//! instruction means is `stage`'s, `run`'s and `transfer`'s.

use std::collections::BTreeSet;

use orc_base::{Error, Result, spelling};

use crate::build::graph::{Bases, Op, Source, Step, StepId};
use crate::build::plan::arguments::Globals;
use crate::build::plan::findings::Findings;
use crate::build::plan::stages::{Node, Origin, Stages};
use crate::build::plan::steps::Steps;
use crate::config::{ConfigFile, History};
use crate::dockerfile::apply::Metadata;
use crate::dockerfile::ast::{Argument, Place};
use crate::dockerfile::checks::Rule;
use crate::dockerfile::environment::{Environment, MAX_VARIABLES};
use crate::dockerfile::paths;
use crate::platform::Platform;

/// `PATH` of an image that has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What the history says about who made it, as BuildKit has it.
const COMMENT: &str = "buildkit.dockerfile.v0";
/// The most bytes of all variables: execve(2) takes no more than a quarter of the stack's limit.
const MAX_ENVIRONMENT: usize = 1 << 20;

/// What a stage is at some point.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) metadata: Metadata,
    /// Architecture and history; its config is `metadata`'s.
    pub(crate) file: ConfigFile,
    /// The image's variables and the arguments.
    pub(crate) environment: Environment,
    /// Each `ARG` and its value, in order.
    pub(crate) arguments: Vec<Argument>,
    /// Its file system; none while it is empty.
    pub(crate) result: Option<StepId>,
    pub(crate) platform: Platform,
    /// Whether a `WORKDIR` came.
    pub(crate) workdir_set: bool,
}

/// What all stages of a plan share while they are walked through.
pub(crate) struct Walk<'a, 'b> {
    pub(crate) stages: &'b Stages<'a>,
    pub(crate) globals: &'b Globals,
    pub(crate) bases: &'b Bases,
    pub(crate) findings: &'b mut Findings<'a>,
    pub(crate) steps: Steps,
    /// What each stage was at its end.
    pub(crate) states: Vec<Option<State>>,
}

impl State {
    /// Gives a variable a value. Errors: all of them together are too much for execve(2).
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.environment.set(name, value);
        if self.environment.count() > MAX_VARIABLES {
            return Err(Error::exhausted(format!(
                "there are more than {MAX_VARIABLES} variables"
            )));
        }
        match self.environment.bytes() > MAX_ENVIRONMENT {
            true => Err(Error::exhausted(format!(
                "the variables have more than {MAX_ENVIRONMENT} bytes, no program could be started with them"
            ))),
            false => Ok(()),
        }
    }
}

impl Walk<'_, '_> {
    /// What the base of stage `index` gives.
    pub(crate) fn start(&mut self, index: usize, node: &Node<'_>) -> Result<State> {
        let mut state = match &node.base {
            Origin::Stage(above) => {
                let mut state = self.state(*above)?.clone();
                state.metadata.command_set = false;
                state.metadata.config.on_build.clear();
                state
            }
            Origin::Empty => self.empty(node),
            Origin::Outside(source) => self.outside(index, node, source)?,
        };
        let config = &mut state.metadata.config;
        let inherited = Environment::from_lines(&config.env);
        if inherited.get("PATH").is_none() {
            config.env.push(format!("PATH={PATH}"));
        }
        for line in &config.env {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            if state.environment.get(name).is_none() {
                state.environment.set(name, value);
            }
        }
        self.steps
            .spend(state.environment.bytes() + state.file.history.len() * 64)?;
        Ok(state)
    }

    fn empty(&self, node: &Node<'_>) -> State {
        let options = self.stages.options;
        let platform = node.platform.as_ref().unwrap_or(options.target_platform());
        let mut metadata = Metadata::default();
        metadata.config.working_dir = "/".into();
        State {
            metadata,
            file: ConfigFile {
                architecture: platform.architecture.clone(),
                os: platform.os.clone(),
                variant: platform.variant.clone(),
                ..ConfigFile::default()
            },
            environment: Environment::default(),
            arguments: Vec::new(),
            result: None,
            platform: platform.clone(),
            workdir_set: false,
        }
    }

    fn outside(&mut self, index: usize, node: &Node<'_>, source: &Source) -> Result<State> {
        let mut state = self.empty(node);
        let name = match source {
            Source::Image { reference, .. } => reference.clone(),
            Source::Context(name) => name.clone().unwrap_or_default(),
        };
        match (self.bases.get(source), source) {
            (Some(file), _) => self.take_over(&mut state, node, &name, file),
            (None, Source::Context(_)) => {}
            (None, Source::Image { .. }) => {
                return Err(Error::internal(format!(
                    "the config of {name} was not asked for"
                )));
            }
        }
        let step = Step {
            stage: node.label.clone(),
            position: None,
            text: format!("FROM {name}"),
            line: node.stage.from.line,
            history: None,
            op: Op::Source(source.clone()),
        };
        state.result = Some(self.steps.base(index, step, source)?);
        Ok(state)
    }

    fn take_over(&mut self, state: &mut State, node: &Node<'_>, name: &str, file: &ConfigFile) {
        let actual = Platform::new(&file.os, &file.architecture, &file.variant);
        let wanted = state.platform.normalised();
        let same = (&actual.os, &actual.architecture) == (&wanted.os, &wanted.architecture);
        if !same && !file.architecture.is_empty() {
            let message = format!(
                "Base image {name} was pulled with platform \"{actual}\", expected \"{wanted}\" for current build"
            );
            self.findings
                .add(&node.stage.from, Rule::InvalidBaseImagePlatform, message);
        }
        state.metadata.config = file.config.clone();
        state.metadata.config.on_build.clear();
        state.metadata.author.clone_from(&file.author);
        state.file = ConfigFile {
            created: None,
            diff_ids: Vec::new(),
            ..file.clone()
        };
        let working_dir = &mut state.metadata.config.working_dir;
        if !working_dir.is_empty() {
            *working_dir = paths::absolute("/", working_dir);
        }
    }

    /// A stage that is done.
    pub(crate) fn state(&self, index: usize) -> Result<&State> {
        let state = self.states.get(index).and_then(Option::as_ref);
        state.ok_or_else(|| Error::internal(format!("stage {index} was not planned yet")))
    }

    /// The file system of an origin; none when it is empty.
    pub(crate) fn result_of(&mut self, origin: &Origin, line: usize) -> Result<Option<StepId>> {
        match origin {
            Origin::Empty => Ok(None),
            Origin::Stage(above) => Ok(self.state(*above)?.result),
            Origin::Outside(source) => self.steps.source(source, line).map(Some),
        }
    }

    /// Adds a line to the history; returns its number.
    pub(crate) fn history(
        &mut self,
        state: &mut State,
        line: String,
        empty: bool,
    ) -> Result<usize> {
        self.steps.spend(line.len() + 64)?;
        state.file.history.push(History {
            created_by: line,
            comment: COMMENT.into(),
            empty_layer: empty,
            ..History::default()
        });
        Ok(state.file.history.len() - 1)
    }

    /// Tells of variables that had no value and that no `ARG` names.
    pub(crate) fn undefined(&mut self, state: &State, place: &Place, unset: BTreeSet<String>) {
        for name in unset {
            if self.findings.is_full() {
                return;
            }
            if state.arguments.iter().any(|argument| argument.name == name) {
                continue;
            }
            let others = state.environment.names();
            let near = spelling::nearest(&name, others.filter(|other| **other != *name));
            let hint = near
                .map(|near| format!(" (did you mean ${near}?)"))
                .unwrap_or_default();
            let message = format!("Usage of undefined variable '${name}'{hint}");
            self.findings.add(place, Rule::UndefinedVar, message);
        }
    }

    /// Adds a step; what it makes is the stage's file system from now on.
    pub(crate) fn step(
        &mut self,
        index: usize,
        state: &mut State,
        place: &Place,
        text: String,
        history: usize,
        op: Op,
    ) -> Result<()> {
        let step = Step {
            stage: self.stages.nodes[index].label.clone(),
            position: None,
            text,
            line: place.line,
            history: Some(history),
            op,
        };
        state.result = Some(self.steps.push(index, step)?);
        Ok(())
    }
}
