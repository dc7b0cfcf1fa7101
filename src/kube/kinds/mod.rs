//! The table of kinds. The next kind is a file here and a line in [`KINDS`].

mod cells;
mod checks;
mod config;
mod daemon_set;
mod deployment;
mod endpoints;
mod event;
mod job;
mod lease;
mod namespace;
mod node;
mod pod;
mod pod_defaults;
mod pod_spec;
mod replica_set;
mod revision;
mod service;
mod service_account;
mod workload;

use crate::kind::ObjectKind;

pub use config::{CONFIG_MAP, SECRET};
pub use daemon_set::DAEMON_SET;
pub use deployment::DEPLOYMENT;
pub use endpoints::{ENDPOINT_SLICE, ENDPOINTS};
pub use event::{CORE_EVENT, EVENT};
pub use job::JOB;
pub use lease::LEASE;
pub use namespace::NAMESPACE;
pub use node::NODE;
pub use pod::POD;
pub use replica_set::REPLICA_SET;
pub use revision::CONTROLLER_REVISION;
pub use service::SERVICE;
pub use service_account::SERVICE_ACCOUNT;

/// All kinds, in the order in which discovery names them.
pub static KINDS: &[&ObjectKind] = &[
    &CONFIG_MAP,
    &ENDPOINTS,
    &CORE_EVENT,
    &NAMESPACE,
    &NODE,
    &POD,
    &SECRET,
    &SERVICE_ACCOUNT,
    &SERVICE,
    &CONTROLLER_REVISION,
    &DAEMON_SET,
    &DEPLOYMENT,
    &REPLICA_SET,
    &JOB,
    &LEASE,
    &ENDPOINT_SLICE,
    &EVENT,
];

/// The kind behind a path of the API.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static ObjectKind> {
    let wanted = (group, version, plural);
    KINDS
        .iter()
        .copied()
        .find(|kind| (kind.group, kind.version, kind.plural) == wanted)
}

/// The kind of an object's `apiVersion` and `kind`.
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static ObjectKind> {
    KINDS
        .iter()
        .copied()
        .find(|row| row.kind == kind && row.api_version() == api_version)
}

/// Kinds whose objects live in namespaces, each stored object once.
pub fn namespaced() -> impl Iterator<Item = &'static ObjectKind> {
    KINDS
        .iter()
        .copied()
        .filter(|kind| kind.namespaced && *kind != &EVENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_whole_and_differ() {
        let mut seen = BTreeSet::new();
        for kind in KINDS {
            assert!(seen.insert((kind.group, kind.plural)), "{kind:?} twice");
            assert!(!kind.kind.is_empty() && !kind.place.is_empty(), "{kind:?}");
            assert_eq!(kind.kind.to_lowercase(), kind.singular);
            assert_eq!(kind.has(crate::Subresource::Scale), kind.scale.is_some());
            assert!(!kind.columns.is_empty(), "{kind:?}");
            let found = by_resource(kind.group, kind.version, kind.plural);
            assert_eq!(found, Some(*kind));
            assert_eq!(by_kind(&kind.api_version(), kind.kind), Some(*kind));
        }
        assert_eq!(by_resource("", "v2", "pods"), None);
    }
}
