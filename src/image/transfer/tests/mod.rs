//! Pulls and pushes against registries that misbehave, and against a real one.

mod bounds;
mod bytes;
mod certificates;
mod checks;
mod fixture;
mod hosts;
mod logins;
mod mirrors;
mod misbehaviour;
mod pushes;
mod real;
mod scripted;
mod served;
mod streams;
mod stress;
mod tls;
mod weather;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orc_base::fs::Durability;
use orc_base::{Error, Result};

use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::image::Image;
use crate::platform::Platform;
use crate::progress::{Phase, Progress, ProgressEvent, Silent};
use crate::reference::Reference;
use crate::registry::config::{Limits, RegistryConfig};
use crate::registry::http::Http;
use crate::store::Store;
use crate::transfer::pull::{PullOptions, pull};
use crate::transfer::push::{Push, Pushed, push};
use fixture::{Fixture, REPOSITORY};
use scripted::{Reply, Request, Server};

/// Patient with a busy machine, and quick to try again.
fn limits() -> Limits {
    let patient = Duration::from_secs(30);
    Limits {
        connect: patient,
        answer: patient,
        document: patient,
        stall: patient,
        commit: patient,
        tries: 3,
        resumes: 20,
        backoff: Duration::from_millis(1),
        longest_wait: Duration::from_millis(100),
        slow_bytes: 1,
        slow_window: patient,
        parallel: 3,
        chunk_bytes: 16 << 20,
    }
}

/// A machine that pulls and pushes.
struct Bench {
    directory: tempfile::TempDir,
    store: Store,
    http: Arc<Http>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut RegistryConfig)) -> Self {
        Self::at(&std::env::temp_dir(), change)
    }

    /// Keeps its images below a directory of the test's own choice.
    fn at(place: &Path, change: impl FnOnce(&mut RegistryConfig)) -> Self {
        let directory = tempfile::tempdir_in(place).unwrap();
        let (store, http) = start(directory.path(), change);
        Self {
            directory,
            store,
            http,
        }
    }

    /// The same machine after its daemon was started anew.
    fn restarted(self, change: impl FnOnce(&mut RegistryConfig)) -> Self {
        drop(self.store);
        let (store, http) = start(self.directory.path(), change);
        Self {
            store,
            http,
            ..self
        }
    }

    async fn pull(&self, server: &Server) -> Result<Image> {
        self.pull_as(server, None).await
    }

    async fn pull_as(&self, server: &Server, credentials: Option<Credentials>) -> Result<Image> {
        let options = PullOptions {
            platform: None,
            credentials,
        };
        self.pull_with(&name(server, ":latest"), &options, &Silent)
            .await
    }

    async fn pull_for(&self, server: &Server, platform: &str) -> Result<Image> {
        let platform: Platform = platform.parse().unwrap();
        let options = PullOptions {
            platform: Some(platform),
            credentials: None,
        };
        self.pull_with(&name(server, ":latest"), &options, &Silent)
            .await
    }

    async fn pull_with(
        &self,
        name: &str,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Image> {
        let reference = Reference::parse(name).unwrap();
        let work = pull(&self.http, &self.store, &reference, options, progress);
        // No test waits for ever, whatever its registry does.
        tokio::time::timeout(Duration::from_secs(120), work)
            .await
            .expect("a pull that does not end")
    }

    async fn push(
        &self,
        image: &Image,
        to: &str,
        known: &[Reference],
        credentials: Option<Credentials>,
    ) -> Result<Pushed> {
        let reference = Reference::parse(to).unwrap();
        let order = Push {
            reference: &reference,
            manifest: &image.manifest,
            known,
            credentials,
        };
        let work = push(&self.http, self.store.content(), order, &Silent);
        tokio::time::timeout(Duration::from_secs(120), work)
            .await
            .expect("a push that does not end")
    }

    /// Files below the data root, what the store keeps for itself left out.
    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(self.directory.path(), &mut files);
        let own = ["/images.json", "/images.copy.json", "/reserve"];
        files.retain(|file| !own.iter().any(|name| file.ends_with(name)));
        files.sort();
        files
    }

    /// A pull that must fail: no image, and nothing left of one.
    async fn refuses(&self, server: &Server) -> Error {
        let error = self.pull(server).await.expect_err("a bad image was pulled");
        self.becomes_empty().await;
        error
    }

    /// Threads that unpacked other layers see soon that nobody waits for them, and then all is removed.
    async fn becomes_empty(&self) {
        assert!(self.store.list().unwrap().is_empty());
        for _ in 0..3_000 {
            if self.files().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.files(), [""; 0]);
    }
}

fn start(directory: &Path, change: impl FnOnce(&mut RegistryConfig)) -> (Store, Arc<Http>) {
    let mut config = RegistryConfig {
        limits: limits(),
        ..RegistryConfig::default()
    };
    change(&mut config);
    let store = Store::open(&directory.join("images"), Durability::Process).unwrap();
    (store, Arc::new(Http::new(config)))
}

fn walk(directory: &Path, files: &mut Vec<String>) {
    for path in orc_base::fs::list(directory).unwrap() {
        match path.is_dir() && !path.is_symlink() {
            true => walk(&path, files),
            false => files.push(path.display().to_string()),
        }
    }
}

/// The image of every test, on this server.
fn name(server: &Server, version: &str) -> String {
    format!("{}/{REPOSITORY}{version}", server.host())
}

/// An honest registry, except for what `spoil` makes of its answers.
async fn spoiled(
    fixture: &Fixture,
    spoil: impl Fn(&Request, usize, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    let fixture = fixture.clone();
    Server::start(move |request, nth| spoil(request, nth, fixture.honest(request))).await
}

/// Spoils only answers about one path.
async fn spoiled_at(
    fixture: &Fixture,
    path: String,
    spoil: impl Fn(&Request, usize, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    spoiled(fixture, move |request, nth, honest| {
        match request.path == path {
            true => spoil(request, nth, honest),
            false => honest,
        }
    })
    .await
}

fn assert_error(error: &Error, kind: orc_base::Kind, part: &str) {
    let text = error.to_string();
    assert!(text.contains(part), "`{text}` does not say `{part}`");
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.len() < 1_000 && !text.contains('\n'), "{text}");
}

/// Remembers what was reported.
#[derive(Default)]
struct Recorder(Mutex<Vec<ProgressEvent>>);

impl Progress for Recorder {
    fn report(&self, event: ProgressEvent) {
        self.0.lock().unwrap().push(event);
    }
}

impl Recorder {
    /// The sentences about the whole.
    fn words(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let words = events.iter().filter_map(|event| match &event.phase {
            Phase::Message(text) => Some(text.clone()),
            _ => None,
        });
        words.collect()
    }

    fn phases(&self, layer: &Digest) -> Vec<Phase> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter(|event| event.layer.as_deref() == Some(layer.short()))
            .map(|event| event.phase.clone())
            .collect()
    }
}
