//! Many hands on one store: whatever they do beside each other, what is left is whole.

use std::sync::atomic::{AtomicU32, Ordering};

use super::fixture::Fixture;
use super::scripted::Server;
use super::*;
use crate::archive::load::load;
use crate::archive::save::Saving;
use crate::cache::{CachePrune, CacheRecord};
use crate::check::{CheckOptions, check};
use crate::testing::tape;

/// A small generator: the same seed gives the same wishes, if not the same order of deeds.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// Images that share layers: of the layers 0 to 4 image n has n and n + 1.
fn fixtures() -> Vec<Fixture> {
    let archive = |layer: usize| {
        let text = vec![b'a' + layer as u8; 40_000];
        let tape = tape().file("shared", &text);
        tape.file(&format!("dir/file-{layer}"), &text).end()
    };
    (0..4)
        .map(|n| Fixture::from_archives(&[archive(n), archive(n + 1)], |_| {}))
        .collect()
}

/// What goes wrong because somebody else was faster.
fn is_expected(error: &Error) -> bool {
    use orc_base::Kind;
    matches!(error.kind(), Kind::NotFound | Kind::Conflict)
}

async fn hand(bench: Arc<Bench>, servers: Arc<Vec<Server>>, seed: u64, done: Arc<AtomicU32>) {
    let mut dice = Dice(seed);
    for _ in 0..60 {
        let server = &servers[dice.roll(servers.len() as u64) as usize];
        let image = name(server, ":latest");
        let store = bench.store.clone();
        let result = match dice.roll(8) {
            0..=2 => bench.pull(server).await.map(drop),
            3 => {
                let tag = Reference::parse(&format!("moving:{}", dice.roll(3))).unwrap();
                store.tag(&image, &tag)
            }
            4 => store.remove(&image, true, &|_| None).map(drop),
            5 => {
                let tag = format!("moving:{}", dice.roll(3));
                store.remove(&tag, false, &|_| None).map(drop)
            }
            6 => copy(&store, &image).await,
            _ => remember(&store, &image, dice.roll(2) == 0),
        };
        match result {
            Ok(()) => _ = done.fetch_add(1, Ordering::Relaxed),
            Err(error) if is_expected(&error) => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}

/// Saves an image and loads it again, while others remove it.
async fn copy(store: &Store, image: &str) -> Result<()> {
    let (store, image) = (store.clone(), image.to_owned());
    let work = move || {
        let mut archive = Vec::new();
        Saving::prepare(store.begin(), &[image])?.write_to(&mut archive)?;
        let ingest = store.begin();
        let (reports, _unread) = tokio::sync::mpsc::unbounded_channel();
        let loaded = load(&ingest, &archive[..], &reports);
        ingest.sweep_after();
        loaded.map(drop)
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// Lets the build cache have a layer of an image, or takes all from it.
fn remember(store: &Store, image: &str, prune: bool) -> Result<()> {
    if prune {
        let all = CachePrune {
            all: true,
            ..CachePrune::default()
        };
        return store.cache_prune(&all).map(drop);
    }
    let ingest = store.begin();
    let found = store.find(image)?;
    let key = Digest::of(found.id.as_str().as_bytes());
    let mut record = CacheRecord::new(key, "RUN something", orc_base::Time::EPOCH);
    record.layer = found.layers.first().cloned();
    let put = store.cache_put(&ingest, record);
    ingest.settle();
    put
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_many_hands_leave_is_whole() {
    for seed in [1, 20_261_121] {
        let mut servers = Vec::new();
        for fixture in fixtures() {
            servers.push(spoiled(&fixture, |_, _, honest| honest).await);
        }
        let (bench, servers) = (Arc::new(Bench::new()), Arc::new(servers));
        let done = Arc::new(AtomicU32::new(0));
        let hands: Vec<_> = (0..6)
            .map(|n| {
                let work = hand(bench.clone(), servers.clone(), seed * 100 + n, done.clone());
                tokio::spawn(work)
            })
            .collect();
        for hand in hands {
            hand.await.unwrap();
        }
        let count = done.load(Ordering::Relaxed);
        assert!(count > 100, "seed {seed}: only {count} deeds succeeded");
        let report = check(&bench.http, &bench.store, CheckOptions::default());
        let report = report.await.unwrap();
        assert_eq!(report.findings, [], "seed {seed}");
        for image in bench.store.list().unwrap() {
            assert!(
                image
                    .layers
                    .iter()
                    .all(|id| bench.store.layers().contains(id))
            );
            copy(&bench.store, image.id.as_str()).await.unwrap();
        }
        // Nothing is left when all goes.
        for image in bench.store.list().unwrap() {
            bench
                .store
                .remove(image.id.as_str(), true, &|_| None)
                .unwrap();
        }
        remember(&bench.store, "", true).unwrap();
        let left = bench.files();
        let left: Vec<_> = left
            .iter()
            .filter(|file| !file.ends_with("/cache.json"))
            .collect();
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
}
