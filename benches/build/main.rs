//! Builds from Dockerfiles: cold, with everything in the cache, and what one `RUN` costs.
//!
//! A build is measured over the Docker Engine API's socket, from the request to the last event, on a
//! disk that has nothing else left to write; `orc build` is the same as a command, with a process of
//! its own. Cold means that neither image nor cache is there. Beside them, in turns and in one run, is
//! the kernel's floor of `benches/start`: a container made by hand, once for each `RUN`. No other
//! builder runs on this machine, so the limits that are printed come from elsewhere: a third of the
//! 844 ms that docker's BuildKit needs for five cold steps, and what the plan of orc wants of a cached
//! build.

#[path = "../start/floor.rs"]
mod floor;
#[path = "../measure.rs"]
mod measure;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "a bench needs only a part of what tests stand on")]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use orc_host::Host;
use orc_host::image_build::{BuildEvent, BuildRequest, BuildSpec, ContextSource, StepState};
use orc_host::storage::CachePrune;

use crate::measure::{floor_round, median, print_limit, print_row};
use crate::support::lab::{Lab, run};

/// How often each side runs, in turns.
const ROUNDS: usize = 11;
/// Containers that the floor makes in a round; the median counts.
const FLOORS: usize = 20;
/// How many `RUN`s share the cost of one.
const RUNS: usize = 20;
/// Files of the large context.
const FILES: usize = 10_000;
/// The most that builds of five steps may take, in milliseconds.
const COLD_LIMIT: f64 = 844.0 / 3.0;
const CACHED_LIMIT: f64 = 30.0;
/// What takes less is not shown.
const TICK: Duration = Duration::from_micros(100);
/// The name of what is built.
const TAG: &str = "bench/built:1";

const FIVE_STEPS: &str = "\
FROM example/busybox:1
WORKDIR /app
COPY files/ ./
RUN cat * > all && wc -c all > size
RUN mkdir -p /etc/app && cp size /etc/app/size
CMD [\"cat\", \"/etc/app/size\"]
";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("floor") => floor::run(args[2].as_ref(), FLOORS),
        _ => compare(),
    }
}

fn compare() {
    let lab = Lab::with_busybox("bench-build");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let socket = lab.run_root().join("orc.sock");
        let host = orc_docker::Client::connect(&socket)
            .await
            .expect("the daemon answers");
        five_steps(&lab, &host).await;
        many_runs(&lab, &host).await;
        many_files(&lab, &host).await;
    });
}

async fn five_steps(lab: &Lab, host: &dyn Host) {
    let context = context(lab, "five", FIVE_STEPS);
    fill(&context.join("files"), 20);
    let (mut cold, mut cached, mut floors) = (Side::default(), Side::default(), Vec::new());
    let (mut plans, mut ends) = (Vec::new(), Vec::new());
    let mut steps: BTreeMap<usize, (String, Vec<Duration>)> = BTreeMap::new();
    for _ in 0..ROUNDS {
        floors.extend(floor_round(lab));
        forget(host).await;
        let built = build(host, &context).await;
        assert_eq!(built.cached, 0, "a cold build has nothing in the cache");
        cold.api.push(built.time);
        plans.push(built.planned);
        ends.push(built.ended);
        for (number, (text, time)) in built.steps {
            steps
                .entry(number)
                .or_insert((text, Vec::new()))
                .1
                .push(time);
        }
        let built = build(host, &context).await;
        assert!(built.cached >= 4, "all is in the cache: {}", built.cached);
        cached.api.push(built.time);
        cached.command.push(command(lab, &context));
        forget(host).await;
        cold.command.push(command(lab, &context));
    }
    // Two of the five steps run a program.
    let floor = median(&floors) * 2;
    println!("five steps, median of {ROUNDS}:");
    let both: Vec<Duration> = floors.iter().map(|time| *time * 2).collect();
    print_row("kernel floor of two programs", &both, floor);
    print_row("orc, cold", &cold.api, floor);
    print_row("  until the plan stands", &plans, floor);
    // What is here already takes no time.
    let steps = steps.values().filter(|(_, times)| median(times) > TICK);
    for (text, times) in steps {
        print_row(&format!("  {text}"), times, floor);
    }
    print_row("  from the last step to the image", &ends, floor);
    print_row("`orc build`, cold", &cold.command, floor);
    print_row("orc, cached", &cached.api, floor);
    print_row("`orc build`, cached", &cached.command, floor);
    print_limit("cold", &cold.command, COLD_LIMIT);
    print_limit("cached", &cached.command, CACHED_LIMIT);
}

async fn many_runs(lab: &Lab, host: &dyn Host) {
    let mut dockerfile = String::from("FROM example/busybox:1\n");
    let mut changing = dockerfile.clone();
    for number in 0..RUNS {
        // Each one differs, or the second would be the first's in the cache.
        let _ = writeln!(dockerfile, "RUN true {number}");
        let _ = writeln!(changing, "RUN echo {number} > file");
    }
    let nothing = context(lab, "nothing", &dockerfile);
    let something = context(lab, "something", &changing);
    let (mut without, mut with, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floors.extend(floor_round(lab));
        for (context, times) in [(&nothing, &mut without), (&something, &mut with)] {
            forget(host).await;
            times.push(build(host, context).await.time);
        }
    }
    let floor = median(&floors);
    let each = |times: &[Duration]| -> Vec<Duration> {
        times.iter().map(|time| *time / RUNS as u32).collect()
    };
    println!("one of {RUNS} `RUN`s, median of {ROUNDS}:");
    print_row("kernel floor of a program", &floors, floor);
    print_row("RUN true", &each(&without), floor);
    print_row("RUN echo > file", &each(&with), floor);
}

async fn many_files(lab: &Lab, host: &dyn Host) {
    let context = context(
        lab,
        "files",
        "FROM example/busybox:1\nCOPY files/ /files/\n",
    );
    fill(&context.join("files"), FILES);
    let (mut cold, mut cached) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS / 2 {
        // One file differs, so all are copied; ext4 makes files several times slower in the minutes
        // after as many were removed, so nothing is.
        std::fs::write(context.join("files/round"), round.to_string()).expect("a file");
        let built = build(host, &context).await;
        assert_eq!(built.cached, 0, "the copy is not in the cache");
        cold.push(built.time);
        for _ in 0..2 {
            let built = build(host, &context).await;
            assert_eq!(built.cached, 1, "the copy is in the cache");
            cached.push(built.time);
        }
    }
    println!("COPY of {FILES} files, median of {}:", cold.len());
    let measure = median(&cold);
    print_row("orc, cold", &cold, measure);
    print_row("orc, cached", &cached, measure);
}

/// Times of one build, over the socket and as a command.
#[derive(Default)]
struct Side {
    api: Vec<Duration>,
    command: Vec<Duration>,
}

/// What a build told.
struct Built {
    time: Duration,
    /// From the request to the plan.
    planned: Duration,
    /// From the end of the last step to the end of all: blobs, sync, catalog.
    ended: Duration,
    /// Steps that were done, with how long each took.
    steps: BTreeMap<usize, (String, Duration)>,
    /// How many were found in the cache.
    cached: usize,
}

/// A directory to build from.
fn context(lab: &Lab, name: &str, dockerfile: &str) -> PathBuf {
    let directory = lab.path().join(name);
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("Dockerfile"), dockerfile).expect("a file");
    directory
}

/// Files of a few kilobytes, in directories of a hundred.
fn fill(directory: &Path, files: usize) {
    for number in 0..files {
        let at = match files > 100 {
            true => directory.join(format!("part-{}", number / 100)),
            false => directory.to_owned(),
        };
        std::fs::create_dir_all(&at).expect("a directory");
        let text = format!("this is line {number}\n").repeat(50 + number % 100);
        std::fs::write(at.join(format!("file-{number}")), text).expect("a file");
    }
}

/// Removes what was built, and every memory of it.
async fn forget(host: &dyn Host) {
    if let Err(error) = host.remove_image(TAG, true).await {
        assert_eq!(error.kind(), orc_base::Kind::NotFound, "{error}");
    }
    let prune = CachePrune {
        all: true,
        ..CachePrune::default()
    };
    host.prune_build_cache(&prune).await.expect("prune");
    settle();
}

/// Writes what is left to write.
fn settle() {
    run(&mut Command::new("sync")).ok();
}

async fn build(host: &dyn Host, context: &Path) -> Built {
    settle();
    let spec = BuildSpec {
        context: ContextSource::Directory {
            path: context.to_owned(),
            identity: None,
        },
        tags: vec![TAG.into()],
        ..BuildSpec::default()
    };
    let start = Instant::now();
    let archive = None;
    let mut events = host
        .build_image(BuildRequest { spec, archive })
        .await
        .expect("build");
    let (mut planned, mut begun, mut steps) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let (mut cached, mut image) = (0, None);
    let (mut planned_at, mut step_at) = (start, start);
    while let Some(event) = events.next().await {
        match event.expect("an event") {
            BuildEvent::Planned(steps) => {
                planned = steps;
                planned_at = Instant::now();
            }
            BuildEvent::Step { step, state, time } => match state {
                StepState::Running => drop(begun.insert(step, time)),
                StepState::Cached => cached += 1,
                StepState::Done => {
                    let text = planned[step].text.clone();
                    step_at = Instant::now();
                    steps.insert(step, (text, time.since(begun[&step])));
                }
                StepState::Failed { .. } | StepState::Cancelled => {}
            },
            BuildEvent::Built { image: id } => image = Some(id),
            _ => {}
        }
    }
    let (time, ended) = (start.elapsed(), step_at.elapsed());
    assert!(image.is_some(), "an image was built");
    Built {
        time,
        planned: planned_at - start,
        ended,
        steps,
        cached,
    }
}

/// `orc build` from its start to its end.
fn command(lab: &Lab, context: &Path) -> Duration {
    settle();
    let context = context.display().to_string();
    let start = Instant::now();
    lab.orc(["build", "-q", "-t", TAG, &context]).ok();
    start.elapsed()
}
