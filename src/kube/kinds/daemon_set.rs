//! Daemon sets: one pod on every node.

use k8s_openapi::api::apps::v1 as api;
use serde_json::{Value, json};

use crate::field::Path;
use crate::kind::{ObjectKind, Subresource};
use crate::kinds::cells::{AGE, CONTAINERS, IMAGES, NAME, SELECTOR, none, number, text};
use crate::kinds::checks::{immutable, one_of, selector};
use crate::kinds::deployment::rolling_update;
use crate::kinds::workload;
use crate::object::Object;

macro_rules! seen {
    ($name:literal, $field:literal) => {
        number($name, |object, _| {
            object
                .number(&["status", $field])
                .unwrap_or_default()
                .into()
        })
    };
}

/// `daemonsets.apps`.
pub static DAEMON_SET: ObjectKind = ObjectKind {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[Subresource::Status],
    has_generation: true,
    place: "apps/daemonsets",
    columns: &[
        NAME,
        seen!("Desired", "desiredNumberScheduled"),
        seen!("Current", "currentNumberScheduled"),
        seen!("Ready", "numberReady"),
        seen!("Up-to-date", "updatedNumberScheduled"),
        seen!("Available", "numberAvailable"),
        text("Node Selector", |object, _| {
            let labels = object.texts(&["spec", "template", "spec", "nodeSelector"]);
            let texts: Vec<_> = labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            none(texts.join(",")).into()
        }),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    schema: |generator| generator.subschema_for::<api::DaemonSet>(),
    default,
    prepare_create: |object| {
        object.set(
            &["status"],
            json!({
                "currentNumberScheduled": 0, "desiredNumberScheduled": 0,
                "numberMisscheduled": 0, "numberReady": 0,
            }),
        );
    },
    validate: |object, causes| {
        workload::counts(object, &["minReadySeconds", "revisionHistoryLimit"], causes);
        selector(object, causes);
        workload::validate(object, &["Always"], causes);
        let path = Path::new("spec").child("updateStrategy");
        let strategy = object
            .at(&["spec", "updateStrategy"])
            .unwrap_or(&Value::Null);
        one_of(
            &strategy["type"],
            &["RollingUpdate", "OnDelete"],
            &path.child("type"),
            causes,
        );
        if strategy["type"] == "RollingUpdate" {
            rolling_update(
                &strategy["rollingUpdate"],
                &path.child("rollingUpdate"),
                causes,
            );
        }
    },
    validate_update: |new, old, causes| immutable(new, old, &["spec", "selector"], causes),
    ..ObjectKind::BASE
};

fn default(object: &mut Object) {
    if object.at(&["spec"]).is_none() {
        return;
    }
    workload::default(object);
    object.set_default(&["spec", "revisionHistoryLimit"], 10);
    object.set_default(&["spec", "updateStrategy", "type"], "RollingUpdate");
    if object.text(&["spec", "updateStrategy", "type"]) == "RollingUpdate" {
        object.set_default(
            &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"],
            1,
        );
        object.set_default(&["spec", "updateStrategy", "rollingUpdate", "maxSurge"], 0);
    }
}
