//! The schemas of kinds in the words of OpenAPI: where they point to, and how their lists merge.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::kind::ObjectKind;
use crate::kinds::KINDS;
use crate::schema::{ListRule, definition_name, definitions, list_rules};

/// Whose words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
}

/// The name of a kind's schema. Each is looked up once: finding it makes the whole schema.
pub(super) fn name_of(kind: &ObjectKind) -> &'static str {
    static NAMES: OnceLock<Vec<(&ObjectKind, String)>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let name = |kind: &&'static ObjectKind| (*kind, definition_name(kind));
        KINDS.iter().map(name).collect()
    });
    let found = names.iter().find(|(known, _)| *known == kind);
    found.map(|(_, name)| name.as_str()).unwrap_or_default()
}

/// Of all schemas those of these kinds and of all they are made of.
pub(super) fn of(kinds: &[&ObjectKind], all: &Map<String, Value>) -> Value {
    let mut wanted: Vec<String> = kinds.iter().map(|kind| name_of(kind).to_owned()).collect();
    let mut found = Map::new();
    while let Some(name) = wanted.pop() {
        if let Some(schema) = all.get(&name)
            && !found.contains_key(&name)
        {
            names(schema, &mut wanted);
            found.insert(name, schema.clone());
        }
    }
    found.into()
}

/// All of them, in the words of a version.
pub(super) fn written(version: Version) -> Map<String, Value> {
    let mut all = definitions();
    for rule in list_rules() {
        if let Some(schema) = all.get_mut(rule.definition) {
            merging(schema, rule);
        }
    }
    for kind in KINDS {
        if let Some(schema) = all.get_mut(name_of(kind)) {
            let (group, version, kind) = (kind.group, kind.version, kind.kind);
            schema["x-kubernetes-group-version-kind"] =
                json!([{ "group": group, "version": version, "kind": kind }]);
        }
    }
    for schema in all.values_mut() {
        speak(schema, version);
    }
    all
}

/// Writes a fact about a field, or about the definition itself, into its schema.
fn merging(schema: &mut Value, rule: &ListRule) {
    let place = match rule.field {
        "" => schema,
        field => &mut schema["properties"][field],
    };
    let is_list = place["type"] == "array";
    match (rule.apply, is_list) {
        ("", _) => {}
        ("atomic", false) => place["x-kubernetes-map-type"] = "atomic".into(),
        ("atomic" | "set", true) => place["x-kubernetes-list-type"] = rule.apply.into(),
        (_, false) => {}
        (keys, true) => {
            place["x-kubernetes-list-type"] = "map".into();
            place["x-kubernetes-list-map-keys"] = keys.split(',').collect();
        }
    }
    let strategy = match (rule.patch, rule.retain_keys) {
        ("", false) => return,
        ("", true) => "retainKeys",
        (_, false) => "merge",
        (_, true) => "merge,retainKeys",
    };
    place["x-kubernetes-patch-strategy"] = strategy.into();
    if !matches!(rule.patch, "" | "set") {
        place["x-kubernetes-patch-merge-key"] = rule.patch.into();
    }
}

/// From JSON Schema's way to point to OpenAPI's. A reference with anything beside it becomes a list of one:
/// beside a reference nothing counts.
fn speak(value: &mut Value, version: Version) {
    match value {
        Value::Object(map) => {
            map.remove("$schema");
            if let Some(Value::String(to)) = map.get_mut("$ref") {
                let name = to.rsplit('/').next().unwrap_or_default();
                let to = match version {
                    Version::V2 => format!("#/definitions/{name}"),
                    Version::V3 => format!("#/components/schemas/{name}"),
                };
                map.insert("$ref".to_owned(), to.into());
                if version == Version::V3
                    && map.len() > 1
                    && let Some(to) = map.remove("$ref")
                {
                    map.insert("allOf".to_owned(), json!([{ "$ref": to }]));
                }
            }
            for below in map.values_mut() {
                speak(below, version);
            }
        }
        Value::Array(items) => {
            for item in items {
                speak(item, version);
            }
        }
        _ => {}
    }
}

/// The names of all that a schema points to.
fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(to)) = map.get("$ref") {
                found.extend(to.rsplit('/').next().map(str::to_owned));
            }
            map.values().for_each(|below| names(below, found));
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}
