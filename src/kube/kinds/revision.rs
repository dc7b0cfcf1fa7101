//! Controller revisions: what a daemon set looked like, for rollbacks.

use k8s_openapi::api::apps::v1 as api;
use serde_json::Value;

use crate::field::{Causes, Path};
use crate::kind::ObjectKind;
use crate::kinds::cells::{AGE, NAME, none, number, text};
use crate::kinds::checks::{immutable, not_negative};
use crate::object::Object;

/// `controllerrevisions.apps`.
pub static CONTROLLER_REVISION: ObjectKind = ObjectKind {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    place: "apps/controllerrevisions",
    columns: &[
        NAME,
        text("Controller", |object, _| {
            let owner = object.controller().map(|owner| {
                let group = owner
                    .api_version
                    .split_once('/')
                    .map(|(group, _)| format!(".{group}"));
                format!(
                    "{}{}/{}",
                    owner.kind.to_lowercase(),
                    group.unwrap_or_default(),
                    owner.name
                )
            });
            none(owner.unwrap_or_default()).into()
        }),
        number("Revision", |object, _| {
            object.number(&["revision"]).unwrap_or_default().into()
        }),
        AGE,
    ],
    schema: |generator| generator.subschema_for::<api::ControllerRevision>(),
    validate,
    validate_update: |new, old, causes| immutable(new, old, &["data"], causes),
    ..ObjectKind::BASE
};

fn validate(object: &Object, causes: &mut Causes) {
    if object.at(&["data"]).is_none() {
        causes.required(&Path::new("data"), "data is mandatory");
    }
    let revision = object.at(&["revision"]).unwrap_or(&Value::Null);
    not_negative(revision, &Path::new("revision"), causes);
}
