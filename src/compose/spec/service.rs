//! The keys of a service.

use crate::node::Node;
use crate::short::{self, mounts, ports};
use crate::spec::build::BUILD;
use crate::spec::deploy::{DEPLOY, DEVICE_REQUESTS, NO_GPUS};
use crate::spec::{Bare, Field, Shape, itself, key, target, text_of};

/// A service.
pub(crate) static SERVICE: Shape = Shape::Object(FIELDS);

const WINDOWS: &str = "it means something on Windows only";
const CREDENTIALS: &str =
    "credential specs are for accounts of Windows: take it away, and give files by `secrets`";
const NO_QUOTA: &str = "the layers of orc's containers have no quota: take it away, and put what grows on a `tmpfs` with a size or on a volume";

static FIELDS: &[Field] = &[
    key("annotations", Shape::Pairs(Bare::Empty)),
    key("attach", Shape::Bool),
    key("blkio_config", Shape::Object(BLKIO)),
    key("build", Shape::Short(short::build, &BUILD)),
    key("cap_add", TEXTS).unique(itself),
    key("cap_drop", TEXTS).unique(itself),
    key("cgroup", Shape::Word(&["host", "private"])),
    key("cgroup_parent", Shape::Text),
    key("command", Shape::Command),
    key("configs", Shape::List(&GRANT)).unique(config_target),
    key("container_name", Shape::Text),
    key("cpu_count", Shape::Int).ignored(WINDOWS),
    key("cpu_percent", Shape::Float).ignored(WINDOWS),
    key("cpu_period", Shape::Int),
    key("cpu_quota", Shape::Int),
    key("cpu_rt_period", Shape::Int),
    key("cpu_rt_runtime", Shape::Int),
    key("cpu_shares", Shape::Int),
    key("cpus", Shape::Float),
    key("cpuset", Shape::Text),
    key("credential_spec", Shape::Object(CREDENTIAL_SPEC)).refused(CREDENTIALS),
    key(
        "depends_on",
        Shape::Short(short::depends_on, &Shape::Dict(&DEPENDENCY)),
    ),
    key("deploy", DEPLOY),
    key("develop", Shape::Object(DEVELOP)),
    key("device_cgroup_rules", TEXTS),
    key("devices", Shape::List(&DEVICE)).unique(target),
    key("dns", Shape::Texts).unique(itself),
    key("dns_opt", TEXTS).unique(itself),
    key("dns_search", Shape::Texts).unique(itself),
    key("domainname", Shape::Text),
    key("entrypoint", Shape::Command),
    key(
        "env_file",
        Shape::Short(short::env_file, &Shape::List(&ENV_FILE)),
    )
    .unique(path),
    key("environment", Shape::Pairs(Bare::Null)),
    key("expose", Shape::List(&Shape::Scalar)).unique(itself),
    key(
        "extends",
        Shape::Short(short::extends, &Shape::Object(EXTENDS)),
    )
    .replace(),
    key("external_links", TEXTS),
    key("extra_hosts", Shape::Short(short::extra_hosts, &TEXTS)).unique(itself),
    key("gpus", Shape::Short(short::gpus, &DEVICE_REQUESTS)).refused(NO_GPUS),
    key("group_add", Shape::List(&Shape::Scalar)),
    key("healthcheck", Shape::Object(HEALTHCHECK)),
    key("hostname", Shape::Text),
    key("image", Shape::Text),
    key("init", Shape::Bool),
    key("ipc", Shape::Text),
    key("isolation", Shape::Text),
    key(
        "label_file",
        Shape::Short(short::one_or_many, &Shape::List(&Shape::Path)),
    )
    .unique(itself),
    key("labels", Shape::Pairs(Bare::Empty)),
    key("links", TEXTS).unique(itself),
    key("logging", Shape::Object(LOGGING)).by_driver(),
    key("mac_address", Shape::Text),
    key("mem_limit", Shape::Bytes),
    key("mem_reservation", Shape::Bytes),
    key("mem_swappiness", Shape::Int),
    key("memswap_limit", Shape::BytesOrUnlimited),
    key("models", Shape::Short(short::names, &Shape::Dict(&MODEL))),
    key("network_mode", Shape::Text),
    key(
        "networks",
        Shape::Short(short::names, &Shape::Dict(&NETWORK)),
    ),
    key("oom_kill_disable", Shape::Bool),
    key("oom_score_adj", Shape::Int),
    key("pid", Shape::NullOr(&Shape::Text)),
    key("pids_limit", Shape::Int),
    key("platform", Shape::Text),
    key("ports", Shape::Spread(ports::spread, &PORT)).unique(ports::identity),
    key("post_start", Shape::List(&HOOK)),
    key("pre_start", Shape::List(&PRE_START)),
    key("pre_stop", Shape::List(&HOOK)),
    key("privileged", Shape::Bool),
    key("profiles", TEXTS).unique(itself),
    key("provider", Shape::Object(PROVIDER)),
    key("pull_policy", Shape::Text),
    key("pull_refresh_after", Shape::Text),
    key("read_only", Shape::Bool),
    key("restart", Shape::Text),
    key("runtime", Shape::Text),
    key("scale", Shape::Int),
    key("secrets", Shape::List(&GRANT)).unique(secret_target),
    key("security_opt", TEXTS),
    key("shm_size", Shape::Bytes),
    key("stdin_open", Shape::Bool),
    key("stop_grace_period", Shape::Duration),
    key("stop_signal", Shape::Text),
    key("storage_opt", Shape::Any).refused(NO_QUOTA),
    key("sysctls", Shape::Pairs(Bare::Empty)),
    key("tmpfs", Shape::Texts).unique(mounts::tmpfs_target),
    key("tty", Shape::Bool),
    key("ulimits", Shape::Dict(&ULIMIT)),
    key("use_api_socket", Shape::Bool),
    key("user", Shape::Text),
    key("userns_mode", Shape::Text),
    key("uts", Shape::Text),
    key("volumes", Shape::Spread(mounts::spread, &VOLUME)).unique(target),
    key("volumes_from", TEXTS),
    key("working_dir", Shape::Text),
];

const TEXTS: Shape = Shape::List(&Shape::Text);

static BLKIO: &[Field] = &[
    key("weight", Shape::Int),
    key("weight_device", Shape::List(&Shape::Object(BLKIO_WEIGHT))),
    key("device_read_bps", Shape::List(&Shape::Object(BLKIO_RATE))),
    key("device_write_bps", Shape::List(&Shape::Object(BLKIO_RATE))),
    key("device_read_iops", Shape::List(&Shape::Object(BLKIO_RATE))),
    key("device_write_iops", Shape::List(&Shape::Object(BLKIO_RATE))),
];
static BLKIO_WEIGHT: &[Field] = &[key("path", Shape::Text), key("weight", Shape::Int)];
static BLKIO_RATE: &[Field] = &[key("path", Shape::Text), key("rate", Shape::Bytes)];

static CREDENTIAL_SPEC: &[Field] = &[
    key("config", Shape::Text),
    key("file", Shape::Path),
    key("registry", Shape::Text),
];

static DEPENDENCY: Shape = Shape::Object(&[
    key(
        "condition",
        Shape::Word(&[
            "service_started",
            "service_healthy",
            "service_completed_successfully",
        ]),
    ),
    key("required", Shape::Bool),
    key("restart", Shape::Bool),
]);

static DEVELOP: &[Field] = &[key("watch", Shape::List(&WATCH))];
static WATCH: Shape = Shape::Then(
    &Shape::Object(&[
        key("path", Shape::Path),
        key(
            "action",
            Shape::Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
        ),
        key("target", Shape::Text),
        key("exec", HOOK_OBJECT),
        key("ignore", Shape::Texts),
        key("include", Shape::Texts),
        key("initial_sync", Shape::Bool),
    ]),
    short::watch,
);

static DEVICE: Shape = Shape::Short(
    mounts::device,
    &Shape::Object(&[
        key("source", Shape::Text),
        key("target", Shape::Text),
        key("permissions", Shape::Text),
    ]),
);

static ENV_FILE: Shape = Shape::Then(
    &Shape::Object(&[
        key("path", Shape::Path),
        key("required", Shape::Bool),
        key("format", Shape::Word(&["raw"])),
    ]),
    short::needs_path,
);

static EXTENDS: &[Field] = &[key("service", Shape::Text), key("file", Shape::Text)];

static GRANT: Shape = Shape::Short(
    short::grant,
    &Shape::Object(&[
        key("source", Shape::Text),
        key("target", Shape::Text),
        key("uid", Shape::Text),
        key("gid", Shape::Text),
        key("mode", Shape::Mode),
    ]),
);

static HEALTHCHECK: &[Field] = &[
    key("test", Shape::Short(short::health_test, &TEXTS)).replace(),
    key("disable", Shape::Bool),
    key("interval", Shape::Duration),
    key("timeout", Shape::Duration),
    key("retries", Shape::Int),
    key("start_period", Shape::Duration),
    key("start_interval", Shape::Duration),
];

static LOGGING: &[Field] = &[
    key("driver", Shape::Text),
    key("options", Shape::Pairs(Bare::Empty)),
];

static MODEL: Shape = Shape::NullOr(&Shape::Object(&[
    key("endpoint_var", Shape::Text),
    key("model_var", Shape::Text),
]));

static NETWORK: Shape = Shape::NullOr(&Shape::Object(&[
    key("aliases", TEXTS).unique(itself),
    key("interface_name", Shape::Text),
    key("ipv4_address", Shape::Text),
    key("ipv6_address", Shape::Text),
    key("link_local_ips", TEXTS).unique(itself),
    key("mac_address", Shape::Text),
    key("driver_opts", Shape::Dict(&Shape::Scalar)),
    key("priority", Shape::Int),
    key("gw_priority", Shape::Int),
]));

static PORT: Shape = Shape::Then(
    &Shape::Object(&[
        key("name", Shape::Text),
        key("mode", Shape::Text),
        key("host_ip", Shape::Text),
        key("target", Shape::Int),
        key("published", Shape::Scalar),
        key("protocol", Shape::Text),
        key("app_protocol", Shape::Text),
    ]),
    ports::finish,
);

const HOOK_OBJECT: Shape = Shape::Object(&[
    key("command", Shape::Command),
    key("user", Shape::Text),
    key("privileged", Shape::Bool),
    key("working_dir", Shape::Text),
    key("environment", Shape::Pairs(Bare::Null)),
]);
static HOOK: Shape = HOOK_OBJECT;
static PRE_START: Shape = Shape::Object(&[
    key("command", Shape::Command),
    key("image", Shape::Text),
    key("user", Shape::Text),
    key("privileged", Shape::Bool),
    key("working_dir", Shape::Text),
    key("environment", Shape::Pairs(Bare::Null)),
    key("per_replica", Shape::Bool),
]);

static PROVIDER: &[Field] = &[key("type", Shape::Text), key("options", Shape::Any)];

static ULIMIT: Shape = Shape::Then(&Shape::Any, short::ulimit);

static VOLUME: Shape = Shape::Then(
    &Shape::Object(&[
        key(
            "type",
            Shape::Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]),
        ),
        key("source", Shape::Text),
        key("target", Shape::Text),
        key("read_only", Shape::Bool),
        key("consistency", Shape::Text),
        key("bind", Shape::Object(BIND)),
        key("volume", Shape::Object(VOLUME_OPTIONS)),
        key("tmpfs", Shape::Object(TMPFS)),
        key("image", Shape::Object(&[key("subpath", Shape::Text)])),
    ]),
    mounts::finish,
);
static BIND: &[Field] = &[
    key("propagation", Shape::Text),
    key("create_host_path", Shape::Bool),
    key(
        "recursive",
        Shape::Word(&["enabled", "disabled", "writable", "readonly"]),
    ),
    key("selinux", Shape::Word(&["z", "Z"])).ignored("orc sets no SELinux labels"),
];
static VOLUME_OPTIONS: &[Field] = &[
    key("labels", Shape::Pairs(Bare::Empty)),
    key("nocopy", Shape::Bool),
    key("subpath", Shape::Text),
];
static TMPFS: &[Field] = &[key("size", Shape::Bytes), key("mode", Shape::Int)];

fn path(node: &Node) -> String {
    text_of(node, "path")
}

fn config_target(node: &Node) -> String {
    granted_at(node, "/")
}

fn secret_target(node: &Node) -> String {
    granted_at(node, "/run/secrets/")
}

/// Where a grant is mounted, as far as it matters for telling two apart.
fn granted_at(node: &Node, directory: &str) -> String {
    let target = match target(node) {
        target if target.is_empty() => text_of(node, "source"),
        target => target,
    };
    match target.starts_with('/') {
        true => target,
        false => format!("{directory}{target}"),
    }
}
