//! Start to exit of `true`, and the memory of an idle monitor, beside the kernel's floor.
//!
//! The floor is this program run again as `floor`: a loop of clone3(2) with the six namespaces,
//! overlay, proc, dev, pivot_root(2), execve(2) and wait, nothing else. orc's figure is the Docker
//! Engine API over the socket: create, start, wait, remove, on the default bridge network. Both are
//! measured alternately in one run; the ratio is what counts, as times drift from machine to machine.

mod floor;
#[path = "../measure.rs"]
#[expect(dead_code, reason = "no limit is printed here")]
mod measure;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "a bench needs only a part of what tests stand on")]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use orc_host::Host;
use orc_host::container::{ContainerSpec, NetworkMode, RemoveOptions, WaitFor};

use crate::measure::{floor_round, median, print_row};
use crate::support::lab::Lab;

/// How often each side runs, in rounds that alternate.
const ROUNDS: usize = 10;
const RUNS_IN_ROUND: usize = 20;
/// How many idle containers share the measured memory.
const IDLE: usize = 100;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("floor") => floor::run(args[2].as_ref(), RUNS_IN_ROUND),
        _ => compare(),
    }
}

fn compare() {
    let lab = Lab::with_busybox("bench");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let socket = lab.run_root().join("orc.sock");
        let client = orc_docker::Client::connect(&socket)
            .await
            .expect("the daemon answers");
        let host: Arc<dyn Host> = Arc::new(client);
        start_to_exit(&lab, &*host).await;
        memory(&lab, &*host).await;
    });
}

async fn start_to_exit(lab: &Lab, host: &dyn Host) {
    let (mut floor, mut bridge, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.extend(floor_round(lab));
        for _ in 0..RUNS_IN_ROUND {
            bridge.push(one_run(host, NetworkMode::Networks).await);
            none.push(one_run(host, NetworkMode::None).await);
        }
    }
    let measure = median(&floor);
    println!(
        "start to exit of `true`, median of {}:",
        ROUNDS * RUNS_IN_ROUND
    );
    print_row(
        "kernel floor (clone, overlay, pivot, exec, wait)",
        &floor,
        measure,
    );
    print_row("orc, no network: create+start+wait+remove", &none, measure);
    print_row(
        "orc, bridge network: create+start+wait+remove",
        &bridge,
        measure,
    );
}

async fn one_run(host: &dyn Host, network_mode: NetworkMode) -> Duration {
    let spec = ContainerSpec {
        image: "example/busybox:1".into(),
        command: Some(vec!["true".into()]),
        network_mode,
        ..ContainerSpec::default()
    };
    let start = Instant::now();
    let id = host.create_container(None, &spec).await.expect("create").id;
    host.start_container(&id).await.expect("start");
    let exit = host
        .wait_container(&id, WaitFor::NotRunning)
        .await
        .expect("wait");
    host.remove_container(&id, RemoveOptions::default())
        .await
        .expect("remove");
    assert_eq!(exit.code, 0);
    start.elapsed()
}

async fn memory(lab: &Lab, host: &dyn Host) {
    let spec = ContainerSpec {
        image: "example/busybox:1".into(),
        command: Some(vec!["sleep".into(), "1000".into()]),
        ..ContainerSpec::default()
    };
    let daemon = lab.daemon_pid();
    let before = lab.processes();
    let mut ids = Vec::new();
    for _ in 0..IDLE {
        let id = host.create_container(None, &spec).await.expect("create").id;
        host.start_container(&id).await.expect("start");
        ids.push(id);
    }
    let monitors: Vec<i32> = lab
        .processes()
        .into_iter()
        .filter(|pid| !before.contains(pid))
        .collect();
    assert_eq!(monitors.len(), IDLE, "one monitor a container");
    let total: u64 = monitors.iter().map(|pid| pss_kib(*pid)).sum();
    println!("memory (PSS) with {IDLE} idle containers:");
    println!(
        "  a monitor {:40} {:7.3} MiB",
        "",
        total as f64 / IDLE as f64 / 1024.0
    );
    println!(
        "  the daemon {:39} {:7.1} MiB",
        "",
        pss_kib(daemon) as f64 / 1024.0
    );
    for id in ids {
        let force = RemoveOptions {
            force: true,
            volumes: false,
        };
        host.remove_container(&id, force).await.expect("remove");
    }
}

/// Proportional set size of a process (proc(5), smaps_rollup).
fn pss_kib(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let line = text
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .expect("a line Pss");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number")
}
