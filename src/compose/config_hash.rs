//! The digests of docker compose's label `config-hash`, byte for byte: what one program made the other
//! one leaves alone.
//!
//! docker compose hashes the JSON that Go writes of its structures: keys in the order of the
//! structure, empty values left out unless a key says otherwise, maps sorted, `<`, `>` and `&` escaped.
//! The tables give that order as compose-go 2 has it. Keys that say when and how often a service runs
//! (`build`, `pull_policy`, `scale`, `deploy.replicas`, `depends_on`, `profiles`) do not count, nor do
//! extensions.

use std::fmt::Write;

use serde_json::Value as Json;

use crate::digest;

/// What Go's JSON encoder does with a key.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Left out when it is empty: `omitempty` of a plain value.
    Plain,
    /// The same for bytes, which are written as text.
    Bytes,
    /// Left out when it is not there: `omitempty` of a pointer.
    Pointer,
    /// Always there, `null` when it is not.
    Always,
    /// A structure that is no pointer is always there.
    Inline,
    /// Left out when it is true.
    OptOut,
}

/// What stands behind a key.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Scalars, lists and maps of them.
    Value,
    Struct(&'static [Field]),
    List(&'static Shape),
    Map(&'static Shape),
    /// Lists and maps of text, in which numbers are text too.
    Text,
}

type Field = (&'static str, Rule, Shape);

use Rule::{Always, Bytes, Inline, OptOut, Plain, Pointer};
use Shape::{List, Map, Struct, Text, Value};

const fn plain(key: &'static str) -> Field {
    (key, Plain, Value)
}

/// `types.ServiceConfig`, without the keys that do not count.
static SERVICE: &[Field] = &[
    plain("annotations"),
    ("attach", Pointer, Value),
    ("develop", Pointer, Struct(DEVELOP)),
    ("blkio_config", Pointer, Struct(BLKIO)),
    plain("cap_add"),
    plain("cap_drop"),
    plain("cgroup_parent"),
    plain("cgroup"),
    plain("cpu_count"),
    plain("cpu_percent"),
    plain("cpu_period"),
    plain("cpu_quota"),
    plain("cpu_rt_period"),
    plain("cpu_rt_runtime"),
    plain("cpus"),
    plain("cpuset"),
    plain("cpu_shares"),
    ("command", Always, Value),
    ("configs", Plain, List(&Struct(GRANT))),
    plain("container_name"),
    ("credential_spec", Pointer, Struct(CREDENTIAL_SPEC)),
    ("deploy", Pointer, Struct(DEPLOY)),
    plain("device_cgroup_rules"),
    ("devices", Plain, List(&Struct(DEVICE))),
    plain("dns"),
    plain("dns_opt"),
    plain("dns_search"),
    plain("domainname"),
    ("entrypoint", Always, Value),
    ("provider", Pointer, Struct(PROVIDER)),
    plain("environment"),
    ("env_file", Plain, List(&Struct(ENV_FILE))),
    ("expose", Plain, Text),
    plain("external_links"),
    plain("extra_hosts"),
    ("group_add", Plain, Text),
    ("gpus", Plain, List(&Struct(DEVICE_REQUEST))),
    plain("hostname"),
    ("healthcheck", Pointer, Struct(HEALTHCHECK)),
    plain("image"),
    ("init", Pointer, Value),
    plain("ipc"),
    plain("isolation"),
    plain("labels"),
    plain("label_file"),
    plain("links"),
    ("logging", Pointer, Struct(LOGGING)),
    ("mem_limit", Bytes, Value),
    ("mem_reservation", Bytes, Value),
    ("memswap_limit", Bytes, Value),
    ("mem_swappiness", Bytes, Value),
    plain("mac_address"),
    ("models", Plain, Map(&Struct(MODEL))),
    plain("network_mode"),
    ("networks", Plain, Map(&Struct(NETWORK_OF_SERVICE))),
    plain("oom_kill_disable"),
    plain("oom_score_adj"),
    plain("pid"),
    plain("pids_limit"),
    plain("platform"),
    ("ports", Plain, List(&Struct(PORT))),
    plain("privileged"),
    plain("read_only"),
    plain("restart"),
    plain("runtime"),
    ("secrets", Plain, List(&Struct(GRANT))),
    plain("security_opt"),
    ("shm_size", Bytes, Value),
    plain("stdin_open"),
    ("stop_grace_period", Pointer, Value),
    plain("stop_signal"),
    plain("storage_opt"),
    plain("sysctls"),
    plain("tmpfs"),
    plain("tty"),
    ("ulimits", Plain, Map(&Struct(ULIMIT))),
    plain("use_api_socket"),
    plain("user"),
    plain("userns_mode"),
    plain("uts"),
    ("volumes", Plain, List(&Struct(VOLUME_OF_SERVICE))),
    plain("volumes_from"),
    plain("working_dir"),
    ("pre_start", Plain, List(&Struct(HOOK))),
    ("post_start", Plain, List(&Struct(HOOK))),
    ("pre_stop", Plain, List(&Struct(HOOK))),
];

static DEVELOP: &[Field] = &[("watch", Plain, List(&Struct(TRIGGER)))];
static TRIGGER: &[Field] = &[
    ("path", Always, Value),
    ("action", Always, Value),
    plain("target"),
    ("exec", Inline, Struct(HOOK)),
    plain("include"),
    plain("ignore"),
    plain("initial_sync"),
];
static HOOK: &[Field] = &[
    ("command", Always, Value),
    plain("image"),
    plain("user"),
    plain("privileged"),
    plain("working_dir"),
    plain("environment"),
    plain("per_replica"),
];
static BLKIO: &[Field] = &[
    plain("weight"),
    ("weight_device", Plain, List(&Struct(WEIGHT_DEVICE))),
    ("device_read_bps", Plain, List(&Struct(THROTTLE_DEVICE))),
    ("device_read_iops", Plain, List(&Struct(THROTTLE_DEVICE))),
    ("device_write_bps", Plain, List(&Struct(THROTTLE_DEVICE))),
    ("device_write_iops", Plain, List(&Struct(THROTTLE_DEVICE))),
];
/// These structures name no keys, and are written under Go's own names.
static WEIGHT_DEVICE: &[Field] = &[("path", Always, Value), ("weight", Always, Value)];
static THROTTLE_DEVICE: &[Field] = &[("path", Always, Value), ("rate", Always, Value)];
static GRANT: &[Field] = &[
    plain("source"),
    plain("target"),
    plain("uid"),
    plain("gid"),
    ("mode", Pointer, Value),
];
static CREDENTIAL_SPEC: &[Field] = &[plain("config"), plain("file"), plain("registry")];
static DEPLOY: &[Field] = &[
    plain("mode"),
    plain("labels"),
    ("update_config", Pointer, Struct(UPDATE)),
    ("rollback_config", Pointer, Struct(UPDATE)),
    ("resources", Inline, Struct(RESOURCES)),
    ("restart_policy", Pointer, Struct(RESTART)),
    ("placement", Inline, Struct(PLACEMENT)),
    plain("endpoint_mode"),
];
static UPDATE: &[Field] = &[
    ("parallelism", Pointer, Value),
    plain("delay"),
    plain("failure_action"),
    plain("monitor"),
    plain("max_failure_ratio"),
    plain("order"),
];
static RESOURCES: &[Field] = &[
    ("limits", Pointer, Struct(RESOURCE)),
    ("reservations", Pointer, Struct(RESOURCE)),
];
static RESOURCE: &[Field] = &[
    plain("cpus"),
    ("memory", Bytes, Value),
    plain("pids"),
    ("devices", Plain, List(&Struct(DEVICE_REQUEST))),
    ("generic_resources", Plain, List(&Struct(GENERIC))),
];
static GENERIC: &[Field] = &[("discrete_resource_spec", Pointer, Struct(DISCRETE))];
static DISCRETE: &[Field] = &[("kind", Always, Value), ("value", Always, Value)];
static DEVICE_REQUEST: &[Field] = &[
    plain("capabilities"),
    plain("driver"),
    plain("count"),
    plain("device_ids"),
    plain("options"),
];
static RESTART: &[Field] = &[
    plain("condition"),
    ("delay", Pointer, Value),
    ("max_attempts", Pointer, Value),
    ("window", Pointer, Value),
];
static PLACEMENT: &[Field] = &[
    plain("constraints"),
    ("preferences", Plain, List(&Struct(PREFERENCE))),
    plain("max_replicas_per_node"),
];
static PREFERENCE: &[Field] = &[plain("spread")];
static DEVICE: &[Field] = &[plain("source"), plain("target"), plain("permissions")];
static PROVIDER: &[Field] = &[plain("type"), plain("options")];
static ENV_FILE: &[Field] = &[plain("path"), ("required", Always, Value), plain("format")];
static HEALTHCHECK: &[Field] = &[
    plain("test"),
    ("timeout", Pointer, Value),
    ("interval", Pointer, Value),
    ("retries", Pointer, Value),
    ("start_period", Pointer, Value),
    ("start_interval", Pointer, Value),
    plain("disable"),
];
static LOGGING: &[Field] = &[plain("driver"), plain("options")];
static MODEL: &[Field] = &[plain("endpoint_var"), plain("model_var")];
static NETWORK_OF_SERVICE: &[Field] = &[
    plain("aliases"),
    plain("driver_opts"),
    plain("gw_priority"),
    plain("interface_name"),
    plain("ipv4_address"),
    plain("ipv6_address"),
    plain("link_local_ips"),
    plain("mac_address"),
    plain("priority"),
];
static PORT: &[Field] = &[
    plain("name"),
    plain("mode"),
    plain("host_ip"),
    plain("target"),
    plain("published"),
    plain("protocol"),
    plain("app_protocol"),
];
static ULIMIT: &[Field] = &[plain("single"), plain("soft"), plain("hard")];
static VOLUME_OF_SERVICE: &[Field] = &[
    plain("type"),
    plain("source"),
    plain("target"),
    plain("read_only"),
    plain("consistency"),
    ("bind", Pointer, Struct(BIND)),
    ("volume", Pointer, Struct(VOLUME_OPTIONS)),
    ("tmpfs", Pointer, Struct(TMPFS)),
    ("image", Pointer, Struct(&[plain("subpath")])),
];
static BIND: &[Field] = &[
    plain("selinux"),
    plain("propagation"),
    ("create_host_path", OptOut, Value),
    plain("recursive"),
];
static VOLUME_OPTIONS: &[Field] = &[plain("labels"), plain("nocopy"), plain("subpath")];
static TMPFS: &[Field] = &[("size", Bytes, Value), plain("mode")];

/// `types.NetworkConfig`.
static NETWORK: &[Field] = &[
    plain("name"),
    plain("driver"),
    plain("driver_opts"),
    ("ipam", Inline, Struct(IPAM)),
    plain("external"),
    plain("internal"),
    plain("attachable"),
    plain("labels"),
    ("enable_ipv4", Pointer, Value),
    ("enable_ipv6", Pointer, Value),
];
static IPAM: &[Field] = &[plain("driver"), ("config", Plain, List(&Struct(POOL)))];
static POOL: &[Field] = &[
    plain("subnet"),
    plain("gateway"),
    plain("ip_range"),
    plain("aux_addresses"),
];

/// `types.VolumeConfig`.
static VOLUME: &[Field] = &[
    plain("name"),
    plain("driver"),
    plain("driver_opts"),
    plain("external"),
    plain("labels"),
];

/// The digest of a service of the normalised tree.
pub(crate) fn of_service(service: &Json) -> String {
    digest::of(&written(service, SERVICE))
}

/// The digest of a network.
pub(crate) fn of_network(network: &Json) -> String {
    digest::of(&written(network, NETWORK))
}

/// The digest of a volume; no driver is the local one.
pub(crate) fn of_volume(volume: &Json) -> String {
    let mut volume = volume.clone();
    if let Some(volume) = volume.as_object_mut()
        && volume.get("driver").is_none_or(is_empty)
    {
        volume.insert("driver".into(), "local".into());
    }
    digest::of(&written(&volume, VOLUME))
}

fn written(value: &Json, fields: &'static [Field]) -> String {
    let mut text = String::new();
    structure(value, fields, &mut text);
    text
}

fn structure(value: &Json, fields: &'static [Field], text: &mut String) {
    text.push('{');
    let mut first = true;
    for (key, rule, shape) in fields {
        let found = value.get(*key).unwrap_or(&Json::Null);
        let left_out = match rule {
            Always | Inline => false,
            Pointer => found.is_null(),
            Plain => is_empty(found),
            Bytes => is_empty(found) || found.as_str() == Some("0"),
            OptOut => found.is_null() || found.as_bool() == Some(true),
        };
        if left_out {
            continue;
        }
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        string(key_of(key, fields), text);
        text.push(':');
        match (rule, found) {
            (Bytes, Json::Number(number)) => string(&number.to_string(), text),
            (Inline, _) => shaped(found, shape, text),
            (_, Json::Null) => text.push_str("null"),
            _ => shaped(found, shape, text),
        }
    }
    text.push('}');
}

/// Go's own names for the keys of structures that give none.
fn key_of(key: &'static str, fields: &'static [Field]) -> &'static str {
    let unnamed = std::ptr::eq(fields, WEIGHT_DEVICE) || std::ptr::eq(fields, THROTTLE_DEVICE);
    match (unnamed, key) {
        (true, "path") => "Path",
        (true, "weight") => "Weight",
        (true, "rate") => "Rate",
        _ => key,
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(value) => !value,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
    }
}

fn shaped(value: &Json, shape: &'static Shape, text: &mut String) {
    match (shape, value) {
        (Struct(fields), Json::Object(_) | Json::Null) => structure(value, fields, text),
        (List(item), Json::Array(items)) => list(items, text, |item_value, text| {
            shaped(item_value, item, text);
        }),
        (Map(item), Json::Object(map)) => sorted(map, text, |found, text| match found {
            Json::Null => text.push_str("null"),
            found => shaped(found, item, text),
        }),
        (Text, Json::Array(items)) => list(items, text, |item, text| match item {
            Json::Number(number) => string(&number.to_string(), text),
            item => any(item, text),
        }),
        _ => any(value, text),
    }
}

fn any(value: &Json, text: &mut String) {
    match value {
        Json::Null => text.push_str("null"),
        Json::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Json::Number(number) => number_of(number, text),
        Json::String(value) => string(value, text),
        Json::Array(items) => list(items, text, any),
        Json::Object(map) => sorted(map, text, any),
    }
}

fn list(items: &[Json], text: &mut String, write: impl Fn(&Json, &mut String)) {
    text.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(item, text);
    }
    text.push(']');
}

fn sorted(
    map: &serde_json::Map<String, Json>,
    text: &mut String,
    write: impl Fn(&Json, &mut String),
) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    text.push('{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        string(key, text);
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

/// Fractions have 32 bits there: `0.1` and not what 64 bits make of it.
fn number_of(number: &serde_json::Number, text: &mut String) {
    let _ = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(number), _, _) => write!(text, "{number}"),
        (_, Some(number), _) => write!(text, "{number}"),
        (_, _, number) => write!(text, "{}", number.unwrap_or_default() as f32),
    };
}

/// Text as Go's encoder escapes it, HTML included.
fn string(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        let _ = match c {
            '"' => write!(text, "\\\""),
            '\\' => write!(text, "\\\\"),
            '\n' => write!(text, "\\n"),
            '\r' => write!(text, "\\r"),
            '\t' => write!(text, "\\t"),
            '\u{8}' => write!(text, "\\b"),
            '\u{c}' => write!(text, "\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(text, "\\u{:04x}", u32::from(c)),
            c if u32::from(c) < 0x20 => write!(text, "\\u{:04x}", u32::from(c)),
            c => write!(text, "{c}"),
        };
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(service: &Json, expected: &str) {
        assert_eq!(written(service, SERVICE), expected);
    }

    #[test]
    fn keys_stand_as_in_the_structure_and_empty_ones_do_not() {
        check(
            &json!({"image": "x", "networks": {"default": null}, "command": null, "tty": false}),
            r#"{"command":null,"entrypoint":null,"image":"x","networks":{"default":null}}"#,
        );
        check(
            &json!({
                "working_dir": "/", "user": "", "command": [], "entrypoint": ["sh", "-c"],
                "environment": {"B": null, "A": "<&>"}, "init": false, "attach": true,
                "mem_limit": "1048576", "shm_size": "0", "cpus": 0.1, "privileged": false,
                "labels": {}, "x-more": 1,
            }),
            r#"{"attach":true,"cpus":0.1,"command":[],"entrypoint":["sh","-c"],"environment":{"A":"\u003c\u0026\u003e","B":null},"init":false,"mem_limit":"1048576","working_dir":"/"}"#,
        );
    }

    #[test]
    fn what_says_when_and_how_often_does_not_count() {
        check(
            &json!({
                "build": {"context": "/"}, "pull_policy": "always", "scale": 3, "depends_on": {"b": {}},
                "profiles": ["p"], "deploy": {"replicas": 2},
            }),
            r#"{"command":null,"deploy":{"resources":{},"placement":{}},"entrypoint":null}"#,
        );
    }

    #[test]
    fn structures_below() {
        check(
            &json!({
                "ports": [{"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"}],
                "volumes": [
                    {"type": "bind", "source": "/a", "target": "/b", "bind": {"create_host_path": true}},
                    {"type": "bind", "source": "/a", "target": "/c", "bind": {"create_host_path": false}},
                    {"type": "volume", "source": "v", "target": "/v", "volume": {}, "x-a": 1},
                ],
                "ulimits": {"nproc": 65535, "nofile": {"soft": 1, "hard": 2}},
                "healthcheck": {"retries": 0, "test": ["CMD", "true"], "interval": "1m30s"},
                "networks": {"a": {"priority": 0, "aliases": ["x"]}},
            }),
            concat!(
                r#"{"command":null,"entrypoint":null,"#,
                r#""healthcheck":{"test":["CMD","true"],"interval":"1m30s","retries":0},"#,
                r#""networks":{"a":{"aliases":["x"]}},"#,
                r#""ports":[{"mode":"ingress","target":80,"published":"8080","protocol":"tcp"}],"#,
                r#""ulimits":{"nofile":{"soft":1,"hard":2},"nproc":65535},"#,
                r#""volumes":[{"type":"bind","source":"/a","target":"/b","bind":{}},"#,
                r#"{"type":"bind","source":"/a","target":"/c","bind":{"create_host_path":false}},"#,
                r#"{"type":"volume","source":"v","target":"/v","volume":{}}]}"#,
            ),
        );
    }

    #[test]
    fn networks_and_volumes() {
        let network = json!({"name": "demo_default", "ipam": {}, "enable_ipv6": true});
        assert_eq!(
            written(&network, NETWORK),
            r#"{"name":"demo_default","ipam":{},"enable_ipv6":true}"#
        );
        let volume = json!({"name": "demo_data"});
        let same = json!({"name": "demo_data", "driver": "local"});
        assert_eq!(of_volume(&volume), of_volume(&same));
    }
}
