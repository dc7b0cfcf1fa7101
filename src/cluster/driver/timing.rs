//! What the driver measures by the clock: waits after failures, and when nodes were last heard.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use orc_base::Time;
use serde_json::Value;

use crate::control::node::LEASES;
use crate::reference::Kind;
use crate::world::{Change, World};

/// How long to wait after so many failures in a row: 10 ms doubled each time, half a minute at most.
pub(crate) fn backoff(failures: u32) -> Duration {
    let doubled = 1_u64 << failures.saturating_sub(1).min(16);
    Duration::from_millis(10 * doubled).min(Duration::from_secs(30))
}

/// Whether an object is a node's lease with another time in it than was seen. The time itself is the
/// node's, and says nothing here.
pub(crate) fn renewal(world: &World, kind: Kind, object: &Value) -> bool {
    if kind != Kind::of::<Lease>() || object["metadata"]["namespace"] != LEASES {
        return false;
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let before = world.leases.get(LEASES, name);
    let before = before.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
    let before = before.map(|time| serde_json::json!(time));
    before.as_ref() != Some(&object["spec"]["renewTime"])
}

/// Notes that a node was heard: its lease was renewed, or it was not known before.
pub(crate) fn hear(world: &mut World, change: &Change, renewed: bool, now: Time) {
    let name = &change.target.name;
    if renewed || change.target.kind == Kind::of::<Node>() && !world.heartbeats.contains_key(name) {
        world.heartbeats.insert(name.clone(), now);
    }
}
