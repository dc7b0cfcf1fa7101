//! Puts a later tree over an earlier one, both in the long form, by the rules of `spec.rs`.

use std::collections::HashMap;

use crate::node::{Entry, Map, Mark, Node, Value};
use crate::spec::{Field, Merge, Shape, find};

/// `later` over `earlier`. Marks stay, so that the result can be put over a third tree.
pub(crate) fn merge(earlier: Node, later: Node, shape: &'static Shape) -> Node {
    with_rule(earlier, later, shape, &Merge::Deep)
}

/// Takes away what `!reset` marks, and joins items that are the same.
pub(crate) fn settle(mut node: Node, shape: &'static Shape) -> Node {
    settle_in_place(&mut node, shape, &Merge::Deep);
    node
}

fn with_rule(earlier: Node, later: Node, shape: &'static Shape, rule: &Merge) -> Node {
    if later.mark != Mark::Merge {
        return later;
    }
    if earlier.mark == Mark::Reset {
        return later;
    }
    match rule {
        Merge::Replace => return later,
        Merge::Driver if drivers_differ(&earlier, &later) => return later,
        _ => {}
    }
    if later.is_null() {
        return earlier;
    }
    let (mark, span) = (earlier.mark, later.span.clone());
    let value = match (earlier.value, later.value) {
        (Value::Map(old), Value::Map(new)) => Value::Map(maps(old, new, shape, rule)),
        (Value::List(mut old), Value::List(new)) => {
            old.extend(new);
            Value::List(match rule {
                Merge::Unique(by) => unique(old, *by, None),
                Merge::Keyed(by) => unique(old, *by, item_shape(shape)),
                _ => old,
            })
        }
        (_, new) => new,
    };
    Node { value, span, mark }
}

fn maps(mut old: Map, new: Map, shape: &'static Shape, rule: &Merge) -> Map {
    for (key, entry) in new {
        let merged = match old.remove(&key) {
            None => entry,
            Some(_) if matches!(rule, Merge::Pairs) => entry,
            Some(before) => {
                let (shape, rule) = child(shape, &key);
                Entry {
                    key: entry.key,
                    node: with_rule(before.node, entry.node, shape, rule),
                }
            }
        };
        old.put(key, merged);
    }
    old
}

fn drivers_differ(earlier: &Node, later: &Node) -> bool {
    let driver = |node: &Node| node.get("driver").and_then(Node::scalar);
    match (driver(earlier), driver(later)) {
        (Some(earlier), Some(later)) => earlier != later,
        _ => false,
    }
}

/// Joins items with the same key: the later one at the place of the earlier, merged when `shape`.
fn unique(items: Vec<Node>, by: fn(&Node) -> String, shape: Option<&'static Shape>) -> Vec<Node> {
    let mut places = HashMap::with_capacity(items.len());
    let mut out: Vec<Node> = Vec::with_capacity(items.len());
    for item in items {
        match places.get(&by(&item)) {
            Some(place) => {
                let place: &mut Node = &mut out[*place];
                *place = match shape {
                    Some(shape) => merge(std::mem::take(place), item, shape),
                    None => item,
                };
            }
            None => {
                places.insert(by(&item), out.len());
                out.push(item);
            }
        }
    }
    out
}

/// The shape and the rule of a key below `shape`.
fn child(shape: &'static Shape, key: &str) -> (&'static Shape, &'static Merge) {
    match shape {
        Shape::Object(fields) => match find(fields, key) {
            Some(Field { shape, merge, .. }) => (shape, merge),
            None => (&Shape::Any, &Merge::Deep),
        },
        Shape::Dict(shape) | Shape::Named(shape) => (shape, &Merge::Deep),
        Shape::NullOr(shape) | Shape::Short(_, shape) | Shape::Then(shape, _) => child(shape, key),
        _ => (&Shape::Any, &Merge::Deep),
    }
}

fn item_shape(shape: &'static Shape) -> Option<&'static Shape> {
    match shape {
        Shape::List(item) | Shape::Spread(_, item) => Some(item),
        Shape::NullOr(shape) | Shape::Short(_, shape) | Shape::Then(shape, _) => item_shape(shape),
        _ => None,
    }
}

fn settle_in_place(node: &mut Node, shape: &'static Shape, rule: &Merge) {
    node.mark = Mark::Merge;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| entry.node.mark != Mark::Reset);
            for (key, entry) in map.iter_mut() {
                let (shape, rule) = child(shape, key);
                settle_in_place(&mut entry.node, shape, rule);
            }
        }
        Value::List(items) => {
            items.retain(|item| item.mark != Mark::Reset);
            for item in items.iter_mut() {
                settle_in_place(item, item_shape(shape).unwrap_or(&Shape::Any), &Merge::Deep);
            }
            match rule {
                Merge::Unique(by) => *items = unique(std::mem::take(items), *by, None),
                Merge::Keyed(by) => *items = unique(std::mem::take(items), *by, item_shape(shape)),
                _ => {}
            }
        }
        _ => {}
    }
}
