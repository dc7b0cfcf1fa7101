//! Makes the step of a `RUN`: its words, its environment, its mounts.

use std::collections::BTreeSet;

use orc_base::{Error, Result};

use crate::build::graph::{InlineFile, Mount, Network, Op, Run as Step, Sharing, Source};
use crate::build::plan::arguments;
use crate::build::plan::stages::{Origin, from_root};
use crate::build::plan::text;
use crate::build::plan::walk::{State, Walk};
use crate::dockerfile::apply;
use crate::dockerfile::ast::{Command, Heredoc, Place, RawMount, Run, RunNetwork};
use crate::dockerfile::environment::Environment;
use crate::dockerfile::expand::Expander;
use crate::dockerfile::mount::{CacheSharing, MountKind, MountOptions};
use crate::dockerfile::{heredoc, paths};

/// Where the script of a here-document is while it runs.
const SCRIPTS: &str = "/dev/pipes";

/// Adds the step of a `RUN` and its line of the history.
pub(crate) fn plan(
    walk: &mut Walk<'_, '_>,
    index: usize,
    state: &mut State,
    run: &Run,
    mut expander: Expander<'_>,
    place: &Place,
    trigger: bool,
) -> Result<()> {
    let (command, files) = command(run)?;
    let argv = apply::wrapped(&state.metadata.config, &command);
    let mut options = Vec::new();
    for raw in &run.mounts {
        options.push(
            expander
                .mount(raw)
                .map_err(|error| error.within(format!("--mount={}", raw.text)))?,
        );
    }
    walk.undefined(state, place, std::mem::take(&mut expander.unset));
    let mut mounts = Vec::new();
    for (number, (raw, options)) in run.mounts.iter().zip(&options).enumerate() {
        mounts.push(mount(walk, index, state, raw, options, number, place.line)?);
    }
    let escape = walk.stages.dockerfile.directives.escape;
    let text = text::shown(place, &masked(&state.environment, &mounts), escape, trigger);
    let text = text::with_script(text, run);
    let step = Step {
        parent: state.result,
        argv: argv.clone(),
        files,
        env: state.environment.lines(),
        hidden_env: arguments::proxies(walk.stages.options, &state.environment),
        working_dir: state.metadata.config.working_dir.clone(),
        user: state.metadata.config.user.clone(),
        mounts,
        network: network(walk, run)?,
        insecure: insecure(walk, run)?,
        platform: state.platform.clone(),
    };
    let line = format!("RUN {} # buildkit", history(state, &argv));
    let history = walk.history(state, line, false)?;
    walk.step(index, state, place, text, history, Op::Run(step))
}

/// What is run, and the files that it needs. A here-document that is the whole command is a script:
/// for its own interpreter when it begins with `#!`, else for the shell.
fn command(run: &Run) -> Result<(Command, Vec<InlineFile>)> {
    let (Command::Shell(line), Some(first)) = (&run.command, run.heredocs.first()) else {
        return Ok((run.command.clone(), Vec::new()));
    };
    if heredoc::parse(line)?.is_none() {
        return Ok((Command::Shell(whole(line, &run.heredocs)), Vec::new()));
    }
    let script = first.content();
    if !script.starts_with("#!") {
        return Ok((Command::Shell(script), Vec::new()));
    }
    let name = paths::base_name(&first.name);
    if name.is_empty() || name == "." || name == ".." {
        return Err(Error::invalid(format!(
            "`{}` cannot name the here-document of a script",
            first.name
        )));
    }
    let path = format!("{SCRIPTS}/{name}");
    let file = InlineFile {
        path: path.clone(),
        bytes: script.into_bytes(),
    };
    Ok((Command::Shell(path), vec![file]))
}

/// The command with its here-documents below it, as the shell reads them.
fn whole(line: &str, heredocs: &[Heredoc]) -> String {
    let mut text = line.to_owned();
    for heredoc in heredocs {
        text.push('\n');
        text.push_str(&heredoc.text);
        text.push_str(&heredoc.name);
    }
    text
}

/// `|2 A=1 B= /bin/sh -c …`: the arguments that count stand before the words.
fn history(state: &State, argv: &[String]) -> String {
    let mut arguments: Vec<(&str, &str)> = Vec::new();
    let mut seen = BTreeSet::new();
    for argument in &state.arguments {
        // The last value counts, at the place of the first; what the environment has is the last.
        if seen.insert(&argument.name) {
            let value = state.environment.get(&argument.name);
            arguments.push((&argument.name, value.unwrap_or_default()));
        }
    }
    let mut words = Vec::new();
    if !arguments.is_empty() {
        words.push(format!("|{}", arguments.len()));
        words.extend(
            arguments
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
    }
    words.extend(argv.iter().cloned());
    words.join(" ")
}

fn network(walk: &Walk<'_, '_>, run: &Run) -> Result<Network> {
    let options = walk.stages.options;
    match run.network {
        None | Some(RunNetwork::Default) => Ok(options.network),
        Some(RunNetwork::None) => Ok(Network::None),
        Some(RunNetwork::Host) if options.allow_host_network => Ok(Network::Host),
        Some(RunNetwork::Host) => Err(Error::new(
            orc_base::Kind::Denied,
            "RUN --network=host reaches the machine's network; allow it with --allow network.host",
        )),
    }
}

fn insecure(walk: &Walk<'_, '_>, run: &Run) -> Result<bool> {
    match run.insecure && !walk.stages.options.allow_insecure {
        true => Err(Error::new(
            orc_base::Kind::Denied,
            "RUN --security=insecure has all rights on the machine; allow it with --allow security.insecure",
        )),
        false => Ok(run.insecure),
    }
}

fn mount(
    walk: &mut Walk<'_, '_>,
    index: usize,
    state: &State,
    raw: &RawMount,
    options: &MountOptions,
    number: usize,
    line: usize,
) -> Result<Mount> {
    let target = || target(state, options);
    let owner = (options.uid.unwrap_or(0), options.gid.unwrap_or(0));
    let source = from_root(options.source.as_deref().unwrap_or_default());
    Ok(match options.kind {
        MountKind::Bind => {
            let origin = match &raw.from {
                Some(from) => walk.stages.origin(index, from)?,
                None => Origin::Outside(Source::Context(None)),
            };
            Mount::Bind {
                from: walk.result_of(&origin, line)?,
                source,
                target: target()?,
                writable: !options.readonly,
            }
        }
        MountKind::Cache => {
            let origin = match &raw.from {
                Some(from) => walk.stages.origin(index, from)?,
                None => Origin::Empty,
            };
            let named = options.id.clone().filter(|id| !id.is_empty());
            let written = options.target.as_deref().unwrap_or_default();
            Mount::Cache {
                id: named.unwrap_or_else(|| paths::clean(written)),
                from: walk.result_of(&origin, line)?,
                source,
                target: target()?,
                readonly: options.readonly,
                sharing: match options.sharing {
                    CacheSharing::Shared => Sharing::Shared,
                    CacheSharing::Private => Sharing::Private,
                    CacheSharing::Locked => Sharing::Locked,
                },
                mode: options.mode.unwrap_or(0o755),
                owner,
            }
        }
        MountKind::Tmpfs => Mount::Tmpfs {
            target: target()?,
            size_bytes: options.size_bytes.filter(|size| *size > 0),
        },
        MountKind::Secret => secret(state, options, owner)?,
        MountKind::Ssh => Mount::Ssh {
            id: filled(options.id.as_ref()).unwrap_or_else(|| "default".into()),
            target: match filled(options.target.as_ref()) {
                Some(_) => target()?,
                None => format!("/run/buildkit/ssh_agent.{number}"),
            },
            required: options.required,
            mode: options.mode.unwrap_or(0o600),
            owner,
        },
    })
}

fn filled(option: Option<&String>) -> Option<String> {
    option.filter(|text| !text.is_empty()).cloned()
}

fn secret(state: &State, options: &MountOptions, owner: (u32, u32)) -> Result<Mount> {
    let written = filled(options.target.as_ref());
    let id = filled(options.source.as_ref()).or(filled(options.id.as_ref()));
    let id = id.or_else(|| {
        written
            .as_deref()
            .map(|path| paths::base_name(path).to_owned())
    });
    let id = id.filter(|id| !id.is_empty());
    let id =
        id.ok_or_else(|| Error::invalid("a secret mount needs one of id, source and target"))?;
    let target = match (&written, &options.env) {
        (Some(_), _) => Some(target(state, options)?),
        // As a variable only.
        (None, Some(_)) => None,
        (None, None) => Some(format!("/run/secrets/{}", paths::base_name(&id))),
    };
    let env = options.env.as_ref().map(|name| match name.is_empty() {
        true => paths::base_name(&id).to_owned(),
        false => name.clone(),
    });
    Ok(Mount::Secret {
        id,
        target,
        env,
        required: options.required,
        mode: options.mode.unwrap_or(0o400),
        owner,
    })
}

/// Where something is mounted, seen from the working directory.
fn target(state: &State, options: &MountOptions) -> Result<String> {
    let written = options.target.as_deref().unwrap_or_default();
    let target = paths::absolute(&state.metadata.config.working_dir, written);
    match target.as_str() {
        "/" => Err(Error::invalid(format!(
            "`{written}` cannot be the target of a mount: the root is the image itself"
        ))),
        _ => Ok(target),
    }
}

/// Variables that come from secrets are shown as stars, never as the value of a namesake.
fn masked(environment: &Environment, mounts: &[Mount]) -> Environment {
    let mut masked = environment.clone();
    for mount in mounts {
        if let Mount::Secret {
            env: Some(name), ..
        } = mount
        {
            masked.set(name, "****");
        }
    }
    masked
}
