//! What a group uses, in one shape for both versions.

use orc_base::{Kind, Result};
use serde::{Deserialize, Serialize};

use crate::cgroup::layout::{Layout, Tree};

/// A moment's use. What the machine does not count is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time since the start.
    pub cpu_ns: Option<u64>,
    /// Of that, in programs.
    pub cpu_user_ns: Option<u64>,
    /// Of that, in the kernel.
    pub cpu_system_ns: Option<u64>,
    /// Memory, page cache included.
    pub memory_bytes: Option<u64>,
    /// Of that, page cache that is not in use and can be dropped.
    pub memory_inactive_file_bytes: Option<u64>,
    /// The limit, none when unlimited.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Their limit, none when unlimited.
    pub pids_max: Option<u64>,
    /// Read from devices since the start.
    pub read_bytes: Option<u64>,
    /// Written to devices since the start.
    pub written_bytes: Option<u64>,
}

/// Above this the first version's memory limit means none: it is the largest page-aligned number.
const NO_LIMIT: u64 = 1 << 62;

pub(crate) fn read(layout: &Layout, read: impl Fn(&Tree, &str) -> Result<String>) -> Result<Stats> {
    let file = |controller: &str, v1: &str, v2: &str| -> Result<Option<String>> {
        let Some(tree) = layout.tree_of(controller) else {
            return Ok(None);
        };
        match read(tree, if tree.is_unified() { v2 } else { v1 }) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            other => other.map(Some),
        }
    };
    let number = |text: Option<String>| text.and_then(|text| text.trim().parse::<u64>().ok());
    let memory_stat = file("memory", "memory.stat", "memory.stat")?.unwrap_or_default();
    let mut stats = Stats {
        memory_bytes: number(file("memory", "memory.usage_in_bytes", "memory.current")?),
        memory_inactive_file_bytes: field(&memory_stat, "total_inactive_file")
            .or_else(|| field(&memory_stat, "inactive_file")),
        memory_limit_bytes: number(file("memory", "memory.limit_in_bytes", "memory.max")?)
            .filter(|limit| *limit < NO_LIMIT),
        pids: number(file("pids", "pids.current", "pids.current")?),
        pids_max: number(file("pids", "pids.max", "pids.max")?),
        ..Stats::default()
    };
    if layout.v1_tree_of("cpuacct").is_some() {
        let part = |name: &str| file("cpuacct", name, name).map(number);
        stats.cpu_ns = part("cpuacct.usage")?;
        stats.cpu_user_ns = part("cpuacct.usage_user")?;
        stats.cpu_system_ns = part("cpuacct.usage_sys")?;
    } else if let Some(tree) = layout.unified() {
        let text = read(tree, "cpu.stat")?;
        let part = |name: &str| field(&text, name).map(|micros| micros.saturating_mul(1000));
        stats.cpu_ns = part("usage_usec");
        stats.cpu_user_ns = part("user_usec");
        stats.cpu_system_ns = part("system_usec");
    }
    if let Some(text) = file(
        "blkio",
        "blkio.throttle.io_service_bytes_recursive",
        "io.stat",
    )? {
        stats.read_bytes = Some(operations(&text, "Read"));
        stats.written_bytes = Some(operations(&text, "Write"));
    } else if let Some(text) = file("io", "io.stat", "io.stat")? {
        stats.read_bytes = Some(transfers(&text, "rbytes="));
        stats.written_bytes = Some(transfers(&text, "wbytes="));
    }
    Ok(stats)
}

/// The sum over devices of the first version's lines of `8:0 Read 4096`.
fn operations(text: &str, operation: &str) -> u64 {
    let number = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == operation).then(|| words.next()?.parse::<u64>().ok())?
    };
    text.lines().filter_map(number).fold(0, u64::saturating_add)
}

/// The sum over devices of the second version's lines of `8:0 rbytes=4096 wbytes=0 …`.
fn transfers(text: &str, key: &str) -> u64 {
    let words = text.split_whitespace();
    let numbers = words.filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
    numbers.fold(0, u64::saturating_add)
}

/// The number after `name` in lines of `name number`.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use orc_base::Error;

    use super::*;

    fn of(layout: &Layout, files: &[(&str, &str)]) -> Stats {
        read(layout, |_, name| {
            let found = files.iter().find(|(file, _)| *file == name);
            found
                .map(|(_, text)| text.to_string())
                .ok_or_else(|| Error::not_found(name))
        })
        .unwrap()
    }

    #[test]
    fn both_versions_in_one_shape() {
        let v2 = of(
            &Layout::of(&[], Some(&["cpu", "io", "memory", "pids"])),
            &[
                (
                    "io.stat",
                    "8:0 rbytes=4096 wbytes=10 rios=1 wios=1\n8:16 rbytes=1 wbytes=2\n",
                ),
                ("cpu.stat", "usage_usec 30\nuser_usec 10\nsystem_usec 20\n"),
                ("memory.current", "4096\n"),
                ("memory.max", "max\n"),
                ("memory.stat", "anon 1\ninactive_file 1024\n"),
                ("pids.current", "2\n"),
                ("pids.max", "max\n"),
            ],
        );
        let v1 = of(
            &Layout::of(&["blkio", "cpuacct", "memory", "pids"], None),
            &[
                (
                    "blkio.throttle.io_service_bytes_recursive",
                    "8:0 Read 4096\n8:0 Write 10\n8:0 Total 4106\n8:16 Read 1\n8:16 Write 2\nTotal 4109\n",
                ),
                ("cpuacct.usage", "30000\n"),
                ("cpuacct.usage_user", "10000\n"),
                ("cpuacct.usage_sys", "20000\n"),
                ("memory.usage_in_bytes", "4096\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.stat", "inactive_file 5\ntotal_inactive_file 1024\n"),
                ("pids.current", "2\n"),
                ("pids.max", "max\n"),
            ],
        );
        assert_eq!(v1, v2);
        assert_eq!(
            (v1.cpu_ns, v1.memory_bytes, v1.pids, v1.pids_max),
            (Some(30_000), Some(4096), Some(2), None)
        );
        assert_eq!((v1.read_bytes, v1.written_bytes), (Some(4097), Some(12)));
    }
}
