//! Which pods may speak to which: networks of a project as NetworkPolicies.
//!
//! With one network that is not internal everybody may speak to everybody, and no policy is needed.
//! Otherwise pods take what comes from their networks and what is published, and those with internal
//! networks alone speak to their networks only, and ask for names.

use std::collections::BTreeSet;

use orc_compose::model::Project;
use orc_compose::model::service::Service;
use serde_json::{Value, json};

use crate::cli::stack::names::label;
use crate::cli::stack::notes::Notes;
use crate::cli::stack::ports;

/// A label's name has 63 characters at most.
const MAX_MEMBER: usize = 63 - "com.docker.compose.network.".len();

/// What marks the pods of a network.
pub(super) fn member(network: &str) -> String {
    let name: String = label(network).chars().take(MAX_MEMBER).collect();
    format!("com.docker.compose.network.{}", name.trim_end_matches('-'))
}

/// Whether the project's networks keep anybody apart.
pub(super) fn are_needed(project: &Project) -> bool {
    let joined: BTreeSet<&String> = project
        .services
        .values()
        .flat_map(|service| service.networks.keys())
        .collect();
    let internal = |key: &&String| project.networks.get(*key).is_some_and(|one| one.internal);
    joined.len() > 1 || joined.iter().any(internal)
}

/// The policy of a network: its pods take what comes from its pods.
pub(super) fn network(key: &str) -> Value {
    let members = json!({"matchLabels": {member(key): "true"}});
    json!({
        "podSelector": members,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": members}]}],
    })
}

/// The policy of a service that publishes ports; `None` when it publishes none.
pub(super) fn published(service: &Service, selector: &Value, notes: &mut Notes) -> Option<Value> {
    let published = ports::reachable(service, notes);
    if published.is_empty() {
        return None;
    }
    let ports: Vec<Value> = published
        .iter()
        .map(|(port, protocol)| json!({"port": port, "protocol": protocol.to_uppercase()}))
        .collect();
    Some(json!({
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": ports}],
    }))
}

/// The policy of a service whose networks are all internal; `None` for others.
pub(super) fn internal(project: &Project, service: &Service, selector: &Value) -> Option<Value> {
    let is_internal = |key: &String| project.networks.get(key).is_some_and(|one| one.internal);
    if service.networks.is_empty() || !service.networks.keys().all(is_internal) {
        return None;
    }
    let networks = service.networks.keys();
    let peers: Vec<Value> = networks
        .map(|key| json!({"podSelector": {"matchLabels": {member(key): "true"}}}))
        .collect();
    let names = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]);
    Some(json!({
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Egress"],
        "egress": [{"to": peers}, {"to": [{"namespaceSelector": {}}], "ports": names}],
    }))
}
