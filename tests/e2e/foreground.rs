//! `orc up` in the foreground: prefixes, Ctrl-C, and a second Ctrl-C.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::support::lab::{Lab, until};

const TALKER: &str = "
services:
  web:
    image: example/busybox:1
    command: sh -c 'echo up and running; exec sleep 100000'
    init: true
  deaf:
    image: example/busybox:1
    command: sh -c \"trap '' TERM; echo deaf is here; while :; do sleep 1; done\"
    stop_grace_period: 60s
    profiles: [deaf]
";

fn lines(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .expect("kill")
            .success()
    );
}

fn wait_for(lines: &Receiver<String>, what: &str) -> String {
    until(what, || lines.try_iter().find(|line| line.contains(what)))
}

#[test]
fn it_prefixes_lines_and_stops_on_ctrl_c() {
    let lab = Lab::with_busybox("ctrlc");
    let project = lab.project("ctrlc", TALKER);
    let mut up = lab.spawn([
        "sh",
        "-c",
        &format!("cd {} && exec orc up", project.display()),
    ]);
    let lines = lines(&mut up);
    let line = wait_for(&lines, "up and running");
    assert_eq!(line, "web-1  | up and running");
    assert_eq!(lab.orc(["ps", "-q"]).ok().lines().count(), 1);
    interrupt(&up);
    let status = up.wait().expect("its end");
    assert_eq!(status.code(), Some(130), "{status:?}");
    assert_eq!(lab.orc(["ps", "-q"]).ok(), "", "it is stopped");
    assert_eq!(
        lab.orc(["ps", "-aq"]).ok().lines().count(),
        1,
        "and still there"
    );
    lab.sh(&project, "orc down").ok();
}

#[test]
fn a_second_ctrl_c_kills() {
    let lab = Lab::with_busybox("ctrlcc");
    let project = lab.project("ctrlcc", TALKER);
    let script = format!(
        "cd {} && exec orc compose --profile deaf up",
        project.display()
    );
    let mut up = lab.spawn(["sh", "-c", &script]);
    let lines = lines(&mut up);
    wait_for(&lines, "deaf is here");
    let start = Instant::now();
    interrupt(&up);
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        up.try_wait().expect("its state").is_none(),
        "it waits for the deaf one"
    );
    interrupt(&up);
    up.wait().expect("its end");
    assert!(
        start.elapsed() < Duration::from_secs(40),
        "it waited for the grace period"
    );
    assert_eq!(lab.orc(["ps", "-q"]).ok(), "");
    lab.sh(&project, "orc compose --profile deaf down").ok();
}

#[test]
fn on_a_terminal_prefixes_have_colours() {
    let lab = Lab::with_busybox("colours");
    let project = lab.project(
        "colours",
        "services:\n  web:\n    image: example/busybox:1\n    command: echo one line\n",
    );
    let script = format!(
        "script -qec 'orc up' {}/typescript < /dev/null",
        lab.path().display()
    );
    lab.sh(&project, &script);
    let text = std::fs::read_to_string(lab.path().join("typescript")).expect("a typescript");
    let line = text
        .lines()
        .find(|line| line.contains("one line"))
        .expect("the line");
    assert!(
        line.contains("web-1") && line.contains("\u{1b}["),
        "{line:?}"
    );
    let script = format!(
        "NO_COLOR=1 script -qec 'orc up' {}/plain < /dev/null",
        lab.path().display()
    );
    lab.sh(&project, &script);
    let text = std::fs::read_to_string(lab.path().join("plain")).expect("a typescript");
    let line = text
        .lines()
        .find(|line| line.contains("one line"))
        .expect("the line");
    assert!(!line.contains("\u{1b}[3"), "{line:?}");
    lab.sh(&project, "orc down").ok();
}

#[test]
fn it_ends_with_its_containers() {
    let lab = Lab::with_busybox("ends");
    let project = lab.project(
        "ends",
        "services:\n  job:\n    image: example/busybox:1\n    command: sh -c 'echo done; exit 0'\n",
    );
    let output = lab.sh(&project, "orc up").ok();
    assert!(output.contains("job-1  | done"), "{output}");
    let text = lab.sh(&project, "orc up 2>&1").ok();
    assert!(text.contains("job-1 exited with code 0"), "{text}");
    let file = "services:\n  job:\n    image: example/busybox:1\n    command: sh -c 'exit 5'\n";
    std::fs::write(project.join("compose.yaml"), file).expect("a file");
    assert_eq!(lab.sh(&project, "orc up --exit-code-from job").code, 5);
    lab.sh(&project, "orc down").ok();
}
