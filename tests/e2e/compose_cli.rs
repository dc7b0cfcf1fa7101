//! Docker compose's other verbs: each at least once, on real containers.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::lab::{Lab, until};
use crate::support::registry::Registry;

const BUSY: &str = "image: example/busybox:1\n    command: sleep 100000\n    init: true";
const TALKS: &str = "image: example/busybox:1\n    command: sh -c 'while :; do echo tick; sleep 0.1; done'\n    init: true";

fn two_services(lab: &Lab, name: &str) -> std::path::PathBuf {
    let file = format!(
        "services:\n  a:\n    {BUSY}\n    volumes: ['data:/data']\n  b:\n    {BUSY}\nvolumes:\n  data:\n  spare:\n"
    );
    let project = lab.project(name, &file);
    lab.sh(&project, "orc up -d").ok();
    project
}

#[test]
fn pause_scale_and_the_way_back() {
    let lab = Lab::with_busybox("pausing");
    let project = two_services(&lab, "pausing");
    let with = |status: &str| {
        let line = format!("orc compose ps -a --status {status} --format '{{{{.Name}}}}'");
        lab.sh(&project, &line).ok()
    };
    let told = lab.sh(&project, "orc compose --progress plain pause a");
    assert!(
        told.stderr.contains(" Container pausing-a-1 Paused"),
        "{told}"
    );
    assert_eq!(with("paused"), "pausing-a-1\n");
    assert_eq!(with("running"), "pausing-b-1\n");
    let dry = lab.sh(&project, "orc compose --dry-run unpause").ok();
    assert_eq!(dry, "unpause pausing-a-1\n");
    assert_eq!(with("paused"), "pausing-a-1\n", "a dry run did something");
    lab.sh(&project, "orc compose unpause").ok();
    assert_eq!(with("paused"), "");

    lab.sh(&project, "orc compose scale b=3").ok();
    assert_eq!(
        with("running"),
        "pausing-a-1\npausing-b-1\npausing-b-2\npausing-b-3\n"
    );
    lab.sh(&project, "orc compose scale a=0 b=1").ok();
    assert_eq!(with("running"), "pausing-b-1\n");
    lab.sh(&project, "orc compose scale b").refused();
    lab.sh(&project, "orc down -v").ok();
}

#[test]
fn files_go_in_and_out_by_the_name_of_the_service() {
    let lab = Lab::with_busybox("copying");
    let project = two_services(&lab, "copying");
    lab.sh(&project, "orc compose scale b=2").ok();
    std::fs::write(project.join("note"), "for all\n").expect("a file");
    lab.sh(&project, "orc compose cp note b:/tmp/note").ok();
    for index in [1, 2] {
        let line = format!("orc compose exec -T --index {index} b cat /tmp/note");
        assert_eq!(lab.sh(&project, &line).ok(), "for all\n");
    }
    lab.sh(&project, "orc compose cp --index 2 note b:/tmp/second")
        .ok();
    lab.sh(&project, "orc compose exec -T --index 1 b cat /tmp/second")
        .refused();
    lab.sh(&project, "orc compose cp b:/tmp/note back").ok();
    assert_eq!(
        std::fs::read_to_string(project.join("back")).expect("a file"),
        "for all\n"
    );
    lab.sh(&project, "orc compose cp nope:/tmp/note x")
        .refused();

    // What the container became: an image and an archive.
    let id = lab
        .sh(
            &project,
            "orc compose commit -m 'with a note' b example/noted:1",
        )
        .ok();
    assert!(id.starts_with("sha256:"), "{id}");
    let kept = lab.orc_line("run --rm example/noted:1 cat /tmp/note").ok();
    assert_eq!(kept, "for all\n");
    lab.sh(&project, "orc compose export -o whole.tar b").ok();
    let listed = lab.sh(&project, "tar -tf whole.tar tmp/note").ok();
    assert_eq!(listed, "tmp/note\n");
    lab.sh(&project, "orc down -v").ok();
}

#[test]
fn volumes_and_use_are_listed() {
    let lab = Lab::with_busybox("listing");
    let project = two_services(&lab, "listing");
    assert_eq!(
        lab.sh(&project, "orc compose volumes -q").ok(),
        "listing_data\n"
    );
    assert_eq!(lab.sh(&project, "orc compose volumes -q b").ok(), "");
    let json = lab.sh(&project, "orc compose volumes --format json").ok();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["Name"], "listing_data");

    let images = lab.sh(&project, "orc compose images --format json").ok();
    let images: serde_json::Value = serde_json::from_str(&images).expect("JSON");
    assert_eq!(images.as_array().map(Vec::len), Some(2), "{images}");
    assert_eq!(images[0]["Repository"], "example/busybox");
    assert!(images[0]["Size"].as_u64() > Some(1000), "{images}");

    // A loop that uses a processor, so that there is something to see.
    lab.sh(
        &project,
        "orc compose exec -d a sh -c 'while :; do :; done'",
    )
    .ok();
    let stats = lab
        .sh(&project, "orc compose stats --no-stream --format json")
        .ok();
    let mut rows: Vec<serde_json::Value> = stats
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    rows.sort_by_key(|row| row["Name"].to_string());
    assert_eq!(rows.len(), 2, "{stats}");
    let percent = |row: &serde_json::Value| -> f64 {
        let text = row["CPUPerc"].as_str().expect("text");
        text.trim_end_matches('%').parse().expect("a number")
    };
    assert!(percent(&rows[0]) > 5.0, "{stats}");
    assert!(percent(&rows[1]) < percent(&rows[0]), "{stats}");
    for row in &rows {
        assert!(
            !row["MemUsage"].as_str().expect("text").starts_with("0B"),
            "{row}"
        );
        assert_ne!(row["PIDs"], "0", "{row}");
    }
    let docker = lab.docker("stats --no-stream --format {{.Name}}").ok();
    assert!(
        docker.contains("listing-a-1") && docker.contains("listing-b-1"),
        "{docker}"
    );
    lab.sh(&project, "orc compose stop b").ok();
    let all = lab
        .sh(
            &project,
            "orc compose stats -a --no-stream --format '{{.Name}} {{.CPUPerc}}'",
        )
        .ok();
    assert!(all.contains("listing-b-1 --"), "{all}");
    let one = lab
        .orc_line("stats --no-stream --format {{.PIDs}} listing-a-1")
        .ok();
    assert!(one.trim().parse::<u64>().expect("a number") >= 2, "{one}");
    lab.sh(&project, "orc down -v").ok();
}

#[test]
fn logs_of_several_are_in_the_order_of_time() {
    let lab = Lab::with_busybox("merged");
    let talk = |begin: &str, words: &str| {
        format!(
            "image: example/busybox:1\n    command: sh -c 'sleep {begin}; for i in {words}; do echo $$i; sleep 1; done'"
        )
    };
    let file = format!(
        "services:\n  a:\n    {}\n  b:\n    {}\n",
        talk("0", "a1 a2 a3"),
        talk("0.5", "b1 b2 b3")
    );
    let project = lab.project("merged", &file);
    lab.sh(&project, "orc up -d").ok();
    lab.sh(
        &project,
        "orc compose wait a b; orc wait merged-a-1 merged-b-1",
    )
    .ok();
    let stamped = lab.sh(&project, "orc compose logs --no-log-prefix -t").ok();
    let times: Vec<&str> = stamped
        .lines()
        .map(|line| line.split(' ').next().expect("a time"))
        .collect();
    assert_eq!(times.len(), 6, "{stamped}");
    assert!(times.is_sorted(), "{stamped}");
    let names: String = stamped
        .lines()
        .filter_map(|line| line.split(' ').nth(1)?.chars().next())
        .collect();
    assert!(
        names.contains("ab") && names.contains("ba"),
        "not merged: {stamped}"
    );
    lab.sh(&project, "orc down").ok();
}

#[test]
fn orphans_are_listed_unless_they_are_not_wanted() {
    let lab = Lab::with_busybox("psorphans");
    let project = two_services(&lab, "psorphans");
    std::fs::write(
        project.join("compose.yaml"),
        format!("services:\n  a:\n    {BUSY}\n"),
    )
    .expect("a file");
    let names = |line: &str| lab.sh(&project, line).ok();
    assert_eq!(names("orc compose ps --services"), "a\nb\n");
    assert_eq!(names("orc compose ps --services --orphans=false"), "a\n");
    let told = lab.sh(&project, "orc up -d");
    assert!(told.stderr.contains("orphan"), "{told}");
    let silent = lab.sh(&project, "COMPOSE_IGNORE_ORPHANS=1 orc up -d");
    assert!(!silent.stderr.contains("orphan"), "{silent}");
    lab.sh(&project, "orc down --remove-orphans -v").ok();
}

#[test]
fn exit_codes_are_docker_composes() {
    let lab = Lab::with_busybox("codes");
    let file = format!(
        "services:\n  ends:\n    image: example/busybox:1\n    command: sh -c 'sleep 1; exit 7'\n  stays:\n    {BUSY}\n"
    );
    let project = lab.project("codes", &file);
    let code = |line: &str| lab.sh(&project, line).code;
    assert_eq!(code("orc up --abort-on-container-exit"), 7);
    assert_eq!(code("orc up --exit-code-from ends"), 7);
    assert_eq!(code("orc up -d"), 0);
    assert_eq!(code("orc compose wait ends"), 7);
    assert_eq!(code("orc compose exec -T stays sh -c 'exit 5'"), 5);
    assert_eq!(code("orc compose run --rm stays sh -c 'exit 6'"), 6);
    assert_eq!(code("orc compose port stays 80"), 1);
    assert_eq!(code("orc compose up --nope"), 1);
    assert_eq!(code("orc compose --progress tty --ansi never ps"), 1);
    assert_eq!(code("orc compose --progress plain --ansi always ps"), 1);
    // Whatever goes on, somebody who interrupts it sees 130.
    for (signal, verb) in [("INT", "logs -f"), ("TERM", "events"), ("INT", "stats")] {
        let script =
            format!("timeout -s {signal} --preserve-status 2 orc compose {verb} >/dev/null");
        assert_eq!(code(&script), 130, "{signal} {verb}");
    }
    // Also at a question that nobody answers.
    let asked = "sleep 6 | timeout -s INT --preserve-status 2 orc compose rm ends";
    assert_eq!(code(asked), 130);
    lab.sh(&project, "orc down").ok();
}

#[test]
fn progress_has_many_faces() {
    let lab = Lab::with_busybox("faces");
    let project = lab.project("faces", &format!("services:\n  a:\n    {BUSY}\n"));
    let plain = lab.sh(&project, "orc compose --progress plain up -d");
    assert!(
        plain.stderr.contains(" Container faces-a-1 Started"),
        "{plain}"
    );
    assert_eq!(plain.stdout, "", "{plain}");
    let json = lab.sh(&project, "orc compose --progress json restart -t 0");
    let line = json.stderr.lines().next().expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["id"], "Container faces-a-1");
    assert!(["Working", "Done"].contains(&line["status"].as_str().expect("text")));
    let failed = lab.sh(&project, "orc compose --progress json pull nope");
    let line: serde_json::Value = serde_json::from_str(failed.stderr.trim()).expect("JSON");
    assert_eq!((&line["error"], failed.code), (&true.into(), 1), "{failed}");
    let quiet = lab.sh(&project, "orc compose --progress quiet restart -t 0");
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let moved = lab.sh(&project, "COMPOSE_STATUS_STDOUT=1 orc compose restart -t 0");
    assert!(
        moved.stdout.contains("faces-a-1") && moved.stderr.is_empty(),
        "{moved}"
    );

    // On a terminal the lines are live: a header, a line a thing, and the cursor goes up.
    let mut script = lab.command([
        "script",
        "-qec",
        "stty rows 24 cols 80; orc compose restart -t 0",
        "/dev/null",
    ]);
    let shown = script
        .current_dir(&project)
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("script runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("[+] restart 1/1"), "{shown:?}");
    assert!(shown.contains("✔ Container faces-a-1"), "{shown:?}");
    assert!(
        shown.contains("\u{1b}[2A"),
        "nothing was drawn over: {shown:?}"
    );
    let columns = shown.lines().map(|line| line.chars().count()).max();
    assert!(columns.is_some_and(|columns| columns < 120), "{shown:?}");
    lab.sh(&project, "orc down").ok();
}

#[test]
fn images_are_pinned_pushed_and_the_project_published() {
    let lab = Lab::with_busybox("publishing");
    let registry = Registry::start(&lab);
    let image = registry.name("example/app:1");
    let file = format!(
        "services:\n  app:\n    image: {image}\n    build: .\n    environment:\n      GREETING: hello\n      PORT: ${{PORT:-80}}\n    volumes: ['./here:/here']\n  base:\n    image: ${{BASE:-{image}}}\n    command: ['true']\n"
    );
    let project = lab.project("publishing", &file);
    std::fs::write(
        project.join("Dockerfile"),
        "FROM example/busybox:1\nRUN echo x >/x\n",
    )
    .expect("a file");
    lab.sh(&project, "orc compose build -q").ok();
    let bake = lab.sh(&project, "orc compose build --print").ok();
    let bake: serde_json::Value = serde_json::from_str(&bake).expect("JSON");
    assert_eq!(bake["target"]["app"]["tags"][0], image);
    let dry = lab.sh(&project, "orc compose --dry-run push").ok();
    assert_eq!(dry, format!("push {image}  (app)\n"));
    lab.sh(&project, "orc compose push").ok();

    let digests = lab
        .sh(
            &project,
            "orc compose config --resolve-image-digests --images",
        )
        .ok();
    assert!(
        digests.starts_with(&format!("{image}@sha256:")),
        "{digests}"
    );
    let lock = lab
        .sh(
            &project,
            "orc compose config --lock-image-digests --format json",
        )
        .ok();
    let lock: serde_json::Value = serde_json::from_str(&lock).expect("JSON");
    assert_eq!(lock["services"]["app"]["image"], digests.trim());
    assert_eq!(
        lock["services"]["app"]
            .as_object()
            .expect("an object")
            .len(),
        1
    );

    // What everybody would see is said first.
    let name = registry.name("example/project:1");
    let text = lab.sh(&project, &format!("orc compose publish {name} </dev/null"));
    assert_eq!(text.code, 1, "{text}");
    for concern in ["GREETING", "./here"] {
        assert!(text.stderr.contains(concern), "{text}");
    }
    assert!(
        !text.stderr.contains("PORT"),
        "a variable is no value: {text}"
    );
    let published = lab
        .sh(
            &project,
            &format!("orc compose publish -y --resolve-image-digests {name}"),
        )
        .ok();
    assert!(
        published.starts_with(&format!("{name}@sha256:")),
        "{published}"
    );
    let raw = lab
        .host([
            "skopeo",
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{name}"),
        ])
        .ok();
    let manifest: serde_json::Value = serde_json::from_str(&raw).expect("a manifest");
    assert_eq!(
        manifest["artifactType"],
        "application/vnd.docker.compose.project"
    );
    let layer = &manifest["layers"][0];
    assert_eq!(
        layer["mediaType"],
        "application/vnd.docker.compose.file+yaml"
    );
    let document =
        std::fs::read_to_string(registry.blob(layer["digest"].as_str().expect("a digest")))
            .expect("the document");
    for kept in ["${PORT:-80}", "./here", digests.trim()] {
        assert!(document.contains(kept), "{kept} is not in\n{document}");
    }
    let refused = lab.sh(
        &project,
        &format!("orc compose pull --ignore-buildable && orc compose publish --app {name}"),
    );
    assert!(refused.stderr.contains("--app"), "{refused}");
}

#[test]
fn attach_and_pull_heed_their_flags() {
    let lab = Lab::with_busybox("flags");
    let file = format!(
        "services:\n  a:\n    {TALKS}\n  lost:\n    image: localhost:1/nowhere:1\n    profiles: [lost]\n"
    );
    let project = lab.project("flags", &file);
    let failed = lab.sh(&project, "orc compose pull lost");
    assert_eq!(failed.code, 1, "{failed}");
    let passed = lab.sh(&project, "orc compose pull --ignore-pull-failures lost");
    assert!(
        passed.code == 0 && passed.stderr.contains("nowhere"),
        "{passed}"
    );
    lab.sh(&project, "orc up -d").ok();
    // Signals that are not passed on leave the container alone.
    let mut attach = lab.spawn([
        "sh",
        "-c",
        &format!(
            "cd {} && exec orc compose attach --no-stdin --sig-proxy=false a",
            project.display()
        ),
    ]);
    let mut output = BufReader::new(attach.stdout.take().expect("a pipe"));
    let mut line = String::new();
    output
        .read_line(&mut line)
        .expect("a line of the container");
    assert_eq!(line, "tick\n");
    let pid = attach.id().to_string();
    lab.host(["kill", "-INT", &pid]).ok();
    until("attach ends", || attach.try_wait().expect("its state"));
    let state = lab
        .orc(["inspect", "-f", "{{.State.Status}}", "flags-a-1"])
        .ok();
    assert_eq!(state, "running\n");
    let old = lab.sh(&project, "orc compose --compatibility -p old up -d");
    assert_eq!(old.code, 0, "{old}");
    assert!(
        lab.orc(["ps", "--format", "{{.Names}}"])
            .ok()
            .contains("old_a_1")
    );
    lab.sh(&project, "orc compose --compatibility -p old down")
        .ok();
    lab.sh(&project, "orc down").ok();
}
