//! One tree of many files: each in the long form, with what it extends and includes, the later over
//! the earlier.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::{Error, Kind, Result};

use crate::extends;
use crate::files::Found;
use crate::merge::{merge, settle};
use crate::mistakes::Mistakes;
use crate::node::{Map, Node, Span, Trail, Value};
use crate::reader::{Reader, is_void, refuse_missing};
use crate::spec::root::ROOT;

/// How many files may include one another in a row.
const MAX_DEPTH: usize = 50;

/// What may be included, and conflict.
const RESOURCES: [&str; 6] = [
    "services", "networks", "volumes", "secrets", "configs", "models",
];

/// A set of files that is loaded as one.
pub(crate) struct Model<'a> {
    pub(crate) files: &'a [PathBuf],
    /// Where relative paths start.
    pub(crate) base: &'a Path,
    pub(crate) variables: &'a BTreeMap<String, String>,
}

/// The settled tree of a project's files.
pub(crate) fn assemble(
    reader: &mut Reader<'_>,
    model: &Model<'_>,
    parsed: Vec<Vec<Node>>,
) -> Result<Node> {
    let tree = files_of(reader, model, parsed, &mut Vec::new())?;
    Ok(settle(tree, &ROOT))
}

/// `parsed` are the documents of the files, in order.
fn files_of(
    reader: &mut Reader<'_>,
    model: &Model<'_>,
    parsed: Vec<Vec<Node>>,
    including: &mut Vec<PathBuf>,
) -> Result<Node> {
    let mut tree = Node::new(Map::default(), &Span::default());
    for (file, documents) in model.files.iter().zip(parsed) {
        for document in documents {
            let document = reader.canonical(document, model.base, model.variables)?;
            let document = extends::apply(reader, document, file, model.base, model.variables)?;
            including.push(file.clone());
            let document = include(reader, document, model, including)?;
            including.pop();
            tree = merge(tree, document, &ROOT);
        }
    }
    resolve_environment(&mut tree, model.variables);
    default_contexts(&mut tree, model.base);
    Ok(tree)
}

/// Puts a document over all that it includes.
fn include(
    reader: &mut Reader<'_>,
    mut document: Node,
    model: &Model<'_>,
    including: &mut Vec<PathBuf>,
) -> Result<Node> {
    let Some(entry) = document.map_mut().and_then(|map| map.remove("include")) else {
        return Ok(document);
    };
    if is_void(&entry.node) {
        return Ok(document);
    }
    let mut imported = Node::new(Map::default(), &Span::default());
    let trail = Trail::ROOT.key("include");
    let items = entry.node.list().unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        let is_told = reader.ledger.mistakes.count() > 0 && item.get("path").is_none();
        if is_void(item) || is_told {
            continue;
        }
        let trail = trail.index(index);
        let depth = including.len();
        match included(reader, item, model, including, &trail) {
            Ok(tree) => import(&mut imported, tree, &mut reader.ledger.mistakes)?,
            Err(error) => {
                including.truncate(depth);
                reader.ledger.is_torn = true;
                reader.ledger.mistakes.add(&item.span, error)?;
            }
        }
    }
    Ok(merge(settle(imported, &ROOT), document, &ROOT))
}

/// The tree of one entry of `include`: files of their own project directory and variables.
fn included(
    reader: &mut Reader<'_>,
    item: &Node,
    model: &Model<'_>,
    including: &mut Vec<PathBuf>,
    trail: &Trail<'_>,
) -> Result<Node> {
    let texts = |key: &str| -> Vec<String> {
        let items = item.get(key).and_then(Node::list).unwrap_or_default();
        items.iter().filter_map(Node::scalar).collect()
    };
    let files = texts("path")
        .iter()
        .map(|path| reader.locate(model.base, path, &item.span))
        .collect::<Result<Vec<_>>>()
        .map_err(|error| at(error, item, "include", trail))?;
    let Some(first) = files.first() else {
        return Err(trail.error(&item.span, "missing property 'path'"));
    };
    if let Some(file) = files.iter().find(|file| including.contains(file)) {
        let chain: Vec<_> = including
            .iter()
            .chain([file])
            .map(|file| reader.display(file))
            .collect();
        return Err(trail.error(
            &item.span,
            format!("include cycle detected: {}", chain.join(" includes ")),
        ));
    }
    if including.len() > MAX_DEPTH {
        let text = format!("more than {MAX_DEPTH} files include one another");
        return Err(trail.error(&item.span, text).with_kind(Kind::Exhausted));
    }
    let directory = match item.get("project_directory").and_then(Node::text) {
        Some(directory) => reader
            .inside(model.base, directory, &item.span)
            .map_err(|error| at(error, item, "project_directory", trail))?,
        None => first.parent().unwrap_or(Path::new("/")).to_path_buf(),
    };
    let env_files = texts("env_file");
    let variables = included_variables(reader, model, &directory, &env_files, &item.span)
        .map_err(|error| at(error, item, "env_file", trail))?;
    let inner = Model {
        files: &files,
        base: &directory,
        variables: &variables,
    };
    let parsed = files
        .iter()
        .map(|file| reader.parse(file))
        .collect::<Result<Vec<_>>>()
        .map_err(|error| at(error, item, "include", trail))?;
    files_of(reader, &inner, parsed, including)
}

/// The error of something that is included, for the one who includes it.
fn at(error: Error, item: &Node, what: &str, trail: &Trail<'_>) -> Error {
    match error.kind() {
        Kind::Exhausted => error,
        _ => trail.around(&item.span, what, &refuse_missing(error)),
    }
}

/// What an included file sees: all that the including one sees, over its own `.env`.
fn included_variables(
    reader: &mut Reader<'_>,
    model: &Model<'_>,
    directory: &Path,
    env_files: &[String],
    by: &Span,
) -> Result<BTreeMap<String, String>> {
    let files: Vec<PathBuf> = match env_files {
        [] => {
            let default = directory.join(".env");
            match reader.files.look(&default) {
                Found::File => vec![default],
                _ => Vec::new(),
            }
        }
        names => names
            .iter()
            .filter(|name| *name != "/dev/null")
            .map(|name| reader.inside(model.base, name, by))
            .collect::<Result<_>>()?,
    };
    let mut variables = model.variables.clone();
    let mut own = BTreeMap::new();
    for file in files {
        let mut visible = own.clone();
        visible.extend(model.variables.clone());
        let found = reader.variables(&file, &visible)?;
        own.extend(found);
    }
    for (name, value) in own {
        variables.entry(name).or_insert(value);
    }
    Ok(variables)
}

/// Copies the resources of one included tree beside those of the others.
fn import(imported: &mut Node, tree: Node, mistakes: &mut Mistakes) -> Result<()> {
    let Value::Map(tree) = settle(tree, &ROOT).value else {
        return Ok(());
    };
    let Some(imported) = imported.map_mut() else {
        return Ok(());
    };
    for (section, entry) in tree {
        if !RESOURCES.contains(&section.as_str()) {
            continue;
        }
        let span = entry.node.span.clone();
        imported.set_default(&section, || Node::new(Map::default(), &span));
        let Some(there) = imported.get_mut(&section).and_then(Node::map_mut) else {
            continue;
        };
        let Value::Map(resources) = entry.node.value else {
            continue;
        };
        for (name, entry) in resources {
            match there.get(&name) {
                Some(other) if !same(other, &entry.node) => {
                    let section = Trail::ROOT.key(&section);
                    let text = format!("conflicts with imported resource at {}", other.span);
                    mistakes.note(&section.key(&name), &entry.key, text)?;
                }
                Some(_) => {}
                None => {
                    there.put(name, entry);
                }
            }
        }
    }
    Ok(())
}

/// Whether two values are equal, wherever they stand.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.keys().eq(b.keys())
                && a.iter()
                    .zip(b.iter())
                    .all(|((_, a), (_, b))| same(&a.node, &b.node))
        }
        (a, b) => a == b,
    }
}

/// The services of a tree.
fn services(tree: &mut Node) -> impl Iterator<Item = &mut Map> {
    tree.map_mut()
        .and_then(|map| map.get_mut("services")?.map_mut())
        .into_iter()
        .flat_map(Map::iter_mut)
        .filter_map(|(_, entry)| entry.node.map_mut())
}

/// Names without a value take the value that the files' own variables give.
fn resolve_environment(tree: &mut Node, variables: &BTreeMap<String, String>) {
    for service in services(tree) {
        let environment = service.get_mut("environment").and_then(Node::map_mut);
        for (name, entry) in environment.into_iter().flat_map(Map::iter_mut) {
            if let (Value::Null, false) = (&entry.node.value, is_void(&entry.node))
                && let Some(value) = variables.get(name)
            {
                entry.node.value = value.as_str().into();
            }
        }
    }
}

/// A build without a context has the directory of its own files.
fn default_contexts(tree: &mut Node, base: &Path) {
    for service in services(tree) {
        if let Some(build) = service.get_mut("build").filter(|build| !is_void(build)) {
            let span = build.span.clone();
            if let Some(build) = build.map_mut() {
                build.set_default("context", || {
                    Node::new(base.to_string_lossy().as_ref(), &span)
                });
            }
        }
    }
}
