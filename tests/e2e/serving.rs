//! `orc registry`, logins, mirrors, and the archives that others write: with the real clients.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};

use crate::support::lab::{Lab, Ran, run, until};
use crate::support::registry::Registry;

/// `orc registry serve` that runs until it is dropped.
struct Served {
    process: Child,
    /// Where it listens.
    address: String,
}

impl Served {
    fn start(lab: &Lab, args: &[&str]) -> Self {
        let words = ["orc", "registry", "serve"].iter().chain(args);
        let mut process = lab.spawn(words);
        let mut address = String::new();
        let out = process.stdout.as_mut().expect("its output");
        BufReader::new(out)
            .read_line(&mut address)
            .expect("the address");
        if address.is_empty() {
            let mut said = String::new();
            let mut err = process.stderr.take().expect("its errors");
            let _ = err.read_to_string(&mut said);
            panic!("`orc registry serve` said: {said}");
        }
        Self {
            process,
            address: address.trim().to_owned(),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `skopeo` with a policy that takes everything.
fn skopeo(lab: &Lab, args: &[&str]) -> Ran {
    let policy = lab.path().join("policy.json");
    let text = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
    std::fs::write(&policy, text).expect("a file");
    let policy = policy.display().to_string();
    let words = ["skopeo", "--policy", &policy];
    lab.host(words.iter().chain(args))
}

fn id(lab: &Lab, image: &str) -> String {
    lab.orc(["image", "inspect", "-f", "{{.Id}}", image]).ok()
}

#[test]
fn a_pushed_image_comes_back_from_the_built_in_registry() {
    let lab = Lab::with_busybox("served");
    let wanted = id(&lab, "example/busybox:1");
    let served = Served::start(&lab, &["--writable", "--listen", "localhost:5000"]);
    assert_eq!(served.address, "127.0.0.1:5000");
    let name = "localhost:5000/b";
    lab.orc(["tag", "example/busybox:1", name]).ok();
    lab.orc(["push", name]).ok();
    lab.orc(["rmi", "-f", name]).ok();
    lab.orc(["pull", name]).ok();
    assert_eq!(id(&lab, name), wanted);
    // The unmodified client of Docker does the same.
    lab.docker("tag example/busybox:1 localhost:5000/d:2").ok();
    lab.docker("push localhost:5000/d:2").ok();
    lab.docker("rmi localhost:5000/d:2").ok();
    lab.docker("pull localhost:5000/d:2").ok();
    assert_eq!(
        lab.orc(["registry", "tags", "localhost:5000/d"]).ok(),
        "2\n"
    );
    let names = lab
        .orc(["images", "--format", "{{.Repository}}:{{.Tag}}"])
        .ok();
    assert!(names.contains("registry.orc.internal/d:2"), "{names}");
    drop(served);
    until("nobody listens", || {
        (lab.http("http://localhost:5000/v2/").code != 0).then_some(())
    });
}

#[test]
fn skopeo_copies_from_and_to_the_built_in_registry() {
    let lab = Lab::with_busybox("skopeo");
    let served = Served::start(&lab, &["--writable", "--listen", "127.0.0.1:0"]);
    let name = |image: &str| format!("docker://{}/{image}", served.address);
    let seen = skopeo(
        &lab,
        &["inspect", "--tls-verify=false", &name("example/busybox:1")],
    )
    .ok();
    let seen: serde_json::Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(seen["RepoTags"], serde_json::json!(["1"]));
    let directory = lab.path().join("copied").display().to_string();
    let to = format!("dir:{directory}");
    skopeo(
        &lab,
        &[
            "copy",
            "--src-tls-verify=false",
            &name("example/busybox:1"),
            &to,
        ],
    )
    .ok();
    skopeo(
        &lab,
        &[
            "copy",
            "--dest-tls-verify=false",
            &to,
            &name("from/skopeo:3"),
        ],
    )
    .ok();
    assert_eq!(
        id(&lab, "registry.orc.internal/from/skopeo:3"),
        id(&lab, "example/busybox:1")
    );
    lab.orc(["run", "--rm", "registry.orc.internal/from/skopeo:3", "true"])
        .ok();
    // With other compression, and as Docker's kind of manifest.
    let plain = format!("dir:{}", lab.path().join("plain").display());
    let unpack = [
        "copy",
        "--src-tls-verify=false",
        "--dest-decompress",
        &name("example/busybox:1"),
        &plain,
    ];
    skopeo(&lab, &unpack).ok();
    // `skopeo` remembers, registry by registry, in which compression it saw a layer.
    let served = Served::start(&lab, &["--writable", "--listen", "127.0.0.1:0"]);
    let name = |image: &str| format!("docker://{}/{image}", served.address);
    let between = [
        "copy",
        "--dest-tls-verify=false",
        "--format",
        "v2s2",
        &plain,
        &name("from/skopeo:docker"),
    ];
    skopeo(&lab, &between).ok();
    skopeo(
        &lab,
        &["delete", "--tls-verify=false", &name("from/skopeo:docker")],
    )
    .ok();
    let gone = lab.orc([
        "image",
        "inspect",
        "registry.orc.internal/from/skopeo:docker",
    ]);
    gone.refused();
    // Somebody else's names are not to be removed from here.
    skopeo(
        &lab,
        &["delete", "--tls-verify=false", &name("example/busybox:1")],
    )
    .refused();
    id(&lab, "example/busybox:1");
}

#[test]
fn a_read_only_registry_takes_nothing() {
    let lab = Lab::with_busybox("servedro");
    let served = Served::start(&lab, &["--listen", "0"]);
    let name = format!("{}/x:1", served.address);
    lab.orc(["tag", "example/busybox:1", &name]).ok();
    let text = lab.orc(["push", &name]).refused();
    assert!(text.contains("--writable"), "{text}");
    let catalog = lab
        .http(&format!("http://{}/v2/_catalog", served.address))
        .ok();
    assert_eq!(catalog, r#"{"repositories":["example/busybox"]}"#);
}

#[test]
fn beyond_loopback_it_wants_certificates() {
    let lab = Lab::new("servedopen");
    for args in [
        &["--listen", "0.0.0.0:5000"][..],
        &["--listen", ":5000", "--writable"],
    ] {
        let text = lab.orc(["registry", "serve"].iter().chain(args)).refused();
        assert!(text.contains("--client-ca"), "{text}");
    }
    let half = lab
        .orc(["registry", "serve", "--tls-cert", "/none"])
        .refused();
    assert!(half.contains("--tls-key"), "{half}");
    let text = lab
        .orc([
            "registry",
            "serve",
            "--tls-cert",
            "/none",
            "--tls-key",
            "/none",
        ])
        .refused();
    assert!(text.contains("/none"), "{text}");
}

/// Joins two hosts by a wire: 10.99.0.1 and 10.99.0.2.
fn join(one: &Lab, two: &Lab) {
    let namespaces = (one.namespace(), two.namespace());
    run(Command::new("ip").args([
        "link",
        "add",
        "wire",
        "netns",
        namespaces.0,
        "type",
        "veth",
        "peer",
        "name",
        "wire",
        "netns",
        namespaces.1,
    ]))
    .ok();
    for (lab, address) in [(one, "10.99.0.1/24"), (two, "10.99.0.2/24")] {
        lab.host(["ip", "address", "add", address, "dev", "wire"])
            .ok();
        lab.host(["ip", "link", "set", "wire", "up"]).ok();
    }
}

/// An authority, and certificates of it for a server at 10.99.0.1 and for a client.
const CERTIFICATES: &str = r#"
set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem
for who in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$who -keyout $who.key -out $who.csr
  printf 'subjectAltName=IP:10.99.0.1\nextendedKeyUsage=%sAuth\nbasicConstraints=CA:FALSE\n' $who > $who.ext
  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $who.ext -out $who.pem
done
"#;

#[test]
fn one_host_seeds_another_over_mutual_tls() {
    let (from, to) = (Lab::with_busybox("seedfrom"), Lab::new("seedto"));
    join(&from, &to);
    from.sh(from.path(), CERTIFICATES).ok();
    let file = |name: &str| from.path().join(name).display().to_string();
    let served = Served::start(
        &from,
        &[
            "--listen",
            "10.99.0.1:5000",
            "--tls-cert",
            &file("server.pem"),
            "--tls-key",
            &file("server.key"),
            "--client-ca",
            &file("ca.pem"),
        ],
    );
    let name = "10.99.0.1:5000/example/busybox:1";
    // Whoever has no certificate, or does not know the authority, gets nothing.
    let stranger = to.orc(["pull", name]).refused();
    assert!(stranger.contains("not trusted"), "{stranger}");
    let half = to.host([
        "curl",
        "-sS",
        "--max-time",
        "5",
        "--cacert",
        &file("ca.pem"),
        "https://10.99.0.1:5000/v2/",
    ]);
    half.refused();
    let with = |registries: &str, rest: &[&str]| {
        let path = to.path().join("registries.json");
        std::fs::write(&path, registries).expect("a file");
        let mut words = vec![
            "orc".to_owned(),
            "--registries".into(),
            path.display().to_string(),
        ];
        words.extend(rest.iter().map(|word| (*word).to_owned()));
        to.orc(["daemon", "stop"]);
        to.host(&words)
    };
    let trusted = format!(
        r#"{{"registries": {{"10.99.0.1:5000": {{"certificates": ["{}"],
             "clientCertificate": "{}", "clientKey": "{}"}}}}}}"#,
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    );
    with(&trusted, &["pull", name]).ok();
    assert_eq!(id(&to, name), id(&from, "example/busybox:1"));
    // As a mirror of another registry it gives what this machine has of that one.
    let mirror = trusted.replacen(
        "{\"registries\": {",
        "{\"registries\": {\"docker.io\": {\"mirrors\": [\"https://10.99.0.1:5000\"]},",
        1,
    );
    with(&mirror, &["pull", "example/busybox:1"]).ok();
    to.orc(["run", "--rm", "example/busybox:1", "true"]).ok();
    let wrong = with(
        r#"{"registries": {"x.example": {"mirors": []}}}"#,
        &["images"],
    )
    .refused();
    assert!(
        wrong.contains("registries.json:1:") && wrong.contains("mirors"),
        "{wrong}"
    );
    drop(served);
}

/// The archives that `skopeo` makes of an image, each by the words that make it from a `dir:`.
const ARCHIVES: [(&str, &str); 5] = [
    (
        "docker-archive",
        "skopeo copy dir:image docker-archive:out.tar:example/from:1",
    ),
    (
        "oci-archive",
        "skopeo copy --format oci dir:image oci-archive:out.tar:example/from:1",
    ),
    (
        "oci",
        "skopeo copy --format oci dir:image oci:layout:example/from:1 && tar -C layout -cf out.tar .",
    ),
    (
        "oci with zstd",
        "skopeo copy --format oci --dest-compress --dest-compress-format zstd dir:image oci:layout:example/from:1 && tar -C layout -cf out.tar .",
    ),
    (
        "docker-archive in gzip",
        "skopeo copy dir:image docker-archive:out.tar:example/from:1 && gzip out.tar && mv out.tar.gz out.tar",
    ),
];

#[test]
fn archives_of_skopeo_are_loaded() {
    let lab = Lab::with_busybox("archives");
    let served = Served::start(&lab, &["--listen", "0"]);
    let wanted = lab
        .orc([
            "image",
            "inspect",
            "-f",
            "{{json .RootFS.Layers}}",
            "example/busybox:1",
        ])
        .ok();
    for (number, (kind, script)) in ARCHIVES.iter().enumerate() {
        let directory = lab.path().join(format!("archive{number}"));
        std::fs::create_dir(&directory).expect("a directory");
        let from = format!("docker://{}/example/busybox:1", served.address);
        let image = format!("dir:{}", directory.join("image").display());
        let unpack = [
            "copy",
            "--src-tls-verify=false",
            "--dest-decompress",
            &from,
            &image,
        ];
        skopeo(&lab, &unpack).ok();
        let policy = format!("skopeo --policy {}/policy.json", lab.path().display());
        lab.sh(&directory, &script.replacen("skopeo", &policy, 1))
            .ok();
        let archive = directory.join("out.tar").display().to_string();
        let said = lab.orc(["load", "-i", &archive]).ok();
        assert!(said.contains("example/from:1"), "{kind}: {said}");
        let found = lab
            .orc([
                "image",
                "inspect",
                "-f",
                "{{json .RootFS.Layers}}",
                "example/from:1",
            ])
            .ok();
        assert_eq!(found, wanted, "{kind}");
        lab.orc(["run", "--rm", "example/from:1", "true"]).ok();
        lab.orc(["rmi", "example/from:1"]).ok();
    }
}

#[test]
fn what_orc_saved_is_read_by_skopeo_in_both_formats() {
    let lab = Lab::with_busybox("saved");
    let archive = lab.path().join("saved.tar").display().to_string();
    lab.orc(["save", "-o", &archive, "example/busybox:1"]).ok();
    for (kind, source) in [
        ("docker", format!("docker-archive:{archive}")),
        ("oci", format!("oci-archive:{archive}")),
    ] {
        let to = format!("dir:{}", lab.path().join(kind).display());
        skopeo(&lab, &["copy", &source, &to]).ok();
        let config = skopeo(&lab, &["inspect", "--config", &to]).ok();
        let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        assert!(config["config"]["Cmd"].is_array(), "{kind}: {config}");
    }
}

#[test]
fn skopeo_reads_what_orc_pushed() {
    let lab = Lab::with_busybox("pushed");
    let registry = Registry::start(&lab);
    let name = registry.name("example/busybox:1");
    lab.orc(["tag", "example/busybox:1", &name]).ok();
    lab.orc(["push", &name]).ok();
    let to = format!("dir:{}", lab.path().join("pushed").display());
    let from = format!("docker://{name}");
    skopeo(&lab, &["copy", "--src-tls-verify=false", &from, &to]).ok();
    let manifest = skopeo(&lab, &["inspect", "--raw", &to]).ok();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let config = manifest["config"]["digest"].as_str().expect("a digest");
    assert_eq!(config, id(&lab, "example/busybox:1").trim());
}

#[test]
fn all_tags_go_and_come() {
    let lab = Lab::with_busybox("alltags");
    let registry = Registry::start(&lab);
    let name = registry.name("many");
    for tag in ["1", "2", "3"] {
        lab.orc(["tag", "example/busybox:1", &format!("{name}:{tag}")])
            .ok();
    }
    let tags = || {
        let rows = lab.orc(["images", "--format", "{{.Tag}}", &name]);
        rows.ok().lines().count()
    };
    let forget = || {
        for tag in ["1", "2", "3"] {
            lab.orc(["rmi", &format!("{name}:{tag}")]).ok();
        }
        assert_eq!(tags(), 0);
    };
    lab.orc(["push", "-a", &name]).ok();
    assert_eq!(lab.orc(["registry", "tags", &name]).ok(), "1\n2\n3\n");
    forget();
    lab.orc(["pull", "-a", "-q", &name]).ok();
    assert_eq!(tags(), 3);
    lab.docker(&format!("push -q -a {name}")).ok();
    forget();
    lab.docker(&format!("pull -q -a {name}")).ok();
    assert_eq!(tags(), 3);
    let text = lab.orc(["pull", "-a", &format!("{name}:1")]).refused();
    assert!(text.contains("--all-tags"), "{text}");
}

#[test]
fn a_policy_says_when_the_registry_is_asked() {
    let lab = Lab::with_busybox("policy");
    let registry = Registry::start(&lab);
    let name = registry.name("p:1");
    lab.orc(["tag", "example/busybox:1", &name]).ok();
    lab.orc(["push", &name]).ok();
    lab.orc(["rmi", &name]).ok();
    let text = lab.orc(["pull", "--policy", "never", &name]).refused();
    assert!(text.contains("--policy never"), "{text}");
    lab.orc(["pull", "--policy", "missing", &name]).ok();
    drop(registry);
    lab.orc(["pull", "--policy", "missing", &name]).ok();
    lab.orc(["pull", "--policy", "never", &name]).ok();
    lab.orc(["pull", &name]).refused();
}

#[test]
fn logins_are_asked_of_the_registry_and_kept() {
    let lab = Lab::with_busybox("login");
    // `ann` and `s3cr3t`, as `htpasswd -B` writes them.
    let htpasswd = lab.path().join("htpasswd");
    let line = "ann:$2y$04$abcdefghijklmnopqrstuu35fBIWlNgF8BcAW/t2cO158N8svSFHy\n";
    std::fs::write(&htpasswd, line).expect("a file");
    let auth = format!(
        "auth:\n  htpasswd: {{realm: test, path: {}}}\n",
        htpasswd.display()
    );
    let registry = Registry::start_with(&lab, &auth);
    let name = registry.name("private:1");
    let config = lab.path().join("docker-config/config.json");
    lab.orc(["tag", "example/busybox:1", &name]).ok();
    let text = lab.orc(["push", &name]).refused();
    assert!(text.contains("orc login localhost:5001"), "{text}");

    let log_in = |program: &str, password: &str| {
        let script = format!(
            "printf %s {password} | {program} login -u ann --password-stdin localhost:5001"
        );
        lab.sh(lab.path(), &script)
    };
    for program in ["orc", "docker"] {
        let text = log_in(program, "wr0ng").refused();
        assert!(text.contains("401"), "{program}: {text}");
        assert!(!config.exists(), "{program}");
        let said = log_in(program, "s3cr3t").ok();
        assert!(said.contains("Login Succeeded"), "{program}: {said}");
        lab.orc(["push", &name]).ok();
        lab.docker(&format!("push {name}")).ok();
        lab.orc(["login", "localhost:5001"]).ok();
        let said = lab.orc(["logout", "localhost:5001"]).ok();
        assert!(said.contains("Removing"), "{said}");
        lab.orc(["push", &name]).refused();
        std::fs::remove_file(&config).expect("the file");
    }
    let said = lab.orc(["logout", "localhost:5001"]).ok();
    assert!(said.contains("Not logged in"), "{said}");
}
