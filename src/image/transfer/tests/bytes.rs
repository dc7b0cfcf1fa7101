//! Bytes that are not what was announced (HAZARDS G1, G2, G7, G12).

use orc_base::Kind;
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::manifest::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::platform::Platform;
use crate::progress::{Phase, Silent};
use crate::testing::tape;
use crate::transfer::pull::PullOptions;
use crate::transfer::tests::fixture::{Fixture, docker_style};
use crate::transfer::tests::scripted::{Reply, Server};
use crate::transfer::tests::{Bench, Recorder, assert_error, name, spoiled, spoiled_at};

#[tokio::test]
async fn a_good_image_arrives_whole() {
    let fixture = Fixture::new(3);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let recorder = Recorder::default();
    let name = name(&server, ":latest");
    let options = PullOptions::default();
    let image = bench.pull_with(&name, &options, &recorder).await.unwrap();
    assert_eq!(image.id, fixture.config);
    assert_eq!(image.manifest, fixture.manifest);
    assert_eq!(image.layers, fixture.diff_ids);
    assert_eq!(image.config.cmd, Some(vec!["/file-0".to_owned()]));
    let repo_digest = format!("{}/test/app@{}", server.host(), fixture.manifest);
    assert_eq!(image.repo_digests, [repo_digest]);
    for (index, diff_id) in fixture.diff_ids.iter().enumerate() {
        let file = bench
            .store
            .layers()
            .path(diff_id)
            .join(format!("file-{index}"));
        assert_eq!(std::fs::metadata(file).unwrap().len(), 256 << 10);
    }
    let words = recorder.words();
    let pulling = "latest: Pulling from test/app".to_owned();
    assert_eq!(words, [pulling, format!("Digest: {}", fixture.manifest)]);
    for layer in &fixture.layers {
        let phases = recorder.phases(layer);
        assert_eq!(phases.first(), Some(&Phase::Pulling));
        assert_eq!(phases.last(), Some(&Phase::PullComplete));
        let total = fixture.blobs[layer].len() as u64;
        let whole = Phase::Downloading {
            current: total,
            total,
        };
        assert!(phases.contains(&whole), "{phases:?}");
        assert_eq!(server.count("GET", layer.hex()), 1);
    }
    let before = server.requests().len();
    let again = bench.pull(&server).await.unwrap();
    assert_eq!(again, image);
    // The name is looked up, and nothing else moves.
    assert_eq!(server.requests().len(), before + 1);
}

#[tokio::test]
async fn docker_manifests_are_as_good() {
    let mut fixture = Fixture::of(1, docker_style);
    let bytes = fixture.manifests["latest"].1.clone();
    fixture.put(DOCKER_MANIFEST, &bytes, Some("latest"));
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    Bench::new().pull(&server).await.unwrap();
}

#[tokio::test]
async fn wrong_layers_are_refused() {
    let fixture = Fixture::new(2);
    let path = Fixture::blob(&fixture.layers[0]);
    let size = fixture.blobs[&fixture.layers[0]].len();
    let other = fixture.blobs[&fixture.layers[1]].clone();
    let swapped = move |honest: Reply| {
        let mut bytes = other.clone();
        bytes.resize(size, 0);
        Reply::new(200, bytes).then(honest.then)
    };
    type Spoil = Box<dyn Fn(Reply) -> Reply + Send + Sync>;
    let cases: Vec<(Spoil, &str)> = vec![
        (
            Box::new(|mut honest| {
                honest.body[100] ^= 1;
                honest
            }),
            "its bytes are not what was announced",
        ),
        (Box::new(swapped), "its bytes are not what was announced"),
        (
            Box::new(|mut honest| {
                honest.body.push(0);
                honest
            }),
            "were announced",
        ),
        (
            Box::new(|_| {
                let page = format!("<html>{}", " ".repeat(1 << 20));
                Reply::new(200, page).header("Content-Type", "text/html")
            }),
            "of a web page",
        ),
    ];
    for (spoil, text) in cases {
        let server = spoiled_at(&fixture, path.clone(), move |_, _, honest| spoil(honest)).await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, Kind::Invalid, text);
        assert_error(&error, Kind::Invalid, fixture.layers[0].short());
        assert_eq!(server.count("GET", fixture.layers[0].hex()), 1, "{text}");
    }
}

#[tokio::test]
async fn a_layer_that_is_truncated_on_the_registry_is_refused_at_once() {
    let fixture = Fixture::new(1);
    let path = Fixture::blob(&fixture.layers[0]);
    let server = spoiled_at(&fixture, path, |_, _, mut honest| {
        honest.body.truncate(1_000);
        honest
    })
    .await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "it is truncated there");
    assert_eq!(server.count("GET", fixture.layers[0].hex()), 1);
}

#[tokio::test]
async fn a_layer_without_its_diff_id_is_refused() {
    let fixture = Fixture::new(1);
    let mut lying = fixture.clone();
    let config = String::from_utf8(fixture.blobs[&fixture.config].clone()).unwrap();
    let config = config.replace(fixture.diff_ids[0].hex(), Digest::of(b"other").hex());
    put_config(&mut lying, &config);
    let server = spoiled(&lying, |_, _, honest| honest).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "diff id");
}

/// Replaces the config, with a manifest that says so.
fn put_config(fixture: &mut Fixture, config: &str) {
    let digest = Digest::of(config.as_bytes());
    let mut manifest: Value = serde_json::from_slice(&fixture.manifests["latest"].1).unwrap();
    manifest["config"]["digest"] = json!(digest);
    manifest["config"]["size"] = json!(config.len());
    fixture.blobs.insert(digest, config.as_bytes().to_vec());
    fixture.put(
        OCI_MANIFEST,
        manifest.to_string().as_bytes(),
        Some("latest"),
    );
}

#[tokio::test]
async fn wrong_configs_are_refused() {
    let fixture = Fixture::new(2);
    let path = Fixture::blob(&fixture.config);
    let server = spoiled_at(&fixture, path.clone(), |_, _, mut honest| {
        honest.body[0] = b' ';
        honest
    })
    .await;
    let error = Bench::new().refuses(&server).await;
    assert_error(
        &error,
        Kind::Invalid,
        "its bytes are not what was announced",
    );

    let server = spoiled_at(&fixture, path, |_, _, mut honest| {
        honest.body.pop();
        honest
    })
    .await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "were announced");

    let one = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [fixture.diff_ids[0]]}});
    for (config, text) in [
        (
            one.to_string(),
            "the manifest has 2 layers, but the image's config has 1",
        ),
        ("<html>".into(), "config"),
        ("{".into(), "config"),
        ("[]".into(), "config"),
        ("null".into(), "config"),
    ] {
        let mut spoilt = fixture.clone();
        put_config(&mut spoilt, &config);
        let server = spoiled(&spoilt, |_, _, honest| honest).await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, Kind::Invalid, text);
        assert_eq!(server.count("GET", fixture.layers[0].hex()), 0, "{config}");
    }
}

#[tokio::test]
async fn wrong_manifests_are_refused() {
    let fixture = Fixture::new(1);
    let path = Fixture::document("latest");
    let other = Digest::of(b"other").to_string();
    type Spoil = Box<dyn Fn(Reply) -> Reply + Send + Sync>;
    let header = |value: String| -> Spoil {
        Box::new(move |mut honest: Reply| {
            honest
                .headers
                .retain(|(name, _)| name != "Docker-Content-Digest");
            honest.header("Docker-Content-Digest", value.clone())
        })
    };
    let typed = |value: &'static str| -> Spoil {
        Box::new(move |mut honest: Reply| {
            honest.headers.retain(|(name, _)| name != "Content-Type");
            honest.header("Content-Type", value)
        })
    };
    let body = |text: &'static str| -> Spoil { Box::new(move |_| Reply::new(200, text)) };
    let cases: Vec<(Spoil, Kind, &str)> = vec![
        (header(other), Kind::Invalid, "was announced"),
        (
            header("sha256:../../etc/passwd".into()),
            Kind::Invalid,
            "is not a digest",
        ),
        (header("x".repeat(9_000)), Kind::Invalid, "is not a digest"),
        (typed(OCI_INDEX), Kind::Invalid, "announced as"),
        (typed("text/html"), Kind::Invalid, "not an image manifest"),
        (
            typed("application/vnd.docker.distribution.manifest.v1+prettyjws"),
            Kind::Unsupported,
            "schema 1",
        ),
        (body("<!doctype html><html>"), Kind::Invalid, "web page"),
        (body(""), Kind::Invalid, "cannot be read"),
        (body("{}"), Kind::Invalid, "schemaVersion"),
        (
            body("{\"schemaVersion\": 1, \"fsLayers\": []}"),
            Kind::Unsupported,
            "schema 1",
        ),
    ];
    for (spoil, kind, text) in cases {
        let server = spoiled_at(&fixture, path.clone(), move |_, _, honest| spoil(honest)).await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, kind, text);
        assert_error(&error, kind, "pull 127.0.0.1:");
    }
}

#[tokio::test]
async fn a_manifest_that_is_an_index_too_is_refused() {
    let plain = Fixture::new(1);
    let entry = plain.entry(&plain.manifest, "linux/amd64");
    let fixture = Fixture::of(1, |manifest| manifest["manifests"] = json!([entry]));
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "both `layers` and `manifests`");
}

#[tokio::test]
async fn a_digest_is_what_is_pulled() {
    let fixture = Fixture::new(1);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let pull = async |digest: &Digest| {
        let name = name(&server, &format!(":other@{digest}"));
        bench
            .pull_with(&name, &PullOptions::default(), &Silent)
            .await
    };
    let image = pull(&fixture.manifest).await.unwrap();
    assert!(image.references.is_empty());
    assert_eq!(image.repo_digests.len(), 1);

    let missing = pull(&Digest::of(b"missing")).await.unwrap_err();
    assert_error(&missing, Kind::NotFound, "manifest unknown");

    let wanted = Digest::of(b"wanted");
    let mut lying = fixture.clone();
    let wrong = lying.manifests["latest"].clone();
    lying.manifests.insert(wanted.to_string(), wrong);
    let server = spoiled(&lying, |_, _, honest| honest).await;
    let name = name(&server, &format!("@{wanted}"));
    let bench = Bench::new();
    let error = bench
        .pull_with(&name, &PullOptions::default(), &Silent)
        .await;
    assert_error(&error.unwrap_err(), Kind::Invalid, "was announced");
    bench.becomes_empty().await;
}

#[tokio::test]
async fn an_index_leads_to_the_platform_that_fits() {
    let mut fixture = Fixture::new(1);
    let other = Fixture::new(1);
    let stranger = fixture.put(OCI_MANIFEST, &other.manifests["latest"].1.clone(), None);
    let host = Platform::host().to_string();
    let entries = [
        fixture.entry(&stranger, "linux/s390x"),
        fixture.entry(&fixture.manifest.clone(), &host),
        fixture.entry(&stranger, "unknown/unknown"),
    ];
    let index = fixture.index(&entries);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let image = bench.pull(&server).await.unwrap();
    assert_eq!(image.manifest, fixture.manifest);
    assert!(
        image.repo_digests[0].ends_with(index.as_str()),
        "{:?}",
        image.repo_digests
    );

    let error = bench.pull_for(&server, "linux/riscv64").await.unwrap_err();
    let text = format!("there is no image for linux/riscv64; there are {host}, linux/s390x");
    assert_error(&error, Kind::NotFound, &text);
}

#[tokio::test]
async fn an_image_without_an_index_is_for_one_platform() {
    let mut fixture = Fixture::new(1);
    let config = String::from_utf8(fixture.blobs[&fixture.config].clone()).unwrap();
    let host = Platform::host().architecture;
    let config = config.replace(&format!("\"{host}\""), "\"s390x\"");
    put_config(&mut fixture, &config);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let error = Bench::new()
        .pull_for(&server, "linux/riscv64")
        .await
        .unwrap_err();
    assert_error(&error, Kind::NotFound, "there is linux/s390x");
    let recorder = Recorder::default();
    let bench = Bench::new();
    let name = name(&server, ":latest");
    bench
        .pull_with(&name, &PullOptions::default(), &recorder)
        .await
        .unwrap();
    let warned = |text: &String| text.contains("WARNING: the image is for linux/s390x");
    assert!(recorder.words().iter().any(warned));
}

#[tokio::test]
async fn wrong_indexes_are_refused() {
    let host = Platform::host().to_string();
    let base = Fixture::new(1);
    let entry = base.entry(&base.manifest, &host);
    let with = |key: &str, value: Value| {
        let mut entry = entry.clone();
        entry[key] = value;
        entry
    };
    let size = entry["size"].as_u64().unwrap();
    for (entries, kind, text) in [
        (
            vec![with("size", json!(size + 1))],
            Kind::Invalid,
            "were announced",
        ),
        (
            vec![with("size", json!(5 << 20))],
            Kind::Exhausted,
            "more than",
        ),
        (
            vec![with("mediaType", json!(OCI_INDEX))],
            Kind::Invalid,
            "announced as",
        ),
        (
            vec![with("mediaType", json!(DOCKER_MANIFEST))],
            Kind::Invalid,
            "announced as",
        ),
        (
            vec![with("digest", json!(Digest::of(b"?")))],
            Kind::NotFound,
            "manifest unknown",
        ),
        (
            vec![with("digest", json!("sha256:../../x"))],
            Kind::Invalid,
            "is not a digest",
        ),
        (vec![], Kind::NotFound, "names no platform"),
        (
            vec![entry.clone(); 10_000],
            Kind::Exhausted,
            "more than the 1000",
        ),
    ] {
        let mut fixture = base.clone();
        fixture.index(&entries);
        let server = spoiled(&fixture, |_, _, honest| honest).await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, kind, text);
    }
}

#[tokio::test]
async fn indexes_are_followed_so_deep_and_no_deeper() {
    let host = Platform::host().to_string();
    let mut fixture = Fixture::new(1);
    let entry = fixture.entry(&fixture.manifest.clone(), &host);
    let inner = fixture.index(&[entry]);
    let entry = fixture.entry(&inner, &host);
    let outer = fixture.index(&[entry]);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    Bench::new().pull(&server).await.unwrap();

    let entry = fixture.entry(&outer, &host);
    fixture.index(&[entry]);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "nested deeper");
    assert!(server.count("GET", "/manifests/") <= 4);
}

#[tokio::test]
async fn what_is_no_container_image_is_said_so() {
    let chart = json!("application/vnd.cncf.helm.config.v1+json");
    let fixture = Fixture::of(1, |manifest| {
        manifest["config"]["mediaType"] = chart.clone();
    });
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Unsupported, "not a container image");
}

#[tokio::test]
async fn layers_come_from_the_registry_and_not_from_their_urls() {
    let elsewhere = Server::start(|_, _| Reply::new(200, "elsewhere")).await;
    let url = format!("http://{}/layer", elsewhere.host());
    let fixture = Fixture::of(1, |manifest| {
        manifest["layers"][0]["urls"] = json!([url]);
        manifest["layers"][0]["mediaType"] =
            json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    });
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    Bench::new().pull(&server).await.unwrap();
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_layer_that_is_there_twice_moves_once() {
    let mut fixture = Fixture::new(1);
    let mut manifest: Value = serde_json::from_slice(&fixture.manifests["latest"].1).unwrap();
    let layer = manifest["layers"][0].clone();
    manifest["layers"] = json!([layer, layer]);
    fixture.put(
        OCI_MANIFEST,
        manifest.to_string().as_bytes(),
        Some("latest"),
    );
    let diff_id = &fixture.diff_ids[0].clone();
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id, diff_id]}});
    put_config(&mut fixture, &config.to_string());
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let image = Bench::new().pull(&server).await.unwrap();
    assert_eq!(image.layers.len(), 2);
    assert_eq!(server.count("GET", fixture.layers[0].hex()), 1);

    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id, Digest::of(b"x")]}});
    put_config(&mut fixture, &config.to_string());
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "is there twice");
}

#[tokio::test]
async fn a_layer_that_leaves_its_root_ends_the_pull() {
    let archive = tape().file("a", b"x").file("../../escaped", b"x").end();
    let fixture = Fixture::from_archives(&[archive], |_| {});
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "../../escaped");
}

#[tokio::test]
async fn two_pulls_share_their_downloads() {
    let fixture = Fixture::new(3);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let pulls = (0..8).map(|_| bench.pull(&server));
    for image in futures_util::future::join_all(pulls).await {
        assert_eq!(image.unwrap().id, fixture.config);
    }
    for layer in &fixture.layers {
        assert_eq!(server.count("GET", layer.hex()), 1);
    }
}
