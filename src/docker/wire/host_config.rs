//! `HostConfig`: what a container gets from its machine.

use std::collections::BTreeMap;

use crate::wire::json::{Ordered, is_zero};

wire! {
    /// Members that are not named here are in `convert::unsupported`.
    HostConfig {
        binds: Vec<String>,
        log_config: LogConfig,
        network_mode: String,
        port_bindings: Ordered<Vec<PortBinding>>,
        restart_policy: RestartPolicy,
        auto_remove: bool,
        cap_add: Vec<String>,
        cap_drop: Vec<String>,
        cgroupns_mode: String,
        dns: Vec<String>,
        dns_options: Vec<String>,
        dns_search: Vec<String>,
        extra_hosts: Vec<String>,
        group_add: Vec<String>,
        ipc_mode: String,
        links: Vec<String>,
        oom_score_adj: i32,
        pid_mode: String,
        privileged: bool,
        publish_all_ports: bool,
        readonly_rootfs: bool,
        security_opt: Vec<String>,
        #[serde(rename = "UTSMode")]
        uts_mode: String,
        shm_size: i64,
        cpu_shares: i64,
        memory: i64,
        nano_cpus: i64,
        cgroup_parent: String,
        cpu_period: i64,
        cpu_quota: i64,
        cpuset_cpus: String,
        cpuset_mems: String,
        devices: Vec<Device>,
        memory_reservation: i64,
        memory_swap: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        memory_swappiness: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        oom_kill_disable: Option<bool>,
        #[serde(skip_serializing_if = "is_zero")]
        cpu_realtime_period: i64,
        #[serde(skip_serializing_if = "is_zero")]
        cpu_realtime_runtime: i64,
        blkio_weight: u16,
        blkio_weight_device: Vec<WeightDevice>,
        blkio_device_read_bps: Vec<ThrottleDevice>,
        blkio_device_write_bps: Vec<ThrottleDevice>,
        #[serde(rename = "BlkioDeviceReadIOps")]
        blkio_device_read_iops: Vec<ThrottleDevice>,
        #[serde(rename = "BlkioDeviceWriteIOps")]
        blkio_device_write_iops: Vec<ThrottleDevice>,
        #[serde(skip_serializing_if = "is_zero")]
        device_cgroup_rules: Vec<String>,
        pids_limit: Option<i64>,
        ulimits: Vec<Ulimit>,
        #[serde(skip_serializing_if = "Option::is_none")]
        init: Option<bool>,
        #[serde(skip_serializing_if = "is_zero")]
        mounts: Vec<Mount>,
        volumes_from: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        tmpfs: Ordered<String>,
        #[serde(skip_serializing_if = "is_zero")]
        sysctls: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        annotations: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        orc_api_socket: bool,
        #[serde(skip_serializing_if = "is_zero")]
        orc_restart_pace: orc_host::container::RestartPace,
        ..other
    }
}

wire! {
    LogConfig {
        r#type: String,
        config: BTreeMap<String, String>,
    }
}

wire! {
    PortBinding {
        host_ip: String,
        host_port: String,
    }
}

wire! {
    RestartPolicy {
        name: String,
        maximum_retry_count: i64,
    }
}

wire! {
    Device {
        path_on_host: String,
        path_in_container: String,
        cgroup_permissions: String,
    }
}

wire! {
    WeightDevice {
        path: String,
        weight: u16,
    }
}

wire! {
    ThrottleDevice {
        path: String,
        rate: u64,
    }
}

wire! {
    Ulimit {
        name: String,
        hard: i64,
        soft: i64,
    }
}

wire! {
    Mount {
        r#type: String,
        source: String,
        target: String,
        #[serde(skip_serializing_if = "is_zero")]
        read_only: bool,
        #[serde(skip_serializing_if = "is_zero")]
        consistency: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        bind_options: Option<BindOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        volume_options: Option<VolumeOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tmpfs_options: Option<TmpfsOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        image_options: Option<ImageOptions>,
        ..other
    }
}

wire! {
    BindOptions {
        #[serde(skip_serializing_if = "is_zero")]
        propagation: String,
        #[serde(skip_serializing_if = "is_zero")]
        create_mountpoint: bool,
        #[serde(skip_serializing_if = "is_zero")]
        non_recursive: bool,
        #[serde(skip_serializing_if = "is_zero")]
        read_only_non_recursive: bool,
        #[serde(skip_serializing_if = "is_zero")]
        read_only_force_recursive: bool,
        ..other
    }
}

wire! {
    VolumeOptions {
        #[serde(skip_serializing_if = "is_zero")]
        no_copy: bool,
        #[serde(skip_serializing_if = "is_zero")]
        subpath: String,
        #[serde(skip_serializing_if = "is_zero")]
        labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        driver_config: Option<DriverConfig>,
        ..other
    }
}

wire! {
    DriverConfig {
        name: String,
        options: BTreeMap<String, String>,
    }
}

wire! {
    ImageOptions {
        #[serde(skip_serializing_if = "is_zero")]
        subpath: String,
        ..other
    }
}

wire! {
    TmpfsOptions {
        #[serde(skip_serializing_if = "is_zero")]
        size_bytes: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<u32>,
        /// `[["noexec"], ["uid", "1000"]]`.
        #[serde(skip_serializing_if = "is_zero")]
        options: Vec<Vec<String>>,
        ..other
    }
}
