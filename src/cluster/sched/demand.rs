//! What a pod asks of a node, read once from its spec.
//!
//! Plain and complete: filter and score look at nothing else of a pod. Defaults are those of Kubernetes'
//! scheduler; `matchLabelKeys` are resolved here.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec, PreferredSchedulingTerm, Toleration,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use orc_base::Time;

use crate::labels::{self, Labels};
use crate::object::Facts;
use crate::sched::resources::Resources;

/// A pod, as the scheduler sees it.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    /// `metadata.uid`: who it is.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.priority`: higher goes first.
    pub priority: i32,
    /// When it was created: earlier goes first.
    pub created: Time,
    /// What it asks for.
    pub resources: Resources,
    pub(crate) labels: Labels,
    /// The uid of what governs it: its siblings are spread.
    pub(crate) owner: Option<String>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) node_selector: Labels,
    /// Required terms, one of which must hold; `None` when there are no requirements.
    pub(crate) node_terms: Option<Vec<NodeSelectorTerm>>,
    pub(crate) node_preferences: Vec<PreferredSchedulingTerm>,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) together: Vec<Term>,
    pub(crate) apart: Vec<Term>,
    /// Weighted wishes; a negative weight wishes to be apart.
    pub(crate) wishes: Vec<(i64, Term)>,
    pub(crate) spread: Vec<Spread>,
    /// The one node that `metadata.name` allows, as daemons' pods say.
    pub(crate) only_node: Option<String>,
    /// On its way out: holds its place, but is no peer to others any more.
    pub(crate) leaving: bool,
}

/// A port of the node itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) address: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
}

/// Which pods, and what makes two nodes the same place.
#[derive(Debug, Clone)]
pub(crate) struct Term {
    pub(crate) peers: Peers,
    pub(crate) topology: String,
}

/// Pods picked by their labels in some namespaces.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    pub(crate) selector: Option<LabelSelector>,
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) namespace_selector: Option<LabelSelector>,
}

/// An even spread over places.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    pub(crate) peers: Peers,
    pub(crate) topology: String,
    pub(crate) max_skew: i64,
    pub(crate) min_domains: i64,
    pub(crate) required: bool,
    pub(crate) honor_affinity: bool,
    pub(crate) honor_taints: bool,
}

impl Demand {
    /// Reads a pod.
    pub fn of(pod: &Pod) -> Self {
        let nothing = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&nothing);
        let affinity = spec.affinity.as_ref();
        let node = affinity.and_then(|affinity| affinity.node_affinity.as_ref());
        let required = node.and_then(|n| {
            n.required_during_scheduling_ignored_during_execution
                .as_ref()
        });
        let node_terms = required.map(|required| required.node_selector_terms.clone());
        let (together, apart, wishes) = peers_of(pod, spec);
        Self {
            uid: pod.uid().to_owned(),
            namespace: pod.namespace().to_owned(),
            name: pod.name().to_owned(),
            priority: spec.priority.unwrap_or_default(),
            created: pod.created(),
            resources: Resources::of_pod(spec),
            labels: pod.labels().clone(),
            owner: pod.controller().map(|owner| owner.uid.clone()),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            only_node: node_terms.as_deref().and_then(only_node),
            node_terms,
            node_preferences: node
                .and_then(|n| {
                    n.preferred_during_scheduling_ignored_during_execution
                        .clone()
                })
                .unwrap_or_default(),
            ports: host_ports(spec),
            together,
            apart,
            wishes,
            spread: spec
                .topology_spread_constraints
                .iter()
                .flatten()
                .map(|constraint| spread(pod, constraint))
                .collect(),
            leaving: pod.is_leaving(),
        }
    }

    /// `namespace/name`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Peers {
    /// Whether these are the pods meant. `namespace_labels` are those of the pod's namespace.
    pub(crate) fn pick(&self, pod: &Demand, namespace_labels: Option<&Labels>) -> bool {
        let by_label = || {
            let selector = self.namespace_selector.as_ref();
            matches!((selector, namespace_labels), (Some(s), Some(l)) if labels::matches(s, l))
        };
        let selected = |selector| labels::matches(selector, &pod.labels);
        (self.namespaces.contains(&pod.namespace) || by_label())
            && self.selector.as_ref().is_some_and(selected)
    }

    /// What tells two of them apart.
    pub(crate) fn key(&self) -> String {
        let text = |selector: &Option<LabelSelector>| {
            serde_json::to_string(selector).expect("a selector is plain data")
        };
        let names = self.namespaces.iter().map(String::as_str);
        let names = names.collect::<Vec<_>>().join(",");
        format!(
            "{names} {} {}",
            text(&self.namespace_selector),
            text(&self.selector)
        )
    }
}

fn peers_of(pod: &Pod, spec: &PodSpec) -> (Vec<Term>, Vec<Term>, Vec<(i64, Term)>) {
    let affinity = spec.affinity.as_ref();
    let with = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let without = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let all = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<Term> {
        terms.into_iter().flatten().map(|t| term(pod, t)).collect()
    };
    let together = all(with.and_then(|w| {
        w.required_during_scheduling_ignored_during_execution
            .as_ref()
    }));
    let apart = all(without.and_then(|w| {
        w.required_during_scheduling_ignored_during_execution
            .as_ref()
    }));
    let toward = with.and_then(|w| {
        w.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let away = without.and_then(|w| {
        w.preferred_during_scheduling_ignored_during_execution
            .as_ref()
    });
    let wishes = toward
        .into_iter()
        .flatten()
        .map(|wish| (i64::from(wish.weight), term(pod, &wish.pod_affinity_term)))
        .chain(
            away.into_iter()
                .flatten()
                .map(|wish| (-i64::from(wish.weight), term(pod, &wish.pod_affinity_term))),
        )
        .collect();
    (together, apart, wishes)
}

fn term(pod: &Pod, term: &PodAffinityTerm) -> Term {
    let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
    if namespaces.is_empty() && term.namespace_selector.is_none() {
        namespaces.insert(pod.namespace().to_owned());
    }
    let mut selector = term.label_selector.clone();
    let keys = term.match_label_keys.iter().flatten();
    let unlike = term.mismatch_label_keys.iter().flatten();
    if let Some(selector) = &mut selector {
        require(selector, pod.labels(), "In", keys);
        require(selector, pod.labels(), "NotIn", unlike);
    }
    Term {
        peers: Peers {
            selector,
            namespaces,
            namespace_selector: term.namespace_selector.clone(),
        },
        topology: term.topology_key.clone(),
    }
}

fn spread(pod: &Pod, constraint: &TopologySpreadConstraint) -> Spread {
    let mut selector = constraint.label_selector.clone();
    if let Some(selector) = &mut selector {
        let keys = constraint.match_label_keys.iter().flatten();
        require(selector, pod.labels(), "In", keys);
    }
    let honor =
        |policy: &Option<String>, default: &str| policy.as_deref().unwrap_or(default) == "Honor";
    Spread {
        peers: Peers {
            selector,
            namespaces: BTreeSet::from([pod.namespace().to_owned()]),
            namespace_selector: None,
        },
        topology: constraint.topology_key.clone(),
        max_skew: i64::from(constraint.max_skew),
        min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
        required: constraint.when_unsatisfiable == "DoNotSchedule",
        honor_affinity: honor(&constraint.node_affinity_policy, "Honor"),
        honor_taints: honor(&constraint.node_taints_policy, "Ignore"),
    }
}

/// Adds "the same value as the pod's own" for each of these keys that the pod has.
fn require<'k>(
    selector: &mut LabelSelector,
    own: &Labels,
    operator: &str,
    keys: impl Iterator<Item = &'k String>,
) {
    for key in keys {
        if let Some(value) = own.get(key) {
            let requirement = LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.to_owned(),
                values: Some(vec![value.clone()]),
            };
            let all = selector.match_expressions.get_or_insert_default();
            if !all.contains(&requirement) {
                all.push(requirement);
            }
        }
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let on_host = spec.host_network == Some(true);
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars);
    ports
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = match on_host {
                true => Some(port.host_port.unwrap_or(port.container_port)),
                false => port.host_port,
            };
            Some(HostPort {
                address: match port.host_ip.as_deref() {
                    None | Some("") => "0.0.0.0".to_owned(),
                    Some(address) => address.to_owned(),
                },
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: number.filter(|number| *number > 0)?,
            })
        })
        .collect()
}

/// The node that the terms name, when they can only mean one.
fn only_node(terms: &[NodeSelectorTerm]) -> Option<String> {
    let [term] = terms else { return None };
    let field = term
        .match_fields
        .iter()
        .flatten()
        .find(|field| field.key == "metadata.name" && field.operator == "In")?;
    match field.values.as_deref() {
        Some([name]) => Some(name.clone()),
        _ => None,
    }
}
