//! Images are built from Dockerfiles, by orc's own command line and by Docker's.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::lab::{Lab, Ran, until};

/// A directory with these files.
fn context(lab: &Lab, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = lab.path().join(name);
    for (path, text) in files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
    directory
}

/// Builds what is in `directory` and gives the progress.
#[track_caller]
fn built(lab: &Lab, directory: &Path, flags: &str) -> String {
    let ran = lab.sh(directory, &format!("orc build --progress plain {flags} ."));
    assert!(ran.code == 0, "{ran}");
    ran.stderr
}

/// What a new container of an image prints.
#[track_caller]
fn ran(lab: &Lab, image: &str, command: &str) -> String {
    let mut args = vec!["run", "--rm", image, "sh", "-c"];
    args.push(command);
    lab.orc(args).ok()
}

fn field(lab: &Lab, image: &str, template: &str) -> String {
    lab.orc(["image", "inspect", "--format", template, image])
        .ok()
        .trim()
        .to_owned()
}

const BASE: &str = "FROM example/busybox:1\n";

/// E1: nothing below it but what is copied.
#[test]
fn from_scratch() {
    let lab = Lab::new("scratch");
    let directory = context(
        &lab,
        "app",
        &[(
            "Dockerfile",
            "FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT [\"/bin/busybox\"]\nCMD [\"echo\", \"alone\"]\n",
        )],
    );
    std::fs::copy("/bin/busybox", directory.join("busybox")).expect("busybox-static");
    built(&lab, &directory, "-t alone");
    assert_eq!(lab.orc_line("run --rm alone").ok(), "alone\n");
    assert_eq!(lab.orc_line("run --rm alone ls /").ok().lines().count(), 5);
    assert_eq!(field(&lab, "alone", "{{len .RootFS.Layers}}"), "1");
}

/// E2, E3, E4, E9, E10: the instructions one uses every day, and one layer for each that changes files.
#[test]
fn everyday_instructions() {
    let lab = Lab::with_busybox("everyday");
    let dockerfile = format!(
        "ARG VERSION=0\n{BASE}ARG VERSION\nARG WHO=nobody\nENV GREETING=\"hello $WHO\"\n\
         RUN echo \"home is $HOME\"\nRUN [\"echo\", \"home is $HOME\"]\n\
         WORKDIR /x\nWORKDIR a\nRUN pwd > where && echo $VERSION > version\n\
         COPY index.html /var/www/index.html\n\
         RUN <<EOF\necho one > /one\necho two > /two\nEOF\n\
         CMD httpd -f -p 80 -h /var/www\n"
    );
    let directory = context(
        &lab,
        "app",
        &[
            ("sub/my.Dockerfile", &dockerfile),
            ("index.html", "<h1>from the build</h1>\n"),
        ],
    );
    let flags = "-t app:1 -t app:latest -f sub/my.Dockerfile --build-arg WHO=you --label made=here";
    let told = built(&lab, &directory, flags);
    assert!(told.contains(" home is /root\n"), "{told}");
    assert!(told.contains(" home is $HOME\n"), "{told}");
    assert_eq!(
        ran(
            &lab,
            "app:1",
            "echo $GREETING; pwd; cat where version /one /two"
        ),
        "hello you\n/x/a\n/x/a\n0\none\ntwo\n"
    );
    assert_eq!(
        field(
            &lab,
            "app",
            "{{.Config.Labels.made}} {{.Config.WorkingDir}}"
        ),
        "here /x/a"
    );
    let base: usize = field(&lab, "example/busybox:1", "{{len .RootFS.Layers}}")
        .parse()
        .expect("a number");
    let layers: usize = field(&lab, "app", "{{len .RootFS.Layers}}")
        .parse()
        .expect("a number");
    // Two that change nothing, WORKDIR twice, RUN, COPY, RUN.
    assert!(layers > base + 3 && layers <= base + 7, "{layers}");
    let history = lab.orc_line("history --no-trunc app").ok();
    assert!(
        history.contains("COPY index.html /var/www/index.html # buildkit"),
        "{history}"
    );
    lab.orc_line("run -d --name web -p 8080:80 app").ok();
    until("the page is served", || {
        (lab.http("http://127.0.0.1:8080/").stdout == "<h1>from the build</h1>\n").then_some(())
    });
    assert_eq!(lab.orc_line("run --rm app echo instead").ok(), "instead\n");
    lab.orc_line("rm -f web").ok();

    let again = built(&lab, &directory, flags);
    let cached = again.matches(" CACHED\n").count();
    assert!(
        cached >= 6 && !again.contains(" home is /root\n"),
        "{again}"
    );
    let other = built(&lab, &directory, &format!("{flags} --build-arg VERSION=7"));
    assert!(other.contains(" home is /root\n"), "{other}");
    assert_eq!(ran(&lab, "app", "cat version"), "7\n");
    let anew = built(&lab, &directory, &format!("{flags} --no-cache"));
    assert!(!anew.contains(" CACHED\n"), "{anew}");
}

/// Multi-stage builds skip what nobody needs, and stop at the target.
#[test]
fn stages_are_built_when_they_are_needed() {
    let lab = Lab::with_busybox("stages");
    let dockerfile = format!(
        "{BASE_AS} AS builder\nRUN echo built > /result\n{BASE_AS} AS unused\nRUN exit 3\n\
         {BASE_AS} AS test\nCOPY --from=builder /result /result\nRUN echo testing\n\
         {BASE_AS}\nCOPY --from=builder /result /\nCOPY --from=more note /\nCOPY --from=example/busybox:1 /etc/passwd /passwd\n",
        BASE_AS = BASE.trim(),
    );
    let directory = context(&lab, "app", &[("Dockerfile", &dockerfile)]);
    context(&lab, "more", &[("note", "from another context\n")]);
    let told = built(&lab, &directory, "-t last --build-context more=../more");
    assert!(
        !told.contains("exit 3") && !told.contains("testing"),
        "{told}"
    );
    assert_eq!(
        ran(&lab, "last", "cat /result /note; head -n 1 /passwd"),
        "built\nfrom another context\nroot:x:0:0:root:/root:/bin/sh\n"
    );
    let told = built(&lab, &directory, "-t tested --target test");
    assert!(told.contains("testing"), "{told}");
    let ran = lab.sh(&directory, "orc build --target nope .");
    assert!(ran.refused().contains("nope"));
}

/// E5 to E8: what is copied, and as what.
#[test]
fn files_from_the_context() {
    let lab = Lab::with_busybox("copy");
    let dockerfile = format!(
        "{BASE}COPY . /all/\nCOPY --chown=12:34 --chmod=755 run.sh /bin/run.sh\n\
         COPY [\"with space.txt\", \"/with space.txt\"]\nADD a.tar.gz /d/\nADD a.tar.gz plain\nCOPY a.tar.gz /kept.tar.gz\n"
    );
    let directory = context(
        &lab,
        "app",
        &[
            ("Dockerfile", &dockerfile),
            (".dockerignore", "*.log\nsecret\n!keep.log\n"),
            ("drop.log", "x"),
            ("keep.log", "x"),
            ("secret/key", "x"),
            ("run.sh", "#!/bin/sh\necho run\n"),
            ("with space.txt", "spaced\n"),
            ("packed/in/side", "inside\n"),
        ],
    );
    lab.sh(&directory, "tar -C packed -czf a.tar.gz in").ok();
    built(&lab, &directory, "-t copied");
    assert_eq!(
        ran(
            &lab,
            "copied",
            "ls /all | tr '\\n' ' '; stat -c '%u:%g %a' /bin/run.sh; run.sh; cat '/with space.txt' /d/in/side /plain/in/side; tar -tzf /kept.tar.gz | head -n 1"
        ),
        "Dockerfile a.tar.gz keep.log packed run.sh with space.txt 12:34 755\nrun\nspaced\ninside\ninside\nin/\n"
    );
    std::fs::write(lab.path().join("outside"), "secret").expect("a file");
    for wrong in ["COPY ../outside /", "COPY secret/key /", "COPY nothere /"] {
        std::fs::write(directory.join("Bad"), format!("{BASE}{wrong}\n")).expect("a file");
        let ran = lab.sh(&directory, "orc build -f Bad .");
        let said = ran.refused();
        assert!(said.contains("not found"), "{wrong}: {said}");
        assert!(said.contains("Bad:2"), "the line is named: {said}");
    }
    // A context full of links leads nowhere but inside.
    let links = context(
        &lab,
        "links",
        &[("Dockerfile", &format!("{BASE}COPY . /in/\nCOPY out /out\n"))],
    );
    std::os::unix::fs::symlink(lab.path().join("outside"), links.join("out")).expect("a link");
    let ran = lab.sh(&links, "orc build -t links .");
    assert!(ran.refused().contains("not found"));
}

/// E11: the rest of the language ends in the config.
#[test]
fn the_config_says_the_rest() {
    let lab = Lab::with_busybox("config");
    let dockerfile = format!(
        "{BASE}LABEL a=1 b=\"two words\"\nEXPOSE 80/tcp 53/udp\nVOLUME [\"/data\"]\nUSER nobody:nogroup\n\
         HEALTHCHECK --interval=5s --retries=2 CMD true\nSTOPSIGNAL SIGUSR1\nSHELL [\"/bin/sh\", \"-ec\"]\n\
         ONBUILD RUN echo triggered\nENTRYPOINT [\"echo\"]\nCMD [\"hi\"]\n"
    );
    let directory = context(&lab, "app", &[("Dockerfile", &dockerfile)]);
    built(&lab, &directory, "-t configured");
    for (template, expected) in [
        ("{{.Config.Labels.b}}", "two words"),
        (
            "{{json .Config.ExposedPorts}}",
            r#"{"53/udp":{},"80/tcp":{}}"#,
        ),
        ("{{json .Config.Volumes}}", r#"{"/data":{}}"#),
        ("{{.Config.User}}", "nobody:nogroup"),
        ("{{.Config.StopSignal}}", "SIGUSR1"),
        (
            "{{json .Config.Healthcheck.Test}}",
            r#"["CMD-SHELL","true"]"#,
        ),
        ("{{json .Config.Entrypoint}}", r#"["echo"]"#),
        ("{{json .Config.Cmd}}", r#"["hi"]"#),
    ] {
        assert_eq!(field(&lab, "configured", template), expected, "{template}");
    }
    assert_eq!(lab.orc_line("run --rm configured").ok(), "hi\n");
    let child = context(
        &lab,
        "child",
        &[("Dockerfile", "FROM configured\nUSER root\n")],
    );
    let told = built(&lab, &child, "-t child");
    assert!(told.contains(" triggered\n"), "{told}");
}

/// A step is told where it is, and its layer shows nothing of it.
#[test]
fn a_step_runs_like_a_container_and_leaves_no_trace() {
    let lab = Lab::with_busybox("trace");
    let dockerfile = format!(
        "{BASE}RUN --mount=type=tmpfs,target=/scratch/deep --mount=type=bind,target=/ctx,source=. \\\n\
         cat /etc/hosts /etc/resolv.conf; hostname; id -u; cat /ctx/file; grep -c . /proc/self/status; touch /made; \\\n\
         ls /proc/sys/kernel/hostname && ! echo x > /proc/sys/kernel/hostname; grep CapEff /proc/self/status\n\
         RUN --network=none ip link | grep -c mtu\n\
         RUN touch /etc/mine\n"
    );
    let directory = context(
        &lab,
        "app",
        &[("Dockerfile", &dockerfile), ("file", "context\n")],
    );
    lab.orc_line("ps").ok();
    let told = built(&lab, &directory, "-t traced --add-host db:10.9.8.7");
    for line in [
        "10.9.8.7\tdb",
        "nameserver 172.17.0.1",
        " build\n",
        " context\n",
        "CapEff:\t00000000a80425fb",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    lab.orc_line("save -o image.tar traced").ok();
    let layers = lab.sh(
        lab.path(),
        "mkdir u && tar -xf image.tar -C u && for l in $(find u -type f -size +0); do tar -tf $l 2>/dev/null; done | grep -v blobs | grep -E 'etc|made|scratch|ctx|proc|sys|dev' | sort | uniq",
    );
    let files = layers.ok();
    for trace in ["hosts", "hostname", "resolv.conf", "scratch", "ctx"] {
        assert!(!files.contains(trace), "{trace} in {files}");
    }
    assert!(
        files.contains("made") && files.contains("etc/mine"),
        "{files}"
    );
    assert_eq!(
        ran(
            &lab,
            "traced",
            "ls -d /scratch /ctx 2>/dev/null; cat /etc/hostname | wc -l"
        ),
        "1\n"
    );
}

/// Secrets and agents reach the step that asks and nothing else.
#[test]
fn secrets_stay_secret() {
    let lab = Lab::with_busybox("secrets");
    let dockerfile = format!(
        "{BASE}RUN --mount=type=secret,id=token,required=true --mount=type=secret,id=other,env=OTHER \\\n\
         wc -c < /run/secrets/token; echo ${{#OTHER}}; stat -c %a /run/secrets/token\n\
         RUN --mount=type=ssh,uid=7,mode=0640 stat -c '%F %u %a' $SSH_AUTH_SOCK; printf ask | nc -w 5 local:$SSH_AUTH_SOCK || true\n\
         RUN test ! -e /run/secrets && test -z \"$SSH_AUTH_SOCK\"\n"
    );
    let directory = context(
        &lab,
        "app",
        &[
            ("Dockerfile", &dockerfile),
            ("token.txt", "s3cr3t-of-the-lab"),
        ],
    );
    let agent = std::os::unix::net::UnixListener::bind(lab.path().join("agent")).expect("a socket");
    let told = built(
        &lab,
        &directory,
        "-t secretive --secret id=token,src=token.txt --secret id=other,env=HOME --ssh default=../agent",
    );
    drop(agent);
    assert!(told.contains(" 17\n"), "{told}");
    assert!(told.contains(" 400\n"), "{told}");
    assert!(told.contains(" socket 7 640\n"), "{told}");
    lab.orc_line("save -o image.tar secretive").ok();
    let found = lab.sh(
        lab.path(),
        "mkdir u && tar -xf image.tar -C u && find u -type f | while read f; do zcat -f $f; done | grep -c s3cr3t; grep -rc s3cr3t data/images/*.json data/daemon.log | grep -v ':0'; true",
    );
    assert_eq!(found.ok(), "0\n");
    let ran = lab.sh(&directory, "orc build --no-cache .");
    assert!(ran.refused().contains("token"), "a required secret");
}

/// A cache mount outlives the build.
#[test]
fn cache_mounts_stay() {
    let lab = Lab::with_busybox("cachemount");
    let dockerfile = format!(
        "{BASE}ARG N\nRUN --mount=type=cache,target=/cache echo $N >> /cache/log; cat /cache/log | tr '\\n' ' '; echo .\n"
    );
    let directory = context(&lab, "app", &[("Dockerfile", &dockerfile)]);
    built(&lab, &directory, "--build-arg N=1");
    let told = built(&lab, &directory, "--build-arg N=2 -t cached");
    assert!(told.contains(" 1 2 .\n"), "{told}");
    assert_eq!(
        ran(&lab, "cached", "ls -d /cache 2>/dev/null | wc -l"),
        "0\n"
    );
}

/// What is printed when something fails, and that nothing of it stays.
#[test]
fn failures_are_explained() {
    let lab = Lab::with_busybox("failures");
    lab.orc_line("ps").ok();
    let directory = context(
        &lab,
        "app",
        &[
            (
                "Dockerfile",
                &format!("{BASE}RUN echo before; \\\n  exit 9\nCMD x\n"),
            ),
            ("Typo", &format!("{BASE}RUM x\nCOPY --chwon=1 a b\n")),
            ("Insecure", &format!("{BASE}RUN --security=insecure true\n")),
            ("Host", &format!("{BASE}RUN --network=host true\n")),
            ("Program", &format!("{BASE}RUN [\"/no/such\"]\n")),
            ("User", &format!("{BASE}USER who\nRUN true\n")),
        ],
    );
    // The first build brings caches that stay.
    lab.sh(&directory, "orc build --check .");
    let before = lab.snapshot();
    let run = |flags: &str| lab.sh(&directory, &format!("orc build --no-cache {flags} ."));
    let failed: Ran = run("-t nope");
    assert_eq!(failed.code, 1, "{failed}");
    for part in [
        " > [2/2] RUN echo before;",
        " before\n",
        "Dockerfile:2\n",
        "   2 | >>> RUN echo before; \\",
        "   3 | >>>   exit 9",
        "did not complete successfully: exit code: 9",
    ] {
        assert!(failed.stderr.contains(part), "{part} in {failed}");
    }
    let typo = run("-f Typo").refused();
    assert!(
        typo.contains("did you mean RUN?") && typo.contains("did you mean --chown?"),
        "{typo}"
    );
    for (file, said) in [
        ("Insecure", "security.insecure"),
        ("Host", "network.host"),
        ("Program", "/no/such"),
        ("User", "who"),
        ("Missing", "there is no Dockerfile"),
    ] {
        let text = run(&format!("-f {file}")).refused();
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(!lab.orc_line("images").ok().contains("nope"));
    before.is_back(&lab);
}

/// With the entitlement a step is as free as a privileged container.
#[test]
fn entitlements() {
    let lab = Lab::with_busybox("entitled");
    let directory = context(
        &lab,
        "app",
        &[(
            "Dockerfile",
            &format!(
                "{BASE}RUN --security=insecure grep CapEff /proc/self/status\nRUN --network=host ip link | grep -c lo:\n"
            ),
        )],
    );
    let told = built(
        &lab,
        &directory,
        "--allow security.insecure --allow network.host",
    );
    let caps = told.split("CapEff:\t").nth(1).expect("the line");
    assert!(
        caps.starts_with("000001ff") || caps.starts_with("000003ff"),
        "{told}"
    );
}

/// Standard input: an archive, a Dockerfile; what comes out beside the image.
#[test]
fn in_and_out() {
    let lab = Lab::with_busybox("inout");
    let directory = context(
        &lab,
        "app",
        &[
            ("Dockerfile", &format!("{BASE}COPY file /out/file\n")),
            ("file", "content\n"),
        ],
    );
    let id = lab.sh(&directory, "tar c . | orc build -q -t piped -").ok();
    assert!(id.starts_with("sha256:") && id.len() == 72, "{id}");
    assert_eq!(ran(&lab, "piped", "cat /out/file"), "content\n");
    lab.sh(&directory, "tar cz . | orc build -q -").ok();
    lab.sh(
        &directory,
        "printf 'FROM example/busybox:1\\nRUN echo x > /x\\n' | orc build -q --iidfile id -",
    )
    .ok();
    let written = std::fs::read_to_string(directory.join("id")).expect("the id");
    assert!(written.starts_with("sha256:"), "{written}");
    lab.sh(
        &directory,
        "printf 'FROM scratch\\nCOPY file /\\n' | orc build -f - -o out .",
    )
    .ok();
    let out = std::fs::read_to_string(directory.join("out/file")).expect("a file");
    assert_eq!(out, "content\n");
    let listed = lab.sh(&directory, "orc build -o - . | tar -t | grep out/");
    assert!(listed.ok().contains("out/file"));
    lab.sh(
        &directory,
        "orc build -t kept -o type=oci,dest=oci.tar . && orc rmi kept && orc load -i oci.tar",
    )
    .ok();
    assert_eq!(ran(&lab, "kept", "cat /out/file"), "content\n");
    let json = lab
        .sh(
            &directory,
            "orc build --progress rawjson . 2>&1 | head -n 1",
        )
        .ok();
    assert!(
        json.starts_with('{') && json.contains("Planned") || json.contains("Dockerfile"),
        "{json}"
    );
    let empty = lab.sh(&directory, "orc build - < /dev/null");
    assert!(empty.refused().contains("standard input is empty"));
    let elsewhere = lab.sh(&directory, "orc build ../app/file");
    assert!(elsewhere.refused().contains("not a directory"));
}

/// The unmodified client of Docker builds, with and without a word about the builder.
#[test]
fn dockers_client_builds() {
    let lab = Lab::with_busybox("dbuild");
    lab.orc_line("ps").ok();
    let directory = context(
        &lab,
        "app",
        &[
            (
                "Dockerfile",
                &format!("{BASE}ARG A=0\nRUN echo building $A > /a\nCMD [\"cat\", \"/a\"]\n"),
            ),
            ("Bad", &format!("{BASE}RUN exit 7\n")),
            (".dockerignore", "Bad\n"),
        ],
    );
    let told = lab.sh(
        &directory,
        "DOCKER_BUILDKIT=0 docker build -t classic --build-arg A=5 . 2>/dev/null",
    );
    let told = told.ok();
    for line in [
        "Step 1/",
        "Successfully built ",
        "Successfully tagged classic:latest",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    assert_eq!(lab.docker("run --rm classic").ok(), "building 5\n");
    let again = lab
        .sh(
            &directory,
            "docker build -t plain --build-arg A=5 . 2>/dev/null",
        )
        .ok();
    assert!(again.contains("Using cache"), "{again}");
    let quiet = lab
        .sh(
            &directory,
            "DOCKER_BUILDKIT=0 docker build -q . 2>/dev/null",
        )
        .ok();
    assert!(quiet.starts_with("sha256:"), "{quiet}");
    let failed = lab.sh(
        &directory,
        "printf 'FROM example/busybox:1\\nRUN exit 7\\n' | DOCKER_BUILDKIT=0 docker build -",
    );
    assert_eq!(failed.code, 7, "the code of the program: {failed}");
    assert!(failed.stderr.contains("exit code: 7"), "{failed}");
    let history = lab.docker("history --no-trunc classic").ok();
    assert!(history.contains("echo building"), "{history}");
}

/// Whoever goes away takes the build along.
#[test]
fn a_cancelled_build_leaves_nothing() {
    let lab = Lab::with_busybox("cancel");
    let directory = context(
        &lab,
        "app",
        &[(
            "Dockerfile",
            &format!("{BASE}RUN echo begun; sleep 71001\n"),
        )],
    );
    lab.sh(&directory, "orc build --check .").ok();
    let before = lab.snapshot();
    for signal in ["-INT", "-KILL"] {
        let mut command = lab.command(["orc", "build", "--progress", "plain", "."]);
        let mut build = command
            .current_dir(&directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a build");
        until("the step runs", || {
            lab.host(["pgrep", "-f", "sleep 71001"])
                .stdout
                .lines()
                .next()
                .map(drop)
        });
        lab.host(["kill", signal, &build.id().to_string()]).ok();
        build.wait().expect("its end");
        before.is_back(&lab);
    }
}

/// A daemon that is told to end takes its builds along, and says so.
#[test]
fn an_ending_daemon_ends_its_builds() {
    let lab = Lab::with_busybox("endbuild");
    let file = format!("{BASE}RUN echo begun; sleep 71003\n");
    let directory = context(&lab, "app", &[("Dockerfile", &file)]);
    lab.sh(&directory, "orc build --check .").ok();
    let before = lab.snapshot();
    let mut command = lab.command(["orc", "build", "."]);
    let build = command
        .current_dir(&directory)
        .stderr(Stdio::piped())
        .spawn()
        .expect("a build");
    let step = until("the step runs", || {
        let pids = lab.host(["pgrep", "-f", "sleep 71003"]).stdout;
        pids.lines().next().map(str::to_owned)
    });
    lab.orc_line("daemon stop").ok();
    assert!(!Path::new(&format!("/proc/{step}")).exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let builds = lab.data_root().join("images/builds");
    assert!(!mounts.contains(&*builds.to_string_lossy()), "{mounts}");
    let build = build.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&build.stderr);
    assert_eq!(build.status.code(), Some(1), "{said}");
    assert!(said.contains("the daemon is ending"), "{said}");
    lab.orc_line("ps").ok();
    before.is_back(&lab);
}

/// A daemon that is killed in the middle of a build leaves nothing once it runs again.
#[test]
fn a_killed_daemon_leaves_nothing() {
    let lab = Lab::with_busybox("killbuild");
    let directory = context(
        &lab,
        "app",
        &[(
            "Dockerfile",
            &format!("{BASE}RUN --mount=type=cache,target=/c echo begun; sleep 71002\n"),
        )],
    );
    lab.sh(&directory, "orc build --check .").ok();
    lab.orc_line("daemon stop").ok();
    lab.orc_line("ps").ok();
    let before = lab.snapshot();
    let mut command = lab.command(["orc", "build", "."]);
    let mut build = command
        .current_dir(&directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a build");
    let step = until("the step runs", || {
        let pids = lab.host(["pgrep", "-f", "sleep 71002"]).stdout;
        pids.lines().next().map(str::to_owned)
    });
    lab.host(["kill", "-9", &lab.daemon_pid().to_string()]).ok();
    assert!(build.wait().expect("its end").code() != Some(0));
    lab.orc_line("ps").ok();
    until("the step is gone", || {
        (!Path::new(&format!("/proc/{step}")).exists()).then_some(())
    });
    lab.orc_line("builder prune -af").ok();
    before.is_back(&lab);
}

/// E12: a project whose images are built.
#[test]
fn a_project_is_built() {
    let lab = Lab::with_busybox("cbuild");
    let directory = lab.project(
        "demo",
        "services:\n  web:\n    build:\n      context: ./web\n      args: {WHO: compose, MODE: \"${MODE:-none}\"}\n      additional_contexts: {base: \"service:base\"}\n      secrets: [token]\n    command: cat /made\n  base:\n    build:\n      dockerfile_inline: |\n        FROM example/busybox:1\n        RUN echo base > /base\n    scale: 0\nsecrets:\n  token: {environment: TOKEN}\n",
    );
    context(
        &lab,
        "demo/web",
        &[(
            "Dockerfile",
            "FROM base\nARG WHO\nARG MODE\nRUN --mount=type=secret,id=token echo $WHO $MODE $(wc -c < /run/secrets/token) $(cat /base) > /made\n",
        )],
    );
    let dry = lab.sh(&directory, "TOKEN=12345 orc up -d --dry-run").ok();
    assert!(
        dry.contains("build demo-base") && dry.contains("build demo-web"),
        "{dry}"
    );
    let up = lab.sh(&directory, "TOKEN=12345 orc compose build && TOKEN=12345 orc up -d && orc compose logs --no-log-prefix web");
    assert_eq!(up.ok(), "compose none 5 base\n");
    let config = lab.sh(&directory, "TOKEN=1 orc compose config").ok();
    assert!(config.contains("WHO: compose"), "{config}");
    // Only with `--build` is it built anew, and then the container is replaced.
    let same = lab.sh(
        &directory,
        "TOKEN=12345 MODE=fast orc up -d --wait 2>&1; orc compose logs --no-log-prefix web",
    );
    assert!(same.stdout.ends_with("compose none 5 base\n"), "{same}");
    let anew = lab.sh(&directory, "TOKEN=12345 MODE=fast orc up -d --build && sleep 1 && orc compose logs --no-log-prefix web");
    assert_eq!(anew.ok(), "compose fast 5 base\n");
    lab.sh(&directory, "orc down --rmi local").ok();
    let images = lab.orc_line("images").ok();
    assert!(!images.contains("demo-web"), "{images}");
    let never = lab.sh(&directory, "TOKEN=1 orc up -d --no-build");
    assert!(never.refused().contains("not to be built"));
}
