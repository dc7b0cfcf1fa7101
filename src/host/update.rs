//! What of a container can be changed while it exists (`docker update`).
//!
//! A change names what is to be different; all else stays. Putting it over what there is is pure, and
//! the same for every implementer of [`crate::Host`].

use serde::{Deserialize, Serialize};

use crate::block_io::BlockIo;
use crate::container::{ContainerSpec, Resources, RestartPolicy};

/// A change; `None` and empty leave what is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerUpdate {
    /// Limits.
    pub resources: Resources,
    /// What happens after it ends.
    pub restart: Option<RestartPolicy>,
}

impl ContainerUpdate {
    /// The spec with the change in it.
    pub fn over(&self, spec: &ContainerSpec) -> ContainerSpec {
        ContainerSpec {
            resources: resources(&spec.resources, &self.resources),
            restart: self.restart.unwrap_or(spec.restart),
            ..spec.clone()
        }
    }
}

fn resources(is: &Resources, change: &Resources) -> Resources {
    let text =
        |change: &Option<String>, is: &Option<String>| change.as_ref().or(is.as_ref()).cloned();
    Resources {
        memory_bytes: change.memory_bytes.or(is.memory_bytes),
        memory_swap_bytes: change.memory_swap_bytes.or(is.memory_swap_bytes),
        memory_reservation_bytes: change
            .memory_reservation_bytes
            .or(is.memory_reservation_bytes),
        nano_cpus: change.nano_cpus.or(is.nano_cpus),
        cpu_shares: change.cpu_shares.or(is.cpu_shares),
        cpu_quota_us: change.cpu_quota_us.or(is.cpu_quota_us),
        cpu_period_us: change.cpu_period_us.or(is.cpu_period_us),
        cpuset_cpus: text(&change.cpuset_cpus, &is.cpuset_cpus),
        cpuset_mems: text(&change.cpuset_mems, &is.cpuset_mems),
        pids: change.pids.or(is.pids),
        memory_swappiness: change.memory_swappiness.or(is.memory_swappiness),
        oom_kill_disable: change.oom_kill_disable.or(is.oom_kill_disable),
        cpu_realtime_runtime_us: change
            .cpu_realtime_runtime_us
            .or(is.cpu_realtime_runtime_us),
        cpu_realtime_period_us: change.cpu_realtime_period_us.or(is.cpu_realtime_period_us),
        block_io: block_io(&is.block_io, &change.block_io),
    }
}

fn block_io(is: &BlockIo, change: &BlockIo) -> BlockIo {
    fn list<T: Clone>(change: &[T], is: &[T]) -> Vec<T> {
        if change.is_empty() { is } else { change }.to_vec()
    }
    BlockIo {
        weight: change.weight.or(is.weight),
        device_weights: list(&change.device_weights, &is.device_weights),
        read_bytes: list(&change.read_bytes, &is.read_bytes),
        write_bytes: list(&change.write_bytes, &is.write_bytes),
        read_operations: list(&change.read_operations, &is.read_operations),
        write_operations: list(&change.write_operations, &is.write_operations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_changes() {
        let spec = ContainerSpec {
            image: "x".into(),
            restart: RestartPolicy::Always,
            resources: Resources {
                memory_bytes: Some(1),
                pids: Some(2),
                ..Resources::default()
            },
            ..ContainerSpec::default()
        };
        assert_eq!(ContainerUpdate::default().over(&spec), spec);
        let change = ContainerUpdate {
            resources: Resources {
                pids: Some(3),
                cpuset_cpus: Some("0".into()),
                ..Resources::default()
            },
            restart: Some(RestartPolicy::No),
        };
        let changed = change.over(&spec);
        assert_eq!(changed.resources.memory_bytes, Some(1));
        assert_eq!(changed.resources.pids, Some(3));
        assert_eq!(changed.resources.cpuset_cpus.as_deref(), Some("0"));
        assert_eq!(changed.restart, RestartPolicy::No);
    }
}
