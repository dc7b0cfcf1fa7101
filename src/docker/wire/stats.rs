//! `GET /containers/{}/stats`, whose members are written in small letters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

// Members that only Windows or the first version's retired counters have are left out.
macro_rules! small {
    ($name:ident { $($(#[$meta:meta])* $member:ident: $type:ty,)* }) => {
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $($(#[$meta])* pub(crate) $member: $type,)*
        }
    };
}

small! {
    Stats {
        name: String,
        id: String,
        read: String,
        preread: String,
        pids_stats: Pids,
        blkio_stats: BlockIo,
        num_procs: u32,
        cpu_stats: Cpu,
        precpu_stats: Cpu,
        memory_stats: Memory,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        networks: BTreeMap<String, Network>,
    }
}

small! {
    Pids {
        #[serde(skip_serializing_if = "Option::is_none")]
        current: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    }
}

small! {
    BlockIo {
        io_service_bytes_recursive: Option<Vec<BlockUse>>,
    }
}

small! {
    BlockUse {
        major: u64,
        minor: u64,
        op: String,
        value: u64,
    }
}

small! {
    Cpu {
        cpu_usage: CpuUse,
        #[serde(skip_serializing_if = "Option::is_none")]
        system_cpu_usage: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        online_cpus: Option<u32>,
    }
}

small! {
    CpuUse {
        total_usage: u64,
        usage_in_kernelmode: u64,
        usage_in_usermode: u64,
    }
}

small! {
    Memory {
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<u64>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        stats: BTreeMap<String, u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    }
}

small! {
    Network {
        rx_bytes: u64,
        rx_packets: u64,
        rx_errors: u64,
        rx_dropped: u64,
        tx_bytes: u64,
        tx_packets: u64,
        tx_errors: u64,
        tx_dropped: u64,
    }
}
