//! How much of the machine a container may use: the flags that `run`, `create` and `update` share.

use clap::Args;
use orc_base::{Error, Result};
use orc_host::block_io::BlockIo;
use orc_host::container::Resources;

use crate::cli::parse::limits;

/// Limits that can be set for a new container and changed later.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct LimitFlags {
    /// Memory
    #[arg(short, long, value_name = "BYTES", help_heading = "Limits")]
    memory: Option<String>,
    /// Memory and swap together; -1 is no limit
    #[arg(
        long,
        value_name = "BYTES",
        allow_hyphen_values = true,
        help_heading = "Limits"
    )]
    memory_swap: Option<String>,
    /// What it is left with when memory is short
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    memory_reservation: Option<String>,
    /// Processors, such as 1.5
    #[arg(long, value_name = "NUMBER", help_heading = "Limits")]
    cpus: Option<String>,
    /// Weight against others, 1024 by default
    #[arg(short, long, value_name = "WEIGHT", help_heading = "Limits")]
    cpu_shares: Option<u64>,
    /// Microseconds of processor time in a period
    #[arg(
        long,
        value_name = "US",
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    cpu_quota: Option<i64>,
    /// The period in microseconds
    #[arg(long, value_name = "US", help_heading = "Limits")]
    cpu_period: Option<u64>,
    /// Microseconds that its real-time processes may run in a period
    #[arg(
        long,
        value_name = "US",
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    cpu_rt_runtime: Option<i64>,
    /// That period in microseconds
    #[arg(long, value_name = "US", help_heading = "Limits")]
    cpu_rt_period: Option<u64>,
    /// Which processors: 0-2,4
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    cpuset_cpus: Option<String>,
    /// Which memory nodes
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    cpuset_mems: Option<String>,
    /// Processes and threads; -1 is no limit
    #[arg(
        long,
        value_name = "NUMBER",
        allow_negative_numbers = true,
        help_heading = "Limits"
    )]
    pids_limit: Option<i64>,
    /// Weight against others on block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT", help_heading = "Limits")]
    blkio_weight: Option<u16>,
}

impl LimitFlags {
    /// What the flags mean. 0 is Docker's word for no limit of one's own.
    pub(crate) fn resources(&self) -> Result<Resources> {
        if self.cpus.is_some() && (self.cpu_quota.is_some() || self.cpu_period.is_some()) {
            return Err(Error::invalid(
                "`--cpus` and `--cpu-quota` or `--cpu-period` exclude each other",
            ));
        }
        Ok(Resources {
            memory_bytes: limits::size("memory", self.memory.as_deref())?,
            memory_swap_bytes: self.memory_swap.as_deref().map(limits::swap).transpose()?,
            memory_reservation_bytes: limits::size(
                "memory-reservation",
                self.memory_reservation.as_deref(),
            )?,
            nano_cpus: self.cpus.as_deref().map(limits::cpus).transpose()?,
            cpu_shares: self.cpu_shares,
            cpu_quota_us: self.cpu_quota,
            cpu_period_us: self.cpu_period,
            cpu_realtime_runtime_us: self.cpu_rt_runtime,
            cpu_realtime_period_us: self.cpu_rt_period,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids_limit,
            block_io: BlockIo {
                weight: self.blkio_weight.filter(|weight| *weight > 0),
                ..BlockIo::default()
            },
            ..Resources::default()
        })
    }
}
