//! What is reachable: ports of containers, the names under which services are found, and what is
//! published.
//!
//! A service that says its ports has an address of its own that spreads over its pods. Who says none,
//! or wants `endpoint_mode: dnsrr`, is found by the addresses of its pods, on any port.

use std::collections::{BTreeMap, BTreeSet};

use orc_compose::model::service::{Port, Service};
use serde_json::{Value, json};

use crate::cli::stack::notes::Notes;

/// A port of a container: its number and `tcp` or `udp`.
pub(super) type Exposed = (u16, String);

/// The ports that a service says it has, in order.
pub(super) fn exposed(service: &Service) -> BTreeSet<Exposed> {
    let listed = service.expose.iter().flat_map(|text| expose(text));
    let published = service
        .ports
        .iter()
        .map(|port| (port.target, protocol(port)));
    listed.chain(published).collect()
}

/// `80`, `80/udp`, `80-82/tcp`; canonical, so that anything else cannot be there.
fn expose(text: &str) -> Vec<Exposed> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last)
            .map(|port| (port, protocol.to_owned()))
            .collect(),
        _ => Vec::new(),
    }
}

fn protocol(port: &Port) -> String {
    port.protocol.clone().unwrap_or_else(|| "tcp".into())
}

/// At most fifteen letters, digits and hyphens: `tcp-8080`.
fn name((port, protocol): &Exposed) -> String {
    format!("{protocol}-{port}")
}

/// `ports` of a container. A port published with `mode: host` is the node's own.
pub(super) fn container_ports(service: &Service) -> Vec<Value> {
    let on_node = |exposed: &Exposed| {
        let mut ports = service.ports.iter();
        let port = ports.find(|port| {
            port.mode.as_deref() == Some("host") && (port.target, protocol(port)) == *exposed
        });
        port.and_then(|port| port.published.as_deref()?.parse::<u16>().ok())
    };
    exposed(service)
        .iter()
        .map(|exposed| {
            let mut port = json!({
                "containerPort": exposed.0,
                "name": name(exposed),
                "protocol": exposed.1.to_uppercase(),
            });
            if let Some(number) = on_node(exposed) {
                port["hostPort"] = number.into();
            }
            port
        })
        .collect()
}

/// `spec` of the Service by which others find these pods.
pub(super) fn inside(service: &Service, selector: &Value, dnsrr: bool) -> Value {
    let ports: Vec<Value> = exposed(service)
        .iter()
        .map(|exposed| {
            json!({
                "name": name(exposed),
                "port": exposed.0,
                "protocol": exposed.1.to_uppercase(),
                "targetPort": exposed.0,
            })
        })
        .collect();
    let mut spec = json!({"selector": selector});
    if ports.is_empty() || dnsrr {
        spec["clusterIP"] = "None".into();
    }
    if !ports.is_empty() {
        spec["ports"] = ports.into();
    }
    spec
}

/// `spec` of the Service by which the world reaches these pods; `None` when nothing is published.
pub(super) fn outside(service: &Service, selector: &Value, notes: &mut Notes) -> Option<Value> {
    let mut ports: BTreeMap<(u16, String), Value> = BTreeMap::new();
    for port in &service.ports {
        let Some(number) = published(service, port, notes) else {
            continue;
        };
        let protocol = protocol(port);
        let spec = json!({
            "name": format!("{protocol}-{number}"),
            "port": number,
            "protocol": protocol.to_uppercase(),
            "targetPort": port.target,
        });
        ports.insert((number, protocol), spec);
    }
    let ports: Vec<Value> = ports.into_values().collect();
    let published = !ports.is_empty();
    published.then(|| json!({"type": "LoadBalancer", "selector": selector, "ports": ports}))
}

/// The ports of pods that the world reaches, by the cluster's address or the node's.
pub(super) fn reachable(service: &Service, notes: &mut Notes) -> BTreeSet<Exposed> {
    let mut all = BTreeSet::new();
    for port in &service.ports {
        let on_node = port.mode.as_deref() == Some("host");
        if on_node || published(service, port, notes).is_some() {
            all.insert((port.target, protocol(port)));
        }
    }
    all
}

/// The port of the world, if there is one.
fn published(service: &Service, port: &Port, notes: &mut Notes) -> Option<u16> {
    let key = "ports";
    let name = &service.name;
    if port.mode.as_deref() == Some("host") {
        return None;
    }
    let address = port.host_ip.as_deref().unwrap_or_default();
    let address: Option<std::net::IpAddr> = address.parse().ok();
    if address.is_some_and(|address| address.is_loopback()) {
        let text = format!(
            "port {} is for one machine alone, so it is not published: use `kubectl port-forward`",
            port.target
        );
        notes.service(name, key, &text);
        return None;
    }
    if address.is_some_and(|address| !address.is_unspecified()) {
        let text = format!(
            "port {} is published at the address that the cluster gives",
            port.target
        );
        notes.service(name, key, &text);
    }
    match port.published.as_deref() {
        None | Some("") => Some(port.target),
        Some(text) => {
            let first = text.split('-').next().unwrap_or_default();
            if text.contains('-') {
                let text = format!("of the ports {text} only {first} is published");
                notes.service(name, key, &text);
            }
            first.parse().ok()
        }
    }
}
