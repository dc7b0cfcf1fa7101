//! Everything a registry may do wrong in a pull and in a push, by name, in two tables.
//!
//! Each row is one registry that is honest but for one thing. All rows promise the same: an error that
//! names the image and says what is wrong, in bounded time, requests and bytes; nothing of it left in
//! the store; and afterwards the same machine pulls or pushes the same image from or to a good registry.
//! What needs TLS or several hosts is in `tls` and `hosts`, what needs more to be said of it in the
//! other files beside this one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use orc_base::Kind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::digest::Digest;
use crate::manifest::{DOCKER_MANIFEST, OCI_INDEX};
use crate::platform::Platform;
use crate::progress::Silent;
use crate::transfer::pull::PullOptions;
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::pushes::{Given, stocked, takes};
use crate::transfer::tests::scripted::{Reply, Request, Server, Then};
use crate::transfer::tests::{Bench, name, spoiled};

/// No single registry may take longer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(40);
/// No single registry may be asked more often …
const MAX_REQUESTS: usize = 40;
/// … or have more bytes read of it, the honest ones included.
const MAX_BYTES: u64 = 24 << 20;

/// Whose answers are spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Manifest,
    Config,
    Layer,
    /// Everything but the greeting.
    All,
}

type Spoil = fn(&Fixture, &Request, usize, Reply) -> Reply;

/// One registry.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    at: At,
    kind: Kind,
    says: &'static str,
    spoil: Spoil,
    /// It is about waiting, and the machine is told to be impatient.
    hasty: bool,
}

const fn row(name: &'static str, at: At, kind: Kind, says: &'static str, spoil: Spoil) -> Row {
    Row {
        name,
        at,
        kind,
        says,
        spoil,
        hasty: false,
    }
}

const fn hasty(name: &'static str, at: At, kind: Kind, says: &'static str, spoil: Spoil) -> Row {
    Row {
        hasty: true,
        ..row(name, at, kind, says, spoil)
    }
}

fn body(text: impl Into<Vec<u8>>) -> Reply {
    Reply::new(200, text)
}

/// The manifest with one change, served under its tag.
fn changed(fixture: &Fixture, change: impl Fn(&mut Value)) -> Reply {
    let mut manifest: Value = serde_json::from_slice(&fixture.manifests["latest"].1).unwrap();
    change(&mut manifest);
    body(manifest.to_string())
}

fn digest_of_layer(fixture: &Fixture, digest: &str) -> Reply {
    changed(fixture, |manifest| {
        manifest["layers"][0]["digest"] = json!(digest);
    })
}

fn index(entries: &[Value]) -> Reply {
    body(json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).to_string())
        .header("Content-Type", OCI_INDEX)
}

fn header(mut honest: Reply, name: &str, value: impl Into<String>) -> Reply {
    honest.headers.retain(|(key, _)| key != name);
    honest.header(name, value)
}

/// A challenge for the issuer at `/token` of the registry itself, which then answers `issue`.
fn issuer(request: &Request, issue: Reply) -> Reply {
    match request.path.starts_with("/token") {
        true => issue,
        false => {
            let host = request.header("host").unwrap();
            Reply::challenge(format!("Bearer realm=\"http://{host}/token\""))
        }
    }
}

fn realm(realm: &str) -> Reply {
    Reply::challenge(format!("Bearer realm=\"{realm}\""))
}

use At::{All, Config, Layer, Manifest};
use Kind::{Denied, Exhausted, Invalid, NotFound, Timeout, Unavailable, Unsupported};

#[rustfmt::skip]
const PULLS: &[Row] = &[
    // The manifest's bytes.
    row("a web page as manifest", Manifest, Invalid, "web page", |_, _, _, _| body("<!doctype html><html>")),
    row("an empty manifest", Manifest, Invalid, "cannot be read", |_, _, _, _| body("")),
    row("an empty object", Manifest, Invalid, "schemaVersion", |_, _, _, _| body("{}")),
    row("a number", Manifest, Invalid, "cannot be read", |_, _, _, _| body("7")),
    row("half a manifest", Manifest, Invalid, "cannot be read", |_, _, _, honest| body(&honest.body[..100])),
    row("text that is not UTF-8", Manifest, Invalid, "cannot be read", |_, _, _, _| body(b"{\"\xff\xfe\": 1}".to_vec())),
    row("a hundred thousand brackets", Manifest, Invalid, "cannot be read", |_, _, _, _| body("[".repeat(100_000))),
    row("a manifest and an index in one", Manifest, Invalid, "both `layers` and `manifests`", |fixture, _, _, _| {
        changed(fixture, |manifest| manifest["manifests"] = json!([]))
    }),
    row("a type inside that contradicts", Manifest, Invalid, "", |fixture, _, _, _| {
        changed(fixture, |manifest| manifest["mediaType"] = json!(OCI_INDEX))
    }),
    row("schema 1", Manifest, Unsupported, "schema 1", |_, _, _, _| body(r#"{"schemaVersion": 1, "fsLayers": []}"#)),
    row("no layers", Manifest, Invalid, "", |fixture, _, _, _| changed(fixture, |manifest| manifest["layers"] = json!(null))),
    row("ten thousand layers", Manifest, Exhausted, "more than the 1000", |fixture, _, _, _| changed(fixture, |manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!(vec![layer; 10_000]);
    })),
    row("one layer more than the config has", Manifest, Invalid, "but the image's config has", |fixture, _, _, _| changed(fixture, |manifest| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"].as_array_mut().unwrap().push(layer);
    })),
    row("a chart instead of an image", Manifest, Unsupported, "not a container image", |fixture, _, _, _| {
        changed(fixture, |manifest| manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json"))
    }),
    row("a config that claims a gigabyte", Manifest, Exhausted, "", |fixture, _, _, _| {
        changed(fixture, |manifest| manifest["config"]["size"] = json!(1u64 << 30))
    }),
    // Digests and sizes that cannot be.
    row("a path as digest", Manifest, Invalid, "digest", |fixture, _, _, _| digest_of_layer(fixture, "sha256:../../etc/passwd")),
    row("an absolute path as digest", Manifest, Invalid, "digest", |fixture, _, _, _| digest_of_layer(fixture, "/etc/passwd")),
    row("a digest in capitals", Manifest, Invalid, "digest", |fixture, _, _, _| {
        digest_of_layer(fixture, &format!("sha256:{}", fixture.layers[0].hex().to_uppercase()))
    }),
    row("a short digest", Manifest, Invalid, "digest", |fixture, _, _, _| digest_of_layer(fixture, "sha256:abc")),
    row("an unknown algorithm", Manifest, Invalid, "digest", |fixture, _, _, _| digest_of_layer(fixture, &format!("md5:{}", "0".repeat(32)))),
    row("a digest of a megabyte", Manifest, Invalid, "digest", |fixture, _, _, _| digest_of_layer(fixture, &"a".repeat(1 << 20))),
    row("a negative size", Manifest, Invalid, "", |fixture, _, _, _| changed(fixture, |manifest| manifest["layers"][0]["size"] = json!(-1))),
    row("a size beyond numbers", Manifest, Invalid, "", |fixture, _, _, _| changed(fixture, |manifest| manifest["layers"][0]["size"] = json!(1e300))),
    // What the head says of it.
    row("another digest in the head", Manifest, Invalid, "was announced", |_, _, _, honest| header(honest, "Docker-Content-Digest", Digest::of(b"other").as_str())),
    row("a path in the head", Manifest, Invalid, "is not a digest", |_, _, _, honest| header(honest, "Docker-Content-Digest", "sha256:../../etc/passwd")),
    row("the type of an index", Manifest, Invalid, "announced as", |_, _, _, honest| header(honest, "Content-Type", OCI_INDEX)),
    row("Docker's type for an OCI manifest", Manifest, Invalid, "announced as", |_, _, _, honest| header(honest, "Content-Type", DOCKER_MANIFEST)),
    row("the type of a web page", Manifest, Invalid, "not an image manifest", |_, _, _, honest| header(honest, "Content-Type", "text/html")),
    row("a head without an end", Manifest, Unavailable, "broke", |_, _, _, _| {
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{}", "X-Filler: yes\r\n".repeat(1 << 16))).then(Then::Endless)
    }),
    row("two lengths", Manifest, Unavailable, "", |_, _, _, _| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 7\r\n\r\n{}")),
    row("a length that is none", Manifest, Unavailable, "", |_, _, _, _| Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}")),
    row("chunks that are none", Manifest, Unavailable, "", |_, _, _, _| Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")),
    row("a chunk of the largest size there is", Manifest, Unavailable, "", |_, _, _, _| {
        Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n")
    }),
    // Indexes.
    row("an index for others", Manifest, NotFound, "there is no image for", |fixture, _, _, _| index(&[fixture.entry(&fixture.manifest, "linux/s390x")])),
    row("an index of attestations only", Manifest, NotFound, "there is no image for", |fixture, _, _, _| index(&[fixture.entry(&fixture.manifest, "unknown/unknown")])),
    row("an index of ten thousand", Manifest, Exhausted, "more than the 1000", |fixture, _, _, _| index(&vec![fixture.entry(&fixture.manifest, "linux/amd64"); 10_000])),
    row("an index that leads to itself", All, Invalid, "was announced", |fixture, _, _, _| {
        let mut entry = fixture.entry(&fixture.manifest, &Platform::host().to_string());
        entry["mediaType"] = json!(OCI_INDEX);
        index(&[entry])
    }),
    row("an index with a wrong size", Manifest, Invalid, "were announced", |fixture, _, _, _| {
        let mut entry = fixture.entry(&fixture.manifest, &Platform::host().to_string());
        entry["size"] = json!(entry["size"].as_u64().unwrap() + 1);
        index(&[entry])
    }),
    // Bodies without an end, and patience.
    row("a manifest without an end", Manifest, Exhausted, "more than 4194304 bytes", |_, _, _, _| body("{").then(Then::Endless)),
    row("a manifest that claims a terabyte", Manifest, Exhausted, "more than 4194304 bytes", |_, _, _, _| body("{").claims(1 << 40).then(Then::Stall)),
    row("an error without an end", Manifest, Denied, "denies access", |_, _, _, _| Reply::new(403, "{").then(Then::Endless)),
    row("a config without an end", Config, Exhausted, "more than", |_, _, _, _| body("{").then(Then::Endless)),
    row("a layer without an end", Layer, Invalid, "comes with more than", |_, _, _, _| body("x").then(Then::Endless)),
    hasty("no answer", Manifest, Timeout, "did not answer in time", |_, _, _, _| Reply::raw("").then(Then::Stall)),
    hasty("a manifest that trickles", Manifest, Timeout, "whole answer in time", |_, _, _, _| body("{").then(Then::Trickle)),
    hasty("a layer that stalls", Layer, Timeout, "sent nothing for", |_, _, _, honest| honest.cut(0, Then::Stall)),
    hasty("a layer that trickles", Layer, Timeout, "sends less than", |_, _, _, honest| honest.cut(0, Then::Trickle)),
    // Connections.
    row("a manifest that breaks off", Manifest, Unavailable, "", |_, _, _, honest| honest.cut(20, Then::Close)),
    row("a manifest that is reset", Manifest, Unavailable, "", |_, _, _, honest| honest.cut(20, Then::Reset)),
    row("no word before the end", Manifest, Unavailable, "", |_, _, _, _| Reply::raw("")),
    row("another protocol", Manifest, Unavailable, "", |_, _, _, _| Reply::raw("SSH-2.0-OpenSSH_9.6\r\n")),
    row("NULs", Manifest, Unavailable, "", |_, _, _, _| Reply::raw("\0\0\0\0")),
    row("a layer that is reset each time", Layer, Unavailable, "", |_, _, _, honest| honest.cut(10, Then::Reset)),
    // Statuses.
    row("400", Manifest, Invalid, "(400", |_, _, _, _| Reply::new(400, "")),
    row("403", Manifest, Denied, "(403)", |_, _, _, _| Reply::new(403, "")),
    row("404 with a web page", Manifest, NotFound, "check the name and the tag", |_, _, _, _| Reply::new(404, "<html>")),
    row("304 to a question without a condition", Manifest, Invalid, "(304", |_, _, _, _| Reply::new(304, "")),
    row("418", Manifest, Invalid, "(418", |_, _, _, _| Reply::new(418, "")),
    row("429 for ever", Manifest, Unavailable, "too many requests (429)", |_, _, _, _| Reply::new(429, "").header("Retry-After", "0")),
    row("429 for an hour", Manifest, Unavailable, "try again in 60 min", |_, _, _, _| Reply::new(429, "").header("Retry-After", "3600")),
    row("429 until the year 2200", Manifest, Unavailable, "try again", |_, _, _, _| Reply::new(429, "").header("Retry-After", "Wed, 31 Dec 2200 23:59:59 GMT")),
    row("500 for ever", Manifest, Unavailable, "failed (500", |_, _, _, _| Reply::new(500, "")),
    row("501", Manifest, Unavailable, "failed (501", |_, _, _, _| Reply::new(501, "")),
    row("503 with nonsense", Manifest, Unavailable, "failed (503", |_, _, _, _| Reply::new(503, "").header("Retry-After", "soon")),
    row("504", Manifest, Timeout, "gave up waiting (504)", |_, _, _, _| Reply::new(504, "")),
    row("a layer that is not there", Layer, NotFound, "does not have it", |_, _, _, _| Reply::new(404, "")),
    row("a config that is not there", Config, NotFound, "does not have it", |_, _, _, _| Reply::new(404, "")),
    row("416 to a question without a range", Layer, Kind::Conflict, "", |_, _, _, _| Reply::new(416, "")),
    // Redirects.
    row("a redirect to itself", Manifest, Invalid, "sends on more than 5 times", |_, request, _, _| Reply::redirect(302, request.path.clone())),
    row("a redirect into the link", Manifest, Invalid, "inside this machine or on its link", |_, _, _, _| Reply::redirect(307, "http://169.254.169.254/latest")),
    row("a redirect to a file", Layer, Invalid, "not an address on the web", |_, _, _, _| Reply::redirect(302, "file:///etc/passwd")),
    row("a redirect to a socket", Layer, Invalid, "not an address on the web", |_, _, _, _| Reply::redirect(308, "unix:///run/orc.sock")),
    row("a redirect to plain HTTP elsewhere", Layer, Invalid, "plain HTTP address that is not listed", |_, _, _, _| Reply::redirect(302, "http://storage.example/x")),
    row("a redirect with a login", Layer, Invalid, "with a login in the address", |_, _, _, _| Reply::redirect(302, "http://ann:pw@127.0.0.1:1/x")),
    row("a redirect to nonsense", Manifest, Invalid, "not a URL", |_, _, _, _| Reply::redirect(302, "http://[")),
    row("a redirect to nowhere", Manifest, Invalid, "(302 Found)", |_, _, _, _| Reply::new(302, "")),
    // Logins.
    row("401 without a challenge", Manifest, Denied, "without credentials (401)", |_, _, _, _| Reply::new(401, "")),
    row("401 in a way nobody knows", Manifest, Denied, "without credentials (401)", |_, _, _, _| Reply::challenge("Negotiate")),
    row("401 whatever the token", All, Denied, "(401)", |_, request, nth, _| issuer(request, body(format!(r#"{{"token": "t{nth}"}}"#)))),
    row("an issuer on the link", Manifest, Invalid, "inside this machine or on its link", |_, _, _, _| realm("http://169.254.169.254/token")),
    row("an issuer that is a file", Manifest, Invalid, "not an address on the web", |_, _, _, _| realm("file:///etc/passwd")),
    row("an issuer that is no URL", Manifest, Invalid, "not a URL", |_, _, _, _| realm("::")),
    row("an issuer without an end", All, Exhausted, "more than 1048576 bytes", |_, request, _, _| issuer(request, body("{").then(Then::Endless))),
    row("an issuer of web pages", All, Invalid, "answers without a token", |_, request, _, _| issuer(request, body("<html>"))),
    row("a token that breaks lines", All, Invalid, "cannot stand in a", |_, request, _, _| issuer(request, body(r#"{"token": "a\r\nX-Evil: 1"}"#))),
    row("an issuer that fails", All, Unavailable, "failed (500", |_, request, _, _| issuer(request, Reply::new(500, ""))),
    row("an issuer that sends on to a file", All, Invalid, "not an address on the web", |_, request, _, _| issuer(request, Reply::redirect(302, "file:///etc/passwd"))),
    // Configs and layers.
    row("a config with another byte", Config, Invalid, "not what was announced", |_, _, _, mut honest| { honest.body[0] = b' '; honest }),
    row("a config that is too short", Config, Invalid, "were announced", |_, _, _, mut honest| { honest.body.pop(); honest }),
    row("a web page as config", Config, Invalid, "", |_, _, _, _| body("<html>")),
    row("a layer with another bit", Layer, Invalid, "", |_, _, _, mut honest| { honest.body[100] ^= 1; honest }),
    row("another layer", Layer, Invalid, "", |fixture, _, _, honest| {
        let mut bytes = fixture.blobs[&fixture.layers[1]].clone();
        bytes.resize(honest.body.len(), 0);
        body(bytes)
    }),
    row("one byte more", Layer, Invalid, "were announced", |_, _, _, mut honest| { honest.body.push(0); honest }),
    row("half a layer, and no more of it there", Layer, Invalid, "it is truncated there", |_, _, _, mut honest| { honest.body.truncate(1_000); honest }),
    row("an empty layer", Layer, Invalid, "it is truncated there", |_, _, _, _| body("")),
    row("a web page as layer", Layer, Invalid, "of a web page", |_, _, _, _| body(" ".repeat(1 << 20)).header("Content-Type", "text/html")),
    row("a layer that is no archive in zeros", Layer, Invalid, "", |_, _, _, honest| body(vec![0; honest.body.len()])),
];

/// One registry that is pushed to: the method and a part of the path that are spoiled.
type PushSpoil = fn(&Request) -> Reply;
type PushRow = (
    &'static str,
    &'static str,
    &'static str,
    Kind,
    &'static str,
    PushSpoil,
);

#[rustfmt::skip]
const PUSHES: &[PushRow] = &[
    ("no look at blobs", "HEAD", "/blobs/", Unavailable, "failed (500", |_| Reply::new(500, "")),
    ("no right to look", "HEAD", "/blobs/", Denied, "(403)", |_| Reply::new(403, "")),
    ("no right to begin", "POST", "/uploads/", Denied, "(403)", |_| Reply::new(403, "")),
    ("401 to a begin", "POST", "/uploads/", Denied, "run `orc login", |_| Reply::new(401, "")),
    ("a read-only registry", "POST", "/uploads/", Invalid, "(405", |_| Reply::new(405, "")),
    ("too many uploads", "POST", "/uploads/", Unavailable, "too many requests", |_| Reply::new(429, "")),
    ("a begin without a place", "POST", "/uploads/", Invalid, "does not say where", |_| Reply::new(202, "")),
    ("a place that is no URL", "POST", "/uploads/", Invalid, "not a URL", |_| Reply::new(202, "").header("Location", "http://[")),
    ("a place on the link", "POST", "/uploads/", Invalid, "on its link", |_| Reply::new(202, "").header("Location", "http://169.254.169.254/up")),
    ("a place in a file", "POST", "/uploads/", Invalid, "not an address on the web", |_| Reply::new(202, "").header("Location", "file:///tmp/x")),
    ("a begin that breaks", "POST", "/uploads/", Unavailable, "", |_| Reply::raw("")),
    ("a begin in another protocol", "POST", "/uploads/", Unavailable, "", |_| Reply::raw("SSH-2.0-x\r\n")),
    ("a refusal without an end", "POST", "/uploads/", Denied, "(403)", |_| Reply::new(403, "{").then(Then::Endless)),
    ("a blob that is not liked", "PUT", "/uploads/", Invalid, "digest invalid", |_| Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#)),
    ("a blob that is too large", "PUT", "/uploads/", Exhausted, "as large as this", |_| Reply::new(413, "")),
    ("a full registry", "PUT", "/uploads/", Exhausted, "no space left", |_| Reply::new(507, "")),
    ("a registry that fails at the end", "PUT", "/uploads/", Unavailable, "failed (500", |_| Reply::new(500, "")),
    ("a reset at the end", "PUT", "/uploads/", Unavailable, "", |_| Reply::raw("").then(Then::Reset)),
    ("an upload that is sent on", "PUT", "/uploads/", Invalid, "(307", |_| Reply::redirect(307, "http://169.254.169.254/")),
    ("a manifest that is not liked", "PUT", "/manifests/", Invalid, "manifest invalid", |_| Reply::new(400, r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#)),
    ("another manifest than was sent", "PUT", "/manifests/", Invalid, "another manifest", |_| Reply::new(201, "").header("Docker-Content-Digest", Digest::of(b"x").as_str())),
    ("no right to the tag", "PUT", "/manifests/", Denied, "(403)", |_| Reply::new(403, "")),
    ("a manifest that is never enough", "PUT", "/manifests/", Unavailable, "failed (503", |_| Reply::new(503, "")),
];

fn is_hit(row: &Row, fixture: &Fixture, request: &Request) -> bool {
    let path = &request.path;
    match row.at {
        At::Manifest => *path == Fixture::document("latest"),
        At::Config => *path == Fixture::blob(&fixture.config),
        At::Layer => *path == Fixture::blob(&fixture.layers[0]),
        At::All => path != "/v2/",
    }
}

fn impatient(bench: &mut crate::registry::config::RegistryConfig) {
    bench.limits.answer = Duration::from_millis(1_000);
    bench.limits.document = Duration::from_millis(1_000);
    bench.limits.stall = Duration::from_millis(300);
    bench.limits.slow_window = Duration::from_millis(150);
    bench.limits.slow_bytes = 16 << 10;
}

/// What is wrong with how the row was dealt with.
async fn pull_from(row: &Row) -> Option<String> {
    let fixture = Fixture::new(2);
    let spoiled_by = fixture.clone();
    let (spoil, at) = (row.spoil, *row);
    let server = spoiled(&fixture, move |request, nth, honest| {
        match is_hit(&at, &spoiled_by, request) {
            true => spoil(&spoiled_by, request, nth, honest),
            false => honest,
        }
    })
    .await;
    let bench = match row.hasty {
        true => Bench::with(impatient),
        false => Bench::new(),
    };
    let begin = Instant::now();
    let result = bench.pull(&server).await;
    let took = begin.elapsed();
    let Err(error) = result else {
        return Some("the image was taken".into());
    };
    let text = error.to_string();
    let settled = Instant::now();
    // What may be gone on with stays: a download that broke off is no rubbish.
    let resumable = matches!(row.kind, Unavailable | Timeout) && row.at == At::Layer;
    while !bench.files().is_empty() && !resumable && settled.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left: Vec<_> = bench
        .files()
        .into_iter()
        .filter(|file| !(resumable && file.contains("/partial/")))
        .filter(|file| !(resumable && file.contains("/layers/")))
        .collect();
    let problem = [
        (
            error.kind() != row.kind,
            format!("the kind is {:?}", error.kind()),
        ),
        (!text.contains(row.says), "the words are missing".into()),
        (
            !text.contains(&format!("pull {}/test/app:latest", server.host())),
            "the image is not named".into(),
        ),
        (
            text.len() > 1_000 || text.contains('\n'),
            "it is long".into(),
        ),
        (took > PATIENCE, format!("it took {took:?}")),
        (
            server.requests().len() > MAX_REQUESTS,
            format!("{} requests", server.requests().len()),
        ),
        (
            server.sent() > MAX_BYTES,
            format!("{} bytes were read", server.sent()),
        ),
        (
            !bench.store.list().unwrap().is_empty() || !left.is_empty(),
            format!("left: {left:?}"),
        ),
    ];
    if let Some((_, problem)) = problem.into_iter().find(|(found, _)| *found) {
        return Some(format!("{problem}: {text}"));
    }
    // The same image from a good registry, on the same machine.
    let good = spoiled(&fixture, |_, _, honest| honest).await;
    let reference = name(&good, ":latest");
    let options = PullOptions::default();
    match bench.pull_with(&reference, &options, &Silent).await {
        Ok(image) if image.manifest == fixture.manifest => None,
        Ok(_) => Some("then another image was pulled".into()),
        Err(error) => Some(format!("then a good registry failed: {error}")),
    }
}

async fn push_to(row: &PushRow) -> Option<String> {
    let (_, method, part, kind, says, spoil) = *row;
    let (bench, image) = stocked(&Fixture::new(2)).await;
    let before = bench.files();
    let given = Arc::<Mutex<Given>>::default();
    let state = Arc::clone(&given);
    let server = Server::start(move |request, _| {
        match request.method == method && request.path.contains(part) {
            true => spoil(request),
            false => takes(&state, request),
        }
    })
    .await;
    let begin = Instant::now();
    let to = format!("{}/test/app:new", server.host());
    let Err(error) = bench.push(&image, &to, &[], None).await else {
        return Some("the push succeeded".into());
    };
    let took = begin.elapsed();
    let text = error.to_string();
    let problem = [
        (
            error.kind() != kind,
            format!("the kind is {:?}", error.kind()),
        ),
        (!text.contains(says), "the words are missing".into()),
        (
            !text.contains(&format!("push {to}")),
            "the image is not named".into(),
        ),
        (
            text.len() > 1_000 || text.contains('\n'),
            "it is long".into(),
        ),
        (took > PATIENCE, format!("it took {took:?}")),
        (
            server.requests().len() > MAX_REQUESTS,
            format!("{} requests", server.requests().len()),
        ),
        (
            !given.lock().unwrap().manifests.is_empty(),
            "the tag was set".into(),
        ),
        (bench.files() != before, "the store has changed".into()),
    ];
    if let Some((_, problem)) = problem.into_iter().find(|(found, _)| *found) {
        return Some(format!("{problem}: {text}"));
    }
    let good = Arc::<Mutex<Given>>::default();
    let state = Arc::clone(&good);
    let server = Server::start(move |request, _| takes(&state, request)).await;
    let to = format!("{}/test/app:new", server.host());
    match bench.push(&image, &to, &[], None).await {
        Ok(_) if good.lock().unwrap().blobs.len() == 3 => None,
        Ok(_) => Some("then a good registry did not get all".into()),
        Err(error) => Some(format!("then a good registry failed: {error}")),
    }
}

fn report(problems: &[(&str, Option<String>)]) {
    let bad: Vec<String> = problems
        .iter()
        .filter_map(|(name, problem)| Some(format!("{name}: {}", problem.as_ref()?)))
        .collect();
    assert!(
        bad.is_empty(),
        "{} of {}:\n{}",
        bad.len(),
        problems.len(),
        bad.join("\n")
    );
}

async fn pulls(at: &[At]) {
    let mut problems = Vec::new();
    for row in PULLS.iter().filter(|row| at.contains(&row.at)) {
        problems.push((row.name, pull_from(row).await));
    }
    assert!(problems.len() > 8);
    report(&problems);
}

#[tokio::test]
async fn registries_with_bad_manifests() {
    pulls(&[At::Manifest]).await;
}

#[tokio::test]
async fn registries_with_bad_blobs_and_logins() {
    pulls(&[At::Config, At::Layer, At::All]).await;
}

#[tokio::test]
async fn registries_that_take_nothing() {
    let mut problems = Vec::new();
    for row in PUSHES {
        problems.push((row.0, push_to(row).await));
    }
    report(&problems);
}

#[test]
fn there_are_many_and_each_has_a_name_of_its_own() {
    let mut names: Vec<&str> = PULLS.iter().map(|row| row.name).collect();
    names.extend(PUSHES.iter().map(|row| row.0));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(count >= 100, "{count}");
}
