//! What a caller wants: one container, or one more process in it. Plain data, no I/O.
//!
//! A spec is complete: the runtime looks nothing up and fills nothing in, so the same spec always
//! gives the same container. Paths on the host side are ours and absolute; paths on the container's
//! side are text that is only ever resolved inside the container's root.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orc_base::{Id, Time};
use serde::{Deserialize, Serialize};

use crate::capability::Set;

/// One container, ready to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The container's id: names its monitor in messages and in the process list.
    pub id: Id,
    /// What `gethostname(2)` says inside, when the UTS namespace is new.
    pub hostname: String,
    /// The NIS domain name, when the UTS namespace is new.
    pub domainname: Option<String>,
    /// The layers the root is stacked from.
    pub rootfs: Rootfs,
    /// What is mounted into the root, besides `/proc`, `/sys` and `/dev`.
    pub mounts: Vec<Mount>,
    /// Which namespaces are new, the host's, or another container's.
    pub namespaces: Namespaces,
    /// The program.
    pub process: ProcessSpec,
    /// Limits on memory, processor and processes.
    pub resources: Resources,
    /// The control group below each hierarchy's root, such as `/orc/<id>`. It must lie below the
    /// parent that the [`Runtime`](crate::Runtime) was given.
    pub cgroup: String,
    /// Device nodes besides the default set, made in `/dev` and allowed by the device filter.
    pub devices: Vec<Device>,
    /// Device rules beyond those of `devices`, without nodes.
    pub device_rules: Vec<DeviceRule>,
    /// Kernel settings, dots as in `sysctl`; only those that belong to a new namespace.
    pub sysctls: BTreeMap<String, String>,
    /// What is covered so that it cannot be read: see [`default_masked_paths`]. One component may end
    /// in `*`.
    pub masked_paths: Vec<String>,
    /// What is remounted read-only: see [`default_readonly_paths`].
    pub readonly_paths: Vec<String>,
    /// All devices, `/sys` and cgroups writable. The caller also chooses capabilities, seccomp
    /// and empty mask lists.
    pub privileged: bool,
    /// Whether a small first process forwards signals and reaps.
    pub init: bool,
    /// The kernel's preference for killing this container when memory runs out, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// The size of `/dev/shm`.
    pub shm_bytes: u64,
    /// Terminal and standard input.
    pub stdio: Stdio,
    /// Where the monitor keeps what the container writes; none discards it.
    pub log: Option<LogSpec>,
    /// Where the monitor's socket and the exit status live. Exists, belongs to this container only.
    pub state_dir: PathBuf,
}

/// A root stacked with overlayfs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Read-only layers, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Receives all changes.
    pub upper: PathBuf,
    /// overlayfs' scratch space: an empty directory on the file system of `upper`.
    pub work: PathBuf,
    /// Whether the container may change its root.
    pub readonly: bool,
}

/// Something mounted into the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A file or directory of the host.
    Bind {
        /// An absolute path on the host; must exist.
        source: PathBuf,
        /// Where it appears; made inside the root when missing.
        target: String,
        /// Whether the container may write it.
        readonly: bool,
        /// What becomes of mounts below `source`.
        submounts: Submounts,
        /// Which later mounts are seen on the other side.
        propagation: Propagation,
    },
    /// A file or directory below a directory of the host, found in the container's own view of mounts
    /// without ever leaving the directory.
    Within {
        /// An absolute path on the host; must exist.
        directory: PathBuf,
        /// What is mounted of it.
        subpath: String,
        /// Where it appears; made inside the root when missing.
        target: String,
        /// Whether the container may write it.
        readonly: bool,
    },
    /// A directory as another mount namespace has it, such as the `/dev/shm` of another container.
    Joined {
        /// The file of the namespace: `/proc/PID/ns/mnt`.
        namespace: PathBuf,
        /// An absolute path in it; must be a directory.
        path: String,
        /// Where it appears; made inside the root when missing.
        target: String,
    },
    /// The layers of an image, or something in them; read-only.
    Layers {
        /// Topmost first.
        lowers: Vec<PathBuf>,
        /// A file or directory in them instead of the whole, resolved inside.
        subpath: Option<String>,
        /// Where it appears; made inside the root when missing.
        target: String,
    },
    /// A copy of a small file, in memory; read-only. It is made anew at each start, and nobody else
    /// sees it.
    Copy {
        /// An absolute path on the host.
        source: PathBuf,
        /// Where it appears; made inside the root when missing.
        target: String,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Memory.
    Tmpfs {
        /// Where it appears; made inside the root when missing.
        target: String,
        /// The most it may hold; the kernel's default is half the machine's memory.
        size_bytes: Option<u64>,
        /// Permission bits of its root directory, 1777 unless given.
        mode: Option<u32>,
        /// Owner of its root directory.
        uid: Option<u32>,
        /// Group of its root directory.
        gid: Option<u32>,
        /// Whether the container may write it.
        readonly: bool,
        /// Whether programs in it may run.
        exec: bool,
    },
}

impl Mount {
    /// Where it appears in the container.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Within { target, .. }
            | Self::Joined { target, .. }
            | Self::Layers { target, .. }
            | Self::Copy { target, .. }
            | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// What becomes of mounts below the source of a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Submounts {
    /// They stay behind.
    Leave,
    /// They come along, read-only when the source is.
    #[default]
    Follow,
    /// They come along and are written as on the host, also when the source is read-only.
    Writable,
}

/// Which later mounts pass between the host and a bind mount (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// From the host to the container.
    Slave,
    /// Both ways.
    Shared,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// A new one for this container.
    New,
    /// The one the daemon runs in.
    Host,
    /// An existing one, by its file: a bind mount of it or `/proc/PID/ns/…`.
    Path(PathBuf),
}

/// The namespaces of a container; its mount namespace is always new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network devices, addresses, ports. A new one has loopback and nothing else.
    pub net: Namespace,
    /// System V IPC and POSIX message queues.
    pub ipc: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// The view of control groups.
    pub cgroup: Namespace,
}

impl Default for Namespaces {
    /// All new.
    fn default() -> Self {
        Self {
            net: Namespace::New,
            ipc: Namespace::New,
            uts: Namespace::New,
            pid: Namespace::New,
            cgroup: Namespace::New,
        }
    }
}

/// A program and what it may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program and its arguments. The program is searched in the container's own `PATH`.
    pub args: Vec<String>,
    /// `NAME=value` entries; `HOME` is added from the image's `/etc/passwd` when missing.
    pub env: Vec<String>,
    /// Working directory inside the root, made when missing; empty means `/`.
    pub cwd: String,
    /// Docker's `USER` syntax, `user[:group]`, names or numbers, resolved inside the root; empty
    /// means root.
    pub user: String,
    /// Further groups, names or numbers (`group_add`).
    pub groups: Vec<String>,
    /// What a root user may do; any other user starts with none.
    pub capabilities: Set,
    /// Whether set-user-id programs and file capabilities are ignored.
    pub no_new_privs: bool,
    /// Which system calls are let through.
    pub seccomp: Seccomp,
    /// Resource limits of setrlimit(2).
    pub rlimits: Vec<Rlimit>,
    /// File mode creation mask; 0022 unless given.
    pub umask: Option<u32>,
}

impl ProcessSpec {
    /// `args` as root with the default confinement and nothing else.
    pub fn new(args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: String::new(),
            user: String::new(),
            groups: Vec::new(),
            capabilities: Set::DEFAULT,
            no_new_privs: false,
            seccomp: Seccomp::Default,
            rlimits: Vec::new(),
            umask: None,
        }
    }
}

/// A system call filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Seccomp {
    /// The built-in allow-list.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile in Docker's JSON; [`check_profile`](crate::seccomp::check_profile) says whether it
    /// can be installed.
    Profile(String),
}

/// One limit of setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The limit's name as in `ulimits`: `nofile`, `nproc`, `core`, … (with or without `RLIMIT_`).
    pub name: String,
    /// In force; none is unlimited.
    pub soft: Option<u64>,
    /// How far the process may raise it; none is unlimited.
    pub hard: Option<u64>,
}

/// How the container's first process is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stdio {
    /// A terminal instead of pipes; output is then one stream.
    pub terminal: bool,
    /// Whether standard input is kept open for someone to attach; else it is empty.
    pub stdin: bool,
    /// Whether standard input ends with the first attachment: for the engine, which calls
    /// [`Monitor::close_stdin`](crate::Monitor::close_stdin) then.
    pub stdin_once: bool,
    /// The terminal's first size, rows then columns.
    pub size: Option<(u16, u16)>,
}

/// Limits; `None` leaves the kernel's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// The most memory.
    pub memory_bytes: Option<u64>,
    /// The most memory and swap together; -1 is unlimited swap.
    pub memory_swap_bytes: Option<i64>,
    /// Memory that is reclaimed from others first.
    pub memory_reservation_bytes: Option<u64>,
    /// Processor time in billionths of a processor; instead of quota and period.
    pub nano_cpus: Option<u64>,
    /// Processor time per period; negative is unlimited.
    pub cpu_quota_us: Option<i64>,
    /// The period of the quota, 100 ms unless given.
    pub cpu_period_us: Option<u64>,
    /// Weight among others when processors are busy, 2 to 262144, 1024 is usual.
    pub cpu_shares: Option<u64>,
    /// Which processors, such as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Which memory nodes, such as `0`.
    pub cpuset_mems: Option<String>,
    /// The most processes and threads; negative or zero is unlimited.
    pub pids_max: Option<i64>,
    /// How willingly memory is swapped out, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Whether processes wait for memory instead of being killed when the limit is reached.
    pub oom_kill_disable: bool,
    /// Time that real-time processes may run in a period.
    pub cpu_realtime_runtime_us: Option<i64>,
    /// That period.
    pub cpu_realtime_period_us: Option<u64>,
    /// Shares of block devices, and limits on them.
    pub block_io: BlockIo,
}

/// What a container may ask of block devices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BlockIo {
    /// Weight against others on every device, 10 to 1000.
    pub weight: Option<u16>,
    /// Weights on single devices.
    pub device_weights: Vec<OnDevice>,
    /// Bytes read in a second.
    pub read_bytes: Vec<OnDevice>,
    /// Bytes written in a second.
    pub write_bytes: Vec<OnDevice>,
    /// Reads in a second.
    pub read_operations: Vec<OnDevice>,
    /// Writes in a second.
    pub write_operations: Vec<OnDevice>,
}

/// A number that is about one block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDevice {
    /// Major number of the whole device.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// The weight or rate.
    pub value: u64,
}

/// A device node and what may be done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where the node appears, below `/dev`.
    pub path: String,
    /// Character or block.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What is allowed: letters of `rwm`.
    pub access: String,
}

/// Kind of a device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DeviceKind {
    /// `c`
    Char,
    /// `b`
    Block,
}

/// What the device filter lets through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Character, block, or both.
    pub kind: Option<DeviceKind>,
    /// A major number, or all.
    pub major: Option<u32>,
    /// A minor number, or all.
    pub minor: Option<u32>,
    /// Letters of `rwm`.
    pub access: String,
}

/// Where the log of a container is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// The newest file; older ones are beside it with `.1`, `.2`, … added.
    pub path: PathBuf,
    /// At which size a file is rotated.
    pub max_bytes: u64,
    /// How many files there are at most, the newest included.
    pub max_files: u32,
}

impl LogSpec {
    /// Three files of 10 MiB.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 10 << 20,
            max_files: 3,
        }
    }
}

/// One more process in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The program.
    pub process: ProcessSpec,
    /// Whether standard input is connected; else it is empty.
    pub stdin: bool,
    /// A terminal instead of pipes.
    pub terminal: bool,
    /// The terminal's first size, rows then columns.
    pub size: Option<(u16, u16)>,
    /// The container's control group, as in [`ContainerSpec::cgroup`].
    pub cgroup: String,
    /// As [`ContainerSpec::oom_score_adj`].
    pub oom_score_adj: Option<i32>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + the signal when a signal ended it.
    pub code: i32,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
    /// When.
    pub at: Time,
}

/// What Docker and Podman hide, together. A `*` stands for the rest of a name.
pub fn default_masked_paths() -> Vec<String> {
    [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/dev/block",
        "/sys/devices/system/cpu/cpu*/thermal_throttle",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
        "/sys/fs/selinux",
    ]
    .map(String::from)
    .into()
}

/// What Docker and Podman make read-only besides `/sys`.
pub fn default_readonly_paths() -> Vec<String> {
    [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ]
    .map(String::from)
    .into()
}
