//! Variables that are set twice, and secrets that stand in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::budget::Budget;
use crate::dotenv::{self, Grammar};
use crate::lint::remark::{Report, Rule};
use crate::lint::sources::{Sources, lines_of, services};
use crate::model::Project;
use crate::node::{Map, Node, Span, Trail};
use crate::source::Source;

type Variables = BTreeMap<String, String>;

/// The files of variables that the project itself was read with, and what was around it.
pub(crate) struct Outside<'a> {
    pub(crate) env_files: Vec<PathBuf>,
    pub(crate) environment: &'a Variables,
}

/// Says what is set twice.
pub(crate) fn twice(
    report: &mut Report,
    tree: &Node,
    project: &Project,
    sources: &Sources,
    outside: &Outside<'_>,
) {
    let mut own: BTreeMap<String, (String, String, u32)> = BTreeMap::new();
    for path in &outside.env_files {
        let file = sources.display(path);
        let Some(text) = sources.text(&file) else {
            continue;
        };
        let set = set_by(text, Grammar::Compose, outside.environment);
        let lines = lines_of(text);
        for (name, value) in set {
            let line = lines.get(name.as_str()).copied().unwrap_or(1);
            if outside
                .environment
                .get(&name)
                .is_some_and(|around| *around != value)
            {
                report.add(
                    Rule::ShadowedVariable,
                    &place(&file, line),
                    &name,
                    "the environment of this process has another value, which counts",
                    format!("unset {name} in the shell, or take the line away"),
                );
            }
            own.insert(name, (value, file.clone(), line));
        }
    }
    let section = Trail::ROOT.key("services");
    for (name, service) in services(tree) {
        report.service = Some(name.clone());
        let trail = section.key(name);
        let from_files = env_files(report, service, &trail, project, sources);
        let trail = trail.key("environment");
        let environment = service.get("environment").and_then(Node::map);
        for (name, entry) in environment.into_iter().flat_map(Map::iter) {
            let Some(value) = entry.node.text() else {
                continue;
            };
            if let Some((file, line)) = from_files.get(name) {
                report.add(
                    Rule::ShadowedVariable,
                    &entry.key,
                    trail.key(name),
                    format!("{file}:{line} sets it, too; `environment` counts"),
                    "keep one of the two",
                );
            } else if let Some((other, file, line)) = own.get(name)
                && other != value
                && sources.is_literal(&entry.node.span, name, value)
            {
                report.add(
                    Rule::ShadowedVariable,
                    &entry.key,
                    trail.key(name),
                    format!("{file}:{line} sets it to another value, which only `${{{name}}}` would bring here"),
                    format!("write `{name}: ${{{name}}}`, or take one of the two away"),
                );
            }
        }
    }
    report.service = None;
}

/// What the `env_file`s of a service set, and where; says what two of them set.
fn env_files(
    report: &mut Report,
    service: &Node,
    trail: &Trail<'_>,
    project: &Project,
    sources: &Sources,
) -> BTreeMap<String, (String, u32)> {
    let mut all: BTreeMap<String, (String, u32)> = BTreeMap::new();
    let trail = trail.key("env_file");
    let items = service.get("env_file").and_then(Node::list);
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let path = item.get("path").and_then(Node::text).unwrap_or_default();
        let file = sources.display(Path::new(path));
        let Some(text) = sources.text(&file) else {
            continue;
        };
        let grammar = match item.get("format").is_some() {
            true => Grammar::Raw,
            false => Grammar::Compose,
        };
        let set = set_by(text, grammar, &project.environment);
        let lines = lines_of(text);
        for name in set.into_keys() {
            let line = lines.get(name.as_str()).copied().unwrap_or(1);
            let here = (file.clone(), line);
            if let Some((other, before)) = all.insert(name.clone(), here)
                && other != file
            {
                report.add(
                    Rule::ShadowedVariable,
                    &place(&file, line),
                    format!("{}: {name}", trail.index(index)),
                    format!("{other}:{before} sets it, too; the later file counts"),
                    "keep one of the two",
                );
            }
        }
    }
    all
}

/// What a file of variables sets; the loader has read it before.
fn set_by(text: &str, grammar: Grammar, outer: &Variables) -> Variables {
    let source = Source::new("", text);
    dotenv::parse(&source, grammar, outer, &mut Budget::default()).unwrap_or_default()
}

fn place(file: &str, line: u32) -> Span {
    Span {
        file: Some(Arc::new(Source::new(file, ""))),
        line,
        column: 1,
    }
}

/// Says which secrets stand in the file. The values themselves are never shown.
pub(crate) fn secrets(report: &mut Report, tree: &Node, sources: &Sources) {
    let section = Trail::ROOT.key("services");
    for (name, service) in services(tree) {
        report.service = Some(name.clone());
        let trail = section.key(name);
        let build = trail.key("build");
        for (pairs, trail, fix) in [
            (
                service.get("environment"),
                trail.key("environment"),
                "give it as a secret (`secrets:`, read from /run/secrets), or as `${…}` from a file that is not committed",
            ),
            (
                service.at(&["build", "args"]),
                build.key("args"),
                "give it to the build as a secret (`build.secrets`, `RUN --mount=type=secret`): arguments stay in the image",
            ),
        ] {
            for (key, entry) in pairs.and_then(Node::map).into_iter().flat_map(Map::iter) {
                let value = entry.node.text().unwrap_or_default();
                let what = match () {
                    () if names_secret(key) && is_secret(value) => "a secret stands in the file",
                    () if has_password(value) => "an address with a password stands in the file",
                    () => continue,
                };
                if sources.is_literal(&entry.node.span, key, value) {
                    report.add(Rule::PlainSecret, &entry.key, trail.key(key), what, fix);
                }
            }
        }
    }
    report.service = None;
}

/// Whether a variable of that name holds a secret: its last words say so.
fn names_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split(['_', '-', '.']).collect();
    match words[..] {
        [
            ..,
            "API" | "ACCESS" | "SECRET" | "PRIVATE" | "ENCRYPTION" | "SIGNING",
            "KEY",
        ] => true,
        [_, .., "PASS" | "PWD"] => true,
        [.., last] => {
            matches!(
                last,
                "SECRET" | "TOKEN" | "APIKEY" | "CREDENTIALS" | "PASSPHRASE"
            ) || last.ends_with("PASSWORD")
                || last.ends_with("PASSWD")
        }
        [] => false,
    }
}

/// Whether a value can be a secret: it is no switch, no number of few digits and no path.
fn is_secret(value: &str) -> bool {
    let word = value.to_ascii_lowercase();
    let switch = matches!(
        word.as_str(),
        "" | "yes" | "no" | "true" | "false" | "on" | "off" | "0" | "1"
    );
    !switch && !value.starts_with('/')
}

/// `scheme://user:password@host`.
fn has_password(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':'));
    !scheme.contains(char::is_whitespace)
        && password.is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "DB_PASSWORD",
            "PGPASSWORD",
            "MYSQL_PWD",
            "api_key",
            "JWT_SECRET",
            "X_TOKEN",
        ] {
            assert!(names_secret(name), "{name}");
        }
        for name in [
            "PWD",
            "PASSWORD_FILE",
            "TOKEN_TTL",
            "KEY",
            "PUBLIC_KEY",
            "SECRET_NAME",
            "",
        ] {
            assert!(!names_secret(name), "{name}");
        }
    }

    #[test]
    fn addresses_with_passwords() {
        assert!(has_password("postgres://u:p@db:5432/x"));
        for value in [
            "postgres://db/x",
            "http://u@h",
            "http://h/a:b@c",
            "u:p@h",
            "http://u:@h",
        ] {
            assert!(!has_password(value), "{value}");
        }
    }
}
