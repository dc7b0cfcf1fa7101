//! From a service to a container: what each key becomes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use orc_host::container::{
    ContainerSpec, Mount, NamespaceMode, NetworkMode, RestartPace, RestartPolicy, Submounts,
    VolumesFrom,
};
use orc_host::network::EndpointSpec;

use super::support::{machine, plan_of, project, up};
use crate::plan::Action;

/// The container that the service `a` becomes.
async fn spec(service: &str, rest: &str) -> ContainerSpec {
    let project = project(&format!("services:\n  a: {service}\n{rest}"));
    let plan = plan_of(&machine(), &project, &up()).await.unwrap();
    plan.operations()
        .iter()
        .find_map(|operation| match &operation.action {
            Action::CreateContainer { name, spec } if name == "demo-a-1" => Some((**spec).clone()),
            _ => None,
        })
        .unwrap()
}

#[tokio::test]
async fn what_the_program_sees() {
    let spec = spec(
        "{image: busybox, entrypoint: [e], command: 'c \"d e\"', environment: {A: 1, B: }, working_dir: /w, user: '1:2', group_add: [3], hostname: h, domainname: d, tty: true, stdin_open: true, init: true, stop_signal: SIGINT, stop_grace_period: 1m}",
        "",
    )
    .await;
    assert_eq!(
        spec.entrypoint.as_deref(),
        Some(["e".to_owned()].as_slice())
    );
    assert_eq!(spec.command, Some(vec!["c".into(), "d e".into()]));
    assert_eq!(spec.env, ["A=1", "B"]);
    assert_eq!(spec.working_dir.as_deref(), Some("/w"));
    assert_eq!(
        (spec.user.as_deref(), spec.groups.as_slice()),
        (Some("1:2"), ["3".to_owned()].as_slice())
    );
    assert_eq!(
        (spec.hostname.as_deref(), spec.domainname.as_deref()),
        (Some("h"), Some("d"))
    );
    assert!(spec.tty && spec.open_stdin && spec.init);
    assert_eq!(spec.stop_signal.as_deref(), Some("SIGINT"));
    assert_eq!(spec.stop_timeout, Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn nothing_means_the_images_own_and_empty_means_none() {
    let unset = spec("{image: busybox}", "").await;
    assert_eq!((unset.entrypoint, unset.command), (None, None));
    let cleared = spec("{image: busybox, entrypoint: [], command: ''}", "").await;
    assert_eq!(
        (cleared.entrypoint, cleared.command),
        (Some(vec![]), Some(vec![]))
    );
}

#[tokio::test]
async fn labels_are_docker_composes() {
    let spec = spec(
        "{image: busybox, labels: {own: label}, depends_on: [b]}",
        "  b: {image: busybox}\n",
    )
    .await;
    let label = |key: &str| spec.labels[&format!("com.docker.compose.{key}")].as_str();
    assert_eq!(label("project"), "demo");
    assert_eq!(label("service"), "a");
    assert_eq!(label("container-number"), "1");
    assert_eq!(label("oneoff"), "False");
    assert_eq!(label("depends_on"), "b:service_started:false");
    assert_eq!(label("project.working_dir"), "/home/demo");
    assert_eq!(label("project.config_files"), "/home/demo/compose.yaml");
    assert_eq!(label("config-hash").len(), 64);
    assert!(label("image").starts_with("sha256:"));
    assert_eq!(spec.labels["own"], "label");
}

#[tokio::test]
async fn resources_and_limits() {
    let spec = spec(
        "{image: busybox, mem_limit: 64m, memswap_limit: -1, mem_reservation: 32m, cpus: 1.5, cpu_shares: 512, cpuset: '0,1', pids_limit: 9, shm_size: 1m, ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}, sysctls: {net.core.somaxconn: 1}, oom_score_adj: 5}",
        "",
    )
    .await;
    let resources = &spec.resources;
    assert_eq!(resources.memory_bytes, Some(64 << 20));
    assert_eq!(resources.memory_swap_bytes, Some(-1));
    assert_eq!(resources.memory_reservation_bytes, Some(32 << 20));
    assert_eq!(resources.nano_cpus, Some(1_500_000_000));
    assert_eq!((resources.cpu_shares, resources.pids), (Some(512), Some(9)));
    assert_eq!(resources.cpuset_cpus.as_deref(), Some("0,1"));
    assert_eq!(spec.shm_bytes, Some(1 << 20));
    assert_eq!((spec.ulimits[0].soft, spec.ulimits[0].hard), (1, 2));
    assert_eq!((spec.ulimits[1].soft, spec.ulimits[1].hard), (3, 3));
    assert_eq!(spec.sysctls["net.core.somaxconn"], "1");
    assert_eq!(spec.oom_score_adj, Some(5));
}

#[tokio::test]
async fn deploy_means_the_same_on_one_machine() {
    let spec = spec(
        "{image: busybox, deploy: {resources: {limits: {cpus: '0.5', memory: 50M, pids: 7}, reservations: {memory: 20M}}, restart_policy: {condition: on-failure, max_attempts: 3}}}",
        "",
    )
    .await;
    assert_eq!(spec.resources.nano_cpus, Some(500_000_000));
    assert_eq!(spec.resources.memory_bytes, Some(50 << 20));
    assert_eq!(spec.resources.memory_reservation_bytes, Some(20 << 20));
    assert_eq!(spec.resources.pids, Some(7));
    assert_eq!(
        spec.restart,
        RestartPolicy::OnFailure {
            max_retries: Some(3)
        }
    );
}

#[tokio::test]
async fn restarts_have_the_pace_of_the_file() {
    let wish = async |service: &str| {
        let spec = spec(&format!("{{image: busybox, {service}}}"), "").await;
        (spec.restart, spec.restart_pace)
    };
    let pace = RestartPace {
        delay: Some(Duration::from_millis(1500)),
        window: Some(Duration::from_secs(60)),
        max_attempts: Some(3),
    };
    let timing = "delay: 1.5s, window: 1m, max_attempts: 3";
    for (condition, policy) in [
        ("any", RestartPolicy::Always),
        ("unless-stopped", RestartPolicy::UnlessStopped),
        (
            "on-failure",
            RestartPolicy::OnFailure {
                max_retries: Some(3),
            },
        ),
        ("none", RestartPolicy::No),
    ] {
        // `restart` counts only without the other one.
        let service = format!(
            "restart: always, deploy: {{restart_policy: {{condition: {condition}, {timing}}}}}"
        );
        assert_eq!(wish(&service).await, (policy, pace), "{condition}");
    }
    let alone = wish("restart: unless-stopped, deploy: {replicas: 1}").await;
    assert_eq!(
        alone,
        (RestartPolicy::UnlessStopped, RestartPace::default())
    );
}

#[tokio::test]
async fn mounts_of_every_kind() {
    let spec = spec(
        "{image: busybox, volumes: ['data:/data:ro', '/anon', './made:/made', {type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0755}}, {type: bind, source: /etc, target: /e, bind: {propagation: rslave}}], tmpfs: '/run:noexec'}",
        "volumes: {data: {}}\n",
    )
    .await;
    assert_eq!(
        spec.mounts,
        [
            Mount::Volume {
                name: "demo_data".into(),
                target: "/data".into(),
                read_only: true,
                no_copy: false,
                subpath: None,
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
            },
            Mount::Volume {
                name: String::new(),
                target: "/anon".into(),
                read_only: false,
                no_copy: false,
                subpath: None,
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
            },
            Mount::Bind {
                source: "/home/demo/made".into(),
                target: "/made".into(),
                read_only: false,
                propagation: None,
                create_source: true,
                submounts: Submounts::Follow,
            },
            Mount::Tmpfs {
                target: "/t".into(),
                size_bytes: Some(1 << 20),
                mode: Some(0o755),
                options: vec![],
            },
            Mount::Bind {
                source: "/etc".into(),
                target: "/e".into(),
                read_only: false,
                propagation: Some("rslave".into()),
                create_source: true,
                submounts: Submounts::Follow,
            },
            Mount::Tmpfs {
                target: "/run".into(),
                size_bytes: None,
                mode: None,
                options: vec!["noexec".into()],
            },
        ]
    );
}

#[tokio::test]
async fn mounts_with_all_their_options() {
    let spec = spec(
        "{image: busybox, volumes: [{type: bind, source: /a, target: /a, read_only: true, consistency: cached, bind: {recursive: writable}}, {type: bind, source: /b, target: /b, bind: {recursive: disabled}}, {type: volume, target: /c, volume: {nocopy: true, subpath: sub, labels: {l: '1'}}}, {type: image, source: busybox, target: /d, image: {subpath: etc}}, {type: tmpfs, target: /e, read_only: true}], volumes_from: ['b:ro', 'container:other']}",
        "  b: {image: busybox}\n",
    )
    .await;
    let bind = |path: &str, read_only, submounts| Mount::Bind {
        source: path.into(),
        target: path.into(),
        read_only,
        propagation: None,
        create_source: true,
        submounts,
    };
    assert_eq!(
        spec.mounts,
        [
            bind("/a", true, Submounts::Writable),
            bind("/b", false, Submounts::Leave),
            Mount::Volume {
                name: String::new(),
                target: "/c".into(),
                read_only: false,
                no_copy: true,
                subpath: Some("sub".into()),
                labels: BTreeMap::from([("l".into(), "1".into())]),
                options: BTreeMap::new(),
            },
            Mount::Image {
                image: "busybox".into(),
                target: "/d".into(),
                subpath: Some("etc".into()),
            },
            Mount::Tmpfs {
                target: "/e".into(),
                size_bytes: None,
                mode: None,
                options: vec!["ro".into()],
            },
        ]
    );
    let from = |container: &str, read_only| VolumesFrom {
        container: container.into(),
        read_only,
    };
    assert_eq!(
        spec.volumes_from,
        [from("demo-b-1", true), from("other", false)]
    );
}

#[tokio::test]
async fn ports_and_networks() {
    let spec = spec(
        "{image: busybox, ports: ['8080:80', '127.0.0.1:53:53/udp', '9000-9001:90', '70'], expose: ['71-72'], networks: {front: {aliases: [w], ipv4_address: 10.1.0.9}, back: {priority: 10}}}",
        "  b: {image: busybox, networks: [front]}\nnetworks: {front: {}, back: {name: shared}}\n",
    )
    .await;
    let ports: Vec<String> = spec
        .ports
        .iter()
        .map(|binding| {
            format!(
                "{:?} {:?} {}",
                binding.host_ip, binding.host_ports, binding.port
            )
        })
        .collect();
    assert_eq!(
        ports,
        [
            "None Some((8080, 8080)) 80/tcp",
            "Some(127.0.0.1) Some((53, 53)) 53/udp",
            "None Some((9000, 9001)) 90/tcp",
            "None None 70/tcp",
        ]
    );
    let exposed: Vec<String> = spec.exposed_ports.iter().map(ToString::to_string).collect();
    assert_eq!(
        exposed,
        ["53/udp", "70/tcp", "71/tcp", "72/tcp", "80/tcp", "90/tcp"]
    );
    assert_eq!(spec.networks[0].network, "shared");
    assert_eq!(spec.networks[0].aliases, ["a", "demo-a-1"]);
    assert_eq!(spec.networks[1].network, "demo_front");
    assert_eq!(spec.networks[1].aliases, ["a", "demo-a-1", "w"]);
    assert_eq!(spec.networks[1].ipv4, Some("10.1.0.9".parse().unwrap()));
}

#[tokio::test]
async fn places_on_networks() {
    let spec = spec(
        "{image: busybox, links: ['b:friend', b, 'c:far'], external_links: ['other-db-1:base', redis], mac_address: '02:00:00:00:00:07', networks: {front: {ipv6_address: 'fd00:7::9', link_local_ips: [169.254.8.8], driver_opts: {com.docker.network.endpoint.ifname: lan0}, gw_priority: 3}, back: {priority: 10, interface_name: lan1}}}",
        "  b: {image: busybox, networks: [front]}\n  c: {image: busybox, networks: [back]}\nnetworks: {front: {enable_ipv6: true}, back: {}}\n",
    )
    .await;
    let [back, front] = &spec.networks[..] else {
        panic!("{:?}", spec.networks);
    };
    assert_eq!(front.ipv6, Some("fd00:7::9".parse().unwrap()));
    assert_eq!(front.link_local, ["169.254.8.8".parse::<IpAddr>().unwrap()]);
    assert_eq!(front.gateway_priority, 3);
    assert_eq!(
        (front.interface.as_deref(), back.interface.as_deref()),
        (Some("lan0"), Some("lan1"))
    );
    // The service's own hardware address is that of the first network.
    assert_eq!(
        (front.mac.as_deref(), back.mac.as_deref()),
        (None, Some("02:00:00:00:00:07"))
    );
    let links = |place: &EndpointSpec| -> Vec<String> {
        let links = place.links.iter();
        links
            .map(|link| format!("{} as {}", link.peer, link.alias))
            .collect()
    };
    // A link counts where the other one is; who somebody else made may be anywhere.
    assert_eq!(links(front), ["b as friend", "other-db-1 as base"]);
    assert_eq!(links(back), ["c as far", "other-db-1 as base"]);
}

#[tokio::test]
async fn namespaces_and_confinement() {
    let shut = spec(
        "{image: busybox, network_mode: none, ipc: host, pid: host, uts: host, cap_add: [NET_ADMIN], cap_drop: [ALL], security_opt: ['no-new-privileges:true', 'seccomp=unconfined'], read_only: true, devices: ['/dev/null:/dev/x:r']}",
        "",
    )
    .await;
    assert_eq!(shut.network_mode, NetworkMode::None);
    assert!(shut.networks.is_empty());
    assert_eq!(shut.ipc, NamespaceMode::Host);
    assert_eq!(
        (shut.pid, shut.uts),
        (NamespaceMode::Host, NamespaceMode::Host)
    );
    assert_eq!(
        (shut.cap_add, shut.cap_drop),
        (vec!["NET_ADMIN".into()], vec!["ALL".into()])
    );
    assert!(shut.no_new_privileges && shut.seccomp_unconfined && shut.read_only);
    assert_eq!(shut.devices[0].target, "/dev/x");
    let open = spec("{image: busybox, privileged: true, network_mode: host}", "").await;
    assert!(open.privileged);
    assert_eq!(open.network_mode, NetworkMode::Host);
}

#[tokio::test]
async fn health_checks_and_the_rest() {
    let checked = spec(
        "{image: busybox, healthcheck: {test: 'curl x', interval: 1m30s, timeout: 2s, retries: 4, start_period: 5s, start_interval: 1s}, restart: unless-stopped, logging: {driver: json-file, options: {max-size: 1m}}, dns: 1.1.1.1, dns_search: [x], dns_opt: [use-vc], extra_hosts: ['h:1.2.3.4', 'six=[::1]'], annotations: {a: b}}",
        "",
    )
    .await;
    let check = checked.healthcheck.unwrap();
    assert_eq!(check.test, ["CMD-SHELL", "curl x"]);
    assert_eq!(check.interval, Some(Duration::from_secs(90)));
    assert_eq!(
        (check.timeout, check.retries),
        (Some(Duration::from_secs(2)), Some(4))
    );
    assert_eq!(checked.restart, RestartPolicy::UnlessStopped);
    assert_eq!(checked.log.options["max-size"], "1m");
    assert_eq!(
        checked.extra_hosts,
        [("h".into(), "1.2.3.4".into()), ("six".into(), "::1".into())]
    );
    assert_eq!(checked.dns, ["1.1.1.1"]);
    let off = spec("{image: busybox, healthcheck: {disable: true}}", "").await;
    assert_eq!(off.healthcheck.unwrap().test, ["NONE"]);
}
