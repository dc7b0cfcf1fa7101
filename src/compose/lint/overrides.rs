//! Later files that say again what earlier ones say, and `version`.

use std::path::PathBuf;
use std::sync::Arc;

use crate::files::Files;
use crate::ledger::Ledger;
use crate::lint::remark::{Report, Rule};
use crate::model::Project;
use crate::node::{Entry, Map, Node, Span};
use crate::reader::Reader;
use crate::render::json;
use crate::source::Source;
use crate::yaml;

/// Says which of `files` (names and texts) have a `version`.
pub(crate) fn versions(report: &mut Report, files: &[(&str, &str)]) {
    for (name, text) in files {
        let source = Arc::new(Source::new(*name, *text));
        let documents = yaml::parse(&source, &mut Ledger::default());
        for document in documents.unwrap_or_default() {
            if let Some(version) = document.map().and_then(|map| map.entry("version")) {
                report.add(
                    Rule::ObsoleteVersion,
                    &version.key,
                    "version",
                    "the attribute is obsolete",
                    "take the line away",
                );
            }
        }
    }
}

/// What [`repeats`] reads the project's own files with.
pub(crate) struct Again<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) working_dir: &'a std::path::Path,
    pub(crate) home: Option<&'a str>,
}

/// Compares the files of the project, each in the long form and without what it extends and includes.
pub(crate) fn repeats(report: &mut Report, project: &Project, again: &Again<'_>) {
    if project.files.len() < 2 {
        return;
    }
    let mut reader = Reader::new(again.files, again.working_dir);
    reader.home = again.home;
    let mut read = |file: &PathBuf| -> Vec<Node> {
        let documents = reader.parse(file).unwrap_or_default();
        documents
            .into_iter()
            .filter_map(|document| {
                let base = &project.working_dir;
                reader.canonical(document, base, &project.environment).ok()
            })
            .collect()
    };
    let mut earlier: Vec<Node> = Vec::new();
    for file in project.files.iter().filter(|file| file.as_os_str() != "-") {
        let documents = read(file);
        for document in &documents {
            for (section, entry) in document.map().into_iter().flat_map(Map::iter) {
                if section == "name" || section.starts_with("x-") {
                    continue;
                }
                for (name, entry) in entry.node.map().into_iter().flat_map(Map::iter) {
                    report.service = (section == "services").then(|| name.clone());
                    compare(report, &earlier, &mut vec![section, name], entry);
                }
            }
        }
        report.service = None;
        earlier.extend(documents);
    }
}

/// Reports the highest keys below `entry` that say the same as an earlier document.
fn compare<'t>(report: &mut Report, earlier: &[Node], path: &mut Vec<&'t str>, entry: &'t Entry) {
    for (key, entry) in entry.node.map().into_iter().flat_map(Map::iter) {
        path.push(key);
        let before = earlier.iter().rev().find_map(|tree| tree.at(path));
        match before {
            Some(before) if says_something(&entry.node) && json(before) == json(&entry.node) => {
                say(report, path, &entry.key, before);
            }
            Some(_) => compare(report, earlier, path, entry),
            None => {}
        }
        path.pop();
    }
}

fn say(report: &mut Report, path: &[&str], place: &Span, before: &Node) {
    report.add(
        Rule::RepeatedOverride,
        place,
        path.join("."),
        format!("{} says the same", before.span),
        "take it out of this file",
    );
}

fn says_something(node: &Node) -> bool {
    let empty = node.map().is_some_and(Map::is_empty) || node.list().is_some_and(<[_]>::is_empty);
    !(node.is_null() || empty)
}
