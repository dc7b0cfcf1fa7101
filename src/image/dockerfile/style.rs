//! The checks that need nothing but the text: casing, names of stages, comments.

use std::collections::BTreeSet;

use crate::dockerfile::ast::{Dockerfile, Kind, Place};
use crate::dockerfile::checks::{Rule, Warning};

/// Finds what is surprising in how a file is written. `as_words` has `AS` and the name of each stage
/// as they are written.
pub(crate) fn check(
    dockerfile: &Dockerfile,
    as_words: &[Option<(String, String)>],
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (stage, words) in dockerfile.stages.iter().zip(as_words) {
        if let Some((word, name)) = words {
            stage_words(&stage.from, word, name, &mut warnings);
        }
    }
    syntax(dockerfile, &mut warnings);
    stage_names(dockerfile, &mut warnings);
    descriptions(dockerfile, &mut warnings);
    casing(dockerfile, &mut warnings);
    for instruction in dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions)
    {
        if let Kind::Maintainer(_) = instruction.kind {
            warnings.push(Warning::new(
                instruction.place.line,
                Rule::MaintainerDeprecated,
                "Maintainer instruction is deprecated in favor of using label",
            ));
        }
    }
    warnings.retain(|warning| told(dockerfile, warning));
    warnings
}

/// Whether the comments above an instruction let a finding be told.
fn told(dockerfile: &Dockerfile, warning: &Warning) -> bool {
    use crate::dockerfile::checks::Checks;
    let stages = dockerfile.stages.iter();
    let places = stages.flat_map(|stage| {
        let below = stage
            .instructions
            .iter()
            .map(|instruction| &instruction.place);
        std::iter::once(&stage.from).chain(below)
    });
    let mut above = places.filter(|place| place.line == warning.line);
    // What a comment asks for in addition is known to the planner too; here only skips count.
    above.all(|place| {
        warning.rule == Rule::InvalidDefinitionDescription
            || Checks::of_comments(&place.comments).tells(warning.rule)
    })
}

/// Frontends are not loaded: what is not Docker's may be another language.
fn syntax(dockerfile: &Dockerfile, warnings: &mut Vec<Warning>) {
    let Some(syntax) = &dockerfile.directives.syntax else {
        return;
    };
    let name = syntax.split_whitespace().next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.split([':', '@']).next().unwrap_or_default();
    if !matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream") {
        let message =
            format!("The frontend {syntax} is not loaded, the file is read as a Dockerfile");
        warnings.push(Warning::new(1, Rule::ForeignSyntax, message));
    }
}

fn stage_words(from: &Place, word: &str, name: &str, warnings: &mut Vec<Warning>) {
    if name.chars().any(char::is_uppercase) {
        let message = format!("Stage name '{name}' should be lowercase");
        warnings.push(Warning::new(from.line, Rule::StageNameCasing, message));
    }
    let matches = match case(&from.keyword) {
        Some(Case::Lower) => case(word) == Some(Case::Lower),
        Some(Case::Upper) => case(word) == Some(Case::Upper),
        None => true,
    };
    if !matches {
        let message = format!(
            "'{word}' and '{}' keywords' casing do not match",
            from.keyword
        );
        warnings.push(Warning::new(from.line, Rule::FromAsCasing, message));
    }
}

fn stage_names(dockerfile: &Dockerfile, warnings: &mut Vec<Warning>) {
    let mut names = BTreeSet::new();
    for stage in &dockerfile.stages {
        let Some(name) = &stage.name else { continue };
        if ["context", "scratch"].contains(&name.as_str()) {
            warnings.push(Warning::new(
                stage.from.line,
                Rule::ReservedStageName,
                format!("Stage name should not use the same name as reserved stage \"{name}\""),
            ));
        }
        if !names.insert(name) {
            warnings.push(Warning::new(
                stage.from.line,
                Rule::DuplicateStageName,
                format!("Duplicate stage name \"{name}\", stage names should be unique"),
            ));
        }
    }
}

/// A comment right above an `ARG` or a named stage describes it, and begins with its name.
fn descriptions(dockerfile: &Dockerfile, warnings: &mut Vec<Warning>) {
    let mut describe = |place: &Place, what: &str, names: &[&str]| {
        let first = place
            .comments
            .last()
            .and_then(|line| line.split(' ').next());
        let Some(first) = first.filter(|first| !names.contains(first)) else {
            return;
        };
        if names.is_empty() || first.to_ascii_lowercase().starts_with("check=") {
            return;
        }
        let name = if names.len() > 1 {
            "<arg_key>"
        } else {
            names[0]
        };
        warnings.push(Warning::new(
            place.line,
            Rule::InvalidDefinitionDescription,
            format!("Comment for {what} should follow the format: `# {name} <description>`"),
        ));
    };
    let stages = &dockerfile.stages;
    for stage in stages {
        let names: Vec<&str> = stage.name.as_deref().into_iter().collect();
        describe(&stage.from, "FROM", &names);
    }
    let below = stages.iter().flat_map(|stage| &stage.instructions);
    for instruction in dockerfile.global_args.iter().chain(below) {
        if let Kind::Arg(arguments) = &instruction.kind {
            let names: Vec<&str> = arguments.iter().map(|one| one.name.as_str()).collect();
            describe(&instruction.place, "ARG", &names);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
}

fn case(word: &str) -> Option<Case> {
    if word.chars().all(|c| !c.is_uppercase()) {
        return Some(Case::Lower);
    }
    word.chars()
        .all(|c| !c.is_lowercase())
        .then_some(Case::Upper)
}

/// All keywords are in capitals, or none.
fn casing(dockerfile: &Dockerfile, warnings: &mut Vec<Warning>) {
    let places: Vec<&Place> = dockerfile
        .stages
        .iter()
        .flat_map(|stage| {
            let below = stage
                .instructions
                .iter()
                .map(|instruction| &instruction.place);
            std::iter::once(&stage.from).chain(below)
        })
        .collect();
    let count = |wanted| {
        places
            .iter()
            .filter(|place| case(&place.keyword) == Some(wanted))
            .count()
    };
    let (wanted, name) = match count(Case::Lower) > count(Case::Upper) {
        true => (Case::Lower, "lowercase"),
        false => (Case::Upper, "uppercase"),
    };
    for place in places
        .iter()
        .filter(|place| case(&place.keyword) != Some(wanted))
    {
        warnings.push(Warning::new(
            place.line,
            Rule::ConsistentInstructionCasing,
            format!(
                "Command '{}' should match the case of the command majority ({name})",
                place.keyword
            ),
        ));
    }
}
