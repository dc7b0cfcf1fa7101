//! What services mount, are given, and run beside their program.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use crate::support::lab::Lab;

const BUSY: &str = "image: example/busybox:1\n    command: sleep 100000\n    init: true\n    stop_grace_period: 1s";

/// Whether a file below a directory has these bytes.
fn holds(directory: &Path, needle: &str) -> bool {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
        .any(|entry| {
            let path = entry.path();
            let meta = std::fs::symlink_metadata(&path);
            match meta {
                Ok(meta) if meta.is_dir() => holds(&path, needle),
                Ok(meta) if meta.is_file() && meta.size() < 1 << 20 => {
                    let bytes = std::fs::read(&path).unwrap_or_default();
                    bytes
                        .windows(needle.len())
                        .any(|window| window == needle.as_bytes())
                }
                _ => false,
            }
        })
}

#[test]
fn secrets_are_in_memory_with_owner_and_mode_and_nobody_is_shown_them() {
    let lab = Lab::with_busybox("given");
    let file = format!(
        "services:
  a:
    {BUSY}
    read_only: true
    user: '7'
    secrets:
      - {{source: token, uid: '7', gid: '8', mode: 0400}}
      - {{source: file, target: /etc/key, mode: 0440, uid: '7'}}
      - plain
    configs: [{{source: page, target: /srv/page}}]
secrets:
  token: {{environment: TOKEN}}
  file: {{file: ./key}}
  plain: {{file: ./plain}}
configs:
  page: {{content: \"hello $${{NAME}} from ${{NAME}}\\n\"}}
"
    );
    let project = lab.project("given", &file);
    std::fs::write(project.join("key"), "first\n").expect("a file");
    std::fs::write(project.join("plain"), "as it is\n").expect("a file");
    let before = lab.snapshot();
    lab.sh(&project, "TOKEN=geheim-42 NAME=orc orc up -d").ok();
    let inside = "stat -c '%u:%g %a' /run/secrets/token /etc/key /srv/page; stat -f -c %T /run/secrets/token /etc/key; cat /run/secrets/token; echo; cat /etc/key /run/secrets/plain /srv/page; (echo x > /etc/key) 2>&1 | grep -o Read-only";
    assert_eq!(
        lab.sh(&project, &format!("orc exec a sh -c \"{inside}\""))
            .ok(),
        "7:8 400\n7:0 440\n0:0 444\ntmpfs\ntmpfs\ngeheim-42\nfirst\nas it is\nhello ${NAME} from orc\nRead-only\n"
    );
    let shown = lab
        .sh(
            &project,
            "orc inspect given-a-1; orc compose config; orc plan",
        )
        .stdout;
    assert!(!shown.contains("geheim-42"), "{shown}");
    let records = lab.data_root();
    assert!(holds(&records, "geheim-42"), "kept for the next start");

    // A copy is made anew at each start, and after a kill of the daemon.
    std::fs::write(project.join("key"), "second\n").expect("a file");
    let pid = lab.daemon_pid().to_string();
    assert!(lab.host(["kill", "-9", &pid]).code == 0);
    lab.sh(&project, "orc compose restart a").ok();
    assert_eq!(
        lab.sh(&project, "orc exec a cat /etc/key /run/secrets/token")
            .ok(),
        "second\ngeheim-42"
    );
    lab.sh(&project, "TOKEN=geheim-42 NAME=orc orc down").ok();
    before.is_back(&lab);
    for directory in [lab.data_root(), lab.run_root()] {
        assert!(!holds(&directory, "geheim-42"), "{}", directory.display());
    }
    let refused = lab.sh(&project, "NAME=orc orc up -d").refused();
    assert!(refused.contains("TOKEN, which is not set"), "{refused}");
}

#[test]
fn volumes_of_all_kinds() {
    let lab = Lab::with_busybox("kinds");
    let file = format!(
        "services:
  a:
    {BUSY}
    volumes:
      - {{type: image, source: example/busybox:1, target: /image, image: {{subpath: var/www}}}}
      - {{type: image, source: example/busybox:1, target: /whole}}
      - {{type: volume, source: data, target: /part, volume: {{subpath: sub}}}}
      - {{type: volume, source: data, target: /var/www, volume: {{nocopy: true}}}}
      - {{type: tmpfs, target: /t, tmpfs: {{size: 1m, mode: 0700}}}}
      - {{type: volume, target: /anon, volume: {{labels: {{mine: 'yes'}}}}}}
      - {{type: volume, source: memory, target: /memory}}
      - {{type: bind, source: ./here, target: /here, read_only: true, bind: {{propagation: rslave}}}}
  b:
    {BUSY}
    volumes_from: ['a:ro']
    volumes: ['memory:/mine']
volumes:
  data:
  memory: {{driver_opts: {{type: tmpfs, device: tmpfs, o: 'size=1m,uid=5'}}}}
"
    );
    let project = lab.project("kinds", &file);
    let before = lab.snapshot();
    lab.sh(
        &project,
        "orc volume create --label com.docker.compose.project=kinds kinds_data && orc run --rm --network none -v kinds_data:/d example/busybox:1 sh -c 'mkdir /d/sub; echo deep > /d/sub/file'",
    )
    .ok();
    lab.sh(&project, "orc up -d").ok();
    let inside = "cat /image/index.html /part/file /var/www/sub/file; ls /whole/bin/busybox; (echo x > /image/new) 2>&1 | grep -o Read-only; stat -c %a /t; stat -c %u /memory; stat -f -c %T /memory; echo shared > /memory/file";
    assert_eq!(
        lab.sh(&project, &format!("orc exec a sh -c \"{inside}\""))
            .ok(),
        "<h1>Hello from orc</h1>\ndeep\ndeep\n/whole/bin/busybox\nRead-only\n700\n5\ntmpfs\n"
    );
    assert_eq!(
        lab.sh(&project, "orc exec b sh -c 'cat /mine/file /part/file; (echo x > /part/new) 2>&1 | grep -o Read-only; ls -d /anon /image/index.html; [ -e /t ] || echo no memory'").ok(),
        "shared\ndeep\nRead-only\n/anon\n/image/index.html\nno memory\n"
    );
    let shown = lab.sh(&project, "orc inspect kinds-a-1 kinds-b-1").ok();
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let point = |index: usize, target: &str| {
        let points = shown[index]["Mounts"].as_array().expect("mounts").iter();
        let mut points = points.filter(|point| point["Destination"] == target);
        points
            .next()
            .cloned()
            .unwrap_or_else(|| panic!("{target}: {shown}"))
    };
    let image = point(0, "/image");
    assert_eq!(
        (&image["Type"], &image["RW"]),
        (&"image".into(), &false.into())
    );
    assert_eq!(point(0, "/here")["Propagation"], "rslave");
    assert_eq!(point(1, "/anon")["Name"], point(0, "/anon")["Name"]);
    assert_eq!(point(1, "/part")["RW"], false);
    assert_eq!(shown[1]["HostConfig"]["VolumesFrom"][0], "kinds-a-1:ro");
    let anonymous = point(0, "/anon")["Name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let labels = lab
        .orc(["volume", "inspect", "-f", "{{.Labels.mine}}", &anonymous])
        .ok();
    assert_eq!(labels, "yes\n");
    let busy = lab.orc_line("rmi example/busybox:1").refused();
    assert!(busy.contains("kinds-"), "{busy}");

    // Memory lasts as long as one of its users, also over a kill of the daemon.
    let pid = lab.daemon_pid().to_string();
    assert!(lab.host(["kill", "-9", &pid]).code == 0);
    lab.sh(&project, "orc compose stop a").ok();
    assert_eq!(
        lab.sh(&project, "orc exec b cat /mine/file").ok(),
        "shared\n"
    );
    lab.sh(&project, "orc compose stop b && orc compose start")
        .ok();
    lab.sh(&project, "orc exec b ls /mine/file").refused();
    lab.sh(&project, "orc down -v").ok();
    before.is_back(&lab);

    let none = lab.orc_line("volume create --opt type=nosuchfs --opt device=:/x none");
    let none = none.refused();
    assert!(none.contains("nosuchfs"), "{none}");
}

#[test]
fn a_volume_that_changed_is_made_anew_with_yes_only() {
    let lab = Lab::with_busybox("drift");
    let text = |size| {
        format!(
            "services:\n  a:\n    {BUSY}\n    volumes: ['data:/data', '/anon']\nvolumes:\n  data: {{labels: {{size: '{size}'}}}}\n"
        )
    };
    let project = lab.project("drift", &text(1));
    let before = lab.snapshot();
    lab.sh(
        &project,
        "orc up -d && orc exec a sh -c 'echo kept > /data/file; echo mine > /anon/file'",
    )
    .ok();
    std::fs::write(project.join("compose.yaml"), text(2)).expect("a file");
    let told = lab.sh(&project, "orc up -d </dev/null");
    assert!(
        told.code == 0 && told.stderr.contains("`orc up -y`"),
        "{told}"
    );
    assert_eq!(lab.sh(&project, "orc exec a cat /data/file").ok(), "kept\n");
    lab.sh(&project, "orc up -d -y").ok();
    lab.sh(&project, "orc exec a cat /data/file").refused();
    // Anonymous volumes go from container to container, unless somebody wants fresh ones.
    assert_eq!(lab.sh(&project, "orc exec a cat /anon/file").ok(), "mine\n");
    lab.sh(&project, "orc up -d --force-recreate").ok();
    assert_eq!(lab.sh(&project, "orc exec a cat /anon/file").ok(), "mine\n");
    lab.sh(&project, "orc up -d --force-recreate -V").ok();
    lab.sh(&project, "orc exec a cat /anon/file").refused();
    lab.sh(&project, "orc up -d --force-recreate && orc down -v")
        .ok();
    before.is_back(&lab);
}

#[test]
fn hooks_run_where_they_belong() {
    let lab = Lab::with_busybox("hooks");
    let text = |code| {
        format!(
            "services:
  a:
    {BUSY}
    user: '7'
    volumes: ['data:/data']
    pre_start:
      - {{command: sh -c 'echo $$WHO $$(id -u) > /data/first; chmod 777 /data', user: '0', environment: {{WHO: init}}}}
    post_start:
      - {{command: sh -c 'echo up as $$(id -u) in $$PWD $$A; exit {code}', user: '0', working_dir: /tmp, environment: {{A: b}}}}
    pre_stop:
      - {{command: sh -c 'echo bye; echo stopped >> /data/last'}}
  b:
    {BUSY}
    depends_on: [a]
volumes: {{data: }}
"
        )
    };
    let project = lab.project("hooks", &text(3));
    let before = lab.snapshot();
    let failed = lab.sh(&project, "orc up -d");
    assert!(failed.code != 0, "{failed}");
    for expected in [
        "a | up as 0 in /tmp b",
        "post_start 1 of hooks-a-1: it exited with code 3",
    ] {
        assert!(failed.stderr.contains(expected), "{failed}");
    }
    let running = lab
        .sh(&project, "orc compose ps -a --format '{{.Name}}'")
        .ok();
    assert_eq!(running, "hooks-a-1\n", "b waits for the hook, init is gone");

    std::fs::write(project.join("compose.yaml"), text(0)).expect("a file");
    let done = lab.sh(&project, "orc up -d");
    assert!(done.code == 0 && done.stderr.contains("a | bye"), "{done}");
    assert_eq!(
        lab.sh(&project, "orc exec a cat /data/first /data/last")
            .ok(),
        "init 0\nstopped\n"
    );
    let plan = lab
        .sh(&project, "orc plan --json; orc down --dry-run")
        .stdout;
    assert!(plan.contains("run pre_stop 1 in hooks-a-1"), "{plan}");
    lab.sh(&project, "orc compose restart a").ok();
    lab.sh(&project, "orc compose stop a && orc compose start a")
        .ok();
    assert_eq!(
        lab.sh(&project, "orc exec a sh -c 'cat /data/last | wc -l'")
            .ok()
            .trim(),
        "3"
    );
    // One that is run once is the caller's own affair.
    let once = lab.sh(&project, "orc compose run --rm --no-deps a true");
    assert!(once.code == 0 && !once.stderr.contains("up as"), "{once}");
    let down = lab.sh(&project, "orc down -v");
    assert!(down.code == 0 && down.stderr.contains("a | bye"), "{down}");
    before.is_back(&lab);
}
