//! What a container uses: its control group's counters, its interfaces', and the machine's processors.
//!
//! The files are read here; what is in them is understood by pure functions below.

use std::collections::BTreeMap;
use std::path::Path;

use orc_base::{Result, Time};
use orc_host::stats::{NetworkUse, Stats};
use orc_runtime::cgroup::Cgroup;

use crate::system;

/// The most bytes of one file in procfs.
const MAX_FILE: u64 = 1 << 20;
/// The most interfaces of one container that are told.
const MAX_INTERFACES: usize = 1000;
/// Nanoseconds of a tick of procfs's clocks, a hundredth of a second on all architectures that orc is
/// built for (time(7)).
const TICK_NS: u64 = 10_000_000;

/// Looks at the group of a container and at its network; `pid` is its first process when it has a
/// network of its own.
pub(crate) fn look(group: &Cgroup, pid: Option<i32>, now: Time) -> Result<Stats> {
    let used = group.stats()?;
    let (machine_cpu_ns, cpus) = processors(&read(Path::new("/proc/stat")));
    let interfaces = pid.map(|pid| read(&Path::new("/proc").join(format!("{pid}/net/dev"))));
    let machine = system::memory_bytes();
    Ok(Stats {
        read: now,
        cpu_ns: used.cpu_ns,
        cpu_user_ns: used.cpu_user_ns,
        cpu_system_ns: used.cpu_system_ns,
        machine_cpu_ns,
        cpus,
        memory_bytes: used.memory_bytes,
        memory_inactive_file_bytes: used.memory_inactive_file_bytes,
        memory_limit_bytes: used
            .memory_limit_bytes
            .map_or(machine, |limit| limit.min(machine)),
        pids: used.pids,
        pids_max: used.pids_max,
        read_bytes: used.read_bytes,
        written_bytes: used.written_bytes,
        networks: networks(&interfaces.unwrap_or_default()),
    })
}

fn read(path: &Path) -> String {
    orc_base::fs::read_limited(path, MAX_FILE)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// The time all processors have spent, and how many they are (proc_stat(5)). Guests' time is in the
/// users' already.
fn processors(stat: &str) -> (u64, u32) {
    let mut lines = stat.lines();
    let all = lines.next().and_then(|line| line.strip_prefix("cpu "));
    let ticks = all
        .into_iter()
        .flat_map(|line| line.split_whitespace().take(8));
    let ticks: u64 = ticks.filter_map(|word| word.parse::<u64>().ok()).sum();
    let each = lines.take_while(|line| line.starts_with("cpu")).count();
    (
        ticks.saturating_mul(TICK_NS),
        u32::try_from(each).unwrap_or(1).max(1),
    )
}

/// The interfaces but loopback (proc_pid_net(5)).
fn networks(dev: &str) -> BTreeMap<String, NetworkUse> {
    let row = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let numbers: Vec<u64> = counters
            .split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        let [rx, rxp, rxe, rxd, _, _, _, _, tx, txp, txe, txd, ..] = numbers[..] else {
            return None;
        };
        let used = NetworkUse {
            received_bytes: rx,
            received_packets: rxp,
            receive_errors: rxe,
            receive_dropped: rxd,
            sent_bytes: tx,
            sent_packets: txp,
            send_errors: txe,
            send_dropped: txd,
        };
        Some((name.trim().to_owned(), used))
    };
    dev.lines()
        .filter_map(row)
        .filter(|(name, _)| name != "lo")
        .take(MAX_INTERFACES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_counters() {
        let stat = "cpu  10 1 20 300 4 0 5 0 7 7\ncpu0 5 1 10 150 2 0 3 0 0 0\ncpu1 5 0 10 150 2 0 2 0 0 0\nintr 5\n";
        assert_eq!(processors(stat), (340 * TICK_NS, 2));
        assert_eq!(processors("torn"), (0, 1));
        let dev = "Inter-|   Receive                            |  Transmit\n face |bytes packets errs\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 100 2 3 4 0 0 0 0 200 5 6 7 0 0 0 0\n bad: 1 2\n";
        let found = networks(dev);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["eth0"]);
        let eth0 = found["eth0"];
        assert_eq!(
            (
                eth0.received_bytes,
                eth0.receive_dropped,
                eth0.sent_bytes,
                eth0.send_errors
            ),
            (100, 4, 200, 6)
        );
    }

    #[test]
    fn this_machine_has_processors() {
        let (first, cpus) = processors(&read(Path::new("/proc/stat")));
        assert!(first > 0 && cpus > 0);
    }
}
