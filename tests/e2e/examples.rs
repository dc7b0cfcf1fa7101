//! The example projects do what their `expect.txt` promises, and leave nothing behind.
//!
//! Lines that begin with `$ ` are commands, run by a shell in the project's directory; the lines
//! below are their standard output.

use std::path::{Path, PathBuf};

use crate::support::lab::Lab;

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
    for (command, output) in script(name) {
        let printed = lab.sh(&example(name), &command).ok();
        assert_eq!(printed, output, "of `{command}` in {name}");
    }
    before.is_back(lab);
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
fn scale() {
    keeps_its_promise(&Lab::with_busybox("scale"), "scale");
}

#[test]
fn counter() {
    let lab = Lab::new("counter");
    lab.import("python", "example/python:bookworm");
    lab.import("redis", "example/redis:7");
    keeps_its_promise(&lab, "counter");
}

/// E13: the image is built from a Dockerfile.
#[test]
fn visits() {
    let lab = Lab::new("visits");
    lab.import("python", "example/python:bookworm");
    lab.import("redis", "example/redis:7");
    keeps_its_promise(&lab, "visits");
}
