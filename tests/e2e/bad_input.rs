//! Bad input: an error that names the thing, a code that is not zero, nothing left, and a next
//! attempt that works.

use std::path::Path;
use std::process::Command;

use crate::support::lab::{Lab, run};
use crate::support::registry::Registry;
use crate::support::server::Server;

const GOOD: &str =
    "services:\n  a:\n    image: example/busybox:1\n    command: sleep 100000\n    init: true\n";

/// `up` of a file is refused with a last line that has all `names`; the host is as before; then the
/// good file works.
#[track_caller]
fn refuses(lab: &Lab, compose: &str, names: &[&str]) {
    let before = lab.snapshot();
    let project = lab.project("bad", compose);
    let text = lab.sh(&project, "orc up -d").refused();
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("orc: "))
        .collect();
    let [error] = errors[..] else {
        panic!("not one error but {}: {text}", errors.len());
    };
    for name in names {
        assert!(error.contains(name), "`{name}` is not in: {error}");
    }
    assert!(lab.sh(&project, "orc compose -p bad down -v").code <= 1);
    before.is_back(lab);
    std::fs::write(project.join("compose.yaml"), GOOD).expect("a file");
    lab.sh(&project, "orc up -d").ok();
    lab.sh(&project, "orc down").ok();
    before.is_back(lab);
}

#[test]
fn files_that_are_wrong() {
    let lab = Lab::with_busybox("badfiles");
    let cases: &[(&str, &[&str])] = &[
        (
            "services:\n  a:\n    image: [unclosed\n",
            &["compose.yaml:3:12", "unclosed"],
        ),
        (
            "services:\n  a:\n    imag: example/busybox:1\n",
            &["compose.yaml:3:5", "services.a", "imag", "image"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:${VERSION:?give a version}\n",
            &["compose.yaml:3:", "VERSION", "give a version"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    depends_on: [b]\n  b:\n    image: example/busybox:1\n    depends_on: [a]\n",
            &["cycle", "a", "b"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    depends_on: [nobody]\n",
            &["compose.yaml:4:", "nobody"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    ports: ['80:eighty']\n",
            &["compose.yaml:4:13", "services.a.ports[0]", "eighty"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    networks: [nowhere]\n",
            &["nowhere"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    volumes: ['undeclared:/data']\n",
            &["undeclared"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    image: twice\n",
            &["compose.yaml:4", "image"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    volumes:\n      - type: bind\n        source: ./missing\n        target: /x\n        bind: {create_host_path: false}\n",
            &["missing"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    command: /bin/nope\n",
            &["/bin/nope", "no such file"],
        ),
        (
            "services:\n  a:\n    image: example/busybox:1\n    command: /etc/passwd\n",
            &["/etc/passwd", "permission denied"],
        ),
    ];
    for (compose, names) in cases {
        refuses(&lab, compose, names);
    }
}

#[test]
fn bombs_are_refused_quickly() {
    let lab = Lab::with_busybox("bombs");
    let mut bomb = String::from("x-a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (name, other) in [
        ("b", "a"),
        ("c", "b"),
        ("d", "c"),
        ("e", "d"),
        ("f", "e"),
        ("g", "f"),
        ("h", "g"),
        ("i", "h"),
    ] {
        bomb += &format!(
            "x-{name}: &{name} [{}]\n",
            vec![format!("*{other}"); 10].join(", ")
        );
    }
    bomb += "services:\n  a:\n    image: example/busybox:1\n    command: *i\n";
    refuses(&lab, &bomb, &["compose.yaml"]);
    let deep = format!("services:\n  a:\n    command: {}\n", "[".repeat(100_000));
    refuses(&lab, &deep, &["compose.yaml"]);
}

#[test]
fn images_that_cannot_be_had() {
    let lab = Lab::with_busybox("badimages");
    let registry = Registry::start(&lab);
    let of = |image: &str| format!("services:\n  a:\n    image: {image}\n");
    refuses(
        &lab,
        &of(&registry.name("nope:1")),
        &["localhost:5001/nope:1"],
    );
    refuses(
        &lab,
        &of("localhost:9/unreachable:1"),
        &["localhost:9", "refused"],
    );
    refuses(&lab, &of("UPPER/case"), &["UPPER/case"]);
    for (port, status, says) in [
        (
            5011,
            "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"",
            "401",
        ),
        (5012, "429 Too Many Requests", "429"),
        (5013, "500 Internal Server Error", "500"),
    ] {
        let server = Server::start(&lab, port, status);
        refuses(
            &lab,
            &of(&format!("localhost:{port}/image:1")),
            &[&format!("localhost:{port}"), says],
        );
        assert!(
            server.requests() < 60,
            "{} requests for {says}",
            server.requests()
        );
    }
}

#[test]
fn an_exec_of_a_missing_file() {
    let lab = Lab::with_busybox("badexec");
    lab.orc_line("run -d --name c example/busybox:1 sleep 100000")
        .ok();
    let before = lab.snapshot();
    let ran = lab.orc_line("exec c /bin/nope");
    assert_eq!(ran.code, 127, "{ran}");
    let text = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        text.contains("/bin/nope") && text.contains("no such file"),
        "{ran}"
    );
    assert_eq!(lab.orc_line("exec c /etc/passwd").code, 126);
    assert_eq!(lab.orc_line("exec nobody true").code, 1);
    before.is_back(&lab);
    lab.orc_line("exec c true").ok();
    lab.orc_line("rm -f c").ok();
}

#[test]
fn a_port_conflict_leaves_nothing() {
    let lab = Lab::with_busybox("badport");
    lab.orc_line("run -d --name owner -p 8080:80 example/busybox:1 sleep 100000")
        .ok();
    let compose = format!("{GOOD}    ports: ['8080:80']\n");
    refuses(&lab, &compose, &["8080", "owner"]);
    lab.orc_line("rm -f owner").ok();
}

#[test]
fn a_full_disk_while_pulling() {
    let lab = Lab::with_busybox("full");
    lab.import("redis", "example/redis:7");
    let registry = Registry::start(&lab);
    let image = registry.name("example/redis:7");
    lab.orc(["tag", "example/redis:7", &image]).ok();
    lab.orc(["push", &image]).ok();
    lab.orc_line("daemon stop").ok();

    // A second daemon on the same host, with a small disk.
    let small = lab.path().join("small");
    std::fs::create_dir(&small).expect("a directory");
    let mount = |options: &str| {
        let small = small.display().to_string();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "none", &small])).ok();
    };
    mount("size=30m");
    let orc = |args: &[&str]| {
        let mut command = lab.command(std::iter::once("orc").chain(args.iter().copied()));
        run(command
            .env("ORC_DATA_ROOT", small.join("data"))
            .env("ORC_RUN_ROOT", lab.path().join("small-run")))
    };
    let blobs = |path: &Path| {
        run(Command::new("find")
            .arg(path)
            .args(["-type", "f", "-size", "+64k"]))
        .ok()
    };
    orc(&["images"]).ok();
    let text = orc(&["pull", &image]).refused();
    assert!(text.contains("no space left"), "{text}");
    assert_eq!(orc(&["images", "-q"]).ok(), "");
    assert_eq!(blobs(&small), "", "half-made files are left");
    mount("remount,size=400m");
    orc(&["pull", &image]).ok();
    assert_eq!(orc(&["images", "-q"]).ok().lines().count(), 1);
    orc(&["daemon", "stop"]).ok();
}
