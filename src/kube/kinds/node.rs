//! Nodes: the cluster's record of its machines.

use k8s_openapi::api::core::v1 as api;
use serde_json::Value;

use crate::field::{Causes, Path};
use crate::json;
use crate::kind::{ObjectKind, Subresource};
use crate::kinds::cells::{AGE, NAME, none, text, wide};
use crate::kinds::checks::one_of;
use crate::names;
use crate::object::Object;

const ROLE: &str = "node-role.kubernetes.io/";

/// `nodes`.
pub static NODE: ObjectKind = ObjectKind {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    namespaced: false,
    subresources: &[Subresource::Status],
    place: "core/nodes",
    fields: &[("spec.unschedulable", |object| {
        object.flag(&["spec", "unschedulable"]).to_string()
    })],
    columns: &[
        NAME,
        text("Status", |object, _| status(object).into()),
        text("Roles", |object, _| none(roles(object)).into()),
        AGE,
        text("Version", |object, _| info(object, "kubeletVersion").into()),
        wide("Internal-IP", |object, _| {
            none(address(object, "InternalIP")).into()
        }),
        wide("External-IP", |object, _| {
            none(address(object, "ExternalIP")).into()
        }),
        wide("OS-Image", |object, _| info(object, "osImage").into()),
        wide("Kernel-Version", |object, _| {
            info(object, "kernelVersion").into()
        }),
        wide("Container-Runtime", |object, _| {
            info(object, "containerRuntimeVersion").into()
        }),
    ],
    schema: |generator| generator.subschema_for::<api::Node>(),
    validate,
    validate_update,
    ..ObjectKind::BASE
};

fn status(node: &Object) -> String {
    let ready = node
        .list(&["status", "conditions"])
        .iter()
        .find(|condition| condition["type"] == "Ready");
    let mut text = match ready.map(|condition| json::text(condition, "status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node.flag(&["spec", "unschedulable"]) {
        text += ",SchedulingDisabled";
    }
    text
}

fn roles(node: &Object) -> String {
    let labels = node.labels();
    let mut roles: Vec<&str> = labels
        .iter()
        .filter_map(|(key, value)| match *key {
            "kubernetes.io/role" => Some(*value),
            key => key.strip_prefix(ROLE),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn info(node: &Object, field: &str) -> String {
    match node.text(&["status", "nodeInfo", field]) {
        "" if field == "kubeletVersion" => String::new(),
        "" => "<unknown>".to_owned(),
        text => text.to_owned(),
    }
}

fn address(node: &Object, of: &str) -> String {
    let addresses = node.list(&["status", "addresses"]);
    let found = addresses.iter().find(|address| address["type"] == of);
    found
        .map(|address| json::text(address, "address"))
        .unwrap_or_default()
        .to_owned()
}

fn validate(node: &Object, causes: &mut Causes) {
    let taints = Path::new("spec").child("taints");
    let mut seen = Vec::new();
    for (index, taint) in node.list(&["spec", "taints"]).iter().enumerate() {
        let path = taints.index(index);
        let key = json::text(taint, "key");
        for why in names::qualified(key) {
            causes.invalid(&path.child("key"), key, &why);
        }
        let value = json::text(taint, "value");
        for why in names::label_value(value) {
            causes.invalid(&path.child("value"), value, &why);
        }
        match json::text(taint, "effect") {
            "" => causes.required(&path.child("effect"), ""),
            _ => one_of(
                &taint["effect"],
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
                &path.child("effect"),
                causes,
            ),
        }
        let one = (key, json::text(taint, "effect"));
        if seen.contains(&one) {
            causes.duplicate(&path, taint.clone());
        }
        seen.push(one);
    }
}

fn validate_update(new: &Object, old: &Object, causes: &mut Causes) {
    for field in ["podCIDR", "podCIDRs", "providerID"] {
        let path = ["spec", field];
        let (value, was) = (new.at(&path), old.at(&path));
        let was_set = was.is_some_and(|was| *was != Value::Null && *was != "");
        if was_set && value != was {
            let why = "node updates may only change labels, taints, or capacity (or configSource, if the DynamicKubeletConfig feature gate is enabled)";
            causes.forbidden(&Path::new("spec").child(field), why);
        }
    }
}
