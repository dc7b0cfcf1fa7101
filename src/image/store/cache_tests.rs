//! The build cache through the store's face: what it keeps, what it forgets, and what that removes.

use super::tests::{Bench, nobody};
use super::*;
use crate::cache::{CacheKind, CachePrune, CacheRecord, CachedBlob};
use crate::cache_mount::Sharing;

fn key(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// Puts a layer here and remembers it as what a step made.
fn remember(bench: &Bench, ingest: &Ingest, step: &str, text: &str) -> (Digest, Digest) {
    let parts = bench.put(step, &[text]);
    let blob = parts.blobs[0].clone();
    let size = bench.store.content().size(&blob).unwrap();
    let mut record = CacheRecord::new(key(step), step, SystemClock.now());
    record.layer = Some(parts.diff_ids[0].clone());
    record.blob = Some(CachedBlob {
        digest: blob.clone(),
        size,
        media_type: "layer".into(),
    });
    bench.store.cache_put(ingest, record).unwrap();
    (parts.diff_ids[0].clone(), blob)
}

fn get(bench: &Bench, step: &str) -> bool {
    let ingest = bench.store.begin();
    bench.store.cache_get(&ingest, &key(step)).is_some()
}

#[test]
fn what_is_remembered_outlives_builds_crashes_and_images() {
    let bench = Bench::new();
    let ingest = bench.store.begin();
    let (layer, blob) = remember(&bench, &ingest, "RUN a", "text");
    ingest.sweep_after();
    drop(ingest);
    assert!(get(&bench, "RUN a") && !get(&bench, "RUN b"));
    let bench = bench.restart();
    let ingest = bench.store.begin();
    let record = bench.store.cache_get(&ingest, &key("RUN a")).unwrap();
    assert_eq!((record.layer, record.uses), (Some(layer), 2));
    drop(ingest);
    bench.make("app", &["text"]);
    bench.store.remove("app", false, &nobody).unwrap();
    assert!(bench.store.content().contains(&blob));
    assert!(get(&bench, "RUN a"));
}

#[test]
fn a_record_without_its_files_is_none() {
    let bench = Bench::new();
    let ingest = bench.store.begin();
    let (layer, blob) = remember(&bench, &ingest, "RUN a", "text");
    bench.store.layers().hide(layer.hex()).unwrap();
    assert!(!get(&bench, "RUN a"));
    remember(&bench, &ingest, "RUN a", "text");
    bench.store.content().remove(&blob).unwrap();
    assert!(!get(&bench, "RUN a") && bench.store.cache_list().unwrap().is_empty());
    let mut record = CacheRecord::new(key("x"), "x", SystemClock.now());
    record.layer = Some(key("no layer"));
    assert!(bench.store.cache_put(&ingest, record).is_err());
}

#[test]
fn pruning_frees_what_no_image_needs() {
    let bench = Bench::new();
    bench.make("app", &["shared"]);
    let ingest = bench.store.begin();
    remember(&bench, &ingest, "RUN shared", "shared");
    remember(&bench, &ingest, "RUN own", "own");
    let entries = bench.store.cache_list().unwrap();
    assert!(entries.iter().all(|one| one.in_use));
    let all = CachePrune {
        all: true,
        ..CachePrune::default()
    };
    assert!(bench.store.cache_prune(&all).unwrap().keys.is_empty());
    ingest.sweep_after();
    drop(ingest);
    let size = |step: &str| {
        let entries = bench.store.cache_list().unwrap();
        let found = entries.iter().find(|one| one.record.key == key(step));
        found.unwrap().record.size_bytes
    };
    let bytes = size("RUN own");
    assert!(bytes > 3, "{bytes}");
    let pruned = bench.store.cache_prune(&CachePrune::default()).unwrap();
    assert_eq!((pruned.keys, pruned.bytes), (vec![key("RUN own")], bytes));
    let pruned = bench.store.cache_prune(&all).unwrap();
    assert_eq!((pruned.keys, pruned.bytes), (vec![key("RUN shared")], 0));
    assert_eq!(bench.counts(), (3, 1, 0));
    let again = bench.restart();
    assert!(again.store.cache_list().unwrap().is_empty());
}

#[test]
fn the_limit_holds_when_the_last_build_ends() {
    let bench = Bench::new();
    bench.store.cache_limit(1);
    let ingest = bench.store.begin();
    remember(&bench, &ingest, "RUN a", "a");
    let other = bench.store.begin();
    drop(ingest);
    assert_eq!(bench.store.cache_list().unwrap().len(), 1);
    drop(other);
    assert!(bench.store.cache_list().unwrap().is_empty());
    // The config and the manifest that nobody asked for are gone, too.
    assert_eq!(bench.counts(), (0, 0, 0));
    bench.store.cache_limit(0);
    let ingest = bench.store.begin();
    remember(&bench, &ingest, "RUN a", "a");
    drop(ingest);
    assert!(get(&bench, "RUN a"));
}

#[tokio::test]
async fn directories_that_steps_share_are_records_too() {
    let bench = Bench::new();
    let ingest = bench.store.begin();
    let take = |id: &'static str| {
        bench
            .store
            .cache_mount(&ingest, id, Sharing::Shared, "RUN x")
    };
    let mount = take("/root/.cache").await.unwrap();
    std::fs::write(mount.path().join("f"), vec![b'x'; 100_000]).unwrap();
    let path = mount.path();
    drop(mount);
    drop(take("/root/.cache").await.unwrap());
    drop(ingest);
    let entries = bench.store.cache_list().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].record.kind, CacheKind::Mount);
    assert!(entries[0].record.size_bytes >= 100_000);
    let bench = bench.restart();
    assert!(path.join("f").exists());
    let pruned = bench.store.cache_prune(&CachePrune::default()).unwrap();
    assert!(pruned.bytes >= 100_000 && !path.exists());
}

#[test]
fn a_damaged_record_file_is_an_empty_cache() {
    let bench = Bench::new();
    bench.make("app", &["x"]);
    let ingest = bench.store.begin();
    remember(&bench, &ingest, "RUN a", "a");
    drop(ingest);
    std::fs::write(bench.dir.path().join("cache.json"), b"{\"version\":1").unwrap();
    let bench = bench.restart();
    assert!(bench.store.cache_list().unwrap().is_empty());
    assert_eq!(bench.store.list().unwrap().len(), 1);
}
