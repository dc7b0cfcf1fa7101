//! Pods that nobody will end any more: those of nodes that are gone, those deleted before they were placed,
//! and the oldest of the ended ones when they are too many.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use orc_base::Time;

use crate::control::{Rule, pods};
use crate::object::Facts;
use crate::operation::{Decision, Deed, Dependents, Guard};
use crate::reference::{Kind, Ref};
use crate::world::{Change, World};

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The rule.
#[derive(Debug, Clone)]
pub struct PodGc {
    /// Ended pods that are kept.
    pub max_ended: usize,
}

impl Default for PodGc {
    fn default() -> Self {
        Self { max_ended: 12_500 }
    }
}

/// All ended pods, as a subject.
fn everyone() -> Ref {
    Ref::to::<Pod>("", "")
}

impl Rule for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn concerns(&self, world: &World, change: &Change) -> Vec<Ref> {
        match change.target.kind {
            own if own == Kind::of::<Pod>() => vec![change.target.clone(), everyone()],
            own if own == Kind::of::<Node>() => {
                let pods = world.pods_on(&change.target.name);
                pods.map(|pod| Ref::to::<Pod>(pod.namespace(), pod.name()))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    fn decide(&self, world: &World, me: &Ref, _: Time) -> Decision {
        let mut decision = Decision::default();
        if *me == everyone() {
            self.trim(world, &mut decision);
        } else if let Some(pod) = world.pods.get(&me.namespace, &me.name)
            && let Some(cause) = hopeless(world, pod)
        {
            end(pod, &cause, &mut decision);
        }
        decision
    }
}

impl PodGc {
    fn trim(&self, world: &World, decision: &mut Decision) {
        let ended = world
            .pods
            .all()
            .filter(|pod| pods::has_ended(pod) && !pod.is_leaving());
        let mut ended: Vec<&Arc<Pod>> = ended.collect();
        if ended.len() <= self.max_ended {
            return;
        }
        ended.sort_by_key(|pod| (pod.created(), pod.name().to_owned()));
        for pod in &ended[..ended.len() - self.max_ended] {
            end(
                pod,
                &format!("more than {} have ended", self.max_ended),
                decision,
            );
        }
    }
}

/// Why nobody will ever end this pod.
fn hopeless(world: &World, pod: &Pod) -> Option<String> {
    let Some(name) = pods::node(pod) else {
        return pod.is_leaving().then(|| "it was never placed".to_owned());
    };
    let Some(node) = world.nodes.get("", name) else {
        return Some(format!("node {name} is gone"));
    };
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let mut taints = taints.into_iter().flatten();
    let out = taints.any(|taint| taint.key == OUT_OF_SERVICE);
    (out && pod.is_leaving()).then(|| format!("node {name} is out of service"))
}

fn end(pod: &Pod, cause: &str, decision: &mut Decision) {
    let deed = Deed::Delete {
        target: Ref::to::<Pod>(pod.namespace(), pod.name()),
        guard: Guard::same(pod),
        grace_s: Some(0),
        dependents: Dependents::Background,
        gone: Vec::new(),
    };
    decision.push(deed, cause);
}
