//! Promises about a container's life: create, start, stop, restart, remove, and what is told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use orc_base::Kind;

use crate::container::{
    ContainerFilter, ContainerSpec, HealthStatus, Mount, RemoveOptions, Resources, RestartPolicy,
    State, Ulimit, WaitFor,
};
use crate::contract::bench::{Bench, refused, until};
use crate::event::{EventFilter, Subject};
use crate::image::Healthcheck;
use crate::network::{EndpointSpec, NetworkSpec, PortBinding};
use crate::stop::StopOptions;
use crate::update::ContainerUpdate;
use crate::volume::VolumeSpec;

pub(crate) async fn a_created_container_is_not_running(bench: Bench) {
    let name = bench.name("c");
    let spec = bench.spec(&["sleep", "1000"]);
    let created = bench
        .host
        .create_container(Some(&name), &spec)
        .await
        .expect("create");
    assert_eq!(created.id.len(), 64);
    let container = bench
        .host
        .inspect_container(&name)
        .await
        .expect("inspect by name");
    assert_eq!(
        (container.id.as_str(), container.name.as_str()),
        (created.id.as_str(), name.as_str())
    );
    assert_eq!(container.state, State::Created { exit: None });
    assert_eq!(container.args, ["sleep", "1000"]);
    assert_eq!(container.hostname, created.id[..12]);
    let by_prefix = bench
        .host
        .inspect_container(&created.id[..12])
        .await
        .expect("inspect by short id");
    assert_eq!(by_prefix.id, created.id);
    bench.remove(&name).await;
    refused(bench.host.inspect_container(&name).await, Kind::NotFound);
}

pub(crate) async fn what_was_asked_for_is_kept(bench: Bench) {
    let spec = ContainerSpec {
        entrypoint: Some(vec!["sh".into(), "-c".into()]),
        env: vec!["A=1".into(), "B=two words".into()],
        working_dir: Some("/tmp".into()),
        user: Some("1000:1000".into()),
        groups: vec!["20".into()],
        hostname: Some("web".into()),
        domainname: Some("example".into()),
        annotations: BTreeMap::from([("note".into(), "x".into())]),
        stop_signal: Some("SIGQUIT".into()),
        stop_timeout: Some(Duration::from_secs(3)),
        healthcheck: Some(Healthcheck {
            test: vec!["CMD".into(), "true".into()],
            interval: Some(Duration::from_millis(1500)),
            timeout: Some(Duration::from_secs(2)),
            start_period: Some(Duration::from_secs(4)),
            start_interval: Some(Duration::from_secs(1)),
            retries: Some(5),
        }),
        exposed_ports: ["81/tcp".parse().expect("a port")].into(),
        mounts: vec![Mount::Tmpfs {
            target: "/scratch".into(),
            size_bytes: Some(1 << 20),
            mode: Some(0o700),
            options: vec![],
        }],
        ports: vec![PortBinding {
            port: "80/tcp".parse().expect("a port"),
            host_ip: Some("127.0.0.1".parse().expect("an address")),
            host_ports: Some((38_080, 38_080)),
        }],
        networks: vec![EndpointSpec {
            network: "bridge".into(),
            aliases: vec!["alias".into()],
            ..EndpointSpec::default()
        }],
        dns: vec!["192.0.2.1".into()],
        dns_search: vec!["example".into()],
        dns_options: vec!["ndots:1".into()],
        extra_hosts: vec![("db".into(), "192.0.2.2".into())],
        restart: RestartPolicy::OnFailure {
            max_retries: Some(4),
        },
        read_only: true,
        init: true,
        cap_add: vec!["NET_ADMIN".into()],
        cap_drop: vec!["CHOWN".into()],
        no_new_privileges: true,
        resources: Resources {
            memory_bytes: Some(64 << 20),
            nano_cpus: Some(500_000_000),
            pids: Some(100),
            ..Resources::default()
        },
        ulimits: vec![Ulimit {
            name: "nofile".into(),
            soft: 512,
            hard: 1024,
        }],
        sysctls: BTreeMap::from([("net.ipv4.ip_unprivileged_port_start".into(), "0".into())]),
        shm_bytes: Some(1 << 20),
        ..bench.spec(&["true"])
    };
    let name = bench.create("c", &spec).await;
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert_eq!(container.spec, spec);
    assert_eq!(container.args, ["sh", "-c", "true"]);
    assert_eq!(container.stop_signal, "SIGQUIT");
    assert!(
        container.env.contains(&"B=two words".to_string()),
        "{:?}",
        container.env
    );
    bench.remove(&name).await;
}

pub(crate) async fn a_name_is_taken_once(bench: Bench) {
    let spec = bench.spec(&["true"]);
    let name = bench.create("c", &spec).await;
    let text = refused(
        bench.host.create_container(Some(&name), &spec).await,
        Kind::Conflict,
    );
    assert!(text.contains(&name), "{text}");
    bench.remove(&name).await;
    let again = bench.create("c", &spec).await;
    bench.remove(&again).await;
}

pub(crate) async fn an_unknown_thing_is_not_found(bench: Bench) {
    let host = &bench.host;
    let nope = bench.name("nope");
    refused(host.inspect_container(&nope).await, Kind::NotFound);
    refused(host.start_container(&nope).await, Kind::NotFound);
    refused(
        host.stop_container(&nope, &StopOptions::default()).await,
        Kind::NotFound,
    );
    refused(host.kill_container(&nope, None).await, Kind::NotFound);
    refused(
        host.remove_container(&nope, RemoveOptions::default()).await,
        Kind::NotFound,
    );
    refused(
        host.wait_container(&nope, WaitFor::NotRunning).await,
        Kind::NotFound,
    );
    refused(host.inspect_network(&nope).await, Kind::NotFound);
    refused(host.remove_network(&nope).await, Kind::NotFound);
    refused(host.inspect_volume(&nope).await, Kind::NotFound);
    refused(host.remove_volume(&nope, false).await, Kind::NotFound);
    refused(host.inspect_image(&nope).await, Kind::NotFound);
    refused(host.inspect_exec(&nope).await, Kind::NotFound);
    let spec = ContainerSpec {
        image: nope.clone(),
        ..bench.spec(&["true"])
    };
    let text = refused(host.create_container(None, &spec).await, Kind::NotFound);
    assert!(text.contains(&nope), "{text}");
    let spec = ContainerSpec {
        networks: vec![EndpointSpec {
            network: nope.clone(),
            ..EndpointSpec::default()
        }],
        ..bench.spec(&["true"])
    };
    let text = match host.create_container(Some(&nope), &spec).await {
        // Docker looks for the network at the start.
        Ok(_) => refused(host.start_container(&nope).await, Kind::NotFound),
        refusal => refused(refusal, Kind::NotFound),
    };
    assert!(text.contains(&nope), "{text}");
}

pub(crate) async fn a_bad_name_is_invalid(bench: Bench) {
    for bad in ["../x", "-rf", "a b", "a/b"] {
        let spec = bench.spec(&["true"]);
        refused(
            bench.host.create_container(Some(bad), &spec).await,
            Kind::Invalid,
        );
        let volume = VolumeSpec {
            name: bad.into(),
            ..VolumeSpec::default()
        };
        refused(bench.host.create_volume(&volume).await, Kind::Invalid);
        let network = NetworkSpec {
            name: bad.into(),
            ..NetworkSpec::default()
        };
        refused(bench.host.create_network(&network).await, Kind::Invalid);
    }
}

pub(crate) async fn a_program_runs_to_its_end(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sh", "-c", "exit 7"])).await;
    assert_eq!(bench.exit_code(&name).await, 7);
    let State::Exited { exit } = bench.state(&name).await else {
        panic!("not exited");
    };
    assert_eq!(exit.code, 7);
    let started = exit.started_at.expect("it ran");
    assert!(exit.finished_at >= started);
    bench.remove(&name).await;
}

pub(crate) async fn a_missing_program_fails_the_start(bench: Bench) {
    let name = bench.create("c", &bench.spec(&["/bin/nope"])).await;
    let text = refused(bench.host.start_container(&name).await, Kind::NotFound);
    assert!(text.contains("/bin/nope"), "{text}");
    assert!(text.contains("no such file or directory"), "{text}");
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert!(!container.state.is_running());
    assert_eq!(container.state.exit().expect("a failed start").code, 127);
    bench.remove(&name).await;
}

pub(crate) async fn a_running_container_does_not_start_again(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    assert!(bench.state(&name).await.is_running());
    refused(bench.host.start_container(&name).await, Kind::Unchanged);
    let text = refused(
        bench
            .host
            .remove_container(&name, RemoveOptions::default())
            .await,
        Kind::Conflict,
    );
    assert!(text.contains("running"), "{text}");
    bench.remove(&name).await;
}

pub(crate) async fn a_stopped_container_starts_again(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    bench
        .host
        .stop_container(&name, &StopOptions::within(Some(Duration::ZERO)))
        .await
        .expect("stop");
    assert_eq!(bench.state(&name).await.exit().expect("stopped").code, 137);
    let no_signal = StopOptions {
        signal: Some("SIGNOSUCH".into()),
        timeout: None,
    };
    refused(
        bench.host.stop_container(&name, &no_signal).await,
        Kind::Invalid,
    );
    refused(
        bench
            .host
            .stop_container(&name, &StopOptions::default())
            .await,
        Kind::Unchanged,
    );
    bench
        .host
        .start_container(&name)
        .await
        .expect("start again");
    assert!(bench.state(&name).await.is_running());
    let before = bench.state(&name).await;
    bench
        .host
        .restart_container(&name, &StopOptions::within(Some(Duration::ZERO)))
        .await
        .expect("restart");
    let after = bench.state(&name).await;
    assert!(after.is_running());
    assert_ne!(before, after);
    bench.remove(&name).await;
}

pub(crate) async fn a_kill_ends_it(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    refused(
        bench.host.kill_container(&name, Some("SIGNOPE")).await,
        Kind::Invalid,
    );
    bench
        .host
        .kill_container(&name, Some("KILL"))
        .await
        .expect("kill");
    assert_eq!(bench.exit_code(&name).await, 137);
    refused(bench.host.kill_container(&name, None).await, Kind::Conflict);
    bench.remove(&name).await;
}

pub(crate) async fn lists_are_filtered(bench: Bench) {
    let running = bench
        .start("running", &bench.spec(&["sleep", "1000"]))
        .await;
    let created = bench.create("created", &bench.spec(&["true"])).await;
    let names = |containers: Vec<crate::container::Container>| -> Vec<String> {
        containers
            .into_iter()
            .map(|container| container.name)
            .collect()
    };
    let ours = ContainerFilter::labelled("contract", &bench.prefix);
    let all = bench.host.list_containers(&ours).await.expect("list");
    assert_eq!(
        names(all),
        [created.clone(), running.clone()],
        "newest first"
    );
    let only_running = ContainerFilter {
        all: false,
        ..ours.clone()
    };
    let found = bench
        .host
        .list_containers(&only_running)
        .await
        .expect("list");
    assert_eq!(names(found), std::slice::from_ref(&running));
    let by_status = ContainerFilter {
        statuses: vec!["created".into()],
        ..ours.clone()
    };
    let found = bench.host.list_containers(&by_status).await.expect("list");
    assert_eq!(names(found), std::slice::from_ref(&created));
    let by_name = ContainerFilter {
        names: vec![running.clone()],
        ..ours
    };
    let found = bench.host.list_containers(&by_name).await.expect("list");
    assert_eq!(names(found), std::slice::from_ref(&running));
    let none = ContainerFilter::labelled("contract", "nobody");
    assert!(
        bench
            .host
            .list_containers(&none)
            .await
            .expect("list")
            .is_empty()
    );
    bench.remove(&running).await;
    bench.remove(&created).await;
}

pub(crate) async fn a_wait_sees_the_next_exit(bench: Bench) {
    let name = bench
        .create("c", &bench.spec(&["sh", "-c", "exit 4"]))
        .await;
    let not_running = bench.host.wait_container(&name, WaitFor::NotRunning).await;
    not_running.expect("it does not run");
    let (host, waited) = (bench.host.clone(), name.clone());
    let wait = tokio::spawn(async move { host.wait_container(&waited, WaitFor::NextExit).await });
    // The wait has to be there first: what it promises is about exits after it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.host.start_container(&name).await.expect("start");
    let exit = wait.await.expect("no panic").expect("wait");
    assert_eq!(exit.code, 4);
    bench.remove(&name).await;
}

pub(crate) async fn a_paused_container_is_running(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    bench.host.pause_container(&name).await.expect("pause");
    let state = bench.state(&name).await;
    assert!(
        matches!(state, State::Paused { .. }) && state.is_running(),
        "{state:?}"
    );
    refused(bench.host.pause_container(&name).await, Kind::Conflict);
    bench.host.unpause_container(&name).await.expect("unpause");
    assert!(matches!(bench.state(&name).await, State::Running { .. }));
    refused(bench.host.unpause_container(&name).await, Kind::Conflict);
    bench.remove(&name).await;
}

pub(crate) async fn a_running_container_uses_something(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    let first = bench.host.stats(&name).await.expect("stats");
    let second = bench.host.stats(&name).await.expect("stats");
    assert!(second.read >= first.read && second.cpu_ns >= first.cpu_ns);
    assert!(first.memory_bytes.is_none_or(|bytes| bytes > 0));
    assert!(first.pids.is_none_or(|pids| pids > 0));
    assert!(first.memory_limit_bytes > 0 && first.cpus > 0);
    assert!(first.machine_cpu_ns > 0);
    bench.host.kill_container(&name, None).await.expect("kill");
    bench
        .host
        .wait_container(&name, WaitFor::NotRunning)
        .await
        .expect("wait");
    refused(bench.host.stats(&name).await, Kind::Conflict);
    bench.remove(&name).await;
    refused(bench.host.stats(&name).await, Kind::NotFound);
}

pub(crate) async fn a_failing_program_is_restarted(bench: Bench) {
    let spec = ContainerSpec {
        restart: RestartPolicy::OnFailure {
            max_retries: Some(2),
        },
        ..bench.spec(&["false"])
    };
    let name = bench.start("c", &spec).await;
    assert_eq!(bench.exit_code(&name).await, 1);
    until("two restarts", || async {
        let container = bench.host.inspect_container(&name).await.expect("inspect");
        container.restart_count == 2 && matches!(container.state, State::Exited { .. })
    })
    .await;
    bench.remove(&name).await;
}

pub(crate) async fn a_container_can_remove_itself(bench: Bench) {
    let spec = ContainerSpec {
        auto_remove: true,
        ..bench.spec(&["sh", "-c", "exit 5"])
    };
    let name = bench.create("c", &spec).await;
    let (host, waited) = (bench.host.clone(), name.clone());
    let wait = tokio::spawn(async move { host.wait_container(&waited, WaitFor::Removed).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.host.start_container(&name).await.expect("start");
    assert_eq!(wait.await.expect("no panic").expect("wait").code, 5);
    refused(bench.host.inspect_container(&name).await, Kind::NotFound);
}

pub(crate) async fn health_is_probed(bench: Bench) {
    for (program, status) in [
        ("true", HealthStatus::Healthy),
        ("false", HealthStatus::Unhealthy),
    ] {
        let spec = ContainerSpec {
            healthcheck: Some(Healthcheck {
                test: vec!["CMD".into(), program.into()],
                interval: Some(Duration::from_millis(100)),
                retries: Some(1),
                ..Healthcheck::default()
            }),
            ..bench.spec(&["sleep", "1000"])
        };
        let name = bench.start(program, &spec).await;
        until(status.as_str(), || async {
            let container = bench.host.inspect_container(&name).await.expect("inspect");
            container
                .health
                .is_some_and(|health| health.status == status)
        })
        .await;
        bench.remove(&name).await;
    }
}

pub(crate) async fn a_container_is_renamed(bench: Bench) {
    let name = bench.create("old", &bench.spec(&["true"])).await;
    let other = bench.create("other", &bench.spec(&["true"])).await;
    let new = bench.name("new");
    refused(
        bench.host.rename_container(&name, &other).await,
        Kind::Conflict,
    );
    refused(
        bench.host.rename_container(&name, "../x").await,
        Kind::Invalid,
    );
    bench
        .host
        .rename_container(&name, &new)
        .await
        .expect("rename");
    refused(bench.host.inspect_container(&name).await, Kind::NotFound);
    bench.remove(&new).await;
    bench.remove(&other).await;
}

pub(crate) async fn a_container_is_updated(bench: Bench) {
    let spec = ContainerSpec {
        restart: RestartPolicy::Always,
        ..bench.spec(&["sleep", "1000"])
    };
    let name = bench.start("c", &spec).await;
    let change = ContainerUpdate {
        resources: Resources {
            pids: Some(77),
            ..Resources::default()
        },
        restart: Some(RestartPolicy::No),
    };
    let warnings = bench.host.update_container(&name, &change).await;
    assert_eq!(warnings.expect("update"), [""; 0]);
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert_eq!(container.spec.resources.pids, Some(77));
    assert_eq!(container.spec.restart, RestartPolicy::No);
    assert_eq!(container.spec.command, spec.command, "the rest stays");
    assert!(container.state.is_running());
    refused(
        bench.host.update_container("no-such", &change).await,
        Kind::NotFound,
    );
    bench.remove(&name).await;
}

pub(crate) async fn events_tell_the_story(bench: Bench) {
    let filter = EventFilter {
        subjects: vec![Subject::Container],
        labels: vec![("contract".into(), Some(bench.prefix.clone()))],
        ..EventFilter::default()
    };
    let mut events = bench.host.events(filter).await.expect("events");
    let name = bench.start("c", &bench.spec(&["sh", "-c", "exit 6"])).await;
    bench.exit_code(&name).await;
    bench.remove(&name).await;
    let mut story = Vec::new();
    while story.last().is_none_or(|action| action != "destroy") {
        let event = events
            .next()
            .await
            .expect("another event")
            .expect("no error");
        assert_eq!(event.attributes["name"], name);
        if event.action == "die" {
            assert_eq!(event.attributes["exitCode"], "6");
        }
        story.push(event.action);
    }
    assert_eq!(story, ["create", "start", "die", "destroy"]);
}
