//! The `COMPOSE_…` variables, each in the project's `.env`, in the environment, and against a flag.

use std::path::Path;

use crate::support::lab::{Lab, Ran};

const RUNS: &str = "image: example/busybox:1\n    command: sleep 100000\n    init: true";

fn with(lab: &Lab, project: &Path, env: &str, line: &str) -> Ran {
    std::fs::write(project.join(".env"), env).expect("a file");
    lab.sh(project, line)
}

#[test]
fn each_variable_is_meant_in_the_env_file() {
    let lab = Lab::with_busybox("dotenv");
    let one = format!("services:\n  a:\n    {RUNS}\n");
    let two = format!("{one}  b:\n    {RUNS}\n  c:\n    {RUNS}\n    profiles: [p]\n");
    let project = lab.project("dotenv", &two);
    std::fs::write(project.join("one.yaml"), &one).expect("a file");
    std::fs::write(
        project.join("more.yaml"),
        format!("services:\n  d:\n    {RUNS}\n"),
    )
    .expect("a file");
    let services = |env: &str, before: &str| {
        let line = format!("{before} orc compose config --services");
        with(&lab, &project, env, &line).ok()
    };

    // What the project is.
    assert_eq!(services("COMPOSE_FILE=one.yaml", ""), "a\n");
    assert_eq!(services("COMPOSE_FILE=one.yaml:more.yaml", ""), "a\nd\n");
    let other = "COMPOSE_FILE=one.yaml,more.yaml\nCOMPOSE_PATH_SEPARATOR=,";
    assert_eq!(services(other, ""), "a\nd\n");
    assert_eq!(services("COMPOSE_PROFILES=p", ""), "a\nb\nc\n");
    assert_eq!(
        services("COMPOSE_PROFILES=p", "COMPOSE_PROFILES="),
        "a\nb\n"
    );
    let disabled = "COMPOSE_DISABLE_ENV_FILE=1";
    assert_eq!(services("COMPOSE_FILE=one.yaml", disabled), "a\nb\n");
    let named = "COMPOSE_ENV_FILES=other.env";
    std::fs::write(project.join("other.env"), "COMPOSE_FILE=more.yaml").expect("a file");
    assert_eq!(services("COMPOSE_FILE=one.yaml", named), "d\n");
    let named = with(
        &lab,
        &project,
        "COMPOSE_PROJECT_NAME=other",
        "orc compose config",
    );
    assert!(named.ok().starts_with("name: other\n"));
    let plain = with(&lab, &project, "", "orc compose config").ok();
    // Of Windows, and of Docker's builder: they change nothing here.
    for nothing in ["COMPOSE_CONVERT_WINDOWS_PATHS=1", "COMPOSE_BAKE=true"] {
        assert_eq!(
            with(&lab, &project, nothing, "orc compose config").ok(),
            plain
        );
    }
    let switch = "COMPOSE_EXPERIMENTAL_GIT_REMOTE=0";
    std::fs::write(
        project.join("far.yaml"),
        "include: ['git://127.0.0.1/x.git']",
    )
    .expect("a file");
    let off = with(&lab, &project, switch, "orc compose -f far.yaml config").refused();
    assert!(
        off.contains("COMPOSE_EXPERIMENTAL_GIT_REMOTE is 0"),
        "{off}"
    );

    // How it is told.
    let up = with(&lab, &project, "COMPOSE_PROGRESS=json", "orc compose up -d");
    assert!(up.stderr.lines().all(|line| line.starts_with('{')), "{up}");
    up.ok();
    let restart = "orc compose restart -t 0";
    let plain = with(
        &lab,
        &project,
        "COMPOSE_PROGRESS=json",
        "orc compose --progress plain restart -t 0",
    );
    assert!(
        plain.stderr.contains(" Container "),
        "a flag says more: {plain}"
    );
    let plain = with(
        &lab,
        &project,
        "COMPOSE_PROGRESS=json",
        "COMPOSE_PROGRESS=plain orc up -d --force-recreate",
    );
    assert!(
        plain.stderr.contains(" Container "),
        "so does the environment: {plain}"
    );
    let moved = with(&lab, &project, "COMPOSE_STATUS_STDOUT=1", restart);
    assert!(
        moved.stdout.contains(" Container ") && moved.stderr.is_empty(),
        "{moved}"
    );
    let stays = with(
        &lab,
        &project,
        "COMPOSE_STATUS_STDOUT=1",
        &format!("COMPOSE_STATUS_STDOUT=0 {restart}"),
    );
    assert!(stays.stdout.is_empty(), "{stays}");
    let clash = with(
        &lab,
        &project,
        "COMPOSE_ANSI=never",
        "orc compose --progress tty ps",
    );
    assert!(clash.refused().contains("`--ansi never`"));
    with(
        &lab,
        &project,
        "COMPOSE_ANSI=never",
        "orc compose --ansi auto --progress tty ps",
    )
    .ok();
    let wrong = with(&lab, &project, "COMPOSE_ANSI=red", "orc compose ps").refused();
    assert!(wrong.contains("COMPOSE_ANSI in `.env` is `red`"), "{wrong}");
    let wrong = with(&lab, &project, "COMPOSE_PARALLEL_LIMIT=x", "orc compose ps").refused();
    assert!(
        wrong.contains("COMPOSE_PARALLEL_LIMIT in `.env` is `x`"),
        "{wrong}"
    );
    with(&lab, &project, "COMPOSE_PARALLEL_LIMIT=1", restart).ok();

    // What is done.
    std::fs::write(project.join("compose.yaml"), &one).expect("a file");
    let up = "orc compose up -d";
    let said = with(&lab, &project, "", up);
    assert!(said.stderr.contains("Found orphan containers"), "{said}");
    let said = with(&lab, &project, "COMPOSE_IGNORE_ORPHANS=1", up);
    assert!(!said.stderr.contains("orphan"), "{said}");
    with(&lab, &project, "COMPOSE_REMOVE_ORPHANS=1", up).ok();
    let left = with(
        &lab,
        &project,
        "",
        "orc compose ps -a --orphans --format '{{.Name}}'",
    )
    .ok();
    assert_eq!(left, "dotenv-a-1\n");
    let named = with(
        &lab,
        &project,
        "COMPOSE_COMPATIBILITY=1",
        "orc compose -p fresh --dry-run up",
    )
    .ok();
    assert!(
        named.contains("fresh_a_1") && !named.contains("fresh-a-1"),
        "{named}"
    );
    with(&lab, &project, "", "orc compose down").ok();
}
