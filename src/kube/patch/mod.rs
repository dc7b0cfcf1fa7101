//! Changing an object by less than the whole of it.
//!
//! Three patches are functions of the object and the patch (`json`, `merge`, `strategic`); the fourth,
//! server-side apply, also keeps who owns which field (`managed` on `fields` and `typed`).

mod fields;
mod json;
pub(crate) mod managed;
mod merge;
mod strategic;
mod typed;

use crate::kind::ObjectKind;
use crate::object::Object;
use crate::objects::Patch;
use crate::status::{Reason, Result, Status};

/// An object after a patch that is not an apply. 400 or 422 when the patch cannot be made.
pub(crate) fn apply(kind: &ObjectKind, object: &Object, patch: &Patch) -> Result<Object> {
    let value = object.clone().into_value();
    let patched = match patch {
        Patch::Json(operations) => json::apply(kind, object.name(), value, operations)?,
        Patch::Merge(patch) => merge::apply(value, patch)?,
        Patch::Strategic(patch) => strategic::apply(kind, value, patch)?,
        Patch::Apply(_) => {
            let why = "an apply is not a patch of what is there";
            return Err(Status::new(Reason::InternalError, why));
        }
    };
    Object::from_value(patched)
        .map_err(|error| Status::bad_request(format!("the patched object is refused: {error}")))
}
