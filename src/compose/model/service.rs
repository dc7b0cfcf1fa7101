//! A service and its parts. Names of keys are the specification's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::model::develop::Develop;
use crate::model::provider::{ModelUse, Provider};
use crate::model::read::{bytes, duration};
use crate::model::update::UpdateConfig;

/// One service. Names of keys are the specification's.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Its key in the file.
    #[serde(skip)]
    pub name: String,
    /// Digest of what the file says about its containers: docker compose's.
    #[serde(skip)]
    pub hash: String,
    /// Digest of what else its containers are made from: files they are given. Empty when there is
    /// nothing of the kind.
    #[serde(skip)]
    pub inputs: String,
    /// Names that are made for it have `_` between their parts, as docker-compose 1 made them.
    #[serde(skip)]
    pub old_names: bool,
    /// The image; absent when it has to be built.
    pub image: Option<String>,
    /// How the image is built.
    pub build: Option<Build>,
    /// `always`, `never`, `missing`, `build`, `daily`, `weekly`, `every_12h`, `refresh`
    pub pull_policy: Option<String>,
    /// After which age `pull_policy: refresh` asks again.
    pub pull_refresh_after: Option<String>,
    /// `linux/amd64`.
    pub platform: Option<String>,
    /// `None`: the image's; empty: none.
    pub command: Option<Vec<String>>,
    /// `None`: the image's; empty: none.
    pub entrypoint: Option<Vec<String>>,
    /// `env_file` and `environment` put together; `None` removes the image's.
    pub environment: BTreeMap<String, Option<String>>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// Who runs it.
    pub user: Option<String>,
    /// Further groups.
    pub group_add: Vec<String>,
    /// Its host name.
    pub hostname: Option<String>,
    /// Its NIS domain name.
    pub domainname: Option<String>,
    /// A fixed name, which forbids more than one replica.
    pub container_name: Option<String>,
    /// `label_file` and `labels` put together.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// A terminal.
    pub tty: bool,
    /// Standard input stays open.
    pub stdin_open: bool,
    /// A first process that reaps.
    pub init: Option<bool>,
    /// What asks it to end.
    pub stop_signal: Option<String>,
    /// How long it may take to.
    #[serde(deserialize_with = "duration")]
    pub stop_grace_period: Option<Duration>,
    /// How to see whether it works.
    pub healthcheck: Option<Healthcheck>,
    /// `no`, `always`, `on-failure[:n]`, `unless-stopped`.
    pub restart: Option<String>,
    /// When it is on; always when empty.
    pub profiles: Vec<String>,
    /// Services it needs, by name.
    pub depends_on: BTreeMap<String, Dependency>,
    /// How many replicas, unless `deploy.replicas` says.
    pub scale: Option<u64>,
    /// What a cluster or one machine should know about its replicas.
    pub deploy: Option<Deploy>,
    /// What is done while somebody works on it.
    pub develop: Option<Develop>,
    /// What is reachable from outside.
    pub ports: Vec<Port>,
    /// Ports it is known to listen on, `80`, `80-82/tcp`.
    pub expose: Vec<String>,
    /// What is mounted.
    pub volumes: Vec<ServiceVolume>,
    /// `service[:ro]` and `container:name[:ro]`, whose volumes and binds it mounts too.
    pub volumes_from: Vec<String>,
    /// Memory mounts, `/run:size=1m`.
    pub tmpfs: Vec<String>,
    /// The networks it joins, by their key in the file.
    pub networks: BTreeMap<String, Option<ServiceNetwork>>,
    /// `none`, `host`, `bridge`, `service:x`, `container:x`.
    pub network_mode: Option<String>,
    /// `service[:alias]`.
    pub links: Vec<String>,
    /// `container[:alias]`.
    pub external_links: Vec<String>,
    /// `name=address`.
    pub extra_hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Domains tried for short names.
    pub dns_search: Vec<String>,
    /// Options of resolv.conf(5).
    pub dns_opt: Vec<String>,
    /// A fixed hardware address.
    pub mac_address: Option<String>,
    /// Capabilities beyond the default set.
    pub cap_add: Vec<String>,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// `no-new-privileges`, `seccomp=unconfined`.
    pub security_opt: Vec<String>,
    /// What is in the file that `seccomp=…` names.
    #[serde(skip)]
    pub seccomp_profile: Option<String>,
    /// Everything allowed.
    pub privileged: bool,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// Bytes.
    #[serde(deserialize_with = "bytes")]
    pub mem_limit: Option<i64>,
    /// Bytes.
    #[serde(deserialize_with = "bytes")]
    pub mem_reservation: Option<i64>,
    /// Bytes of memory and swap; -1 is no limit.
    #[serde(deserialize_with = "bytes")]
    pub memswap_limit: Option<i64>,
    /// How willingly its memory is swapped out.
    pub mem_swappiness: Option<i64>,
    /// Its processes wait for memory instead of being killed.
    pub oom_kill_disable: Option<bool>,
    /// Bytes of `/dev/shm`.
    #[serde(deserialize_with = "bytes")]
    pub shm_size: Option<i64>,
    /// Processors.
    pub cpus: Option<f64>,
    /// Which ones.
    pub cpuset: Option<String>,
    /// Weight against others.
    pub cpu_shares: Option<i64>,
    /// Microseconds in a period.
    pub cpu_quota: Option<i64>,
    /// The period.
    pub cpu_period: Option<i64>,
    /// Microseconds of real time in a period.
    pub cpu_rt_runtime: Option<i64>,
    /// That period.
    pub cpu_rt_period: Option<i64>,
    /// How many processes.
    pub pids_limit: Option<i64>,
    /// Limits of setrlimit(2).
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Devices of the machine.
    pub devices: Vec<Device>,
    /// Device numbers it may use, `c 188:* rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// Its share of block devices.
    pub blkio_config: Option<BlockIo>,
    /// `host`, `service:x`, `container:x`, `shareable`, `private`.
    pub ipc: Option<String>,
    /// `host`, `service:x`, `container:x`.
    pub pid: Option<String>,
    /// `host`.
    pub uts: Option<String>,
    /// `host` or `private`.
    pub cgroup: Option<String>,
    /// Below which cgroup.
    pub cgroup_parent: Option<String>,
    /// proc(5).
    pub oom_score_adj: Option<i32>,
    /// Where its output goes.
    pub logging: Option<Logging>,
    /// Secrets it is given.
    pub secrets: Vec<Grant>,
    /// Configs it is given.
    pub configs: Vec<Grant>,
    /// Whether `up` shows its output.
    pub attach: Option<bool>,
    /// Containers that run to their end before it starts.
    pub pre_start: Vec<PreStart>,
    /// What runs in its containers after they have started.
    pub post_start: Vec<Hook>,
    /// What runs in its containers before they are stopped.
    pub pre_stop: Vec<Hook>,
    /// It may speak to the engine that runs it.
    pub use_api_socket: bool,
    /// A program stands for it; then it has no containers.
    pub provider: Option<Provider>,
    /// The models it is told about, by their key in the file.
    pub models: BTreeMap<String, Option<ModelUse>>,
}

impl Service {
    /// How many replicas the file asks for: `global` is one a machine, and what a program stands for has
    /// none.
    pub fn replicas(&self) -> u64 {
        let deploy = self.deploy.as_ref();
        if self.provider.is_some() {
            return 0;
        }
        if matches!(self.mode(), "global" | "global-job") {
            return 1;
        }
        deploy
            .and_then(|deploy| deploy.replicas)
            .or(self.scale)
            .unwrap_or(1)
    }

    /// `deploy.mode`.
    pub fn mode(&self) -> &str {
        let deploy = self.deploy.as_ref();
        let mode = deploy.and_then(|deploy| deploy.mode.as_deref());
        mode.unwrap_or("replicated")
    }

    /// Whether its containers are to end, and not to run again when they have ended well.
    pub fn is_job(&self) -> bool {
        self.mode().ends_with("-job")
    }

    /// What stands between the parts of names that are made for it.
    pub fn separator(&self) -> char {
        match self.old_names {
            true => '_',
            false => '-',
        }
    }

    /// The image to run: the named one, or the one a build would make.
    pub fn image_name(&self, project: &str) -> String {
        match &self.image {
            Some(image) => image.clone(),
            None => format!("{project}{}{}", self.separator(), self.name),
        }
    }

    /// The services whose namespaces or volumes it uses.
    pub fn shares_with(&self) -> impl Iterator<Item = &str> {
        let volumes = self
            .volumes_from
            .iter()
            .filter(|from| !from.starts_with("container:"))
            .map(|from| from.split(':').next().unwrap_or_default());
        [&self.network_mode, &self.ipc, &self.pid, &self.uts]
            .into_iter()
            .flatten()
            .filter_map(|mode| mode.strip_prefix("service:"))
            .chain(volumes)
    }

    /// The images it uses beside its own, and why one is fetched: those it mounts, and those of
    /// containers that run before it.
    pub fn further_images(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let mounts = self.volumes.iter().filter(|volume| volume.kind == "image");
        let mounted = mounts.filter_map(|volume| volume.source.as_deref());
        let before = self
            .pre_start
            .iter()
            .filter_map(|hook| hook.image.as_deref());
        mounted
            .map(|image| (image, "mounted image is missing"))
            .chain(before.map(|image| (image, "image of pre_start is missing")))
            .filter(|(image, _)| !image.is_empty() && self.image.as_deref() != Some(image))
    }

    /// What the program is given to end.
    pub fn stop_timeout(&self) -> Duration {
        self.stop_grace_period
            .unwrap_or(orc_host::stream::STOP_TIMEOUT)
    }
}

/// How the image of a service is built.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Build {
    /// An absolute path, or an address.
    pub context: Option<String>,
    /// A path in the context, or an absolute one.
    pub dockerfile: Option<String>,
    /// The Dockerfile itself.
    pub dockerfile_inline: Option<String>,
    /// Values of its `ARG`s.
    pub args: BTreeMap<String, String>,
    /// The stage to build.
    pub target: Option<String>,
    /// Where else results are found.
    pub cache_from: Vec<String>,
    /// Where results are also kept.
    pub cache_to: Vec<String>,
    /// What `RUN --mount=type=secret` may have.
    pub secrets: Vec<Grant>,
    /// What `RUN --mount=type=ssh` may have: the id and the agent's socket, empty for the usual one.
    pub ssh: BTreeMap<String, String>,
    /// Further contexts: a path, an address, `docker-image://…` or `service:…`.
    pub additional_contexts: BTreeMap<String, String>,
    /// Further names of the image.
    pub tags: Vec<String>,
    /// Ask for base images anew.
    pub pull: bool,
    /// Use no results of earlier builds.
    pub no_cache: bool,
    /// Use no earlier results of these stages.
    pub no_cache_filter: Vec<String>,
    /// The network of `RUN` steps.
    pub network: Option<String>,
    /// Bytes of `/dev/shm` in `RUN` steps.
    #[serde(deserialize_with = "bytes")]
    pub shm_size: Option<i64>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// What to build for.
    pub platforms: Vec<String>,
    /// `name=address`.
    pub extra_hosts: Vec<String>,
    /// Limits of setrlimit(2) in `RUN` steps.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// `RUN --security=insecure` is allowed.
    pub privileged: bool,
    /// What else the Dockerfile may ask for.
    pub entitlements: Vec<String>,
    /// `default`.
    pub isolation: Option<String>,
}

impl Build {
    /// The services whose images are contexts of this build.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.additional_contexts
            .values()
            .filter_map(|context| context.strip_prefix("service:"))
    }
}

/// Another service that has to be there first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Dependency {
    /// How far it has to be.
    #[serde(default)]
    pub condition: Condition,
    /// Whether it is an error when it is not there.
    #[serde(default = "yes")]
    pub required: bool,
    /// Restart this service after the other one was.
    #[serde(default)]
    pub restart: bool,
}

/// How far another service has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It has been started.
    #[default]
    ServiceStarted,
    /// Its health check succeeds.
    ServiceHealthy,
    /// It has ended with exit code 0.
    ServiceCompletedSuccessfully,
}

impl Condition {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceStarted => "service_started",
            Self::ServiceHealthy => "service_healthy",
            Self::ServiceCompletedSuccessfully => "service_completed_successfully",
        }
    }

    /// The condition of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::ServiceStarted,
            Self::ServiceHealthy,
            Self::ServiceCompletedSuccessfully,
        ]
        .into_iter()
        .find(|condition| condition.as_str() == word)
    }
}

/// `healthcheck`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", line]`, `["NONE"]`; empty for the image's.
    pub test: Vec<String>,
    /// No check at all.
    pub disable: bool,
    /// Between two probes.
    #[serde(deserialize_with = "duration")]
    pub interval: Option<Duration>,
    /// After which a probe has failed.
    #[serde(deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// How long failures do not count.
    #[serde(deserialize_with = "duration")]
    pub start_period: Option<Duration>,
    /// Between two probes in that period.
    #[serde(deserialize_with = "duration")]
    pub start_interval: Option<Duration>,
    /// How many failures make it unhealthy.
    pub retries: Option<u32>,
}

/// The part of `deploy` that means something on one machine.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Deploy {
    /// `replicated`, `global`, `replicated-job`, `global-job`.
    pub mode: Option<String>,
    /// How many.
    pub replicas: Option<u64>,
    /// Labels of the service, not of its containers.
    pub labels: BTreeMap<String, String>,
    /// Limits and reservations.
    pub resources: Option<DeployResources>,
    /// As `restart`, in the cluster's words.
    pub restart_policy: Option<DeployRestart>,
    /// How replicas are replaced; all at once when absent.
    pub update_config: Option<UpdateConfig>,
    /// How they are replaced by what ran before, when an update fails or somebody asks.
    pub rollback_config: Option<UpdateConfig>,
}

/// `deploy.resources`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct DeployResources {
    /// No more than.
    pub limits: Option<DeployLimits>,
    /// No less than.
    pub reservations: Option<DeployLimits>,
}

/// One side of `deploy.resources`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct DeployLimits {
    /// Processors.
    pub cpus: Option<f64>,
    /// Bytes.
    #[serde(deserialize_with = "bytes")]
    pub memory: Option<i64>,
    /// Processes.
    pub pids: Option<i64>,
}

/// `deploy.restart_policy`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct DeployRestart {
    /// `none`, `on-failure`, `any`.
    pub condition: Option<String>,
    /// The pause before each start.
    #[serde(deserialize_with = "duration")]
    pub delay: Option<Duration>,
    /// How often.
    pub max_attempts: Option<u32>,
    /// How long it must run for a start to have succeeded.
    #[serde(deserialize_with = "duration")]
    pub window: Option<Duration>,
}

/// One published port; ranges of container ports are taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Port {
    /// The container's port.
    pub target: u16,
    /// The machine's port or a range to choose from; any free one when absent.
    pub published: Option<String>,
    /// The machine's address.
    pub host_ip: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: Option<String>,
    /// `ingress` or `host`.
    pub mode: Option<String>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ServiceVolume {
    /// `bind`, `volume`, `tmpfs`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// A path, or a volume's key in the file; absent for anonymous volumes and tmpfs.
    pub source: Option<String>,
    /// Where in the container.
    pub target: String,
    /// Cannot be written.
    pub read_only: bool,
    /// For binds.
    pub bind: Option<BindOptions>,
    /// For volumes.
    pub volume: Option<VolumeOptions>,
    /// For tmpfs.
    pub tmpfs: Option<TmpfsOptions>,
    /// For images.
    pub image: Option<ImageOptions>,
}

/// `volumes[].bind`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// mount_namespaces(7).
    pub propagation: Option<String>,
    /// Make a missing source as a directory; yes when absent.
    pub create_host_path: Option<bool>,
    /// `enabled`, `disabled`, `writable`, `readonly`: what becomes of mounts below the source.
    pub recursive: Option<String>,
}

/// `volumes[].volume`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Labels, when the mount makes the volume: when it has no name.
    pub labels: BTreeMap<String, String>,
    /// Do not fill it from the image.
    pub nocopy: bool,
    /// A directory of it.
    pub subpath: Option<String>,
}

/// `volumes[].tmpfs`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// Bytes.
    #[serde(deserialize_with = "bytes")]
    pub size: Option<i64>,
    /// Permissions.
    pub mode: Option<u32>,
}

/// `volumes[].image`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ImageOptions {
    /// A file or directory of it.
    pub subpath: Option<String>,
}

/// A service's place on a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ServiceNetwork {
    /// Further names.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub ipv4_address: Option<String>,
    /// A fixed IPv6 address.
    pub ipv6_address: Option<String>,
    /// Further addresses that mean something on this wire only.
    pub link_local_ips: Vec<String>,
    /// Options of the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// A fixed hardware address.
    pub mac_address: Option<String>,
    /// The higher one gives the default route.
    pub gw_priority: i64,
    /// The higher one is joined first.
    pub priority: i64,
    /// What the interface is called.
    pub interface_name: Option<String>,
}

/// A limit of setrlimit(2): one number for both, or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Ulimit {
    /// Both.
    Single(i64),
    /// Each.
    Pair {
        /// What a process starts with.
        soft: i64,
        /// What it may raise it to.
        hard: i64,
    },
}

/// A device of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Its path on the machine.
    pub source: String,
    /// Its path in the container.
    pub target: Option<String>,
    /// `r`, `w`, `m`.
    pub permissions: Option<String>,
}

/// `blkio_config`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    /// On every device.
    pub weight: Option<u16>,
    /// On single devices.
    pub weight_device: Vec<DeviceWeight>,
    /// Bytes read in a second.
    pub device_read_bps: Vec<DeviceRate>,
    /// Bytes written in a second.
    pub device_write_bps: Vec<DeviceRate>,
    /// Reads in a second.
    pub device_read_iops: Vec<DeviceRate>,
    /// Writes in a second.
    pub device_write_iops: Vec<DeviceRate>,
}

/// `blkio_config.weight_device`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct DeviceWeight {
    /// The device's node on the machine.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate in `blkio_config`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct DeviceRate {
    /// The device's node on the machine.
    pub path: String,
    /// In a second.
    #[serde(deserialize_with = "bytes")]
    pub rate: Option<i64>,
}

/// `logging`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// The driver.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// A command that runs in a container that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Who runs it; the container's own when absent.
    pub user: Option<String>,
    /// Everything allowed.
    pub privileged: bool,
    /// Where it starts; the container's own when absent.
    pub working_dir: Option<String>,
    /// Over the container's; `None` is taken from the project's variables.
    pub environment: BTreeMap<String, Option<String>>,
}

/// A container of its own that runs to its end before the service starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct PreStart {
    /// The command; the image's when absent.
    pub command: Option<Vec<String>>,
    /// The image; the service's own when absent.
    pub image: Option<String>,
    /// Who runs it.
    pub user: Option<String>,
    /// Everything allowed.
    pub privileged: bool,
    /// Where it starts; as the service when absent.
    pub working_dir: Option<String>,
    /// Over the service's; `None` is taken from the project's variables.
    pub environment: BTreeMap<String, Option<String>>,
    /// Before each replica, instead of once before the first.
    pub per_replica: bool,
}

/// A secret or config given to a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Grant {
    /// Its key in the file.
    pub source: String,
    /// Where in the container.
    pub target: Option<String>,
    /// Who owns it.
    pub uid: Option<String>,
    /// Which group owns it.
    pub gid: Option<String>,
    /// Octal permissions.
    pub mode: Option<String>,
}

fn yes() -> bool {
    true
}
