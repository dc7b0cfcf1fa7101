//! The values of `ARG`: given ones, defaults, and what every build has.
//!
//! Above the first `FROM` an `ARG` counts for the `FROM`s; in a stage it counts from its line on, and
//! one without a value there takes the global one
//! (<https://docs.docker.com/reference/dockerfile/#scope>).

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Result, spelling};

use crate::build::plan::findings::Findings;
use crate::build::plan::options::PlanOptions;
use crate::dockerfile::ast::{Dockerfile, Instruction, Kind, Place};
use crate::dockerfile::checks::Rule;
use crate::dockerfile::environment::Environment;
use crate::dockerfile::words::{Expanded, Words};
use crate::platform::Platform;
use crate::reference::Reference;

/// Variables that a program of `RUN` sees when they are given, whether an `ARG` names them or not.
const PROXIES: [&str; 5] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
];

/// What counts above the stages.
pub(crate) struct Globals {
    /// Values.
    pub(crate) values: Environment,
    /// Names that an `ARG` has, with a value or not.
    pub(crate) declared: BTreeSet<String>,
}

/// Reads the `ARG`s above the first `FROM`.
pub(crate) fn globals(dockerfile: &Dockerfile, options: &PlanOptions) -> Result<Globals> {
    with(dockerfile, options, &options.args)
}

fn with(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    given: &BTreeMap<String, String>,
) -> Result<Globals> {
    let mut values = predefined(dockerfile, options);
    for (name, value) in given {
        if values.get(name).is_some() {
            values.set(name, value);
        }
    }
    let mut declared = BTreeSet::new();
    let words = Words::new(dockerfile.directives.escape);
    for instruction in &dockerfile.global_args {
        let Kind::Arg(arguments) = &instruction.kind else {
            continue;
        };
        for argument in arguments {
            declared.insert(argument.name.clone());
            let value = match (given.get(&argument.name), &argument.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => {
                    let expanded = words.expand(default, &values);
                    let wrong = |error| dockerfile.source.wrong(instruction.place.line, &error);
                    Some(expanded.map_err(wrong)?.text)
                }
                (None, None) => None,
            };
            if let Some(value) = value {
                values.set(&argument.name, &value);
            }
        }
    }
    Ok(Globals { values, declared })
}

/// What every build knows of its platforms.
fn predefined(dockerfile: &Dockerfile, options: &PlanOptions) -> Environment {
    let mut values = Environment::default();
    let mut platform = |prefix: &str, platform: &Platform| {
        values.set(&format!("{prefix}PLATFORM"), &platform.to_string());
        values.set(&format!("{prefix}OS"), &platform.os);
        values.set(&format!("{prefix}OSVERSION"), "");
        values.set(&format!("{prefix}ARCH"), &platform.architecture);
        values.set(&format!("{prefix}VARIANT"), &platform.variant);
    };
    platform("BUILD", &options.build_platform);
    platform("TARGET", options.target_platform());
    let last = dockerfile
        .stages
        .last()
        .and_then(|stage| stage.name.as_deref());
    let stage = options.target.as_deref().or(last).unwrap_or("default");
    values.set("TARGETSTAGE", stage);
    values
}

/// Expands a part of a `FROM`; a name that no `ARG` has is a finding.
pub(crate) fn in_from(
    text: &str,
    place: &Place,
    dockerfile: &Dockerfile,
    globals: &Globals,
    findings: &mut Findings<'_>,
) -> Result<Expanded> {
    let words = Words::new(dockerfile.directives.escape);
    let wrong = |error| dockerfile.source.wrong(place.line, &error);
    let expanded = words.expand(text, &globals.values).map_err(wrong)?;
    for name in expanded
        .unset
        .iter()
        .filter(|name| !globals.declared.contains(*name))
    {
        if findings.is_full() {
            break;
        }
        let hint = match near(name, globals) {
            Some(near) => format!(" (did you mean {near}?)"),
            None => String::new(),
        };
        let message = format!("FROM argument '{name}' is not declared{hint}");
        findings.add(place, Rule::UndefinedArgInFrom, message);
    }
    Ok(expanded)
}

fn near<'g>(name: &str, globals: &'g Globals) -> Option<&'g str> {
    let declared = globals.declared.iter().map(String::as_str);
    spelling::nearest(name, globals.values.names().chain(declared))
}

/// What was meant by variables that had no value, for a message about what came of it.
pub(crate) fn meant(unset: &BTreeSet<String>, globals: &Globals) -> String {
    let near = unset.iter().find_map(|name| {
        let near = near(name, globals).filter(|near| near != name)?;
        Some(format!(", did you mean ${near} for ${name}?"))
    });
    near.unwrap_or_default()
}

/// Finds bases that are no names when nobody gives a value.
pub(crate) fn check_defaults(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    findings: &mut Findings<'_>,
) {
    let Ok(globals) = with(dockerfile, options, &BTreeMap::new()) else {
        return;
    };
    let words = Words::new(dockerfile.directives.escape);
    for stage in &dockerfile.stages {
        let Ok(expanded) = words.expand(&stage.base, &globals.values) else {
            return;
        };
        let name = expanded.text.to_ascii_lowercase();
        let stages = &mut dockerfile.stages.iter();
        let is_stage = stages.any(|stage| stage.name.as_deref() == Some(&name));
        if !is_stage && Reference::parse(&expanded.text).is_err() {
            let message = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                stage.base
            );
            findings.add(&stage.from, Rule::InvalidDefaultArgInFrom, message);
        }
    }
}

/// Finds values that were given for nothing.
pub(crate) fn check_given<'i>(
    dockerfile: &'i Dockerfile,
    triggers: impl Iterator<Item = &'i Instruction>,
    options: &PlanOptions,
    findings: &mut Findings<'_>,
) {
    let below = dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    let instructions = dockerfile.global_args.iter().chain(below).chain(triggers);
    let taken: BTreeSet<&str> = instructions
        .filter_map(|instruction| match &instruction.kind {
            Kind::Arg(arguments) => Some(arguments),
            _ => None,
        })
        .flatten()
        .map(|argument| argument.name.as_str())
        .collect();
    let known = predefined(dockerfile, options);
    for name in options.args.keys() {
        let used = taken.contains(name.as_str())
            || known.get(name).is_some()
            || is_proxy(name)
            || name == "SOURCE_DATE_EPOCH"
            || name.starts_with("BUILDKIT_");
        if !used {
            let near = spelling::nearest(name, taken.iter().copied());
            let hint = near
                .map(|near| format!(" (did you mean {near}?)"))
                .unwrap_or_default();
            let message = format!("No ARG takes the build argument '{name}'{hint}");
            findings.add(&Place::default(), Rule::UnusedBuildArg, message);
        }
    }
}

fn is_proxy(name: &str) -> bool {
    PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

/// `NAME=value` of the given proxies, in capitals and not, without those that `environment` has.
pub(crate) fn proxies(options: &PlanOptions, environment: &Environment) -> Vec<String> {
    let mut lines = Vec::new();
    for proxy in PROXIES {
        let mut given = options
            .args
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(proxy));
        let Some((_, value)) = given.next_back() else {
            continue;
        };
        for name in [proxy.to_ascii_uppercase(), proxy.into()] {
            if environment.get(&name).is_none() {
                lines.push(format!("{name}={value}"));
            }
        }
    }
    lines
}
