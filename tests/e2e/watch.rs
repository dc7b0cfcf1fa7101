//! What changes in files reaches containers; `compose-examples/watch` and `flask-dev` show the rest.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::lab::{Lab, until};

/// A page that is built in, a directory that is sent, a file that makes another image.
const PROJECT: &str = "services:
  web:
    build:
      context: .
      dockerfile_inline: |
        FROM example/busybox:1
        COPY recipe /recipe
        RUN sh /recipe
    command: sleep 100000
    init: true
    develop:
      watch:
        - {path: src, action: sync, target: /link/src}
        - {path: recipe, action: rebuild}
";

fn project(lab: &Lab) -> std::path::PathBuf {
    let project = lab.project("watched", PROJECT);
    std::fs::create_dir(project.join("src")).expect("a directory");
    std::fs::write(project.join("src/page"), "one").expect("a file");
    std::fs::write(
        project.join("recipe"),
        "mkdir /real && ln -s /real /link && echo 1 > /built",
    )
    .expect("a file");
    project
}

/// `orc …` that runs beside the test, with what it says in `said`.
fn beside(lab: &Lab, project: &Path, line: &str) -> Child {
    let said = std::fs::File::create(project.join("said")).expect("a file");
    lab.command(line.split_whitespace())
        .current_dir(project)
        .stdout(Stdio::from(said.try_clone().expect("a file")))
        .stderr(Stdio::from(said))
        .spawn()
        .expect("a program starts")
}

fn said(project: &Path) -> String {
    std::fs::read_to_string(project.join("said")).unwrap_or_default()
}

fn until_said(project: &Path, text: &str) {
    until(text, || said(project).contains(text).then_some(()));
}

fn content(lab: &Lab, project: &Path, path: &str) -> Option<String> {
    let ran = lab.sh(project, &format!("orc exec web cat {path}"));
    (ran.code == 0).then_some(ran.stdout)
}

fn until_content(lab: &Lab, project: &Path, path: &str, wanted: Option<&str>) {
    until(path, || {
        (content(lab, project, path).as_deref() == wanted).then_some(())
    });
}

#[test]
fn watching_outlives_failures_and_replaced_containers() {
    let lab = Lab::with_busybox("watching");
    let project = project(&lab);
    let planned = lab.sh(&project, "orc compose --dry-run watch").ok();
    assert_eq!(planned.lines().count(), 2, "{planned}");
    assert!(planned.contains("sync web: "), "{planned}");

    let mut watch = beside(&lab, &project, "orc compose watch --quiet");
    until_said(&project, "Watch enabled");
    // Nothing was sent before the first change; links on the way are the container's own.
    assert_eq!(content(&lab, &project, "/real/src/page"), None);
    std::fs::write(project.join("src/page"), "two").expect("a file");
    until_content(&lab, &project, "/real/src/page", Some("two"));
    // Another container is sent it again, whoever made it.
    lab.sh(&project, "orc up -d --force-recreate").ok();
    until_content(&lab, &project, "/real/src/page", Some("two"));
    std::fs::remove_file(project.join("src/page")).expect("it is there");
    until_content(&lab, &project, "/real/src/page", None);

    // A build that fails leaves what runs, and the next one mends it.
    let good = std::fs::read_to_string(project.join("recipe")).expect("a file");
    std::fs::write(project.join("recipe"), "echo broken; exit 3").expect("a file");
    until_said(&project, "rebuild web failed");
    assert_eq!(content(&lab, &project, "/built").as_deref(), Some("1\n"));
    std::fs::write(project.join("recipe"), good.replace("echo 1", "echo 2")).expect("a file");
    until_content(&lab, &project, "/built", Some("2\n"));
    let dangling = lab.orc_line("image ls -q --filter dangling=true").ok();
    assert_eq!(dangling, "", "the image before is removed");

    lab.sh(&project, &format!("kill -INT {}", watch.id())).ok();
    let code = watch.wait().expect("it ends").code();
    assert_eq!(code, Some(130), "{}", said(&project));
    assert!(said(&project).contains("Watch disabled"));
    assert!(
        content(&lab, &project, "/built").is_some(),
        "containers go on"
    );

    // Of a project that is up already; of one that has nothing to watch.
    let mut watch = beside(&lab, &project, "orc compose watch --no-up");
    until_said(&project, "Watch enabled");
    std::fs::write(project.join("src/new"), "new").expect("a file");
    until_content(&lab, &project, "/real/src/new", Some("new"));
    lab.sh(&project, &format!("kill -INT {}", watch.id())).ok();
    watch.wait().expect("it ends");
    lab.sh(&project, "orc down").ok();
    let plain = lab.project("plain", "services:\n  a: {image: example/busybox:1}\n");
    let refused = lab.sh(&plain, "orc compose watch").refused();
    assert!(refused.contains("configured for watch"), "{refused}");
    let refused = lab.sh(&project, "orc up -d --watch").refused();
    assert!(refused.contains("--watch"), "{refused}");
}

/// On a terminal `w` turns watching on, and `d` leaves the containers running.
#[test]
fn keys_of_the_menu() {
    let lab = Lab::with_busybox("menu");
    let project = project(&lab);
    lab.sh(&project, "orc compose build --quiet").ok();
    let typed = std::fs::File::create(project.join("said")).expect("a file");
    let mut terminal = lab
        .command(["script", "-qefc", "orc up", "/dev/null"])
        .current_dir(&project)
        .stdin(Stdio::piped())
        .stdout(Stdio::from(typed))
        .spawn()
        .expect("a program starts");
    let mut keys = terminal.stdin.take().expect("its input");
    let mut press = |key: &[u8]| {
        keys.write_all(key)
            .and_then(|()| keys.flush())
            .expect("it listens");
    };
    until_said(&project, "w Enable Watch   d Detach");
    press(b"w");
    until_said(&project, "Watch enabled");
    until_said(&project, "w Disable Watch");
    std::fs::write(project.join("src/page"), "two").expect("a file");
    until_content(&lab, &project, "/real/src/page", Some("two"));
    press(b"w");
    until_said(&project, "Watch disabled");
    press(b"d");
    let code = terminal.wait().expect("it ends").code();
    assert_eq!(code, Some(0), "{}", said(&project));
    assert!(
        content(&lab, &project, "/built").is_some(),
        "containers go on"
    );
    lab.sh(&project, "orc down").ok();
}
