//! How much of a machine a container may use. In Docker's JSON 0 is no limit.

use orc_base::{Error, Result};
use orc_host::block_io::{BlockIo, DeviceRate, DeviceWeight};
use orc_host::container::Resources;

use crate::wire::host_config::{HostConfig, ThrottleDevice, WeightDevice};

/// Writes `resources` into `config`.
pub(crate) fn to_wire(resources: &Resources, config: &mut HostConfig) {
    config.memory = signed(resources.memory_bytes);
    config.memory_swap = resources.memory_swap_bytes.unwrap_or(0);
    config.memory_reservation = signed(resources.memory_reservation_bytes);
    config.nano_cpus = signed(resources.nano_cpus);
    config.cpu_shares = signed(resources.cpu_shares);
    config.cpu_quota = resources.cpu_quota_us.unwrap_or(0);
    config.cpu_period = signed(resources.cpu_period_us);
    config.cpuset_cpus = resources.cpuset_cpus.clone().unwrap_or_default();
    config.cpuset_mems = resources.cpuset_mems.clone().unwrap_or_default();
    config.pids_limit = resources.pids;
    config.memory_swappiness = resources
        .memory_swappiness
        .map(|value| i64::try_from(value).unwrap_or(i64::MAX));
    config.oom_kill_disable = resources.oom_kill_disable;
    config.cpu_realtime_period = signed(resources.cpu_realtime_period_us);
    config.cpu_realtime_runtime = resources.cpu_realtime_runtime_us.unwrap_or(0);
    let io = &resources.block_io;
    config.blkio_weight = io.weight.unwrap_or(0);
    config.blkio_weight_device = io
        .device_weights
        .iter()
        .map(|one| WeightDevice {
            path: one.path.clone(),
            weight: one.weight,
        })
        .collect();
    config.blkio_device_read_bps = rates_to_wire(&io.read_bytes);
    config.blkio_device_write_bps = rates_to_wire(&io.write_bytes);
    config.blkio_device_read_iops = rates_to_wire(&io.read_operations);
    config.blkio_device_write_iops = rates_to_wire(&io.write_operations);
}

fn rates_to_wire(rates: &[DeviceRate]) -> Vec<ThrottleDevice> {
    let one = |one: &DeviceRate| ThrottleDevice {
        path: one.path.clone(),
        rate: one.rate,
    };
    rates.iter().map(one).collect()
}

fn rates_from_wire(rates: &[ThrottleDevice]) -> Vec<DeviceRate> {
    let one = |one: &ThrottleDevice| DeviceRate {
        path: one.path.clone(),
        rate: one.rate,
    };
    rates.iter().map(one).collect()
}

/// The inverse of [`to_wire`].
pub(crate) fn from_wire(config: &HostConfig) -> Result<Resources> {
    Ok(Resources {
        memory_bytes: unsigned("Memory", config.memory)?,
        memory_swap_bytes: some(config.memory_swap),
        memory_reservation_bytes: unsigned("MemoryReservation", config.memory_reservation)?,
        nano_cpus: unsigned("NanoCpus", config.nano_cpus)?,
        cpu_shares: unsigned("CpuShares", config.cpu_shares)?,
        cpu_quota_us: some(config.cpu_quota),
        cpu_period_us: unsigned("CpuPeriod", config.cpu_period)?,
        cpuset_cpus: text(&config.cpuset_cpus),
        cpuset_mems: text(&config.cpuset_mems),
        pids: config.pids_limit.and_then(some),
        memory_swappiness: match config.memory_swappiness {
            // Docker's word for the machine's own.
            None | Some(-1) => None,
            Some(value) => Some(u64::try_from(value).map_err(|_| {
                Error::invalid(format!(
                    "`HostConfig.MemorySwappiness`: {value} is not between 0 and 100"
                ))
            })?),
        },
        oom_kill_disable: config.oom_kill_disable,
        cpu_realtime_runtime_us: some(config.cpu_realtime_runtime),
        cpu_realtime_period_us: unsigned("CpuRealtimePeriod", config.cpu_realtime_period)?,
        block_io: BlockIo {
            weight: (config.blkio_weight > 0).then_some(config.blkio_weight),
            device_weights: config
                .blkio_weight_device
                .iter()
                .map(|one| DeviceWeight {
                    path: one.path.clone(),
                    weight: one.weight,
                })
                .collect(),
            read_bytes: rates_from_wire(&config.blkio_device_read_bps),
            write_bytes: rates_from_wire(&config.blkio_device_write_bps),
            read_operations: rates_from_wire(&config.blkio_device_read_iops),
            write_operations: rates_from_wire(&config.blkio_device_write_iops),
        },
    })
}

/// A size that is never negative; 0 is none.
pub(crate) fn unsigned(member: &str, value: i64) -> Result<Option<u64>> {
    match u64::try_from(value) {
        Ok(value) => Ok((value > 0).then_some(value)),
        Err(_) => Err(Error::invalid(format!(
            "`HostConfig.{member}`: {value} is negative"
        ))),
    }
}

/// The inverse of [`unsigned`].
pub(crate) fn signed(value: Option<u64>) -> i64 {
    value.map_or(0, |value| i64::try_from(value).unwrap_or(i64::MAX))
}

fn some(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

/// Empty is none.
pub(crate) fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}
