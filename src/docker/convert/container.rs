//! An inspected container: Docker's JSON of it, and back.
//!
//! Docker shows the image's configuration and the wish put together; what was asked for as it was
//! asked for, and the cgroup, have no place there and travel in `OrcSpec` and `OrcCgroup`.

use orc_base::{Context, Error, Result};
use orc_host::container::{Container, ContainerSpec, Exit, State};

use crate::convert::namespace::DEFAULT_NETWORK;
use crate::convert::{create, endpoint, health, mount, port, time, unsupported};
use crate::wire::container as wire;
use crate::wire::host_config::HostConfig;
use crate::wire::json::{Ordered, Words};
use crate::wire::network::EndpointSettings;

/// What `docker inspect` prints; with `extended` also what only orc's client reads.
pub(crate) fn to_wire(container: &Container, extended: bool) -> Result<wire::Inspect> {
    let (path, args) = match container.args.split_first() {
        Some((path, args)) => (path.clone(), args.to_vec()),
        None => (String::new(), Vec::new()),
    };
    Ok(wire::Inspect {
        id: container.id.clone(),
        created: container.created.to_string(),
        path,
        args,
        state: state_to_wire(container),
        image: container.image_id.clone(),
        log_path: container.log_path.clone(),
        name: format!("/{}", container.name),
        restart_count: container.restart_count,
        driver: "overlayfs".into(),
        platform: "linux".into(),
        host_config: host_config(&container.spec)?,
        graph_driver: wire::GraphDriver {
            name: "overlayfs".into(),
            ..Default::default()
        },
        mounts: container.mounts.iter().map(mount::point_to_wire).collect(),
        config: config(container),
        network_settings: network_settings(container, extended),
        orc_spec: extended.then(|| Box::new(container.spec.clone())),
        orc_cgroup: extended.then(|| container.cgroup.clone()),
        ..Default::default()
    })
}

/// The inverse of [`to_wire`] with `extended`.
pub(crate) fn from_wire(inspect: &wire::Inspect) -> Result<Container> {
    let convert = || -> Result<Container> {
        let spec = inspect
            .orc_spec
            .clone()
            .ok_or_else(|| Error::internal("the daemon did not say what was asked for"))?;
        let config = &inspect.config;
        let path = Some(&inspect.path).filter(|path| !path.is_empty() || !inspect.args.is_empty());
        let endpoint =
            |(name, settings): &(String, EndpointSettings)| endpoint::from_wire(name, settings);
        Ok(Container {
            id: inspect.id.clone(),
            name: inspect.name.trim_start_matches('/').into(),
            spec: *spec,
            created: inspect.created.parse()?,
            image_id: inspect.image.clone(),
            args: path.into_iter().chain(&inspect.args).cloned().collect(),
            env: config.env.clone(),
            working_dir: config.working_dir.clone(),
            labels: config.labels.clone(),
            healthcheck: config
                .healthcheck
                .as_ref()
                .map(health::check_from_wire)
                .transpose()?,
            stop_signal: config.stop_signal.clone(),
            hostname: config.hostname.clone(),
            state: state_from_wire(&inspect.state)?,
            health: inspect
                .state
                .health
                .as_ref()
                .map(health::from_wire)
                .transpose()?,
            restart_count: inspect.restart_count,
            mounts: inspect
                .mounts
                .iter()
                .map(mount::point_from_wire)
                .collect::<Result<_>>()?,
            endpoints: inspect
                .network_settings
                .networks
                .0
                .iter()
                .map(endpoint)
                .collect::<Result<_>>()?,
            published: port::published_from_wire(&inspect.network_settings.ports)?,
            log_path: inspect.log_path.clone(),
            cgroup: inspect.orc_cgroup.clone().unwrap_or_default(),
        })
    };
    convert()
        .map_err(|error| error.with_kind(orc_base::Kind::Internal))
        .context(|| format!("read container {}", inspect.id))
}

/// What runs: the image's configuration and the spec's put together, as far as it is known.
fn config(container: &Container) -> wire::Config {
    let spec = &container.spec;
    let (entrypoint, command) = command_line(container);
    wire::Config {
        hostname: container.hostname.clone(),
        attach_stdout: true,
        attach_stderr: true,
        attach_stdin: spec.open_stdin,
        env: container.env.clone(),
        cmd: Words(command),
        entrypoint: Words(entrypoint),
        healthcheck: container.healthcheck.as_ref().map(health::check_to_wire),
        working_dir: container.working_dir.clone(),
        labels: container.labels.clone(),
        stop_signal: container.stop_signal.clone(),
        // Docker's clients read a whole number.
        stop_timeout: spec
            .stop_timeout
            .map(|timeout| timeout.as_secs_f64().ceil() as u64)
            .map(Into::into),
        ..create::config(spec)
    }
}

/// Which part of the arguments is the entry point and which the command.
fn command_line(container: &Container) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let spec = &container.spec;
    if let Some(entrypoint) = &spec.entrypoint {
        return (Some(entrypoint.clone()), spec.command.clone());
    }
    let args = &container.args[..];
    match spec
        .command
        .as_ref()
        .and_then(|command| args.strip_suffix(&command[..]))
    {
        Some([]) | None => (None, Some(args.to_vec())),
        Some(entrypoint) => (Some(entrypoint.to_vec()), spec.command.clone()),
    }
}

fn host_config(spec: &ContainerSpec) -> Result<HostConfig> {
    let (binds, mounts) = mount::shown(&spec.mounts)?;
    let mut config = HostConfig {
        binds,
        mounts,
        other: unsupported::host_config_defaults(),
        ..create::host_config(spec)
    };
    if config.network_mode == "default" {
        config.network_mode = DEFAULT_NETWORK.into();
    }
    if config.log_config.r#type.is_empty() {
        // Docker's clients fetch output only of drivers they know to keep it.
        config.log_config.r#type = "json-file".into();
    }
    if config.shm_size == 0 {
        config.shm_size = 64 << 20;
    }
    Ok(config)
}

fn network_settings(container: &Container, extended: bool) -> wire::NetworkSettings {
    let networks: Ordered<EndpointSettings> = networks(container, extended);
    let mut settings = wire::NetworkSettings {
        sandbox_id: container
            .state
            .pid()
            .map(|_| container.id.clone())
            .unwrap_or_default(),
        ports: port::published_to_wire(
            &container.published,
            container.spec.exposed_ports.iter().copied(),
        ),
        ..Default::default()
    };
    // Clients from before there were networks look for the default one's here.
    if let Some(bridge) = networks.get(DEFAULT_NETWORK) {
        settings.endpoint_id = bridge.endpoint_id.clone();
        settings.gateway = bridge.gateway.clone();
        settings.ip_address = bridge.ip_address.clone();
        settings.ip_prefix_len = bridge.ip_prefix_len;
        settings.mac_address = bridge.mac_address.clone();
    }
    settings.networks = networks;
    settings
}

/// `NetworkSettings.Networks`.
pub(crate) fn networks(container: &Container, extended: bool) -> Ordered<EndpointSettings> {
    container
        .endpoints
        .iter()
        .map(|place| {
            let settings = endpoint::to_wire(place, &container.id, extended);
            (place.network_name.clone(), settings)
        })
        .collect()
}

fn state_to_wire(container: &Container) -> wire::State {
    let state = &container.state;
    let exit = state.exit();
    let started_at = match state {
        State::Running { started_at, .. } | State::Paused { started_at, .. } => Some(*started_at),
        _ => exit.and_then(|exit| exit.started_at),
    };
    wire::State {
        status: state.as_str().into(),
        running: state.is_running() || matches!(state, State::Restarting { .. }),
        paused: matches!(state, State::Paused { .. }),
        restarting: matches!(state, State::Restarting { .. }),
        oom_killed: exit.is_some_and(|exit| exit.oom_killed),
        dead: false,
        pid: state.pid().unwrap_or(0),
        exit_code: exit.map_or(0, |exit| exit.code),
        error: exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
        started_at: time::or_never(started_at),
        finished_at: time::or_never(exit.map(|exit| exit.finished_at)),
        health: container.health.as_ref().map(health::to_wire),
    }
}

fn state_from_wire(state: &wire::State) -> Result<State> {
    let started_at = time::known(&state.started_at)?;
    let exit = time::known(&state.finished_at)?.map(|finished_at| Exit {
        code: state.exit_code,
        error: Some(state.error.clone()).filter(|error| !error.is_empty()),
        oom_killed: state.oom_killed,
        started_at,
        finished_at,
    });
    let no_time = || Error::internal(format!("a container that is {} needs a time", state.status));
    let pid = state.pid;
    Ok(match state.status.as_str() {
        "created" => State::Created { exit },
        "running" => State::Running {
            pid,
            started_at: started_at.ok_or_else(no_time)?,
        },
        "paused" => State::Paused {
            pid,
            started_at: started_at.ok_or_else(no_time)?,
        },
        "restarting" => State::Restarting {
            exit: exit.ok_or_else(no_time)?,
        },
        "exited" => State::Exited {
            exit: exit.ok_or_else(no_time)?,
        },
        "removing" => State::Removing,
        other => return Err(Error::internal(format!("`{other}` is not a state"))),
    })
}

#[cfg(test)]
mod tests {
    use orc_base::Time;
    use orc_host::container::{Health, HealthStatus, MountKind, MountPoint, Probe};
    use orc_host::network::{Endpoint, EndpointSpec, PublishedPort};
    use serde_json::{Value, json};

    use super::*;

    fn at(secs: i64) -> Time {
        Time::from_nanos(secs * 1_000_000_000 + 5)
    }

    fn sample(state: State) -> Container {
        Container {
            id: "ab".repeat(32),
            name: "web".into(),
            spec: ContainerSpec {
                image: "busybox".into(),
                stop_timeout: Some(std::time::Duration::from_millis(1500)),
                networks: vec![EndpointSpec {
                    network: "0123".into(),
                    ..EndpointSpec::default()
                }],
                exposed_ports: ["53/udp".parse().unwrap()].into(),
                ..ContainerSpec::default()
            },
            created: at(1),
            image_id: "sha256:cd".into(),
            args: vec!["sh".into(), "-c".into(), "true".into()],
            env: vec!["A=b".into()],
            working_dir: "/".into(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            healthcheck: None,
            stop_signal: "SIGTERM".into(),
            hostname: "abababababab".into(),
            state,
            health: Some(Health {
                status: HealthStatus::Unhealthy,
                failing_streak: 3,
                log: vec![Probe {
                    start: at(3),
                    end: at(4),
                    exit_code: -1,
                    output: "timed out".into(),
                }],
            }),
            restart_count: 2,
            mounts: vec![MountPoint {
                kind: MountKind::Tmpfs,
                name: None,
                source: String::new(),
                target: "/run".into(),
                read_only: true,
                propagation: String::new(),
            }],
            endpoints: vec![Endpoint {
                spec: EndpointSpec {
                    network: "0123".into(),
                    ..EndpointSpec::default()
                },
                network_name: "front".into(),
                network_id: "0123456789".into(),
                address: Some("172.20.0.2".parse().unwrap()),
                prefix: 16,
                gateway: Some("172.20.0.1".parse().unwrap()),
                ipv6: Some(orc_host::network::Ipv6Place {
                    address: "fd00::2".parse().unwrap(),
                    prefix: 64,
                    gateway: Some("fd00::1".parse().unwrap()),
                }),
                mac: Some("02:42:ac:14:00:02".into()),
                dns_names: vec!["web".into()],
            }],
            published: vec![PublishedPort {
                port: "80/tcp".parse().unwrap(),
                host_ip: "::".parse().unwrap(),
                host_port: 8080,
            }],
            log_path: "/log".into(),
            cgroup: "/orc/ab".into(),
        }
    }

    fn states() -> Vec<State> {
        let exit = Exit {
            code: 127,
            error: Some("no such file".into()),
            oom_killed: true,
            started_at: None,
            finished_at: at(9),
        };
        let ran = Exit {
            error: None,
            started_at: Some(at(5)),
            ..exit.clone()
        };
        vec![
            State::Created { exit: None },
            State::Created { exit: Some(exit) },
            State::Running {
                pid: 7,
                started_at: at(5),
            },
            State::Paused {
                pid: 7,
                started_at: at(5),
            },
            State::Restarting { exit: ran.clone() },
            State::Exited { exit: ran },
            State::Removing,
        ]
    }

    #[test]
    fn a_container_comes_back() {
        for state in states() {
            let container = sample(state);
            let text = serde_json::to_string(&to_wire(&container, true).unwrap()).unwrap();
            let back = from_wire(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(back, container);
        }
        assert!(from_wire(&to_wire(&sample(State::Removing), false).unwrap()).is_err());
    }

    #[test]
    fn docker_sees_its_own_json() {
        let container = sample(State::Running {
            pid: 7,
            started_at: at(5),
        });
        let value = serde_json::to_value(to_wire(&container, false).unwrap()).unwrap();
        assert_eq!(
            value["State"],
            json!({
                "Status": "running", "Running": true, "Paused": false, "Restarting": false,
                "OOMKilled": false, "Dead": false, "Pid": 7, "ExitCode": 0, "Error": "",
                "StartedAt": "1970-01-01T00:00:05.000000005Z", "FinishedAt": time::NEVER,
                "Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": [{
                    "Start": "1970-01-01T00:00:03.000000005Z",
                    "End": "1970-01-01T00:00:04.000000005Z",
                    "ExitCode": -1, "Output": "timed out",
                }]},
            })
        );
        for (pointer, wanted) in [
            ("/Name", json!("/web")),
            ("/Path", json!("sh")),
            ("/Args", json!(["-c", "true"])),
            ("/Config/StopTimeout", json!(2)),
            ("/Config/Entrypoint", json!(null)),
            ("/HostConfig/NetworkMode", json!("0123")),
            ("/HostConfig/LogConfig/Type", json!("json-file")),
            ("/HostConfig/Runtime", json!("orc")),
            (
                "/NetworkSettings/Ports",
                json!({"80/tcp": [{"HostIp": "::", "HostPort": "8080"}], "53/udp": null}),
            ),
            (
                "/NetworkSettings/Networks/front/IPAddress",
                json!("172.20.0.2"),
            ),
            ("/NetworkSettings/IPAddress", json!("")),
            ("/Mounts/0/RW", json!(false)),
        ] {
            assert_eq!(value.pointer(pointer), Some(&wanted), "{pointer}");
        }
        assert!(!value.to_string().contains("Orc"), "{value}");
        assert!(value.pointer("/State/Health").is_some_and(Value::is_object));
    }
}
