//! Jobs: pods that run to their end.

use k8s_openapi::api::batch::v1 as api;
use serde_json::{Value, json};

use crate::field::{Causes, Path};
use crate::kind::{ObjectKind, Subresource};
use crate::kinds::cells::{AGE, CONTAINERS, IMAGES, NAME, SELECTOR, duration, text};
use crate::kinds::checks::{immutable, one_of};
use crate::kinds::workload;
use crate::object::Object;

/// A label, and what of the job it says.
type Label = (&'static str, fn(&Object) -> &str);

/// The labels that tie pods to their job.
const LABELS: [Label; 4] = [
    ("batch.kubernetes.io/controller-uid", Object::uid),
    ("batch.kubernetes.io/job-name", Object::name),
    ("controller-uid", Object::uid),
    ("job-name", Object::name),
];
/// Pods of a job at a time, at most, when they have numbers.
const MAX_INDEXED: i64 = 100_000;

/// `jobs.batch`.
pub static JOB: ObjectKind = ObjectKind {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    subresources: &[Subresource::Status],
    has_generation: true,
    place: "batch/jobs",
    fields: &[("status.successful", |object| {
        object
            .number(&["status", "succeeded"])
            .unwrap_or_default()
            .to_string()
    })],
    columns: &[
        NAME,
        text("Status", |object, _| status(object).into()),
        text("Completions", |object, _| completions(object).into()),
        text("Duration", |object, now| {
            let end = object.time(&["status", "completionTime"]).unwrap_or(now);
            match object.time(&["status", "startTime"]) {
                Some(start) => duration(end.since(start).as_secs()).into(),
                None => "".into(),
            }
        }),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    schema: |generator| generator.subschema_for::<api::Job>(),
    default,
    prepare_create: |object| object.set(&["status"], json!({})),
    prepare_update: |new, old| {
        if new.at(&["spec", "selector"]).is_none()
            && let Some(selector) = old.at(&["spec", "selector"])
        {
            new.set(&["spec", "selector"], selector.clone());
        }
    },
    validate,
    validate_update: |new, old, causes| {
        for field in [
            "selector",
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
        ] {
            immutable(new, old, &["spec", field], causes);
        }
        let indexed = new.text(&["spec", "completionMode"]) == "Indexed";
        if !indexed {
            immutable(new, old, &["spec", "completions"], causes);
        }
        // The template of a suspended job that never started may still change.
        let begun = !old.text(&["status", "startTime"]).is_empty();
        if begun || !old.flag(&["spec", "suspend"]) {
            immutable(new, old, &["spec", "template"], causes);
        }
    },
    ..ObjectKind::BASE
};

fn default(object: &mut Object) {
    if object.at(&["spec"]).is_none() {
        return;
    }
    workload::default(object);
    let number = |field| object.number(&["spec", field]);
    if number("completions").is_none() && number("parallelism").is_none() {
        object.set(&["spec", "completions"], 1);
    }
    object.set_default(&["spec", "parallelism"], 1);
    let per_index = object.at(&["spec", "backoffLimitPerIndex"]).is_some();
    object.set_default(
        &["spec", "backoffLimit"],
        if per_index { i64::from(i32::MAX) } else { 6 },
    );
    object.set_default(&["spec", "completionMode"], "NonIndexed");
    object.set_default(&["spec", "suspend"], false);
    object.set_default(&["spec", "podReplacementPolicy"], "TerminatingOrFailed");
    select(object);
}

/// Gives the job and its pods the labels that tie them, as soon as the job has its identity.
fn select(object: &mut Object) {
    if object.flag(&["spec", "manualSelector"])
        || object.uid().is_empty()
        || object.name().is_empty()
    {
        return;
    }
    for (label, value) in LABELS {
        let value = value(object).to_owned();
        object.set_default(&["spec", "template", "metadata", "labels", label], value);
    }
    let uid = object.uid().to_owned();
    object.set_default(
        &["spec", "selector"],
        json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }),
    );
}

fn validate(object: &Object, causes: &mut Causes) {
    workload::counts(
        object,
        &[
            "parallelism",
            "completions",
            "activeDeadlineSeconds",
            "backoffLimit",
            "ttlSecondsAfterFinished",
        ],
        causes,
    );
    let spec = Path::new("spec");
    let mode = object
        .at(&["spec", "completionMode"])
        .unwrap_or(&Value::Null);
    one_of(
        mode,
        &["NonIndexed", "Indexed"],
        &spec.child("completionMode"),
        causes,
    );
    if mode == "Indexed" {
        match object.number(&["spec", "completions"]) {
            None => {
                let why = "when completion mode is Indexed";
                causes.required(&spec.child("completions"), why);
            }
            Some(_) => {
                let parallel = object.number(&["spec", "parallelism"]).unwrap_or_default();
                if parallel > MAX_INDEXED {
                    let why =
                        "must be less than or equal to 100000 when completion mode is Indexed";
                    causes.invalid(&spec.child("parallelism"), parallel, why);
                }
            }
        }
    }
    let policy = object.text(&["spec", "template", "spec", "restartPolicy"]);
    if policy == "Always" {
        let path = spec.child("template").child("spec").child("restartPolicy");
        causes.unsupported(&path, policy, &["OnFailure", "Never"]);
    }
    workload::validate(object, &["Always", "OnFailure", "Never"], causes);
}

fn status(object: &Object) -> &'static str {
    let holds = |kind: &str| {
        object
            .list(&["status", "conditions"])
            .iter()
            .any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if object.is_being_deleted() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(object: &Object) -> String {
    let done = object.number(&["status", "succeeded"]).unwrap_or_default();
    let parallel = object.number(&["spec", "parallelism"]).unwrap_or_default();
    match object.number(&["spec", "completions"]) {
        Some(wanted) => format!("{done}/{wanted}"),
        None if parallel > 1 => format!("{done}/1 of {parallel}"),
        None => format!("{done}/1"),
    }
}
