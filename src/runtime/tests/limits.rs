//! Control groups at work: limits, the memory killer, pauses, what is used.

use std::time::Duration;

use orc_base::Kind;
use orc_runtime::signal;
use orc_runtime::spec::{BlockIo, Device, DeviceKind, DeviceRule, OnDevice, Resources};

use crate::bed::Bed;

crate::tests! {
    memory_is_limited_and_the_killer_is_noticed
    processes_are_limited
    processors_are_limited
    rare_limits_are_kept_or_named
    limits_change_while_a_container_runs
    a_pause_stops_everything
    use_is_counted
    asked_devices_are_there
    device_rules_open_what_a_container_makes
    impossible_limits_are_refused
    what_an_earlier_run_left_is_in_the_way
}

async fn memory_is_limited_and_the_killer_is_noticed(bed: Bed) {
    let mut spec = bed.script("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
    spec.resources = Resources {
        memory_bytes: Some(16 << 20),
        memory_swap_bytes: Some(16 << 20),
        ..Resources::default()
    };
    let outcome = bed.run(&spec).await;
    assert_eq!(outcome.exit.code, 137, "{outcome:?}");
    assert!(outcome.exit.oom_killed);
    bed.assert_nothing_left(&spec);
    let well = bed.run(&bed.spec(["/bin/true"])).await;
    assert!(!well.exit.oom_killed);
}

async fn processes_are_limited(bed: Bed) {
    let mut spec = bed.script("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait");
    spec.resources.pids_max = Some(4);
    let monitor = bed.start(&spec).await;
    while !bed
        .output(&spec, orc_runtime::log::Stream::Stderr)
        .contains("fork")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bed.cgroup(&spec).processes().unwrap().len() <= 4);
    let _ = monitor.signal(signal::KILL);
    monitor.wait().await;
}

async fn processors_are_limited(bed: Bed) {
    let mut spec = bed.spec(["/bin/sleep", "1000"]);
    spec.resources = Resources {
        nano_cpus: Some(500_000_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".into()),
        ..Resources::default()
    };
    let monitor = bed.start(&spec).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", monitor.pid())).unwrap();
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

/// What a file of a container's group says, when this machine has it in either version.
fn knob(spec: &orc_runtime::spec::ContainerSpec, controller: &str, file: &str) -> Option<String> {
    let roots = [
        format!("/sys/fs/cgroup/{controller}"),
        "/sys/fs/cgroup".to_owned(),
    ];
    roots.iter().find_map(|root| {
        std::fs::read_to_string(format!("{root}{}/{file}", spec.cgroup))
            .ok()
            .map(|text| text.trim().to_owned())
    })
}

/// A whole disk of this machine.
fn disk() -> Option<OnDevice> {
    let disks = std::fs::read_dir("/sys/block").ok()?;
    disks.flatten().find_map(|disk| {
        let read = |file: &str| std::fs::read_to_string(disk.path().join(file)).ok();
        if read("size")?.trim() == "0" {
            return None;
        }
        let numbers = read("dev")?;
        let (major, minor) = numbers.trim().split_once(':')?;
        Some(OnDevice {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            value: 1 << 20,
        })
    })
}

async fn rare_limits_are_kept_or_named(bed: Bed) {
    let mut spec = bed.spec(["/bin/sleep", "1000"]);
    spec.resources = Resources {
        memory_bytes: Some(64 << 20),
        memory_swappiness: Some(7),
        oom_kill_disable: true,
        block_io: BlockIo {
            weight: Some(300),
            read_bytes: disk().into_iter().collect(),
            ..BlockIo::default()
        },
        ..Resources::default()
    };
    let unkept = bed
        .cgroup(&spec)
        .unkept(&spec.resources)
        .unwrap()
        .join("\n");
    let monitor = bed.start(&spec).await;
    for (controller, files, value) in [
        ("memory", &["memory.swappiness"][..], "7"),
        ("memory", &["memory.oom_control"], "oom_kill_disable 1"),
        (
            "blkio",
            &[
                "blkio.weight",
                "blkio.bfq.weight",
                "io.bfq.weight",
                "io.weight",
            ],
            "300",
        ),
    ] {
        match files.iter().find_map(|file| knob(&spec, controller, file)) {
            Some(text) => {
                let kept = text.contains(value) || text.contains("2930");
                assert!(kept, "{files:?}: {text}");
                assert!(!unkept.contains(files[0]), "{unkept}");
            }
            None => assert!(unkept.contains(files[0]), "{files:?}: {unkept}"),
        }
    }
    if let Some(disk) = disk() {
        let v1 = knob(&spec, "blkio", "blkio.throttle.read_bps_device");
        if let Some(text) = v1.or_else(|| knob(&spec, "io", "io.max")) {
            let device = format!("{}:{}", disk.major, disk.minor);
            assert!(text.contains(&device) && text.contains("1048576"), "{text}");
        }
    }
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn limits_change_while_a_container_runs(bed: Bed) {
    let mut spec = bed.spec(["/bin/sleep", "1000"]);
    let limit = |megabytes: u64| Resources {
        memory_bytes: Some(megabytes << 20),
        memory_swap_bytes: Some((2 * (megabytes as i64)) << 20),
        pids_max: Some(megabytes as i64),
        nano_cpus: Some(megabytes * 10_000_000),
        ..Resources::default()
    };
    spec.resources = limit(64);
    let monitor = bed.start(&spec).await;
    let group = bed.cgroup(&spec);
    // Up and down: the first version wants the two limits of memory in opposite orders.
    for megabytes in [256, 32, 64] {
        assert_eq!(group.update(&limit(megabytes)).unwrap(), [""; 0]);
        let stats = group.stats().unwrap();
        assert_eq!(stats.memory_limit_bytes, Some(megabytes << 20));
        assert_eq!(stats.pids_max, Some(megabytes));
        let quota =
            knob(&spec, "cpu", "cpu.cfs_quota_us").or_else(|| knob(&spec, "cpu", "cpu.max"));
        let quota = quota.unwrap();
        assert!(
            quota.starts_with(&(megabytes * 1000).to_string()),
            "{quota}"
        );
    }
    let mut bad = limit(64);
    bad.cpuset_cpus = Some("4000".into());
    let error = group.update(&bad).unwrap_err();
    assert!(error.to_string().contains("cpuset.cpus"), "{error}");
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn device_rules_open_what_a_container_makes(bed: Bed) {
    let script = "mknod /dev/mine c 10 229; : < /dev/mine && echo opened";
    assert_eq!(bed.run(&bed.script(script)).await.stdout, "");
    let mut spec = bed.script(script);
    spec.device_rules = vec![DeviceRule {
        kind: Some(DeviceKind::Char),
        major: Some(10),
        minor: None,
        access: "rwm".into(),
    }];
    if !std::path::Path::new("/dev/fuse").exists() {
        return;
    }
    assert_eq!(bed.run(&spec).await.stdout, "opened\n");
}

async fn a_pause_stops_everything(bed: Bed) {
    let spec = bed.script("while :; do echo x; sleep 0.005; done");
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "x\nx\n").await;
    let group = bed.cgroup(&spec);
    group.freeze().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let paused = bed.output(&spec, orc_runtime::log::Stream::Stdout).len();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        bed.output(&spec, orc_runtime::log::Stream::Stdout).len(),
        paused
    );
    group.thaw().unwrap();
    bed.output_has(&spec, &"x\n".repeat(paused / 2 + 2)).await;

    // A paused container can be removed: it is thawed to die.
    group.freeze().unwrap();
    group.remove().unwrap();
    assert_eq!(monitor.wait().await.code, 137);
    bed.assert_nothing_left(&spec);
}

async fn use_is_counted(bed: Bed) {
    let mut spec =
        bed.script("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; sleep 1000");
    spec.resources.memory_bytes = Some(64 << 20);
    spec.resources.pids_max = Some(50);
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "ready").await;
    let stats = bed.runtime.cgroup(&spec.cgroup).unwrap().stats().unwrap();
    assert!(
        stats.cpu_ns.unwrap() > 0 && stats.memory_bytes.unwrap() > 0,
        "{stats:?}"
    );
    assert_eq!(stats.memory_limit_bytes, Some(64 << 20));
    assert!((1..=2).contains(&stats.pids.unwrap()), "{stats:?}");
    assert_eq!(stats.pids_max, Some(50));
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn asked_devices_are_there(bed: Bed) {
    // Closed to containers by default, open to any program by itself.
    let candidates = [
        ("/dev/fuse", 229),
        ("/dev/net/tun", 200),
        ("/dev/loop-control", 237),
    ];
    let found = candidates
        .iter()
        .find(|(path, _)| std::path::Path::new(path).exists());
    let (_, minor) = found.expect("one of fuse, tun and loop-control");
    let script = "stat -c '%F %t %a %u' /dev/deep/one; : < /dev/deep/one && echo opened";
    let mut spec = bed.script(script);
    spec.devices = vec![Device {
        path: "/dev/deep/one".into(),
        kind: DeviceKind::Char,
        major: 10,
        minor: *minor,
        mode: 0o640,
        uid: 33,
        gid: 0,
        access: "r".into(),
    }];
    let outcome = bed.run(&spec).await;
    assert_eq!(
        outcome.stdout, "character special file a 640 33\nopened\n",
        "{outcome:?}"
    );
    spec = bed.script(&format!(
        "mknod /dev/one c 10 {minor}; : < /dev/one && echo opened"
    ));
    assert_eq!(bed.run(&spec).await.stdout, "");
}

async fn impossible_limits_are_refused(bed: Bed) {
    let mut spec = bed.spec(["/bin/true"]);
    spec.resources.cpuset_cpus = Some("4000".into());
    let error = bed.refusal(&spec).await;
    assert!(error.to_string().contains("cpuset.cpus"), "{error}");
    let mut spec = bed.spec(["/bin/true"]);
    spec.resources.nano_cpus = Some(1);
    assert_eq!(bed.refusal(&spec).await.kind(), Kind::Invalid);
}

async fn what_an_earlier_run_left_is_in_the_way(bed: Bed) {
    let spec = bed.spec(["/bin/sleep", "1000"]);
    let monitor = bed.start(&spec).await;
    let mut again = spec.clone();
    again.state_dir = bed.path("state").join("another");
    std::fs::create_dir(&again.state_dir).unwrap();
    let error = bed.runtime.start(&again).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    // And it was not harmed.
    assert!(monitor.exited().is_none());
    assert!(!bed.cgroup(&spec).processes().unwrap().is_empty());
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}
