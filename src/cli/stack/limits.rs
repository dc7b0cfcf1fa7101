//! Processors and memory: requests and limits.

use orc_compose::model::service::{DeployLimits, Service};
use serde_json::{Map, Value, json};

/// `resources` of a container; `None` when the file says nothing.
pub(super) fn resources(service: &Service) -> Option<Value> {
    let deploy = service.deploy.as_ref();
    let deploy = deploy.and_then(|deploy| deploy.resources.as_ref());
    let most = deploy.and_then(|resources| resources.limits.as_ref());
    let least = deploy.and_then(|resources| resources.reservations.as_ref());
    let mut all = Map::new();
    let limits = amounts(most, service.cpus, service.mem_limit);
    let requests = amounts(least, None, service.mem_reservation);
    for (key, amounts) in [("limits", limits), ("requests", requests)] {
        if !amounts.is_empty() {
            all.insert(key.into(), amounts.into());
        }
    }
    (!all.is_empty()).then(|| all.into())
}

/// What `deploy.resources` says, and else the service itself.
fn amounts(
    deploy: Option<&DeployLimits>,
    cpus: Option<f64>,
    memory: Option<i64>,
) -> Map<String, Value> {
    let mut all = Map::new();
    let cpus = deploy.and_then(|limits| limits.cpus).or(cpus);
    if let Some(cpus) = cpus.filter(|cpus| *cpus > 0.0) {
        all.insert("cpu".into(), json!(processors(cpus)));
    }
    let memory = deploy.and_then(|limits| limits.memory).or(memory);
    if let Some(bytes) = memory.filter(|bytes| *bytes > 0) {
        all.insert("memory".into(), json!(bytes.to_string()));
    }
    all
}

/// `2`, or `250m`: thousandths, at least one.
fn processors(cpus: f64) -> String {
    let thousandths = (cpus * 1000.0).round().max(1.0);
    match thousandths % 1000.0 == 0.0 {
        true => format!("{}", thousandths / 1000.0),
        false => format!("{thousandths}m"),
    }
}
