//! Walks through one stage, instruction by instruction.

use orc_base::{Error, Result};

use crate::build::graph::Op;
use crate::build::plan::review::Review;
use crate::build::plan::text::shown;
use crate::build::plan::walk::{State, Walk};
use crate::build::plan::{run, transfer};
use crate::dockerfile::ast::{Argument, Instruction, Kind, Place};
use crate::dockerfile::checks::Rule;
use crate::dockerfile::environment::MAX_VARIABLES;
use crate::dockerfile::expand::Expander;
use crate::dockerfile::ports;

impl Walk<'_, '_> {
    /// Walks through stage `index`; those that it takes from are done. Errors: `Invalid` with the line.
    pub(crate) fn stage(&mut self, index: usize) -> Result<()> {
        let node = &self.stages.nodes[index];
        let source = &self.stages.dockerfile.source;
        let wrong = |error: Error| source.wrong(node.stage.from.line, &error);
        let mut state = self.start(index, node).map_err(wrong)?;
        let mut review = Review::default();
        for (instruction, trigger) in node.instructions() {
            self.instruction(index, &mut state, &mut review, instruction, trigger)
                .map_err(|error| source.wrong(instruction.place.line, &error))?;
        }
        self.states[index] = Some(state);
        Ok(())
    }

    fn instruction(
        &mut self,
        index: usize,
        state: &mut State,
        review: &mut Review,
        instruction: &Instruction,
        trigger: bool,
    ) -> Result<()> {
        let escape = self.stages.dockerfile.directives.escape;
        let place = &instruction.place;
        let config = &state.metadata.config;
        review.look(config, instruction, self.findings);
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
                        state.set(&pair.name, &pair.value)?;
                    }
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
                state.set(&argument.name, value)?;
            }
            shown.push(match &value {
                Some(value) => format!("{}={value}", argument.name),
                None => argument.name.clone(),
            });
            if state.arguments.len() >= MAX_VARIABLES {
                return Err(Error::exhausted(format!(
                    "there are more than {MAX_VARIABLES} build arguments"
                )));
            }
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

    fn ports(&mut self, place: &Place, words: &[String]) -> Result<()> {
        for word in words {
            for (rule, message) in ports::read(word)?.warnings {
                self.findings.add(place, rule, message);
            }
        }
        Ok(())
    }
}
