//! Which limits are written to which file. Pure: same machine, same resources, same writes.

use std::fmt;

use orc_base::{Error, Result};

use crate::cgroup::layout::Layout;
use crate::spec::{BlockIo, OnDevice, Resources};

/// The period of the processor quota when none is given.
const PERIOD_US: u64 = 100_000;
/// The kernel's least quota.
const MIN_QUOTA_US: u64 = 1_000;
/// A group has no such time unless those above it have.
pub(crate) const REALTIME_RUNTIME: &str = "cpu.rt_runtime_us";

/// One line for one file of one controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) controller: &'static str,
    pub(crate) file: &'static str,
    pub(crate) value: String,
    /// Another file that says the same on a kernel without the first, and what is written there.
    pub(crate) or: Option<(&'static str, String)>,
    pub(crate) need: Need,
}

/// What follows when something cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// The start fails.
    Must,
    /// The start fails, unless this machine has no such file at all: then it is a warning.
    IfThere,
    /// It is a warning.
    Try,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.file, self.value)
    }
}

/// What has to be written, in order.
pub(crate) fn writes(layout: &Layout, resources: &Resources) -> Result<Vec<Write>> {
    let unified = |controller| {
        layout
            .tree_of(controller)
            .is_none_or(|tree| tree.is_unified())
    };
    let mut writes = Vec::new();
    memory(resources, unified("memory"), &mut writes)?;
    cpu(resources, unified("cpu"), &mut writes)?;
    for (file, value) in [
        ("cpuset.cpus", &resources.cpuset_cpus),
        ("cpuset.mems", &resources.cpuset_mems),
    ] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            writes.push(required("cpuset", file, list(value)?));
        }
    }
    if let Some(most) = resources.pids_max {
        let value = match most {
            1.. => most.to_string(),
            _ => "max".into(),
        };
        writes.push(Write {
            need: Need::Try,
            ..required("pids", "pids.max", value)
        });
    }
    match layout.v1_tree_of("blkio") {
        Some(_) => block_io_v1(&resources.block_io, &mut writes),
        None => block_io_v2(&resources.block_io, &mut writes),
    }
    Ok(writes)
}

fn memory(resources: &Resources, unified: bool, writes: &mut Vec<Write>) -> Result<()> {
    let limit = resources.memory_bytes.filter(|bytes| *bytes > 0);
    let swap = resources.memory_swap_bytes.filter(|bytes| *bytes != 0);
    if let Some(both) = swap.and_then(|bytes| u64::try_from(bytes).ok())
        && limit.is_none_or(|limit| both < limit)
    {
        return Err(Error::invalid(format!(
            "a limit of {both} bytes for memory and swap together needs a memory limit that is not larger"
        )));
    }
    let names = match unified {
        true => ["memory.max", "memory.low"],
        false => ["memory.limit_in_bytes", "memory.soft_limit_in_bytes"],
    };
    if let Some(limit) = limit {
        writes.push(required("memory", names[0], limit.to_string()));
    }
    if let Some(reservation) = resources
        .memory_reservation_bytes
        .filter(|bytes| *bytes > 0)
    {
        writes.push(required("memory", names[1], reservation.to_string()));
    }
    if let Some(swap) = swap {
        let (file, value) = match (unified, u64::try_from(swap)) {
            (true, Ok(both)) => ("memory.swap.max", (both - limit.unwrap_or(0)).to_string()),
            (true, Err(_)) => ("memory.swap.max", "max".into()),
            (false, Ok(both)) => ("memory.memsw.limit_in_bytes", both.to_string()),
            (false, Err(_)) => ("memory.memsw.limit_in_bytes", "-1".into()),
        };
        // A kernel may be built or booted without swap accounting.
        writes.push(Write {
            need: Need::Try,
            ..required("memory", file, value)
        });
    }
    // The second version has neither.
    if let Some(swappiness) = resources.memory_swappiness {
        let value = swappiness.to_string();
        writes.push(if_there("memory", "memory.swappiness", value));
    }
    if resources.oom_kill_disable {
        writes.push(if_there("memory", "memory.oom_control", "1".into()));
    }
    Ok(())
}

fn cpu(resources: &Resources, unified: bool, writes: &mut Vec<Write>) -> Result<()> {
    if let Some((quota, period)) = quota(resources)? {
        if unified {
            let quota = quota.map_or("max".into(), |quota| quota.to_string());
            writes.push(required("cpu", "cpu.max", format!("{quota} {period}")));
        } else {
            let quota = quota.map_or("-1".into(), |quota| quota.to_string());
            writes.push(required("cpu", "cpu.cfs_period_us", period.to_string()));
            writes.push(required("cpu", "cpu.cfs_quota_us", quota));
        }
    }
    if let Some(shares) = resources.cpu_shares.filter(|shares| *shares > 0) {
        let shares = shares.clamp(2, 262_144);
        writes.push(match unified {
            // 2..=262144 onto 1..=10000, as the runtimes of the OCI do it.
            true => required(
                "cpu",
                "cpu.weight",
                (1 + (shares - 2) * 9_999 / 262_142).to_string(),
            ),
            false => required("cpu", "cpu.shares", shares.to_string()),
        });
    }
    // The second version has neither.
    if let Some(period) = resources
        .cpu_realtime_period_us
        .filter(|period| *period > 0)
    {
        writes.push(if_there("cpu", "cpu.rt_period_us", period.to_string()));
    }
    if let Some(runtime) = resources
        .cpu_realtime_runtime_us
        .filter(|runtime| *runtime != 0)
    {
        writes.push(if_there("cpu", REALTIME_RUNTIME, runtime.to_string()));
    }
    Ok(())
}

/// Weights have one file for each scheduler that knows them; limits are the block layer's own.
fn block_io_v1(wanted: &BlockIo, writes: &mut Vec<Write>) {
    let mut push = |file, value: String, or: Option<&'static str>| {
        writes.push(Write {
            or: or.map(|file| (file, value.clone())),
            ..if_there("blkio", file, value)
        });
    };
    if let Some(weight) = wanted.weight {
        push("blkio.weight", weight.to_string(), Some("blkio.bfq.weight"));
    }
    let on = |one: &OnDevice| format!("{}:{} {}", one.major, one.minor, one.value);
    for one in &wanted.device_weights {
        let or = Some("blkio.bfq.weight_device");
        push("blkio.weight_device", on(one), or);
    }
    for (file, rates) in [
        ("blkio.throttle.read_bps_device", &wanted.read_bytes),
        ("blkio.throttle.write_bps_device", &wanted.write_bytes),
        ("blkio.throttle.read_iops_device", &wanted.read_operations),
        ("blkio.throttle.write_iops_device", &wanted.write_operations),
    ] {
        for one in rates {
            push(file, on(one), None);
        }
    }
}

fn block_io_v2(wanted: &BlockIo, writes: &mut Vec<Write>) {
    // 10..=1000 onto 1..=10000, as the runtimes of the OCI do it.
    let spread = |weight: u64| 1 + weight.saturating_sub(10) * 9_999 / 990;
    let mut weigh = |device: String, weight: u64| {
        let or = format!("{device} {}", spread(weight));
        writes.push(Write {
            or: Some(("io.weight", or)),
            ..if_there("io", "io.bfq.weight", format!("{device} {weight}"))
        });
    };
    if let Some(weight) = wanted.weight {
        weigh("default".into(), weight.into());
    }
    for one in &wanted.device_weights {
        weigh(format!("{}:{}", one.major, one.minor), one.value);
    }
    for (key, rates) in [
        ("rbps", &wanted.read_bytes),
        ("wbps", &wanted.write_bytes),
        ("riops", &wanted.read_operations),
        ("wiops", &wanted.write_operations),
    ] {
        for one in rates {
            let value = format!("{}:{} {key}={}", one.major, one.minor, one.value);
            writes.push(if_there("io", "io.max", value));
        }
    }
}

/// Quota, none when unlimited, and period; none when nothing was asked.
fn quota(resources: &Resources) -> Result<Option<(Option<u64>, u64)>> {
    if let Some(nanos) = resources.nano_cpus.filter(|nanos| *nanos > 0) {
        let quota = u128::from(nanos) * u128::from(PERIOD_US) / 1_000_000_000;
        let quota = u64::try_from(quota).unwrap_or(u64::MAX);
        if quota < MIN_QUOTA_US {
            return Err(Error::invalid(format!(
                "{} of a processor is too little: the least is 0.01",
                nanos as f64 / 1e9
            )));
        }
        return Ok(Some((Some(quota), PERIOD_US)));
    }
    let quota = resources.cpu_quota_us.filter(|quota| *quota != 0);
    let period = resources.cpu_period_us.filter(|period| *period > 0);
    if quota.is_none() && period.is_none() {
        return Ok(None);
    }
    let quota = quota.and_then(|quota| u64::try_from(quota).ok());
    if quota.is_some_and(|quota| quota < MIN_QUOTA_US) {
        return Err(Error::invalid(format!(
            "a processor quota must be at least {MIN_QUOTA_US} microseconds"
        )));
    }
    Ok(Some((quota, period.unwrap_or(PERIOD_US))))
}

/// A list such as `0-2,4`, checked so that nothing else reaches the kernel.
fn list(text: &str) -> Result<String> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'-'));
    if !plain || text.len() > 1024 {
        return Err(Error::invalid(format!(
            "`{}` is not a list of processors or memory nodes such as 0-2,4",
            text.escape_default()
        )));
    }
    Ok(text.into())
}

fn required(controller: &'static str, file: &'static str, value: String) -> Write {
    Write {
        controller,
        file,
        value,
        or: None,
        need: Need::Must,
    }
}

fn if_there(controller: &'static str, file: &'static str, value: String) -> Write {
    Write {
        need: Need::IfThere,
        ..required(controller, file, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[&str] = &[
        "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids", "blkio",
    ];
    const V2: &[&str] = &["cpuset", "cpu", "io", "memory", "pids"];

    fn check(resources: &Resources, v1: &str, v2: &str) {
        let shown = |layout: &Layout| match writes(layout, resources) {
            Ok(writes) => writes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" | "),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(shown(&Layout::of(V1, Some(&["hugetlb"]))), v1);
        assert_eq!(shown(&Layout::of(&[], Some(V2))), v2);
    }

    #[test]
    fn nothing_asked_nothing_written() {
        check(&Resources::default(), "", "");
    }

    #[test]
    fn memory_and_processes() {
        let resources = Resources {
            memory_bytes: Some(64 << 20),
            memory_swap_bytes: Some(128 << 20),
            memory_reservation_bytes: Some(32 << 20),
            pids_max: Some(2048),
            ..Resources::default()
        };
        check(
            &resources,
            "memory.limit_in_bytes=67108864 | memory.soft_limit_in_bytes=33554432 | memory.memsw.limit_in_bytes=134217728 | pids.max=2048",
            "memory.max=67108864 | memory.low=33554432 | memory.swap.max=67108864 | pids.max=2048",
        );
        let unlimited = Resources {
            memory_swap_bytes: Some(-1),
            pids_max: Some(-1),
            ..Resources::default()
        };
        check(
            &unlimited,
            "memory.memsw.limit_in_bytes=-1 | pids.max=max",
            "memory.swap.max=max | pids.max=max",
        );
    }

    #[test]
    fn processors() {
        let resources = Resources {
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(1024),
            cpuset_cpus: Some("0-1".into()),
            cpuset_mems: Some("0".into()),
            ..Resources::default()
        };
        check(
            &resources,
            "cpu.cfs_period_us=100000 | cpu.cfs_quota_us=150000 | cpu.shares=1024 | cpuset.cpus=0-1 | cpuset.mems=0",
            "cpu.max=150000 100000 | cpu.weight=39 | cpuset.cpus=0-1 | cpuset.mems=0",
        );
        let unlimited = Resources {
            cpu_quota_us: Some(-1),
            cpu_period_us: Some(50_000),
            cpu_shares: Some(u64::MAX),
            ..Resources::default()
        };
        check(
            &unlimited,
            "cpu.cfs_period_us=50000 | cpu.cfs_quota_us=-1 | cpu.shares=262144",
            "cpu.max=max 50000 | cpu.weight=10000",
        );
    }

    #[test]
    fn block_devices() {
        let on = |value| OnDevice {
            major: 8,
            minor: 16,
            value,
        };
        let resources = Resources {
            block_io: BlockIo {
                weight: Some(300),
                device_weights: vec![on(1000)],
                read_bytes: vec![on(1 << 20)],
                write_bytes: vec![on(2 << 20)],
                read_operations: vec![on(100)],
                write_operations: vec![on(200)],
            },
            ..Resources::default()
        };
        check(
            &resources,
            "blkio.weight=300 | blkio.weight_device=8:16 1000 | blkio.throttle.read_bps_device=8:16 1048576 | blkio.throttle.write_bps_device=8:16 2097152 | blkio.throttle.read_iops_device=8:16 100 | blkio.throttle.write_iops_device=8:16 200",
            "io.bfq.weight=default 300 | io.bfq.weight=8:16 1000 | io.max=8:16 rbps=1048576 | io.max=8:16 wbps=2097152 | io.max=8:16 riops=100 | io.max=8:16 wiops=200",
        );
        let other = |layout: &Layout| -> Vec<_> {
            let writes = writes(layout, &resources).unwrap();
            writes.into_iter().filter_map(|write| write.or).collect()
        };
        assert_eq!(
            other(&Layout::of(V1, None)),
            [
                ("blkio.bfq.weight", "300".into()),
                ("blkio.bfq.weight_device", "8:16 1000".into())
            ]
        );
        assert_eq!(
            other(&Layout::of(&[], Some(V2))),
            [
                ("io.weight", "default 2930".into()),
                ("io.weight", "8:16 10000".into())
            ]
        );
    }

    #[test]
    fn what_only_one_version_knows_is_asked_of_both() {
        let resources = Resources {
            memory_swappiness: Some(0),
            oom_kill_disable: true,
            cpu_realtime_period_us: Some(1_000_000),
            cpu_realtime_runtime_us: Some(5_000),
            ..Resources::default()
        };
        let all = "memory.swappiness=0 | memory.oom_control=1 | cpu.rt_period_us=1000000 | cpu.rt_runtime_us=5000";
        check(&resources, all, all);
        let writes = writes(&Layout::of(V1, None), &resources).unwrap();
        assert!(writes.iter().all(|write| write.need == Need::IfThere));
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        let refused = |resources: Resources, text: &str| {
            let error = writes(&Layout::of(V1, None), &resources).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        };
        refused(
            Resources {
                nano_cpus: Some(5),
                ..Resources::default()
            },
            "too little",
        );
        refused(
            Resources {
                memory_bytes: Some(2 << 20),
                memory_swap_bytes: Some(1 << 20),
                ..Resources::default()
            },
            "not larger",
        );
        refused(
            Resources {
                cpuset_cpus: Some("0\n1".into()),
                ..Resources::default()
            },
            "not a list",
        );
    }

    #[test]
    fn only_what_a_default_may_ask_is_optional() {
        let resources = Resources {
            memory_bytes: Some(1 << 30),
            memory_swap_bytes: Some(2 << 30),
            nano_cpus: Some(1_000_000_000),
            pids_max: Some(2048),
            ..Resources::default()
        };
        let optional: Vec<&str> = writes(&Layout::of(V1, None), &resources)
            .unwrap()
            .iter()
            .filter(|write| write.need != Need::Must)
            .map(|write| write.file)
            .collect();
        assert_eq!(optional, ["memory.memsw.limit_in_bytes", "pids.max"]);
    }
}
