//! Addresses and ports of services: one holder each, free with its object.

#![expect(
    clippy::needless_pass_by_value,
    reason = "values are written where they are used"
)]

use std::collections::BTreeSet;

use orc_store::{Limits, Range, Read, Store as _};
use serde_json::{Value, json};

use super::{World, options, world};
use crate::kinds::SERVICE;
use crate::objects::{DeleteOptions, Objects as _, Patch, Target};

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": spec,
    });
    if service["spec"].get("ports").is_none() {
        service["spec"]["ports"] = json!([{ "port": 80 }]);
    }
    service
}

async fn held(world: &World) -> Vec<String> {
    let range = Range {
        prefix: "/registry/claims/".to_owned(),
        ..Range::default()
    };
    let listing = world.store.list(&range, Read::Latest).await.unwrap();
    let shown = |entry: &orc_store::Entry| {
        let value = String::from_utf8_lossy(&entry.value).into_owned();
        format!(
            "{} {value}",
            &entry.key.as_str()["/registry/claims/".len()..]
        )
    };
    listing.entries.iter().map(shown).collect()
}

#[tokio::test]
async fn gives_and_frees_addresses_and_ports() {
    let world = world(Limits::default()).await;
    let made = world
        .create(service("web", json!({ "type": "NodePort" })))
        .await
        .unwrap();
    let address = made.text(&["spec", "clusterIP"]).to_owned();
    let port = made.list(&["spec", "ports"])[0]["nodePort"]
        .as_i64()
        .unwrap();
    assert!(address.starts_with("10.96.") && (30_000..=32_767).contains(&port));
    assert_eq!(made.at(&["spec", "clusterIPs"]), Some(&json!([address])));
    let wanted = [
        format!("addresses/{address} a/web"),
        format!("ports/{port} a/web"),
    ];
    assert_eq!(held(&world).await, wanted);
    // A writer that does not say what was given keeps it.
    let target = Target::new(&SERVICE, "a", "web");
    let mut plain = made.clone();
    for field in ["clusterIP", "clusterIPs"] {
        plain.remove(&["spec", field]);
    }
    plain.set(&["spec", "ports"], json!([{ "port": 80, "name": "http" }]));
    let kept = world
        .objects
        .update(&target, plain, &options())
        .await
        .unwrap()
        .object;
    assert_eq!(kept.text(&["spec", "clusterIP"]), address);
    assert_eq!(kept.list(&["spec", "ports"])[0]["nodePort"], port);
    let patch = Patch::Merge(json!({ "spec": { "type": "ClusterIP" } }));
    let inner = world
        .objects
        .patch(&target, &patch, &options())
        .await
        .unwrap()
        .object;
    assert_eq!(inner.list(&["spec", "ports"])[0].get("nodePort"), None);
    assert_eq!(held(&world).await, wanted[..1]);
    world
        .objects
        .delete(&target, &DeleteOptions::default())
        .await
        .unwrap();
    assert!(held(&world).await.is_empty());
}

#[tokio::test]
async fn refuses_what_another_holds() {
    let world = world(Limits::default()).await;
    let asked = json!({ "clusterIP": "10.96.0.10", "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] });
    world.create(service("one", asked.clone())).await.unwrap();
    for (spec, wanted) in [
        (
            asked,
            "spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already allocated",
        ),
        (
            json!({ "clusterIP": "192.0.2.1" }),
            "is not in the valid range. The range of valid IPs is 10.96.0.0/16",
        ),
        (
            json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 30080 }] }),
            "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated",
        ),
        (
            json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": 80 }] }),
            "The range of valid ports is 30000-32767",
        ),
        (
            json!({ "ports": [{ "port": 80, "nodePort": 30081 }] }),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
    ] {
        let status = world.create(service("two", spec)).await.unwrap_err();
        assert_eq!(status.code(), 422);
        assert!(status.message().contains(wanted), "{status}");
    }
    let headless = world
        .create(service("three", json!({ "clusterIP": "None" })))
        .await
        .unwrap();
    assert_eq!(headless.at(&["spec", "clusterIPs"]), Some(&json!(["None"])));
    let status = world
        .create(service("four", json!({ "externalIPs": ["192.0.2.1"] })))
        .await;
    assert!(
        status
            .unwrap_err()
            .message()
            .contains("external IPs are off")
    );
}

#[tokio::test]
async fn gives_nothing_twice_to_many_at_once() {
    let world = world(Limits::default()).await;
    let many = (0..40).map(|index| {
        let spec = json!({ "type": "NodePort" });
        world.create(service(&format!("s{index}"), spec))
    });
    let made = futures_util::future::join_all(many).await;
    let all: BTreeSet<String> = made
        .iter()
        .map(|made| {
            made.as_ref()
                .unwrap()
                .text(&["spec", "clusterIP"])
                .to_owned()
        })
        .collect();
    assert_eq!((all.len(), held(&world).await.len()), (40, 80));
}
