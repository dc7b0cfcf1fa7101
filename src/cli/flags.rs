//! What can be typed after `run` and `create`: one row a flag, in Docker's words.
//!
//! Only what was typed; `spec.rs` says what it means.

use clap::{ArgAction, Args, ValueEnum};

use crate::cli::limit_flags::LimitFlags;
use crate::cli::trust::TrustFlag;

/// Flags of `run` and `create` alike.
#[derive(Debug, Default, Clone, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct CreateFlags {
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Name of the container
    #[arg(long, help_heading = "Container")]
    pub(crate) name: Option<String>,
    /// Keep standard input open
    #[arg(short, long, help_heading = "Container")]
    pub(crate) interactive: bool,
    /// Give it a terminal
    #[arg(short, long, help_heading = "Container")]
    pub(crate) tty: bool,
    /// Remove the container when it ends
    #[arg(long, help_heading = "Container")]
    pub(crate) rm: bool,
    /// What happens after it ends: no, always, unless-stopped, on-failure[:MAX]
    #[arg(long, value_name = "POLICY", help_heading = "Container")]
    pub(crate) restart: Option<String>,
    /// Set an environment variable; NAME alone takes its value from here
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = "Container")]
    pub(crate) env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE", help_heading = "Container")]
    pub(crate) env_file: Vec<String>,
    /// Program to run instead of the image's entry point
    #[arg(long, value_name = "PROGRAM", help_heading = "Container")]
    pub(crate) entrypoint: Option<String>,
    /// Directory to start in
    #[arg(short, long, value_name = "DIR", help_heading = "Container")]
    pub(crate) workdir: Option<String>,
    /// User to run as: NAME|UID[:GROUP|GID]
    #[arg(short, long, help_heading = "Container")]
    pub(crate) user: Option<String>,
    /// One more group
    #[arg(long, value_name = "GROUP", help_heading = "Container")]
    pub(crate) group_add: Vec<String>,
    /// A label
    #[arg(short, long, value_name = "KEY=VALUE", help_heading = "Container")]
    pub(crate) label: Vec<String>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE", help_heading = "Container")]
    pub(crate) label_file: Vec<String>,
    /// An OCI annotation
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Container")]
    pub(crate) annotation: Vec<String>,
    /// A first process that reaps orphans and passes signals on
    #[arg(long, help_heading = "Container")]
    pub(crate) init: bool,
    /// Signal that asks it to end
    #[arg(long, value_name = "SIGNAL", help_heading = "Container")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds it may take to end
    #[arg(
        long,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        help_heading = "Container"
    )]
    pub(crate) stop_timeout: Option<i64>,
    /// Pull the image before
    #[arg(long, value_enum, default_value_t, help_heading = "Container")]
    pub(crate) pull: Pull,
    /// Refuse an image for another platform
    #[arg(long, value_name = "OS/ARCH", help_heading = "Container")]
    pub(crate) platform: Option<String>,
    /// Write the container's id to a file that must not exist
    #[arg(long, value_name = "FILE", help_heading = "Container")]
    pub(crate) cidfile: Option<String>,
    /// Do not show the progress of a pull
    #[arg(short, long, help_heading = "Container")]
    pub(crate) quiet: bool,
    /// Where its output is kept: local, json-file or none
    #[arg(long, value_name = "DRIVER", help_heading = "Container")]
    pub(crate) log_driver: Option<String>,
    /// max-size=10m, max-file=3
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Container")]
    pub(crate) log_opt: Vec<String>,

    /// Mount a path or a volume: [SOURCE:]TARGET[:ro]
    #[arg(short, long, value_name = "VOLUME", help_heading = "Storage")]
    pub(crate) volume: Vec<String>,
    /// Mount: type=bind|volume|tmpfs|image,source=…,target=…
    #[arg(long, value_name = "MOUNT", help_heading = "Storage")]
    pub(crate) mount: Vec<String>,
    /// Mount what another container has mounted, too: CONTAINER[:ro]
    #[arg(long, value_name = "CONTAINER", help_heading = "Storage")]
    pub(crate) volumes_from: Vec<String>,
    /// Mount memory: TARGET[:size=64m,mode=1777]
    #[arg(long, value_name = "TARGET", help_heading = "Storage")]
    pub(crate) tmpfs: Vec<String>,
    /// The root file system cannot be written
    #[arg(long, help_heading = "Storage")]
    pub(crate) read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", help_heading = "Storage")]
    pub(crate) shm_size: Option<String>,

    /// Publish a port: [IP:][PORT:]CONTAINER_PORT[/udp]
    #[arg(short, long, value_name = "PORT", help_heading = "Network")]
    pub(crate) publish: Vec<String>,
    /// Publish all exposed ports on free ones
    #[arg(short = 'P', long, help_heading = "Network")]
    pub(crate) publish_all: bool,
    /// A port it is known to listen on
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    pub(crate) expose: Vec<String>,
    /// Network to join: NAME, none, host or container:NAME
    #[arg(
        long,
        visible_alias = "net",
        value_name = "NETWORK",
        help_heading = "Network"
    )]
    pub(crate) network: Vec<String>,
    /// One more name it is found under there
    #[arg(
        long,
        visible_alias = "net-alias",
        value_name = "NAME",
        help_heading = "Network"
    )]
    pub(crate) network_alias: Vec<String>,
    /// A fixed address there
    #[arg(long, value_name = "IPV4", help_heading = "Network")]
    pub(crate) ip: Option<String>,
    /// A fixed IPv6 address there
    #[arg(long, value_name = "IPV6", help_heading = "Network")]
    pub(crate) ip6: Option<String>,
    /// A further address there that means something on that wire only
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub(crate) link_local_ip: Vec<String>,
    /// What this container alone calls another one there
    #[arg(long, value_name = "CONTAINER[:NAME]", help_heading = "Network")]
    pub(crate) link: Vec<String>,
    /// A fixed hardware address there
    #[arg(long, value_name = "MAC", help_heading = "Network")]
    pub(crate) mac_address: Option<String>,
    /// Its host name
    #[arg(short = 'h', long, value_name = "NAME", help_heading = "Network")]
    pub(crate) hostname: Option<String>,
    /// Its NIS domain name
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub(crate) domainname: Option<String>,
    /// A line of /etc/hosts: NAME:ADDRESS
    #[arg(long, value_name = "NAME:ADDRESS", help_heading = "Network")]
    pub(crate) add_host: Vec<String>,
    /// A server for names from outside
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub(crate) dns: Vec<String>,
    /// An option of resolv.conf
    #[arg(
        long,
        visible_alias = "dns-opt",
        value_name = "OPTION",
        help_heading = "Network"
    )]
    pub(crate) dns_option: Vec<String>,
    /// A domain tried for short names
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    pub(crate) dns_search: Vec<String>,

    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    /// How willingly the kernel swaps its memory out, 0 to 100; -1 is the machine's own
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    pub(crate) memory_swappiness: Option<i64>,
    /// Its processes wait instead of being killed when its memory is used up
    #[arg(long, help_heading = "Limits")]
    pub(crate) oom_kill_disable: bool,
    /// Weight on one block device: /dev/sda:300
    #[arg(long, value_name = "DEVICE:WEIGHT", help_heading = "Limits")]
    pub(crate) blkio_weight_device: Vec<String>,
    /// Bytes read from a device in a second: /dev/sda:1m
    #[arg(long, value_name = "DEVICE:BYTES", help_heading = "Limits")]
    pub(crate) device_read_bps: Vec<String>,
    /// Reads from a device in a second
    #[arg(long, value_name = "DEVICE:NUMBER", help_heading = "Limits")]
    pub(crate) device_read_iops: Vec<String>,
    /// Bytes written to a device in a second
    #[arg(long, value_name = "DEVICE:BYTES", help_heading = "Limits")]
    pub(crate) device_write_bps: Vec<String>,
    /// Writes to a device in a second
    #[arg(long, value_name = "DEVICE:NUMBER", help_heading = "Limits")]
    pub(crate) device_write_iops: Vec<String>,
    /// A limit of a process: nofile=1024:2048
    #[arg(long, value_name = "LIMIT", help_heading = "Limits")]
    pub(crate) ulimit: Vec<String>,
    /// How soon the kernel kills it when memory is out, -1000 to 1000
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    pub(crate) oom_score_adj: Option<i32>,
    /// Below which cgroup it runs
    #[arg(long, value_name = "PATH", help_heading = "Limits")]
    pub(crate) cgroup_parent: Option<String>,

    /// A further capability, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Privileges")]
    pub(crate) cap_add: Vec<String>,
    /// A capability less, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Privileges")]
    pub(crate) cap_drop: Vec<String>,
    /// All capabilities and devices, nothing masked
    #[arg(long, help_heading = "Privileges")]
    pub(crate) privileged: bool,
    /// no-new-privileges, seccomp=unconfined or seccomp=FILE with a profile of one's own
    #[arg(long, value_name = "OPTION", help_heading = "Privileges")]
    pub(crate) security_opt: Vec<String>,
    /// A device of this machine: SOURCE[:TARGET][:rwm]
    #[arg(long, value_name = "DEVICE", help_heading = "Privileges")]
    pub(crate) device: Vec<String>,
    /// Device numbers it may use, beside those of its devices: 'c 188:* rwm'
    #[arg(long, value_name = "RULE", help_heading = "Privileges")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Its programs may speak to this engine, at /var/run/docker.sock: all power over the machine
    #[arg(long, help_heading = "Privileges")]
    pub(crate) use_api_socket: bool,
    /// A namespaced kernel parameter
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Privileges")]
    pub(crate) sysctl: Vec<String>,
    /// Whose IPC it uses: private, host or container:NAME
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) ipc: Option<String>,
    /// Whose processes it sees: private, host or container:NAME
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) pid: Option<String>,
    /// Whose host name it has: private or host
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) uts: Option<String>,
    /// Whether its own cgroup is its root: private or host
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub(crate) cgroupns: Option<String>,

    /// Command that says whether it works
    #[arg(long, value_name = "COMMAND", help_heading = "Health")]
    pub(crate) health_cmd: Option<String>,
    /// Time between two checks
    #[arg(long, value_name = "DURATION", help_heading = "Health")]
    pub(crate) health_interval: Option<String>,
    /// Time after which a check has failed
    #[arg(long, value_name = "DURATION", help_heading = "Health")]
    pub(crate) health_timeout: Option<String>,
    /// Failures in a row that make it unhealthy
    #[arg(long, value_name = "NUMBER", help_heading = "Health")]
    pub(crate) health_retries: Option<u32>,
    /// Time after the start in which failures do not count
    #[arg(long, value_name = "DURATION", help_heading = "Health")]
    pub(crate) health_start_period: Option<String>,
    /// Time between two checks in that period
    #[arg(long, value_name = "DURATION", help_heading = "Health")]
    pub(crate) health_start_interval: Option<String>,
    /// No checks, even if the image has one
    #[arg(long, help_heading = "Health")]
    pub(crate) no_healthcheck: bool,

    // What Docker's flags ask for and is always so here; `spec.rs` refuses anything else.
    #[arg(long, hide = true)]
    pub(crate) runtime: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) isolation: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) userns: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) volume_driver: Option<String>,
    #[command(flatten)]
    pub(crate) trust: TrustFlag,

    /// Image, command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    pub(crate) image_and_command: Vec<String>,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Pull {
    /// Each time
    Always,
    /// When it is not here
    #[default]
    Missing,
    /// Not at all
    Never,
}
