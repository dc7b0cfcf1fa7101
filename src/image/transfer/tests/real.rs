//! Against the registry that people run: Debian's `docker-registry` package.
//!
//! It has to be installed; a test that quietly does nothing would be worse than one that fails.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use orc_base::Kind;

use crate::credentials::Credentials;
use crate::progress::Silent;
use crate::reference::Reference;
use crate::transfer::pull::PullOptions;
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::{Bench, assert_error, spoiled};

const PROGRAM: &str = "/usr/bin/docker-registry";
/// `ann` and `s3cr3t`, as `htpasswd -B` writes them.
const HTPASSWD: &str = "ann:$2y$04$abcdefghijklmnopqrstuu35fBIWlNgF8BcAW/t2cO158N8svSFHy\n";

/// A registry of our own, on a free port of the loopback interface.
struct Registry {
    process: Child,
    host: String,
    _directory: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    async fn start(auth: &str) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: apt-get install docker-registry"
        );
        // Somebody else may take the port in between: then another one is tried.
        for _ in 0..5 {
            if let Some(registry) = Self::try_start(auth).await {
                return registry;
            }
        }
        panic!("{PROGRAM} does not come up");
    }

    async fn try_start(auth: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let data = directory.path().join("data");
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: {address}\n{auth}",
            data.display()
        );
        let text = text.replace("DIRECTORY", &directory.path().display().to_string());
        std::fs::write(&config, text).unwrap();
        std::fs::write(directory.path().join("htpasswd"), HTPASSWD).unwrap();
        let process = Command::new(PROGRAM)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut registry = Self {
            process,
            host: address.to_string(),
            _directory: directory,
        };
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Some(registry);
            }
            if registry.process.try_wait().unwrap().is_some() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}

#[tokio::test]
async fn a_real_registry_takes_and_gives() {
    let registry = Registry::start("").await;
    let fixture = Fixture::new(3);
    let source = spoiled(&fixture, |_, _, honest| honest).await;
    let sender = Bench::new();
    let image = sender.pull(&source).await.unwrap();
    let name = format!("{}/a/b:1", registry.host);
    let pushed = sender.push(&image, &name, &[], None).await.unwrap();
    let digest = pushed.digest;
    assert_eq!(digest, fixture.manifest);

    let receiver = Bench::new();
    let pull = async |name: &str| {
        receiver
            .pull_with(name, &PullOptions::default(), &Silent)
            .await
    };
    let received = pull(&name).await.unwrap();
    assert_eq!(received.id, image.id);
    assert_eq!(received.manifest, digest);
    let pinned = pull(&format!("{}/a/b@{digest}", registry.host))
        .await
        .unwrap();
    assert_eq!(pinned.id, image.id);

    // Mounted from the sister repository: nothing of it is on this machine.
    for blob in fixture.blobs.keys().filter(|blob| **blob != fixture.config) {
        sender.store.content().remove(blob).unwrap();
    }
    let sister = Reference::parse(&name).unwrap();
    let name = format!("{}/c:2", registry.host);
    sender.push(&image, &name, &[sister], None).await.unwrap();
    assert_eq!(pull(&name).await.unwrap().id, image.id);

    let error = pull(&format!("{}/nope:latest", registry.host))
        .await
        .unwrap_err();
    let text = format!("pull {}/nope:latest: manifest unknown", registry.host);
    assert_error(&error, Kind::NotFound, &text);
    assert_error(&error, Kind::NotFound, "check the name and the tag");
    let error = pull(&format!("{}/a/b:nope", registry.host))
        .await
        .unwrap_err();
    assert_error(&error, Kind::NotFound, "check the name and the tag");
}

#[tokio::test]
async fn a_real_registry_asks_for_the_password() {
    let auth = "auth:\n  htpasswd: {realm: test, path: DIRECTORY/htpasswd}\n";
    let registry = Registry::start(auth).await;
    let source = spoiled(&Fixture::new(1), |_, _, honest| honest).await;
    let bench = Bench::new();
    let image = bench.pull(&source).await.unwrap();
    let name = format!("{}/a:1", registry.host);
    let ann = Credentials::basic("ann", "s3cr3t");
    let wrong = Credentials::basic("ann", "wr0ng");

    let error = bench.push(&image, &name, &[], None).await.unwrap_err();
    assert_error(&error, Kind::Denied, "run `orc login");
    let error = bench
        .push(&image, &name, &[], Some(wrong))
        .await
        .unwrap_err();
    assert_error(&error, Kind::Denied, "refuses the credentials for a (401)");
    bench
        .push(&image, &name, &[], Some(ann.clone()))
        .await
        .unwrap();

    let receiver = Bench::new();
    let options = PullOptions {
        credentials: Some(ann),
        ..PullOptions::default()
    };
    let error = receiver
        .pull_with(&name, &PullOptions::default(), &Silent)
        .await;
    assert_error(
        &error.unwrap_err(),
        Kind::Denied,
        "without credentials (401)",
    );
    let received = receiver.pull_with(&name, &options, &Silent).await.unwrap();
    assert_eq!(received.id, image.id);
}
