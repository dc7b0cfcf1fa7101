//! Questions about one pod and one node that others than the scheduler ask, too.

use k8s_openapi::api::core::v1::{Node, PodSpec};

use crate::object::Facts;
use crate::sched::filter::term_met;
pub(crate) use crate::sched::filter::tolerated;

/// Whether a node has the labels that a pod's selector and required affinity ask for.
pub(crate) fn meets_affinity(spec: &PodSpec, node: &Node) -> bool {
    let mut selector = spec.node_selector.iter().flatten();
    let named = spec.node_name.as_deref().unwrap_or_default();
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|node| {
            node.required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    (named.is_empty() || named == node.name())
        && selector.all(|(key, value)| node.labels().get(key) == Some(value))
        && required.is_none_or(|required| {
            let mut terms = required.node_selector_terms.iter();
            terms.any(|term| term_met(node.name(), node.labels(), term))
        })
}
