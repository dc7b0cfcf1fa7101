//! How much of a machine a container may use. In Docker's JSON 0 is no limit.

use orc_base::{Error, Result};
use orc_host::container::Resources;

use crate::wire::host_config::HostConfig;

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
