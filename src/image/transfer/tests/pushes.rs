//! Pushes to registries that are full, slow, guarded, or not what they seem.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use orc_base::{Kind, Result};

use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::image::Image;
use crate::reference::Reference;
use crate::transfer::push::Pushed;
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::scripted::{Reply, Request, Server, Then};
use crate::transfer::tests::{Bench, assert_error, spoiled};

const NOTHING: [Reference; 0] = [];

/// What a registry was given.
#[derive(Default)]
pub(super) struct Given {
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) manifests: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, Vec<u8>>,
}

/// A registry that takes everything, as the specification has it.
pub(super) fn takes(given: &Mutex<Given>, request: &Request) -> Reply {
    let mut given = given.lock().unwrap();
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let digest = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("digest="))
        .map(|digest| digest.replace("%3A", ":"));
    match (request.method.as_str(), digest) {
        ("GET", _) => match given.uploads.get(path) {
            None => Reply::new(200, "{}"),
            Some(bytes) => Reply::new(204, "")
                .header("Range", format!("0-{}", bytes.len().saturating_sub(1)))
                .header("Location", format!("{path}?state=z")),
        },
        ("HEAD", _) => match given.blobs.get(path.rsplit('/').next().unwrap()) {
            Some(bytes) => Reply::new(200, "").claims(bytes.len() as u64),
            None => Reply::new(404, ""),
        },
        ("POST", _) => {
            let number = given.uploads.len();
            let location = format!("{path}{number}");
            given.uploads.insert(location.clone(), Vec::new());
            Reply::new(202, "").header("Location", format!("{location}?state=x"))
        }
        ("PATCH", _) => {
            let upload = given.uploads.get_mut(path).unwrap();
            upload.extend_from_slice(&request.body);
            Reply::new(202, "").header("Location", format!("{path}?state=y"))
        }
        ("PUT", Some(digest)) => {
            let mut bytes = given.uploads.get(path).cloned().unwrap();
            bytes.extend_from_slice(&request.body);
            if !Digest::parse(&digest).unwrap().matches(&bytes) {
                return Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
            }
            given.blobs.insert(digest, bytes);
            Reply::new(201, "")
        }
        ("PUT", None) => {
            let name = path.rsplit('/').next().unwrap().to_owned();
            given.manifests.insert(name, request.body.clone());
            Reply::new(201, "").header("Docker-Content-Digest", Digest::of(&request.body).as_str())
        }
        _ => Reply::new(405, ""),
    }
}

/// A machine with an image.
pub(super) async fn stocked(fixture: &Fixture) -> (Bench, Image) {
    let server = spoiled(fixture, |_, _, honest| honest).await;
    let bench = Bench::new();
    let image = bench.pull(&server).await.unwrap();
    (bench, image)
}

/// Pushes a new image to a registry that takes everything, except for what `spoil` says.
async fn pushed(
    spoil: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
) -> (Result<Pushed>, Server, Arc<Mutex<Given>>, Fixture) {
    let fixture = Fixture::new(2);
    let given = Arc::<Mutex<Given>>::default();
    let state = Arc::clone(&given);
    let server = Server::start(move |request, nth| {
        spoil(request, nth).unwrap_or_else(|| takes(&state, request))
    })
    .await;
    let (bench, image) = stocked(&fixture).await;
    let name = format!("{}/test/app:new", server.host());
    let result = bench.push(&image, &name, &NOTHING, None).await;
    (result, server, given, fixture)
}

#[tokio::test]
async fn everything_arrives_and_the_manifest_last() {
    let (result, server, given, fixture) = pushed(|_, _| None).await;
    let pushed = result.unwrap();
    assert_eq!(pushed.digest, fixture.manifest);
    let given = given.lock().unwrap();
    assert_eq!(pushed.size_bytes, given.manifests["new"].len() as u64);
    for (digest, bytes) in &fixture.blobs {
        assert_eq!(&given.blobs[digest.as_str()], bytes);
    }
    assert_eq!(given.manifests["new"], fixture.manifests["latest"].1);
    let last = server.requests().last().cloned().unwrap();
    assert!(last.is("PUT", "/v2/test/app/manifests/new"));
    assert_eq!(
        last.header("content-type"),
        Some(crate::manifest::OCI_MANIFEST)
    );
}

#[tokio::test]
async fn what_the_registry_has_does_not_move() {
    let fixture = Fixture::new(2);
    let given = Arc::<Mutex<Given>>::default();
    let state = Arc::clone(&given);
    let server = Server::start(move |request, _| takes(&state, request)).await;
    let (bench, image) = stocked(&fixture).await;
    let name = format!("{}/test/app:new", server.host());
    bench.push(&image, &name, &NOTHING, None).await.unwrap();
    let sent = server.count("POST", "/uploads/");
    assert_eq!(sent, 3);
    bench.push(&image, &name, &NOTHING, None).await.unwrap();
    assert_eq!(server.count("POST", "/uploads/"), sent);
}

#[tokio::test]
async fn a_sister_repository_lends_its_blobs() {
    let fixture = Fixture::new(2);
    let server = Server::start(|request, _| {
        match (request.method.as_str(), request.path.contains("mount=")) {
            ("POST", true) => Reply::new(201, ""),
            ("HEAD", _) => Reply::new(404, ""),
            ("PUT", _) if request.path.contains("/manifests/") => Reply::new(201, ""),
            ("GET", _) => Reply::new(200, ""),
            _ => Reply::new(400, ""),
        }
    })
    .await;
    let (bench, image) = stocked(&fixture).await;
    let known = Reference::parse(&format!("{}/other/app", server.host())).unwrap();
    let name = format!("{}/test/app:new", server.host());
    bench.push(&image, &name, &[known], None).await.unwrap();
    let mounts = server.requests();
    let mount = mounts
        .iter()
        .find(|request| request.method == "POST")
        .unwrap();
    assert!(mount.path.contains("from=other%2Fapp"), "{}", mount.path);
}

#[tokio::test]
async fn a_sister_that_lends_nothing_costs_a_request_only() {
    for status in [202, 400, 401, 403, 404, 405] {
        let fixture = Fixture::new(1);
        let given = Arc::<Mutex<Given>>::default();
        let state = Arc::clone(&given);
        let server = Server::start(move |request, _| {
            match request.path.contains("mount=") && status != 202 {
                true => Reply::new(status, ""),
                false => takes(&state, request),
            }
        })
        .await;
        let (bench, image) = stocked(&fixture).await;
        let known = Reference::parse(&format!("{}/other/app", server.host())).unwrap();
        let name = format!("{}/test/app:new", server.host());
        let result = bench.push(&image, &name, &[known], None).await;
        assert!(result.is_ok(), "{status}: {result:?}");
        assert_eq!(given.lock().unwrap().blobs.len(), 2);
    }
}

#[tokio::test]
async fn bad_luck_is_tried_again() {
    let (result, _, given, fixture) = pushed(|request, nth| {
        let later_upload =
            request.path.contains("/uploads/") && !request.path.contains("/uploads/0?");
        let first = nth == 0 && request.path != "/v2/" && !later_upload;
        first.then(|| Reply::new(500, ""))
    })
    .await;
    result.unwrap();
    assert_eq!(given.lock().unwrap().blobs.len(), fixture.blobs.len());
}

#[tokio::test]
async fn refusals_are_told_and_no_manifest_follows() {
    for (method, status, kind, text) in [
        ("POST", 403, Kind::Denied, "denies access to test/app (403)"),
        (
            "POST",
            405,
            Kind::Invalid,
            "refuses the request for test/app (405",
        ),
        ("POST", 401, Kind::Denied, "run `orc login"),
        ("POST", 429, Kind::Unavailable, "too many requests"),
        ("PUT", 400, Kind::Invalid, "refuses the request"),
        ("PUT", 507, Kind::Exhausted, "no space left"),
        ("PUT", 413, Kind::Exhausted, "no upload as large as this"),
        ("HEAD", 500, Kind::Unavailable, "failed (500"),
    ] {
        let (result, server, given, _) =
            pushed(move |request, _| (request.method == method).then(|| Reply::new(status, "")))
                .await;
        assert_error(&result.unwrap_err(), kind, text);
        assert!(given.lock().unwrap().manifests.is_empty());
        assert_eq!(server.count("PUT", "/manifests/"), 0, "{method} {status}");
    }
}

#[tokio::test]
async fn a_registry_that_forgets_to_say_where_is_refused() {
    for location in [None, Some("http://["), Some("http://169.254.169.254/up")] {
        let (result, _, _, _) = pushed(move |request, _| {
            let reply = Reply::new(202, "");
            (request.method == "POST").then(|| match location {
                Some(location) => reply.header("Location", location),
                None => reply,
            })
        })
        .await;
        assert_eq!(result.unwrap_err().kind(), Kind::Invalid);
    }
}

#[tokio::test]
async fn a_registry_that_stored_something_else_is_caught() {
    let (result, ..) = pushed(|request, _| {
        let other = Digest::of(b"other");
        request
            .path
            .contains("/manifests/")
            .then(|| Reply::new(201, "").header("Docker-Content-Digest", other.as_str()))
    })
    .await;
    assert_error(&result.unwrap_err(), Kind::Invalid, "another manifest");
}

#[tokio::test]
async fn an_upload_that_goes_elsewhere_takes_no_secret_along() {
    const BASIC: &str = "Basic YW5uOnMzY3IzdA==";
    let storage = Server::start(|_, _| Reply::new(201, "")).await;
    let target = format!("http://{}/up?signature=x", storage.host());
    let server = Server::start(move |request, _| {
        match (request.header("authorization"), request.method.as_str()) {
            (_, "GET") => Reply::new(200, ""),
            (Some(BASIC), "HEAD") => Reply::new(404, ""),
            (Some(BASIC), "POST") => Reply::new(202, "").header("Location", target.clone()),
            (Some(BASIC), _) => Reply::new(201, ""),
            _ => Reply::challenge("Basic realm=\"test\""),
        }
    })
    .await;
    let (bench, image) = stocked(&Fixture::new(2)).await;
    let name = format!("{}/test/app:new", server.host());
    let ann = Credentials::basic("ann", "s3cr3t");
    bench
        .push(&image, &name, &NOTHING, Some(ann))
        .await
        .unwrap();
    assert_eq!(storage.count("PUT", "/up?signature=x&digest="), 3);
    assert_eq!(storage.authorizations(), [""; 0]);
}

#[tokio::test]
async fn a_push_token_is_wanted_for_pushing() {
    let server = Server::start(|request, _| {
        let realm = format!("http://{}/token", request.header("host").unwrap());
        match request.header("authorization") {
            _ if request.path.starts_with("/token") => Reply::new(200, r#"{"token": "good"}"#),
            _ if request.path == "/v2/" => Reply::new(200, ""),
            Some("Bearer good") if request.method == "HEAD" => Reply::new(200, ""),
            Some("Bearer good") => Reply::new(201, ""),
            _ => Reply::challenge(format!("Bearer realm=\"{realm}\"")),
        }
    })
    .await;
    let (bench, image) = stocked(&Fixture::new(1)).await;
    let name = format!("{}/test/app:new", server.host());
    let known = Reference::parse(&format!("{}/other/app", server.host())).unwrap();
    bench.push(&image, &name, &[known], None).await.unwrap();
    let asked = server.requests();
    let asked = asked
        .iter()
        .find(|one| one.path.starts_with("/token"))
        .unwrap();
    assert_eq!(
        asked.path,
        "/token?scope=repository%3Atest%2Fapp%3Apull%2Cpush&scope=repository%3Aother%2Fapp%3Apull"
    );
}

#[tokio::test]
async fn too_large_for_one_request_goes_in_chunks() {
    // Larger than one chunk, and quick to make.
    let bytes: Vec<u8> = (0..17 << 10)
        .flat_map(|_| orc_base::id::random_bytes::<1024>())
        .collect();
    let archive = crate::testing::tape().file("large", &bytes).end();
    let fixture = Fixture::from_archives(&[archive], |_| {});
    let given = Arc::<Mutex<Given>>::default();
    let state = Arc::clone(&given);
    let server = Server::start(move |request, _| {
        match request.method == "PUT" && request.body.len() > 16 << 20 {
            true => Reply::new(413, ""),
            false => takes(&state, request),
        }
    })
    .await;
    let (bench, image) = stocked(&fixture).await;
    let name = format!("{}/test/app:new", server.host());
    bench.push(&image, &name, &NOTHING, None).await.unwrap();
    let ranges: Vec<_> = server
        .requests()
        .iter()
        .filter(|request| request.method == "PATCH")
        .map(|request| request.header("content-range").unwrap().to_owned())
        .collect();
    let size = fixture.blobs[&fixture.layers[0]].len();
    let (first, second) = ("0-16777215".to_owned(), format!("16777216-{}", size - 1));
    assert_eq!(ranges, [first, second]);
    assert_eq!(given.lock().unwrap().blobs.len(), 2);
}

/// A layer that is sent in chunks of 64 KiB, and how it goes when `spoil` has its say.
async fn pushed_in_chunks(
    spoil: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
) -> (Result<Pushed>, Vec<Request>, Arc<Mutex<Given>>) {
    let fixture = Fixture::new(1);
    let given = Arc::<Mutex<Given>>::default();
    let state = Arc::clone(&given);
    let patches = AtomicUsize::new(0);
    let server = Server::start(move |request, _| {
        // In one request it is never taken.
        if request.method == "PUT" && request.body.len() > 100_000 {
            return Reply::raw("").then(Then::Reset);
        }
        let nth = match request.method.as_str() {
            "PATCH" => patches.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        spoil(request, nth).unwrap_or_else(|| takes(&state, request))
    })
    .await;
    let source = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::with(|config| config.limits.chunk_bytes = 64 << 10);
    let image = bench.pull(&source).await.unwrap();
    let name = format!("{}/test/app:new", server.host());
    let result = bench.push(&image, &name, &NOTHING, None).await;
    let patches = server.requests();
    let patches = patches
        .into_iter()
        .filter(|request| request.method == "PATCH");
    (result, patches.collect(), given)
}

fn starts(patches: &[Request]) -> Vec<u64> {
    let start = |request: &Request| {
        let range = request.header("content-range").unwrap();
        range.split_once('-').unwrap().0.parse().unwrap()
    };
    patches.iter().map(start).collect()
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_broke() {
    // The third chunk arrives by half: the registry says how far it got.
    let (result, patches, given) = pushed_in_chunks(|request, nth| {
        let broken = request.method == "PATCH" && nth == 2;
        broken.then(|| Reply::raw("").then(Then::Close))
    })
    .await;
    result.unwrap();
    assert_eq!(given.lock().unwrap().blobs.len(), 2);
    assert_eq!(starts(&patches)[..4], [0, 65_536, 131_072, 131_072]);
}

#[tokio::test]
async fn a_broken_upload_that_arrived_is_not_sent_again() {
    // The chunk is kept, and the answer is lost.
    let kept = Arc::<Mutex<Given>>::default();
    let fixture = Fixture::new(1);
    let state = Arc::clone(&kept);
    let lost = AtomicUsize::new(0);
    let server = Server::start(move |request, _| {
        if request.method == "PUT" && request.body.len() > 100_000 {
            return Reply::raw("").then(Then::Reset);
        }
        let reply = takes(&state, request);
        match request.method == "PATCH" && lost.fetch_add(1, Ordering::Relaxed) == 1 {
            true => Reply::raw("").then(Then::Close),
            false => reply,
        }
    })
    .await;
    let source = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::with(|config| config.limits.chunk_bytes = 64 << 10);
    let image = bench.pull(&source).await.unwrap();
    let name = format!("{}/test/app:new", server.host());
    bench.push(&image, &name, &NOTHING, None).await.unwrap();
    let patches: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|one| one.method == "PATCH")
        .collect();
    assert_eq!(starts(&patches)[..3], [0, 65_536, 131_072]);
    assert_eq!(
        kept.lock().unwrap().blobs[fixture.layers[0].as_str()],
        fixture.blobs[&fixture.layers[0]]
    );
}

#[tokio::test]
async fn an_upload_that_the_registry_forgot_begins_anew() {
    let (result, patches, given) =
        pushed_in_chunks(|request, nth| match (request.method.as_str(), nth) {
            ("PATCH", 2) => Some(Reply::new(500, "")),
            ("GET", _) if request.path.contains("/uploads/") => Some(Reply::new(404, "")),
            _ => None,
        })
        .await;
    result.unwrap();
    assert_eq!(given.lock().unwrap().blobs.len(), 2);
    assert_eq!(starts(&patches)[..5], [0, 65_536, 131_072, 0, 65_536]);
}

#[tokio::test]
async fn an_upload_that_never_gets_further_is_given_up() {
    let (result, patches, given) =
        pushed_in_chunks(|request, _| (request.method == "PATCH").then(|| Reply::new(500, "")))
            .await;
    assert_error(&result.unwrap_err(), Kind::Unavailable, "failed (500");
    assert!(patches.len() <= 3, "{}", patches.len());
    assert!(given.lock().unwrap().manifests.is_empty());
}

#[tokio::test]
async fn only_tags_are_pushed_and_only_whole_images() {
    let server = Server::start(|_, _| Reply::new(404, "")).await;
    let (bench, image) = stocked(&Fixture::new(1)).await;
    let pinned = format!("{}/test/app@{}", server.host(), image.manifest);
    let error = bench
        .push(&image, &pinned, &NOTHING, None)
        .await
        .unwrap_err();
    assert_error(&error, Kind::Invalid, "under a tag, not under a digest");

    let name = format!("{}/test/app:new", server.host());
    let manifest = bench
        .store
        .content()
        .read(&image.manifest, 1 << 20)
        .unwrap();
    let manifest = crate::manifest::Document::parse(&manifest, &[]).unwrap();
    let crate::manifest::Document::Manifest(manifest) = manifest else {
        panic!("not a manifest");
    };
    bench
        .store
        .content()
        .remove(&manifest.layers[0].digest)
        .unwrap();
    let error = bench.push(&image, &name, &NOTHING, None).await.unwrap_err();
    assert_error(
        &error,
        Kind::NotFound,
        "not on this machine: pull the image again",
    );
}
