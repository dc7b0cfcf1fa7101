//! Programs that stand for services and models, from the command line: real programs, real containers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::lab::{Lab, Ran};

/// A cloud in a file: it notes how it is called, and gives what stands in `answer`.
const CLOUD: &str = r#"#!/bin/sh
echo "$*" >>"$LOG"
case "$2" in
metadata)
    echo '{"description": "a cloud", "up": {"parameters": [{"name": "size", "required": true}]},'
    echo ' "down": {"parameters": []}, "stop": {"parameters": []}}'
    exit ;;
esac
for verb in "$@"; do
    case "$verb" in
    up)
        echo '{"type": "info", "message": "preparing 50%"}'
        echo '{"type": "debug", "message": "for me"}'
        cat "$(dirname "$LOG")/answer" ;;
    esac
done
"#;

const PROJECT: &str = "
services:
  web:
    image: example/busybox:1
    command: [sh, -c, 'env; exec sleep 1000']
    stop_signal: SIGKILL
    depends_on: [db]
  db:
    provider: {type: awesomecloud, options: {size: 10, unknown: x}}
";

fn program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

/// Runs a line with the programs of `bin` in `PATH`.
fn with_cloud(lab: &Lab, directory: &Path, line: &str) -> Ran {
    let line = format!("export LOG=$PWD/log PATH=$PWD/bin:$PATH; {line}");
    lab.sh(directory, &line)
}

/// What a command did that succeeded.
#[track_caller]
fn fine(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{ran}");
    ran
}

/// Whether a process runs; one that has ended may wait for somebody to ask how.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// How the cloud was called since the last time.
fn calls(directory: &Path) -> Vec<String> {
    let path = directory.join("log");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    let lines = text.lines().filter(|line| !line.contains("metadata"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_provider_stands_for_a_service_from_up_to_down() {
    let lab = Lab::with_busybox("provider");
    let before = lab.snapshot();
    let directory = lab.project("demo", PROJECT);
    let orc = |line: &str| with_cloud(&lab, &directory, line);
    let missing = lab.sh(&directory, "orc up -d");
    assert_ne!(missing.code, 0);
    assert!(
        missing
            .stderr
            .contains("the provider `awesomecloud` is not on this machine: install"),
        "{missing}"
    );
    program(&directory.join("bin/awesomecloud"), CLOUD);
    let answer = |text: &str| std::fs::write(directory.join("answer"), text).expect("a file");
    answer("{\"type\": \"setenv\", \"message\": \"URL=db://one\"}\n");

    let planned = orc("orc plan");
    assert_eq!(planned.code, 2, "{planned}");
    assert!(
        planned
            .stdout
            .contains("run provider awesomecloud: up db  (asked each time)"),
        "{planned}"
    );
    assert_eq!(calls(&directory), [""; 0]);

    let up = fine(orc("orc up -d"));
    assert!(
        up.stderr.contains("Provider db Waiting: preparing 50%"),
        "{up}"
    );
    assert_eq!(
        calls(&directory),
        ["compose --project-name=demo up --size=10 db"]
    );
    assert!(orc("orc compose logs web").ok().contains("DB_URL=db://one"));
    let id = orc("orc compose ps -q").ok();

    // The same answer changes nothing, another one does, and whoever only looks cannot know.
    orc("orc up -d").ok();
    assert_eq!(orc("orc compose ps -q").ok(), id);
    answer("{\"type\": \"setenv\", \"message\": \"URL=db://two\"}\n");
    let dry = fine(orc("orc up -d --dry-run"));
    assert!(
        dry.stderr.contains("containers of web are replaced when"),
        "{dry}"
    );
    orc("orc up -d").ok();
    assert_ne!(orc("orc compose ps -q").ok(), id);
    assert!(orc("orc compose logs web").ok().contains("DB_URL=db://two"));
    let ran = orc("orc compose run --rm -T web env").ok();
    assert!(ran.contains("DB_URL=db://two"), "{ran}");

    calls(&directory);
    orc("orc compose stop").ok();
    assert_eq!(calls(&directory), ["compose --project-name=demo stop db"]);
    let down = fine(orc("orc down"));
    assert_eq!(calls(&directory), ["compose --project-name=demo down db"]);
    assert!(down.stderr.contains("Provider db Removed"), "{down}");
    before.is_back(&lab);
}

#[test]
fn a_provider_that_fails_or_lasts_leaves_nothing() {
    let lab = Lab::with_busybox("providerfails");
    let before = lab.snapshot();
    let directory = lab.project("demo", PROJECT);
    let cloud = directory.join("bin/awesomecloud");
    let orc = |line: &str| with_cloud(&lab, &directory, line);
    for (text, expected) in [
        (
            "echo '{\"type\": \"error\", \"message\": \"no quota left\"}'",
            "service db: provider awesomecloud: no quota left",
        ),
        (
            "echo oops >&2; exit 7",
            "it ended with exit status: 7: oops",
        ),
        (
            "echo hello",
            "it printed what is no answer of a provider, `hello`",
        ),
    ] {
        program(&cloud, &format!("#!/bin/sh\n{text}\n"));
        let failed = orc("orc up -d");
        assert_eq!(failed.code, 1, "{failed}");
        assert!(failed.stderr.contains(expected), "{failed}");
    }
    // Whoever cannot wait interrupts it, with all that it has started.
    let slow = "#!/bin/sh\n[ \"$2\" = metadata ] && exit\nsleep 999 &\necho $! >pid\nwait\n";
    program(&cloud, slow);
    let begun = Instant::now();
    let interrupted = orc("timeout -s INT 2 orc up -d");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_ne!(interrupted.code, 0, "{interrupted}");
    let pid = std::fs::read_to_string(directory.join("pid")).expect("it began");
    let deadline = Instant::now() + Duration::from_secs(10);
    while lives(pid.trim()) {
        assert!(Instant::now() < deadline, "{pid} goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.sh(&directory, "orc down").ok();
    before.is_back(&lab);
}

#[test]
fn models_are_prepared_by_dockers_plug_in() {
    let lab = Lab::with_busybox("models");
    let before = lab.snapshot();
    let text = "
services:
  chat:
    image: example/busybox:1
    command: [sh, -c, 'env; exec sleep 1000']
    stop_signal: SIGKILL
    models: [llm]
models:
  llm: {model: ai/smollm2, context_size: 1024}
";
    let directory = lab.project("demo", text);
    let missing = lab.sh(&directory, "orc up -d");
    assert!(
        missing
            .stderr
            .contains("service chat uses models, which the Docker plug-in `docker-model` runs"),
        "{missing}"
    );
    // The test's `DOCKER_CONFIG` is where plug-ins of its user are.
    let plugin = "#!/bin/sh
echo \"$*\" >>log
case \"$1\" in
ls) echo '[]' ;;
pull) echo 'Downloaded 3 MB of 3 MB' ;;
status) echo '{\"running\": true, \"endpoint\": \"http://models/engines/v1/\"}' ;;
esac
";
    program(
        &lab.path().join("docker-config/cli-plugins/docker-model"),
        plugin,
    );
    let up = fine(lab.sh(&directory, "orc up -d"));
    assert!(up.stderr.contains("Model llm Configured"), "{up}");
    assert_eq!(
        calls(&directory),
        [
            "ls --json",
            "pull ai/smollm2",
            "configure --context-size 1024 ai/smollm2",
            "status --json"
        ]
    );
    let logs = fine(lab.sh(&directory, "orc compose logs chat"));
    assert!(
        logs.stdout.contains("LLM_URL=http://models/engines/v1/"),
        "{logs}"
    );
    assert!(logs.stdout.contains("LLM_MODEL=ai/smollm2"), "{logs}");
    lab.sh(&directory, "orc down").ok();
    before.is_back(&lab);
}
