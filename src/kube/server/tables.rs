//! Tables in the version and with the objects the client asked for.

use serde_json::{Value, json};

use crate::kind::ObjectKind;
use crate::object::Object;
use crate::server::state::Call;
use crate::table::{Include, table};

/// The table of one object, as in an answer to `get` or an event of a watch.
pub(super) fn of_one(
    call: &Call,
    kind: &'static ObjectKind,
    version: &str,
    object: Object,
) -> Value {
    let about = json!({ "resourceVersion": object.resource_version() });
    of_many(call, kind, version, &[object], about)
}

/// The table of a list.
pub(super) fn of_many(
    call: &Call,
    kind: &'static ObjectKind,
    version: &str,
    objects: &[Object],
    about: Value,
) -> Value {
    let include = match call.query.text("includeObject") {
        "Object" => Include::Object,
        "None" => Include::None,
        _ => Include::Metadata,
    };
    let mut table = table(kind, objects, about, include, true, call.now);
    table["apiVersion"] = format!("meta.k8s.io/{version}").into();
    table
}
