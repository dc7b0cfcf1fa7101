//! Events, in two views of one object: the core's and that of `events.k8s.io`.
//!
//! Stored as the core has them; `k8s.io/kubernetes/pkg/apis/events/v1/conversion.go` is how one becomes the
//! other.

use k8s_openapi::api::{core::v1 as core, events::v1 as events};
use orc_base::Time;
use serde_json::Value;

use crate::field::{Causes, Path};
use crate::kind::{Column, Format, ObjectKind};
use crate::kinds::cells::{number, since, text, wide};
use crate::object::Object;

const COLUMNS: &[Column] = &[
    text("Last Seen", |event, now| {
        since(last_seen(&as_core(event.clone())), now).into()
    }),
    text("Type", |event, _| event.text(&["type"]).into()),
    text("Reason", |event, _| event.text(&["reason"]).into()),
    text("Object", |event, _| about(&as_core(event.clone())).into()),
    wide("Subobject", |event, _| {
        as_core(event.clone())
            .text(&["involvedObject", "fieldPath"])
            .into()
    }),
    wide("Source", |event, _| source(&as_core(event.clone())).into()),
    text("Message", |event, _| {
        as_core(event.clone()).text(&["message"]).trim().into()
    }),
    wide("First Seen", |event, now| {
        since(first_seen(&as_core(event.clone())), now).into()
    }),
    Column {
        priority: 1,
        ..number("Count", |event, _| count(&as_core(event.clone())).into())
    },
    Column {
        format: Format::Name,
        ..wide("Name", |event, _| event.name().into())
    },
];

macro_rules! field {
    ($name:literal, $($step:literal),+) => {
        ($name, |event| as_core(event.clone()).text(&[$($step),+]).to_owned())
    };
}

/// `events`.
pub static CORE_EVENT: ObjectKind = ObjectKind {
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    create_on_update: true,
    place: "core/events",
    fields: &[
        field!("involvedObject.kind", "involvedObject", "kind"),
        field!("involvedObject.namespace", "involvedObject", "namespace"),
        field!("involvedObject.name", "involvedObject", "name"),
        field!("involvedObject.uid", "involvedObject", "uid"),
        field!("involvedObject.apiVersion", "involvedObject", "apiVersion"),
        field!(
            "involvedObject.resourceVersion",
            "involvedObject",
            "resourceVersion"
        ),
        field!("involvedObject.fieldPath", "involvedObject", "fieldPath"),
        field!("reason", "reason"),
        field!("reportingComponent", "reportingComponent"),
        field!("source", "source", "component"),
        field!("type", "type"),
    ],
    columns: COLUMNS,
    schema: |generator| generator.subschema_for::<core::Event>(),
    validate: validate_core,
    ..ObjectKind::BASE
};

/// `events.events.k8s.io`.
pub static EVENT: ObjectKind = ObjectKind {
    group: "events.k8s.io",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    create_on_update: true,
    place: "core/events",
    fields: &[
        field!("regarding.kind", "involvedObject", "kind"),
        field!("regarding.namespace", "involvedObject", "namespace"),
        field!("regarding.name", "involvedObject", "name"),
        field!("regarding.uid", "involvedObject", "uid"),
        field!("regarding.apiVersion", "involvedObject", "apiVersion"),
        field!(
            "regarding.resourceVersion",
            "involvedObject",
            "resourceVersion"
        ),
        field!("regarding.fieldPath", "involvedObject", "fieldPath"),
        field!("reason", "reason"),
        field!("reportingController", "reportingComponent"),
        field!("type", "type"),
    ],
    columns: COLUMNS,
    schema: |generator| generator.subschema_for::<events::Event>(),
    shown: as_events,
    stored: as_core,
    validate: |event, causes| {
        let core = as_core(event.clone());
        validate_core(&core, causes);
        for field in [
            "reportingController",
            "reportingInstance",
            "action",
            "reason",
        ] {
            if event.text(&[field]).is_empty() && event.at(&["deprecatedSource"]).is_none() {
                causes.required(&Path::new(field), "");
            }
        }
    },
    ..ObjectKind::BASE
};

/// Core name, name of `events.k8s.io`.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn as_events(event: Object) -> Object {
    renamed(event, "events.k8s.io/v1", |(core, events)| (core, events))
}

fn as_core(event: Object) -> Object {
    renamed(event, "v1", |(core, events)| (events, core))
}

fn renamed(
    mut event: Object,
    api_version: &str,
    order: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Object {
    if event.api_version() == api_version {
        return event;
    }
    event.set(&["apiVersion"], api_version);
    for names in NAMES {
        let (from, to) = order(names);
        if let Some(value) = event.remove(&[from]) {
            event.set(&[to], value);
        }
    }
    event
}

fn last_seen(event: &Object) -> Option<Time> {
    event
        .time(&["series", "lastObservedTime"])
        .or_else(|| event.time(&["lastTimestamp"]))
        .or_else(|| event.time(&["eventTime"]))
        .or_else(|| event.creation_time())
}

fn first_seen(event: &Object) -> Option<Time> {
    event
        .time(&["firstTimestamp"])
        .or_else(|| event.time(&["eventTime"]))
        .or_else(|| event.creation_time())
}

fn count(event: &Object) -> i64 {
    let counts = [event.number(&["series", "count"]), event.number(&["count"])];
    counts
        .into_iter()
        .flatten()
        .find(|count| *count > 0)
        .unwrap_or(1)
}

fn about(event: &Object) -> String {
    let (kind, name) = (
        event.text(&["involvedObject", "kind"]).to_lowercase(),
        event.text(&["involvedObject", "name"]),
    );
    match name {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(event: &Object) -> String {
    let component = match event.text(&["source", "component"]) {
        "" => event.text(&["reportingComponent"]),
        component => component,
    };
    let host = match event.text(&["source", "host"]) {
        "" => event.text(&["reportingInstance"]),
        host => host,
    };
    match host {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    }
}

fn validate_core(event: &Object, causes: &mut Causes) {
    let about = event.text(&["involvedObject", "namespace"]);
    let own = event.namespace();
    let fits = about == own || about.is_empty() && matches!(own, "" | "default" | "kube-system");
    if !fits {
        let path = Path::new("involvedObject").child("namespace");
        causes.invalid(&path, about, "does not match event.namespace");
    }
    if event.at(&["involvedObject"]).is_none_or(Value::is_null) {
        causes.required(&Path::new("involvedObject"), "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn is_one_object_in_two_views() {
        let new = Object::from_value(json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "a" },
            "regarding": { "kind": "Pod", "name": "p" }, "note": "text", "reason": "R",
            "reportingController": "c", "reportingInstance": "c-1", "deprecatedCount": 2,
        }))
        .unwrap();
        let core = as_core(new.clone());
        assert_eq!(
            core.clone().into_value(),
            json!({
                "apiVersion": "v1", "kind": "Event", "metadata": { "name": "a" },
                "involvedObject": { "kind": "Pod", "name": "p" }, "message": "text", "reason": "R",
                "reportingComponent": "c", "reportingInstance": "c-1", "count": 2,
            })
        );
        assert_eq!(as_events(core), new);
    }
}
