//! What the flags of `run`, `update` and `stop` do to a container, seen from inside and from the kernel.

use crate::support::lab::{Lab, until};

#[test]
fn flags_of_run_reach_the_container() {
    let lab = Lab::with_busybox("runflags");
    let before = lab.snapshot();
    let at = |script: &str| lab.sh(lab.path(), script);
    // Another container's volumes, as it has them and read-only.
    at("orc run --name data -v kept:/kept example/busybox:1 sh -c 'echo here > /kept/it'").ok();
    let read = at(
        "orc run --rm --volumes-from data:ro example/busybox:1 sh -c 'cat /kept/it; echo x > /kept/it'",
    );
    assert_eq!(read.stdout, "here\n", "{read}");
    assert!(read.stderr.contains("Read-only"), "{read}");
    // The files of an image, and one of them.
    let image = "orc run --rm --mount type=image,source=example/busybox:1,target=/i \
         --mount type=image,source=example/busybox:1,target=/b,image-subpath=bin \
         example/busybox:1 sh -c 'test -x /i/bin/busybox && test -x /b/busybox && echo both'";
    assert_eq!(at(image).ok(), "both\n");
    // A filter of one's own.
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
        [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(lab.path().join("profile.json"), profile).expect("a file");
    let refused =
        at("orc run --rm --security-opt seccomp=profile.json example/busybox:1 mkdir /x").refused();
    assert!(refused.contains("not permitted"), "{refused}");
    at("orc run --rm example/busybox:1 mkdir /x").ok();
    // A device by its number.
    let open = "example/busybox:1 sh -c 'mknod /dev/l c 10 237 && : < /dev/l'";
    let closed = at(&format!("orc run --rm {open}")).refused();
    assert!(closed.contains("not permitted"), "{closed}");
    at(&format!(
        "orc run --rm --device-cgroup-rule 'c 10:237 r' {open}"
    ))
    .ok();
    at("orc rm data && orc volume rm kept").ok();
    before.is_back(&lab);
}

#[test]
fn flags_of_run_are_kept_and_shown() {
    let lab = Lab::with_busybox("keptflags");
    let at = |script: &str| lab.sh(lab.path(), script);
    let made = at(
        "orc create --name a --annotation k=v --memory-swappiness 5 --oom-kill-disable -m 64m \
         --blkio-weight 300 --runtime runc --userns host --isolation default --disable-content-trust \
         --health-cmd true --health-start-interval 2s --volume-driver local --pid host \
         --cidfile id example/busybox:1 true",
    );
    let id = made.ok();
    let kept = std::fs::read_to_string(lab.path().join("id")).expect("the id");
    assert_eq!(kept, id.trim());
    let shown = at(
        "orc inspect -f '{{.HostConfig.Annotations.k}} {{.HostConfig.MemorySwappiness}} \
         {{.HostConfig.OomKillDisable}} {{.HostConfig.BlkioWeight}} {{.HostConfig.PidMode}} \
         {{.Config.Healthcheck.StartInterval}}' a",
    );
    assert_eq!(shown.ok(), "v 5 true 300 host 2000000000\n");
    // A file that is there stops everything before there is a container.
    let again = at("orc run --name second --cidfile id example/busybox:1 true");
    assert_eq!(again.code, 125, "{again}");
    assert!(again.stderr.contains("remove the file"), "{again}");
    assert_eq!(at("orc inspect second").code, 1);
    // One that fails leaves no file.
    let failed = at("orc run --cidfile other --network nowhere example/busybox:1 true");
    assert_ne!(failed.code, 0, "{failed}");
    assert!(!lab.path().join("other").exists(), "{failed}");
    at("orc rm a").ok();
}

#[test]
fn an_update_changes_what_runs() {
    let lab = Lab::with_busybox("updateverb");
    let at = |script: &str| lab.sh(lab.path(), script);
    at("orc run -d --name a -m 64m --stop-signal KILL example/busybox:1 sleep 1000").ok();
    at("orc run -d --name b --stop-signal KILL example/busybox:1 sleep 1000").ok();
    let told = at("orc update -m 96m --memory-swap 128m --restart on-failure:2 a b");
    assert_eq!(told.stdout, "a\nb\n", "{told}");
    let shown = "orc inspect -f '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}} \
         {{.HostConfig.RestartPolicy.MaximumRetryCount}}' a b";
    let expected = format!("{} on-failure 2\n", 96 << 20);
    assert_eq!(at(shown).ok(), expected.repeat(2));
    let limit = "orc exec a sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true'";
    assert_eq!(at(limit).ok(), format!("{}\n", 96 << 20));
    // Docker's client says the same.
    lab.docker("update --pids-limit 50 a").ok();
    let pids = at("orc inspect -f '{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}}' a");
    assert_eq!(pids.ok(), format!("50 {}\n", 96 << 20));
    let nothing = at("orc update a").refused();
    assert!(nothing.contains("nothing is to be changed"), "{nothing}");
    let nobody = at("orc update -m 64m nobody a");
    assert_eq!((nobody.code, &*nobody.stdout), (1, "a\n"), "{nobody}");
    assert!(nobody.stderr.contains("nobody"), "{nobody}");
    at("orc rm -f a b").ok();
}

#[test]
fn a_stop_may_send_another_signal() {
    let lab = Lab::with_busybox("stopsignal");
    let at = |script: &str| lab.sh(lab.path(), script);
    let program = "trap \"exit 7\" USR1; echo ready; while :; do sleep 0.05; done";
    at(&format!(
        "orc run -d --name a --restart always example/busybox:1 sh -c '{program}'"
    ))
    .ok();
    let ready = |count: usize| {
        until("its handler", || {
            (at("orc logs a").ok().lines().count() == count).then_some(())
        });
    };
    ready(1);
    assert_eq!(at("orc restart -t 60 -s USR1 a").ok(), "a\n");
    ready(2);
    let wrong = at("orc stop -s NOSUCH a").refused();
    assert!(wrong.contains("NOSUCH"), "{wrong}");
    assert_eq!(at("orc ps -q").ok().lines().count(), 1, "it runs on");
    lab.docker("stop -t 60 -s USR1 a").ok();
    let state = at("orc inspect -f '{{.State.Status}} {{.State.ExitCode}}' a");
    assert_eq!(state.ok(), "exited 7\n", "and its policy lets it be");
    at("orc rm a").ok();
}

#[test]
fn an_image_is_for_one_platform() {
    let lab = Lab::with_busybox("oneplatform");
    let at = |script: &str| lab.sh(lab.path(), script);
    let other = match std::env::consts::ARCH {
        "aarch64" => "linux/amd64",
        _ => "linux/arm64",
    };
    for verb in ["history", "image inspect", "push", "save -o x.tar", "rmi"] {
        let refused = at(&format!("orc {verb} --platform {other} example/busybox:1")).refused();
        assert!(refused.contains(&format!("not for {other}")), "{refused}");
    }
    at("orc history --platform linux example/busybox:1").ok();
    assert_eq!(at("orc images -q").ok().lines().count(), 1);
}
