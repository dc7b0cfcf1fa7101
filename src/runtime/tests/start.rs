//! From a spec to a running program, and what is said when that fails.

use orc_base::Kind;
use orc_runtime::spec::{Mount, Propagation, Rlimit, Submounts};

use crate::bed::Bed;

crate::tests! {
    runs_a_program_to_its_end
    keeps_output_apart_and_whole
    says_why_a_program_cannot_be_executed
    refuses_users_that_cannot_be
    leaves_nothing_when_a_mount_fails
    looks_programs_up_in_the_containers_path
    sets_environment_directory_and_limits
    starts_many_at_once
    stacks_layers_topmost_first
}

async fn runs_a_program_to_its_end(bed: Bed) {
    for (program, code) in [("/bin/true", 0), ("/bin/false", 1)] {
        let spec = bed.spec([program]);
        let outcome = bed.run(&spec).await;
        assert_eq!(outcome.exit.code, code, "{outcome:?}");
        assert!(!outcome.exit.oom_killed);
        bed.assert_nothing_left(&spec);
    }
    let killed = bed.run(&bed.script("kill -9 $$")).await;
    // The kernel protects the first process of a PID namespace from its own signals.
    assert_eq!(killed.exit.code, 0);
    let code = bed.run(&bed.script("exit 42")).await.exit.code;
    assert_eq!(code, 42);
}

async fn keeps_output_apart_and_whole(bed: Bed) {
    let outcome = bed
        .run(&bed.script("echo out; echo err >&2; printf '\\0\\377'"))
        .await;
    assert_eq!(outcome.stderr, "err\n");
    assert!(outcome.stdout.starts_with("out\n\0"), "{outcome:?}");
    let lines = bed.say("seq 1 50000").await;
    assert_eq!(lines.lines().count(), 50_000);
    assert!(lines.ends_with("\n50000\n"));
}

async fn says_why_a_program_cannot_be_executed(bed: Bed) {
    let script = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = bed.image().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    script("no-interpreter", "#!/bin/nothing\n", 0o755);
    script("no-program", "\u{1}\u{2}\u{3}", 0o755);
    script("no-permission", "#!/bin/sh\n", 0o644);
    for (program, kind, text) in [
        (
            "/bin/nope",
            Kind::NotFound,
            "exec `/bin/nope`: no such file or directory in the image",
        ),
        (
            "nope",
            Kind::NotFound,
            "exec `nope`: executable file not found in $PATH: no such file or directory",
        ),
        (
            "/no-interpreter",
            Kind::NotFound,
            "its interpreter or loader is not",
        ),
        ("/no-permission", Kind::Denied, "permission denied"),
        ("/etc", Kind::Denied, "permission denied"),
        ("/no-program", Kind::Invalid, "exec format error"),
    ] {
        let error = bed.refusal(&bed.spec([program])).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

async fn refuses_users_that_cannot_be(bed: Bed) {
    for (user, kind) in [
        ("4294967296", Kind::Invalid),
        ("-1", Kind::Invalid),
        ("65536000000:0", Kind::Invalid),
        ("+0", Kind::Invalid),
        (" 0", Kind::Invalid),
        ("nobody-here", Kind::NotFound),
    ] {
        let mut spec = bed.spec(["/bin/true"]);
        spec.process.user = user.into();
        let error = bed.refusal(&spec).await;
        assert_eq!(error.kind(), kind, "{user}: {error}");
    }
}

async fn leaves_nothing_when_a_mount_fails(bed: Bed) {
    let mut spec = bed.spec(["/bin/true"]);
    spec.mounts = vec![Mount::Bind {
        source: bed.path("missing"),
        target: "/data".into(),
        readonly: false,
        submounts: Submounts::Follow,
        propagation: Propagation::Private,
    }];
    let error = bed.refusal(&spec).await;
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert!(error.to_string().contains("open mount source"), "{error}");

    let mut spec = bed.spec(["/bin/true"]);
    spec.rootfs.lowers = vec![bed.path("no-layer")];
    let error = bed.refusal(&spec).await;
    assert!(error.to_string().contains("no-layer"), "{error}");
}

async fn looks_programs_up_in_the_containers_path(bed: Bed) {
    let mut spec = bed.spec(["true"]);
    assert_eq!(bed.run(&spec).await.exit.code, 0);
    spec = bed.spec(["true"]);
    spec.process.env = vec!["PATH=/nowhere:/etc".into()];
    assert_eq!(bed.refusal(&spec).await.kind(), Kind::NotFound);
    let mut spec = bed.spec(["./true"]);
    spec.process.cwd = "/bin".into();
    assert_eq!(bed.run(&spec).await.exit.code, 0);
}

async fn sets_environment_directory_and_limits(bed: Bed) {
    let mut spec = bed.script("pwd; env | grep -E '^(HOME|A)='; ulimit -n; ulimit -c; umask; hostname; cat /proc/self/oom_score_adj");
    spec.process.env.push("A=b c".into());
    spec.process.cwd = "/made/here".into();
    spec.process.rlimits = vec![
        Rlimit {
            name: "nofile".into(),
            soft: Some(100),
            hard: Some(200),
        },
        Rlimit {
            name: "RLIMIT_CORE".into(),
            soft: Some(0),
            hard: Some(0),
        },
    ];
    spec.oom_score_adj = Some(500);
    let outcome = bed.run(&spec).await;
    let mut lines: Vec<&str> = outcome.stdout.lines().collect();
    lines[1..3].sort_unstable();
    assert_eq!(
        lines,
        [
            "/made/here",
            "A=b c",
            "HOME=/root",
            "100",
            "0",
            "0022",
            "bed",
            "500"
        ],
        "{outcome:?}"
    );
}

async fn starts_many_at_once(bed: Bed) {
    let specs: Vec<_> = (0..12)
        .map(|index| bed.script(&format!("exit {index}")))
        .collect();
    let runs = specs.iter().map(|spec| bed.run(spec));
    let outcomes = futures_util::future::join_all(runs).await;
    let codes: Vec<i32> = outcomes.iter().map(|outcome| outcome.exit.code).collect();
    assert_eq!(codes, (0..12).collect::<Vec<_>>());
    for spec in &specs {
        bed.assert_nothing_left(spec);
    }
}

async fn stacks_layers_topmost_first(bed: Bed) {
    // More than 255 bytes: what fsconfig(2) takes for one layer.
    let deep = bed.path(&"d".repeat(200)).join("e".repeat(150));
    std::fs::create_dir_all(deep.join("etc")).unwrap();
    std::fs::write(deep.join("etc/group"), "from the top\n").unwrap();
    let mut spec = bed.script("cat /etc/group; echo changed > /etc/group");
    spec.rootfs.lowers.insert(0, deep.clone());
    assert_eq!(bed.run(&spec).await.stdout, "from the top\n");
    let changed = std::fs::read_to_string(spec.rootfs.upper.join("etc/group")).unwrap();
    assert_eq!(changed, "changed\n");
    let kept = std::fs::read_to_string(deep.join("etc/group")).unwrap();
    assert_eq!(kept, "from the top\n");

    // The same root again, as a restart does it.
    spec.process.args = vec!["/bin/cat".into(), "/etc/group".into()];
    spec.log.as_mut().unwrap().path = bed.path("second-log");
    assert_eq!(bed.run(&spec).await.stdout, "changed\n");
}
