//! `docker update`: limits and the restart policy, in a body that is a part of `HostConfig`.

use orc_base::{Error, Result};
use orc_host::container::Resources;
use orc_host::update::ContainerUpdate;

use crate::convert::unsupported::{self, Place};
use crate::convert::{create, resources};
use crate::wire::host_config::{HostConfig, RestartPolicy};

/// The body that asks for a change.
pub(crate) fn to_wire(update: &ContainerUpdate) -> HostConfig {
    let mut body = HostConfig {
        restart_policy: update
            .restart
            .map(create::restart_to_wire)
            .unwrap_or_default(),
        ..HostConfig::default()
    };
    resources::to_wire(&update.resources, &mut body);
    body
}

/// The inverse of [`to_wire`], and what of the body is not done.
pub(crate) fn from_wire(body: &HostConfig) -> Result<(ContainerUpdate, Vec<String>)> {
    let mut warnings = Vec::new();
    unsupported::check(Place::HostConfig, &body.other, &mut warnings)?;
    if !says_no_more(body) {
        return Err(Error::invalid(
            "only limits and `RestartPolicy` can be changed while a container exists: leave the rest out",
        ));
    }
    let policy = &body.restart_policy;
    let restart = match policy.name.is_empty() {
        true => None,
        false => Some(create::restart_from_wire(policy)?),
    };
    let update = ContainerUpdate {
        resources: resources::from_wire(body)?,
        restart,
    };
    Ok((update, warnings))
}

/// Whether the rest of `HostConfig` is as if it were not there.
fn says_no_more(body: &HostConfig) -> bool {
    let mut rest = body.clone();
    resources::to_wire(&Resources::default(), &mut rest);
    rest.restart_policy = RestartPolicy::default();
    rest.other.clear();
    rest == HostConfig::default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: serde_json::Value) -> Result<(ContainerUpdate, Vec<String>)> {
        from_wire(&serde_json::from_value(body).unwrap())
    }

    #[test]
    fn a_change_comes_back() {
        let update = ContainerUpdate {
            resources: Resources {
                memory_bytes: Some(1 << 26),
                pids: Some(-1),
                memory_swappiness: Some(0),
                ..Resources::default()
            },
            restart: Some(orc_host::container::RestartPolicy::No),
        };
        for update in [update, ContainerUpdate::default()] {
            let text = serde_json::to_string(&to_wire(&update)).unwrap();
            let back = from_wire(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(back, (update, vec![]), "{text}");
        }
    }

    #[test]
    fn what_dockers_command_line_sends_is_read() {
        // `docker update --memory 100m --cpus 0.5 --restart on-failure:3`, version 28.
        let (update, warnings) = read(json!({
            "CpuShares": 0, "Memory": 104_857_600, "NanoCpus": 500_000_000, "CgroupParent": "",
            "BlkioWeight": 0, "BlkioWeightDevice": null, "BlkioDeviceReadBps": null,
            "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0,
            "CpusetCpus": "", "CpusetMems": "", "Devices": null, "DeviceCgroupRules": null,
            "DeviceRequests": null, "MemoryReservation": 0, "MemorySwap": 0,
            "MemorySwappiness": null, "OomKillDisable": null, "PidsLimit": null, "Ulimits": null,
            "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}
        }))
        .unwrap();
        assert_eq!(warnings, [""; 0]);
        assert_eq!(update.resources.memory_bytes, Some(100 << 20));
        assert_eq!(update.resources.nano_cpus, Some(500_000_000));
        assert_eq!(update.resources.pids, None);
        let three = orc_host::container::RestartPolicy::OnFailure {
            max_retries: Some(3),
        };
        assert_eq!(update.restart, Some(three));
    }

    #[test]
    fn nothing_else_is_changed_in_silence() {
        let error = read(json!({"Memory": 1, "Privileged": true})).unwrap_err();
        assert!(error.to_string().contains("only limits"), "{error}");
        let (_, warnings) = read(json!({"CpuPercent": 5})).unwrap();
        assert!(warnings[0].contains("CpuPercent"), "{warnings:?}");
        assert!(read(json!({"RestartPolicy": {"Name": "often"}})).is_err());
    }
}
