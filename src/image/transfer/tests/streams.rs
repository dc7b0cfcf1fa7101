//! Layers that are unpacked while they arrive: however the bytes come, and whatever they are
//! (HAZARDS U9, U12, G1, F11, F15).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orc_base::Kind;
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::manifest::OCI_MANIFEST;
use crate::progress::{Phase, Silent};
use crate::testing::{gzip, tape};
use crate::transfer::pull::PullOptions;
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::scripted::{Reply, Then};
use crate::transfer::tests::{Bench, Recorder, assert_error, name, spoiled, spoiled_at};

/// Bytes that compress to about a half.
fn text(size: usize) -> Vec<u8> {
    let digits: Vec<u8> = (0..size.div_ceil(64))
        .flat_map(|_| orc_base::id::hex(&orc_base::id::random_bytes::<32>()).into_bytes())
        .collect();
    digits[..size].to_vec()
}

/// An archive of many small files and a large one.
fn archive() -> Vec<u8> {
    let mut tape = tape().directory("d");
    for n in 0..50 {
        tape = tape.file(&format!("d/small-{n}"), &text(1 + n * 50));
    }
    tape.file("d/large", &text(600_000)).end()
}

/// An image of one layer, whose blob is `blob` whatever the archive is.
fn image_of(archive: &[u8], blob: &[u8]) -> Fixture {
    let mut fixture = Fixture::from_archives(&[archive.to_vec()], |manifest| {
        manifest["layers"][0]["digest"] = json!(Digest::of(blob));
        manifest["layers"][0]["size"] = json!(blob.len());
    });
    fixture.layers = vec![Digest::of(blob)];
    fixture.blobs.insert(Digest::of(blob), blob.to_vec());
    fixture
}

/// The files of the first layer are those of `archive`.
fn assert_unpacked(bench: &Bench, fixture: &Fixture) {
    let layer = bench.store.layers().path(&fixture.diff_ids[0]);
    let large = std::fs::metadata(layer.join("d/large")).unwrap();
    assert_eq!(large.len(), 600_000);
    for n in 0..50_usize {
        let small = std::fs::metadata(layer.join(format!("d/small-{n}"))).unwrap();
        assert_eq!(small.len(), 1 + n as u64 * 50);
    }
    assert!(bench.store.content().is_sound(&fixture.layers[0]).unwrap());
}

/// Directories of layers that are being unpacked.
fn stages(layers: &Path) -> Vec<PathBuf> {
    let mut stages = orc_base::fs::list(layers).unwrap_or_default();
    stages.retain(|path| path.to_string_lossy().contains("/.new-"));
    stages
}

fn layers_of(bench: &Bench) -> PathBuf {
    bench.directory.path().join("images/layers")
}

#[tokio::test]
async fn files_are_there_before_the_download_ends() {
    let archive = archive();
    let fixture = image_of(&archive, &gzip(&archive));
    let path = Fixture::blob(&fixture.layers[0]);
    let server = spoiled_at(&fixture, path, |_, nth, honest| match nth {
        0 => honest.cut(300_000, Then::Stall),
        _ => honest,
    })
    .await;
    let bench = Bench::new();
    let pull = bench.pull(&server);
    tokio::pin!(pull);
    let seen = async {
        loop {
            let stages = stages(&layers_of(&bench));
            if stages.iter().any(|stage| stage.join("fs/d/large").exists()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = &mut pull => panic!("ended by itself"),
        () = seen => {}
    }
    // Nothing of it is visible.
    assert!(!bench.store.layers().contains(&fixture.diff_ids[0]));
    assert!(!bench.store.content().contains(&fixture.layers[0]));
}

#[tokio::test]
async fn one_unpacking_goes_on_over_all_connections() {
    let archive = archive();
    let blob = gzip(&archive);
    let fixture = image_of(&archive, &blob);
    let path = Fixture::blob(&fixture.layers[0]);
    let bench = Bench::with(|config| {
        config.limits.stall = Duration::from_millis(700);
        config.limits.tries = 10;
    });
    let (layers, seen) = (layers_of(&bench), Arc::new(Mutex::new(BTreeSet::new())));
    let noted = Arc::clone(&seen);
    let server = spoiled_at(&fixture, path, move |request, nth, honest| {
        if nth > 0 {
            noted.lock().unwrap().extend(stages(&layers));
        }
        let whole = || Reply::new(200, blob.clone());
        let begun = request.range_start().unwrap_or(0) as u64;
        match nth {
            0 => honest.cut(50_000, Then::Reset),
            1 => Reply::new(503, "sorry"),
            2 => Reply::new(429, "").header("Retry-After", "0"),
            3 => honest.cut(40_000, Then::Stall),
            4 => honest.cut(0, Then::Close),
            5 => honest.cut(30_000, Then::Close),
            6 => Reply::raw("no HTTP at all"),
            // From the start, although the rest was asked for: once in a piece, once broken.
            7 => whole().cut(begun as usize + 20_000, Then::Close),
            8 => Reply::new(416, ""),
            _ => honest,
        }
    })
    .await;
    bench.pull(&server).await.unwrap();
    assert_unpacked(&bench, &fixture);
    assert_eq!(seen.lock().unwrap().len(), 1, "{seen:?}");
    let last = server.requests().last().cloned().unwrap();
    assert_eq!(last.range_start(), None, "after a 416 all is sent again");
}

#[tokio::test]
async fn a_pull_goes_on_wherever_it_was_cut() {
    let archive = archive();
    let blob = gzip(&archive);
    let size = blob.len();
    let fixture = image_of(&archive, &blob);
    let path = Fixture::blob(&fixture.layers[0]);
    for cut in [
        1,
        2,
        5,
        6,
        7,
        10,
        18,
        1_000,
        size / 2,
        size - 9,
        size - 8,
        size - 1,
    ] {
        for restart in [false, true] {
            let server = spoiled_at(&fixture, path.clone(), move |_, nth, honest| match nth {
                0 => honest.cut(cut, Then::Close),
                _ => honest,
            })
            .await;
            let mut bench = Bench::with(|config| {
                config.limits.tries = if restart { 1 } else { 3 };
                config.limits.resumes = 0;
            });
            if restart {
                let error = bench.pull(&server).await.unwrap_err();
                assert_eq!(error.kind(), Kind::Unavailable, "{cut}: {error}");
                assert!(!bench.store.layers().contains(&fixture.diff_ids[0]));
                bench = bench.restarted(|_| {});
                assert!(stages(&layers_of(&bench)).is_empty());
            }
            bench.pull(&server).await.unwrap();
            assert_unpacked(&bench, &fixture);
            let last = server.requests().last().cloned().unwrap();
            assert_eq!(last.range_start(), Some(cut), "restart: {restart}");
        }
    }
}

#[tokio::test]
async fn a_blob_that_was_whole_before_a_restart_is_not_fetched_again() {
    let archive = archive();
    let fixture = image_of(&archive, &gzip(&archive));
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let partial = bench.store.content().partial(&fixture.layers[0]);
    let blob = &fixture.blobs[&fixture.layers[0]];
    partial.unwrap().append(blob).unwrap();
    let bench = bench.restarted(|_| {});
    bench.pull(&server).await.unwrap();
    assert_unpacked(&bench, &fixture);
    assert_eq!(server.count("GET", fixture.layers[0].hex()), 0);
}

#[tokio::test]
async fn what_is_left_of_another_download_is_no_harm() {
    let archive = archive();
    let fixture = image_of(&archive, &gzip(&archive));
    let blob = fixture.blobs[&fixture.layers[0]].clone();
    let mut flipped = blob.clone();
    flipped[20_000] ^= 1;
    for left in [
        vec![7; 50_000],
        vec![0; blob.len()],
        flipped,
        [&blob[..], b"more"].concat(),
        blob[..blob.len() - 1].iter().map(|byte| !byte).collect(),
    ] {
        let server = spoiled(&fixture, |_, _, honest| honest).await;
        let bench = Bench::new();
        let partial = bench.store.content().partial(&fixture.layers[0]);
        partial.unwrap().append(&left).unwrap();
        bench.pull(&server).await.unwrap();
        assert_unpacked(&bench, &fixture);
        let requests = server.requests();
        assert_eq!(requests.last().unwrap().range_start(), None);
    }
}

#[tokio::test]
async fn answers_that_do_not_fit_together_are_asked_for_anew() {
    let archive = archive();
    let fixture = image_of(&archive, &gzip(&archive));
    let path = Fixture::blob(&fixture.layers[0]);
    let server = spoiled_at(&fixture, path, |_, nth, mut honest| match nth {
        0 => {
            honest.body[30_000] ^= 1;
            honest.cut(100_000, Then::Close)
        }
        _ => honest,
    })
    .await;
    let bench = Bench::new();
    bench.pull(&server).await.unwrap();
    assert_unpacked(&bench, &fixture);
    assert_eq!(server.count("GET", fixture.layers[0].hex()), 3);
}

#[tokio::test]
async fn the_second_takes_over_where_the_first_failed() {
    let archive = archive();
    let fixture = image_of(&archive, &gzip(&archive));
    let path = Fixture::blob(&fixture.layers[0]);
    let server = spoiled_at(&fixture, path, |_, nth, honest| match nth {
        0 => honest.cut(100_000, Then::Close),
        _ => honest,
    })
    .await;
    let bench = Bench::with(|config| {
        config.limits.tries = 1;
        config.limits.resumes = 0;
    });
    let pulls = (0..4).map(|_| bench.pull(&server));
    let results = futures_util::future::join_all(pulls).await;
    let failed = results.iter().filter(|result| result.is_err()).count();
    assert_eq!(failed, 1, "{results:?}");
    assert_unpacked(&bench, &fixture);
    let requests = server.requests();
    let starts: Vec<_> = requests
        .iter()
        .filter(|request| request.path == Fixture::blob(&fixture.layers[0]))
        .map(crate::transfer::tests::scripted::Request::range_start)
        .collect();
    assert_eq!(starts, [None, Some(100_000)]);
}

#[tokio::test]
async fn a_sibling_that_fails_takes_nothing_from_others() {
    // Fifty pulls share a layer; half of them have a second one that is not what it says.
    let shared = archive();
    let bad = tape().file("x", b"x").file("../escape", b"x").end();
    let good_image = Fixture::from_archives(std::slice::from_ref(&shared), |_| {});
    let bad_image = Fixture::from_archives(&[shared, bad], |_| {});
    let good = spoiled(&good_image, |_, _, honest| honest).await;
    let evil = spoiled(&bad_image, |_, _, honest| honest).await;
    let bench = Bench::new();
    let pulls = (0..50).map(|n| bench.pull(if n % 2 == 0 { &good } else { &evil }));
    let results = futures_util::future::join_all(pulls).await;
    for (n, result) in results.into_iter().enumerate() {
        match n % 2 {
            0 => assert_eq!(result.unwrap().id, good_image.config),
            _ => assert_error(&result.unwrap_err(), Kind::Invalid, "../escape"),
        }
    }
    assert_unpacked(&bench, &good_image);
    assert_eq!(bench.store.list().unwrap().len(), 1);
    for digest in bench.store.content().list().unwrap() {
        assert!(bench.store.content().is_sound(&digest).unwrap());
    }
    assert!(stages(&layers_of(&bench)).is_empty());
}

#[tokio::test]
async fn both_digests_must_match() {
    let archive = archive();
    let blob = gzip(&archive);
    let fixture = image_of(&archive, &blob);
    let path = Fixture::blob(&fixture.layers[0]);
    // Another time stamp in the header: the same files, the same diff id, other bytes.
    let server = spoiled_at(&fixture, path.clone(), |_, _, mut honest| {
        honest.body[5] ^= 1;
        honest
    })
    .await;
    let error = Bench::new().refuses(&server).await;
    assert_error(
        &error,
        Kind::Invalid,
        "its bytes are not what was announced",
    );

    // The announced bytes, and other files.
    let other = tape().file("d/large", b"other").end();
    let fixture = image_of(&archive, &gzip(&other));
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "diff id");

    // One byte less than announced, and a stream that is whole already before the end.
    let longer = [&blob[..], b"\0"].concat();
    let fixture = image_of(&archive, &longer);
    let server = spoiled_at(
        &fixture,
        Fixture::blob(&fixture.layers[0]),
        |_, _, honest| {
            let size = honest.body.len();
            honest.cut(size - 1, Then::Close)
        },
    )
    .await;
    let error = Bench::with(|config| config.limits.tries = 2)
        .pull(&server)
        .await;
    let error = error.unwrap_err();
    assert!(
        matches!(error.kind(), Kind::Unavailable | Kind::Invalid),
        "{error}"
    );
}

#[tokio::test]
async fn what_follows_the_end_is_refused() {
    let archive = archive();
    let blob = gzip(&archive);
    let hidden = tape().file("hidden", b"x").end();
    let cases: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        (
            "garbage after gzip",
            archive.clone(),
            [&blob[..], b"garbage that is no gzip"].concat(),
        ),
        (
            "zeros after gzip",
            archive.clone(),
            [&blob[..], &[0; 64]].concat(),
        ),
        (
            "a second archive in a second member",
            [&archive[..], &hidden].concat(),
            [&blob[..], &gzip(&hidden)].concat(),
        ),
        (
            "a truncated stream with its digest",
            archive.clone(),
            blob[..blob.len() - 1].to_vec(),
        ),
        (
            "a member that begins and does not end",
            archive.clone(),
            [&blob[..], &gzip(b"x")[..12]].concat(),
        ),
        (
            "garbage after zstd",
            archive.clone(),
            [&zstd(&archive)[..], b"garbage"].concat(),
        ),
        (
            "a half archive",
            archive[..archive.len() / 2].to_vec(),
            gzip(&archive[..archive.len() / 2]),
        ),
    ];
    for (case, archive, blob) in cases {
        let fixture = image_of(&archive, &blob);
        let server = spoiled(&fixture, |_, _, honest| honest).await;
        let error = Bench::new().refuses(&server).await;
        assert_eq!(error.kind(), Kind::Invalid, "{case}: {error}");
        assert_error(&error, Kind::Invalid, "unpack layer");
        assert_eq!(server.count("GET", fixture.layers[0].hex()), 1, "{case}");
    }
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

#[tokio::test]
async fn every_way_to_compress_is_read() {
    let archive = archive();
    let (first, second) = archive.split_at(archive.len() / 3);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"table"].concat();
    for (case, blob) in [
        ("plain", archive.clone()),
        ("gzip", gzip(&archive)),
        ("members", [gzip(first), gzip(second), gzip(b"")].concat()),
        ("zstd", zstd(&archive)),
        ("frames", [zstd(first), zstd(second)].concat()),
        (
            "zstd:chunked",
            [&zstd(first)[..], &zstd(second), &skippable, &skippable].concat(),
        ),
        ("pzstd", [&skippable[..], &zstd(&archive)].concat()),
    ] {
        let fixture = image_of(&archive, &blob);
        let server = spoiled(&fixture, |_, nth, honest| match nth {
            0 if honest.body.len() > 100_000 => honest.cut(77_777, Then::Close),
            _ => honest,
        })
        .await;
        let bench = Bench::new();
        let image = bench.pull(&server).await;
        assert!(image.is_ok(), "{case}: {image:?}");
        assert_unpacked(&bench, &fixture);
    }
}

#[tokio::test]
async fn a_blob_that_is_damaged_on_disk_is_fetched_again() {
    let archive = archive();
    let fixture = image_of(&archive, &gzip(&archive));
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    bench.pull(&server).await.unwrap();
    let (blob, diff_id) = (&fixture.layers[0], &fixture.diff_ids[0]);
    for at in [0, 10, 5_000, 100_000] {
        bench.store.layers().hide(diff_id.hex()).unwrap();
        let path = bench.store.content().path(blob);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        bench.pull(&server).await.unwrap();
        assert_unpacked(&bench, &fixture);
    }
    assert_eq!(server.count("GET", blob.hex()), 5);
}

#[tokio::test]
async fn only_what_is_missing_is_fetched() {
    let archives = [archive(), tape().file("a", &text(10_000)).end()];
    let base = Fixture::from_archives(&archives[..1], |_| {});
    let above = Fixture::from_archives(&archives, |_| {});
    let bench = Bench::new();
    let server = spoiled(&base, |_, _, honest| honest).await;
    bench.pull(&server).await.unwrap();
    let server = spoiled(&above, |_, _, honest| honest).await;
    let recorder = Recorder::default();
    let name = name(&server, ":latest");
    let options = PullOptions::default();
    bench.pull_with(&name, &options, &recorder).await.unwrap();
    assert_eq!(server.count("GET", above.layers[0].hex()), 0);
    assert_eq!(server.count("GET", above.layers[1].hex()), 1);
    let phases = recorder.phases(&above.layers[0]);
    assert_eq!(phases, [Phase::Pulling, Phase::AlreadyExists]);

    // The layer is here and its blob is not: the bytes are fetched, nothing is unpacked.
    bench.store.content().remove(&above.layers[0]).unwrap();
    bench.pull_with(&name, &options, &Silent).await.unwrap();
    assert_eq!(server.count("GET", above.layers[0].hex()), 1);
    assert!(bench.store.content().is_sound(&above.layers[0]).unwrap());
}

#[tokio::test]
async fn a_layer_is_downloaded_first_and_extracted_then() {
    let archive = archive();
    let fixture = image_of(&archive, &gzip(&archive));
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let recorder = Recorder::default();
    let name = name(&server, ":latest");
    let options = PullOptions::default();
    let bench = Bench::new();
    bench.pull_with(&name, &options, &recorder).await.unwrap();
    let phases = recorder.phases(&fixture.layers[0]);
    let place = |wanted: &dyn Fn(&Phase) -> bool| phases.iter().rposition(wanted);
    let downloading = place(&|phase| matches!(phase, Phase::Downloading { .. })).unwrap();
    let verifying = place(&|phase| *phase == Phase::Verifying).unwrap();
    assert!(downloading < verifying, "{phases:?}");
    let first = |phase: &Phase| matches!(phase, Phase::Extracting { .. });
    if let Some(extracting) = phases.iter().position(first) {
        assert!(verifying < extracting, "{phases:?}");
    }
}

#[tokio::test]
async fn a_layer_that_registries_must_not_have_is_said_so() {
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ] {
        let mut fixture = Fixture::of(1, |manifest| {
            manifest["layers"][0]["mediaType"] = json!(media_type);
            manifest["layers"][0]["urls"] = json!(["https://vendor.example/layer"]);
        });
        let manifest: Value = serde_json::from_slice(&fixture.manifests["latest"].1).unwrap();
        assert!(manifest["layers"][0]["urls"].is_array());
        let layer = fixture.layers[0].clone();
        fixture.blobs.remove(&layer);
        let bytes = fixture.manifests["latest"].1.clone();
        fixture.put(OCI_MANIFEST, &bytes, Some("latest"));
        let server = spoiled(&fixture, |_, _, honest| honest).await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, Kind::Unsupported, media_type);
        assert_error(&error, Kind::Unsupported, "from nowhere else");
    }
}
