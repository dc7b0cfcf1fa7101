//! Deployments: replicas that are exchanged a few at a time.

use k8s_openapi::api::apps::v1 as api;
use serde_json::{Value, json};

use crate::field::{Causes, Path};
use crate::kind::{ObjectKind, ScalePaths, Subresource};
use crate::kinds::cells::{AGE, CONTAINERS, IMAGES, NAME, SELECTOR, number, text};
use crate::kinds::checks::{immutable, one_of, selector, share};
use crate::kinds::workload;
use crate::object::Object;

/// `deployments.apps`.
pub static DEPLOYMENT: ObjectKind = ObjectKind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[Subresource::Status, Subresource::Scale],
    has_generation: true,
    place: "apps/deployments",
    columns: &[
        NAME,
        text("Ready", |object, _| {
            let ready = object
                .number(&["status", "readyReplicas"])
                .unwrap_or_default();
            let wanted = object.number(&["spec", "replicas"]).unwrap_or_default();
            format!("{ready}/{wanted}").into()
        }),
        number("Up-to-date", |object, _| {
            object
                .number(&["status", "updatedReplicas"])
                .unwrap_or_default()
                .into()
        }),
        number("Available", |object, _| {
            object
                .number(&["status", "availableReplicas"])
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
    schema: |generator| generator.subschema_for::<api::Deployment>(),
    default,
    prepare_create: |object| object.set(&["status"], json!({})),
    validate,
    validate_update: |new, old, causes| immutable(new, old, &["spec", "selector"], causes),
    ..ObjectKind::BASE
};

fn default(object: &mut Object) {
    if object.at(&["spec"]).is_none() {
        return;
    }
    workload::default(object);
    object.set_default(&["spec", "replicas"], 1);
    object.set_default(&["spec", "revisionHistoryLimit"], 10);
    object.set_default(&["spec", "progressDeadlineSeconds"], 600);
    object.set_default(&["spec", "strategy", "type"], "RollingUpdate");
    if object.text(&["spec", "strategy", "type"]) == "RollingUpdate" {
        object.set_default(
            &["spec", "strategy", "rollingUpdate", "maxUnavailable"],
            "25%",
        );
        object.set_default(&["spec", "strategy", "rollingUpdate", "maxSurge"], "25%");
    }
}

fn validate(object: &Object, causes: &mut Causes) {
    let spec = Path::new("spec");
    workload::counts(
        object,
        &[
            "replicas",
            "minReadySeconds",
            "revisionHistoryLimit",
            "progressDeadlineSeconds",
        ],
        causes,
    );
    selector(object, causes);
    workload::validate(object, &["Always"], causes);
    let strategy = spec.child("strategy");
    let (kind, rolling) = (
        object
            .at(&["spec", "strategy", "type"])
            .unwrap_or(&Value::Null),
        object.at(&["spec", "strategy", "rollingUpdate"]),
    );
    one_of(
        kind,
        &["Recreate", "RollingUpdate"],
        &strategy.child("type"),
        causes,
    );
    let at = strategy.child("rollingUpdate");
    match (kind.as_str(), rolling) {
        (Some("Recreate"), Some(rolling)) if !rolling.is_null() => {
            causes.forbidden(
                &at,
                "may not be specified when strategy `type` is 'Recreate'",
            );
        }
        (_, Some(rolling)) => rolling_update(rolling, &at, causes),
        _ => {}
    }
    let (ready, deadline) = (
        object
            .number(&["spec", "minReadySeconds"])
            .unwrap_or_default(),
        object
            .number(&["spec", "progressDeadlineSeconds"])
            .unwrap_or(600),
    );
    if deadline <= ready {
        let why = "must be greater than minReadySeconds";
        causes.invalid(&spec.child("progressDeadlineSeconds"), deadline, why);
    }
}

/// Both shares, of which one at least lets something happen.
pub(crate) fn rolling_update(rolling: &Value, path: &Path, causes: &mut Causes) {
    for field in ["maxUnavailable", "maxSurge"] {
        share(rolling.get(field), &path.child(field), causes);
    }
    let nothing = |field: &str| rolling[field] == 0 || rolling[field] == "0%";
    if nothing("maxUnavailable") && nothing("maxSurge") {
        let why = "may not be 0 when `maxSurge` is 0";
        causes.invalid(
            &path.child("maxUnavailable"),
            rolling["maxUnavailable"].clone(),
            why,
        );
    }
}
