//! Updates of running projects: lot after lot, back when they fail, and back on demand.

use std::path::Path;

use crate::support::lab::Lab;

/// Two replicas that are replaced one after the other, the new one first.
fn text(command: &str, update: &str) -> String {
    format!(
        "
services:
  web:
    image: example/busybox:1
    command: [sh, -c, '{command}']
    stop_signal: SIGKILL
    healthcheck: {{test: [CMD, test, -e, /up], interval: 1s, start_period: 5s, start_interval: 50ms, retries: 2}}
    deploy:
      replicas: 2
      update_config: {{{update}}}
"
    )
}

const GOOD: &str = "touch /up; exec sleep 1000";

/// What the containers of the project are called and run, in order of name.
fn running(lab: &Lab, directory: &Path) -> Vec<String> {
    let names = lab
        .sh(directory, "orc compose ps --format '{{.Name}}'")
        .ok();
    let command = |name: &str| {
        let line = format!("orc inspect --format '{{{{.Name}}}} {{{{.Config.Cmd}}}}' {name}");
        lab.sh(directory, &line).ok().trim().to_owned()
    };
    names.lines().map(command).collect()
}

#[test]
fn an_update_starts_the_new_one_first_and_keeps_the_names() {
    let lab = Lab::with_busybox("update");
    let before = lab.snapshot();
    let update = "order: start-first";
    let directory = lab.project("demo", &text(GOOD, update));
    lab.sh(&directory, "orc up -d --wait").ok();
    let changed = format!("echo new; {GOOD}");
    lab.project("demo", &text(&changed, update));
    let told = lab.sh(&directory, "orc up -d");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = told.stderr.lines().map(words).collect();
    let at = |wanted: &str| {
        let found = lines.iter().position(|line| line.ends_with(wanted));
        found.unwrap_or_else(|| panic!("no line {wanted}: {told}"))
    };
    assert!(at("_demo-web-1 Ready") < at("Container demo-web-1 Stopping"));
    assert!(at("_demo-web-1 Renamed") < at("_demo-web-2 Creating"));
    let now = running(&lab, &directory);
    assert_eq!(now.len(), 2, "{now:?}");
    for (number, line) in now.iter().enumerate() {
        assert!(
            line.starts_with(&format!("/demo-web-{} ", number + 1)),
            "{now:?}"
        );
        assert!(line.contains("echo new"), "{now:?}");
    }
    // Names lead to the new ones, and nothing is left to do.
    let asked = "orc compose exec -T web nslookup demo-web-2";
    lab.sh(&directory, asked).ok();
    assert_eq!(lab.sh(&directory, "orc plan -q").code, 0);
    lab.sh(&directory, "orc down").ok();
    before.is_back(&lab);
}

#[test]
fn an_update_that_fails_is_taken_back() {
    let lab = Lab::with_busybox("back");
    for order in ["start-first", "stop-first"] {
        let update = format!("order: {order}, failure_action: rollback");
        let directory = lab.project(order, &text(GOOD, &update));
        lab.sh(&directory, "orc up -d --wait").ok();
        let good = running(&lab, &directory);
        lab.project(order, &text("echo no disk left; exit 3", &update));
        let told = lab.sh(&directory, "orc up -d");
        assert_eq!(told.code, 1, "{told}");
        for words in [
            "web is back at revision 1",
            "update of web, 1 of 2",
            "exited with code 3",
            "| no disk left",
        ] {
            assert!(told.stderr.contains(words), "{words}: {told}");
        }
        assert_eq!(running(&lab, &directory), good);
        let states = lab.sh(
            &directory,
            "orc compose ps -a --format '{{.State}} {{.Health}}'",
        );
        assert_eq!(states.ok(), "running healthy\nrunning healthy\n");
        lab.sh(&directory, "orc down").ok();
    }
}

#[test]
fn history_tells_what_ran_and_rollback_runs_it_again() {
    let lab = Lab::with_busybox("history");
    let text = |word: &str| {
        format!(
            "services: {{a: {{image: 'demo/a:1', command: sleep 1000, stop_signal: KILL, environment: {{WORD: '{word}$$'}}}}}}"
        )
    };
    let directory = lab.project("demo", &text("one"));
    lab.orc_line("tag example/busybox:1 demo/a:1").ok();
    lab.sh(&directory, "orc up -d").ok();
    // Nothing new, nothing to write down.
    lab.sh(&directory, "orc up -d").ok();
    lab.project("demo", &text("two"));
    lab.sh(&directory, "orc up -d").ok();
    // The same file and another image.
    lab.import("busybox", "demo/a:1");
    lab.sh(&directory, "orc up -d").ok();
    let list = "orc compose history --format '{{.Revision}} {{.By}} {{.Changes}}'";
    assert_eq!(
        lab.sh(&directory, list).ok(),
        "3 up a (image)\n2 up a (configuration)\n1 up a (new)\n"
    );
    let shown = lab.sh(&directory, "orc compose history 1").ok();
    assert!(shown.contains("WORD: one$$"), "{shown}");
    assert!(shown.starts_with("# a: demo/a:1 (sha256:"), "{shown}");
    let word = "orc compose exec -T a sh -c 'echo $WORD'";
    let image = "orc inspect --format '{{.Image}}' demo-a-1";
    let new_image = lab.sh(&directory, image).ok();

    let plan = lab.sh(&directory, "orc compose --dry-run rollback 1").ok();
    assert!(
        plan.contains("stop demo-a-1  (configuration changed)"),
        "{plan}"
    );
    lab.sh(&directory, "orc compose rollback 1").ok();
    assert_eq!(lab.sh(&directory, word).ok(), "one$\n");
    assert_ne!(lab.sh(&directory, image).ok(), new_image);
    // Without a number it is the one before; the file of the project has not changed.
    lab.sh(&directory, "orc compose rollback").ok();
    assert_eq!(lab.sh(&directory, word).ok(), "two$\n");
    assert_eq!(lab.sh(&directory, image).ok(), new_image);
    assert_eq!(lab.sh(&directory, "orc plan -q").code, 0);
    let numbers = lab.sh(&directory, "orc compose history -q").ok();
    assert_eq!(numbers, "5\n4\n3\n2\n1\n");
    // It outlives the project, and is forgotten on demand.
    lab.sh(&directory, "orc down").ok();
    lab.sh(&directory, "orc compose rollback 1").ok();
    assert_eq!(lab.sh(&directory, word).ok(), "one$\n");
    lab.sh(&directory, "orc down").ok();
    let unknown = lab.sh(&directory, "orc compose rollback 77").refused();
    assert!(unknown.contains("there is no revision 77"), "{unknown}");
    lab.sh(&directory, "orc compose history --clear").ok();
    let none = lab.sh(&directory, "orc compose rollback").refused();
    assert!(none.contains("no revision before this one"), "{none}");
}
