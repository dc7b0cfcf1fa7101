//! What a container uses at one moment. Rates follow from two moments.

use std::collections::BTreeMap;

use orc_base::Time;

/// A moment's use. What the machine does not count is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// When somebody looked.
    pub read: Time,
    /// Processor time since the start.
    pub cpu_ns: Option<u64>,
    /// Of that, in programs.
    pub cpu_user_ns: Option<u64>,
    /// Of that, in the kernel.
    pub cpu_system_ns: Option<u64>,
    /// Processor time of the whole machine since it booted, idle time included.
    pub machine_cpu_ns: u64,
    /// Processors of the machine.
    pub cpus: u32,
    /// Memory, page cache included.
    pub memory_bytes: Option<u64>,
    /// Of that, page cache that is not in use and can be dropped.
    pub memory_inactive_file_bytes: Option<u64>,
    /// The limit; the machine's memory when there is none.
    pub memory_limit_bytes: u64,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Their limit, none when unlimited.
    pub pids_max: Option<u64>,
    /// Read from devices since the start.
    pub read_bytes: Option<u64>,
    /// Written to devices since the start.
    pub written_bytes: Option<u64>,
    /// By the name of the interface in the container; none with the machine's own network.
    pub networks: BTreeMap<String, NetworkUse>,
}

/// What went through one interface since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkUse {
    /// Received.
    pub received_bytes: u64,
    /// Received.
    pub received_packets: u64,
    /// Received and broken.
    pub receive_errors: u64,
    /// Received and thrown away.
    pub receive_dropped: u64,
    /// Sent.
    pub sent_bytes: u64,
    /// Sent.
    pub sent_packets: u64,
    /// Not sent for an error.
    pub send_errors: u64,
    /// Thrown away instead of sent.
    pub send_dropped: u64,
}

impl Stats {
    /// Memory in use, without page cache that can be dropped, as Docker's `stats` shows it.
    pub fn memory_used_bytes(&self) -> u64 {
        let inactive = self.memory_inactive_file_bytes.unwrap_or(0);
        let all = self.memory_bytes.unwrap_or(0);
        all.checked_sub(inactive).unwrap_or(all)
    }

    /// Processor time since `before` in hundredths of one processor: 200 is two whole ones.
    pub fn cpu_percent_since(&self, before: &Self) -> f64 {
        let used = self.cpu_ns.unwrap_or(0);
        let used = used.saturating_sub(before.cpu_ns.unwrap_or(0));
        match self.read.since(before.read).as_nanos() {
            0 => 0.0,
            elapsed => used as f64 / elapsed as f64 * 100.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(seconds: i64, cpu_ns: u64) -> Stats {
        Stats {
            read: Time::from_secs(seconds),
            cpu_ns: Some(cpu_ns),
            cpu_user_ns: None,
            cpu_system_ns: None,
            machine_cpu_ns: 0,
            cpus: 2,
            memory_bytes: Some(1000),
            memory_inactive_file_bytes: Some(300),
            memory_limit_bytes: 4000,
            pids: None,
            pids_max: None,
            read_bytes: None,
            written_bytes: None,
            networks: BTreeMap::new(),
        }
    }

    #[test]
    fn rates_need_two_moments() {
        let (first, second) = (stats(10, 1_000_000_000), stats(12, 4_000_000_000));
        assert_eq!(second.cpu_percent_since(&first), 150.0);
        assert_eq!(first.cpu_percent_since(&first), 0.0);
        // It was started again in between.
        assert_eq!(stats(13, 5).cpu_percent_since(&second), 0.0);
    }

    #[test]
    fn cache_that_can_go_is_not_used() {
        assert_eq!(stats(0, 0).memory_used_bytes(), 700);
        let odd = Stats {
            memory_inactive_file_bytes: Some(5000),
            ..stats(0, 0)
        };
        assert_eq!(odd.memory_used_bytes(), 1000);
    }
}
