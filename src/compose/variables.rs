//! Which variables the files of a project ask for: `config --variables`.
//!
//! Reads a project that was loaded without interpolation; what nobody sets is asked for all the same.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::interpolate::{closing_brace, name};
use crate::model::Project;
use crate::node::{Node, Value};

/// How deep variables in defaults of variables are looked for.
const MAX_DEPTH: usize = 64;

/// A variable as the files ask for it; the fields are docker compose's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What stands there when it is not set: `${NAME:-default}`; empty when there is nothing.
    pub default_value: String,
    /// What stands there when it is set: `${NAME:+alternate}`; empty when it is its own value.
    pub presence_value: String,
    /// Without it the project cannot be loaded: `${NAME:?}`.
    pub required: bool,
}

/// The variables of `project`, by name. Of a variable that is asked for in several ways each is kept
/// that says more than the name alone, the last one of a kind.
pub fn variables(project: &Project) -> BTreeMap<String, Variable> {
    asked(&project.tree)
}

/// The same of a tree in which nothing was put in yet.
pub(crate) fn asked(tree: &Node) -> BTreeMap<String, Variable> {
    let mut found = BTreeMap::new();
    walk(tree, &mut found);
    found
}

fn walk(node: &Node, found: &mut BTreeMap<String, Variable>) {
    match &node.value {
        Value::Text(text) => scan(text, found, 0),
        Value::List(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Map(map) => map.iter().for_each(|(_, entry)| walk(&entry.node, found)),
        _ => {}
    }
}

/// The same grammar as [`crate::interpolate`]; what is wrong there is passed over here.
fn scan(text: &str, found: &mut BTreeMap<String, Variable>, depth: usize) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let Some(end) = closing_brace(inner) else {
                return;
            };
            braced(&inner[..end], found, depth);
            rest = &inner[end + 1..];
        } else {
            let name = name(rest);
            entry(name, found);
            rest = &rest[name.len()..];
        }
    }
}

fn braced(inner: &str, found: &mut BTreeMap<String, Variable>, depth: usize) {
    let name = name(inner);
    let rest = &inner[name.len()..];
    let operator = rest.strip_prefix(':').unwrap_or(rest);
    let word = operator.get(1..).unwrap_or_default();
    let Some(variable) = entry(name, found) else {
        return;
    };
    match operator.as_bytes().first() {
        Some(b'-') => variable.default_value = word.to_owned(),
        Some(b'+') => variable.presence_value = word.to_owned(),
        Some(b'?') => variable.required = true,
        _ => {}
    }
    if depth < MAX_DEPTH {
        scan(word, found, depth + 1);
    }
}

fn entry<'a>(name: &str, found: &'a mut BTreeMap<String, Variable>) -> Option<&'a mut Variable> {
    if name.is_empty() {
        return None;
    }
    let variable = found.entry(name.to_owned()).or_insert_with(|| Variable {
        name: name.to_owned(),
        ..Variable::default()
    });
    Some(variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_ask() {
        let mut found = BTreeMap::new();
        let text = "$A ${B} ${C:-c$D} ${E-} ${F:?say it} ${G:+g} $$NOT $${NOT} ${H:-${I:-i}} 5$ ${J:?${K}}";
        scan(text, &mut found, 0);
        let told: Vec<String> = found
            .values()
            .map(|variable| {
                let Variable {
                    name,
                    default_value,
                    presence_value,
                    required,
                } = variable;
                format!("{name}|{required}|{default_value}|{presence_value}")
            })
            .collect();
        assert_eq!(
            told,
            [
                "A|false||",
                "B|false||",
                "C|false|c$D|",
                "D|false||",
                "E|false||",
                "F|true||",
                "G|false||g",
                "H|false|${I:-i}|",
                "I|false|i|",
                "J|true||",
                "K|false||",
            ]
        );
    }

    #[test]
    fn what_is_torn_ends_somewhere() {
        let mut found = BTreeMap::new();
        for text in ["${", "${A", "$", "${}", "${:-x}", "${A:"] {
            scan(text, &mut found, 0);
        }
        scan(&"${A:-".repeat(100_000), &mut found, 0);
        assert!(found.len() <= 1, "{found:?}");
    }
}
