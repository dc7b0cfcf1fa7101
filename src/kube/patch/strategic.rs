//! Strategic merge patch: a merge patch that knows the keys of lists, with directives.
//!
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>;
//! what happens in odd cases follows `k8s.io/apimachinery/pkg/util/strategicpatch`.

use serde_json::{Map, Value};

use crate::kind::ObjectKind;
use crate::object::{MAX_DEPTH, depth};
use crate::schema::{Field, Shape, Shapes, shapes};
use crate::status::{Result, Status};

const DIRECTIVE: &str = "$patch";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";
const RETAIN: &str = "$retainKeys";

/// The value after a patch. 400 when a directive makes no sense.
pub(crate) fn apply(kind: &ObjectKind, value: Value, patch: &Value) -> Result<Value> {
    if depth(patch, MAX_DEPTH) > MAX_DEPTH {
        return Err(Status::bad_request(format!(
            "the patch is more than {MAX_DEPTH} deep"
        )));
    }
    let (Value::Object(value), Value::Object(patch)) = (value, patch) else {
        return Err(Status::bad_request(
            "a strategic merge patch is a JSON object",
        ));
    };
    let shapes = shapes();
    let merge = Merge { shapes };
    let merged = merge.object(Some(&shapes.kind(kind)), value, patch)?;
    Ok(merged.unwrap_or_default().into())
}

struct Merge {
    shapes: &'static Shapes,
}

impl Merge {
    /// An object after a patch; nothing when the patch deletes it.
    fn object(
        &self,
        shape: Option<&Shape>,
        mut value: Map<String, Value>,
        patch: &Map<String, Value>,
    ) -> Result<Option<Map<String, Value>>> {
        match directive(patch)? {
            Some("replace") => return Ok(Some(without_directives(patch))),
            Some("delete") => return Ok(None),
            _ => {}
        }
        if let Some(kept) = patch.get(RETAIN) {
            retain(&mut value, kept, patch)?;
        }
        for (name, change) in patch {
            if name.starts_with(DELETE_FROM) || name.starts_with(ORDER) {
                // Made with the list itself, or below when the patch does not name the list.
                let list = name
                    .split_once('/')
                    .map(|(_, list)| list)
                    .unwrap_or_default();
                let with_another = patch.contains_key(list)
                    || name.starts_with(ORDER)
                        && patch.contains_key(&format!("{DELETE_FROM}{list}"));
                if !with_another {
                    self.list_field(shape, &mut value, list, &[], patch)?;
                }
                continue;
            }
            if name.starts_with('$') {
                continue;
            }
            self.field(shape, &mut value, name, change, patch)?;
        }
        Ok(Some(value))
    }

    fn field(
        &self,
        shape: Option<&Shape>,
        value: &mut Map<String, Value>,
        name: &str,
        change: &Value,
        patch: &Map<String, Value>,
    ) -> Result<()> {
        let below = shape.and_then(|shape| self.shapes.below(shape, name));
        match change {
            Value::Null => {
                value.remove(name);
            }
            Value::Object(change) => {
                let old = match value.remove(name) {
                    Some(Value::Object(old)) => old,
                    _ => Map::new(),
                };
                if let Some(merged) = self.object(below, old, change)? {
                    value.insert(name.to_owned(), merged.into());
                }
            }
            Value::Array(items) => self.list_field(shape, value, name, items, patch)?,
            change => {
                value.insert(name.to_owned(), change.clone());
            }
        }
        Ok(())
    }

    fn list_field(
        &self,
        shape: Option<&Shape>,
        value: &mut Map<String, Value>,
        name: &str,
        items: &[Value],
        patch: &Map<String, Value>,
    ) -> Result<()> {
        let field = shape.and_then(|shape| self.shapes.field(shape, name));
        let order = list_directive(patch, ORDER, name)?;
        let gone = list_directive(patch, DELETE_FROM, name)?;
        let old = match value.remove(name) {
            Some(Value::Array(old)) => old,
            _ => Vec::new(),
        };
        let merged = match field.and_then(|field| Some((field, field.patch_key.as_deref()?))) {
            None if patch.contains_key(name) => items.to_vec(),
            None => old,
            Some((_, "")) => primitives(&old, items, gone, order),
            Some((field, key)) => self.items(field, key, &old, items, order)?,
        };
        value.insert(name.to_owned(), merged.into());
        Ok(())
    }

    /// A list whose items have a key.
    fn items(
        &self,
        field: &Field,
        key: &str,
        old: &[Value],
        patch: &[Value],
        order: &[Value],
    ) -> Result<Vec<Value>> {
        let shape = match &field.shape {
            Shape::List(item, _) => Some(&**item),
            _ => None,
        };
        let replaces = patch.iter().any(|item| is_directive(item, "replace"));
        if replaces {
            let bare = |item: &&Value| item.get(DIRECTIVE).is_none();
            return Ok(patch.iter().filter(bare).cloned().collect());
        }
        let mut merged = old.to_vec();
        for item in patch {
            let Value::Object(item) = item else {
                return Err(Status::bad_request(format!(
                    "expected an object with {key:?} in a list of the patch"
                )));
            };
            let Some(wanted) = item.get(key) else {
                return Err(Status::bad_request(format!(
                    "map: does not contain declared merge key: {key}"
                )));
            };
            if directive(item)? == Some("delete") {
                merged.retain(|one| one.get(key) != Some(wanted));
                continue;
            }
            let place = merged.iter().position(|one| one.get(key) == Some(wanted));
            match place {
                Some(place) => {
                    let Value::Object(one) = merged[place].take() else {
                        continue;
                    };
                    let one = self.object(shape, one, item)?;
                    merged[place] = one.unwrap_or_default().into();
                }
                None => {
                    let one = self.object(shape, Map::new(), item)?;
                    merged.push(one.unwrap_or_default().into());
                }
            }
        }
        let keys: Vec<&Value> = order.iter().filter_map(|item| item.get(key)).collect();
        let keyed = |item: &Value| item.get(key).cloned().unwrap_or_default();
        Ok(ordered(merged, old, &keys, keyed))
    }
}

/// A list of values, each there once.
fn primitives(old: &[Value], patch: &[Value], gone: &[Value], order: &[Value]) -> Vec<Value> {
    let mut merged = old.to_vec();
    merged.retain(|item| !gone.contains(item));
    for item in patch {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    let order: Vec<&Value> = order.iter().collect();
    ordered(merged, old, &order, Value::clone)
}

/// Items in the wanted order; those the order does not name keep their place behind their neighbours.
fn ordered(
    merged: Vec<Value>,
    old: &[Value],
    order: &[&Value],
    key: impl Fn(&Value) -> Value,
) -> Vec<Value> {
    if order.is_empty() {
        return merged;
    }
    let rank = |item: &Value| {
        let key = key(item);
        order.iter().position(|wanted| **wanted == key)
    };
    let (mut named, others): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|item| rank(item).is_some());
    named.sort_by_key(&rank);
    let place = |item: &Value| old.iter().position(|one| key(one) == key(item));
    let mut result = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in named {
        // As the original: an item only the server has goes before one that was behind it.
        while let (Some(other), Some(limit)) = (others.peek(), place(&item)) {
            match place(other) {
                Some(at) if at < limit => result.extend(others.next()),
                _ => break,
            }
        }
        result.push(item);
    }
    result.extend(others);
    result
}

fn directive(patch: &Map<String, Value>) -> Result<Option<&str>> {
    match patch.get(DIRECTIVE) {
        None => Ok(None),
        Some(Value::String(word)) if ["replace", "delete", "merge"].contains(&word.as_str()) => {
            Ok(Some(word))
        }
        Some(other) => Err(Status::bad_request(format!(
            "unknown patch type found: {other}: `$patch` is replace, delete or merge"
        ))),
    }
}

fn is_directive(item: &Value, word: &str) -> bool {
    item[DIRECTIVE] == word
}

fn list_directive<'p>(
    patch: &'p Map<String, Value>,
    prefix: &str,
    list: &str,
) -> Result<&'p [Value]> {
    match patch.get(&format!("{prefix}{list}")) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(Status::bad_request(format!(
            "`{prefix}{list}` must be a list"
        ))),
    }
}

/// Keeps only the named keys; the patch may name no other.
fn retain(value: &mut Map<String, Value>, kept: &Value, patch: &Map<String, Value>) -> Result<()> {
    let Value::Array(kept) = kept else {
        return Err(Status::bad_request("`$retainKeys` must be a list of names"));
    };
    let stays = |name: &String| kept.iter().any(|one| one == name.as_str());
    let outside = patch
        .iter()
        .find(|(name, change)| !name.starts_with('$') && !change.is_null() && !stays(name));
    if let Some((name, _)) = outside {
        return Err(Status::bad_request(format!(
            "`$retainKeys` does not name {name:?}, which the patch sets"
        )));
    }
    value.retain(|name, _| stays(name));
    Ok(())
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "values are written where they are used"
    )]

    use super::*;
    use crate::kinds::{DEPLOYMENT, POD};
    use serde_json::json;

    fn check(kind: &ObjectKind, value: Value, patch: Value, wanted: Value) {
        let merged = apply(kind, value, &patch).unwrap();
        assert_eq!(merged, wanted, "{patch}");
    }

    fn pod(containers: Value) -> Value {
        json!({ "spec": { "containers": containers } })
    }

    #[test]
    fn merges_lists_by_their_keys() {
        let two = || pod(json!([{ "name": "a", "image": "1" }, { "name": "b", "image": "2" }]));
        check(
            &POD,
            two(),
            pod(json!([{ "name": "b", "image": "3" }, { "name": "c" }])),
            pod(
                json!([{ "name": "a", "image": "1" }, { "name": "b", "image": "3" }, { "name": "c" }]),
            ),
        );
        check(
            &POD,
            two(),
            pod(json!([{ "name": "a", "$patch": "delete" }])),
            pod(json!([{ "name": "b", "image": "2" }])),
        );
        check(
            &POD,
            two(),
            pod(json!([{ "$patch": "replace" }, { "name": "z" }])),
            pod(json!([{ "name": "z" }])),
        );
        check(
            &POD,
            two(),
            json!({ "spec": {
                "$setElementOrder/containers": [{ "name": "b" }, { "name": "a" }],
                "containers": [{ "name": "a", "image": null }],
            } }),
            pod(json!([{ "name": "b", "image": "2" }, { "name": "a" }])),
        );
        // Only an order, and an item that only the server has.
        check(
            &POD,
            pod(json!([{ "name": "x" }, { "name": "a" }, { "name": "b" }])),
            json!({ "spec": { "$setElementOrder/containers": [{ "name": "b" }, { "name": "a" }] } }),
            pod(json!([{ "name": "x" }, { "name": "b" }, { "name": "a" }])),
        );
    }

    #[test]
    fn replaces_lists_without_a_key() {
        let container = |command: Value| pod(json!([{ "name": "a", "command": command }]));
        check(
            &POD,
            container(json!(["x", "y"])),
            container(json!(["z"])),
            container(json!(["z"])),
        );
    }

    #[test]
    fn merges_primitive_lists() {
        let with = |finalizers: Value| json!({ "metadata": { "finalizers": finalizers } });
        check(
            &POD,
            with(json!(["a", "b"])),
            with(json!(["b", "c"])),
            with(json!(["a", "b", "c"])),
        );
        check(
            &POD,
            with(json!(["a", "b"])),
            json!({ "metadata": {
                "$deleteFromPrimitiveList/finalizers": ["a"],
                "$setElementOrder/finalizers": ["c", "b"],
                "finalizers": ["c"],
            } }),
            with(json!(["c", "b"])),
        );
        check(
            &POD,
            with(json!(["a", "b"])),
            json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"] } }),
            with(json!(["b"])),
        );
    }

    #[test]
    fn replaces_and_retains_objects() {
        check(
            &DEPLOYMENT,
            json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } }),
            json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } }),
            json!({ "spec": { "strategy": { "type": "Recreate" } } }),
        );
        check(
            &DEPLOYMENT,
            json!({ "metadata": { "labels": { "a": "1", "b": "2" } } }),
            json!({ "metadata": { "labels": { "$patch": "replace", "c": "3" } } }),
            json!({ "metadata": { "labels": { "c": "3" } } }),
        );
        check(
            &DEPLOYMENT,
            json!({ "metadata": { "labels": { "a": "1" }, "name": "n" } }),
            json!({ "metadata": { "labels": { "$patch": "delete" } } }),
            json!({ "metadata": { "name": "n" } }),
        );
    }

    #[test]
    fn refuses_nonsense() {
        for patch in [
            json!({ "spec": { "$patch": "explode" } }),
            pod(json!([{ "image": "x" }])),
            pod(json!(["a"])),
            json!({ "spec": { "$setElementOrder/containers": 1 } }),
            json!({ "spec": { "$retainKeys": ["a"], "b": 1 } }),
            json!([]),
        ] {
            assert_eq!(
                apply(&POD, pod(json!([])), &patch).unwrap_err().code(),
                400,
                "{patch}"
            );
        }
    }
}
