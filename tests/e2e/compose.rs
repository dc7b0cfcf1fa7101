//! What Compose promises about a project's life.

use crate::support::lab::{Lab, until};

const BUSY: &str = "image: example/busybox:1\n    command: sleep 100000\n    stop_grace_period: 1s";

/// Ids of the project's containers by service.
fn ids(lab: &Lab, project: &std::path::Path) -> Vec<(String, String)> {
    let text = lab
        .sh(
            project,
            "orc compose ps -a --format '{{.Service}} {{.ID}}' | sort",
        )
        .ok();
    text.lines()
        .map(|line| line.split_once(' ').expect("two words"))
        .map(|(service, id)| (service.to_owned(), id.to_owned()))
        .collect()
}

#[test]
fn a_second_up_does_nothing_and_a_change_recreates_one() {
    let lab = Lab::with_busybox("noop");
    let file = format!("services:\n  a:\n    {BUSY}\n  b:\n    {BUSY}\n");
    let project = lab.project("noop", &file);
    let before = lab.snapshot();
    let plan = lab.sh(&project, "orc up --dry-run").stdout;
    for expected in ["noop_default", "noop-a-1", "noop-b-1"] {
        assert!(plan.contains(expected), "{plan}");
    }
    before.is_back(&lab);

    lab.sh(&project, "orc up -d").ok();
    let first = ids(&lab, &project);
    assert_eq!(first.len(), 2);
    lab.sh(&project, "orc up -d").ok();
    assert_eq!(ids(&lab, &project), first, "nothing changed");

    std::fs::write(
        project.join("compose.yaml"),
        file.replacen("100000", "200000", 1),
    )
    .expect("a file");
    lab.sh(&project, "orc up -d").ok();
    let second = ids(&lab, &project);
    assert_ne!(second[0], first[0], "a changed");
    assert_eq!(second[1], first[1], "b did not");

    lab.sh(&project, "orc up -d --force-recreate b").ok();
    let third = ids(&lab, &project);
    assert_eq!(third[0], second[0]);
    assert_ne!(third[1], second[1]);
    lab.sh(&project, "orc down").ok();
    before.is_back(&lab);
}

#[test]
fn labels_are_docker_composes() {
    let lab = Lab::with_busybox("labels");
    let project = lab.project("labels", &format!("services:\n  a:\n    {BUSY}\n"));
    lab.sh(&project, "orc up -d").ok();
    let label = |key: &str| {
        let format = format!("{{{{index .Config.Labels \"com.docker.compose.{key}\"}}}}");
        lab.orc(["inspect", "-f", &format, "labels-a-1"])
            .ok()
            .trim()
            .to_owned()
    };
    assert_eq!(label("project"), "labels");
    assert_eq!(label("service"), "a");
    assert_eq!(label("container-number"), "1");
    assert_eq!(label("oneoff"), "False");
    assert_eq!(label("config-hash").len(), 64);
    assert_eq!(label("project.working_dir"), project.display().to_string());
    assert_eq!(
        label("project.config_files"),
        project.join("compose.yaml").display().to_string()
    );
    lab.sh(&project, "orc down").ok();
}

#[test]
fn orphans_are_told_and_removed_when_asked() {
    let lab = Lab::with_busybox("orphans");
    let two = format!("services:\n  a:\n    {BUSY}\n  b:\n    {BUSY}\n");
    let project = lab.project("orphans", &two);
    lab.sh(&project, "orc up -d").ok();
    std::fs::write(
        project.join("compose.yaml"),
        format!("services:\n  a:\n    {BUSY}\n"),
    )
    .expect("a file");
    let warned = lab.sh(&project, "orc up -d");
    assert!(
        warned.stderr.contains("orphan") && warned.stderr.contains("orphans-b-1"),
        "{warned}"
    );
    assert_eq!(lab.orc(["ps", "-q"]).ok().lines().count(), 2);
    lab.sh(&project, "orc up -d --remove-orphans").ok();
    assert_eq!(lab.orc(["ps", "-aq"]).ok().lines().count(), 1);
    lab.sh(&project, "orc down").ok();
}

#[test]
fn replicas_come_and_go() {
    let lab = Lab::with_busybox("replicas");
    let project = lab.project("replicas", &format!("services:\n  a:\n    {BUSY}\n"));
    let before = lab.snapshot();
    let names = || lab.sh(&project, "orc ps --format '{{.Names}}' | sort").ok();
    lab.sh(&project, "orc up -d --scale a=3").ok();
    assert_eq!(names(), "replicas-a-1\nreplicas-a-2\nreplicas-a-3\n");
    lab.sh(&project, "orc up -d --scale a=1").ok();
    assert_eq!(names(), "replicas-a-1\n");
    lab.sh(&project, "orc down").ok();
    before.is_back(&lab);
}

#[test]
fn profiles_select_services() {
    let lab = Lab::with_busybox("profiles");
    let file =
        format!("services:\n  a:\n    {BUSY}\n  debug:\n    {BUSY}\n    profiles: [debug]\n");
    let project = lab.project("profiles", &file);
    lab.sh(&project, "orc up -d").ok();
    assert_eq!(lab.sh(&project, "orc compose ps --services").ok(), "a\n");
    lab.sh(&project, "orc compose --profile debug up -d").ok();
    assert_eq!(lab.orc(["ps", "-q"]).ok().lines().count(), 2);
    lab.sh(&project, "orc compose --profile debug down").ok();
    assert_eq!(lab.orc(["ps", "-aq"]).ok(), "");
}

#[test]
fn the_environment_has_its_sources_in_order() {
    let lab = Lab::with_busybox("env");
    let file = "
x-common: &common
  image: example/busybox:1
  environment: &env
    SHARED: from-anchor
services:
  a:
    <<: *common
    command: env
    env_file:
      - values.env
      - path: missing.env
        required: false
    environment:
      <<: *env
      FROM_DOTENV: ${DOTENV}
      DEFAULTED: ${NOPE:-default}
      LITERAL: $${NOT_EXPANDED}
      OVERRIDE: from-environment
";
    let project = lab.project("env", file);
    std::fs::write(project.join(".env"), "DOTENV=from dotenv\n").expect("a file");
    std::fs::write(
        project.join("values.env"),
        "FILE='from file'\nOVERRIDE=from-file\n",
    )
    .expect("a file");
    let output = lab.sh(&project, "orc compose run --rm a").ok();
    for line in [
        "SHARED=from-anchor",
        "FROM_DOTENV=from dotenv",
        "DEFAULTED=default",
        "LITERAL=${NOT_EXPANDED}",
        "FILE=from file",
        "OVERRIDE=from-environment",
    ] {
        assert!(
            output.lines().any(|found| found == line),
            "{line} is not in\n{output}"
        );
    }
    lab.sh(&project, "orc down").ok();
}

#[test]
fn later_files_win() {
    let lab = Lab::with_busybox("files");
    let project = lab.project(
        "files",
        "services:\n  a:\n    image: example/busybox:1\n    command: echo first\n",
    );
    std::fs::write(
        project.join("more.yaml"),
        "services:\n  a:\n    command: echo second\n",
    )
    .expect("a file");
    let output = lab
        .sh(
            &project,
            "orc compose -f compose.yaml -f more.yaml run --rm a",
        )
        .ok();
    assert_eq!(output, "second\n");
    lab.sh(&project, "orc down").ok();
}

#[test]
fn secrets_and_configs_are_files() {
    let lab = Lab::with_busybox("secrets");
    let file = "
services:
  a:
    image: example/busybox:1
    command: cat /run/secrets/token /etc/app.conf
    secrets: [token]
    configs:
      - source: app
        target: /etc/app.conf
secrets:
  token:
    file: ./token.txt
configs:
  app:
    file: ./app.conf
";
    let project = lab.project("secrets", file);
    std::fs::write(project.join("token.txt"), "s3cret\n").expect("a file");
    std::fs::write(project.join("app.conf"), "key=value\n").expect("a file");
    assert_eq!(
        lab.sh(&project, "orc compose run --rm a").ok(),
        "s3cret\nkey=value\n"
    );
    lab.sh(&project, "orc down").ok();
}

#[test]
fn volumes_keep_data_until_they_are_removed() {
    let lab = Lab::with_busybox("volumes");
    let file = format!(
        "services:\n  a:\n    {BUSY}\n    volumes: ['data:/data', './here:/here']\nvolumes:\n  data:\n"
    );
    let project = lab.project("volumes", &file);
    let before = lab.snapshot();
    lab.sh(
        &project,
        "orc up -d && orc exec a sh -c 'echo kept > /data/file; echo bound > /here/file'",
    )
    .ok();
    assert_eq!(
        std::fs::read_to_string(project.join("here/file")).expect("a file"),
        "bound\n"
    );
    lab.sh(&project, "orc down && orc up -d").ok();
    assert_eq!(lab.sh(&project, "orc exec a cat /data/file").ok(), "kept\n");
    lab.sh(&project, "orc down -v").ok();
    before.is_back(&lab);
}

#[test]
fn a_volume_begins_with_what_the_image_has() {
    let lab = Lab::with_busybox("copyup");
    let copied = lab
        .orc_line("run --rm -v www:/var/www example/busybox:1 cat /var/www/index.html")
        .ok();
    assert_eq!(copied, "<h1>Hello from orc</h1>\n");
    lab.orc([
        "run",
        "--rm",
        "-v",
        "www:/var/www",
        "example/busybox:1",
        "sh",
        "-c",
        "echo mine > /var/www/index.html",
    ])
    .ok();
    let kept = lab
        .orc_line("run --rm -v www:/var/www example/busybox:1 cat /var/www/index.html")
        .ok();
    assert_eq!(kept, "mine\n");
    lab.orc_line("volume rm www").ok();
}

#[test]
fn a_failed_dependency_is_named() {
    let lab = Lab::with_busybox("faileddep");
    let file = format!(
        "services:\n  job:\n    image: example/busybox:1\n    command: sh -c 'echo no database here; exit 3'\n  \
         a:\n    {BUSY}\n    depends_on:\n      job:\n        condition: service_completed_successfully\n"
    );
    let project = lab.project("faileddep", &file);
    let text = lab.sh(&project, "orc up -d").refused();
    assert!(text.contains("job") && text.contains('3'), "{text}");
    assert!(
        text.contains("no database here"),
        "its last words are missing: {text}"
    );
    lab.sh(&project, "orc down").ok();
}

#[test]
fn an_unhealthy_dependency_is_named() {
    let lab = Lab::with_busybox("sickdep");
    let file = format!(
        "services:\n  db:\n    {BUSY}\n    healthcheck:\n      test: [CMD, sh, -c, 'echo not yet; exit 1']\n      \
         interval: 200ms\n      retries: 2\n  a:\n    {BUSY}\n    depends_on:\n      db:\n        condition: service_healthy\n"
    );
    let project = lab.project("sickdep", &file);
    let text = lab.sh(&project, "orc up -d").refused();
    assert!(text.contains("db") && text.contains("unhealthy"), "{text}");
    lab.sh(&project, "orc down").ok();
}

#[test]
fn wait_means_healthy() {
    let lab = Lab::with_busybox("wait");
    let file = format!(
        "services:\n  a:\n    {BUSY}\n    healthcheck:\n      test: [CMD, test, -e, /tmp/ready]\n      \
         interval: 200ms\n      retries: 100\n"
    );
    let project = lab.project("wait", &file);
    let mut up = lab
        .command(["orc", "up", "-d", "--wait"])
        .current_dir(&project)
        .spawn()
        .expect("orc starts");
    until("it runs", || {
        (lab.sh(&project, "orc exec a true").code == 0).then_some(())
    });
    until("probes fail", || {
        let failed = "orc inspect -f '{{.State.Health.FailingStreak}}' wait-a-1";
        let failed: u32 = lab
            .sh(&project, failed)
            .ok()
            .trim()
            .parse()
            .expect("a number");
        (failed >= 3).then_some(())
    });
    assert!(
        up.try_wait().expect("its state").is_none(),
        "it did not wait for health"
    );
    lab.sh(&project, "orc exec a touch /tmp/ready").ok();
    assert!(up.wait().expect("its end").success());
    lab.sh(&project, "orc down").ok();
}

#[test]
fn single_services_are_stopped_started_and_restarted() {
    let lab = Lab::with_busybox("verbs");
    let project = lab.project(
        "verbs",
        &format!("services:\n  a:\n    {BUSY}\n  b:\n    {BUSY}\n"),
    );
    lab.sh(&project, "orc up -d").ok();
    let running = || {
        lab.sh(
            &project,
            "orc compose ps --services --status running | sort",
        )
        .ok()
    };
    lab.sh(&project, "orc stop a").ok();
    assert_eq!(running(), "b\n");
    lab.sh(&project, "orc compose start").ok();
    assert_eq!(running(), "a\nb\n");
    let pid = || {
        lab.orc(["inspect", "-f", "{{.State.Pid}}", "verbs-b-1"])
            .ok()
    };
    let before = pid();
    lab.sh(&project, "orc compose restart b").ok();
    assert_ne!(pid(), before);
    lab.sh(&project, "orc down --rmi all").ok();
    assert_eq!(lab.orc(["images", "-q"]).ok(), "");
}

#[test]
fn config_prints_the_whole_project() {
    let lab = Lab::with_busybox("config");
    let project = lab.project(
        "config",
        "services:\n  a:\n    image: ${IMAGE:-example/busybox:1}\n    ports: ['80']\n",
    );
    let text = lab.sh(&project, "orc compose config").ok();
    assert!(
        text.contains("name: config") && text.contains("image: example/busybox:1"),
        "{text}"
    );
    let json = lab.sh(&project, "orc compose config --format json").ok();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["services"]["a"]["ports"][0]["target"], 80);
}

#[test]
fn a_key_that_is_not_built_is_named() {
    let lab = Lab::with_busybox("unbuilt");
    let file = format!("services:\n  a:\n    {BUSY}\n    credential_spec:\n      file: x.json\n");
    let project = lab.project("unbuilt", &file);
    let ran = lab.sh(&project, "orc up -d");
    assert!(ran.stderr.contains("credential_spec"), "{ran}");
    lab.sh(&project, "orc down").ok();
}

#[test]
fn a_plan_says_what_up_would_do() {
    let lab = Lab::with_busybox("plan");
    let file = format!(
        "services:\n  a:\n    {BUSY}\n    init: true\n  b:\n    {BUSY}\n    init: true\n    depends_on: [a]\n"
    );
    let project = lab.project("plan", &file);
    let before = lab.snapshot();
    let first = lab.sh(&project, "orc plan");
    assert_eq!(first.code, 2, "{first}");
    assert!(
        first.stdout.contains("create plan-a-1  (does not exist)"),
        "{first}"
    );
    assert_eq!(
        first.stdout,
        lab.sh(&project, "orc up --dry-run").ok(),
        "one plan"
    );
    let ran = lab.sh(&project, "orc compose plan --format json b");
    assert_eq!(ran.code, 2, "{ran}");
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let operations = json["operations"].as_array().expect("a list");
    let start = operations.last().expect("a step");
    assert_eq!(start["verb"], "start");
    assert_eq!(start["subject"], "Container plan-b-1");
    assert_eq!(start["cause"], "does not run");
    assert_eq!(start["id"], operations.len() - 1);
    assert!(
        !start["after"].as_array().expect("a list").is_empty(),
        "{ran}"
    );
    before.is_back(&lab);

    lab.sh(&project, "orc up -d").ok();
    for command in ["orc plan", "orc plan -q b", "orc compose plan"] {
        assert_eq!(lab.sh(&project, command).ok(), "", "{command}");
    }
    let json = lab.sh(&project, "orc plan --json").ok();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["operations"], serde_json::json!([]));

    std::fs::write(
        project.join("compose.yaml"),
        file.replacen("100000", "200000", 1),
    )
    .expect("a file");
    let kept = ids(&lab, &project);
    let changed = lab.sh(&project, "orc plan");
    assert_eq!(changed.code, 2, "{changed}");
    assert!(
        changed
            .stdout
            .contains("stop plan-a-1  (configuration changed)"),
        "{changed}"
    );
    assert_eq!(ids(&lab, &project), kept, "nothing was done");
    std::fs::write(project.join("compose.yaml"), "services: []\n").expect("a file");
    assert_eq!(lab.sh(&project, "orc plan").code, 1);
    std::fs::write(project.join("compose.yaml"), file).expect("a file");
    lab.sh(&project, "orc down").ok();
    before.is_back(&lab);
}

#[test]
fn waiting_says_which_probe_and_a_failure_shows_the_last_lines() {
    let lab = Lab::with_busybox("why");
    let file = format!(
        "services:\n  db:\n    image: example/busybox:1\n    init: true\n    \
         command: sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo log line $$i; done; sleep 100000'\n    \
         healthcheck:\n      test: [CMD, sh, -c, 'echo connection refused; exit 1']\n      \
         interval: 200ms\n      retries: 20\n  a:\n    {BUSY}\n    depends_on:\n      db:\n        condition: service_healthy\n"
    );
    let project = lab.project("why", &file);
    let ran = lab.sh(&project, "orc up -d --progress plain");
    assert_eq!(ran.code, 1, "{ran}");
    assert!(
        ran.stderr.lines().any(|line| {
            line.starts_with(" Container why-db-1 Waiting: db: healthy (probe ")
                && line.ends_with(" of 20: connection refused)")
        }),
        "{ran}"
    );
    let error = ran.stderr.split("orc: ").last().unwrap_or_default();
    let mut lines = error.lines();
    assert_eq!(
        lines.next(),
        Some("db (a depends on it): why-db-1 is unhealthy: last probe: connection refused")
    );
    assert_eq!(lines.next(), Some("  last lines of why-db-1:"));
    let shown: Vec<&str> = lines.collect();
    let expected: Vec<String> = (3..=12).map(|i| format!("  | log line {i}")).collect();
    assert_eq!(shown, expected, "{ran}");
    lab.sh(&project, "orc down").ok();
}

#[test]
fn wait_takes_a_one_shot_that_ended_well_as_done() {
    let lab = Lab::with_busybox("oneshot");
    let file = format!(
        "services:\n  job:\n    image: example/busybox:1\n    command: 'true'\n    restart: 'no'\n  a:\n    {BUSY}\n    init: true\n"
    );
    let project = lab.project("oneshot", &file);
    lab.sh(&project, "orc up -d --wait --wait-timeout 30").ok();
    // Ended long ago, it is run once more, and is done again.
    let ended = || {
        let job = "inspect -f {{.State.Status}}-{{.State.ExitCode}} oneshot-job-1";
        (lab.orc_line(job).ok().trim() == "exited-0").then_some(())
    };
    until("the job ends", ended);
    lab.sh(&project, "orc up -d --wait --wait-timeout 30").ok();
    until("the job ends", ended);
    lab.sh(&project, "orc down").ok();
}

#[test]
fn who_ignores_its_signal_is_named() {
    let lab = Lab::with_busybox("deaf");
    let file = format!("services:\n  deaf:\n    {BUSY}\n  polite:\n    {BUSY}\n    init: true\n");
    let project = lab.project("deaf", &file);
    let named = "warning: deaf-deaf-1 ignored SIGTERM for 1s and was killed: set `init: true`, or `stop_signal` to one that it handles";
    for command in ["orc compose stop", "orc down"] {
        lab.sh(&project, "orc up -d").ok();
        let ran = lab.sh(&project, command);
        assert_eq!(ran.code, 0, "{ran}");
        assert!(ran.stderr.lines().any(|line| line == named), "{ran}");
        assert!(!ran.stderr.contains("polite-1 ignored"), "{ran}");
    }
    lab.sh(&project, "orc up -d").ok();
    let now = lab.sh(&project, "orc down -t 0");
    assert!(!now.stderr.contains("ignored"), "asked for: {now}");
}
