//! What rules ask of a pod, and how a pod follows from a template.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use orc_base::Time;
use serde_json::{Value, json};
use std::time::Duration;

use crate::object::{Facts, from_kube};
use crate::reference::Ref;

/// `status.phase`; empty before the node has said anything.
pub(crate) fn phase(pod: &Pod) -> &str {
    let status = pod.status.as_ref();
    status.and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Whether all its containers have ended for good.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it runs or will run.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !has_ended(pod) && !pod.is_leaving()
}

/// The node it is bound to.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    let name = pod.spec.as_ref()?.node_name.as_deref()?;
    (!name.is_empty()).then_some(name)
}

/// Since when it has been ready, if it is.
pub(crate) fn ready_since(pod: &Pod) -> Option<Time> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|c| c.type_ == "Ready")?;
    let since = ready.last_transition_time.as_ref();
    (ready.status == "True").then(|| since.map_or(Time::EPOCH, from_kube))
}

/// Whether it is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// When a ready pod counts as available; nothing when it is not ready.
pub(crate) fn available_at(pod: &Pod, min_ready_s: i32) -> Option<Time> {
    let min_ready = Duration::from_secs(u64::try_from(min_ready_s).unwrap_or(0));
    ready_since(pod).map(|since| match min_ready.is_zero() {
        true => Time::EPOCH,
        false => since.plus(min_ready),
    })
}

/// How often its containers were started again.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref();
    let statuses = statuses.and_then(|s| s.container_statuses.as_ref());
    statuses
        .into_iter()
        .flatten()
        .map(|c| c.restart_count)
        .sum()
}

/// Which of several pods goes first; the smallest does. As Kubernetes: what is not placed, not running,
/// not ready; the cheapest by annotation; where siblings share a node; the youngest readiness, the most
/// restarts, the youngest.
pub(crate) fn rank(pod: &Pod, siblings_there: usize) -> impl Ord + use<> {
    let progress = match phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = pod
        .annotations()
        .get("controller.kubernetes.io/pod-deletion-cost");
    let cost = cost.and_then(|cost| cost.parse::<i32>().ok()).unwrap_or(0);
    let ready = ready_since(pod);
    (
        node(pod).is_some(),
        progress,
        ready.is_some(),
        cost,
        std::cmp::Reverse(siblings_there),
        std::cmp::Reverse(ready),
        std::cmp::Reverse(restarts(pod)),
        std::cmp::Reverse(pod.created()),
        pod.name().to_owned(),
    )
}

/// When the last container of a pod ended; when the pod was made, if nobody says.
pub(crate) fn ended_at(pod: &Pod) -> Time {
    let statuses = pod
        .status
        .as_ref()
        .and_then(|s| s.container_statuses.as_ref());
    let ends = statuses.into_iter().flatten().filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        ended.finished_at.as_ref().map(from_kube)
    });
    ends.max().unwrap_or_else(|| pod.created())
}

/// The pod of a template, under its name and its owner.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    target: &Ref,
    generate_name: &str,
    owner: &Value,
) -> Value {
    let nothing = Default::default();
    let meta = template.metadata.as_ref().unwrap_or(&nothing);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": target.name,
            "generateName": generate_name,
            "namespace": target.namespace,
            "labels": meta.labels.clone().unwrap_or_default(),
            "annotations": meta.annotations.clone().unwrap_or_default(),
            "finalizers": meta.finalizers.clone().unwrap_or_default(),
            "ownerReferences": [owner],
        },
        "spec": template.spec,
    })
}
