//! Projects whose files are elsewhere: on a real registry and in repositories of a real `git daemon`.

use std::path::Path;

use crate::support::lab::{Lab, Ran, until};
use crate::support::registry::Registry;

const RUNS: &str = "image: example/busybox:1\n    command: sleep 100000\n    init: true";

/// An empty directory to run things in.
fn empty(lab: &Lab, name: &str) -> std::path::PathBuf {
    let directory = lab.path().join(name);
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

#[test]
fn a_published_project_runs_in_an_empty_directory() {
    let lab = Lab::with_busybox("published");
    let registry = Registry::start(&lab);
    let name = registry.name("team/project:1");
    let author = lab.project(
        "author",
        &format!(
            "services:\n  a:\n    {RUNS}\n    extends: {{file: base.yaml, service: base}}\n    env_file: [a.env]\n    environment: ['GREETING=${{GREETING:-hello}}']\n"
        ),
    );
    std::fs::write(
        author.join("base.yaml"),
        "services: {base: {labels: {from: base}}}",
    )
    .expect("a file");
    std::fs::write(author.join("a.env"), "FROM_FILE=yes\n").expect("a file");
    let line = format!("orc compose publish -y --with-env {name}");
    let published = lab.sh(&author, &line).ok();
    let digest = published
        .trim()
        .rsplit('@')
        .next()
        .expect("a digest")
        .to_owned();

    let user = empty(&lab, "user");
    let run = |words: &str| {
        lab.sh(
            &user,
            &format!("orc compose -f oci://{name} {words} </dev/null"),
        )
    };
    let up = run("up -d");
    assert!(up.stderr.contains("from elsewhere are in "), "{up}");
    up.ok();
    let seen = run("exec -T a env").ok();
    assert!(
        seen.contains("FROM_FILE=yes") && seen.contains("GREETING=hello"),
        "{seen}"
    );
    let listed = run("ps --format '{{.Name}}'").ok();
    assert_eq!(
        listed, "user-a-1\n",
        "it is called after the empty directory"
    );
    let again = run("--progress plain up -d");
    assert!(!again.stderr.contains("Recreate"), "{again}");

    // What the author would get of this machine is asked for, once.
    let greet = |words: &str| {
        let line = format!("GREETING=mine orc compose -f oci://{name} {words} </dev/null");
        lab.sh(&user, &line)
    };
    for words in ["up -d", "create", "scale a=2", "run --rm a true"] {
        let refused = greet(words).refused();
        assert!(
            refused.contains("the values of the variables GREETING") && refused.contains("`up -y`"),
            "{words}: {refused}"
        );
    }
    assert!(greet("--dry-run up -d").code == 0, "nothing is made");
    let config = greet("config").ok();
    assert!(config.contains("GREETING: mine"), "{config}");
    greet("up -d -y").ok();
    greet("scale a=2").ok();
    greet("down").ok();

    // As part of somebody's own project, whose file may say what it likes.
    let own = lab.project(
        "own",
        &format!("include: ['oci://{name}']\nservices:\n  b:\n    {RUNS}\n    volumes: ['/tmp:/t']\n    depends_on: [a]\n"),
    );
    lab.sh(&own, "orc compose up -d </dev/null").ok();
    let names = lab.sh(&own, "orc compose ps --services").ok();
    assert_eq!(names, "a\nb\n");
    lab.sh(&own, "orc compose down").ok();

    let off = format!("COMPOSE_EXPERIMENTAL_OCI_REMOTE=0 orc compose -f oci://{name} config");
    let off = lab.sh(&user, &off).refused();
    assert!(off.contains("COMPOSE_EXPERIMENTAL_OCI_REMOTE"), "{off}");
    let missing = lab
        .sh(&user, &format!("orc compose -f oci://{name}x config"))
        .refused();
    assert!(missing.contains("team/project:1x"), "{missing}");
    let repository = name.rsplit_once(':').expect("a tag").0.to_owned();
    drop(registry);
    run("config").refused();
    let pinned = format!("orc compose -f oci://{repository}@{digest} config -q");
    lab.sh(&user, &pinned).ok();
}

/// Puts documents and a manifest on the registry with curl. `manifest` is shell for the manifest's text;
/// `$f` and `$e` are the digests of two small documents.
fn put(lab: &Lab, name: &str, compose: &str, manifest: &str) -> Ran {
    let directory = empty(lab, "hostile");
    std::fs::write(directory.join("file"), compose).expect("a file");
    std::fs::write(directory.join("empty"), "{}").expect("a file");
    let script = format!(
        r#"set -eu
base=http://localhost:5001/v2/{name}
put() {{
  digest=sha256:$(sha256sum <"$1" | cut -d' ' -f1)
  to=$(curl -sSi -X POST $base/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  curl -sSf -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' --data-binary @"$1" "$to&digest=$digest"
  echo $digest
}}
f=$(put file) e=$(put empty)
{manifest} >manifest
curl -sSf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @manifest $base/manifests/1
"#
    );
    lab.sh(&directory, &script)
}

/// A manifest with these layers, as shell.
fn manifest(layers: &str) -> String {
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.docker.compose.project","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"$e","size":2}},"layers":[{layers}]}}"#
    );
    format!("echo \"{}\"", document.replace('"', "\\\""))
}

fn layer(kind: &str, size: usize, annotations: &str) -> String {
    format!(
        r#"{{"mediaType":"application/vnd.docker.compose.{kind}","digest":"$f","size":{size},"annotations":{{{annotations}}}}}"#
    )
}

#[test]
fn hostile_artefacts_write_and_read_nothing() {
    let lab = Lab::new("hostile-oci");
    let _registry = Registry::start(&lab);
    let user = empty(&lab, "user");
    let compose = "services: {a: {image: x}}";
    let config = |name: &str| {
        let line = format!("orc compose -f oci://localhost:5001/{name}:1 config </dev/null");
        lab.sh(&user, &line)
    };
    let file = layer("file+yaml", compose.len(), "");
    put(&lab, "plain", compose, &manifest(&file)).ok();
    config("plain").ok();

    for (at, target) in ["../../../evil", "/tmp/orc-evil", "..", "a/b"]
        .iter()
        .enumerate()
    {
        for (kind, annotation) in [
            ("envfile", "com.docker.compose.envfile"),
            ("file+yaml", "com.docker.compose.file"),
        ] {
            let annotations =
                format!(r#""{annotation}":"{target}","com.docker.compose.extends":"true""#);
            let evil = layer(kind, compose.len(), &annotations);
            let name = format!("evil{at}{}", kind.len());
            put(&lab, &name, compose, &manifest(&format!("{file},{evil}"))).ok();
            let refused = config(&name).refused();
            assert!(
                refused.contains("not the plain name of a file"),
                "{refused}"
            );
        }
    }
    let copies = lab.data_root().join("compose/remote");
    let kept = std::fs::read_dir(&copies).expect("copies").count();
    assert_eq!(kept, 1, "only the harmless one");
    for evil in ["evil", "data/evil", "data/compose/evil"] {
        assert!(!lab.path().join(evil).exists());
    }
    assert!(!Path::new("/tmp/orc-evil").exists());

    // Sizes and numbers that cannot be meant.
    let many = format!(
        r#"{{ printf '{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.docker.compose.project","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2}},"layers":[' $e
i=1; while [ $i -lt 10000 ]; do printf '{{"mediaType":"application/vnd.docker.compose.file+yaml","digest":"%s","size":{0}}},' $f; i=$((i+1)); done
printf '{{"mediaType":"application/vnd.docker.compose.file+yaml","digest":"%s","size":{0}}}]}}' $f; }}"#,
        compose.len()
    );
    put(&lab, "many", compose, &many).ok();
    let refused = config("many").refused();
    assert!(refused.contains("10000 layers"), "{refused}");
    let several = vec![file.as_str(); 300].join(",");
    put(&lab, "several", compose, &manifest(&several)).ok();
    let refused = config("several").refused();
    assert!(
        refused.contains("300 documents, more than 200"),
        "{refused}"
    );
    let large = layer("file+yaml", 2 << 30, "");
    put(&lab, "large", compose, &manifest(&large)).ok();
    let refused = config("large").refused();
    assert!(refused.contains("2147483648 bytes, more than"), "{refused}");
    let short = layer("file+yaml", 3, "");
    put(&lab, "short", compose, &manifest(&short)).ok();
    config("short").refused();

    // What stands in the file.
    let reads = "services: {a: {image: x, env_file: ../../../../../../../../etc/hostname}}";
    put(
        &lab,
        "reads",
        reads,
        &manifest(&layer("file+yaml", reads.len(), "")),
    )
    .ok();
    let refused = config("reads").refused();
    assert!(
        refused.contains("/etc/hostname is not among the files of oci://"),
        "{refused}"
    );
    let mounts = "services: {a: {image: example/x:1, volumes: ['/etc:/host']}}";
    put(
        &lab,
        "mounts",
        mounts,
        &manifest(&layer("file+yaml", mounts.len(), "")),
    )
    .ok();
    config("mounts").ok();
    let line = "orc compose -f oci://localhost:5001/mounts:1 up -d </dev/null";
    let refused = lab.sh(&user, line).refused();
    assert!(
        refused.contains("service a: /etc of this machine"),
        "{refused}"
    );

    // A program of this machine is not even asked what it takes.
    let script = "#!/bin/sh\necho \"$@\" >>\"$(dirname \"$0\")/ran\"\n";
    let programs = empty(&lab, "programs");
    std::fs::write(programs.join("evil"), script).expect("a file");
    lab.sh(&programs, "chmod +x evil").ok();
    let runs = "services: {a: {provider: {type: evil}}}";
    let layer = layer("file+yaml", runs.len(), "");
    put(&lab, "runs", runs, &manifest(&layer)).ok();
    let line = |words: &str| {
        let file = "oci://localhost:5001/runs:1";
        let path = format!("PATH={}:$PATH", programs.display());
        lab.sh(
            &user,
            &format!("{path} orc compose -f {file} {words} </dev/null"),
        )
    };
    for words in ["plan", "--dry-run up", "up -d", "down", "ps"] {
        let refused = line(words).refused();
        assert!(refused.contains("`provider: evil`"), "{words}: {refused}");
    }
    assert!(!programs.join("ran").exists());
    line("up -d -y").ok();
    assert!(programs.join("ran").exists());
}

/// A repository with a project in it, served by `git daemon` on port 9418 of the lab.
fn repository(lab: &Lab) -> std::process::Child {
    let work = lab.project(
        "work",
        &format!("services:\n  a:\n    {RUNS}\n    env_file: [env/a.env]\n"),
    );
    for directory in ["env", "sub"] {
        std::fs::create_dir_all(work.join(directory)).expect("a directory");
    }
    std::fs::write(work.join("env/a.env"), "VERSION=1\n").expect("a file");
    std::fs::write(
        work.join("sub/compose.yml"),
        format!("services:\n  b:\n    {RUNS}\n    env_file: [../env/a.env]\n"),
    )
    .expect("a file");
    std::os::unix::fs::symlink("/etc/hostname", work.join("link.env")).expect("a link");
    std::fs::write(
        work.join("evil.yaml"),
        "services: {a: {image: x, env_file: link.env}}",
    )
    .expect("a file");
    git(
        lab,
        &work,
        "init -q -b main && git add -A && git commit -qm one && git tag v1 && git clone -q --bare . ../served/x.git",
    );
    // Not `git daemon`, which is a parent of it.
    let script = format!(
        "exec \"$(git --exec-path)/git-daemon\" --listen=127.0.0.1 --export-all --reuseaddr --base-path={}",
        lab.path().join("served").display()
    );
    let daemon = lab
        .command(["sh", "-c", &script])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("git daemon starts");
    until("the git daemon answers", || {
        let asked = lab.sh(lab.path(), "git ls-remote git://127.0.0.1/x.git");
        (asked.code == 0).then_some(())
    });
    daemon
}

fn git(lab: &Lab, directory: &Path, words: &str) -> String {
    let identity = "export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x GIT_CONFIG_GLOBAL=/dev/null";
    lab.sh(directory, &format!("{identity}; git {words}")).ok()
}

#[test]
fn projects_come_from_repositories() {
    let lab = Lab::with_busybox("git-remote");
    let mut daemon = repository(&lab);
    let user = empty(&lab, "user");
    let run = |fragment: &str, words: &str| {
        let line = format!("orc compose -f 'git://127.0.0.1/x.git{fragment}' {words} </dev/null");
        lab.sh(&user, &line)
    };
    run("#main", "up -d").ok();
    let seen = run("#main", "exec -T a env").ok();
    assert!(seen.contains("VERSION=1"), "{seen}");
    assert_eq!(run("", "ps --format '{{.Name}}'").ok(), "user-a-1\n");
    run("", "down").ok();
    let config = run("#v1:sub", "config").ok();
    assert!(config.contains("VERSION: \"1\""), "{config}");
    run("#:sub/compose.yml", "config -q").ok();

    // A branch that moves is seen, what was fetched stays.
    let work = lab.path().join("work");
    let old = git(&lab, &work, "rev-parse HEAD");
    std::fs::write(work.join("env/a.env"), "VERSION=2\n").expect("a file");
    git(
        &lab,
        &work,
        "commit -qam two && git push -q ../served/x.git main",
    );
    assert!(run("#main", "config").ok().contains("VERSION: \"2\""));
    assert!(run("#v1", "config").ok().contains("VERSION: \"1\""));

    let own = lab.project("own", "include: ['git://127.0.0.1/x.git#v1:sub']\nservices: {c: {extends: {file: 'git://127.0.0.1/x.git#main', service: a}}}\n");
    let config = lab.sh(&own, "orc compose config").ok();
    assert!(
        config.contains("VERSION: \"1\"") && config.contains("VERSION: \"2\""),
        "{config}"
    );

    for (fragment, told) in [
        ("#nope", "no branch or tag `nope`"),
        ("#main:nope", "has no `nope`"),
        ("#main:env", "there is no compose.yaml"),
        ("#main:evil.yaml", "is not among the files of"),
        ("#main:../x", "is not in the repository"),
        ("#--upload-pack=x", "names no branch"),
    ] {
        let refused = run(fragment, "config").refused();
        assert!(refused.contains(told), "{fragment}: {refused}");
    }
    let off = "COMPOSE_EXPERIMENTAL_GIT_REMOTE=false orc compose -f git://127.0.0.1/x.git config";
    let off = lab.sh(&user, off).refused();
    assert!(
        off.contains("COMPOSE_EXPERIMENTAL_GIT_REMOTE is false"),
        "{off}"
    );
    let bare = "orc=$(command -v orc); PATH=/nowhere $orc compose -f git://127.0.0.1/x.git config";
    let bare = lab.sh(&user, bare).refused();
    assert!(bare.contains("no program `git`"), "{bare}");

    daemon.kill().expect("the daemon");
    daemon.wait().expect("the daemon");
    run("#main", "config").refused();
    let config = run(&format!("#{}", old.trim()), "config").ok();
    assert!(
        config.contains("VERSION: \"1\""),
        "a commit needs no network: {config}"
    );
}
