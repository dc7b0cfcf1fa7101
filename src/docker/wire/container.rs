//! Containers: the body of a create, one inspected, a row of a list.

use std::collections::BTreeMap;

use orc_host::container::ContainerSpec;
use serde_json::Value;

use crate::wire::host_config::HostConfig;
use crate::wire::json::{Empty, Ordered, Words, is_zero};
use crate::wire::network::EndpointSettings;

wire! {
    /// The body of a create, and `Config` of an inspected container (without the last two).
    Config {
        hostname: String,
        domainname: String,
        user: String,
        attach_stdin: bool,
        attach_stdout: bool,
        attach_stderr: bool,
        #[serde(skip_serializing_if = "is_zero")]
        exposed_ports: Ordered<Empty>,
        tty: bool,
        open_stdin: bool,
        stdin_once: bool,
        env: Vec<String>,
        cmd: Words,
        #[serde(skip_serializing_if = "Option::is_none")]
        healthcheck: Option<Healthcheck>,
        image: String,
        volumes: Ordered<Empty>,
        working_dir: String,
        entrypoint: Words,
        #[serde(skip_serializing_if = "is_zero")]
        network_disabled: bool,
        #[serde(skip_serializing_if = "is_zero")]
        mac_address: String,
        on_build: Vec<String>,
        labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        stop_signal: String,
        /// Seconds; whole in what is answered, as Docker's clients read an integer.
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_timeout: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        host_config: Option<HostConfig>,
        #[serde(skip_serializing_if = "Option::is_none")]
        networking_config: Option<NetworkingConfig>,
        /// What orc's own client gives the container beside what Docker knows; never answered.
        #[serde(skip_serializing_if = "is_zero")]
        orc_files: Vec<GivenFile>,
        ..other
    }
}

wire! {
    /// A small file that is put into memory. `content` is Base64; absent, `source` is a path.
    GivenFile {
        target: String,
        #[serde(skip_serializing_if = "is_zero")]
        source: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        #[serde(rename = "UID")]
        uid: u32,
        #[serde(rename = "GID")]
        gid: u32,
        mode: u32,
    }
}

wire! {
    /// Durations in nanoseconds; 0 is the image's.
    Healthcheck {
        #[serde(skip_serializing_if = "is_zero")]
        test: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        interval: i64,
        #[serde(skip_serializing_if = "is_zero")]
        timeout: i64,
        #[serde(skip_serializing_if = "is_zero")]
        start_period: i64,
        #[serde(skip_serializing_if = "is_zero")]
        start_interval: i64,
        #[serde(skip_serializing_if = "is_zero")]
        retries: i64,
    }
}

wire! {
    NetworkingConfig {
        endpoints_config: Ordered<EndpointSettings>,
        ..other
    }
}

wire! {
    CreateReply {
        id: String,
        warnings: Vec<String>,
    }
}

wire! {
    Inspect {
        id: String,
        created: String,
        path: String,
        args: Vec<String>,
        state: State,
        image: String,
        resolv_conf_path: String,
        hostname_path: String,
        hosts_path: String,
        log_path: String,
        name: String,
        restart_count: u32,
        driver: String,
        platform: String,
        mount_label: String,
        process_label: String,
        app_armor_profile: String,
        #[serde(rename = "ExecIDs")]
        exec_ids: Option<Vec<String>>,
        host_config: HostConfig,
        graph_driver: GraphDriver,
        mounts: Vec<MountPoint>,
        config: Config,
        network_settings: NetworkSettings,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_rw: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_root_fs: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_spec: Option<Box<ContainerSpec>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_cgroup: Option<String>,
    }
}

wire! {
    State {
        status: String,
        running: bool,
        paused: bool,
        restarting: bool,
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        dead: bool,
        pid: i32,
        exit_code: i32,
        error: String,
        started_at: String,
        finished_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        health: Option<Health>,
    }
}

wire! {
    Health {
        status: String,
        failing_streak: u32,
        log: Vec<Probe>,
    }
}

wire! {
    Probe {
        start: String,
        end: String,
        exit_code: i32,
        output: String,
    }
}

wire! {
    GraphDriver {
        name: String,
        data: BTreeMap<String, String>,
    }
}

wire! {
    MountPoint {
        r#type: String,
        #[serde(skip_serializing_if = "is_zero")]
        name: String,
        source: String,
        destination: String,
        #[serde(skip_serializing_if = "is_zero")]
        driver: String,
        mode: String,
        #[serde(rename = "RW")]
        rw: bool,
        propagation: String,
    }
}

wire! {
    NetworkSettings {
        bridge: String,
        #[serde(rename = "SandboxID")]
        sandbox_id: String,
        sandbox_key: String,
        ports: Ordered<Option<Vec<crate::wire::host_config::PortBinding>>>,
        hairpin_mode: bool,
        #[serde(rename = "LinkLocalIPv6Address")]
        link_local_ipv6_address: String,
        #[serde(rename = "LinkLocalIPv6PrefixLen")]
        link_local_ipv6_prefix_len: u8,
        #[serde(rename = "SecondaryIPAddresses")]
        secondary_ip_addresses: Option<Vec<Value>>,
        #[serde(rename = "SecondaryIPv6Addresses")]
        secondary_ipv6_addresses: Option<Vec<Value>>,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: u8,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: u8,
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        mac_address: String,
        networks: Ordered<EndpointSettings>,
    }
}

wire! {
    /// A row of the list.
    Summary {
        id: String,
        names: Vec<String>,
        image: String,
        #[serde(rename = "ImageID")]
        image_id: String,
        command: String,
        created: i64,
        ports: Vec<SummaryPort>,
        labels: BTreeMap<String, String>,
        state: String,
        status: String,
        host_config: SummaryHostConfig,
        network_settings: SummaryNetworks,
        mounts: Vec<MountPoint>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_rw: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_root_fs: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_inspect: Option<Box<Inspect>>,
    }
}

wire! {
    SummaryPort {
        #[serde(rename = "IP", skip_serializing_if = "is_zero")]
        ip: String,
        private_port: u16,
        #[serde(skip_serializing_if = "is_zero")]
        public_port: u16,
        r#type: String,
    }
}

wire! {
    SummaryHostConfig {
        network_mode: String,
        #[serde(skip_serializing_if = "is_zero")]
        annotations: BTreeMap<String, String>,
    }
}

wire! {
    SummaryNetworks {
        networks: Ordered<EndpointSettings>,
    }
}

wire! {
    WaitReply {
        status_code: i32,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<WaitError>,
        #[serde(skip_serializing_if = "Option::is_none")]
        orc_exit: Option<orc_host::container::Exit>,
        #[serde(skip_serializing_if = "is_zero")]
        orc_kind: String,
    }
}

wire! {
    WaitError {
        message: String,
    }
}

wire! {
    Top {
        titles: Vec<String>,
        processes: Vec<Vec<String>>,
    }
}

wire! {
    Pruned {
        containers_deleted: Vec<String>,
        space_reclaimed: u64,
    }
}

wire! {
    /// The answer to an update.
    UpdateReply {
        warnings: Vec<String>,
    }
}
