//! JSON merge patch, RFC 7396.

use serde_json::Value;

use crate::object::{MAX_DEPTH, depth};
use crate::status::{Result, Status};

/// The value after a patch: `null` takes away, objects are merged, all else replaces.
pub(crate) fn apply(mut value: Value, patch: &Value) -> Result<Value> {
    if !patch.is_object() {
        return Err(Status::bad_request(
            "a merge patch of an object is a JSON object",
        ));
    }
    if depth(patch, MAX_DEPTH) > MAX_DEPTH {
        return Err(Status::bad_request(format!(
            "the patch is more than {MAX_DEPTH} deep"
        )));
    }
    json_patch::merge(&mut value, patch);
    Ok(value)
}
