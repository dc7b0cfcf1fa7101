//! The daemon may die at any time, and several may live side by side.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::support::lab::{Lab, until};

const FIVE: &str = "
services:
  web:
    image: example/busybox:1
    command: httpd -f -p 80 -h /var/www
    init: true
    ports: ['8080:80']
  writer:
    image: example/busybox:1
    # Ten lines every ten milliseconds.
    command: sh -c 'i=0; while :; do for n in 1 2 3 4 5 6 7 8 9 10; do i=$$((i+1)); echo $$i; done; usleep 10000; done'
  client:
    image: example/busybox:1
    command: sleep 100000
  probed:
    image: example/busybox:1
    command: sleep 100000
    healthcheck:
      test: [CMD, test, '!', -e, /tmp/sick]
      interval: 300ms
      retries: 1
  ender:
    image: example/busybox:1
    command: sh -c 'while [ ! -e /tmp/end ]; do usleep 100000; done; exit 42'
";

fn kill_daemon(lab: &Lab) {
    let pid = lab.daemon_pid();
    assert!(
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .expect("kill")
            .success()
    );
    until("the daemon is dead", || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        state.is_none_or(|stat| stat.contains(") Z")).then_some(())
    });
}

/// Pid and start of every running container.
fn lives(lab: &Lab) -> BTreeMap<String, String> {
    let names = lab.orc(["ps", "--format", "{{.Names}}"]).ok();
    names
        .lines()
        .map(|name| {
            let life = lab
                .orc([
                    "inspect",
                    "-f",
                    "{{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}",
                    name,
                ])
                .ok();
            (name.to_owned(), life)
        })
        .collect()
}

#[test]
fn killed_with_five_containers_it_loses_nothing() {
    let lab = Lab::with_busybox("kill9");
    let before = lab.snapshot();
    let project = lab.project("five", FIVE);
    lab.sh(&project, "orc up -d").ok();
    let lived = lives(&lab);
    assert_eq!(lived.len(), 5, "{lived:?}");

    for _ in 0..3 {
        kill_daemon(&lab);
        assert_eq!(
            lab.http("http://localhost:8080/").ok(),
            "<h1>Hello from orc</h1>\n"
        );
        std::thread::sleep(Duration::from_millis(500));
        // The next command starts a daemon, which takes over what runs.
        assert_eq!(lives(&lab), lived);
        assert_eq!(
            lab.http("http://localhost:8080/").ok(),
            "<h1>Hello from orc</h1>\n"
        );
        let page = lab
            .sh(&project, "orc exec client wget -qO- http://web")
            .ok();
        assert_eq!(page, "<h1>Hello from orc</h1>\n");
    }

    let health = || {
        lab.orc(["inspect", "-f", "{{.State.Health.Status}}", "five-probed-1"])
            .ok()
    };
    until("healthy again", || (health() == "healthy\n").then_some(()));
    lab.sh(&project, "orc exec probed touch /tmp/sick").ok();
    until("health is still probed", || {
        (health() == "unhealthy\n").then_some(())
    });

    // One that ends while nobody is there to see it.
    lab.sh(&project, "orc exec ender touch /tmp/end").ok();
    kill_daemon(&lab);
    std::thread::sleep(Duration::from_millis(500));
    let ended = lab
        .orc([
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}}",
            "five-ender-1",
        ])
        .ok();
    assert_eq!(ended, "exited 42\n");

    lab.sh(&project, "orc stop -t 1 writer").ok();
    let log = lab.sh(&project, "orc logs five-writer-1").ok();
    let lines: Vec<usize> = log
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    assert!(lines.len() > 1000, "only {} lines", lines.len());
    let expected: Vec<usize> = (1..=lines.len()).collect();
    assert!(lines == expected, "a line is lost or doubled");

    lab.sh(&project, "orc down -t 1").ok();
    before.is_back(&lab);
}

#[test]
fn stopped_by_hand_its_containers_go_on() {
    let lab = Lab::with_busybox("stop");
    lab.orc_line("run -d --name c example/busybox:1 sleep 100000")
        .ok();
    let lived = lives(&lab);
    lab.orc_line("daemon stop").ok();
    let pid = lived["c"].split(' ').next().expect("a pid");
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(lives(&lab), lived);
    lab.orc_line("rm -f c").ok();
}

#[test]
fn stopped_without_containers_it_leaves_no_groups() {
    let lab = Lab::with_busybox("groups");
    lab.orc_line("run --rm example/busybox:1 true").ok();
    lab.orc_line("daemon stop").ok();
    until("no control group is left", || {
        lab.cgroups().is_empty().then_some(())
    });
}

#[test]
fn after_a_reboot_policies_decide() {
    let lab = Lab::with_busybox("reboot");
    lab.orc_line("run -d --name always --restart always example/busybox:1 sleep 100000")
        .ok();
    lab.orc_line("run -d --name unless --restart unless-stopped example/busybox:1 sleep 100000")
        .ok();
    lab.orc_line("run -d --name stopped --restart unless-stopped example/busybox:1 sleep 100000")
        .ok();
    lab.orc_line("run -d --name never example/busybox:1 sleep 100000")
        .ok();
    lab.orc_line("stop -t 0 stopped").ok();
    // A reboot, seen from the data root: every process is gone, and so is the run root.
    kill_daemon(&lab);
    for cgroup in lab.cgroups() {
        let procs = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            let _ = Command::new("kill")
                .args(["-9", pid])
                .stderr(std::process::Stdio::null())
                .status();
        }
    }
    until("all monitors are gone", || {
        lab.processes().is_empty().then_some(())
    });
    let run_root = lab.run_root().display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("procfs");
    for target in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if target.starts_with(&run_root) {
            let _ = Command::new("umount").args(["-l", target]).status();
        }
    }
    std::fs::remove_dir_all(lab.run_root()).expect("forget the run root");

    let running = || lab.orc(["ps", "--format", "{{.Names}}"]).ok();
    until("the policies are applied", || {
        let running = running();
        (running.contains("always") && running.contains("unless")).then_some(())
    });
    assert_eq!(running().lines().count(), 2, "{}", running());
    let never = lab
        .orc(["inspect", "-f", "{{.State.Status}}", "never"])
        .ok();
    assert_eq!(never, "exited\n");
    lab.orc_line("rm -f always unless stopped never").ok();
}

#[test]
fn two_live_side_by_side() {
    let (one, two) = (Lab::with_busybox("one"), Lab::with_busybox("two"));
    for lab in [&one, &two] {
        lab.orc_line(
            "run -d --name web --init -p 8080:80 example/busybox:1 httpd -f -p 80 -h /var/www",
        )
        .ok();
    }
    for lab in [&one, &two] {
        until("the page", || {
            (lab.http("http://localhost:8080/").code == 0).then_some(())
        });
        assert_eq!(lab.orc(["ps", "-q"]).ok().lines().count(), 1);
    }
    one.orc_line("rm -f web").ok();
    assert_eq!(
        two.http("http://localhost:8080/").ok(),
        "<h1>Hello from orc</h1>\n"
    );
    two.orc_line("rm -f web").ok();
}

#[test]
fn a_hundred_cycles_of_counter_leak_nothing() {
    let lab = Lab::new("cycles");
    lab.import("python", "example/python:bookworm");
    lab.import("redis", "example/redis:7");
    let counter = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("compose-examples/counter");
    let before = lab.snapshot();
    for cycle in 0..100 {
        lab.sh(&counter, "orc up -d --wait").ok();
        let page = lab.http("http://localhost:5000/").ok();
        assert_eq!(
            page, "Hello! This page has been seen 1 times.\n",
            "in cycle {cycle}"
        );
        lab.sh(&counter, "orc down -v -t 1").ok();
    }
    before.is_back(&lab);
}
