//! Replica sets: so many pods of one template.

use k8s_openapi::api::apps::v1 as api;
use serde_json::json;

use crate::kind::{ObjectKind, ScalePaths, Subresource};
use crate::kinds::cells::{AGE, CONTAINERS, IMAGES, NAME, SELECTOR, number};
use crate::kinds::checks::{immutable, selector};
use crate::kinds::workload;

/// `replicasets.apps`.
pub static REPLICA_SET: ObjectKind = ObjectKind {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[Subresource::Status, Subresource::Scale],
    has_generation: true,
    place: "apps/replicasets",
    fields: &[("status.replicas", |object| {
        object
            .number(&["status", "replicas"])
            .unwrap_or_default()
            .to_string()
    })],
    columns: &[
        NAME,
        number("Desired", |object, _| {
            object
                .number(&["spec", "replicas"])
                .unwrap_or_default()
                .into()
        }),
        number("Current", |object, _| {
            object
                .number(&["status", "replicas"])
                .unwrap_or_default()
                .into()
        }),
        number("Ready", |object, _| {
            object
                .number(&["status", "readyReplicas"])
                .unwrap_or_default()
                .into()
        }),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    scale: Some(ScalePaths {
        wanted: &["spec", "replicas"],
        seen: &["status", "replicas"],
        selector: &["spec", "selector"],
    }),
    schema: |generator| generator.subschema_for::<api::ReplicaSet>(),
    default: |object| {
        workload::default(object);
        if object.at(&["spec"]).is_some() {
            object.set_default(&["spec", "replicas"], 1);
        }
    },
    prepare_create: |object| object.set(&["status"], json!({ "replicas": 0 })),
    validate: |object, causes| {
        workload::counts(object, &["replicas", "minReadySeconds"], causes);
        selector(object, causes);
        workload::validate(object, &["Always"], causes);
    },
    validate_update: |new, old, causes| immutable(new, old, &["spec", "selector"], causes),
    ..ObjectKind::BASE
};
