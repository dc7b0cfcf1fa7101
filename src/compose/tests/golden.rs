//! Golden files: Compose files, how they are read, and what comes of it, in `testdata/config`.
//!
//! A file has cases; a case is a title, how the project is read, `compose.yaml`, further files, and
//! what `config` prints or how it refuses:
//!
//! ```text
//! === title
//! $ TAG=1 -f compose.yaml -f other.yaml
//! services: {a: {image: 'x:${TAG}'}}
//! --- other.yaml
//! services: {a: {command: [y]}}
//! >>>
//! services:
//!   a: …
//! ```
//!
//! The lines with `$` may be missing; `--- -` is standard input. What every project has is left out of
//! what is printed (the project's name `demo`, the default network) unless `--whole` asks for it.
//! `BLESS=1` writes the files anew; read the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::support::HOME;
use crate::files::Memory;
use crate::load::{LoadOptions, load_from};
use crate::reader::Reader;
use crate::render::{Format, render};
use crate::spec::root::ROOT;
use crate::spec::{Shape, find};
use crate::words;

/// Attributes that no table has: `short::external` and `short::ulimit` read them.
const READ_BY_A_FUNCTION: [&str; 3] = [".external.name", ".ulimits.*.soft", ".ulimits.*.hard"];

/// One case of a golden file.
struct Case {
    /// Title, options and files as they stand.
    head: String,
    title: String,
    options: LoadOptions,
    format: Format,
    whole: bool,
    files: BTreeMap<PathBuf, String>,
    expected: String,
}

impl Case {
    fn parse(text: &str) -> Self {
        let (head, expected) = text.split_once("\n>>>").expect("a line with >>>");
        let (title, rest) = head.split_once('\n').expect("a title");
        let mut case = Self {
            head: head.to_owned(),
            title: title.to_owned(),
            options: LoadOptions {
                working_dir: HOME.into(),
                ..LoadOptions::default()
            },
            format: Format::Yaml,
            whole: false,
            files: BTreeMap::new(),
            expected: expected.trim_start().to_owned(),
        };
        let mut name = "compose.yaml".to_owned();
        let mut file = String::new();
        for line in rest.lines() {
            if let (Some(words), true) = (line.strip_prefix("$ "), case.files.is_empty()) {
                case.read_options(words);
            } else if let Some(next) = line.strip_prefix("--- ") {
                case.keep(&name, std::mem::take(&mut file));
                next.clone_into(&mut name);
            } else {
                file.push_str(line);
                file.push('\n');
            }
        }
        case.keep(&name, file);
        case
    }

    /// Keeps a file that is not empty; `(empty)` stands for an empty one.
    fn keep(&mut self, name: &str, text: String) {
        match (name, text.as_str()) {
            (_, "") => {}
            ("-", _) => self.options.stdin = Some(text),
            (name, "(empty)\n") => {
                self.files.insert(Path::new(HOME).join(name), String::new());
            }
            (name, _) => {
                self.files.insert(Path::new(HOME).join(name), text);
            }
        }
    }

    fn read_options(&mut self, line: &str) {
        let options = &mut self.options;
        let mut words = words::split(line).expect("words").into_iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("a value");
            match word.as_str() {
                "-f" => options.files.push(value().into()),
                "-p" => options.project_name = Some(value()),
                "--profile" => options.profiles.push(value()),
                "--env-file" => options.env_files.push(value().into()),
                "--project-directory" => options.project_directory = Some(value().into()),
                "--cd" => options.working_dir = Path::new(HOME).join(value()),
                "--no-interpolate" => options.no_interpolate = true,
                "--no-normalize" => options.no_normalize = true,
                "--no-consistency" => options.no_consistency = true,
                "--no-path-resolution" => options.no_path_resolution = true,
                "--no-env-resolution" => options.no_env_resolution = true,
                "--json" => self.format = Format::Json,
                "--whole" => self.whole = true,
                option if option.starts_with('-') => panic!("{option} is no option"),
                word => match word.split_once('=') {
                    Some((name, value)) => {
                        options.environment.insert(name.into(), value.into());
                    }
                    None => options.services.push(word.into()),
                },
            }
        }
    }

    fn result(&self) -> String {
        let files = Memory(self.files.clone());
        match load_from(&self.options, &files) {
            Ok(loaded) => {
                let warnings = loaded.warnings.iter();
                let mut text: String = warnings.map(|line| format!("warning: {line}\n")).collect();
                let services = &self.options.services;
                let tree = render(&loaded.project, self.format, services, true);
                let tree = tree.expect("a project that loads is printed");
                text.push_str(&match self.whole {
                    true => tree,
                    false => without_defaults(&tree),
                });
                text
            }
            Err(error) => format!("{error}\n"),
        }
    }

    fn is_refused(&self) -> bool {
        load_from(&self.options, &Memory(self.files.clone())).is_err()
    }
}

/// Takes out what every project has.
fn without_defaults(tree: &str) -> String {
    let mut text = format!("\n{tree}");
    let mut take = |what: &str, deeper: &str| {
        let mut from = 0;
        while let Some(at) = text[from..].find(what).map(|at| from + at) {
            let end = at + what.len() - 1;
            match text[end + 1..].starts_with(deeper) {
                true => from = end,
                false => text.replace_range(at..end, ""),
            }
        }
    };
    take("\nname: demo\n", "  ");
    take("\n    networks:\n      default: null\n", "      ");
    take("\nnetworks:\n  default:\n    name: demo_default\n", "  ");
    text.split_off(1)
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config")
}

/// The golden files and their cases.
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are files of the repository"
)]
fn goldens() -> Vec<(PathBuf, Vec<Case>)> {
    let entries = std::fs::read_dir(directory()).expect("golden files");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let cases = |path: &PathBuf| -> Vec<Case> {
        let text = std::fs::read_to_string(path).expect("a golden file");
        let text = text.strip_prefix("=== ").unwrap_or_else(|| {
            panic!("{} does not begin with a case", path.display());
        });
        text.split("\n=== ").map(Case::parse).collect()
    };
    paths
        .into_iter()
        .map(|path| {
            let cases = cases(&path);
            (path, cases)
        })
        .collect()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are files of the repository"
)]
fn every_case_is_as_its_golden_file_says() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for (path, cases) in goldens() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut blessed = Vec::new();
        for case in &cases {
            let found = case.result();
            if found.trim_end() != case.expected.trim_end() {
                wrong.push(format!(
                    "{name}: {}\n--- wanted\n{}\n--- got\n{found}",
                    case.title, case.expected
                ));
            }
            if name.starts_with("mistakes") != case.is_refused() {
                wrong.push(format!("{name}: {}: is refused, or is not", case.title));
            }
            blessed.push(format!("=== {}\n>>>\n{found}", case.head));
        }
        if bless {
            std::fs::write(&path, blessed.join("\n")).expect("write a golden file");
        }
    }
    assert!(bless || wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_mistake_names_its_place_and_shows_it() {
    let mut count = 0;
    for (path, cases) in goldens() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for case in cases.iter().filter(|_| name.starts_with("mistakes")) {
            count += 1;
            let found = case.result();
            let without_place = case.title.ends_with("(no place)");
            let first = found.lines().next().unwrap_or_default();
            let has_place = first.split(": ").any(|part| {
                let mut parts = part.rsplitn(3, ':');
                let mut number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
                number() && number()
            });
            let is_shown = found.contains("\n     | ") && found.contains('^');
            assert_eq!(
                has_place && is_shown,
                !without_place,
                "{}:\n{found}",
                case.title
            );
        }
    }
    assert!(count >= 60, "{count} mistakes");
}

#[test]
fn every_attribute_has_a_golden_case() {
    let mut all = BTreeSet::new();
    paths_of(&ROOT, "", &mut all);
    assert!(all.len() > 330, "{} attributes", all.len());
    let mut seen = BTreeSet::new();
    for (path, cases) in goldens() {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        for case in cases.iter().filter(|_| !name.starts_with("mistakes")) {
            mentioned(case, &mut seen);
        }
    }
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "no golden case has {missing:#?}");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the list is a file of the repository"
)]
fn every_attribute_of_the_schema_is_known() {
    let mut known = BTreeSet::new();
    paths_of(&ROOT, "", &mut known);
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/schema.txt");
    let list = std::fs::read_to_string(list).expect("the list of the schema's attributes");
    let missing: Vec<&str> = list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|path| {
            !known.contains(*path) && !READ_BY_A_FUNCTION.iter().any(|end| path.ends_with(end))
        })
        .collect();
    assert!(missing.is_empty(), "not in the tables: {missing:#?}");
}

/// Every attribute that the tables know, as `services.*.ports[].target`.
fn paths_of(shape: &'static Shape, path: &str, out: &mut BTreeSet<String>) {
    match shape {
        Shape::Object(fields) => {
            for field in *fields {
                let path = below(path, field.key);
                paths_of(&field.shape, &path, out);
                out.insert(path);
            }
        }
        Shape::Dict(shape) | Shape::Named(shape) => paths_of(shape, &below(path, "*"), out),
        Shape::List(shape) | Shape::Spread(_, shape) => paths_of(shape, &format!("{path}[]"), out),
        Shape::NullOr(shape) | Shape::Short(_, shape) | Shape::Then(shape, _) => {
            paths_of(shape, path, out);
        }
        _ => {}
    }
}

fn below(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

/// The attributes that the files of a case have, each file in the long form.
fn mentioned(case: &Case, seen: &mut BTreeSet<String>) {
    let files = Memory(case.files.clone());
    let mut reader = Reader::new(&files, Path::new(HOME));
    for path in case.files.keys() {
        for document in reader.parse(path).unwrap_or_default() {
            // It is read and dropped.
            seen.extend(document.get("version").map(|_| "version".to_owned()));
            let variables = &case.options.environment;
            if let Ok(document) = reader.canonical(document, Path::new(HOME), variables) {
                attributes(&document, &ROOT, "", seen);
            }
        }
    }
}

fn attributes(
    node: &crate::node::Node,
    shape: &'static Shape,
    path: &str,
    seen: &mut BTreeSet<String>,
) {
    match shape {
        Shape::Object(fields) => {
            for (key, entry) in node.map().into_iter().flat_map(crate::node::Map::iter) {
                if let Some(field) = find(fields, key) {
                    let path = below(path, key);
                    attributes(&entry.node, &field.shape, &path, seen);
                    seen.insert(path);
                }
            }
        }
        Shape::Dict(shape) | Shape::Named(shape) => {
            for (_, entry) in node.map().into_iter().flat_map(crate::node::Map::iter) {
                attributes(&entry.node, shape, &below(path, "*"), seen);
            }
        }
        Shape::List(shape) | Shape::Spread(_, shape) => {
            for item in node.list().unwrap_or_default() {
                attributes(item, shape, &format!("{path}[]"), seen);
            }
        }
        Shape::NullOr(shape) | Shape::Short(_, shape) | Shape::Then(shape, _) => {
            attributes(node, shape, path, seen);
        }
        _ => {}
    }
}
