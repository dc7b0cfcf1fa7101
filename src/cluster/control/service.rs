//! Services: the addresses of the pods that a selector picks, as endpoint slices and endpoints.
//!
//! A pod is in as soon as it has an address, and ready as soon as it says so. Slices hold a hundred
//! endpoints each, one set of slices for each set of ports, since a port may have a name that means
//! another number in another pod. Services without a selector are somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orc_base::Time;
use serde_json::{Value, json};

use crate::control::claim::reference;
use crate::control::{Rule, names, pods};
use crate::object::Facts;
use crate::operation::{Decision, Deed};
use crate::reference::{Kind, Ref};
use crate::world::{Change, World};

const NAME: &str = "kubernetes.io/service-name";
const MANAGED: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Endpoints in a slice, and addresses in `Endpoints`, at most.
const SLICE: usize = 100;
const ENDPOINTS: usize = 1000;

/// The rule.
#[derive(Debug, Default)]
pub struct Services;

impl Rule for Services {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn concerns(&self, world: &World, change: &Change) -> Vec<Ref> {
        let namespace = &change.target.namespace;
        let service = |name: &str| Ref::to::<Service>(namespace, name);
        match change.target.kind {
            own if own == Kind::of::<Service>() => vec![change.target.clone()],
            own if own == Kind::of::<Endpoints>() => vec![service(&change.target.name)],
            own if own == Kind::of::<EndpointSlice>() => {
                let names = change.both().filter_map(|seen| seen.labels().get(NAME));
                names.map(|name| service(name)).collect()
            }
            own if own == Kind::of::<Pod>() => {
                let picking = world
                    .services
                    .inside(namespace)
                    .filter(|service| change.both().any(|seen| picks(service, seen.labels())));
                picking.map(|found| service(found.name())).collect()
            }
            _ => Vec::new(),
        }
    }

    fn decide(&self, world: &World, me: &Ref, _: Time) -> Decision {
        let mut decision = Decision::default();
        let Some(service) = world.services.get(&me.namespace, &me.name) else {
            return decision;
        };
        let selects = service
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.as_ref());
        if service.is_leaving() || selects.is_none_or(BTreeMap::is_empty) {
            return decision;
        }
        let backends = backends(world, service);
        slices(world, me, service, &backends, &mut decision);
        endpoints(world, me, service, &backends, &mut decision);
        decision
    }
}

/// One pod behind a service.
struct Backend<'w> {
    pod: &'w Arc<Pod>,
    addresses: Vec<String>,
    ready: bool,
    serving: bool,
    zone: Option<String>,
    ports: Vec<Value>,
}

fn picks(service: &Service, labels: &crate::labels::Labels) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty()
            && selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    })
}

fn backends<'w>(world: &'w World, service: &'w Service) -> Vec<Backend<'w>> {
    let spec = service.spec.clone().unwrap_or_default();
    let always = spec.publish_not_ready_addresses == Some(true);
    let pods = world.pods.inside(service.namespace());
    pods.filter(|pod| picks(service, pod.labels()) && !pods::has_ended(pod))
        .filter_map(|pod| {
            let addresses = addresses(pod);
            let node = world.nodes.get("", pods::node(pod).unwrap_or_default());
            let serving = pods::is_ready(pod);
            (!addresses.is_empty()).then(|| Backend {
                pod,
                addresses,
                ready: always || serving && !pod.is_leaving(),
                serving,
                zone: node.and_then(|node: &Arc<Node>| {
                    node.labels().get("topology.kubernetes.io/zone").cloned()
                }),
                ports: spec
                    .ports
                    .iter()
                    .flatten()
                    .filter_map(|port| resolve(port, pod))
                    .collect(),
            })
        })
        .collect()
}

fn addresses(pod: &Pod) -> Vec<String> {
    let status = pod.status.as_ref();
    let mut all: Vec<String> = status
        .and_then(|status| status.pod_ips.as_ref())
        .into_iter()
        .flatten()
        .map(|address| address.ip.clone())
        .collect();
    let first = status.and_then(|status| status.pod_ip.clone());
    if let Some(first) = first.filter(|first| !first.is_empty() && !all.contains(first)) {
        all.insert(0, first);
    }
    all
}

/// A port of the service as it is in this pod; nothing when its name means none there.
fn resolve(port: &ServicePort, pod: &Pod) -> Option<Value> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let number = match &port.target_port {
        None | Some(IntOrString::Int(0)) => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, protocol)?,
    };
    let mut value = json!({
        "name": port.name.as_deref().unwrap_or_default(),
        "port": number,
        "protocol": protocol,
    });
    if let Some(application) = &port.app_protocol {
        value["appProtocol"] = json!(application);
    }
    Some(value)
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let containers = spec.containers.iter().chain(sidecars);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let found = ports.find(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    })?;
    Some(found.container_port)
}

fn slices(
    world: &World,
    me: &Ref,
    service: &Service,
    backends: &[Backend<'_>],
    decision: &mut Decision,
) {
    let wanted = wanted_slices(me, service, backends);
    let there = world.slices.inside(&me.namespace).filter(|slice| {
        slice
            .labels()
            .get(NAME)
            .is_some_and(|name| *name == me.name)
            && slice
                .labels()
                .get(MANAGED)
                .is_some_and(|manager| manager == MANAGER)
    });
    let there: BTreeMap<&str, &Arc<EndpointSlice>> =
        there.map(|slice| (slice.name(), slice)).collect();
    for (name, object) in &wanted {
        let target = Ref::to::<EndpointSlice>(&me.namespace, name);
        match there.get(name.as_str()) {
            None => {
                let object = object.clone();
                decision.push(Deed::Create { target, object }, "its pods changed");
            }
            Some(slice) => {
                if let Some(patch) = changed(&json!(***slice), object, &["endpoints", "ports"]) {
                    decision.push(Deed::patch(target, &***slice, patch), "its pods changed");
                }
            }
        }
    }
    let superfluous = there
        .iter()
        .filter(|(name, slice)| !wanted.contains_key(**name) && !slice.is_leaving());
    for (name, slice) in superfluous {
        let target = Ref::to::<EndpointSlice>(&me.namespace, name);
        decision.push(Deed::delete(target, &***slice), "nothing is left in it");
    }
}

/// The slices by name. There is always one, so that a reader can tell "none" from "not yet".
fn wanted_slices(me: &Ref, service: &Service, backends: &[Backend<'_>]) -> BTreeMap<String, Value> {
    let families = families(service);
    let mut slices = BTreeMap::new();
    for family in families {
        let mut by_ports: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
        for backend in backends {
            let of_family = |a: &&String| a.contains(':') == (family == "IPv6");
            let own: Vec<&String> = backend.addresses.iter().filter(of_family).take(1).collect();
            if !own.is_empty() {
                let ports = backend.ports.clone();
                let key = json!(ports).to_string();
                let group = by_ports.entry(key).or_insert_with(|| (ports, Vec::new()));
                group.1.push(endpoint(service, backend, &own));
            }
        }
        if by_ports.is_empty() {
            by_ports.insert("[]".to_owned(), (Vec::new(), Vec::new()));
        }
        for (key, (ports, endpoints)) in by_ports {
            let chunks: Vec<&[Value]> = match endpoints.is_empty() {
                true => vec![&[]],
                false => endpoints.chunks(SLICE).collect(),
            };
            for (number, chunk) in chunks.into_iter().enumerate() {
                let seed = format!("{}/{family}/{key}", service.uid());
                let name = names::child(&me.name, &seed, number);
                let object = slice(me, service, &name, family, &ports, chunk);
                slices.insert(name, object);
            }
        }
    }
    slices
}

fn families(service: &Service) -> Vec<&'static str> {
    let spec = service.spec.as_ref();
    let asked = spec.and_then(|spec| spec.ip_families.as_ref());
    let asked: BTreeSet<&str> = asked.into_iter().flatten().map(String::as_str).collect();
    let known = ["IPv4", "IPv6"]
        .into_iter()
        .filter(|family| asked.contains(family));
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        vec!["IPv4"]
    } else {
        known
    }
}

fn slice(
    me: &Ref,
    service: &Service,
    name: &str,
    family: &str,
    ports: &[Value],
    endpoints: &[Value],
) -> Value {
    let mut labels = service.labels().clone();
    labels.insert(NAME.to_owned(), me.name.clone());
    labels.insert(MANAGED.to_owned(), MANAGER.to_owned());
    let spec = service.spec.as_ref();
    if spec.is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None")) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "generateName": format!("{}-", me.name),
            "namespace": me.namespace,
            "labels": labels,
            "ownerReferences": [reference(me, service)],
        },
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints,
    })
}

fn endpoint(service: &Service, backend: &Backend<'_>, addresses: &[&String]) -> Value {
    let mut value = json!({
        "addresses": addresses,
        "conditions": {
            "ready": backend.ready,
            "serving": backend.serving,
            "terminating": backend.pod.is_leaving(),
        },
        "targetRef": target_ref(backend.pod),
    });
    if let Some(node) = pods::node(backend.pod) {
        value["nodeName"] = json!(node);
    }
    if let Some(zone) = &backend.zone {
        value["zone"] = json!(zone);
    }
    if let Some(hostname) = hostname(service, backend.pod) {
        value["hostname"] = json!(hostname);
    }
    value
}

fn target_ref(pod: &Pod) -> Value {
    json!({
        "kind": "Pod",
        "namespace": pod.namespace(),
        "name": pod.name(),
        "uid": pod.uid(),
    })
}

/// The name of its own that a pod has under this service.
fn hostname<'p>(service: &Service, pod: &'p Pod) -> Option<&'p str> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.as_deref()?;
    (spec.subdomain.as_deref() == Some(service.name())).then_some(hostname)
}

fn endpoints(
    world: &World,
    me: &Ref,
    service: &Service,
    backends: &[Backend<'_>],
    decision: &mut Decision,
) {
    let mut labels = service.labels().clone();
    let spec = service.spec.as_ref();
    if spec.is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None")) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let subsets = subsets(service, backends);
    let target = Ref::to::<Endpoints>(&me.namespace, &me.name);
    let object = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": me.name,
            "namespace": me.namespace,
            "labels": labels,
            "ownerReferences": [reference(me, service)],
        },
        "subsets": subsets,
    });
    match world.endpoints.get(&me.namespace, &me.name) {
        None => decision.push(Deed::Create { target, object }, "its pods changed"),
        Some(there) => {
            if let Some(patch) = changed(&json!(**there), &object, &["subsets"]) {
                decision.push(Deed::patch(target, &**there, patch), "its pods changed");
            }
        }
    }
}

/// Ports, and the addresses behind them that are ready and that are not.
type Subset = (Vec<Value>, Vec<Value>, Vec<Value>);

fn subsets(service: &Service, backends: &[Backend<'_>]) -> Vec<Value> {
    let mut groups: BTreeMap<String, Subset> = BTreeMap::new();
    for backend in backends.iter().take(ENDPOINTS) {
        let leaving = backend.pod.is_leaving();
        let Some(address) = backend
            .addresses
            .first()
            .filter(|_| backend.ready || !leaving)
        else {
            continue;
        };
        let mut value = json!({ "ip": address, "targetRef": target_ref(backend.pod) });
        if let Some(node) = pods::node(backend.pod) {
            value["nodeName"] = json!(node);
        }
        if let Some(hostname) = hostname(service, backend.pod) {
            value["hostname"] = json!(hostname);
        }
        let key = json!(backend.ports).to_string();
        let group = groups.entry(key).or_default();
        group.0.clone_from(&backend.ports);
        match backend.ready {
            true => group.1.push(value),
            false => group.2.push(value),
        }
    }
    let subset = |(ports, ready, not_ready): Subset| {
        let mut subset = json!({});
        for (field, values) in [
            ("addresses", ready),
            ("notReadyAddresses", not_ready),
            ("ports", ports),
        ] {
            if !values.is_empty() {
                subset[field] = json!(values);
            }
        }
        subset
    };
    groups.into_values().map(subset).collect()
}

/// The patch that makes `fields` and the labels as wanted; nothing when they are.
fn changed(there: &Value, wanted: &Value, fields: &[&str]) -> Option<Value> {
    let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let mut patch = json!({});
    for field in fields {
        let (old, new) = (&there[field], &wanted[field]);
        if old != new && !(empty(old) && empty(new)) {
            patch[field] = new.clone();
        }
    }
    let labels = wanted["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten();
    for (key, value) in labels {
        if there["metadata"]["labels"][key] != *value {
            patch["metadata"]["labels"][key] = value.clone();
        }
    }
    (patch != json!({})).then_some(patch)
}
