//! Placements a second over 5 000 simulated nodes.
//!
//! Only decisions: no objects are read or written. Three kinds of pods, since what they ask decides what a
//! placement costs: only resources, an even spread over zones, none beside another of its kind on a node.
//! Batches are as large as the driver's.

use std::time::Instant;

use k8s_openapi::api::core::v1::{Node, Pod};
use orc_cluster::sched::{Book, Demand, decide};
use serde_json::{Value, json};

const NODES: usize = 5000;
const PODS: usize = 10_000;
const BATCH: usize = 256;
/// Placements a second that the design promises.
const PROMISED: f64 = 4000.0;
/// What owns the pods: they come from so many replica sets.
const OWNERS: usize = 100;

fn main() {
    println!("{NODES} nodes, {PODS} pods of {OWNERS} owners, in batches of {BATCH}");
    let plain = run("resources only", &json!({}));
    run(
        "a soft spread over zones",
        &spread("ScheduleAnyway", "zone"),
    );
    run(
        "a required spread over zones",
        &spread("DoNotSchedule", "zone"),
    );
    run("never two on one node", &apart());
    let verdict = if plain >= PROMISED { "kept" } else { "missed" };
    println!("promised: {PROMISED:.0} placements/s of the first kind: {verdict}");
}

fn run(name: &str, extra: &Value) -> f64 {
    let mut book = Book::new();
    for number in 0..NODES {
        book.set_node(&node(number));
    }
    let pods: Vec<Demand> = (0..PODS)
        .map(|number| Demand::of(&pod(number, extra)))
        .collect();
    let start = Instant::now();
    let mut placed = 0;
    for batch in pods.chunks(BATCH) {
        let placements = decide(&mut book, batch.to_vec(), 1);
        placed += placements
            .iter()
            .filter(|placement| placement.outcome.is_ok())
            .count();
    }
    let rate = placed as f64 / start.elapsed().as_secs_f64();
    println!("{name:<32} {rate:>9.0} placements/s  ({placed} of {PODS} placed)");
    assert_eq!(placed, PODS, "there is room for all of them");
    rate
}

fn node(number: usize) -> Node {
    let name = format!("node-{number}");
    let node = json!({
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name,
            "zone": format!("zone-{}", number % 10),
        } },
        "status": { "allocatable": {
            "cpu": (4 + number % 8).to_string(), "memory": format!("{}Gi", 8 + number % 16), "pods": "110",
        } },
    });
    serde_json::from_value(node).expect("a node")
}

fn pod(number: usize, extra: &Value) -> Pod {
    let owner = format!("owner-{}", number % OWNERS);
    let mut pod = json!({
        "metadata": {
            "name": format!("pod-{number}"), "namespace": "default", "uid": format!("uid-{number}"),
            "labels": { "app": owner },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner,
                "controller": true,
            }],
        },
        "spec": { "containers": [{ "name": "main", "resources": { "requests": {
            "cpu": "100m", "memory": "128Mi",
        } } }] },
    });
    if let Some(fields) = extra.as_object() {
        for (field, value) in fields {
            let text = value.to_string().replace("OWNER", &owner);
            pod["spec"][field] = serde_json::from_str(&text).expect("JSON");
        }
    }
    serde_json::from_value(pod).expect("a pod")
}

fn spread(when: &str, topology: &str) -> Value {
    json!({ "topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": topology, "whenUnsatisfiable": when,
        "labelSelector": { "matchLabels": { "app": "OWNER" } },
    }] })
}

fn apart() -> Value {
    json!({ "affinity": { "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": { "matchLabels": { "app": "OWNER" } },
        }],
    } } })
}
