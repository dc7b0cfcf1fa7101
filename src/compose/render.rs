//! Prints the canonical project: `config`.

use std::collections::BTreeSet;

use orc_base::{Error, Result};
use serde_json::Value as Json;

use crate::model::Project;
use crate::node::{Map, Node, Value};

/// The languages of `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Yaml,
    /// For programs.
    Json,
}

/// The project in docker compose's normal form, which loads as the same project again. `services`:
/// only these and what they need, all when empty; `all_resources`: also networks, volumes, secrets
/// and configs that no service uses.
pub fn render(
    project: &Project,
    format: Format,
    services: &[String],
    all_resources: bool,
) -> Result<String> {
    let names = project.with_dependencies(&project.select(services)?);
    let tree = selected(project, &names, all_resources);
    let mut document = json(&tree);
    if project.interpolated {
        escape_dollars(&mut document);
    }
    match format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&document)?;
            Ok(text + "\n")
        }
        Format::Yaml => self::document(&document),
    }
}

/// Any document as YAML, as docker compose writes it.
pub fn document(document: &Json) -> Result<String> {
    serde_saphyr::to_string_with_options(document, layout())
        .map_err(|error| Error::internal(format!("print the project as YAML: {error}")))
}

/// Lists are indented, and nothing is folded: as docker compose writes.
fn layout() -> serde_saphyr::SerializerOptions {
    serde_saphyr::ser_options! {
        compact_list_indent: false,
    }
}

/// The images of the selected services, each once, in order.
pub fn images(project: &Project, services: &[String]) -> Result<BTreeSet<String>> {
    let names = project.with_dependencies(&project.select(services)?);
    Ok(names
        .iter()
        .filter_map(|name| project.service(name))
        .map(|service| service.image_name(&project.name))
        .collect())
}

/// All profiles that some service names.
pub fn profiles(project: &Project) -> BTreeSet<String> {
    project
        .services
        .values()
        .chain(project.disabled.values())
        .flat_map(|service| service.profiles.iter().cloned())
        .collect()
}

/// The names of what is declared in a section of the files, such as `models`.
pub fn declared(project: &Project, section: &str) -> BTreeSet<String> {
    let map = project.tree.get(section).and_then(Node::map);
    map.into_iter().flat_map(Map::keys).cloned().collect()
}

/// The tree with these services, and of the rest what they use.
fn selected(project: &Project, names: &BTreeSet<String>, all_resources: bool) -> Node {
    let mut tree = project.tree.clone();
    let Some(top) = tree.map_mut() else {
        return tree;
    };
    if let Some(services) = top.get_mut("services").and_then(Node::map_mut) {
        services.retain(|name, _| names.contains(name));
    }
    if !all_resources {
        let used = used(top);
        for (section, used) in &used {
            let is_empty = match top.get_mut(section).and_then(Node::map_mut) {
                Some(things) => {
                    things.retain(|name, _| used.contains(name));
                    things.is_empty()
                }
                None => false,
            };
            if is_empty {
                top.remove(section);
            }
        }
    }
    tree
}

/// What the services of a tree use, by section.
fn used(top: &Map) -> Vec<(&'static str, BTreeSet<String>)> {
    let services: Vec<&Node> = top
        .get("services")
        .and_then(Node::map)
        .into_iter()
        .flat_map(Map::iter)
        .map(|(_, entry)| &entry.node)
        .collect();
    let keys = |section: &str| -> BTreeSet<String> {
        services
            .iter()
            .filter_map(|service| service.get(section)?.map())
            .flat_map(|map| map.keys().cloned())
            .collect()
    };
    let sources = |paths: &[&[&str]]| -> BTreeSet<String> {
        services
            .iter()
            .flat_map(|service| paths.iter().filter_map(|path| service.at(path)?.list()))
            .flatten()
            .filter_map(|item| Some(item.get("source")?.text()?.to_owned()))
            .collect()
    };
    vec![
        ("networks", keys("networks")),
        ("models", keys("models")),
        ("volumes", sources(&[&["volumes"]])),
        ("configs", sources(&[&["configs"]])),
        ("secrets", sources(&[&["secrets"], &["build", "secrets"]])),
    ]
}

/// The values of a tree without places.
pub(crate) fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
            (Ok(value), _) => value.into(),
            (_, Ok(value)) => value.into(),
            _ => Json::String(value.to_string()),
        },
        Value::Float(value) => serde_json::Number::from_f64(*value)
            .map_or_else(|| Json::String(value.to_string()), Json::Number),
        Value::Text(text) => Json::String(text.clone()),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(key, entry)| (key.clone(), json(&entry.node)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

fn escape_dollars(value: &mut Json) {
    match value {
        Json::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Json::Array(items) => items.iter_mut().for_each(escape_dollars),
        Json::Object(map) => map.values_mut().for_each(escape_dollars),
        _ => {}
    }
}
