//! Facts about the machine.

use serde_json::Value;

wire! {
    Version {
        platform: Platform,
        components: Vec<Component>,
        version: String,
        api_version: String,
        #[serde(rename = "MinAPIVersion")]
        min_api_version: String,
        git_commit: String,
        go_version: String,
        os: String,
        arch: String,
        kernel_version: String,
        build_time: String,
    }
}

wire! {
    Platform {
        name: String,
    }
}

wire! {
    Component {
        name: String,
        version: String,
        details: Value,
    }
}

wire! {
    /// What is computed; the constant rest is in `convert::info`.
    Info {
        name: String,
        server_version: String,
        kernel_version: String,
        operating_system: String,
        architecture: String,
        #[serde(rename = "NCPU")]
        ncpu: usize,
        mem_total: u64,
        cgroup_version: String,
        docker_root_dir: String,
        containers: usize,
        containers_running: usize,
        containers_paused: usize,
        containers_stopped: usize,
        images: usize,
        warnings: Vec<String>,
        system_time: String,
        ..other
    }
}
