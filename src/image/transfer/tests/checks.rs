//! What is damaged on disk is named, harms nothing else, and is mended from a registry or a blob.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::check::{CheckOptions, Finding, Outcome, Part, Report, User, check};
use crate::manifest::OCI_MANIFEST;
use crate::testing::{tape, zstd};
use crate::unpack::compression::Compression;

async fn look(bench: &Bench, options: CheckOptions) -> Report {
    check(&bench.http, &bench.store, options).await.unwrap()
}

fn repair() -> CheckOptions {
    CheckOptions {
        repair: true,
        ..CheckOptions::default()
    }
}

/// Flips a bit in the middle of a file, and leaves all times as they were.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let before = std::fs::metadata(path).unwrap().modified().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let file = std::fs::File::options().write(true).open(path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    file.set_modified(before).unwrap();
}

/// The files of a pulled image, by class.
struct Places {
    config: PathBuf,
    manifest: PathBuf,
    blob: PathBuf,
    file: PathBuf,
    facts: PathBuf,
    list: PathBuf,
}

fn places(bench: &Bench, image: &Image) -> Places {
    let content = bench.store.content();
    let layer = bench.store.layers().path(&image.layers[0]);
    let parts = bench
        .store
        .parts()
        .into_iter()
        .find(|one| one.id == image.id);
    let blob = parts.unwrap().manifests[&image.manifest][0].clone();
    let mut files = Vec::new();
    walk(&layer, &mut files);
    let file = files.iter().map(PathBuf::from).find(|file| {
        let metadata = file.symlink_metadata().unwrap();
        metadata.is_file() && metadata.len() > 0
    });
    Places {
        config: content.path(&image.id),
        manifest: content.path(&image.manifest),
        blob: content.path(&blob),
        file: file.expect("a layer with a file"),
        facts: layer.with_file_name("facts.json"),
        list: bench.directory.path().join("images/images.json"),
    }
}

fn class(places: &Places, name: &str) -> PathBuf {
    match name {
        "config" => places.config.clone(),
        "manifest" => places.manifest.clone(),
        "blob" => places.blob.clone(),
        "file" => places.file.clone(),
        "facts" => places.facts.clone(),
        _ => places.list.clone(),
    }
}

fn only(report: &Report) -> &Finding {
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    &report.findings[0]
}

#[tokio::test]
async fn a_sound_store_has_no_findings() {
    let fixture = Fixture::new(1);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    bench.pull(&server).await.unwrap();
    let report = look(&bench, CheckOptions::default()).await;
    assert_eq!(report.findings, []);
    assert_eq!(report.images, 1);
    assert!(report.blobs >= 3 && report.layers >= 1 && report.bytes > 0);
    let again = look(&bench, repair()).await;
    assert_eq!(again, report);
}

#[tokio::test]
async fn a_flipped_bit_is_named_and_mended() {
    for (name, part) in [
        ("config", Part::Config),
        ("manifest", Part::Manifest),
        ("blob", Part::Blob),
        ("file", Part::Layer),
        ("facts", Part::Layer),
        ("list", Part::Catalog),
    ] {
        let (damaged, whole) = (Fixture::new(1), Fixture::new(2));
        let server = spoiled(&damaged, |_, _, honest| honest).await;
        let other = spoiled(&whole, |_, _, honest| honest).await;
        let bench = Bench::new();
        let image = bench.pull(&server).await.unwrap();
        let unharmed = bench.pull(&other).await.unwrap();
        flip(&class(&places(&bench, &image), name));
        let report = look(&bench, CheckOptions::default()).await;
        let finding = only(&report);
        assert_eq!(finding.part, part, "{name}: {finding:?}");
        assert!(matches!(finding.outcome, Outcome::Left(_)), "{finding:?}");
        if part != Part::Catalog {
            assert!(finding.images[0].contains(REPOSITORY), "{finding:?}");
        }
        let found = bench.store.find(unharmed.id.as_str()).unwrap();
        assert_eq!(found.id, unharmed.id, "{name}");
        let report = look(&bench, repair()).await;
        let outcome = &only(&report).outcome;
        assert!(matches!(outcome, Outcome::Mended(_)), "{name}: {outcome:?}");
        let report = look(&bench, CheckOptions::default()).await;
        assert_eq!(report.findings, [], "{name}");
        assert_eq!(
            bench.store.find(image.id.as_str()).unwrap().layers,
            image.layers
        );
    }
}

#[tokio::test]
async fn what_no_registry_has_is_dropped_unless_a_container_needs_it() {
    for (name, used) in [("config", false), ("config", true), ("blob", false)] {
        let fixture = Fixture::new(1);
        let server = spoiled(&fixture, |_, _, honest| honest).await;
        let bench = Bench::new();
        let image = bench.pull(&server).await.unwrap();
        drop(server);
        flip(&class(&places(&bench, &image), name));
        let mut options = repair();
        if used {
            options.users.push(User {
                name: "web-1".into(),
                image: image.id.to_string(),
                runs: false,
            });
        }
        let report = look(&bench, options).await;
        let outcome = only(&report).outcome.clone();
        let ids: Vec<_> = bench.store.parts().into_iter().map(|one| one.id).collect();
        match (name, used) {
            ("config", false) => {
                assert!(matches!(&outcome, Outcome::Dropped(text) if text.contains("removed")));
                assert!(ids.is_empty());
                assert!(bench.files().is_empty(), "{:?}", bench.files());
            }
            ("config", true) => {
                assert!(matches!(&outcome, Outcome::Left(text) if text.contains("web-1")));
                assert_eq!(ids, [image.id]);
            }
            _ => {
                assert!(matches!(&outcome, Outcome::Dropped(text) if text.contains("runs")));
                assert!(bench.store.find(image.id.as_str()).is_ok());
            }
        }
    }
}

#[tokio::test]
async fn a_layer_that_is_mounted_is_left_alone() {
    let fixture = Fixture::new(1);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let image = bench.pull(&server).await.unwrap();
    let places = places(&bench, &image);
    flip(&places.file);
    let bad = std::fs::read(&places.file).unwrap();
    let mut options = repair();
    options.users.push(User {
        name: "web-1".into(),
        image: image.id.to_string(),
        runs: true,
    });
    let report = look(&bench, options).await;
    let outcome = &only(&report).outcome;
    assert!(
        matches!(outcome, Outcome::Left(text) if text.contains("web-1")),
        "{outcome:?}"
    );
    assert_eq!(std::fs::read(&places.file).unwrap(), bad);
    look(&bench, repair()).await;
    assert_ne!(std::fs::read(&places.file).unwrap(), bad);
}

#[tokio::test]
async fn what_is_missing_is_found_without_reading_contents() {
    let fixture = Fixture::new(1);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let image = bench.pull(&server).await.unwrap();
    let places = places(&bench, &image);
    std::fs::remove_file(&places.blob).unwrap();
    bench.store.layers().hide(image.layers[0].hex()).unwrap();
    let quick = CheckOptions {
        quick: true,
        ..CheckOptions::default()
    };
    let report = look(&bench, quick.clone()).await;
    let parts: Vec<_> = report.findings.iter().map(|one| one.part).collect();
    assert_eq!(parts, [Part::Blob, Part::Layer]);
    assert_eq!(report.bytes, 0);
    let report = look(&bench, repair()).await;
    for finding in &report.findings {
        assert!(matches!(finding.outcome, Outcome::Mended(_)), "{finding:?}");
    }
    assert_eq!(look(&bench, quick).await.findings, []);
    assert_eq!(look(&bench, CheckOptions::default()).await.findings, []);
}

#[tokio::test]
async fn what_nobody_needs_is_found_and_removed() {
    let fixture = Fixture::new(1);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    bench.pull(&server).await.unwrap();
    let content = bench.store.content();
    content
        .write_whole(&Digest::of(b"stray"), b"stray")
        .unwrap();
    std::mem::forget(content.incoming().unwrap());
    let report = look(&bench, CheckOptions::default()).await;
    let parts: Vec<_> = report.findings.iter().map(|one| one.part).collect();
    assert_eq!(parts, [Part::Blob, Part::Download]);
    // Someone may need them.
    let ingest = bench.store.begin();
    assert_eq!(look(&bench, CheckOptions::default()).await.findings, []);
    drop(ingest);
    content
        .write_whole(&Digest::of(b"stray"), b"stray")
        .unwrap();
    let report = look(&bench, repair()).await;
    for finding in &report.findings {
        assert!(
            matches!(finding.outcome, Outcome::Dropped(_)),
            "{finding:?}"
        );
    }
    assert_eq!(report.findings.len(), 2);
    assert!(!content.contains(&Digest::of(b"stray")));
    assert_eq!(look(&bench, CheckOptions::default()).await.findings, []);
}

/// An image with a second manifest under the tag `twin`, whose layer is compressed in another way.
/// Returns the blob of that layer.
fn with_twin() -> (Fixture, Digest) {
    let archive = tape().file("f", b"x").end();
    let mut fixture = Fixture::from_archives(std::slice::from_ref(&archive), |_| {});
    let packed = zstd(&archive);
    let blob = Digest::of(&packed);
    let mut manifest: Value = serde_json::from_slice(&fixture.manifests["latest"].1).unwrap();
    manifest["layers"][0] = json!({
        "mediaType": Compression::Zstd.media_type(), "digest": blob, "size": packed.len(),
    });
    fixture.blobs.insert(blob.clone(), packed);
    fixture.put(OCI_MANIFEST, manifest.to_string().as_bytes(), Some("twin"));
    (fixture, blob)
}

#[tokio::test]
async fn of_two_manifests_the_one_that_lost_a_blob_goes() {
    let (fixture, blob) = with_twin();
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let image = bench.pull(&server).await.unwrap();
    let twin = name(&server, ":twin");
    let options = PullOptions::default();
    let pulled = bench.pull_with(&twin, &options, &Silent);
    assert_eq!(pulled.await.unwrap().id, image.id);
    let lose = || std::fs::remove_file(bench.store.content().path(&blob)).unwrap();
    lose();
    let report = look(&bench, CheckOptions::default()).await;
    assert_eq!(only(&report).images, [twin.as_str()]);
    let report = look(&bench, repair()).await;
    let outcome = &only(&report).outcome;
    assert!(matches!(outcome, Outcome::Mended(_)), "{outcome:?}");
    // Only the registry that is away has it.
    drop(server);
    lose();
    let report = look(&bench, repair()).await;
    let finding = only(&report);
    assert_eq!(finding.images, [twin.as_str()]);
    assert!(
        matches!(&finding.outcome, Outcome::Dropped(text) if text.contains("another one")),
        "{finding:?}"
    );
    let (found, manifest) = bench.store.find_manifest(&twin).unwrap();
    assert_eq!((found.id, manifest), (image.id, image.manifest));
    assert_eq!(look(&bench, CheckOptions::default()).await.findings, []);
}
