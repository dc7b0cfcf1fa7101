//! Walks of two values of one shape: which fields there are, what differs, both as one, less of it.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff`: a leaf, an atomic list and an atomic map are
//! one field each; the items of other lists are found by their keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::patch::fields::Set;
use crate::schema::{Definition, Merging, Shape, Shapes, shapes};

/// What differs between two values.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub(crate) added: Set,
    pub(crate) removed: Set,
    pub(crate) modified: Set,
}

impl Difference {
    /// Whether nothing does.
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }
}

/// How a value of a shape is looked into.
enum Form<'s> {
    /// Not at all.
    Leaf,
    /// By names; whether they are fields of a definition or keys of a map.
    Object(&'s Shape),
    /// By items.
    List(&'s Shape, &'s Merging),
}

fn form<'s>(shapes: &'s Shapes, shape: Option<&'s Shape>, value: &Value) -> Form<'s> {
    let Some(shape) = shape else {
        return Form::Leaf;
    };
    match (shapes.resolve(shape), value) {
        (shape @ Shape::Named(name), Value::Object(_)) => match shapes.definition(*name) {
            Definition::Object { atomic: false, .. } => Form::Object(shape),
            _ => Form::Leaf,
        },
        (shape @ Shape::Map(_, merging), Value::Object(_)) if *merging != Merging::Atomic => {
            Form::Object(shape)
        }
        (Shape::List(item, merging), Value::Array(_)) if *merging != Merging::Atomic => {
            Form::List(item, merging)
        }
        _ => Form::Leaf,
    }
}

/// The step to a name.
fn field_step(name: &str) -> String {
    format!("f:{name}")
}

/// The step to an item of a list.
fn item_step(merging: &Merging, item: &Value) -> String {
    match merging {
        Merging::Keys(keys) => {
            let mut found = Map::new();
            for key in keys {
                let value = match item.get(key) {
                    Some(value) if !value.is_null() => value.clone(),
                    _ => match crate::schema::key_default(key) {
                        Some(default) => default.into(),
                        None => continue,
                    },
                };
                found.insert(key.clone(), value);
            }
            format!("k:{}", Value::from(found))
        }
        Merging::Set | Merging::Atomic => format!("v:{item}"),
    }
}

fn is_field(shapes: &Shapes, shape: &Shape, name: &str) -> bool {
    shapes.field(shape, name).is_some()
}

fn items<'v>(merging: &Merging, value: &'v Value) -> Vec<(String, &'v Value)> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .map(|item| (item_step(merging, item), item))
        .collect()
}

/// All fields of a value.
pub(crate) fn fields(shape: &Shape, value: &Value) -> Set {
    let mut set = Set::default();
    gather(shapes(), Some(shape), value, &mut set);
    set
}

fn gather(shapes: &Shapes, shape: Option<&Shape>, value: &Value, set: &mut Set) {
    match form(shapes, shape, value) {
        Form::Leaf => set.member = true,
        Form::Object(shape) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                let below = set.below.entry(field_step(name)).or_default();
                gather(shapes, shapes.below(shape, name), value, below);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !is_field(shapes, shape, name) {
                    below.member = true;
                }
                if below.is_empty() {
                    set.below.remove(&field_step(name));
                }
            }
        }
        Form::List(item, merging) => {
            for (step, value) in items(merging, value) {
                let below = set.below.entry(step).or_default();
                gather(shapes, Some(item), value, below);
                below.member = true;
            }
        }
    }
}

/// What a second value has otherwise than a first.
pub(crate) fn compare(shape: &Shape, first: &Value, second: &Value) -> Difference {
    let mut difference = Difference::default();
    let mut path = Vec::new();
    walk(
        shapes(),
        Some(shape),
        (Some(first), Some(second)),
        &mut path,
        &mut difference,
    );
    difference
}

fn walk(
    shapes: &Shapes,
    shape: Option<&Shape>,
    (first, second): (Option<&Value>, Option<&Value>),
    path: &mut Vec<String>,
    difference: &mut Difference,
) {
    let first = first.filter(|value| !value.is_null());
    let second = second.filter(|value| !value.is_null());
    let Some(any) = second.or(first) else {
        return;
    };
    let same_kind = match (first, second) {
        (Some(first), Some(second)) => {
            first.is_object() == second.is_object() && first.is_array() == second.is_array()
        }
        _ => true,
    };
    let null = Value::Null;
    let (one, two) = (first.unwrap_or(&null), second.unwrap_or(&null));
    match form(shapes, shape, any) {
        Form::Object(shape) if same_kind => {
            let mut names: Vec<&String> = one.as_object().into_iter().flat_map(Map::keys).collect();
            names.extend(two.as_object().into_iter().flat_map(Map::keys));
            names.sort();
            names.dedup();
            for name in names {
                path.push(field_step(name));
                let pair = (one.get(name), two.get(name));
                walk(shapes, shapes.below(shape, name), pair, path, difference);
                path.pop();
            }
        }
        Form::List(item, merging) if same_kind => {
            let ones: BTreeMap<_, _> = items(merging, one).into_iter().collect();
            let twos: BTreeMap<_, _> = items(merging, two).into_iter().collect();
            let mut steps: Vec<&String> = ones.keys().chain(twos.keys()).collect();
            steps.sort();
            steps.dedup();
            for step in steps {
                path.push(step.clone());
                let pair = (ones.get(step).copied(), twos.get(step).copied());
                walk(shapes, Some(item), pair, path, difference);
                path.pop();
            }
        }
        _ => {
            if first.is_some() && second.is_some() && !equal(one, two) {
                difference.modified.insert(path);
            }
        }
    }
    if first.is_none() {
        difference.added.insert(path);
    } else if second.is_none() {
        difference.removed.insert(path);
    }
}

/// Equal values, `1` and `1.0` too.
fn equal(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Number(one), Value::Number(two)) => {
            one == two || one.as_f64().is_some() && one.as_f64() == two.as_f64()
        }
        _ => one == two,
    }
}

/// Both values as one; where they differ, the second's.
pub(crate) fn merge(shape: &Shape, first: &Value, second: &Value) -> Value {
    merged(shapes(), Some(shape), first, second)
}

fn merged(shapes: &Shapes, shape: Option<&Shape>, first: &Value, second: &Value) -> Value {
    match (form(shapes, shape, second), first) {
        (Form::Object(shape), Value::Object(old)) => {
            let mut result = old.clone();
            for (name, value) in second.as_object().into_iter().flatten() {
                let value = match old.get(name) {
                    Some(old) => merged(shapes, shapes.below(shape, name), old, value),
                    None => value.clone(),
                };
                result.insert(name.clone(), value);
            }
            result.into()
        }
        (Form::List(item, merging), Value::Array(_)) => {
            let (ones, twos) = (items(merging, first), items(merging, second));
            let one_of = |step: &String| ones.iter().find(|(other, _)| other == step);
            let mut result = Vec::with_capacity(ones.len() + twos.len());
            let mut left = ones.iter().peekable();
            for (step, value) in &twos {
                // What only the first has stays before what it stood before.
                while let Some((other, old)) = left.peek() {
                    if twos.iter().any(|(step, _)| step == other) {
                        break;
                    }
                    result.push((*old).clone());
                    left.next();
                }
                match one_of(step) {
                    Some((_, old)) => {
                        result.push(merged(shapes, Some(item), old, value));
                        left.next();
                    }
                    None => result.push((*value).clone()),
                }
            }
            for (other, old) in left {
                if !twos.iter().any(|(step, _)| step == other) {
                    result.push((*old).clone());
                }
            }
            result.into()
        }
        _ => second.clone(),
    }
}

/// A value without some fields; nothing when nothing is left.
pub(crate) fn without(shape: &Shape, value: &Value, gone: &Set) -> Value {
    less(shapes(), Some(shape), value, gone).unwrap_or_else(|| json!({}))
}

fn less(shapes: &Shapes, shape: Option<&Shape>, value: &Value, gone: &Set) -> Option<Value> {
    match form(shapes, shape, value) {
        Form::Leaf => Some(value.clone()),
        Form::Object(shape) => {
            let mut result = Map::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                let left = match gone.below.get(&field_step(name)) {
                    Some(set) if set.member => None,
                    Some(set) => less(shapes, shapes.below(shape, name), value, set),
                    None => Some(value.clone()),
                };
                result.extend(left.map(|left| (name.clone(), left)));
            }
            (!result.is_empty()).then(|| result.into())
        }
        Form::List(item, merging) => {
            let mut result = Vec::new();
            for (step, value) in items(merging, value) {
                result.extend(match gone.below.get(&step) {
                    Some(set) if set.member => None,
                    Some(set) => less(shapes, Some(item), value, set),
                    None => Some(value.clone()),
                });
            }
            (!result.is_empty()).then(|| result.into())
        }
    }
}

/// A set in which every field of a definition that is on the way to a member is a member.
pub(crate) fn with_parents(shape: &Shape, set: &Set) -> Set {
    parents(shapes(), Some(shape), set)
}

fn parents(shapes: &Shapes, shape: Option<&Shape>, set: &Set) -> Set {
    let below = set.below.iter().map(|(step, set)| {
        let name = step.strip_prefix("f:");
        let named = shape
            .zip(name)
            .is_some_and(|(shape, name)| is_field(shapes, shape, name));
        let next = match (shape.map(|shape| shapes.resolve(shape)), name) {
            (Some(shape), Some(name)) => shapes.below(shape, name),
            (Some(Shape::List(item, _)), None) => Some(&**item),
            _ => None,
        };
        let mut whole = parents(shapes, next, set);
        whole.member |= named && !set.below.is_empty();
        (step.clone(), whole)
    });
    Set {
        member: set.member,
        below: below.collect(),
    }
}
