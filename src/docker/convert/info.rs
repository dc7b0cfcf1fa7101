//! Facts about the machine: Docker's JSON of them, and back.

use std::collections::BTreeMap;

use orc_base::{Result, Time};
use orc_host::system::Info;
use serde_json::{Value, json};

use crate::wire::system as wire;

/// The newest version of the API that is spoken.
pub(crate) const API_VERSION: (u32, u32) = (1, 51);
/// The oldest.
pub(crate) const MIN_API_VERSION: (u32, u32) = (1, 24);

/// `1.51`.
pub(crate) fn version_text((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

/// What `docker info` prints.
pub(crate) fn to_wire(info: &Info, now: Time) -> wire::Info {
    wire::Info {
        name: info.name.clone(),
        server_version: info.version.clone(),
        kernel_version: info.kernel.clone(),
        operating_system: info.operating_system.clone(),
        architecture: info.architecture.clone(),
        ncpu: info.cpus,
        mem_total: info.memory_bytes,
        cgroup_version: info.cgroup_version.to_string(),
        docker_root_dir: info.data_root.clone(),
        containers: info.running + info.paused + info.stopped,
        containers_running: info.running,
        containers_paused: info.paused,
        containers_stopped: info.stopped,
        images: info.images,
        warnings: info.warnings.clone(),
        system_time: now.to_string(),
        other: constants(),
    }
}

/// What is the same on every machine.
const CONSTANTS: &str = r#"{
    "ID": "orc",
    "Driver": "overlayfs",
    "DriverStatus": [],
    "Plugins": {"Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": null, "Log": ["json-file", "local", "none"]},
    "MemoryLimit": true,
    "SwapLimit": true,
    "CpuCfsPeriod": true,
    "CpuCfsQuota": true,
    "CPUShares": true,
    "CPUSet": true,
    "PidsLimit": true,
    "IPv4Forwarding": true,
    "BridgeNfIptables": false,
    "BridgeNfIp6tables": false,
    "Debug": false,
    "NFd": 0,
    "NGoroutines": 0,
    "OomKillDisable": false,
    "LoggingDriver": "json-file",
    "CgroupDriver": "cgroupfs",
    "NEventsListener": 0,
    "OSType": "linux",
    "OSVersion": "",
    "IndexServerAddress": "https://index.docker.io/v1/",
    "RegistryConfig": {"IndexConfigs": {}, "InsecureRegistryCIDRs": [], "Mirrors": []},
    "GenericResources": null,
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
    "Labels": [],
    "ExperimentalBuild": false,
    "Runtimes": {"orc": {"path": "orc"}},
    "DefaultRuntime": "orc",
    "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "", "RemoteManagers": null},
    "LiveRestoreEnabled": true,
    "Isolation": "",
    "InitBinary": "orc",
    "ContainerdCommit": {"ID": ""},
    "RuncCommit": {"ID": ""},
    "InitCommit": {"ID": ""},
    "SecurityOptions": ["name=seccomp,profile=builtin"]
}"#;

fn constants() -> BTreeMap<String, Value> {
    serde_json::from_str(CONSTANTS).expect("the constants are JSON, as a test has seen")
}

/// The inverse of [`to_wire`].
pub(crate) fn from_wire(info: wire::Info) -> Result<Info> {
    Ok(Info {
        name: info.name,
        version: info.server_version,
        kernel: info.kernel_version,
        operating_system: info.operating_system,
        architecture: info.architecture,
        cpus: info.ncpu,
        memory_bytes: info.mem_total,
        cgroup_version: info.cgroup_version.parse().unwrap_or(0),
        data_root: info.docker_root_dir,
        running: info.containers_running,
        paused: info.containers_paused,
        stopped: info.containers_stopped,
        images: info.images,
        warnings: info.warnings,
    })
}

/// What `docker version` prints of the server.
pub(crate) fn version(info: &Info) -> wire::Version {
    let api = version_text(API_VERSION);
    let min_api = version_text(MIN_API_VERSION);
    let arch = go_arch(&info.architecture);
    let details = json!({
        "ApiVersion": api,
        "MinAPIVersion": min_api,
        "Arch": arch,
        "Os": "linux",
        "KernelVersion": info.kernel,
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "BuildTime": "",
    });
    wire::Version {
        platform: wire::Platform { name: "orc".into() },
        components: vec![wire::Component {
            name: "Engine".into(),
            version: info.version.clone(),
            details,
        }],
        version: info.version.clone(),
        api_version: api,
        min_api_version: min_api,
        os: "linux".into(),
        arch: arch.into(),
        kernel_version: info.kernel.clone(),
        ..Default::default()
    }
}

/// Go's word for Docker's word for a processor.
fn go_arch(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" => "arm",
        "i686" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_comes_back() {
        let info = Info {
            name: "box".into(),
            version: "0.1.0".into(),
            kernel: "6.18.0".into(),
            operating_system: "Debian".into(),
            architecture: "x86_64".into(),
            cpus: 2,
            memory_bytes: 1 << 34,
            cgroup_version: 1,
            data_root: "/var/lib/orc".into(),
            running: 3,
            paused: 1,
            stopped: 2,
            images: 7,
            warnings: vec!["no AppArmor".into()],
        };
        let wire = to_wire(&info, Time::EPOCH);
        assert_eq!(wire.containers, 6);
        let text = serde_json::to_string(&wire).unwrap();
        assert_eq!(
            from_wire(serde_json::from_str(&text).unwrap()).unwrap(),
            info
        );
        assert_eq!(version(&info).arch, "amd64");
    }
}
