//! Pods: what runs together on one node.

use k8s_openapi::api::core::v1 as api;
use orc_base::Time;
use serde_json::{Map, Value, json};

use crate::field::{Causes, Path};
use crate::json::{has, items, text as text_of};
use crate::kind::{ObjectKind, Subresource};
use crate::kinds::cells::{AGE, NAME, none, since, text, wide};
use crate::kinds::pod_defaults::{self, CONTAINERS};
use crate::kinds::pod_spec;
use crate::object::Object;

/// Seconds a pod tolerates a node that is not ready or not reachable, unless it says otherwise.
const TOLERATED_S: i64 = 300;

/// `pods`.
pub static POD: ObjectKind = ObjectKind {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        Subresource::Status,
        Subresource::Binding,
        Subresource::Eviction,
        Subresource::EphemeralContainers,
    ],
    has_generation: true,
    place: "core/pods",
    fields: &[
        ("spec.nodeName", |pod| {
            pod.text(&["spec", "nodeName"]).to_owned()
        }),
        ("spec.restartPolicy", |pod| {
            pod.text(&["spec", "restartPolicy"]).to_owned()
        }),
        ("spec.schedulerName", |pod| {
            pod.text(&["spec", "schedulerName"]).to_owned()
        }),
        ("spec.serviceAccountName", |pod| {
            pod.text(&["spec", "serviceAccountName"]).to_owned()
        }),
        ("spec.hostNetwork", |pod| {
            pod.flag(&["spec", "hostNetwork"]).to_string()
        }),
        ("status.phase", |pod| {
            pod.text(&["status", "phase"]).to_owned()
        }),
        ("status.podIP", |pod| {
            pod.text(&["status", "podIP"]).to_owned()
        }),
        ("status.nominatedNodeName", |pod| {
            pod.text(&["status", "nominatedNodeName"]).to_owned()
        }),
    ],
    columns: &[
        NAME,
        text("Ready", |pod, _| {
            let statuses = pod.list(&["status", "containerStatuses"]);
            let ready = statuses
                .iter()
                .filter(|status| status["ready"] == true)
                .count();
            format!("{ready}/{}", pod.list(&["spec", "containers"]).len()).into()
        }),
        text("Status", |pod, _| status(pod).into()),
        text("Restarts", |pod, now| restarts(pod, now).into()),
        AGE,
        wide("IP", |pod, _| {
            let first = pod.list(&["status", "podIPs"]).first();
            none(first.map(|ip| text_of(ip, "ip")).unwrap_or_default()).into()
        }),
        wide("Node", |pod, _| {
            none(pod.text(&["spec", "nodeName"])).into()
        }),
        wide("Nominated Node", |pod, _| {
            none(pod.text(&["status", "nominatedNodeName"])).into()
        }),
        wide("Readiness Gates", |pod, _| gates(pod).into()),
    ],
    schema: |generator| generator.subschema_for::<api::Pod>(),
    default: |pod| {
        if let Some(spec) = pod.as_map_mut().get_mut("spec") {
            pod_defaults::default(spec);
            crate::json::fill(spec, "enableServiceLinks", true);
        }
    },
    prepare_create: admit,
    prepare_update: |new, old| match old.at(&["spec", "ephemeralContainers"]) {
        Some(kept) => new.set(&["spec", "ephemeralContainers"], kept.clone()),
        None => {
            new.remove(&["spec", "ephemeralContainers"]);
        }
    },
    validate: |pod, causes| match pod.at(&["spec"]) {
        Some(spec) => {
            pod_spec::validate(spec, &Path::new("spec"), causes);
            // What is new has no version yet.
            let looks = pod.list(&["spec", "ephemeralContainers"]);
            if !looks.is_empty() && pod.resource_version().is_empty() {
                let path = Path::new("spec").child("ephemeralContainers");
                causes.forbidden(&path, "cannot be set on create");
            }
        }
        None => causes.required(&Path::new("spec").child("containers"), ""),
    },
    validate_update,
    grace: Some(|pod| {
        let ended = matches!(pod.text(&["status", "phase"]), "Succeeded" | "Failed");
        match ended || pod.text(&["spec", "nodeName"]).is_empty() {
            true => 0,
            false => pod
                .number(&["spec", "terminationGracePeriodSeconds"])
                .unwrap_or(30),
        }
    }),
    ..ObjectKind::BASE
};

/// What the real server's admission puts into a new pod.
fn admit(pod: &mut Object) {
    pod.set(
        &["status"],
        json!({ "phase": "Pending", "qosClass": quality(pod) }),
    );
    pod.set_default(&["spec", "serviceAccountName"], "default");
    let account = pod.text(&["spec", "serviceAccountName"]).to_owned();
    pod.set_default(&["spec", "serviceAccount"], account);
    pod.set_default(&["spec", "priority"], 0);
    pod.set_default(&["spec", "preemptionPolicy"], "PreemptLowerPriority");
    let mut tolerations = pod.list(&["spec", "tolerations"]).to_vec();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let covers = |toleration: &Value| {
            matches!(text_of(toleration, "effect"), "" | "NoExecute")
                && (text_of(toleration, "key") == key
                    || text_of(toleration, "key").is_empty() && toleration["operator"] == "Exists")
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED_S,
            }));
        }
    }
    pod.set(&["spec", "tolerations"], tolerations);
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
fn quality(pod: &Object) -> &'static str {
    let (mut any, mut all) = (false, true);
    for sort in ["containers", "initContainers"] {
        for container in pod.list(&["spec", sort]) {
            let resources = &container["resources"];
            for name in ["cpu", "memory"] {
                let (request, limit) = (&resources["requests"][name], &resources["limits"][name]);
                any |= !request.is_null() || !limit.is_null();
                all &= !limit.is_null() && (request.is_null() || request == limit);
            }
        }
    }
    match (any, all) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, _) => "BestEffort",
    }
}

fn validate_update(new: &Object, old: &Object, causes: &mut Causes) {
    validate_gates(new, old, causes);
    for sort in ["containers", "initContainers"] {
        if new.list(&["spec", sort]).len() != old.list(&["spec", sort]).len() {
            let path = Path::new("spec").child(sort);
            causes.forbidden(&path, "pod updates may not add or remove containers");
            return;
        }
    }
    if fixed(new) != fixed(old) {
        causes.forbidden(
            &Path::new("spec"),
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        );
    }
    let (tolerations, were) = (
        new.list(&["spec", "tolerations"]),
        old.list(&["spec", "tolerations"]),
    );
    if !were
        .iter()
        .all(|toleration| tolerations.contains(toleration))
    {
        let path = Path::new("spec").child("tolerations");
        causes.forbidden(
            &path,
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}

/// Gates are only ever opened.
fn validate_gates(new: &Object, old: &Object, causes: &mut Causes) {
    let were = old.list(&["spec", "schedulingGates"]);
    let gates = new.list(&["spec", "schedulingGates"]);
    if !gates.iter().all(|gate| were.contains(gate)) {
        let path = Path::new("spec").child("schedulingGates");
        causes.forbidden(
            &path,
            "only deletion is allowed, but found new scheduling gates",
        );
    }
}

/// What of a pod's spec never changes; its node and its looks inside are given by subresources.
fn fixed(pod: &Object) -> Map<String, Value> {
    let mut spec = pod
        .at(&["spec"])
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for free in [
        "activeDeadlineSeconds",
        "tolerations",
        "ephemeralContainers",
        "schedulingGates",
    ] {
        spec.remove(free);
    }
    for sort in CONTAINERS {
        if let Some(Value::Array(containers)) = spec.get_mut(sort) {
            for container in containers.iter_mut().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
    }
    spec
}

/// As `kubectl get pods` says it: `printPod` in `k8s.io/kubernetes/pkg/printers/internalversion/printers.go`.
fn status(pod: &Object) -> String {
    let mut reason = match pod.text(&["status", "reason"]) {
        "" => pod.text(&["status", "phase"]).to_owned(),
        reason => reason.to_owned(),
    };
    let gated = pod.list(&["status", "conditions"]).iter().any(|condition| {
        condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated"
    });
    if gated {
        reason = "SchedulingGated".to_owned();
    }
    match initializing(pod) {
        Some(initializing) => reason = initializing,
        None => reason = running(pod, reason),
    }
    if pod.is_being_deleted() {
        reason = match pod.text(&["status", "reason"]) {
            "NodeLost" => "Unknown".to_owned(),
            _ if matches!(pod.text(&["status", "phase"]), "Succeeded" | "Failed") => reason,
            _ => "Terminating".to_owned(),
        };
    }
    reason
}

fn initializing(pod: &Object) -> Option<String> {
    let specs = pod.list(&["spec", "initContainers"]);
    for (index, status) in pod
        .list(&["status", "initContainerStatuses"])
        .iter()
        .enumerate()
    {
        let state = &status["state"];
        let spec = specs.iter().find(|spec| spec["name"] == status["name"]);
        let sidecar = spec.is_some_and(|spec| spec["restartPolicy"] == "Always");
        if state["terminated"]["exitCode"] == 0 || sidecar && status["started"] == true {
            continue;
        }
        return Some(
            match (
                has(state, "terminated"),
                text_of(&state["waiting"], "reason"),
            ) {
                (true, _) => format!("Init:{}", ended(&state["terminated"])),
                (false, reason) if !matches!(reason, "" | "PodInitializing") => {
                    format!("Init:{reason}")
                }
                _ => format!("Init:{index}/{}", specs.len()),
            },
        );
    }
    None
}

fn running(pod: &Object, mut reason: String) -> String {
    let mut runs = false;
    for status in pod.list(&["status", "containerStatuses"]).iter().rev() {
        let state = &status["state"];
        let waits = text_of(&state["waiting"], "reason");
        if !waits.is_empty() {
            reason = waits.to_owned();
        } else if has(state, "terminated") {
            reason = ended(&state["terminated"]);
        } else if status["ready"] == true && has(state, "running") {
            runs = true;
        }
    }
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    match reason == "Completed" && runs {
        true if pod.list(&["status", "conditions"]).iter().any(ready) => "Running".to_owned(),
        true => "NotReady".to_owned(),
        false => reason,
    }
}

fn ended(terminated: &Value) -> String {
    let signal = terminated["signal"].as_i64().unwrap_or_default();
    match (text_of(terminated, "reason"), signal) {
        ("", 0) => format!(
            "ExitCode:{}",
            terminated["exitCode"].as_i64().unwrap_or_default()
        ),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn restarts(pod: &Object, now: Time) -> String {
    let (mut count, mut last) = (0, None);
    for list in ["initContainerStatuses", "containerStatuses"] {
        for status in items(pod.at(&["status"]).unwrap_or(&Value::Null), list) {
            count += status["restartCount"].as_i64().unwrap_or_default();
            let finished = text_of(&status["lastState"]["terminated"], "finishedAt");
            last = last.max(finished.parse::<Time>().ok());
        }
    }
    match last.filter(|_| count > 0) {
        Some(last) => format!("{count} ({} ago)", since(Some(last), now)),
        None => count.to_string(),
    }
}

fn gates(pod: &Object) -> String {
    let gates = pod.list(&["spec", "readinessGates"]);
    if gates.is_empty() {
        return none("");
    }
    let open = gates.iter().filter(|gate| {
        pod.list(&["status", "conditions"]).iter().any(|condition| {
            condition["type"] == gate["conditionType"] && condition["status"] == "True"
        })
    });
    format!("{}/{}", open.count(), gates.len())
}
