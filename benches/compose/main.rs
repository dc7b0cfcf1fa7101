//! Compose projects: `up -d` and `down` of many trivial services, an `up` that has nothing to do, a
//! rolling update, and `config` of a large project.
//!
//! Each is measured as people feel it: `orc` from its start to its end, with the daemon there and the
//! image local. Beside them, in turns and in one run, is the kernel's floor of `benches/start`: a
//! container made by hand, once for each service, one after the other. docker compose cannot run on
//! this machine; the limits that are printed are a tenth of what docker compose 2.40 on dockerd 28
//! needs elsewhere.

mod config;
#[path = "../start/floor.rs"]
mod floor;
#[path = "../measure.rs"]
mod measure;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "a bench needs only a part of what tests stand on")]
mod support;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::measure::{floor_round, median, print_limit, print_row};
use crate::support::lab::{Lab, run};

/// Containers that the floor makes in a round; the median counts.
const FLOORS: usize = 20;

/// A size of project, how often it is brought up, and docker compose's milliseconds for `up -d` and
/// `down`.
struct Size {
    services: usize,
    rounds: usize,
    docker: Option<(f64, f64)>,
}

const SIZES: [Size; 4] = [
    Size {
        services: 1,
        rounds: 11,
        docker: Some((800.0, 410.0)),
    },
    Size {
        services: 10,
        rounds: 7,
        docker: Some((1_368.0, 972.0)),
    },
    Size {
        services: 30,
        rounds: 5,
        docker: Some((2_741.0, 2_499.0)),
    },
    Size {
        services: 100,
        rounds: 3,
        docker: Some((7_644.0, 7_997.0)),
    },
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("floor") => floor::run(args[2].as_ref(), FLOORS),
        Some("config") => config(),
        _ => compare(),
    }
}

fn compare() {
    let lab = Lab::with_busybox("bench-compose");
    for size in &SIZES {
        up_and_down(&lab, size);
    }
    rolling(&lab);
    config();
}

fn config() {
    let directory = tempfile::tempdir().expect("a directory");
    let times = config::rounds(directory.path());
    println!(
        "`orc compose config` of 2 000 lines, median of {}: {:.2} ms",
        times.len(),
        median(&times).as_secs_f64() * 1e3
    );
    print_limit("config", &times, config::LIMIT_MS);
}

/// How long interfaces may take to go.
const SETTLE: Duration = Duration::from_millis(500);

fn up_and_down(lab: &Lab, size: &Size) {
    let count = size.services;
    let name = format!("of-{count}");
    let directory = lab.project(&name, &project(count));
    let (mut ups, mut again, mut plans, mut downs) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut floors = Vec::new();
    for _ in 0..size.rounds {
        floors.extend(floor_round(lab));
        ups.push(timed(lab, &directory, "orc up -d"));
        assert_eq!(running(lab, &directory), count, "all services run");
        again.push(timed(lab, &directory, "orc up -d"));
        plans.push(timed(lab, &directory, "orc plan --quiet"));
        downs.push(timed(lab, &directory, "orc down"));
        // The kernel takes the interfaces away a moment later: no part of the next `up`.
        std::thread::sleep(SETTLE);
        assert_eq!(running(lab, &directory), 0, "nothing is left");
    }
    let floor = median(&floors) * u32::try_from(count).expect("a small number");
    println!("{count} services, median of {}:", size.rounds);
    print_row("kernel floor, one after the other", &[floor], floor);
    print_row("`orc up -d`", &ups, floor);
    print_row("`orc up -d`, nothing to do", &again, floor);
    print_row("`orc plan`, nothing to do", &plans, floor);
    print_row("`orc down`", &downs, floor);
    if let Some((up, down)) = size.docker {
        print_limit("up -d", &ups, up / 10.0);
        print_limit("down", &downs, down / 10.0);
    }
}

/// Ten replicas, two at a time, each of which has to be healthy.
fn rolling(lab: &Lab) {
    let text = |round: usize| {
        format!(
            "services:\n  web:\n    image: example/busybox:1\n    command: sleep 1000\n    \
             stop_signal: SIGKILL\n    environment: {{ROUND: '{round}'}}\n    \
             healthcheck: {{test: [CMD, 'true'], interval: 1s, start_period: 1s, start_interval: 10ms}}\n    \
             deploy: {{replicas: 10, update_config: {{parallelism: 2, order: start-first}}}}\n"
        )
    };
    let directory = lab.project("rolling", &text(0));
    lab.sh(&directory, "orc up -d").ok();
    let mut times = Vec::new();
    for round in 1..=5 {
        lab.project("rolling", &text(round));
        times.push(timed(lab, &directory, "orc up -d"));
        assert_eq!(running(lab, &directory), 10, "all replicas run");
    }
    lab.sh(&directory, "orc down").ok();
    println!("update of 10 replicas, 2 at a time, start first, by health, median of 5:");
    print_row("`orc up -d`", &times, median(&times));
}

/// Services that do nothing and hear their signal at once.
fn project(services: usize) -> String {
    let mut text = String::from("services:\n");
    for number in 0..services {
        let _ = writeln!(
            text,
            "  s{number}: {{image: 'example/busybox:1', command: sleep 1000, stop_signal: SIGKILL}}"
        );
    }
    text
}

fn running(lab: &Lab, directory: &Path) -> usize {
    lab.sh(directory, "orc compose ps -q").ok().lines().count()
}

/// One command from its start to its end, on a disk that has nothing else left to write.
fn timed(lab: &Lab, directory: &Path, command: &str) -> Duration {
    run(&mut Command::new("sync")).ok();
    let words: Vec<&str> = command.split(' ').collect();
    let mut command = lab.command(words);
    command.current_dir(directory);
    let start = Instant::now();
    let ran = run(&mut command);
    let time = start.elapsed();
    ran.ok();
    time
}
