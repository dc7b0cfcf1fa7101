//! Namespaces: deleted in two steps, for all that is in them goes first.

use k8s_openapi::api::core::v1 as api;
use serde_json::json;

use crate::kind::{ObjectKind, Subresource};
use crate::kinds::cells::{AGE, NAME, text};
use crate::names::NameRule;

/// The label that says a namespace's name, for selectors.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// `namespaces`.
pub static NAMESPACE: ObjectKind = ObjectKind {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    namespaced: false,
    subresources: &[Subresource::Status, Subresource::Finalize],
    verbs: &[
        "create", "delete", "get", "list", "patch", "update", "watch",
    ],
    names: NameRule::Label,
    place: "core/namespaces",
    fields: &[("status.phase", |object| {
        object.text(&["status", "phase"]).to_owned()
    })],
    columns: &[
        NAME,
        text("Status", |object, _| {
            object.text(&["status", "phase"]).into()
        }),
        AGE,
    ],
    schema: |generator| generator.subschema_for::<api::Namespace>(),
    default: |object| {
        let name = object.name().to_owned();
        if !name.is_empty() {
            object.set(&["metadata", "labels", NAME_LABEL], name);
        }
        object.set_default(&["status", "phase"], "Active");
    },
    prepare_create: |object| {
        object.set(&["status"], json!({ "phase": "Active" }));
        let mut finalizers = object.list(&["spec", "finalizers"]).to_vec();
        if !finalizers.contains(&"kubernetes".into()) {
            finalizers.push("kubernetes".into());
        }
        object.set(&["spec", "finalizers"], finalizers);
    },
    mark: |object| object.set(&["status", "phase"], "Terminating"),
    may_go: |object| object.list(&["spec", "finalizers"]).is_empty(),
    ..ObjectKind::BASE
};
