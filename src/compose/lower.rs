//! From a service to what a machine is asked for: `ContainerSpec`, `NetworkSpec`, `VolumeSpec`.
//!
//! Pure, and the only place that does it: `up`, `run` and, later, the cluster lower alike.

pub(crate) mod builds;
pub(crate) mod endpoints;
pub(crate) mod grants;
pub(crate) mod hooks;
mod mounts;
mod ports;
mod resources;

use std::collections::BTreeMap;

use orc_base::{Error, Result};
use orc_host::container::{
    ContainerSpec, Device, LogConfig, NamespaceMode, NetworkMode, RestartPace, RestartPolicy,
    Ulimit,
};
use orc_host::image::Healthcheck;
use orc_host::network::{AddressPool, NetworkSpec};
use orc_host::volume::VolumeSpec;

use crate::digest;
use crate::labels;
use crate::model::Project;
use crate::model::resources::{Network, Volume};
use crate::model::service::{DeployRestart, Service, Ulimit as Limit};
use crate::notation;
use crate::provider::given;

/// What a container depends on beside its service.
pub(crate) struct Circumstances<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Which replica it is.
    pub(crate) number: u64,
    /// The id of the image, when it is there.
    pub(crate) image_id: Option<&'a str>,
    /// The first container of each service, for sharing namespaces.
    pub(crate) first_container: &'a BTreeMap<String, String>,
}

/// One replica of a service.
pub(crate) fn container(
    project: &Project,
    service: &Service,
    at: &Circumstances<'_>,
) -> Result<ContainerSpec> {
    lower(project, service, at).map_err(|error| error.within(format!("service {}", service.name)))
}

fn lower(project: &Project, service: &Service, at: &Circumstances<'_>) -> Result<ContainerSpec> {
    let mut mounts = mounts::mounts(project, service)?;
    mounts.extend(grants::binds(project, service)?);
    let network_mode = network_mode(service, at)?;
    let publishes = matches!(network_mode, NetworkMode::Networks);
    let (ports, exposed_ports) = match publishes {
        true => (ports::bindings(service)?, ports::exposed(service)?),
        false => Default::default(),
    };
    let spec = ContainerSpec {
        image: service.image_name(&project.name),
        platform: service.platform.clone(),
        entrypoint: service.entrypoint.clone(),
        command: service.command.clone(),
        env: environment(project, service),
        working_dir: service.working_dir.clone(),
        user: service.user.clone(),
        groups: service.group_add.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        labels: container_labels(project, service, at),
        annotations: service.annotations.clone(),
        tty: service.tty,
        open_stdin: service.stdin_open,
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service.stop_grace_period,
        healthcheck: healthcheck(service),
        exposed_ports,
        mounts,
        volumes_from: mounts::volumes_from(service, at.first_container)?,
        files: grants::given(project, service)?,
        ports,
        networks: match publishes {
            true => endpoints::endpoints(project, service, at.name)?,
            false => Vec::new(),
        },
        network_mode,
        dns: service.dns.clone(),
        dns_search: service.dns_search.clone(),
        dns_options: service.dns_opt.clone(),
        extra_hosts: extra_hosts(service),
        restart: restart(service)?,
        restart_pace: restart_pace(service),
        privileged: service.privileged,
        read_only: service.read_only,
        init: service.init.unwrap_or(false),
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        no_new_privileges: has_option(service, &["no-new-privileges", "no-new-privileges=true"]),
        seccomp_unconfined: has_option(service, &["seccomp=unconfined"]),
        seccomp_profile: service.seccomp_profile.clone(),
        resources: resources::resources(service),
        ulimits: ulimits(service),
        sysctls: service.sysctls.clone(),
        devices: devices(service),
        device_rules: service.device_cgroup_rules.clone(),
        api_socket: service.use_api_socket,
        shm_bytes: service.shm_size.and_then(resources::positive),
        ipc: namespace(service.ipc.as_deref(), at)?,
        pid: namespace(service.pid.as_deref(), at)?,
        uts: namespace(service.uts.as_deref(), at)?,
        cgroup: namespace(service.cgroup.as_deref(), at)?,
        oom_score_adj: service.oom_score_adj,
        cgroup_parent: service.cgroup_parent.clone(),
        log: log(service),
        ..ContainerSpec::default()
    };
    Ok(spec)
}

/// `<project>-<service>-<number>`, or the fixed name.
pub(crate) fn container_name(project: &Project, service: &Service, number: u64) -> String {
    match &service.container_name {
        Some(fixed) => fixed.clone(),
        None => {
            let between = service.separator();
            format!("{}{between}{}{between}{number}", project.name, service.name)
        }
    }
}

/// A network of the project, by its key in the file.
pub(crate) fn network(project: &Project, key: &str, network: &Network) -> Result<NetworkSpec> {
    let mut labels = network.labels.clone();
    labels.extend(owner_labels(project, labels::NETWORK, key, &network.hash));
    let pools = network.ipam.iter().flat_map(|ipam| &ipam.config);
    let ipam = pools
        .map(|pool| {
            let address = |text: &String| -> Result<_> {
                text.parse()
                    .map_err(|_| Error::invalid(format!("`{text}` is not an address")))
            };
            Ok(AddressPool {
                subnet: pool.subnet.clone(),
                ip_range: pool.ip_range.clone(),
                gateway: pool.gateway.as_ref().map(address).transpose()?,
                reserved: pool
                    .aux_addresses
                    .iter()
                    .map(|(name, text)| Ok((name.clone(), address(text)?)))
                    .collect::<Result<_>>()?,
            })
        })
        .collect::<Result<_>>()
        .map_err(|error: Error| error.within(format!("network {key}")))?;
    Ok(NetworkSpec {
        name: network.name.clone(),
        driver: match network.driver.as_deref() {
            Some("default") | None => String::new(),
            Some(driver) => driver.to_owned(),
        },
        options: network.driver_opts.clone(),
        labels,
        internal: network.internal,
        attachable: network.attachable,
        ipv6: network.enable_ipv6,
        ipam,
    })
}

/// A volume of the project, by its key in the file.
pub(crate) fn volume(project: &Project, key: &str, volume: &Volume) -> VolumeSpec {
    let mut labels = volume.labels.clone();
    labels.extend(owner_labels(project, labels::VOLUME, key, &volume.hash));
    VolumeSpec {
        name: volume.name.clone(),
        driver: match volume.driver.as_deref() {
            Some("default") | None => String::new(),
            Some(driver) => driver.to_owned(),
        },
        options: volume.driver_opts.clone(),
        labels,
    }
}

/// What `deploy.restart_policy` means on one machine, or the restart policy of the service without
/// one.
pub(crate) fn restart(service: &Service) -> Result<RestartPolicy> {
    let Some(policy) = deploy_restart(service) else {
        return notation::restart(service.restart.as_deref().unwrap_or("no"));
    };
    let max_retries = policy.max_attempts;
    Ok(match policy.condition.as_deref() {
        Some("none" | "no") => RestartPolicy::No,
        Some("unless-stopped") => RestartPolicy::UnlessStopped,
        Some("on-failure") => RestartPolicy::OnFailure { max_retries },
        // A job that has ended well has ended.
        _ if service.is_job() => RestartPolicy::OnFailure { max_retries },
        _ => RestartPolicy::Always,
    })
}

fn restart_pace(service: &Service) -> RestartPace {
    let Some(policy) = deploy_restart(service) else {
        return RestartPace::default();
    };
    RestartPace {
        delay: policy.delay,
        window: policy.window,
        max_attempts: policy.max_attempts,
    }
}

fn deploy_restart(service: &Service) -> Option<&DeployRestart> {
    service.deploy.as_ref()?.restart_policy.as_ref()
}

fn owner_labels(project: &Project, kind: &str, key: &str, hash: &str) -> [(String, String); 4] {
    [
        (labels::PROJECT.into(), project.name.clone()),
        (kind.into(), key.into()),
        (labels::CONFIG_HASH.into(), hash.into()),
        (labels::VERSION.into(), env!("CARGO_PKG_VERSION").into()),
    ]
}

fn container_labels(
    project: &Project,
    service: &Service,
    at: &Circumstances<'_>,
) -> BTreeMap<String, String> {
    let files: Vec<_> = project
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let depends_on: Vec<_> = service
        .depends_on
        .iter()
        .map(|(name, dependency)| {
            format!(
                "{name}:{}:{}",
                dependency.condition.as_str(),
                dependency.restart
            )
        })
        .collect();
    let mut all = service.labels.clone();
    all.extend([
        (labels::PROJECT.into(), project.name.clone()),
        (labels::SERVICE.into(), service.name.clone()),
        (labels::CONTAINER_NUMBER.into(), at.number.to_string()),
        (labels::ONE_OFF.into(), "False".into()),
        (labels::CONFIG_HASH.into(), service.hash.clone()),
        (
            labels::WORKING_DIR.into(),
            project.working_dir.display().to_string(),
        ),
        (labels::CONFIG_FILES.into(), files.join(",")),
        (labels::DEPENDS_ON.into(), depends_on.join(",")),
        (labels::VERSION.into(), env!("CARGO_PKG_VERSION").into()),
    ]);
    if let Some(id) = at.image_id {
        all.insert(labels::IMAGE.into(), id.into());
    }
    let inputs = match given::knows_all(project, service) {
        true => given::inputs(project, service),
        // It has to be replaced once they are known.
        false => UNKNOWN_INPUTS.into(),
    };
    if !inputs.is_empty() {
        all.insert(labels::INPUTS.into(), inputs);
    }
    all
}

/// Completes the digests of a project's services with what stands elsewhere: the files they are
/// given.
pub(crate) fn complete_digests(project: &mut Project) {
    let completed: Vec<(String, String)> = project
        .services
        .values()
        .chain(project.disabled.values())
        .filter_map(|service| {
            let contents = grants::digests(project, service);
            let profile = &service.seccomp_profile;
            let alone = contents.is_empty() && profile.is_none();
            let all = || match profile {
                Some(profile) => digest::of(&format!("{contents:?} {profile}")),
                None => digest::of(&format!("{contents:?}")),
            };
            (!alone).then(|| (service.name.clone(), all()))
        })
        .collect();
    for (name, inputs) in completed {
        let service = match project.services.contains_key(&name) {
            true => project.services.get_mut(&name),
            false => project.disabled.get_mut(&name),
        };
        if let Some(service) = service {
            service.inputs = inputs;
        }
    }
}

/// Instead of the digest of what a container was made from, when that was not known.
const UNKNOWN_INPUTS: &str = "unknown";

/// Where a service with `use_api_socket` finds the engine, when its file does not say otherwise.
const API_SOCKET: &str = "DOCKER_HOST=unix:///var/run/docker.sock";

/// The file's variables, and over them what providers and models give.
fn environment(project: &Project, service: &Service) -> Vec<String> {
    let given = given::given_to(project, service);
    let mut all: Vec<String> = service
        .environment
        .iter()
        .filter(|(name, _)| !given.contains_key(*name))
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        })
        .collect();
    all.extend(given.iter().map(|(name, value)| format!("{name}={value}")));
    if service.use_api_socket && !service.environment.contains_key("DOCKER_HOST") {
        all.push(API_SOCKET.into());
    }
    all
}

fn healthcheck(service: &Service) -> Option<Healthcheck> {
    let check = service.healthcheck.as_ref()?;
    let test = match check.disable {
        true => vec!["NONE".to_owned()],
        false => check.test.clone(),
    };
    Some(Healthcheck {
        test,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    })
}

fn network_mode(service: &Service, at: &Circumstances<'_>) -> Result<NetworkMode> {
    Ok(match service.network_mode.as_deref() {
        None | Some("bridge" | "") => NetworkMode::Networks,
        Some("none") => NetworkMode::None,
        Some("host") => NetworkMode::Host,
        Some(mode) => match shared(mode, at)? {
            Some(container) => NetworkMode::Container(container),
            None => return Err(Error::unsupported(format!("network_mode `{mode}`"))),
        },
    })
}

fn namespace(mode: Option<&str>, at: &Circumstances<'_>) -> Result<NamespaceMode> {
    Ok(match mode {
        None | Some("" | "private" | "shareable" | "none") => NamespaceMode::Private,
        Some("host") => NamespaceMode::Host,
        Some(mode) => match shared(mode, at)? {
            Some(container) => NamespaceMode::Container(container),
            None => return Err(Error::unsupported(format!("namespace `{mode}`"))),
        },
    })
}

/// The container that `service:x` and `container:x` mean.
fn shared(mode: &str, at: &Circumstances<'_>) -> Result<Option<String>> {
    if let Some(container) = mode.strip_prefix("container:") {
        return Ok(Some(container.to_owned()));
    }
    let Some(service) = mode.strip_prefix("service:") else {
        return Ok(None);
    };
    match at.first_container.get(service) {
        Some(container) => Ok(Some(container.clone())),
        None => Err(Error::not_found(format!(
            "service {service} has no container"
        ))),
    }
}

/// A network's name on the machine.
pub(crate) fn network_name(project: &Project, key: &str) -> String {
    match project.networks.get(key) {
        Some(network) => network.name.clone(),
        None => format!("{}_{key}", project.name),
    }
}

fn extra_hosts(service: &Service) -> Vec<(String, String)> {
    service
        .extra_hosts
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, address)| (name.to_owned(), address.to_owned()))
        .collect()
}

fn has_option(service: &Service, wanted: &[&str]) -> bool {
    service
        .security_opt
        .iter()
        .any(|option| wanted.contains(&option.replacen(':', "=", 1).as_str()))
}

fn ulimits(service: &Service) -> Vec<Ulimit> {
    ulimits_of(&service.ulimits)
}

fn ulimits_of(limits: &BTreeMap<String, Limit>) -> Vec<Ulimit> {
    limits
        .iter()
        .map(|(name, limit)| {
            let (soft, hard) = match *limit {
                Limit::Single(both) => (both, both),
                Limit::Pair { soft, hard } => (soft, hard),
            };
            Ulimit {
                name: name.clone(),
                soft,
                hard,
            }
        })
        .collect()
}

fn devices(service: &Service) -> Vec<Device> {
    service
        .devices
        .iter()
        .map(|device| Device {
            source: device.source.clone(),
            target: device
                .target
                .clone()
                .unwrap_or_else(|| device.source.clone()),
            permissions: device.permissions.clone().unwrap_or_else(|| "rwm".into()),
        })
        .collect()
}

/// Drivers and options that orc does not have are warned about (`support.rs`) and left out.
fn log(service: &Service) -> LogConfig {
    let Some(logging) = &service.logging else {
        return LogConfig::default();
    };
    let driver = logging.driver.as_deref().unwrap_or_default();
    if !LOG_DRIVERS.contains(&driver) {
        return LogConfig::default();
    }
    let mut options = logging.options.clone();
    options.retain(|key, _| !LOG_ATTRIBUTES.contains(&key.as_str()));
    LogConfig {
        driver: driver.into(),
        options,
    }
}

/// The drivers that orc's own log stands for.
pub(crate) const LOG_DRIVERS: [&str; 4] = ["", "json-file", "local", "none"];
/// Options that would say more about each line, and change no line.
pub(crate) const LOG_ATTRIBUTES: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];
/// Options of a log that are done.
pub(crate) const LOG_OPTIONS: [&str; 5] = [
    "compress",
    "max-buffer-size",
    "max-file",
    "max-size",
    "mode",
];
