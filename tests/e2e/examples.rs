//! The example projects do what their `expect.txt` promises, and leave nothing behind.
//!
//! Lines that begin with `$ ` are commands, run by a shell in a copy of the project's directory, which
//! they may change; the lines below are their standard output.

use std::path::{Path, PathBuf};

use crate::support::lab::{Lab, run};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("compose-examples")
        .join(name)
}

/// The commands of an `expect.txt` and what each prints.
fn script(name: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(example(name).join("expect.txt")).expect("an expect.txt");
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.into(), String::new())),
            (None, Some((_, output))) => *output += &format!("{line}\n"),
            (None, None) => panic!("{name}/expect.txt does not begin with a command"),
        }
    }
    steps
}

fn keeps_its_promise(lab: &Lab, name: &str) {
    let before = lab.snapshot();
    let copy = lab.path().join(name);
    run(std::process::Command::new("cp")
        .arg("-a")
        .args([example(name), copy.clone()]))
    .ok();
    for (command, output) in script(name) {
        let printed = lab.sh(&copy, &command).ok();
        assert_eq!(printed, output, "of `{command}` in {name}");
    }
    before.is_back(lab);
}

/// All examples are run.
#[test]
fn every_example_is_run() {
    let this = include_str!("examples.rs");
    let directory = example("");
    for entry in std::fs::read_dir(directory).expect("the examples") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_run = this.contains(&format!(", \"{name}\");"));
        assert!(is_run || !entry.path().is_dir(), "{name} is not run");
    }
}

fn with_servers(test: &str) -> Lab {
    let lab = Lab::with_busybox(test);
    lab.import("python", "example/python:bookworm");
    lab.import("redis", "example/redis:7");
    lab
}

#[test]
fn hello() {
    keeps_its_promise(&Lab::with_busybox("hello"), "hello");
}

#[test]
fn health() {
    keeps_its_promise(&Lab::with_busybox("health"), "health");
}

#[test]
fn provider() {
    keeps_its_promise(&Lab::with_busybox("provider"), "provider");
}

#[test]
fn scale() {
    keeps_its_promise(&Lab::with_busybox("scale"), "scale");
}

#[test]
fn counter() {
    keeps_its_promise(&with_servers("counter"), "counter");
}

/// E13: the image is built from a Dockerfile.
#[test]
fn visits() {
    keeps_its_promise(&with_servers("visits"), "visits");
}

#[test]
fn contexts() {
    keeps_its_promise(&Lab::with_busybox("contexts"), "contexts");
}

#[test]
fn flask_dev() {
    keeps_its_promise(&with_servers("flask-dev"), "flask-dev");
}

#[test]
fn limits() {
    keeps_its_promise(&Lab::with_busybox("limits"), "limits");
}

#[test]
fn migrate() {
    keeps_its_promise(&with_servers("migrate"), "migrate");
}

#[test]
fn monitoring() {
    keeps_its_promise(&Lab::with_busybox("monitoring"), "monitoring");
}

#[test]
fn networks() {
    keeps_its_promise(&Lab::with_busybox("networks"), "networks");
}

#[test]
fn overrides() {
    keeps_its_promise(&Lab::with_busybox("overrides"), "overrides");
}

#[test]
fn profiles() {
    keeps_its_promise(&Lab::with_busybox("profiles"), "profiles");
}

#[test]
fn reuse() {
    keeps_its_promise(&Lab::with_busybox("reuse"), "reuse");
}

#[test]
fn secrets() {
    keeps_its_promise(&Lab::with_busybox("secrets"), "secrets");
}

#[test]
fn sidecar() {
    keeps_its_promise(&Lab::with_busybox("sidecar"), "sidecar");
}

#[test]
fn volumes() {
    keeps_its_promise(&with_servers("volumes"), "volumes");
}

#[test]
fn watch() {
    keeps_its_promise(&Lab::with_busybox("watch"), "watch");
}

#[test]
fn workers() {
    keeps_its_promise(&with_servers("workers"), "workers");
}

#[test]
fn hooks() {
    keeps_its_promise(&Lab::with_busybox("hooks"), "hooks");
}

#[test]
fn ipv6() {
    keeps_its_promise(&Lab::with_busybox("ipv6"), "ipv6");
}

#[test]
fn rolling() {
    keeps_its_promise(&Lab::with_busybox("rolling"), "rolling");
}
