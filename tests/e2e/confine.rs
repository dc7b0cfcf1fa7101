//! What a container may not do, and how much it may use.

use std::path::Path;

use crate::support::lab::Lab;

fn inside(lab: &Lab, flags: &str, script: &str) -> String {
    let mut args = vec!["run".to_owned(), "--rm".to_owned()];
    args.extend(flags.split_whitespace().map(str::to_owned));
    args.extend(["example/busybox:1", "sh", "-c", script].map(str::to_owned));
    lab.orc(args).ok()
}

#[test]
fn namespaces_are_its_own() {
    let lab = Lab::with_busybox("ns");
    for kind in ["pid", "net", "mnt", "ipc", "uts", "cgroup"] {
        let link = format!("/proc/self/ns/{kind}");
        let own = std::fs::read_link(&link)
            .expect("a namespace")
            .display()
            .to_string();
        let theirs = inside(&lab, "", &format!("readlink {link}"));
        assert_ne!(theirs.trim(), own, "{kind}");
    }
    assert_eq!(inside(&lab, "--hostname web", "hostname"), "web\n");
    assert_eq!(inside(&lab, "", "echo $$"), "1\n");
}

#[test]
fn the_default_profile_is_narrow() {
    let lab = Lab::with_busybox("profile");
    let status = inside(&lab, "", "cat /proc/self/status");
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .expect("a field");
        line.split_whitespace().nth(1).expect("a value").to_owned()
    };
    assert_eq!(field("CapEff:"), "00000000a80425fb", "Docker's fourteen");
    assert_eq!(field("CapBnd:"), "00000000a80425fb");
    assert_eq!(
        (field("CapInh:"), field("CapAmb:")),
        ("0".repeat(16), "0".repeat(16))
    );
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("NoNewPrivs:"), "0");
    assert!(inside(&lab, "--user 1000", "grep CapEff /proc/self/status").contains(&"0".repeat(16)));
    assert!(
        inside(
            &lab,
            "--security-opt no-new-privileges",
            "grep NoNewPrivs /proc/self/status"
        )
        .contains('1')
    );
    assert!(
        inside(
            &lab,
            "--cap-drop ALL --cap-add CHOWN",
            "grep CapEff /proc/self/status"
        )
        .contains("0000000000000001")
    );
    let descriptors = inside(&lab, "", "ls /proc/self/fd | wc -l");
    assert_eq!(descriptors, "4\n", "0, 1, 2 and the one that lists");
    for refused in [
        "mount -t tmpfs none /mnt",
        "unshare -m true",
        "echo x > /proc/sys/kernel/core_pattern",
        "date -s 2000-01-01 2>&1 | grep -q permitted && exit 1",
        "echo 1 > /sys/kernel/profiling",
        "mknod /tmp/sda b 8 0 && cat /tmp/sda",
    ] {
        let ran = lab.orc(["run", "--rm", "example/busybox:1", "sh", "-c", refused]);
        assert_ne!(ran.code, 0, "{refused}: {ran}");
    }
}

#[test]
fn users_are_the_images() {
    let lab = Lab::with_busybox("users");
    assert_eq!(
        inside(&lab, "--user nobody", "id -u; id -g"),
        "65534\n65534\n"
    );
    assert_eq!(
        inside(&lab, "--user 1000:1001", "id -u; id -g"),
        "1000\n1001\n"
    );
    for bad in ["4294967296", "-1", "nouser", "+0"] {
        let ran = lab.orc(["run", "--rm", "--user", bad, "example/busybox:1", "true"]);
        assert_ne!(ran.code, 0, "{bad}");
        assert!(ran.stderr.contains(bad), "{ran}");
    }
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let lab = Lab::with_busybox("readonly");
    let ran = lab.orc_line("run --rm --read-only example/busybox:1 touch /x");
    assert!(ran.code != 0 && ran.stderr.contains("Read-only"), "{ran}");
    assert_eq!(
        inside(&lab, "--read-only --tmpfs /tmp", "touch /tmp/x && ls /tmp"),
        "x\n"
    );
    assert_eq!(
        inside(&lab, "--tmpfs /t:size=1m,mode=700", "stat -c %a /t"),
        "700\n"
    );
}

/// The value of a limit in whichever hierarchy has it.
fn limit(lab: &Lab, id: &str, v1: &str, v2: &str) -> String {
    let below = format!("{}/{id}", lab.cgroup_parent().trim_start_matches('/'));
    let (controller, file) = v1.split_once('/').expect("controller/file");
    let candidates = [
        format!("/sys/fs/cgroup/{controller}/{below}/{file}"),
        format!("/sys/fs/cgroup/{below}/{v2}"),
    ];
    let path = candidates.iter().find(|path| Path::new(path).exists());
    let path = path.unwrap_or_else(|| panic!("none of {candidates:?} exists"));
    std::fs::read_to_string(path)
        .expect("a limit")
        .trim()
        .to_owned()
}

#[test]
fn limits_are_set() {
    let lab = Lab::with_busybox("limits");
    let id = lab
        .orc_line(
            "run -d --name c -m 64m --cpus 0.5 --pids-limit 50 example/busybox:1 sleep 100000",
        )
        .ok();
    let id = id.trim();
    assert_eq!(
        limit(&lab, id, "memory/memory.limit_in_bytes", "memory.max"),
        "67108864"
    );
    assert_eq!(limit(&lab, id, "pids/pids.max", "pids.max"), "50");
    assert!(limit(&lab, id, "cpu/cpu.cfs_quota_us", "cpu.max").starts_with("50000"));
    lab.orc_line("rm -f c").ok();
    let ran = lab.orc([
        "run",
        "--rm",
        "--pids-limit",
        "5",
        "example/busybox:1",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait",
    ]);
    assert!(ran.stderr.contains("fork"), "{ran}");
}

#[test]
fn too_much_memory_is_killed_and_said() {
    let lab = Lab::with_busybox("oom");
    let ran = lab.orc([
        "run",
        "--name",
        "m",
        "-m",
        "16m",
        "example/busybox:1",
        "tail",
        "/dev/zero",
    ]);
    assert_eq!(ran.code, 137, "{ran}");
    assert_eq!(
        lab.orc(["inspect", "-f", "{{.State.OOMKilled}}", "m"]).ok(),
        "true\n"
    );
    lab.orc_line("rm m").ok();
}

#[test]
fn an_exec_is_as_confined_as_its_container() {
    let lab = Lab::with_busybox("execconf");
    lab.orc_line("run -d --name c -m 64m --cap-drop NET_RAW example/busybox:1 sleep 100000")
        .ok();
    let of = |process: &str| {
        let script = format!(
            "grep -E 'Cap|Seccomp:|NoNew' /proc/{process}/status; \
             for n in pid net mnt uts ipc cgroup; do readlink /proc/{process}/ns/$n; done"
        );
        lab.orc(["exec", "c", "sh", "-c", &script]).ok()
    };
    assert_eq!(of("self"), of("1"));
    lab.orc_line("rm -f c").ok();
}

#[test]
fn the_binary_cannot_be_reached() {
    let lab = Lab::with_busybox("binary");
    let binary = Path::new(env!("CARGO_BIN_EXE_orc"));
    let before = std::fs::metadata(binary)
        .expect("the binary")
        .modified()
        .expect("a time");
    // R1: an entry point that is a link to whatever executes it.
    lab.orc_line("run --name evil example/busybox:1 ln -s /proc/self/exe /evil")
        .ok();
    for _ in 0..5 {
        lab.orc_line("start evil");
        lab.orc([
            "run",
            "--rm",
            "example/busybox:1",
            "sh",
            "-c",
            "for p in /proc/[0-9]*/exe; do echo x > $p; done 2>/dev/null",
        ]);
        lab.orc([
            "run",
            "--rm",
            "--entrypoint",
            "/proc/self/exe",
            "example/busybox:1",
            "version",
        ]);
    }
    assert_eq!(
        std::fs::metadata(binary)
            .expect("the binary")
            .modified()
            .expect("a time"),
        before
    );
    lab.orc_line("rm -f evil").ok();
}

#[test]
fn a_built_in_init_reaps_and_forwards() {
    let lab = Lab::with_busybox("init");
    lab.orc_line("run -d --name c --init example/busybox:1 sleep 100000")
        .ok();
    let start = std::time::Instant::now();
    lab.orc_line("stop -t 30 c").ok();
    assert!(
        start.elapsed() < std::time::Duration::from_secs(20),
        "SIGTERM was not passed on"
    );
    let code = lab.orc(["inspect", "-f", "{{.State.ExitCode}}", "c"]).ok();
    assert_eq!(code, "143\n");
    lab.orc_line("rm c").ok();
}
