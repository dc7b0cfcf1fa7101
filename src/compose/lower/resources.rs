//! How much of the machine a container may use: `mem_limit`, `cpus`, `blkio_config`, `deploy.resources`
//! and their kin.
//!
//! What a service says itself goes before what `deploy` says; the two cannot differ (`validate.rs`).

use orc_host::block_io::{BlockIo, DeviceRate, DeviceWeight};
use orc_host::container::Resources;

use crate::model::service::{self as model, Service};

/// The limits of one container of the service.
pub(crate) fn resources(service: &Service) -> Resources {
    let deploy = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.resources.as_ref());
    let limits = deploy
        .and_then(|resources| resources.limits.clone())
        .unwrap_or_default();
    let reservations = deploy
        .and_then(|resources| resources.reservations.clone())
        .unwrap_or_default();
    Resources {
        memory_bytes: service.mem_limit.or(limits.memory).and_then(positive),
        memory_swap_bytes: service.memswap_limit.filter(|bytes| *bytes != 0),
        memory_reservation_bytes: service
            .mem_reservation
            .or(reservations.memory)
            .and_then(positive),
        nano_cpus: service
            .cpus
            .or(limits.cpus)
            .filter(|cpus| *cpus > 0.0)
            .map(|cpus| (cpus * 1e9).round() as u64),
        cpu_shares: service.cpu_shares.and_then(positive),
        cpu_quota_us: service.cpu_quota.filter(|quota| *quota != 0),
        cpu_period_us: service.cpu_period.and_then(positive),
        cpuset_cpus: service.cpuset.clone().filter(|set| !set.is_empty()),
        cpuset_mems: None,
        pids: service.pids_limit.or(limits.pids).filter(|pids| *pids != 0),
        memory_swappiness: service
            .mem_swappiness
            .and_then(|swappiness| u64::try_from(swappiness).ok()),
        oom_kill_disable: service.oom_kill_disable.filter(|disabled| *disabled),
        cpu_realtime_runtime_us: service.cpu_rt_runtime.filter(|runtime| *runtime != 0),
        cpu_realtime_period_us: service.cpu_rt_period.and_then(positive),
        block_io: service
            .blkio_config
            .as_ref()
            .map(block_io)
            .unwrap_or_default(),
    }
}

fn block_io(config: &model::BlockIo) -> BlockIo {
    BlockIo {
        weight: config.weight.filter(|weight| *weight > 0),
        device_weights: config
            .weight_device
            .iter()
            .map(|one| DeviceWeight {
                path: one.path.clone(),
                weight: one.weight,
            })
            .collect(),
        read_bytes: rates(&config.device_read_bps),
        write_bytes: rates(&config.device_write_bps),
        read_operations: rates(&config.device_read_iops),
        write_operations: rates(&config.device_write_iops),
    }
}

fn rates(rates: &[model::DeviceRate]) -> Vec<DeviceRate> {
    let rate = |one: &model::DeviceRate| DeviceRate {
        path: one.path.clone(),
        rate: one.rate.and_then(positive).unwrap_or(0),
    };
    rates.iter().map(rate).collect()
}

/// A number above zero; Docker takes 0 for what is not asked.
pub(crate) fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}
