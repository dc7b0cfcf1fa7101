//! Reading and filling parts of objects that are only JSON values.
//!
//! A missing field reads as empty, so rules need no cases for what a schema has already refused.

use serde_json::{Map, Value};

/// The text of a field; empty when there is none.
pub(crate) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// The items of a field; none when there is no list.
pub(crate) fn items<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    match &value[name] {
        Value::Array(items) => items,
        _ => &[],
    }
}

/// The items of a field, to change.
pub(crate) fn items_mut<'v>(value: &'v mut Value, name: &str) -> &'v mut [Value] {
    match value.get_mut(name) {
        Some(Value::Array(items)) => items,
        _ => &mut [],
    }
}

/// The fields of a field; none when it is no object.
pub(crate) fn fields<'v>(
    value: &'v Value,
    name: &str,
) -> impl Iterator<Item = (&'v String, &'v Value)> {
    let map: Option<&Map<String, Value>> = value.get(name).and_then(Value::as_object);
    map.into_iter().flatten()
}

/// Whether a field is there and not `null`.
pub(crate) fn has(value: &Value, name: &str) -> bool {
    value.get(name).is_some_and(|field| !field.is_null())
}

/// Whether a field is there and holds something.
pub(crate) fn holds(value: &Value, name: &str) -> bool {
    match &value[name] {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// Puts a value where nothing, or `null`, is. Nothing happens when `value` is no object.
pub(crate) fn fill(value: &mut Value, name: &str, default: impl Into<Value>) {
    if let Value::Object(map) = value
        && map.get(name).is_none_or(Value::is_null)
    {
        map.insert(name.to_owned(), default.into());
    }
}

/// As [`fill`], and where an empty text is.
pub(crate) fn fill_text(value: &mut Value, name: &str, default: &str) {
    if value[name].as_str().is_none_or(str::is_empty)
        && let Value::Object(map) = value
    {
        map.insert(name.to_owned(), default.into());
    }
}
