//! Runs the programs of a plan's steps and hears what they say. Decides nothing about the project.

use orc_base::{Error, Result};

use crate::model::provider::{Given, Model};
use crate::provider::Programs;
use crate::provider::call::Call;
use crate::provider::message::Message;
use crate::provider::models;

/// More variables are not taken from one provider.
const MAX_VARIABLES: usize = 1_000;
/// More of what a plug-in prints is not kept.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What a program says on its way.
pub(crate) enum Said {
    /// How far it is.
    Info(String),
    /// Something was asked for and is not done.
    Warning(String),
}

/// Whoever is told.
pub(crate) type Tell<'t> = dyn Fn(Said) + Send + Sync + 't;

/// Runs the program of a provider. The answer is the variables it gives.
pub(crate) async fn provider(
    programs: &dyn Programs,
    call: &Call,
    tell: &Tell<'_>,
) -> Result<Given> {
    let mut given = Given::default();
    let mut heard = |line: &str| {
        match Message::parse(line)? {
            Some(Message::Info(text)) => tell(Said::Info(text)),
            Some(Message::Error(text)) => return Err(Error::conflict(text)),
            Some(Message::Debug(text)) => tracing::debug!(program = call.program, text),
            Some(Message::Variable(name, value)) => drop(given.prefixed.insert(name, value)),
            Some(Message::RawVariable(name, value)) => drop(given.raw.insert(name, value)),
            None => {}
        }
        match given.prefixed.len() + given.raw.len() > MAX_VARIABLES {
            true => Err(Error::invalid(format!(
                "it gives more than {MAX_VARIABLES} variables"
            ))),
            false => Ok(()),
        }
    };
    programs.run(call, &mut heard).await?;
    Ok(given)
}

/// Fetches and sets up a model; `call` is a call of the plug-in with any arguments. The answer is
/// where it answers.
pub(crate) async fn model(
    programs: &dyn Programs,
    call: &Call,
    model: &Model,
    tell: &Tell<'_>,
) -> Result<String> {
    let list = answer(programs, &models::with(call, &["ls", "--json"])).await?;
    if !models::is_there(&list, &model.model)? {
        let pull = models::with(call, &["pull", &model.model]);
        let mut heard = |line: &str| {
            if !line.trim().is_empty() {
                tell(Said::Info(line.trim().to_owned()));
            }
            Ok(())
        };
        programs.run(&pull, &mut heard).await?;
    }
    let mut model = model.clone();
    if !model.runtime_flags.is_empty() {
        let about = models::with(call, &["docker-cli-plugin-metadata"]);
        if !models::takes_flags(&answer(programs, &about).await?) {
            model.runtime_flags.clear();
            tell(Said::Warning(format!(
                "runtime_flags of {} are ignored: this version of `{}` takes none",
                model.model,
                models::PROGRAM
            )));
        }
    }
    let words = models::configure(&model);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    answer(programs, &models::with(call, &words)).await?;
    let status = answer(programs, &models::with(call, &["status", "--json"])).await?;
    models::endpoint(&status)
}

/// All that a program prints.
async fn answer(programs: &dyn Programs, call: &Call) -> Result<String> {
    let mut all = String::new();
    let mut heard = |line: &str| {
        if all.len() + line.len() > MAX_ANSWER_BYTES {
            return Err(Error::invalid(format!(
                "it prints more than {MAX_ANSWER_BYTES} bytes"
            )));
        }
        all.push_str(line);
        all.push('\n');
        Ok(())
    };
    let ran = programs.run(call, &mut heard).await;
    ran.map_err(|error| error.within(format!("{} {}", call.program, call.arguments.join(" "))))?;
    Ok(all)
}
