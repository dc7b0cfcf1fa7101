//! Pull and unpack of two images from the real `docker-registry`, and how much memory that takes.
//!
//! Beside orc, in one run and in turns: `skopeo copy` into a directory, which only downloads and
//! verifies, and `zcat layer | tar x` of all layers, which only inflates and writes. The slower of the
//! two is the measure. Every round gets a daemon and a data root of its own, so nothing is there
//! before. Nothing is deleted before the end: ext4 makes files several times slower right after as
//! many were removed. That takes 7 GB of disk. `igzip | tar x` is measured too where igzip (package
//! `isal`) is installed.

mod images;
#[path = "../measure.rs"]
#[expect(dead_code, reason = "the measure is no floor here")]
mod measure;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "a bench needs only a part of what tests stand on")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::images::{Layout, Shape};
use crate::measure::{median, print_row};
use crate::support::lab::{Lab, run, until};
use crate::support::registry::Registry;

/// How often each side runs, in turns.
const ROUNDS: usize = 3;

const SHAPES: [Shape; 2] = [
    // 105 MB as it is moved.
    Shape {
        name: "one",
        layers: 1,
        files: 6_000,
        layer_bytes: 300_000_000,
    },
    Shape {
        name: "ten",
        layers: 10,
        files: 4_000,
        layer_bytes: 50_000_000,
    },
];

fn main() {
    let lab = Lab::new("bench-pull");
    let registry = Registry::start(&lab);
    for shape in &SHAPES {
        let layout = images::make(lab.path(), shape).expect("an image");
        let name = registry.name(&format!("bench/{}:1", shape.name));
        let source = format!("oci:{}", layout.directory.display());
        let target = format!("docker://{name}");
        lab.host([
            "skopeo",
            "copy",
            "-q",
            "--dest-tls-verify=false",
            &source,
            &target,
        ])
        .ok();
        compare(&lab, shape, &layout, &name);
    }
}

fn compare(lab: &Lab, shape: &Shape, layout: &Layout, name: &str) {
    let (mut download, mut unpack, mut igzip, mut orc) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let has_igzip = Command::new("igzip").arg("--version").output().is_ok();
    let mut peaks = Vec::new();
    for round in 0..ROUNDS {
        let place = |side: &str| lab.path().join(format!("{}-{side}-{round}", shape.name));
        download.push(timed(|| skopeo(lab, name, &place("skopeo"))));
        unpack.push(timed(|| unpack_all(layout, "zcat", &place("zcat"))));
        if has_igzip {
            let place = place("igzip");
            igzip.push(timed(|| unpack_all(layout, "igzip -dc", &place)));
        }
        let (time, peak) = pull(lab, name, &place("orc"));
        orc.push(time);
        peaks.push(peak);
    }
    println!(
        "pull and unpack of {} layers, {} files, {} MB packed, {} MB unpacked; median of {ROUNDS}:",
        shape.layers,
        shape.layers * shape.files,
        layout.packed_bytes / 1_000_000,
        layout.bytes / 1_000_000,
    );
    let slower = median(&download).max(median(&unpack));
    for (what, side) in [
        ("skopeo copy (download only)", &download),
        ("zcat | tar x (inflate and write only)", &unpack),
        ("igzip | tar x (inflate and write only)", &igzip),
        ("orc pull", &orc),
    ] {
        if !side.is_empty() {
            print_row(what, side, slower);
        }
    }
    let peak = peaks.iter().max().copied().unwrap_or_default();
    println!(
        "  {:44} {:7.1} MiB",
        "the daemon's peak",
        peak as f64 / 1024.0
    );
}

/// How long `work` takes on a disk that has nothing else left to write.
fn timed(work: impl FnOnce()) -> Duration {
    run(&mut Command::new("sync")).ok();
    let start = Instant::now();
    work();
    start.elapsed()
}

fn skopeo(lab: &Lab, name: &str, place: &Path) {
    let source = format!("docker://{name}");
    let target = format!("dir:{}", place.display());
    lab.host([
        "skopeo",
        "copy",
        "-q",
        "--src-tls-verify=false",
        &source,
        &target,
    ])
    .ok();
}

fn unpack_all(layout: &Layout, inflate: &str, place: &Path) {
    for (index, layer) in layout.layers.iter().enumerate() {
        let target = place.join(index.to_string());
        std::fs::create_dir_all(&target).expect("a directory");
        let line = format!(
            "{inflate} {} | tar x -C {}",
            layer.display(),
            target.display()
        );
        run(Command::new("sh").args(["-c", &line])).ok();
    }
}

/// Pulls with a daemon of its own; the time from the command to its end, and the most memory that the
/// daemon took, in KiB.
fn pull(lab: &Lab, name: &str, place: &Path) -> (Duration, u64) {
    let orc = |args: &[&str]| {
        let mut command = lab.command(std::iter::once("orc").chain(args.iter().copied()));
        command
            .env("ORC_DATA_ROOT", place.join("data"))
            .env("ORC_RUN_ROOT", place.join("run"))
            .env(
                "DOCKER_HOST",
                format!("unix://{}", place.join("run/orc.sock").display()),
            );
        command
    };
    std::fs::create_dir_all(place).expect("a directory");
    // Starts the daemon.
    run(&mut orc(&["images"])).ok();
    let time = timed(|| {
        run(&mut orc(&["pull", "-q", name])).ok();
    });
    let peak = peak_kib(&place.join("run/orc.lock"));
    run(&mut orc(&["daemon", "stop"])).ok();
    (time, peak)
}

/// The peak resident set size of the process in a lock file (proc_pid_status(5)).
fn peak_kib(lock: &PathBuf) -> u64 {
    let pid = until("the daemon writes its pid", || {
        std::fs::read_to_string(lock).ok()
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()))
        .expect("the daemon's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}
