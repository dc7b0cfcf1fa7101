//! Where each value of a project comes from: the file, the line, and what stands there when variables
//! were put in its place.
//!
//! The tree remembers its places through merging, includes and short forms. What stands there is read
//! from the same project without its variables: only a value of the same place is taken for the same.

use crate::model::Project;
use crate::node::{Node, Span, Trail, Value};

/// One line a value: its path, itself, and in a comment where it comes from. `raw` is the same project,
/// loaded with its variables left as they are.
pub fn explain(project: &Project, raw: &Project) -> String {
    let mut text = String::new();
    walk(&project.tree, Some(&raw.tree), &Trail::ROOT, &mut text);
    text
}

fn walk(node: &Node, raw: Option<&Node>, trail: &Trail<'_>, text: &mut String) {
    match &node.value {
        Value::Map(map) if map.iter().next().is_some() => {
            for (key, entry) in map.iter() {
                let raw = raw.and_then(|raw| raw.get(key));
                walk(&entry.node, raw, &trail.key(key), text);
            }
        }
        Value::List(items) if !items.is_empty() => {
            let others = raw.and_then(Node::list).unwrap_or_default();
            for (index, item) in items.iter().enumerate() {
                // Items may have moved; the one of the same place is meant.
                let raw = others
                    .iter()
                    .find(|other| is_same_place(&item.span, &other.span));
                walk(item, raw, &trail.index(index), text);
            }
        }
        _ => {
            let raw = raw.filter(|raw| is_same_place(&node.span, &raw.span));
            text.push_str(&format!(
                "{trail}: {}  # {}\n",
                shown(node),
                origin(node, raw)
            ));
        }
    }
}

fn shown(node: &Node) -> String {
    match &node.value {
        Value::Map(_) => "{}".to_owned(),
        Value::List(_) => "[]".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Text(text) => crate::render::json(&Node::new(text.as_str(), &node.span)).to_string(),
        _ => node.scalar().unwrap_or_default(),
    }
}

fn origin(node: &Node, raw: Option<&Node>) -> String {
    if node.span.file_name().is_none() {
        return "a default".to_owned();
    }
    let place = node.span.to_string();
    match raw.and_then(Node::text).filter(|text| text.contains('$')) {
        // A dollar that stands for itself is no variable.
        Some(text) if node.text() != Some(text.replace("$$", "$").as_str()) => {
            format!("{place}: {}", text.escape_debug())
        }
        _ => place,
    }
}

fn is_same_place(one: &Span, other: &Span) -> bool {
    let place = |span: &Span| (span.line, span.column);
    one.file_name() == other.file_name() && place(one) == place(other)
}
