//! Wishes there and back, and what Docker's clients send.

use std::collections::BTreeMap;

use orc_host::block_io::{BlockIo, DeviceRate, DeviceWeight};
use orc_host::container::{
    Content, FileSource, GivenFile, Mount, NamespaceMode, Resources, RestartPace, Submounts,
    VolumesFrom,
};
use orc_host::image::Healthcheck;
use serde_json::json;

use super::*;

fn read(body: Value) -> Result<(ContainerSpec, Vec<String>)> {
    spec(&serde_json::from_value(body).unwrap(), None)
}

fn rate(rate: u64) -> Vec<DeviceRate> {
    vec![DeviceRate {
        path: "/dev/sda".into(),
        rate,
    }]
}

fn everything() -> ContainerSpec {
    let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    ContainerSpec {
        image: "busybox:1".into(),
        platform: Some("linux/amd64".into()),
        entrypoint: Some(vec![]),
        command: Some(vec!["sh".into()]),
        env: vec!["A=b".into(), "B".into()],
        working_dir: Some("/w".into()),
        user: Some("1:2".into()),
        groups: vec!["audio".into()],
        hostname: Some("h".into()),
        domainname: Some("d".into()),
        labels: map("l", "1"),
        annotations: map("a", "2"),
        tty: true,
        open_stdin: true,
        stdin_once: true,
        stop_signal: Some("SIGINT".into()),
        stop_timeout: Some(Duration::from_millis(1500)),
        healthcheck: Some(Healthcheck {
            test: vec!["CMD-SHELL".into(), "true".into()],
            interval: Some(Duration::from_millis(10)),
            retries: Some(2),
            ..Healthcheck::default()
        }),
        exposed_ports: ["80/tcp".parse().unwrap(), "53/udp".parse().unwrap()].into(),
        anonymous_volumes: ["/anon".to_owned()].into(),
        mounts: vec![
            Mount::Bind {
                source: "/src".into(),
                target: "/dst".into(),
                read_only: true,
                propagation: None,
                create_source: false,
                submounts: Submounts::Follow,
            },
            Mount::Volume {
                name: "data".into(),
                target: "/data".into(),
                read_only: false,
                no_copy: true,
                subpath: Some("x".into()),
                labels: map("v", "1"),
                options: map("type", "tmpfs"),
            },
            Mount::Image {
                image: "tools:1".into(),
                target: "/tools".into(),
                subpath: None,
            },
        ],
        volumes_from: vec![VolumesFrom {
            container: "db".into(),
            read_only: true,
        }],
        files: vec![GivenFile {
            target: "/run/secrets/s".into(),
            source: FileSource::Content(Content(b"geheim".to_vec())),
            uid: 7,
            gid: 8,
            mode: 0o400,
        }],
        ports: vec![orc_host::network::PortBinding {
            port: "80/tcp".parse().unwrap(),
            host_ip: None,
            host_ports: Some((8000, 8010)),
        }],
        publish_all: true,
        network_mode: NetworkMode::Networks,
        networks: vec![
            EndpointSpec {
                network: "front".into(),
                aliases: vec!["web".into()],
                ..EndpointSpec::default()
            },
            EndpointSpec {
                network: "back".into(),
                gateway_priority: 5,
                ..EndpointSpec::default()
            },
        ],
        dns: vec!["192.0.2.1".into()],
        dns_search: vec!["example".into()],
        dns_options: vec!["ndots:2".into()],
        extra_hosts: vec![("six".into(), "fd00::1".into())],
        restart: RestartPolicy::OnFailure { max_retries: None },
        restart_pace: RestartPace {
            delay: Some(Duration::from_millis(1500)),
            window: Some(Duration::from_secs(60)),
            max_attempts: Some(3),
        },
        auto_remove: true,
        privileged: true,
        read_only: true,
        init: true,
        cap_add: vec!["ALL".into()],
        cap_drop: vec!["KILL".into()],
        no_new_privileges: true,
        seccomp_unconfined: true,
        seccomp_profile: Some("{\"defaultAction\": \"SCMP_ACT_ALLOW\"}".into()),
        resources: Resources {
            memory_bytes: Some(1 << 26),
            memory_swap_bytes: Some(-1),
            memory_reservation_bytes: Some(1 << 20),
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(512),
            cpu_quota_us: Some(50_000),
            cpu_period_us: Some(100_000),
            cpuset_cpus: Some("0-1".into()),
            cpuset_mems: Some("0".into()),
            pids: Some(-1),
            memory_swappiness: Some(0),
            oom_kill_disable: Some(false),
            cpu_realtime_runtime_us: Some(10),
            cpu_realtime_period_us: Some(20),
            block_io: BlockIo {
                weight: Some(300),
                device_weights: vec![DeviceWeight {
                    path: "/dev/sda".into(),
                    weight: 10,
                }],
                read_bytes: rate(1),
                write_bytes: rate(2),
                read_operations: rate(3),
                write_operations: rate(4),
            },
        },
        ulimits: vec![Ulimit {
            name: "core".into(),
            soft: 0,
            hard: -1,
        }],
        sysctls: map("net.core.somaxconn", "1024"),
        devices: vec![Device {
            source: "/dev/fuse".into(),
            target: "/dev/f".into(),
            permissions: "rw".into(),
        }],
        device_rules: vec!["c 188:* rwm".into()],
        api_socket: true,
        shm_bytes: Some(1 << 20),
        ipc: NamespaceMode::Host,
        pid: NamespaceMode::Container("db".into()),
        uts: NamespaceMode::Host,
        cgroup: NamespaceMode::Host,
        oom_score_adj: Some(-5),
        cgroup_parent: Some("/mine".into()),
        log: LogConfig {
            driver: "json-file".into(),
            options: map("max-size", "1m"),
        },
    }
}

#[test]
fn a_wish_comes_back() {
    for wish in [
        everything(),
        ContainerSpec {
            image: "a".into(),
            ..ContainerSpec::default()
        },
        ContainerSpec {
            network_mode: NetworkMode::Container("db".into()),
            ..ContainerSpec::default()
        },
    ] {
        let text = serde_json::to_string(&body(&wish).unwrap()).unwrap();
        let back = spec(&serde_json::from_str(&text).unwrap(), wish.platform.clone()).unwrap();
        assert_eq!(back, (wish, vec![]), "{text}");
    }
}

#[test]
fn what_dockers_command_line_sends_is_read() {
    let (spec, warnings) = read(json!({
        "Hostname": "", "User": "", "AttachStdout": true, "Tty": false, "Env": null,
        "Cmd": ["sh"], "Image": "busybox", "Entrypoint": [""], "OnBuild": null, "Labels": {},
        "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}, "/d": {}},
        "HostConfig": {
            "Binds": ["/srv:/s:ro", "data:/d", "/anon"], "NetworkMode": "front",
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "ConsoleSize": [24, 80],
            "PidsLimit": 0, "MemorySwappiness": -1, "OomKillDisable": false, "Init": null,
            "SecurityOpt": ["no-new-privileges", "label=disable"],
            "Tmpfs": {"/t": "noexec"}, "ExtraHosts": ["db=[::1]"],
        },
        "NetworkingConfig": {"EndpointsConfig": {"front": {"Aliases": ["w"]}}},
    }))
    .unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(spec.entrypoint, Some(vec![]));
    assert_eq!(spec.mounts.len(), 3);
    assert_eq!(
        spec.anonymous_volumes,
        BTreeSet::from(["/anon".into(), "/v".into()])
    );
    assert_eq!(spec.networks[0].aliases, ["w"]);
    assert_eq!(spec.extra_hosts, [("db".into(), "::1".into())]);
    assert_eq!((spec.resources.pids, spec.no_new_privileges), (None, true));
    assert_eq!(spec.ports[0].host_ports, None);
}

#[test]
fn networks_are_named_in_two_places() {
    let networks = |mode: &str, endpoints: Value| {
        let body = json!({
            "HostConfig": {"NetworkMode": mode},
            "NetworkingConfig": {"EndpointsConfig": endpoints},
        });
        read(body).map(|(spec, _)| {
            let names = spec.networks.into_iter().map(|wish| wish.network);
            (spec.network_mode, names.collect::<Vec<_>>())
        })
    };
    let on = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned());
        (NetworkMode::Networks, names.collect::<Vec<_>>())
    };
    assert_eq!(networks("default", json!({})).unwrap(), on(&[]));
    assert_eq!(
        networks("default", json!({"default": {}})).unwrap(),
        on(&["bridge"])
    );
    assert_eq!(networks("", json!({"a": {}})).unwrap(), on(&["a"]));
    assert_eq!(networks("a", json!({"b": {}})).unwrap(), on(&["a", "b"]));
    assert_eq!(
        networks("b", json!({"a": {}, "b": {}})).unwrap(),
        on(&["a", "b"])
    );
    assert_eq!(
        networks("host", json!({"host": {}})).unwrap().0,
        NetworkMode::Host
    );
    assert!(networks("host", json!({"a": {}})).is_err());
    let mac = read(json!({"MacAddress": "02:42:00:00:00:01"})).unwrap().0;
    assert_eq!(mac.networks[0].mac.as_deref(), Some("02:42:00:00:00:01"));
    let off = read(json!({"NetworkDisabled": true})).unwrap().0;
    assert_eq!(off.network_mode, NetworkMode::None);
}

#[test]
fn a_wrong_member_is_named() {
    for (member, body) in [
        ("StopTimeout", json!({"StopTimeout": "soon"})),
        ("ExposedPorts", json!({"ExposedPorts": {"http": {}}})),
        (
            "Healthcheck.Interval",
            json!({"Healthcheck": {"Interval": -1}}),
        ),
        ("HostConfig.Memory", json!({"HostConfig": {"Memory": -1}})),
        (
            "HostConfig.ExtraHosts",
            json!({"HostConfig": {"ExtraHosts": ["db"]}}),
        ),
        (
            "HostConfig.RestartPolicy",
            json!({"HostConfig": {"RestartPolicy": {"Name": "often"}}}),
        ),
        (
            "MaximumRetryCount",
            json!({"HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}}),
        ),
        (
            "HostConfig.SecurityOpt",
            json!({"HostConfig": {"SecurityOpt": ["seccomp=profile.json"]}}),
        ),
        (
            "HostConfig.IpcMode",
            json!({"HostConfig": {"IpcMode": "none"}}),
        ),
        (
            "HostConfig.VolumesFrom",
            json!({"HostConfig": {"VolumesFrom": ["db:fast"]}}),
        ),
        (
            "HostConfig.Mounts",
            json!({"HostConfig": {"Mounts": [{"Type": "image", "Target": "/x"}]}}),
        ),
    ] {
        let error = read(body).unwrap_err().to_string();
        assert!(error.contains(member), "{error}");
    }
    let (_, warnings) = read(json!({"Shell": ["sh"], "OnBuild": ["RUN x"], "New": 1})).unwrap();
    for member in ["Shell", "OnBuild", "New"] {
        assert!(
            warnings.iter().any(|warning| warning.contains(member)),
            "{warnings:?}"
        );
    }
}

#[test]
fn links_of_docker_s_command_line_are_of_the_first_network() {
    // `docker run --link db:base` on the network that nobody names, and on one of their own.
    let host = json!({"NetworkMode": "default", "Links": ["db:base", "/other:/app/far"]});
    let (spec, warnings) = read(json!({"Image": "a", "HostConfig": host})).unwrap();
    assert_eq!(warnings, [""; 0]);
    let links = |spec: &ContainerSpec| -> Vec<String> {
        let links = spec.networks[0].links.iter();
        links
            .map(|link| format!("{} as {}", link.peer, link.alias))
            .collect()
    };
    assert_eq!(spec.networks[0].network, "bridge");
    assert_eq!(links(&spec), ["db as base", "other as far"]);
    let own = json!({
        "Image": "a",
        "HostConfig": {"NetworkMode": "front", "Links": ["db:base"]},
        "NetworkingConfig": {"EndpointsConfig": {"front": {"Links": ["db:base"]}}}
    });
    let (spec, _) = read(own).unwrap();
    assert_eq!(
        (spec.networks.len(), links(&spec)),
        (1, vec!["db as base".to_owned()])
    );
    let none = json!({"Image": "a", "HostConfig": {"NetworkMode": "none", "Links": ["db"]}});
    assert!(read(none).unwrap_err().to_string().contains("Links"));
}
