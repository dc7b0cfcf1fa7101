//! Walks through one stage: what its base gives it, then instruction by instruction.

use std::collections::BTreeSet;

use orc_base::{Error, Result, spelling};

use crate::build::graph::{Bases, Op, Source, Step, StepId};
use crate::build::plan::arguments::Globals;
use crate::build::plan::findings::Findings;
use crate::build::plan::stages::{Node, Origin, Stages};
use crate::build::plan::steps::Steps;
use crate::build::plan::text::shown;
use crate::build::plan::{run, transfer};
use crate::config::{ConfigFile, History};
use crate::dockerfile::apply::Metadata;
use crate::dockerfile::ast::{Argument, Command, Instruction, Kind, Place};
use crate::dockerfile::checks::Rule;
use crate::dockerfile::environment::Environment;
use crate::dockerfile::expand::Expander;
use crate::dockerfile::{paths, ports};
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
    workdir_set: bool,
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

/// The lines of what should be there once in a stage.
#[derive(Default)]
struct Once {
    cmd: Option<Place>,
    entrypoint: Option<Place>,
    healthcheck: Option<Place>,
}

impl Walk<'_, '_> {
    /// Walks through stage `index`; those that it takes from are done. Errors: `Invalid` with the line.
    pub(crate) fn stage(&mut self, index: usize) -> Result<()> {
        let node = &self.stages.nodes[index];
        let source = &self.stages.dockerfile.source;
        let wrong = |error: Error| source.wrong(node.stage.from.line, &error);
        let mut state = self.start(index, node).map_err(wrong)?;
        let mut once = Once::default();
        for (instruction, trigger) in node.instructions() {
            self.instruction(index, &mut state, &mut once, instruction, trigger)
                .map_err(|error| source.wrong(instruction.place.line, &error))?;
        }
        self.states[index] = Some(state);
        Ok(())
    }

    /// What the base gives.
    fn start(&mut self, index: usize, node: &Node<'_>) -> Result<State> {
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

    fn instruction(
        &mut self,
        index: usize,
        state: &mut State,
        once: &mut Once,
        instruction: &Instruction,
        trigger: bool,
    ) -> Result<()> {
        let escape = self.stages.dockerfile.directives.escape;
        let place = &instruction.place;
        self.check(state, once, instruction);
        if let Kind::Arg(arguments) = &instruction.kind {
            return self.arguments(state, place, arguments, escape);
        }
        let environment = state.environment.clone();
        let mut expander = Expander::new(escape, &environment);
        let kind = expander.kind(&instruction.kind)?;
        let text = || shown(place, &environment, escape, trigger);
        let unset = std::mem::take(&mut expander.unset);
        match &kind {
            Kind::Run(run) => run::plan(self, index, state, run, expander, place, trigger)?,
            Kind::Copy(from) => transfer::plan(self, index, state, from, false, place, text())?,
            Kind::Add(from) => transfer::plan(self, index, state, from, true, place, text())?,
            Kind::Workdir(path) => self.workdir(index, state, path, place, text())?,
            kind => {
                if let Kind::Env(pairs) = kind {
                    for pair in pairs {
                        state.environment.set(&pair.name, &pair.value);
                    }
                    bounded(&state.environment)?;
                }
                if let Kind::Expose(words) = kind {
                    self.ports(place, words)?;
                }
                if let Some(line) = state.metadata.apply(kind)? {
                    self.history(state, line, true)?;
                }
            }
        }
        self.undefined(state, place, unset);
        Ok(())
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
            if state.arguments.iter().any(|argument| argument.name == name) {
                continue;
            }
            let near = spelling::nearest(&name, state.environment.names());
            let hint = near
                .map(|near| format!(" (did you mean ${near}?)"))
                .unwrap_or_default();
            let message = format!("Usage of undefined variable '${name}'{hint}");
            self.findings.add(place, Rule::UndefinedVar, message);
        }
    }

    fn arguments(
        &mut self,
        state: &mut State,
        place: &Place,
        arguments: &[Argument],
        escape: char,
    ) -> Result<()> {
        let mut shown = Vec::new();
        for argument in arguments {
            let mut value = self.stages.options.args.get(&argument.name).cloned();
            if value.is_none() {
                let environment = state.environment.clone();
                let mut expander = Expander::new(escape, &environment);
                let default = argument.default.as_ref().map(|text| expander.text(text));
                value = default.transpose()?;
                let unset = std::mem::take(&mut expander.unset);
                self.undefined(state, place, unset);
            }
            let inherited = || self.globals.values.get(&argument.name).map(str::to_owned);
            let value = value.or_else(inherited);
            if let Some(value) = &value {
                state.environment.set(&argument.name, value);
                bounded(&state.environment)?;
            }
            shown.push(match &value {
                Some(value) => format!("{}={value}", argument.name),
                None => argument.name.clone(),
            });
            state.arguments.push(Argument {
                name: argument.name.clone(),
                default: value,
            });
        }
        self.history(state, format!("ARG {}", shown.join(" ")), true)?;
        Ok(())
    }

    fn workdir(
        &mut self,
        index: usize,
        state: &mut State,
        path: &str,
        place: &Place,
        text: String,
    ) -> Result<()> {
        if !state.workdir_set && !path.starts_with('/') {
            let message = format!(
                "Relative workdir \"{path}\" can have unexpected results if the base image changes"
            );
            self.findings.add(place, Rule::WorkdirRelativePath, message);
        }
        state.workdir_set = true;
        let line = state.metadata.apply(&Kind::Workdir(path.into()))?;
        let path = state.metadata.config.working_dir.clone();
        let history = self.history(state, line.unwrap_or_default(), path == "/")?;
        if path != "/" {
            let op = Op::MakeDirectory {
                parent: state.result,
                path,
                user: state.metadata.config.user.clone(),
            };
            self.step(index, state, place, text, history, op)?;
        }
        Ok(())
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

    fn ports(&mut self, place: &Place, words: &[String]) -> Result<()> {
        for word in words {
            for (rule, message) in ports::read(word)?.1 {
                self.findings.add(place, rule, message);
            }
        }
        Ok(())
    }

    /// The checks that need to know the stage.
    fn check(&mut self, state: &State, once: &mut Once, instruction: &Instruction) {
        let (place, name) = (&instruction.place, instruction.kind.name());
        let (pairs, command) = match &instruction.kind {
            Kind::Env(pairs) | Kind::Label(pairs) => (&pairs[..], None),
            Kind::Cmd(command) | Kind::Entrypoint(command) => (&[][..], Some(command)),
            _ => (&[][..], None),
        };
        if pairs.iter().any(|pair| pair.legacy) {
            let message = format!(
                "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
            );
            self.findings
                .add(place, Rule::LegacyKeyValueFormat, message);
        }
        let shell = matches!(command, Some(Command::Shell(_)));
        if shell && state.metadata.config.shell.is_none() {
            let message = format!(
                "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
            );
            self.findings.add(place, Rule::JSONArgsRecommended, message);
        }
        let names: Vec<&str> = match &instruction.kind {
            Kind::Env(pairs) => pairs.iter().map(|pair| pair.name.as_str()).collect(),
            Kind::Arg(arguments) => arguments.iter().map(|one| one.name.as_str()).collect(),
            _ => Vec::new(),
        };
        for secret in names.into_iter().filter(|name| is_secret(name)) {
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({name} \"{secret}\")"
            );
            self.findings
                .add(place, Rule::SecretsUsedInArgOrEnv, message);
        }
        let before = match &instruction.kind {
            Kind::Cmd(_) => &mut once.cmd,
            Kind::Entrypoint(_) => &mut once.entrypoint,
            Kind::Healthcheck(_) => &mut once.healthcheck,
            _ => return,
        };
        if let Some(before) = before.replace(place.clone()) {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            );
            self.findings
                .add(&before, Rule::MultipleInstructionsDisallowed, message);
        }
    }
}

fn bounded(environment: &Environment) -> Result<()> {
    match environment.bytes() > MAX_ENVIRONMENT {
        true => Err(Error::exhausted(format!(
            "the variables have more than {MAX_ENVIRONMENT} bytes, no program could be started with them"
        ))),
        false => Ok(()),
    }
}

/// Names with a word that secrets have, as BuildKit's check has it.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const FINE: [&str; 3] = ["public", "file", "version"];
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    has(&SECRET) && !has(&FINE)
}
