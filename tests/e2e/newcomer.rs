//! The mistakes everybody makes in the first week, and every word orc says to them: what failed, on
//! which thing, why, and what to do.

use crate::support::lab::{Lab, until};

/// What is typed, the exit code, and what is said. `~` is the directory of the test.
const MISTAKES: &[(&str, i32, &str)] = &[
    // Words
    (
        "orc rnu example/busybox:1",
        1,
        "orc: unrecognized subcommand `rnu`; did you mean `run`?; see `orc --help`",
    ),
    (
        "orc ps --al",
        125,
        "orc: unexpected argument `--al` found; a similar argument exists: `--all`; see `orc ps --help`",
    ),
    (
        "orc stop -t soon web",
        125,
        "orc: invalid value `soon` for `--timeout <SECONDS>`: it is not a whole number; see `orc stop --help`",
    ),
    (
        "orc --log-level loud ps",
        1,
        "orc: `--log-level loud`: use one of error, warn, info, debug, trace",
    ),
    (
        "orc search nginx",
        1,
        "orc: `orc search` is not supported: registries have no common way to be searched: use their web page; `orc registry tags NAME` lists the tags of a repository",
    ),
    (
        "orc run -m lots example/busybox:1",
        125,
        "orc: `--memory`: `lots` is not a size such as 512k, 64m or 1g",
    ),
    (
        "orc run -p web example/busybox:1",
        125,
        "orc: `-p web` is not understood: the container's port must be 1 to 65535 or a range of them",
    ),
    (
        "orc run -v data example/busybox:1",
        125,
        "orc: `-v data` is not understood: the target must be an absolute path in the container",
    ),
    (
        "orc run -it example/busybox:1 sh",
        125,
        "orc: the input is not a terminal: leave out `-t`, or type the command in a terminal",
    ),
    // Things that are not there
    (
        "orc logs wbe",
        1,
        "orc: No such container: wbe: did you mean `web`?",
    ),
    ("orc stop nobody", 1, "orc: No such container: nobody"),
    (
        "orc exec web bash",
        127,
        "OCI runtime exec failed: exec failed: exec `bash`: executable file not found in $PATH: no such file or directory in the image",
    ),
    (
        "orc run --rm --name x example/busybox:1 bash",
        127,
        "orc: start x: exec `bash`: executable file not found in $PATH: no such file or directory in the image",
    ),
    (
        "orc run --rm --name x example/busybox:1 /etc",
        126,
        "orc: start x: exec `/etc`: permission denied: it is not an executable file for this user, or its file system is mounted noexec",
    ),
    (
        "orc run --rm localhost:1/nothing",
        125,
        "the image localhost:1/nothing is not here: pulling it\norc: pull localhost:1/nothing:latest: registry localhost:1 did not answer: connection refused",
    ),
    (
        "orc run --rm localhost:1/sohp:1",
        125,
        "the image localhost:1/sohp:1 is not here: pulling it\norc: pull localhost:1/sohp:1: registry localhost:1 did not answer: connection refused; did you mean localhost:1/shop:1, which is here?",
    ),
    (
        "orc run --rm --pull never nothing",
        125,
        "orc: No such image: nothing:latest",
    ),
    (
        "orc run --rm BusyBox",
        125,
        "orc: `BusyBox` is not an image name: the repository must be lower case; did you mean `busybox`?",
    ),
    (
        "orc run --env-file none example/busybox:1",
        125,
        "orc: read none: no such file or directory",
    ),
    (
        "orc run --network nowhere example/busybox:1",
        125,
        "orc: network nowhere not found",
    ),
    (
        "orc run --mount type=bind,source=/nowhere,target=/x example/busybox:1",
        125,
        "orc: invalid mount config for type \"bind\": bind source path does not exist: /nowhere",
    ),
    ("orc build .", 1, "orc: there is no Dockerfile in ~"),
    (
        "orc load -i none.tar",
        1,
        "orc: read none.tar: no such file or directory",
    ),
    (
        "orc cp none web:/",
        1,
        "orc: lstat ~/none: no such file or directory",
    ),
    (
        "orc up",
        1,
        "orc: no configuration file provided: not found: write a compose.yaml, or name a file with `-f`",
    ),
    (
        "orc top web aux",
        1,
        "orc: `aux` is not supported: the columns are those of `ps -ef`; where the image has a ps, `orc exec web ps aux` asks it",
    ),
    // Things that are in use
    (
        "orc run --name web example/busybox:1 true",
        125,
        "orc: Conflict. The container name \"/web\" is already in use by container \"ID\". You have to remove (or rename) that container to be able to reuse that name.",
    ),
    (
        "orc run --rm --name x -p 8080:80 example/busybox:1 true",
        125,
        "orc: start x: port 8080/tcp on 0.0.0.0 is already published by container `web`",
    ),
    (
        "orc rm web",
        1,
        "orc: cannot remove container web: it is running: stop it first, or remove it by force",
    ),
    (
        "orc network rm bridge",
        1,
        "orc: bridge is a pre-defined network and cannot be removed",
    ),
    // The daemon
    (
        "orc -H tcp://localhost:2375 ps",
        1,
        "orc: `--host tcp://localhost:2375` is not supported: use unix:// and an absolute path",
    ),
    (
        "orc -H unix:///nowhere/x.sock ps",
        1,
        "orc: nobody listens at /nowhere/x.sock, and the daemon of ~/data listens at ~/run/orc.sock: leave out `--host`, or give it other roots",
    ),
    (
        "setpriv --reuid 65534 --regid 65534 --clear-groups orc ps",
        1,
        "orc: ~/run/orc.sock may not be used by this user: run orc as root, or add the user to the group `orc`",
    ),
    // Compose files
    (
        "orc compose -f tabs.yaml up",
        1,
        "orc: tabs.yaml:2:2: not valid YAML: tabs disallowed within this context (block indentation): indent with spaces\n     2 |  web:\n       |  ^^^",
    ),
    (
        "orc compose -f typo.yaml up",
        1,
        "orc: typo.yaml:3:5: services.web: additional properties 'imgae' not allowed: did you mean `image`?\n     3 |     imgae: x\n       |     ^^^^^",
    ),
    (
        "orc compose -f none.yaml up",
        1,
        "orc: open ~/none.yaml: no such file or directory",
    ),
];

/// Identifiers differ each time.
fn without_ids(text: &str) -> String {
    let word = |word: &str| {
        let id = word.trim_matches(['"', '.']);
        match id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => word.replace(id, "ID"),
            false => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn mistakes_are_told_in_plain_words() {
    let lab = Lab::with_busybox("newcomer");
    let directory = lab.path();
    std::fs::write(
        directory.join("tabs.yaml"),
        "services:\n\tweb:\n\t\timage: x\n",
    )
    .expect("a file");
    std::fs::write(
        directory.join("typo.yaml"),
        "services:\n  web:\n    imgae: x\n",
    )
    .expect("a file");
    // Others may pass through to the binary and to the socket's refusal.
    lab.host(["chmod", "711", &directory.display().to_string()])
        .ok();
    lab.orc_line("tag example/busybox:1 localhost:1/shop:1")
        .ok();
    lab.orc_line("run -d --name web -p 8080:80 --stop-signal KILL example/busybox:1 sleep 1000")
        .ok();
    until("it runs", || {
        (lab.orc_line("exec web true").code == 0).then_some(())
    });
    let here = directory.display().to_string();
    let mut wrong = Vec::new();
    for (line, code, told) in MISTAKES {
        let ran = lab.sh(directory, line);
        let text = without_ids(&ran.stderr.replace(&here, "~"));
        if ran.code != *code || text.trim_end() != *told {
            wrong.push(format!("{line}\n  {} not {code}\n  {text}", ran.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.orc_line("rm -f web").ok();
}

#[test]
fn a_dry_run_says_so_where_scripts_look() {
    let lab = Lab::with_busybox("dryrun");
    let project = lab.project(
        "dry",
        "services: {a: {image: 'example/busybox:1', command: sleep 1000}}",
    );
    let dry = lab.sh(&project, "orc compose --dry-run up -d");
    assert!(dry.stdout.contains("create dry-a-1"), "{dry}");
    let prefixed = " DRY-RUN MODE -  1 create dry-a-1  (does not exist)  after 0";
    assert!(dry.stderr.lines().any(|line| line == prefixed), "{dry}");
    let quiet = lab.sh(&project, "orc compose --dry-run --progress quiet up -d");
    assert_eq!((&*quiet.stderr, quiet.code), ("", 0), "{quiet}");
    assert_eq!(lab.orc_line("ps -aq").ok(), "");
}
