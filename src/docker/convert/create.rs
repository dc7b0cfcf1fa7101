//! The body of a create: what someone wants of a container.
//!
//! [`body`] of a [`ContainerSpec`] is what orc's client sends, and [`spec`] reads it and what
//! Docker's clients send. There is one representation of each wish, so what a policy would see is
//! what is done.

use std::collections::BTreeSet;
use std::time::Duration;

use orc_base::{Context, Error, Result};
use orc_host::container::{ContainerSpec, Device, LogConfig, NetworkMode, RestartPolicy, Ulimit};
use orc_host::network::EndpointSpec;
use serde_json::Value;

use crate::convert::mount::Bind;
use crate::convert::namespace::{self, Network};
use crate::convert::unsupported::{self, Place};
use crate::convert::{endpoint, given_file, health, mount, port, resources, time};
use crate::wire::container::{Config, NetworkingConfig};
use crate::wire::host_config::{self as wire, HostConfig};
use crate::wire::json::{Empty, Words};

/// The body that asks for `spec`; its platform belongs into the query.
pub(crate) fn body(spec: &ContainerSpec) -> Result<Config> {
    let mut host_config = host_config(spec);
    host_config.mounts = spec
        .mounts
        .iter()
        .map(mount::to_wire)
        .collect::<Result<_>>()?;
    let networks = match spec.network_mode {
        NetworkMode::Networks => &spec.networks[..],
        _ => &[],
    };
    let endpoints = networks
        .iter()
        .map(|wish| (wish.network.clone(), endpoint::spec_to_wire(wish)));
    Ok(Config {
        stop_timeout: spec.stop_timeout.map(time::seconds_value),
        host_config: Some(host_config),
        networking_config: Some(NetworkingConfig {
            endpoints_config: endpoints.collect(),
            ..Default::default()
        }),
        orc_files: spec
            .files
            .iter()
            .map(given_file::to_wire)
            .collect::<Result<_>>()?,
        ..config(spec)
    })
}

/// What a spec says of the program, without its stop timeout.
pub(crate) fn config(spec: &ContainerSpec) -> Config {
    Config {
        hostname: spec.hostname.clone().unwrap_or_default(),
        domainname: spec.domainname.clone().unwrap_or_default(),
        user: spec.user.clone().unwrap_or_default(),
        exposed_ports: spec
            .exposed_ports
            .iter()
            .map(|port| (port.to_string(), Empty))
            .collect(),
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        stdin_once: spec.stdin_once,
        env: spec.env.clone(),
        cmd: Words(spec.command.clone()),
        healthcheck: spec.healthcheck.as_ref().map(health::check_to_wire),
        image: spec.image.clone(),
        volumes: spec
            .anonymous_volumes
            .iter()
            .map(|path| (path.clone(), Empty))
            .collect(),
        working_dir: spec.working_dir.clone().unwrap_or_default(),
        entrypoint: Words(spec.entrypoint.clone()),
        labels: spec.labels.clone(),
        stop_signal: spec.stop_signal.clone().unwrap_or_default(),
        ..Default::default()
    }
}

/// What a spec says of the machine, without its mounts.
pub(crate) fn host_config(spec: &ContainerSpec) -> HostConfig {
    let first = spec.networks.first().map(|wish| wish.network.as_str());
    let mut config = HostConfig {
        log_config: wire::LogConfig {
            r#type: spec.log.driver.clone(),
            config: spec.log.options.clone(),
        },
        network_mode: namespace::network_to_wire(&spec.network_mode, first),
        port_bindings: port::bindings_to_wire(&spec.ports),
        restart_policy: restart_to_wire(spec.restart),
        auto_remove: spec.auto_remove,
        cap_add: spec.cap_add.clone(),
        cap_drop: spec.cap_drop.clone(),
        cgroupns_mode: namespace::to_wire(&spec.cgroup, "private"),
        dns: spec.dns.clone(),
        dns_options: spec.dns_options.clone(),
        dns_search: spec.dns_search.clone(),
        extra_hosts: spec
            .extra_hosts
            .iter()
            .map(|(name, address)| format!("{name}:{address}"))
            .collect(),
        group_add: spec.groups.clone(),
        ipc_mode: namespace::to_wire(&spec.ipc, "private"),
        oom_score_adj: spec.oom_score_adj.unwrap_or(0),
        pid_mode: namespace::to_wire(&spec.pid, ""),
        privileged: spec.privileged,
        publish_all_ports: spec.publish_all,
        readonly_rootfs: spec.read_only,
        security_opt: security_to_wire(spec),
        uts_mode: namespace::to_wire(&spec.uts, ""),
        shm_size: resources::signed(spec.shm_bytes),
        cgroup_parent: spec.cgroup_parent.clone().unwrap_or_default(),
        devices: spec.devices.iter().map(device_to_wire).collect(),
        device_cgroup_rules: spec.device_rules.clone(),
        orc_api_socket: spec.api_socket,
        orc_restart_pace: spec.restart_pace,
        ulimits: spec.ulimits.iter().map(ulimit_to_wire).collect(),
        init: spec.init.then_some(true),
        sysctls: spec.sysctls.clone(),
        annotations: spec.annotations.clone(),
        volumes_from: spec.volumes_from.iter().map(mount::from_to_wire).collect(),
        ..Default::default()
    };
    resources::to_wire(&spec.resources, &mut config);
    config
}

/// What a body asks for, and what of it is not done.
pub(crate) fn spec(
    body: &Config,
    platform: Option<String>,
) -> Result<(ContainerSpec, Vec<String>)> {
    let mut warnings = Vec::new();
    let none = HostConfig::default();
    let host = body.host_config.as_ref().unwrap_or(&none);
    check_members(body, host, &mut warnings)?;
    let (network_mode, networks) = networks(body, host, &mut warnings)?;
    let mut spec = ContainerSpec {
        image: body.image.clone(),
        platform: platform.filter(|platform| !platform.is_empty()),
        entrypoint: body.entrypoint.0.clone().map(entrypoint),
        command: body.cmd.0.clone(),
        env: body.env.clone(),
        working_dir: resources::text(&body.working_dir),
        user: resources::text(&body.user),
        groups: host.group_add.clone(),
        hostname: resources::text(&body.hostname),
        domainname: resources::text(&body.domainname),
        labels: body.labels.clone(),
        annotations: host.annotations.clone(),
        tty: body.tty,
        open_stdin: body.open_stdin,
        stdin_once: body.stdin_once,
        stop_signal: resources::text(&body.stop_signal),
        stop_timeout: body.stop_timeout.as_ref().map(stop_timeout).transpose()?,
        healthcheck: body
            .healthcheck
            .as_ref()
            .map(health::check_from_wire)
            .transpose()?,
        exposed_ports: exposed_ports(body)?,
        anonymous_volumes: body
            .volumes
            .0
            .iter()
            .map(|(path, _)| path.clone())
            .collect(),
        ports: port::bindings_from_wire(&host.port_bindings)?,
        publish_all: host.publish_all_ports,
        network_mode,
        networks,
        dns: host.dns.clone(),
        dns_search: host.dns_search.clone(),
        dns_options: host.dns_options.clone(),
        extra_hosts: host
            .extra_hosts
            .iter()
            .map(|line| extra_host(line))
            .collect::<Result<_>>()?,
        restart: restart_from_wire(&host.restart_policy)?,
        auto_remove: host.auto_remove,
        privileged: host.privileged,
        read_only: host.readonly_rootfs,
        init: host.init.unwrap_or(false),
        cap_add: host.cap_add.clone(),
        cap_drop: host.cap_drop.clone(),
        resources: resources::from_wire(host)?,
        ulimits: host.ulimits.iter().map(ulimit_from_wire).collect(),
        sysctls: host.sysctls.clone(),
        devices: host.devices.iter().map(device_from_wire).collect(),
        device_rules: host.device_cgroup_rules.clone(),
        api_socket: host.orc_api_socket,
        restart_pace: host.orc_restart_pace,
        shm_bytes: resources::unsigned("ShmSize", host.shm_size)?,
        ipc: namespace::from_wire("IpcMode", &host.ipc_mode)?,
        pid: namespace::from_wire("PidMode", &host.pid_mode)?,
        uts: namespace::from_wire("UTSMode", &host.uts_mode)?,
        cgroup: namespace::from_wire("CgroupnsMode", &host.cgroupns_mode)?,
        oom_score_adj: (host.oom_score_adj != 0).then_some(host.oom_score_adj),
        cgroup_parent: resources::text(&host.cgroup_parent),
        log: LogConfig {
            driver: host.log_config.r#type.clone(),
            options: host.log_config.config.clone(),
        },
        ..ContainerSpec::default()
    };
    security_from_wire(&host.security_opt, &mut spec)?;
    mounts(host, &mut spec, &mut warnings)?;
    spec.files = body
        .orc_files
        .iter()
        .map(given_file::from_wire)
        .collect::<Result<_>>()?;
    Ok((spec, warnings))
}

fn check_members(body: &Config, host: &HostConfig, warnings: &mut Vec<String>) -> Result<()> {
    unsupported::check(Place::Config, &body.other, warnings)?;
    unsupported::check(Place::HostConfig, &host.other, warnings)?;
    if let Some(networking) = &body.networking_config {
        unsupported::check(
            Place::Other("NetworkingConfig"),
            &networking.other,
            warnings,
        )?;
    }
    if !body.on_build.is_empty() {
        warnings.push("`OnBuild` means nothing for a container and was ignored".into());
    }
    Ok(())
}

/// `[""]` is how Docker's command line clears the image's.
fn entrypoint(words: Vec<String>) -> Vec<String> {
    match &words[..] {
        [word] if word.is_empty() => Vec::new(),
        _ => words,
    }
}

fn stop_timeout(value: &Value) -> Result<Duration> {
    let seconds = value.as_f64().ok_or_else(|| {
        Error::invalid(format!("`StopTimeout`: {value} is not a number of seconds"))
    })?;
    time::from_seconds("StopTimeout", seconds)
}

fn exposed_ports(body: &Config) -> Result<BTreeSet<orc_host::network::Port>> {
    body.exposed_ports
        .0
        .iter()
        .map(|(port, _)| port.parse().context(|| "`ExposedPorts`"))
        .collect()
}

/// `name:address`; addresses may have colons, names have none.
pub(crate) fn extra_host(line: &str) -> Result<(String, String)> {
    match line.split_once([':', '=']) {
        Some((name, address)) if !name.is_empty() && !address.is_empty() => {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            Ok((name.into(), address.into()))
        }
        _ => Err(Error::invalid(format!(
            "`HostConfig.ExtraHosts`: `{line}` is not NAME:ADDRESS"
        ))),
    }
}

fn networks(
    body: &Config,
    host: &HostConfig,
    warnings: &mut Vec<String>,
) -> Result<(NetworkMode, Vec<EndpointSpec>)> {
    let none = NetworkingConfig::default();
    let wishes = &body
        .networking_config
        .as_ref()
        .unwrap_or(&none)
        .endpoints_config
        .0;
    let mode = match namespace::network_from_wire(&host.network_mode)? {
        _ if body.network_disabled => Network::Mode(NetworkMode::None),
        mode => mode,
    };
    if let Network::Mode(mode) = mode {
        // Docker's clients name the pseudo network here as well.
        let shown = host.network_mode.as_str();
        if let Some((other, _)) = wishes.iter().find(|(name, _)| name != shown) {
            return Err(Error::invalid(format!(
                "`HostConfig.NetworkMode`: a container with network mode {shown} cannot join network {other}"
            )));
        }
        if !host.links.is_empty() {
            return Err(Error::invalid(format!(
                "`HostConfig.Links`: a container with network mode {shown} has no network to be linked on"
            )));
        }
        return Ok((mode, Vec::new()));
    }
    let mut specs = endpoint::specs_from_wire(wishes, warnings)?;
    if let Network::Named(name) = mode
        && !specs.iter().any(|spec| spec.network == name)
    {
        let first = EndpointSpec {
            network: name,
            ..EndpointSpec::default()
        };
        specs.insert(0, first);
    }
    if !body.mac_address.is_empty() {
        let mac = &mut first(&mut specs).mac;
        mac.get_or_insert_with(|| body.mac_address.clone());
    }
    // Docker's command line says links here, and of a network of its own there as well.
    for link in host.links.iter().map(|text| endpoint::link(text)) {
        let links = &mut first(&mut specs).links;
        if !links.contains(&link) {
            links.push(link);
        }
    }
    Ok((NetworkMode::Networks, specs))
}

/// The network of what is said of the container, not of one of its networks: the first, or the one that
/// Docker joins when none is named.
fn first(specs: &mut Vec<EndpointSpec>) -> &mut EndpointSpec {
    if specs.is_empty() {
        specs.push(EndpointSpec {
            network: namespace::DEFAULT_NETWORK.into(),
            ..EndpointSpec::default()
        });
    }
    &mut specs[0]
}

fn mounts(host: &HostConfig, spec: &mut ContainerSpec, warnings: &mut Vec<String>) -> Result<()> {
    for text in &host.binds {
        match mount::bind_from_text(text, warnings)? {
            Bind::Mount(mount) => spec.mounts.push(mount),
            Bind::Anonymous(path) => {
                spec.anonymous_volumes.insert(path);
            }
        }
    }
    for mount in &host.mounts {
        spec.mounts.push(mount::from_wire(mount, warnings)?);
    }
    spec.volumes_from = host
        .volumes_from
        .iter()
        .map(|text| mount::from_from_wire(text))
        .collect::<Result<_>>()?;
    spec.mounts.extend(mount::tmpfs_from_wire_map(&host.tmpfs)?);
    // `docker run -v data:/data` names the target in `Volumes`, too, in some clients.
    for mount in &spec.mounts {
        spec.anonymous_volumes.remove(mount.target());
    }
    Ok(())
}

fn security_to_wire(spec: &ContainerSpec) -> Vec<String> {
    let mut options = Vec::new();
    if spec.no_new_privileges {
        options.push("no-new-privileges:true".into());
    }
    if spec.seccomp_unconfined {
        options.push("seccomp=unconfined".into());
    }
    if let Some(profile) = &spec.seccomp_profile {
        options.push(format!("seccomp={profile}"));
    }
    options
}

fn security_from_wire(options: &[String], spec: &mut ContainerSpec) -> Result<()> {
    for option in options {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, "true"));
        match (name, value) {
            ("no-new-privileges", "true") => spec.no_new_privileges = true,
            ("no-new-privileges", "false") => spec.no_new_privileges = false,
            ("seccomp", "unconfined") => spec.seccomp_unconfined = true,
            ("seccomp", "builtin") => spec.seccomp_unconfined = false,
            // Docker's command line sends what is in the file.
            ("seccomp", profile) if profile.trim_start().starts_with('{') => {
                spec.seccomp_profile = Some(profile.into());
            }
            // No such profile is ever loaded, so this asks for what is.
            ("apparmor", "unconfined") | ("label", "disable") => {}
            _ => {
                let shown: String = option.chars().take(80).collect();
                return Err(Error::unsupported(format!(
                    "`HostConfig.SecurityOpt`: `{shown}` is not supported: use no-new-privileges or seccomp=unconfined"
                )));
            }
        }
    }
    Ok(())
}

/// A restart policy in Docker's words.
pub(crate) fn restart_to_wire(policy: RestartPolicy) -> wire::RestartPolicy {
    let (name, retries) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max_retries } => ("on-failure", max_retries.unwrap_or(0)),
    };
    wire::RestartPolicy {
        name: name.into(),
        maximum_retry_count: retries.into(),
    }
}

/// The inverse of [`restart_to_wire`]; no name is `no`.
pub(crate) fn restart_from_wire(policy: &wire::RestartPolicy) -> Result<RestartPolicy> {
    let retries = u32::try_from(policy.maximum_retry_count).map_err(|_| {
        Error::invalid("`HostConfig.RestartPolicy.MaximumRetryCount` is not a count")
    })?;
    let only_on_failure = |policy| match retries {
        0 => Ok(policy),
        _ => Err(Error::invalid(
            "`HostConfig.RestartPolicy.MaximumRetryCount` goes with on-failure only",
        )),
    };
    match policy.name.as_str() {
        "" | "no" => only_on_failure(RestartPolicy::No),
        "always" => only_on_failure(RestartPolicy::Always),
        "unless-stopped" => only_on_failure(RestartPolicy::UnlessStopped),
        "on-failure" => Ok(RestartPolicy::OnFailure {
            max_retries: (retries > 0).then_some(retries),
        }),
        other => Err(Error::invalid(format!(
            "`HostConfig.RestartPolicy.Name`: `{other}` is not a policy: use no, always, unless-stopped or on-failure"
        ))),
    }
}

fn device_to_wire(device: &Device) -> wire::Device {
    wire::Device {
        path_on_host: device.source.clone(),
        path_in_container: device.target.clone(),
        cgroup_permissions: device.permissions.clone(),
    }
}

fn device_from_wire(device: &wire::Device) -> Device {
    Device {
        source: device.path_on_host.clone(),
        target: match device.path_in_container.as_str() {
            "" => device.path_on_host.clone(),
            target => target.into(),
        },
        permissions: match device.cgroup_permissions.as_str() {
            "" => "rwm".into(),
            permissions => permissions.into(),
        },
    }
}

fn ulimit_to_wire(limit: &Ulimit) -> wire::Ulimit {
    wire::Ulimit {
        name: limit.name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    }
}

/// A limit of setrlimit(2).
pub(crate) fn ulimit_from_wire(limit: &wire::Ulimit) -> Ulimit {
    Ulimit {
        name: limit.name.clone(),
        soft: limit.soft,
        hard: limit.hard,
    }
}

#[cfg(test)]
mod tests;
