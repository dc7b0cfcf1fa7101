//! A moment's use in Docker's words, and back.

use orc_base::{Error, Result};
use orc_host::container::Container;
use orc_host::stats::{NetworkUse, Stats};

use crate::convert::time;
use crate::wire::stats as wire;

/// The name of the one number below `memory_stats.stats`: Docker's clients subtract it.
const INACTIVE_FILE: &str = "inactive_file";

/// What is told of a container: `now` is none when it does not run, `before` when nobody looked
/// earlier.
pub(crate) fn to_wire(
    container: &Container,
    now: Option<&Stats>,
    before: Option<&Stats>,
) -> wire::Stats {
    let none = wire::Stats {
        name: format!("/{}", container.name),
        id: container.id.clone(),
        read: time::NEVER.into(),
        preread: time::or_never(before.map(|before| before.read)),
        ..wire::Stats::default()
    };
    let Some(now) = now else {
        return none;
    };
    let part = |op: &str, value: Option<u64>| {
        value.map(|value| wire::BlockUse {
            op: op.into(),
            value,
            ..wire::BlockUse::default()
        })
    };
    let blocks = [
        part("read", now.read_bytes),
        part("write", now.written_bytes),
    ];
    let blocks: Vec<_> = blocks.into_iter().flatten().collect();
    let inactive = now.memory_inactive_file_bytes;
    wire::Stats {
        read: time::stamp(now.read),
        pids_stats: wire::Pids {
            current: now.pids,
            limit: now.pids_max,
        },
        blkio_stats: wire::BlockIo {
            io_service_bytes_recursive: (!blocks.is_empty()).then_some(blocks),
        },
        cpu_stats: cpu(now),
        precpu_stats: before.map(cpu).unwrap_or_default(),
        memory_stats: wire::Memory {
            usage: now.memory_bytes,
            stats: inactive
                .map(|bytes| (INACTIVE_FILE.into(), bytes))
                .into_iter()
                .collect(),
            limit: Some(now.memory_limit_bytes),
        },
        networks: now
            .networks
            .iter()
            .map(|(name, used)| (name.clone(), network(used)))
            .collect(),
        ..none
    }
}

fn cpu(stats: &Stats) -> wire::Cpu {
    wire::Cpu {
        cpu_usage: wire::CpuUse {
            total_usage: stats.cpu_ns.unwrap_or(0),
            usage_in_kernelmode: stats.cpu_system_ns.unwrap_or(0),
            usage_in_usermode: stats.cpu_user_ns.unwrap_or(0),
        },
        system_cpu_usage: Some(stats.machine_cpu_ns),
        online_cpus: Some(stats.cpus),
    }
}

fn network(used: &NetworkUse) -> wire::Network {
    wire::Network {
        rx_bytes: used.received_bytes,
        rx_packets: used.received_packets,
        rx_errors: used.receive_errors,
        rx_dropped: used.receive_dropped,
        tx_bytes: used.sent_bytes,
        tx_packets: used.sent_packets,
        tx_errors: used.send_errors,
        tx_dropped: used.send_dropped,
    }
}

/// The other way. `Internal` when the container did not run: the server of orc's own client says that
/// as an error.
pub(crate) fn from_wire(stats: wire::Stats) -> Result<Stats> {
    let read = time::known(&stats.read)?
        .ok_or_else(|| Error::internal("the daemon did not say when it looked"))?;
    let cpu = &stats.cpu_stats;
    let blocks = stats.blkio_stats.io_service_bytes_recursive;
    let block = |op: &str| {
        let found = blocks.iter().flatten().filter(|used| used.op == op);
        let mut values = found.map(|used| used.value).peekable();
        values.peek()?;
        Some(values.sum())
    };
    let networks = stats.networks.iter().map(|(name, used)| {
        let used = NetworkUse {
            received_bytes: used.rx_bytes,
            received_packets: used.rx_packets,
            receive_errors: used.rx_errors,
            receive_dropped: used.rx_dropped,
            sent_bytes: used.tx_bytes,
            sent_packets: used.tx_packets,
            send_errors: used.tx_errors,
            send_dropped: used.tx_dropped,
        };
        (name.clone(), used)
    });
    Ok(Stats {
        read,
        cpu_ns: Some(cpu.cpu_usage.total_usage),
        cpu_user_ns: Some(cpu.cpu_usage.usage_in_usermode),
        cpu_system_ns: Some(cpu.cpu_usage.usage_in_kernelmode),
        machine_cpu_ns: cpu.system_cpu_usage.unwrap_or(0),
        cpus: cpu.online_cpus.unwrap_or(1),
        memory_bytes: stats.memory_stats.usage,
        memory_inactive_file_bytes: stats.memory_stats.stats.get(INACTIVE_FILE).copied(),
        memory_limit_bytes: stats.memory_stats.limit.unwrap_or(0),
        pids: stats.pids_stats.current,
        pids_max: stats.pids_stats.limit,
        read_bytes: block("read"),
        written_bytes: block("write"),
        networks: networks.collect(),
    })
}
