//! Puts the content of `env_file` and `label_file` below `environment` and `labels`.

use std::collections::BTreeMap;
use std::path::Path;

use orc_base::Result;

use crate::budget::Budget;
use crate::dotenv::{self, Grammar};
use crate::files::{Files, Found};
use crate::node::{Map, Node, Trail, Value};
use crate::reader::refuse_missing;
use crate::source::Source;

/// What a file is called in messages, and what to do when it is not there.
struct Kind {
    name: &'static str,
    hint: &'static str,
}

const ENV_FILE: Kind = Kind {
    name: "env file",
    hint: "make it, or say `required: false`",
};
const LABEL_FILE: Kind = Kind {
    name: "label file",
    hint: "make it",
};

/// What is around the services of a project.
pub(crate) struct Around<'a> {
    pub(crate) files: &'a dyn Files,
    /// Files are shown relative to it.
    pub(crate) working_dir: &'a Path,
    pub(crate) variables: &'a BTreeMap<String, String>,
}

/// Reads the files of one service.
pub(crate) fn resolve(
    service: &mut Node,
    trail: &Trail<'_>,
    around: &Around<'_>,
    budget: &mut Budget,
) -> Result<()> {
    let span = service.span.clone();
    let Some(map) = service.map_mut() else {
        return Ok(());
    };
    if let Some(entry) = map.remove("env_file") {
        let trail = trail.key("env_file");
        let found = read_all(&entry.node, &ENV_FILE, &trail, around, budget)?;
        put_below(map, "environment", found, &span);
    }
    if let Some(entry) = map.remove("label_file") {
        let trail = trail.key("label_file");
        let found = read_all(&entry.node, &LABEL_FILE, &trail, around, budget)?;
        put_below(map, "labels", found, &span);
    }
    Ok(())
}

/// What the listed files set, later ones over earlier ones.
fn read_all(
    list: &Node,
    kind: &Kind,
    trail: &Trail<'_>,
    around: &Around<'_>,
    budget: &mut Budget,
) -> Result<BTreeMap<String, String>> {
    let mut set = BTreeMap::new();
    let mut visible = around.variables.clone();
    for (index, item) in list.list().unwrap_or_default().iter().enumerate() {
        let trail = trail.index(index);
        let path = item.get("path").unwrap_or(item).text().unwrap_or_default();
        let required = item
            .get("required")
            .is_none_or(|node| node.value != Value::Bool(false));
        let grammar = match item.get("format").is_some() {
            true => Grammar::Raw,
            false => Grammar::Compose,
        };
        let path = Path::new(path);
        if around.files.look(path) == Found::Nothing {
            if required {
                let (file, hint) = (path.display(), kind.hint);
                let text = format!("{} {file} not found: {hint}", kind.name);
                return Err(trail.error(&item.span, text));
            }
            continue;
        }
        let found = around
            .files
            .read(path)
            .and_then(|text| {
                let shown = path.strip_prefix(around.working_dir).unwrap_or(path);
                let source = Source::new(shown.display().to_string(), text);
                dotenv::parse(&source, grammar, &visible, budget)
            })
            .map_err(|error| trail.around(&item.span, kind.name, &refuse_missing(error)))?;
        for (name, value) in found {
            visible.entry(name.clone()).or_insert_with(|| value.clone());
            set.insert(name, value);
        }
    }
    Ok(set)
}

/// What is there wins.
fn put_below(map: &mut Map, key: &str, found: BTreeMap<String, String>, span: &crate::node::Span) {
    if found.is_empty() {
        return;
    }
    map.set_default(key, || Node::new(Map::default(), span));
    if let Some(inner) = map.get_mut(key).and_then(Node::map_mut) {
        for (name, value) in found {
            inner.set_default(&name, || Node::new(value, span));
        }
    }
}
