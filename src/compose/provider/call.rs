//! How the program of a provider is called: pure, from what the file says and what is known of the
//! program.

use std::collections::BTreeMap;

use orc_base::{Error, Result};

use crate::model::Project;
use crate::model::provider::Provider;
use crate::model::service::Service;
use crate::provider::metadata::{Metadata, Verb};

/// One run of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name, which is never a path.
    pub program: String,
    /// What it is told.
    pub arguments: Vec<String>,
    /// All variables that it sees.
    pub environment: BTreeMap<String, String>,
}

/// What this machine has of a program that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Nothing.
    Missing,
    /// It is there, and says this of itself: nothing when it does not know the question.
    Found(Option<Metadata>),
}

/// How the provider of a service is called; `program` is absent when nobody looked for it. `None`
/// when it does not do what it is asked for: only what says that it stops things is asked to.
pub(crate) fn call(
    project: &Project,
    service: &Service,
    provider: &Provider,
    verb: Verb,
    program: Option<&Program>,
) -> Result<Option<Call>> {
    let metadata = match program {
        Some(Program::Missing) => return Err(missing(&provider.program)),
        Some(Program::Found(metadata)) => metadata.as_ref(),
        None => None,
    };
    let known = match metadata.map(|metadata| metadata.parameters(verb)) {
        Some(None) => return Ok(None),
        None if verb == Verb::Stop => return Ok(None),
        Some(Some(known)) => known,
        None => None,
    };
    for parameter in known.iter().flat_map(|known| known.iter()) {
        if parameter.required && !provider.options.contains_key(&parameter.name) {
            return Err(Error::invalid(format!(
                "provider {} needs the option `{}`: say it in `provider.options`",
                provider.program, parameter.name
            )));
        }
    }
    let wanted =
        |name: &str| known.is_none_or(|known| known.iter().any(|parameter| parameter.name == name));
    let options = provider.options.iter().filter(|(name, _)| wanted(name));
    let options = options.flat_map(|(name, values)| {
        let flag = |value: &String| format!("--{name}={value}");
        values.iter().map(flag).collect::<Vec<_>>()
    });
    let mut arguments = vec![
        "compose".to_owned(),
        format!("--project-name={}", project.name),
        verb.as_str().to_owned(),
    ];
    arguments.extend(options);
    arguments.push(service.name.clone());
    Ok(Some(Call {
        program: provider.program.clone(),
        arguments,
        environment: environment(project),
    }))
}

/// The question what the program of a provider takes.
pub fn question(project: &Project, program: &str) -> Call {
    Call {
        program: program.to_owned(),
        arguments: vec!["compose".into(), "metadata".into()],
        environment: environment(project),
    }
}

/// The project's variables. Docker's own variable for plug-ins is not among them: with it they take
/// themselves for a part of `docker`.
pub(crate) fn environment(project: &Project) -> BTreeMap<String, String> {
    let mut variables = project.environment.clone();
    variables.remove("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND");
    variables
}

/// Refuses a name that would be a path or a flag, and `compose`, which is no provider.
pub(crate) fn check_name(program: &str) -> Result<()> {
    let text = match program {
        "" => "say which program provides it by `type`".to_owned(),
        "compose" => "`compose` is no provider".to_owned(),
        name if name.contains('/') || name.starts_with(['-', '.']) => format!(
            "`{name}` is no name of a program: put the program into a directory of `PATH`, and say its name alone"
        ),
        _ => return Ok(()),
    };
    Err(Error::invalid(text))
}

fn missing(program: &str) -> Error {
    Error::not_found(format!(
        "the provider `{program}` is not on this machine: install the Docker plug-in `docker-{program}`, or a program `{program}` in a directory of `PATH`"
    ))
}
