//! What a Compose file says of a service and Kubernetes has no word for, as a table: one row a key.

use serde_json::Value;

use crate::cli::stack::notes::Notes;

const NODE: &str = "left out: the node decides";
const CLUSTER: &str = "left out: the cluster decides";
const OF_POD: &str = "left out: Kubernetes has no such limit for a pod";
const CLASS: &str = "left out: Kubernetes has no word for it";

/// Keys that are left out, and why. Others are meant, or have nothing to do with where it runs.
const UNMEANT: &[(&str, &str)] = &[
    (
        "annotations",
        "left out: they are for the runtime of containers",
    ),
    ("blkio_config", OF_POD),
    ("cgroup", NODE),
    ("cgroup_parent", NODE),
    (
        "container_name",
        "left out: pods have names of their own; the service's name is found",
    ),
    ("cpu_count", OF_POD),
    ("cpu_percent", OF_POD),
    ("cpu_period", OF_POD),
    ("cpu_quota", "left out: say `cpus`"),
    ("cpu_rt_period", OF_POD),
    ("cpu_rt_runtime", OF_POD),
    (
        "cpu_shares",
        "left out: say `deploy.resources.reservations.cpus`",
    ),
    ("cpuset", NODE),
    ("credential_spec", CLASS),
    ("device_cgroup_rules", NODE),
    (
        "devices",
        "left out: devices come from plug-ins of the cluster",
    ),
    ("domainname", CLUSTER),
    ("external_links", CLASS),
    (
        "gpus",
        "left out: say the plug-in's resource where it is deployed",
    ),
    ("isolation", CLASS),
    (
        "links",
        "left out: services are found by their own names and aliases",
    ),
    ("logging", CLUSTER),
    ("mac_address", CLUSTER),
    ("mem_swappiness", OF_POD),
    ("memswap_limit", OF_POD),
    ("models", CLASS),
    ("oom_kill_disable", OF_POD),
    ("oom_score_adj", OF_POD),
    ("pids_limit", NODE),
    (
        "runtime",
        "left out: say a RuntimeClass where it is deployed",
    ),
    (
        "stop_signal",
        "left out: the image's own, or SIGTERM, is sent",
    ),
    ("storage_opt", CLASS),
    ("ulimits", NODE),
    (
        "use_api_socket",
        "left out: there is no such engine in a cluster",
    ),
    ("userns_mode", CLUSTER),
    ("uts", CLASS),
    ("volumes_from", "left out: mount the volumes by their names"),
];

/// The same inside `deploy`.
const UNMEANT_DEPLOY: &[(&[&str], &str)] = &[
    (
        &["labels"],
        "left out: they are for the service, of which there is none",
    ),
    (
        &["placement", "preferences"],
        "left out: the cluster spreads pods itself",
    ),
    (&["placement", "max_replicas_per_node"], CLUSTER),
    (&["resources", "limits", "pids"], NODE),
    (
        &["resources", "reservations", "devices"],
        "left out: devices come from plug-ins of the cluster",
    ),
    (&["resources", "reservations", "generic_resources"], CLASS),
    (
        &["rollback_config"],
        "left out: `kubectl rollout undo` goes back as updates go forward",
    ),
    (
        &["update_config", "delay"],
        "left out: pods follow each other when they are ready",
    ),
    (
        &["update_config", "failure_action"],
        "left out: an update that fails stops there",
    ),
    (
        &["update_config", "max_failure_ratio"],
        "left out: an update stops at the first pod that is not ready",
    ),
    (&["restart_policy", "delay"], CLUSTER),
    (&["restart_policy", "window"], CLUSTER),
];

/// Keys of a service's place on a network that are left out.
const UNMEANT_NETWORK: &[&str] = &[
    "driver_opts",
    "gw_priority",
    "interface_name",
    "ipv4_address",
    "ipv6_address",
    "link_local_ips",
    "mac_address",
    "priority",
];

/// Says what is left out of a service; `facts` is its canonical form.
pub(super) fn tell(service: &str, facts: &Value, notes: &mut Notes) {
    for (key, why) in UNMEANT {
        if asks(&facts[*key]) {
            notes.service(service, key, why);
        }
    }
    for (path, why) in UNMEANT_DEPLOY {
        let found = path.iter().fold(&facts["deploy"], |node, key| &node[*key]);
        if asks(found) {
            notes.service(service, &format!("deploy.{}", path.join(".")), why);
        }
    }
    let networks = facts["networks"].as_object();
    for (network, place) in networks.into_iter().flatten() {
        for key in UNMEANT_NETWORK.iter().filter(|key| asks(&place[**key])) {
            notes.service(service, &format!("networks.{network}.{key}"), CLUSTER);
        }
    }
    for key in ["network_mode", "ipc", "pid"] {
        let mode = facts[key].as_str().unwrap_or_default();
        if mode.contains(':') || (key == "network_mode" && mode == "none") {
            let text = format!("`{mode}` is left out: a pod shares nothing with another one");
            notes.service(service, key, &text);
        }
    }
}

/// `false`, nothing and empty ask for nothing.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}
