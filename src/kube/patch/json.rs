//! JSON patch, RFC 6902, with bounds: a patch of some bytes may not make an object of gigabytes.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::kind::ObjectKind;
use crate::object::{MAX_BYTES, MAX_DEPTH, depth};
use crate::status::{Reason, Result, Status};

/// Operations of a patch, at most: what the real server takes.
const MAX_OPERATIONS: usize = 10_000;

/// The value after all operations. 413 for too many, 400 for what is no patch, 422 when an operation
/// cannot be made or a `test` does not hold.
pub(crate) fn apply(
    kind: &ObjectKind,
    name: &str,
    mut value: Value,
    operations: &Value,
) -> Result<Value> {
    let count = operations.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        return Err(Status::new(
            Reason::RequestEntityTooLarge,
            format!(
                "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
            ),
        ));
    }
    let patch: Patch = serde_json::from_value(operations.clone())
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let mut copied = 0;
    let too_deep = || {
        let message = format!("a JSON patch goes more than {MAX_DEPTH} deep");
        Status::new(Reason::RequestEntityTooLarge, message)
    };
    for (index, operation) in patch.0.iter().enumerate() {
        if let PatchOperation::Copy(copy) = operation {
            copied += copy.from.resolve(&value).map_or(0, size);
            if copied > MAX_BYTES {
                return Err(Status::new(
                    Reason::RequestEntityTooLarge,
                    format!("the copies of a JSON patch come to more than {MAX_BYTES} bytes"),
                ));
            }
        }
        if !is_shallow(operation, &value) {
            return Err(too_deep());
        }
        let one = std::slice::from_ref(operation);
        json_patch::patch(&mut value, one).map_err(|error| {
            let resource = kind.group_resource();
            let why = format!("operation {index} of the patch: {}", error.kind);
            Status::new(
                Reason::Invalid,
                format!("the server rejected our request due to an error in our request: {resource} {name:?}: {why}"),
            )
            .about(kind, name)
        })?;
    }
    Ok(value)
}

/// Whether what an operation puts somewhere lies no deeper than an object may be: many small operations
/// could otherwise build what no code that walks objects could walk.
fn is_shallow(operation: &PatchOperation, value: &Value) -> bool {
    let put = match operation {
        PatchOperation::Add(add) => Some(&add.value),
        PatchOperation::Replace(replace) => Some(&replace.value),
        PatchOperation::Copy(copy) => copy.from.resolve(value).ok(),
        PatchOperation::Move(moved) => moved.from.resolve(value).ok(),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
    };
    put.is_none_or(|put| operation.path().count() + depth(put, MAX_DEPTH) <= MAX_DEPTH)
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 2 + items.iter().map(|item| 1 + size(item)).sum::<usize>(),
        Value::Object(map) => {
            2 + map
                .iter()
                .map(|(key, item)| 4 + key.len() + size(item))
                .sum::<usize>()
        }
        Value::String(text) => 2 + text.len(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "values are written where they are used"
    )]

    use super::*;
    use crate::kinds::CONFIG_MAP;
    use serde_json::json;

    fn patched(value: Value, operations: Value) -> Result<Value> {
        apply(&CONFIG_MAP, "a", value, &operations)
    }

    #[test]
    fn makes_operations_in_order() {
        let value = json!({ "a": [1, 2], "b/c": { "x": 1 } });
        let operations = json!([
            { "op": "test", "path": "/a/0", "value": 1 },
            { "op": "add", "path": "/a/-", "value": 3 },
            { "op": "remove", "path": "/a/0" },
            { "op": "replace", "path": "/b~1c/x", "value": null },
            { "op": "copy", "from": "/a", "path": "/d" },
            { "op": "move", "from": "/b~1c", "path": "/e" },
        ]);
        let wanted = json!({ "a": [2, 3], "d": [2, 3], "e": { "x": null } });
        assert_eq!(patched(value, operations).unwrap(), wanted);
    }

    #[test]
    fn refuses_what_cannot_be() {
        for (operations, code) in [
            (json!([{ "op": "test", "path": "/a", "value": 2 }]), 422),
            (json!([{ "op": "remove", "path": "/b" }]), 422),
            (json!([{ "op": "grow", "path": "/a" }]), 400),
            (json!({ "op": "remove", "path": "/a" }), 400),
            (
                Value::from(vec![
                    json!({ "op": "test", "path": "/a", "value": 1 });
                    10_001
                ]),
                413,
            ),
        ] {
            let status = patched(json!({ "a": 1 }), operations).unwrap_err();
            assert_eq!(status.code(), code, "{status}");
        }
    }

    #[test]
    fn refuses_to_dig_without_end() {
        let mut path = String::from("/a");
        let mut operations = vec![json!({ "op": "add", "path": path, "value": {} })];
        for _ in 0..2000 {
            path += "/a";
            operations.push(json!({ "op": "add", "path": path, "value": {} }));
        }
        let status = patched(json!({}), operations.into()).unwrap_err();
        assert_eq!(status.code(), 413);
        let wrap = [
            json!({ "op": "move", "from": "/a", "path": "/b" }),
            json!({ "op": "add", "path": "/a", "value": {} }),
            json!({ "op": "move", "from": "/b", "path": "/a/a" }),
        ];
        let operations: Vec<Value> = (0..3000).map(|index| wrap[index % 3].clone()).collect();
        let status = patched(json!({ "a": {} }), operations.into()).unwrap_err();
        assert_eq!(status.code(), 413);
    }

    #[test]
    fn refuses_to_grow_without_end() {
        let mut operations = Vec::new();
        for _ in 0..60 {
            operations.push(json!({ "op": "copy", "from": "/a", "path": "/a/-" }));
            operations.push(json!({ "op": "copy", "from": "/a", "path": "/a/-" }));
        }
        let status = patched(json!({ "a": ["x".repeat(100)] }), operations.into()).unwrap_err();
        assert_eq!(status.code(), 413);
    }
}
