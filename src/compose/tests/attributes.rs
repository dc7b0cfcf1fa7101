//! Attributes of services with a meaning in the kernel or the engine: what each becomes, as a table.

use std::time::Duration;

use orc_base::Time;
use orc_host::image::ImageConfig;
use serde_json::{Value, json};

use super::support::{load_with, look, machine, options, plan_of, project, up};
use crate::notation::{PullWhen, pull_policy};
use crate::plan::{Action, Goal, Plan, Pull, Up, plan};

/// The container that a service with this line becomes, as JSON.
async fn spec(line: &str) -> Value {
    let text =
        format!("services:\n  a:\n    image: busybox\n    {line}\n  b: {{image: busybox}}\n");
    let plan = plan_of(&machine(), &project(&text), &up()).await;
    let plan = plan.unwrap_or_else(|error| panic!("{line}: {error}"));
    let created = plan
        .operations()
        .iter()
        .find_map(|operation| match &operation.action {
            Action::CreateContainer { name, spec } if name == "demo-a-1" => Some(spec),
            _ => None,
        });
    serde_json::to_value(created.expect("a container")).unwrap()
}

/// Each line of a service, where it ends in the container's spec, and as what.
#[tokio::test]
async fn each_attribute_reaches_the_engine() {
    let disk = json!([{"path": "/dev/sda", "rate": 1_048_576}]);
    let rows = [
        ("annotations: {a: b}", "/annotations/a", json!("b")),
        (
            "blkio_config: {weight: 300}",
            "/resources/block_io/weight",
            json!(300),
        ),
        (
            "blkio_config: {weight_device: [{path: /dev/sda, weight: 400}]}",
            "/resources/block_io/device_weights",
            json!([{"path": "/dev/sda", "weight": 400}]),
        ),
        (
            "blkio_config: {device_read_bps: [{path: /dev/sda, rate: 1mb}]}",
            "/resources/block_io/read_bytes",
            disk.clone(),
        ),
        (
            "blkio_config: {device_write_bps: [{path: /dev/sda, rate: '1024k'}]}",
            "/resources/block_io/write_bytes",
            disk.clone(),
        ),
        (
            "blkio_config: {device_read_iops: [{path: /dev/sda, rate: 1048576}]}",
            "/resources/block_io/read_operations",
            disk.clone(),
        ),
        (
            "blkio_config: {device_write_iops: [{path: /dev/sda, rate: 1048576}]}",
            "/resources/block_io/write_operations",
            disk,
        ),
        ("cap_add: [NET_ADMIN]", "/cap_add", json!(["NET_ADMIN"])),
        ("cap_drop: [ALL]", "/cap_drop", json!(["ALL"])),
        ("cgroup: host", "/cgroup", json!("host")),
        ("cgroup_parent: jobs", "/cgroup_parent", json!("jobs")),
        (
            "cpu_period: 50000",
            "/resources/cpu_period_us",
            json!(50_000),
        ),
        ("cpu_quota: 25000", "/resources/cpu_quota_us", json!(25_000)),
        (
            "cpu_rt_period: 1000000",
            "/resources/cpu_realtime_period_us",
            json!(1_000_000),
        ),
        (
            "cpu_rt_runtime: 950000",
            "/resources/cpu_realtime_runtime_us",
            json!(950_000),
        ),
        ("cpu_shares: 512", "/resources/cpu_shares", json!(512)),
        ("cpus: 0.5", "/resources/nano_cpus", json!(500_000_000)),
        ("cpuset: 0-1", "/resources/cpuset_cpus", json!("0-1")),
        (
            "device_cgroup_rules: ['c 1:3 mr']",
            "/device_rules",
            json!(["c 1:3 mr"]),
        ),
        (
            "devices: [{source: /dev/null, target: /dev/x, permissions: r}]",
            "/devices/0",
            json!({"source": "/dev/null", "target": "/dev/x", "permissions": "r"}),
        ),
        (
            "devices: [/dev/null]",
            "/devices/0",
            json!({"source": "/dev/null", "target": "/dev/null", "permissions": "rwm"}),
        ),
        ("dns: 192.0.2.1", "/dns", json!(["192.0.2.1"])),
        ("dns_opt: [use-vc]", "/dns_options", json!(["use-vc"])),
        ("dns_search: example", "/dns_search", json!(["example"])),
        ("domainname: d", "/domainname", json!("d")),
        (
            "extra_hosts: ['h:host-gateway']",
            "/extra_hosts/0",
            json!(["h", "host-gateway"]),
        ),
        ("group_add: [audio, 5]", "/groups", json!(["audio", "5"])),
        ("hostname: h", "/hostname", json!("h")),
        ("init: true", "/init", json!(true)),
        ("ipc: host", "/ipc", json!("host")),
        ("ipc: shareable", "/ipc", json!("private")),
        ("ipc: service:b", "/ipc", json!({"container": "demo-b-1"})),
        ("isolation: default", "/image", json!("busybox")),
        (
            "logging: {driver: local, options: {max-size: 1m, max-file: 2, tag: x}}",
            "/log",
            json!({"driver": "local", "options": {"max-size": "1m", "max-file": "2"}}),
        ),
        ("logging: {driver: none}", "/log/driver", json!("none")),
        ("mem_limit: 64m", "/resources/memory_bytes", json!(64 << 20)),
        (
            "mem_reservation: 32m",
            "/resources/memory_reservation_bytes",
            json!(32 << 20),
        ),
        (
            "mem_swappiness: 0",
            "/resources/memory_swappiness",
            json!(0),
        ),
        (
            "memswap_limit: -1",
            "/resources/memory_swap_bytes",
            json!(-1),
        ),
        ("network_mode: none", "/network_mode", json!("none")),
        (
            "network_mode: service:b",
            "/network_mode",
            json!({"container": "demo-b-1"}),
        ),
        (
            "network_mode: container:x",
            "/network_mode",
            json!({"container": "x"}),
        ),
        (
            "oom_kill_disable: true",
            "/resources/oom_kill_disable",
            json!(true),
        ),
        ("oom_score_adj: -5", "/oom_score_adj", json!(-5)),
        ("pid: host", "/pid", json!("host")),
        ("pid: service:b", "/pid", json!({"container": "demo-b-1"})),
        ("pid: container:x", "/pid", json!({"container": "x"})),
        ("pids_limit: 9", "/resources/pids", json!(9)),
        ("platform: linux/amd64", "/platform", json!("linux/amd64")),
        ("privileged: true", "/privileged", json!(true)),
        ("read_only: true", "/read_only", json!(true)),
        ("runtime: runc", "/image", json!("busybox")),
        (
            "security_opt: [no-new-privileges]",
            "/no_new_privileges",
            json!(true),
        ),
        (
            "security_opt: ['no-new-privileges:true']",
            "/no_new_privileges",
            json!(true),
        ),
        (
            "security_opt: ['seccomp:unconfined']",
            "/seccomp_unconfined",
            json!(true),
        ),
        ("shm_size: 1m", "/shm_bytes", json!(1 << 20)),
        ("stdin_open: true", "/open_stdin", json!(true)),
        ("stop_grace_period: 90s", "/stop_timeout/secs", json!(90)),
        ("stop_signal: SIGINT", "/stop_signal", json!("SIGINT")),
        (
            "sysctls: [net.core.somaxconn=7]",
            "/sysctls/net.core.somaxconn",
            json!("7"),
        ),
        ("tty: true", "/tty", json!(true)),
        (
            "ulimits: {nofile: {soft: 1, hard: 2}}",
            "/ulimits/0",
            json!({"name": "nofile", "soft": 1, "hard": 2}),
        ),
        (
            "ulimits: {core: -1}",
            "/ulimits/0",
            json!({"name": "core", "soft": -1, "hard": -1}),
        ),
        ("use_api_socket: true", "/api_socket", json!(true)),
        (
            "use_api_socket: true",
            "/env/0",
            json!("DOCKER_HOST=unix:///var/run/docker.sock"),
        ),
        ("userns_mode: host", "/image", json!("busybox")),
        ("uts: host", "/uts", json!("host")),
        ("uts: service:b", "/uts", json!({"container": "demo-b-1"})),
    ];
    for (line, place, expected) in rows {
        let spec = spec(line).await;
        assert_eq!(spec.pointer(place), Some(&expected), "{line}: {spec:#}");
    }
}

#[tokio::test]
async fn the_engines_address_is_the_files_when_it_says_one() {
    let spec = spec("use_api_socket: true\n    environment: {DOCKER_HOST: mine}").await;
    assert_eq!(spec["env"], json!(["DOCKER_HOST=mine"]));
}

#[tokio::test]
async fn a_seccomp_profile_is_what_is_in_the_file() {
    let text = "services: {a: {image: busybox, security_opt: ['seccomp:conf/p.json']}}";
    let with = |profile: &str| {
        let files = [("conf/p.json", profile)];
        load_with(text, &files, &options()).unwrap().project
    };
    let one = with("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}");
    let plan = plan_of(&machine(), &one, &up()).await.unwrap();
    let profile = plan
        .operations()
        .iter()
        .find_map(|operation| match &operation.action {
            Action::CreateContainer { spec, .. } => spec.seccomp_profile.clone(),
            _ => None,
        });
    assert_eq!(
        profile.as_deref(),
        Some("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}")
    );
    let other = with("{\"defaultAction\": \"SCMP_ACT_LOG\"}");
    assert_ne!(
        one.services["a"].inputs, other.services["a"].inputs,
        "a change is seen"
    );
    let finding = &with("allow: all").findings[0];
    assert!(
        finding.text.contains("conf/p.json is not a JSON object"),
        "{finding:?}"
    );
}

#[test]
fn ages_are_read() {
    let hours = |hours: u64| Ok(PullWhen::Older(Duration::from_secs(hours * 3600)));
    let read = |text: &str| pull_policy(text, None).map_err(|error| error.to_string());
    assert_eq!(read("daily"), hours(24));
    assert_eq!(read("weekly"), hours(7 * 24));
    assert_eq!(read("every_12h"), hours(12));
    assert_eq!(read("every_1w2d"), hours(9 * 24));
    assert_eq!(read("every_30m1800s"), hours(1));
    assert_eq!(
        pull_policy("refresh", Some("36h")).map_err(|error| error.to_string()),
        hours(36)
    );
    assert_eq!(read("if_not_present"), Ok(PullWhen::Missing));
    for bad in [
        "every_",
        "every_12",
        "every_h",
        "every_1y",
        "every_-1h",
        "every_99999999999999999999w",
        "hourly",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

const DAILY: &str = "services: {a: {image: busybox, pull_policy: daily}}";

/// What has to happen a while after the last pull.
async fn after(pulled: Option<u64>, goal: &Goal) -> Plan {
    let host = machine();
    host.add_remote_image("busybox", ImageConfig::default());
    let project = project(DAILY);
    let mut observed = look(&host, &project).await;
    observed.at = Time::from_secs(1_000_000);
    for image in &mut observed.images {
        image.pulled = pulled.map(|ago| Time::from_secs(1_000_000 - ago as i64));
    }
    plan(&project, &observed, goal).unwrap()
}

#[tokio::test]
async fn an_image_that_is_old_is_fetched_again() {
    let refresh = Goal::Refresh(Up::default());
    let old = after(Some(25 * 3600), &refresh).await.to_string();
    assert!(
        old.contains("pull busybox  (policy is daily, image was pulled 1970-01-11T12:46:40Z)"),
        "{old}"
    );
    let never = after(None, &refresh).await.to_string();
    assert!(
        never.contains("(policy is daily, image was never pulled)"),
        "{never}"
    );
    assert!(after(Some(23 * 3600), &refresh).await.is_empty());
    // `up` after that asks no more, and `pull` asks for what is old only.
    let refreshed = Goal::Up(Up {
        refreshed: true,
        ..Up::default()
    });
    assert!(!after(None, &refreshed).await.to_string().contains("pull"));
    let pull = Goal::Pull(Pull::default());
    assert!(after(Some(3600), &pull).await.is_empty());
    assert!(!after(Some(25 * 3600), &pull).await.is_empty());
}
