//! Nodes: who is alive, what their state keeps away, and who has to move.
//!
//! A node is alive while its lease moves; when it moved last is told by the clock of whoever looks, never
//! by the node's own. Silence becomes `Ready=Unknown`, conditions become taints, pods of a silent node stop
//! being ready at once, and taints that say `NoExecute` end pods when their tolerations have run out.
//! When every node is silent, the silence is ours: then nobody has to move.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use orc_base::Time;
use serde_json::{Value, json};

use crate::control::conditions::{Conditions, Says};
use crate::control::{Rule, pods};
use crate::object::{Facts, from_kube, to_kube};
use crate::operation::{Decision, Deed, Note};
use crate::reference::{Kind, Ref};
use crate::sched::place::tolerated;
use crate::world::{Change, World};

/// Where leases of nodes are.
pub const LEASES: &str = "kube-node-lease";

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep new pods away while they are `True`.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    (
        "NetworkUnavailable",
        "node.kubernetes.io/network-unavailable",
    ),
];
/// Pods moved off a node in one decision, at most.
const BURST: usize = 500;

/// The rule, and its times.
#[derive(Debug, Clone)]
pub struct Nodes {
    /// How long a node may be silent.
    pub grace: Duration,
    /// How long pods that say nothing of it stay on a node that is not ready.
    pub evict_after: Duration,
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(8),
            evict_after: Duration::from_secs(2),
        }
    }
}

impl Rule for Nodes {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn concerns(&self, _: &World, change: &Change) -> Vec<Ref> {
        let node = |name: &str| Ref::to::<Node>("", name);
        match change.target.kind {
            own if own == Kind::of::<Node>() => vec![change.target.clone()],
            own if own == Kind::of::<Lease>() && change.target.namespace == LEASES => {
                vec![node(&change.target.name)]
            }
            own if own == Kind::of::<Pod>() => {
                let nodes = change.after.iter().filter_map(|pod| pod.node.as_deref());
                nodes.map(node).collect()
            }
            _ => Vec::new(),
        }
    }

    fn decide(&self, world: &World, me: &Ref, now: Time) -> Decision {
        let mut decision = Decision::default();
        let Some(node) = world.nodes.get("", &me.name) else {
            return decision;
        };
        self.listen(world, me, node, now, &mut decision);
        if decision.operations.is_empty() {
            taint(me, node, now, &mut decision);
        }
        if !is_ready(node) {
            withdraw_pods(world, node, now, &mut decision);
        }
        self.evict(world, me, node, now, &mut decision);
        decision
    }
}

impl Nodes {
    /// Says `Unknown` when a node has been silent too long.
    fn listen(&self, world: &World, me: &Ref, node: &Node, now: Time, decision: &mut Decision) {
        let Some(heard) = world.heartbeats.get(&me.name) else {
            return;
        };
        let silent = heard.plus(self.grace);
        if now < silent {
            decision.look_again(silent);
            return;
        }
        let old = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let mut conditions = Conditions::of(old);
        let never = conditions.get("Ready").is_null();
        let (reason, message) = match never {
            true => (
                "NodeStatusNeverUpdated",
                "Kubelet never posted node status.",
            ),
            false => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        };
        let mut changed = false;
        for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
            if conditions.get(kind)["status"] != "Unknown" {
                changed |= conditions.set(
                    Says {
                        kind,
                        status: "Unknown",
                        reason,
                        message,
                    },
                    now,
                );
            }
        }
        if changed {
            let status = json!({ "conditions": conditions.to_json() });
            let deed = Deed::status(me.clone(), node, status);
            let cause = format!("silent for {} s", now.since(*heard).as_secs());
            let text = format!("Node {} status is now: NodeNotReady", me.name);
            decision.push_noted(deed, cause, note(me, node, "NodeNotReady", text));
        }
    }

    /// Ends pods whose toleration of a `NoExecute` taint is over.
    fn evict(&self, world: &World, me: &Ref, node: &Node, now: Time, decision: &mut Decision) {
        let driving: Vec<&Taint> = taints(node).filter(|t| t.effect == "NoExecute").collect();
        if driving.is_empty() {
            return;
        }
        let all_silent = world.nodes.all().all(|node| !is_ready(node));
        let mut left = BURST;
        for pod in world.pods_on(&me.name) {
            if pod.is_leaving() || pods::has_ended(pod) {
                continue;
            }
            let ends = driving.iter().filter_map(|taint| {
                let of_state = matches!(taint.key.as_str(), NOT_READY | UNREACHABLE);
                match of_state && all_silent {
                    true => None,
                    false => self
                        .end_of_stay(pod, taint, of_state)
                        .map(|end| (end, *taint)),
                }
            });
            let Some((end, taint)) = ends.min_by_key(|(end, _)| *end) else {
                continue;
            };
            if now < end {
                decision.look_again(end);
            } else if left > 0 {
                left -= 1;
                let target = Ref::to::<Pod>(pod.namespace(), pod.name());
                let text = format!(
                    "Marking for deletion Pod {}/{}",
                    pod.namespace(),
                    pod.name()
                );
                let note = Note {
                    about: target.clone(),
                    uid: pod.uid().to_owned(),
                    warning: false,
                    reason: "TaintManagerEviction".to_owned(),
                    message: text,
                };
                let cause = format!("{} has taint {}", me.name, taint.key);
                decision.push_noted(Deed::delete(target, &**pod), cause, note);
            }
        }
        if left == 0 {
            decision.look_again(now);
        }
    }

    /// When a pod has to leave because of a taint; never if it tolerates it for good.
    fn end_of_stay(&self, pod: &Pod, taint: &Taint, of_state: bool) -> Option<Time> {
        let since = taint.time_added.as_ref().map_or(Time::EPOCH, from_kube);
        let spec = pod.spec.as_ref()?;
        let fitting: Vec<_> = spec
            .tolerations
            .iter()
            .flatten()
            .filter(|own| tolerated(own, taint))
            .collect();
        if fitting.is_empty() {
            let wait = if of_state {
                self.evict_after
            } else {
                Duration::ZERO
            };
            return Some(since.plus(wait));
        }
        let seconds = fitting
            .iter()
            .filter_map(|own| own.toleration_seconds)
            .min()?;
        Some(since.plus(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
    }
}

fn condition<'n>(node: &'n Node, kind: &str) -> Option<&'n str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    Some(&found.status)
}

/// Whether a node says that it is ready, and has not fallen silent.
pub(crate) fn is_ready(node: &Node) -> bool {
    condition(node, "Ready") == Some("True")
}

fn taints(node: &Node) -> impl Iterator<Item = &Taint> {
    let spec = node.spec.as_ref();
    spec.and_then(|spec| spec.taints.as_ref())
        .into_iter()
        .flatten()
}

/// Makes the taints follow the conditions.
fn taint(me: &Ref, node: &Node, now: Time, decision: &mut Decision) {
    let mut due: Vec<(&str, &str)> = Vec::new();
    match condition(node, "Ready") {
        Some("False") => due.extend([(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]),
        Some("True") => {}
        // Also before the node has said anything.
        _ => due.extend([(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]),
    }
    for (kind, key) in PRESSURES {
        if condition(node, kind) == Some("True") {
            due.push((key, "NoSchedule"));
        }
    }
    if node
        .spec
        .as_ref()
        .is_some_and(|spec| spec.unschedulable == Some(true))
    {
        due.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let ours = |taint: &Taint| {
        let state = matches!(taint.key.as_str(), NOT_READY | UNREACHABLE);
        let pressure = PRESSURES.iter().any(|(_, key)| *key == taint.key);
        let held = taint.effect == "NoSchedule" || taint.effect == "NoExecute" && state;
        held && (state || pressure || taint.key == UNSCHEDULABLE)
    };
    let is = |taint: &Taint, key: &str, effect: &str| taint.key == key && taint.effect == effect;
    let stays =
        |taint: &&Taint| !ours(taint) || due.iter().any(|(key, effect)| is(taint, key, effect));
    let mut wanted: Vec<Value> = taints(node)
        .filter(stays)
        .map(|taint| json!(taint))
        .collect();
    let kept = wanted.len();
    for (key, effect) in &due {
        if !taints(node).any(|taint| is(taint, key, effect)) {
            wanted.push(json!({ "key": key, "effect": effect, "timeAdded": to_kube(now) }));
        }
    }
    if kept != taints(node).count() || wanted.len() != kept {
        let patch = json!({ "spec": { "taints": wanted } });
        decision.push(Deed::patch(me.clone(), node, patch), "its state changed");
    }
}

/// Pods of a node that is not there are not ready, so that nobody is led to them.
fn withdraw_pods(world: &World, node: &Node, now: Time, decision: &mut Decision) {
    for pod in world.pods_on(node.name()).filter(|pod| pods::is_ready(pod)) {
        let old = pod
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let mut conditions = Conditions::of(old);
        let says = Says {
            kind: "Ready",
            status: "False",
            reason: "NodeNotReady",
            message: "Node is not ready",
        };
        conditions.set(says, now);
        let target = Ref::to::<Pod>(pod.namespace(), pod.name());
        let status = json!({ "conditions": conditions.to_json() });
        let cause = format!("{} is not ready", node.name());
        decision.push(Deed::status(target, &**pod, status), cause);
    }
}

fn note(me: &Ref, node: &Node, reason: &str, message: String) -> Note {
    Note {
        about: me.clone(),
        uid: node.uid().to_owned(),
        warning: false,
        reason: reason.to_owned(),
        message,
    }
}
