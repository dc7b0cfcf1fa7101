//! What is refused, and what is warned about, before a container is made.
//!
//! Pure. Whatever can be known to fail from the spec alone fails here, so that a container that was
//! made can be started. What is harmless and not done is a warning that names the field; nothing is
//! ignored in silence.

use std::collections::BTreeSet;
use std::path::Path;

use orc_base::{Error, Result};
use orc_host::container::{
    ContainerSpec, Mount, NamespaceMode, NetworkMode, Resources, RestartPolicy,
};
use orc_runtime::capability::Set;

use crate::devices;
use crate::effective::mount_target;
use crate::words::{log_size, propagation_of, tmpfs_options};

/// The least memory that a container can be limited to, as Docker's.
const MIN_MEMORY: u64 = 6 << 20;

/// Checks a spec; the answer is what is not done, one sentence each.
pub(crate) fn validate(spec: &ContainerSpec) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    lifetime(spec)?;
    network(spec, &mut warnings)?;
    confinement(spec, &mut warnings)?;
    resources(spec)?;
    if spec.resources.oom_kill_disable == Some(true) && spec.resources.memory_bytes.is_none() {
        warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".into());
    }
    log(spec)?;
    let mut targets = BTreeSet::new();
    for mount in &spec.mounts {
        check_mount(mount)?;
        let target = mount_target(mount.target())?;
        if !targets.insert(target.clone()) {
            return Err(Error::invalid(format!("Duplicate mount point: {target}")));
        }
    }
    for (what, values) in [
        ("dns server", &spec.dns),
        ("dns search domain", &spec.dns_search),
        ("dns option", &spec.dns_options),
    ] {
        for value in values {
            one_word(what, value)?;
        }
    }
    for server in &spec.dns {
        server.parse::<std::net::IpAddr>().map_err(|_| {
            Error::invalid(format!(
                "dns server `{}` is not an address",
                server.escape_default()
            ))
        })?;
    }
    for (name, address) in &spec.extra_hosts {
        one_word("extra host", name)?;
        if address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err() {
            return Err(Error::invalid(format!(
                "extra host {name}: `{}` is neither an address nor host-gateway",
                address.escape_default()
            )));
        }
    }
    if let Some(domain) = &spec.domainname {
        one_word("domain name", domain)?;
    }
    Ok(warnings)
}

fn lifetime(spec: &ContainerSpec) -> Result<()> {
    if spec.auto_remove && spec.restart != RestartPolicy::No {
        return Err(Error::invalid(
            "can't create a container that is removed when it ends and has a restart policy: choose one",
        ));
    }
    Ok(())
}

fn network(spec: &ContainerSpec, warnings: &mut Vec<String>) -> Result<()> {
    let own = matches!(spec.network_mode, NetworkMode::Networks);
    if !own && !spec.networks.is_empty() {
        return Err(Error::invalid(
            "networks cannot be joined in network mode none, host or container",
        ));
    }
    if matches!(spec.network_mode, NetworkMode::Container(_)) {
        for (what, given) in [
            ("hostname", spec.hostname.is_some()),
            (
                "published ports",
                !spec.ports.is_empty() || spec.publish_all,
            ),
            ("dns servers", !spec.dns.is_empty()),
            ("extra hosts", !spec.extra_hosts.is_empty()),
        ] {
            if given {
                return Err(Error::invalid(format!(
                    "conflicting options: {what} and the network of another container"
                )));
            }
        }
    }
    if !own && (!spec.ports.is_empty() || spec.publish_all) {
        warnings.push("Published ports are discarded in network mode host and none".into());
    }
    let mut joined = BTreeSet::new();
    for endpoint in &spec.networks {
        if !joined.insert(&endpoint.network) {
            return Err(Error::invalid(format!(
                "network {} is joined twice",
                endpoint.network
            )));
        }
        if matches!(endpoint.network.as_str(), "host" | "none") {
            return Err(Error::invalid(format!(
                "network {} cannot be joined beside others: use network mode {0}",
                endpoint.network
            )));
        }
        for alias in &endpoint.aliases {
            one_word("network alias", alias)?;
        }
        if let Some(mac) = &endpoint.mac {
            mac.parse::<orc_net::address::Mac>()?;
        }
    }
    for binding in &spec.ports {
        if let Some((first, last)) = binding.host_ports
            && (first > last || (first == 0 && last != 0))
        {
            return Err(Error::invalid(format!(
                "invalid range of host ports {first}-{last} for {}",
                binding.port
            )));
        }
    }
    let shared_host_net = matches!(spec.network_mode, NetworkMode::Host);
    for key in spec.sysctls.keys() {
        if key.starts_with("net.") && shared_host_net {
            return Err(Error::invalid(format!(
                "sysctl {key} is not allowed in network mode host"
            )));
        }
    }
    Ok(())
}

fn confinement(spec: &ContainerSpec, warnings: &mut Vec<String>) -> Result<()> {
    capabilities(spec)?;
    for limit in &spec.ulimits {
        let known = ULIMITS.contains(&limit.name.as_str());
        if !known || limit.soft < -1 || limit.hard < -1 {
            return Err(Error::invalid(format!(
                "invalid ulimit {}={}:{}: use one of {}, and numbers or -1",
                limit.name.escape_default(),
                limit.soft,
                limit.hard,
                ULIMITS.join(", ")
            )));
        }
        if limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard) {
            return Err(Error::invalid(format!(
                "ulimit {}: the soft limit {} is above the hard limit {}",
                limit.name, limit.soft, limit.hard
            )));
        }
    }
    if let NamespaceMode::Container(_) = spec.cgroup {
        return Err(Error::unsupported(
            "the cgroup namespace of another container cannot be joined",
        ));
    }
    if spec.uts != NamespaceMode::Private && (spec.hostname.is_some() || spec.domainname.is_some())
    {
        return Err(Error::invalid(
            "conflicting options: hostname and the UTS namespace of the machine or of another container",
        ));
    }
    for device in &spec.devices {
        let letters = device
            .permissions
            .bytes()
            .all(|byte| b"rwm".contains(&byte));
        if !letters || !device.source.starts_with('/') || !device.target.starts_with("/dev/") {
            return Err(Error::invalid(format!(
                "invalid device {}:{}:{}: use absolute paths, a target below /dev, and letters of rwm",
                device.source.escape_default(),
                device.target.escape_default(),
                device.permissions.escape_default()
            )));
        }
    }
    if spec
        .oom_score_adj
        .is_some_and(|adj| !(-1000..=1000).contains(&adj))
    {
        return Err(Error::invalid(
            "oom_score_adj is out of range: use -1000 to 1000",
        ));
    }
    if let Some(profile) = &spec.seccomp_profile {
        orc_runtime::seccomp::check_profile(profile)?;
    }
    devices::rules(&spec.device_rules)?;
    if spec.api_socket {
        warnings.push(
            "The engine's socket is in the container: its programs can do everything on this machine"
                .into(),
        );
    }
    Ok(())
}

/// The names that setrlimit(2) knows.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The capabilities of a container's program.
pub(crate) fn capabilities(spec: &ContainerSpec) -> Result<Set> {
    let base = match spec.privileged {
        true => Set::ALL,
        false => Set::DEFAULT,
    };
    base.apply(&spec.cap_add, &spec.cap_drop)
}

fn resources(spec: &ContainerSpec) -> Result<()> {
    let given = &spec.resources;
    if let Some(memory) = given.memory_bytes.filter(|memory| *memory > 0) {
        if memory < MIN_MEMORY {
            return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
        }
        let swap = given.memory_swap_bytes.unwrap_or(-1);
        if swap > 0 && swap.unsigned_abs() < memory {
            return Err(Error::invalid(
                "Minimum memoryswap limit should be larger than memory limit: it counts both together",
            ));
        }
        if given
            .memory_reservation_bytes
            .is_some_and(|kept| kept > memory)
        {
            return Err(Error::invalid(
                "Minimum memory limit can not be less than memory reservation limit",
            ));
        }
    } else if given.memory_swap_bytes.is_some_and(|swap| swap > 0) {
        return Err(Error::invalid(
            "You should always set the Memory limit when using Memoryswap limit",
        ));
    }
    if given.nano_cpus.is_some_and(|cpus| cpus > 0)
        && (given.cpu_quota_us.is_some_and(|quota| quota != 0)
            || given.cpu_period_us.is_some_and(|period| period != 0))
    {
        return Err(Error::invalid(
            "Conflicting options: Nano CPUs and CPU quota or period cannot both be set",
        ));
    }
    for (what, list) in [
        ("cpuset cpus", &given.cpuset_cpus),
        ("cpuset mems", &given.cpuset_mems),
    ] {
        let list = list.as_deref().unwrap_or_default();
        if !list
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'-'))
        {
            return Err(Error::invalid(format!(
                "{what} `{}` is not a list such as 0-2,4",
                list.escape_default()
            )));
        }
    }
    shares(given)?;
    cgroup_parent(spec.cgroup_parent.as_deref().unwrap_or_default())
}

/// What is about block devices, swapping and real time.
fn shares(given: &Resources) -> Result<()> {
    if given
        .memory_swappiness
        .is_some_and(|swappiness| swappiness > 100)
    {
        return Err(Error::invalid(
            "invalid memory swappiness: use 0 to 100, or leave it out for the machine's own",
        ));
    }
    let weights = given.block_io.device_weights.iter().map(|one| one.weight);
    for weight in weights.chain(given.block_io.weight) {
        if weight != 0 && !(10..=1000).contains(&weight) {
            return Err(Error::invalid(format!(
                "invalid block device weight {weight}: use 10 to 1000"
            )));
        }
    }
    let (runtime, period) = (
        given.cpu_realtime_runtime_us.unwrap_or(0),
        given.cpu_realtime_period_us.unwrap_or(0),
    );
    if runtime > 0 && period > 0 && runtime.unsigned_abs() > period {
        return Err(Error::invalid(
            "CPU real-time runtime cannot be higher than CPU real-time period",
        ));
    }
    Ok(())
}

fn cgroup_parent(path: &str) -> Result<()> {
    let plain = path.trim_matches('/').split('/').all(|part| {
        !matches!(part, "." | "..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-:@".contains(&byte))
    });
    match plain && path.len() <= 1024 && path.split('/').count() <= 8 {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "invalid cgroup parent `{}`: use a path of plain names such as jobs/night",
            path.escape_default()
        ))),
    }
}

fn log(spec: &ContainerSpec) -> Result<()> {
    if !matches!(
        spec.log.driver.as_str(),
        "" | "local" | "json-file" | "none"
    ) {
        return Err(Error::unsupported(format!(
            "log driver `{}` is not supported: use local, json-file or none",
            spec.log.driver.escape_default()
        )));
    }
    log_size(spec).map(drop)
}

fn check_mount(mount: &Mount) -> Result<()> {
    match mount {
        Mount::Bind {
            source,
            propagation,
            ..
        } => {
            propagation_of(propagation.as_deref())?;
            absolute(source)
        }
        Mount::Volume { name, subpath, .. } => {
            if !name.is_empty() {
                name.parse::<orc_base::Name>()?;
            }
            match subpath {
                Some(path) if path.starts_with('/') || path.contains('\0') => {
                    Err(Error::invalid(format!(
                        "volume subpath `{}` must be relative",
                        path.escape_default()
                    )))
                }
                _ => Ok(()),
            }
        }
        Mount::Image { image, subpath, .. } => match subpath {
            _ if image.is_empty() => Err(Error::invalid("a mount of an image must name one")),
            Some(path) if path.starts_with('/') || path.contains('\0') => Err(Error::invalid(
                format!("image subpath `{}` must be relative", path.escape_default()),
            )),
            _ => Ok(()),
        },
        Mount::Tmpfs { options, .. } => tmpfs_options(options).map(drop),
    }
}

fn absolute(source: &Path) -> Result<()> {
    match source.is_absolute() {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "invalid mount source `{}`: it must be an absolute path",
            source.display()
        ))),
    }
}

/// Checks a word that is written into a generated file: no blanks, no line ends, no control bytes.
fn one_word(what: &str, value: &str) -> Result<()> {
    let plain = !value.is_empty()
        && value.len() <= 255
        && !value.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
    match plain {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "invalid {what} `{}`: use one word",
            value.escape_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use orc_base::Kind;
    use orc_host::container::{Device, LogConfig, Submounts, Ulimit};
    use orc_host::network::EndpointSpec;

    use super::*;

    /// The kind of the refusal and its text.
    fn refused(change: impl FnOnce(&mut ContainerSpec)) -> (Kind, String) {
        let mut spec = ContainerSpec::default();
        change(&mut spec);
        let error = validate(&spec).unwrap_err();
        (error.kind(), error.to_string())
    }

    fn tmpfs(target: &str) -> Mount {
        Mount::Tmpfs {
            target: target.into(),
            size_bytes: None,
            mode: None,
            options: Vec::new(),
        }
    }

    #[test]
    fn nothing_asked_is_fine() {
        assert!(validate(&ContainerSpec::default()).unwrap().is_empty());
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        let on = |network: &str| EndpointSpec {
            network: network.into(),
            ..EndpointSpec::default()
        };
        for (kind, word, (found, text)) in [
            (
                Kind::Invalid,
                "restart policy",
                refused(|spec| {
                    spec.auto_remove = true;
                    spec.restart = RestartPolicy::Always;
                }),
            ),
            (
                Kind::Invalid,
                "joined twice",
                refused(|spec| spec.networks = vec![on("a"), on("a")]),
            ),
            (
                Kind::Invalid,
                "network mode host",
                refused(|spec| spec.networks = vec![on("host")]),
            ),
            (
                Kind::Invalid,
                "hostname",
                refused(|spec| {
                    spec.network_mode = NetworkMode::Container("x".into());
                    spec.hostname = Some("h".into());
                }),
            ),
            (
                Kind::Invalid,
                "net.ipv4.ip_forward",
                refused(|spec| {
                    spec.network_mode = NetworkMode::Host;
                    spec.sysctls = BTreeMap::from([("net.ipv4.ip_forward".into(), "1".into())]);
                }),
            ),
            (
                Kind::Invalid,
                "6MB",
                refused(|spec| {
                    spec.resources = Resources {
                        memory_bytes: Some(1024),
                        ..Resources::default()
                    };
                }),
            ),
            (
                Kind::Invalid,
                "Duplicate mount point: /a",
                refused(|spec| spec.mounts = vec![tmpfs("/a"), tmpfs("/a/")]),
            ),
            (
                Kind::Invalid,
                "absolute path",
                refused(|spec| {
                    spec.mounts = vec![Mount::Bind {
                        source: PathBuf::from("x"),
                        target: "/x".into(),
                        read_only: false,
                        propagation: None,
                        create_source: false,
                        submounts: Submounts::Follow,
                    }];
                }),
            ),
            (
                Kind::Invalid,
                "one word",
                refused(|spec| spec.extra_hosts = vec![("a\n1.2.3.4 b".into(), "1.2.3.4".into())]),
            ),
            (
                Kind::Invalid,
                "host-gateway",
                refused(|spec| spec.extra_hosts = vec![("a".into(), "nope".into())]),
            ),
            (
                Kind::Invalid,
                "not an address",
                refused(|spec| spec.dns = vec!["dns.example".into()]),
            ),
            (
                Kind::Unsupported,
                "log driver `syslog`",
                refused(|spec| {
                    spec.log = LogConfig {
                        driver: "syslog".into(),
                        ..LogConfig::default()
                    };
                }),
            ),
            (
                Kind::Invalid,
                "cgroup parent",
                refused(|spec| spec.cgroup_parent = Some("/a/../../b".into())),
            ),
            (
                Kind::Invalid,
                "seccomp profile",
                refused(|spec| spec.seccomp_profile = Some("{}".into())),
            ),
            (
                Kind::Invalid,
                "device cgroup rule",
                refused(|spec| spec.device_rules = vec!["c 1:3 x".into()]),
            ),
            (
                Kind::Invalid,
                "swappiness",
                refused(|spec| spec.resources.memory_swappiness = Some(101)),
            ),
            (
                Kind::Invalid,
                "weight 5",
                refused(|spec| spec.resources.block_io.weight = Some(5)),
            ),
            (
                Kind::Invalid,
                "real-time",
                refused(|spec| {
                    spec.resources.cpu_realtime_runtime_us = Some(2);
                    spec.resources.cpu_realtime_period_us = Some(1);
                }),
            ),
            (
                Kind::Invalid,
                "hostname and the UTS",
                refused(|spec| {
                    spec.uts = NamespaceMode::Host;
                    spec.hostname = Some("h".into());
                }),
            ),
            (
                Kind::Invalid,
                "invalid device",
                refused(|spec| {
                    spec.devices = vec![Device {
                        source: "/dev/null".into(),
                        target: "/etc/passwd".into(),
                        permissions: "rwm".into(),
                    }];
                }),
            ),
            (
                Kind::Invalid,
                "soft limit 5",
                refused(|spec| {
                    spec.ulimits = vec![Ulimit {
                        name: "nofile".into(),
                        soft: 5,
                        hard: 4,
                    }];
                }),
            ),
            (
                Kind::Unsupported,
                "tmpfs option `suid`",
                refused(|spec| {
                    spec.mounts = vec![Mount::Tmpfs {
                        target: "/t".into(),
                        size_bytes: None,
                        mode: None,
                        options: vec!["rw,suid".into()],
                    }];
                }),
            ),
        ] {
            assert_eq!(found, kind, "{text}");
            assert!(text.contains(word), "{text}");
        }
        assert!(
            validate(&ContainerSpec {
                cap_add: vec!["FLY".into()],
                ..ContainerSpec::default()
            })
            .is_err()
        );
    }

    #[test]
    fn harmless_things_are_warnings() {
        let mut spec = ContainerSpec {
            network_mode: NetworkMode::Host,
            publish_all: true,
            ..ContainerSpec::default()
        };
        spec.resources.oom_kill_disable = Some(true);
        let warnings = validate(&spec).unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
    }
}
