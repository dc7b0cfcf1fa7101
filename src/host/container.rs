//! Containers: what someone wants ([`ContainerSpec`]) and what was seen ([`Container`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use orc_base::Time;
use serde::{Deserialize, Serialize};

use crate::block_io::BlockIo;
use crate::image::Healthcheck;
use crate::network::{Endpoint, EndpointSpec, Port, PortBinding, PublishedPort};

/// A container to make. `None` and empty values mean the image's or the machine's default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The image, by any of its names.
    pub image: String,
    /// Refuse an image for another platform, `linux/amd64`.
    pub platform: Option<String>,
    /// The program; an empty list clears the image's. Setting it drops the image's command.
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments.
    pub command: Option<Vec<String>>,
    /// `NAME=value`, over the image's; a bare `NAME` removes it.
    pub env: Vec<String>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// Who runs it: `name`, `uid`, `name:group` or `uid:gid`.
    pub user: Option<String>,
    /// Further groups, by name or number.
    pub groups: Vec<String>,
    /// Its host name; twelve digits of its id by default.
    pub hostname: Option<String>,
    /// Its NIS domain name.
    pub domainname: Option<String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations; kept and shown, never acted upon.
    pub annotations: BTreeMap<String, String>,
    /// Give the program a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Close standard input when the first one attached leaves.
    pub stdin_once: bool,
    /// What asks it to end.
    pub stop_signal: Option<String>,
    /// How long it may take to.
    pub stop_timeout: Option<Duration>,
    /// How to see whether it works.
    pub healthcheck: Option<Healthcheck>,
    /// Ports it is known to listen on; published with [`ContainerSpec::publish_all`].
    pub exposed_ports: BTreeSet<Port>,
    /// Directories that get an anonymous volume.
    pub anonymous_volumes: BTreeSet<String>,

    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Containers whose volumes and bind mounts are mounted too, where nothing else is.
    pub volumes_from: Vec<VolumesFrom>,
    /// Small files that are put into memory. Never shown and never in a record.
    #[serde(skip)]
    pub files: Vec<GivenFile>,
    /// What is reachable from outside.
    pub ports: Vec<PortBinding>,
    /// Publish all exposed ports on free ones.
    pub publish_all: bool,
    /// Whose network it uses.
    pub network_mode: NetworkMode,
    /// The networks it joins in [`NetworkMode::Networks`]; empty: the network named `bridge`.
    pub networks: Vec<EndpointSpec>,
    /// Servers asked for foreign names instead of the machine's.
    pub dns: Vec<String>,
    /// Domains tried for short names.
    pub dns_search: Vec<String>,
    /// Options of resolv.conf(5).
    pub dns_options: Vec<String>,
    /// Further lines of `/etc/hosts`: name and address, or `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,

    /// What happens after it ends.
    pub restart: RestartPolicy,
    /// How that goes on.
    pub restart_pace: RestartPace,
    /// Remove it, with its anonymous volumes, when it ends.
    pub auto_remove: bool,
    /// All capabilities and devices, no seccomp filter, nothing masked.
    pub privileged: bool,
    /// The root file system cannot be written.
    pub read_only: bool,
    /// A first process that reaps orphans and passes signals on.
    pub init: bool,
    /// Capabilities beyond the default set, `NET_ADMIN` or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken from it.
    pub cap_drop: Vec<String>,
    /// Programs cannot gain privileges by execve(2).
    pub no_new_privileges: bool,
    /// No seccomp filter.
    pub seccomp_unconfined: bool,
    /// A seccomp filter of one's own instead of the default one: the JSON of Docker's profiles.
    pub seccomp_profile: Option<String>,
    /// How much of the machine it may use.
    pub resources: Resources,
    /// Limits of setrlimit(2).
    pub ulimits: Vec<Ulimit>,
    /// Namespaced kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Devices of the machine.
    pub devices: Vec<Device>,
    /// Device numbers it may use beside those of its devices, in the words of the kernel's device
    /// controller: `c 188:* rwm`.
    pub device_rules: Vec<String>,
    /// Its programs may speak to the engine that runs it, at `/var/run/docker.sock`: all power over
    /// the machine.
    pub api_socket: bool,
    /// Size of `/dev/shm`; 64 MiB by default.
    pub shm_bytes: Option<u64>,
    /// Whose System V IPC it uses.
    pub ipc: NamespaceMode,
    /// Whose processes it sees.
    pub pid: NamespaceMode,
    /// Whose host name it has.
    pub uts: NamespaceMode,
    /// Whether it sees its own cgroup as the root.
    pub cgroup: NamespaceMode,
    /// proc(5), `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Below which cgroup its own one is made, instead of the machine's default.
    pub cgroup_parent: Option<String>,
    /// Where its output goes.
    pub log: LogConfig,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Mount {
    /// A file or directory of the machine.
    Bind {
        /// Absolute, on the machine.
        source: PathBuf,
        /// Absolute, in the container.
        target: String,
        /// Cannot be written.
        read_only: bool,
        /// `rprivate` by default; see mount_namespaces(7).
        propagation: Option<String>,
        /// Make a missing source as a directory, as Docker's `-v` does.
        create_source: bool,
        /// What becomes of mounts below the source.
        #[serde(default)]
        submounts: Submounts,
    },
    /// A volume, made when it is missing.
    Volume {
        /// Its name; empty makes an anonymous one.
        name: String,
        /// Absolute, in the container.
        target: String,
        /// Cannot be written.
        read_only: bool,
        /// Do not fill an empty volume with what the image has at the target.
        no_copy: bool,
        /// A directory of the volume instead of the whole.
        subpath: Option<String>,
        /// Labels of the volume, should it have to be made.
        #[serde(default)]
        labels: BTreeMap<String, String>,
        /// Options of its driver, should it have to be made: as [`crate::volume::VolumeSpec`] has
        /// them.
        #[serde(default)]
        options: BTreeMap<String, String>,
    },
    /// The files of another image, read-only.
    Image {
        /// The image, by any of its names.
        image: String,
        /// Absolute, in the container.
        target: String,
        /// A file or directory of the image instead of the whole.
        subpath: Option<String>,
    },
    /// Memory.
    Tmpfs {
        /// Absolute, in the container.
        target: String,
        /// Its size; half the memory when absent.
        size_bytes: Option<u64>,
        /// Permissions of its root; 1777 when absent.
        mode: Option<u32>,
        /// Further options of tmpfs(5) and mount(8): `noexec`, `ro`, `uid=1000`.
        options: Vec<String>,
    },
}

impl Mount {
    /// Where it is mounted in the container.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Volume { target, .. }
            | Self::Image { target, .. }
            | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// What becomes of mounts below the source of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Submounts {
    /// They come along, read-only when the bind is.
    #[default]
    Follow,
    /// They stay behind.
    Leave,
    /// They come along and are written as on the machine, also when the bind is read-only.
    Writable,
    /// They come along, and it is an error when they cannot be made read-only with the bind.
    ReadOnly,
}

/// Another container, whose volumes and bind mounts are mounted too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Its name or id.
    pub container: String,
    /// Whether they cannot be written here; those that it cannot write itself never can.
    pub read_only: bool,
}

/// A small file that a container is given: it is put into memory at each start, cannot be written,
/// and nobody is shown that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenFile {
    /// Where it appears: absolute, in the container.
    pub target: String,
    /// What is in it.
    pub source: FileSource,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
}

/// What is in a [`GivenFile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// What is in a file of the machine when the container starts. The path is absolute.
    Path(PathBuf),
    /// These bytes. The machine keeps them as long as it keeps the container.
    Content(Content),
}

/// Bytes that do not show themselves in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// The most bytes of one [`GivenFile`].
pub const MAX_GIVEN_FILE: usize = 1 << 20;
/// The most bytes of all [`Content`] of one container: it travels in one request.
pub const MAX_GIVEN_CONTENT: usize = 2 << 20;

/// Whose network a container uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Its own, joined to [`ContainerSpec::networks`].
    #[default]
    Networks,
    /// Its own with a loopback interface only.
    None,
    /// The machine's.
    Host,
    /// That of another container, by name or id.
    Container(String),
}

/// Whose namespace a container uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// The machine's.
    Host,
    /// That of another container, by name or id.
    Container(String),
}

/// What happens after a container ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It starts again, also after the machine did, unless someone stopped it.
    Always,
    /// As `Always`, but a stopped container also stays stopped when the daemon starts.
    UnlessStopped,
    /// It starts again after a failure, at most so many times.
    OnFailure {
        /// No limit when absent.
        max_retries: Option<u32>,
    },
}

/// How a restart policy goes on: `deploy.restart_policy` of the Compose Specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPace {
    /// The pause before each start; when absent, one that grows from 100 ms to a minute.
    pub delay: Option<Duration>,
    /// A start that the container then runs so long has succeeded, and counts for no limit; when
    /// absent, each start counts.
    pub window: Option<Duration>,
    /// The most starts that count, for a policy that has no limit of its own.
    pub max_attempts: Option<u32>,
}

/// How much of a machine a container may use; `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together; -1 is no limit.
    pub memory_swap_bytes: Option<i64>,
    /// What it is left with when memory is short.
    pub memory_reservation_bytes: Option<u64>,
    /// Processor time in billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// Its weight against others, 2 to 262144, 1024 by default.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in a period.
    pub cpu_quota_us: Option<i64>,
    /// The period.
    pub cpu_period_us: Option<u64>,
    /// Which processors, `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Which memory nodes.
    pub cpuset_mems: Option<String>,
    /// How many processes and threads; -1 is no limit.
    pub pids: Option<i64>,
    /// How willingly the kernel swaps its memory out, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Its processes wait instead of being killed when its memory is used up.
    pub oom_kill_disable: Option<bool>,
    /// Microseconds in a period that its real-time processes may run.
    pub cpu_realtime_runtime_us: Option<i64>,
    /// That period.
    pub cpu_realtime_period_us: Option<u64>,
    /// Its share of block devices.
    pub block_io: BlockIo,
}

/// A limit of setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `core`, …
    pub name: String,
    /// What a process starts with; -1 is no limit.
    pub soft: i64,
    /// What it may raise it to.
    pub hard: i64,
}

/// A device of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its path on the machine.
    pub source: String,
    /// Its path in the container.
    pub target: String,
    /// `r`, `w` and `m` (mknod).
    pub permissions: String,
}

/// Where a container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// Empty, `local` or `json-file`: files of orc's own; `none`: nowhere.
    pub driver: String,
    /// `max-size` and `max-file`.
    pub options: BTreeMap<String, String>,
}

/// What [`crate::Host::create_container`] made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Created {
    /// The identifier, 64 hexadecimal digits.
    pub id: String,
    /// What was asked for and is not done, one sentence each.
    pub warnings: Vec<String>,
}

/// A container that exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// The identifier, 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What was asked for, as it was asked for.
    pub spec: ContainerSpec,
    /// When it was made.
    pub created: Time,
    /// `sha256:…` of the image.
    pub image_id: String,
    /// The program that runs and its arguments: the image's and the spec's put together.
    pub args: Vec<String>,
    /// The environment: the image's and the spec's put together.
    pub env: Vec<String>,
    /// Where the program starts.
    pub working_dir: String,
    /// Labels: the image's and the spec's put together.
    pub labels: BTreeMap<String, String>,
    /// The health check in force: the spec's over the image's, `None` when there is none.
    pub healthcheck: Option<Healthcheck>,
    /// What asks it to end: the spec's, the image's, or `SIGTERM`.
    pub stop_signal: String,
    /// Its host name.
    pub hostname: String,
    /// Where it is in its life.
    pub state: State,
    /// What the health checks found; `None` without one, or when it does not run.
    pub health: Option<Health>,
    /// How often the restart policy started it again.
    pub restart_count: u32,
    /// What is mounted, volumes resolved.
    pub mounts: Vec<MountPoint>,
    /// Its places on networks.
    pub endpoints: Vec<Endpoint>,
    /// What is reachable from outside now.
    pub published: Vec<PublishedPort>,
    /// The file of its log.
    pub log_path: String,
    /// Its cgroup, below each hierarchy.
    pub cgroup: String,
}

/// Where a container is in its life. Only the engine moves it:
///
/// ```text
/// Created ──start──▶ Running ──exit──▶ Exited ──start──▶ Running
///                      │  ▲              │
///                 pause▼  │unpause       └─policy─▶ Restarting ──▶ Running
///                    Paused                            └──stop──▶ Exited
/// any ──remove──▶ Removing
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum State {
    /// Never started, or its last start failed before the program ran.
    Created {
        /// Why the last start failed.
        #[serde(default)]
        exit: Option<Exit>,
    },
    /// Its program runs.
    Running {
        /// The first process, on the machine.
        pid: i32,
        /// Since when.
        started_at: Time,
    },
    /// Its processes are frozen.
    Paused {
        /// The first process, on the machine.
        pid: i32,
        /// Since when it runs.
        started_at: Time,
    },
    /// It ended, and the restart policy will start it again.
    Restarting {
        /// The last end.
        exit: Exit,
    },
    /// It ended.
    Exited {
        /// How.
        exit: Exit,
    },
    /// It is being removed.
    Removing,
}

impl State {
    /// Docker's word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Exited { .. } => "exited",
            Self::Removing => "removing",
        }
    }

    /// Whether it has a process.
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Its first process, on the machine.
    pub fn pid(&self) -> Option<i32> {
        match self {
            Self::Running { pid, .. } | Self::Paused { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    /// How it last ended, when it does not run.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Restarting { exit } | Self::Exited { exit } => Some(exit),
            Self::Created { exit } => exit.as_ref(),
            _ => None,
        }
    }
}

/// The end of a container's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + the signal that killed it; 125 to 127 when it could not be started.
    pub code: i32,
    /// Why it could not be started, or what went wrong beside it.
    pub error: Option<String>,
    /// The kernel killed it for lack of memory.
    pub oom_killed: bool,
    /// When it began; `None` when it never did.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Time,
}

/// What the health checks found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// How many probes have failed in a row.
    pub failing_streak: u32,
    /// The last five probes, oldest first.
    pub log: Vec<Probe>,
}

/// The verdict of health checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No probe has succeeded yet, and not enough have failed.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// As many probes as `retries` have failed in a row.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// 0 healthy, 1 not; -1 when it timed out.
    pub exit_code: i32,
    /// What it wrote, at most 4 KiB.
    pub output: String,
}

/// Something that is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// `bind`, `volume`, `image` or `tmpfs`.
    pub kind: MountKind,
    /// The volume's name.
    pub name: Option<String>,
    /// Its path on the machine; empty for tmpfs, the id of an image.
    pub source: String,
    /// Its path in the container.
    pub target: String,
    /// Cannot be written.
    pub read_only: bool,
    /// Which later mounts are seen on the other side (mount_namespaces(7)); empty for what is no
    /// bind.
    #[serde(default)]
    pub propagation: String,
}

/// What kind of thing is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A file or directory of the machine.
    Bind,
    /// A volume.
    Volume,
    /// The files of an image.
    Image,
    /// Memory.
    Tmpfs,
}

/// Which containers are wanted; empty lists want all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerFilter {
    /// Also those that do not run.
    pub all: bool,
    /// Only with one of these names (substrings) or ids (prefixes).
    pub names: Vec<String>,
    /// Only these ids (prefixes).
    pub ids: Vec<String>,
    /// Only with all of these labels; no value matches any.
    pub labels: Vec<(String, Option<String>)>,
    /// Only in one of these states, in Docker's words; implies `all`.
    pub statuses: Vec<String>,
    /// Only with one of these exit codes; implies `all`.
    pub exit_codes: Vec<i32>,
    /// Only those of this image (name or id).
    pub images: Vec<String>,
    /// Only on one of these networks (name or id).
    pub networks: Vec<String>,
    /// Only with one of these volumes (name or target).
    pub volumes: Vec<String>,
    /// Only with one of these health states (`none` too).
    pub health: Vec<String>,
    /// Only the newest so many, running or not.
    pub limit: Option<usize>,
}

impl ContainerFilter {
    /// All containers, running or not.
    pub fn everything() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// All containers with a label.
    pub fn labelled(key: &str, value: &str) -> Self {
        Self {
            all: true,
            labels: vec![(key.into(), Some(value.into()))],
            ..Self::default()
        }
    }

    /// Whether someone who asked with this filter wants `container`; `limit` is for the list.
    pub fn matches(&self, container: &Container) -> bool {
        let all = self.all
            || self.limit.is_some()
            || !self.statuses.is_empty()
            || !self.exit_codes.is_empty();
        let any = |wanted: &[String], holds: &dyn Fn(&str) -> bool| {
            wanted.is_empty() || wanted.iter().any(|wanted| holds(wanted))
        };
        let labelled = |(key, value): &(String, Option<String>)| {
            container
                .labels
                .get(key)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        let health = container
            .health
            .as_ref()
            .map_or("none", |health| health.status.as_str());
        (all || container.state.is_running())
            && any(&self.names, &|name| {
                container.name.contains(name.trim_start_matches('/'))
                    || container.id.starts_with(name)
            })
            && any(&self.ids, &|id| container.id.starts_with(id))
            && self.labels.iter().all(labelled)
            && any(&self.statuses, &|status| container.state.as_str() == status)
            && (self.exit_codes.is_empty()
                || container
                    .state
                    .exit()
                    .is_some_and(|exit| self.exit_codes.contains(&exit.code)))
            && any(&self.images, &|image| {
                container.spec.image == image
                    || container.image_id == image
                    || container
                        .image_id
                        .trim_start_matches("sha256:")
                        .starts_with(image)
            })
            && any(&self.networks, &|network| {
                container.endpoints.iter().any(|endpoint| {
                    endpoint.network_name == network || endpoint.network_id.starts_with(network)
                })
            })
            && any(&self.volumes, &|volume| {
                container
                    .mounts
                    .iter()
                    .any(|mount| mount.name.as_deref() == Some(volume) || mount.target == volume)
            })
            && any(&self.health, &|wanted| wanted == health)
    }
}

/// How to remove a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemoveOptions {
    /// Kill it when it runs.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
}

/// What [`crate::Host::wait_container`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitFor {
    /// That it does not run; at once when it does not.
    #[default]
    NotRunning,
    /// The next end of its program, even when it does not run yet.
    NextExit,
    /// That it is gone.
    Removed,
}

/// The processes of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Top {
    /// The titles of the columns.
    pub titles: Vec<String>,
    /// One row a process.
    pub processes: Vec<Vec<String>>,
}
