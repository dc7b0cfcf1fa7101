//! The built-in registry, asked by our own client and by requests that no client makes.

use std::sync::Arc;
use std::time::Duration;

use orc_base::Kind;
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::digest::Digest;
use crate::image::Image;
use crate::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use crate::progress::Silent;
use crate::reference::Reference;
use crate::serve::options::ServeOptions;
use crate::serve::server::Server;
use crate::transfer::pull::PullOptions;
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::{Bench, assert_error, spoiled};

/// A machine that serves the fixture's image, under the name `test/app:1`.
struct Served {
    bench: Bench,
    server: Server,
    fixture: Fixture,
    image: Image,
}

impl Served {
    async fn new(writable: bool) -> Self {
        let fixture = Fixture::new(2);
        let source = spoiled(&fixture, |_, _, honest| honest).await;
        let bench = Bench::new();
        let image = bench.pull(&source).await.unwrap();
        let name = Reference::parse("test/app:1").unwrap();
        bench.store.tag(image.id.as_str(), &name).unwrap();
        let options = ServeOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            writable,
            tls: None,
            in_use: Arc::new(|_| None),
        };
        let server = Server::start(&bench.store, options).await.unwrap();
        Self {
            bench,
            server,
            fixture,
            image,
        }
    }

    fn host(&self) -> String {
        self.server.address().to_string()
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let url = match path.starts_with("http://") {
            true => path.to_owned(),
            false => format!("http://{}{path}", self.host()),
        };
        let mut request = client.request(method, url).body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[], b"").await
    }

    /// The status and the specification's code of a refusal.
    async fn refuses(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        refusal(self.ask(method, path, &[], body).await).await
    }

    /// Begins an upload, and gives its address.
    async fn upload(&self) -> String {
        let begun = self.ask("POST", "/v2/x/blobs/uploads/", &[], b"").await;
        assert_eq!(begun.status(), 202);
        begun.headers()["location"].to_str().unwrap().to_owned()
    }
}

async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let error = &body["errors"][0];
    assert!(error["message"].is_string(), "{body}");
    (status, error["code"].as_str().unwrap().to_owned())
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn another_machine_gets_the_same_image() {
    let served = Served::new(false).await;
    let other = Bench::new();
    for name in [
        format!("{}/test/app:1", served.host()),
        format!("{}/test/app@{}", served.host(), served.image.manifest),
    ] {
        let options = PullOptions::default();
        let image = other.pull_with(&name, &options, &Silent).await.unwrap();
        assert_eq!(image.id, served.image.id);
        assert_eq!(image.manifest, served.image.manifest);
    }
    let name = format!("{}/test/app:none", served.host());
    let missing = other
        .pull_with(&name, &PullOptions::default(), &Silent)
        .await;
    assert_error(
        &missing.unwrap_err(),
        Kind::NotFound,
        "test/app:none is not an image",
    );
    let push = other
        .push(
            &served.image,
            &format!("{}/test/app:2", served.host()),
            &[],
            None,
        )
        .await;
    // Its blobs are there, so only the manifest is refused.
    assert_error(&push.unwrap_err(), Kind::Invalid, "--writable");
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled_and_removed() {
    let served = Served::new(true).await;
    let fixture = Fixture::new(3);
    let source = spoiled(&fixture, |_, _, honest| honest).await;
    let sender = Bench::new();
    let image = sender.pull(&source).await.unwrap();
    let name = format!("{}/up/load:3", served.host());
    sender.push(&image, &name, &[], None).await.unwrap();
    // Whoever pushes gives no other name of the machine another meaning.
    let kept = served.bench.store.find(image.id.as_str()).unwrap();
    let names: Vec<String> = kept.references.iter().map(Reference::familiar).collect();
    assert_eq!(names, ["registry.orc.internal/up/load:3"]);

    let receiver = Bench::new();
    let received = receiver
        .pull_with(&name, &PullOptions::default(), &Silent)
        .await
        .unwrap();
    assert_eq!(received.manifest, image.manifest);

    let path = format!("/v2/up/load/manifests/{}", image.manifest);
    assert_eq!(served.ask("DELETE", &path, &[], b"").await.status(), 202);
    assert_eq!(
        served
            .refuses("GET", "/v2/up/load/manifests/3", b"")
            .await
            .0,
        404
    );
    assert_eq!(served.refuses("DELETE", &path, b"").await.0, 404);
    let removed = served.bench.store.find(image.id.as_str());
    assert_eq!(removed.unwrap_err().kind(), Kind::NotFound);
    // What was not pushed here is not removed from here.
    let theirs = served
        .refuses("DELETE", "/v2/test/app/manifests/1", b"")
        .await;
    assert_eq!(theirs, (404, "MANIFEST_UNKNOWN".into()));
    served.bench.store.find("test/app:1").unwrap();
}

#[tokio::test]
async fn manifests_have_their_types_and_digests() {
    let served = Served::new(false).await;
    let bytes = &served.fixture.manifests["latest"].1;
    for path in [
        "/v2/test/app/manifests/1".to_owned(),
        format!("/v2/test/app/manifests/{}", served.image.manifest),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = served
                .ask(method, &path, &[("accept", OCI_MANIFEST)], b"")
                .await;
            assert_eq!(answer.status(), 200);
            assert_eq!(header(&answer, "content-type"), OCI_MANIFEST);
            assert_eq!(
                header(&answer, "docker-content-digest"),
                served.image.manifest.as_str()
            );
            assert_eq!(header(&answer, "content-length"), bytes.len().to_string());
            let body = answer.bytes().await.unwrap();
            assert_eq!(body.is_empty(), method == "HEAD");
            assert!(method == "HEAD" || body == *bytes);
        }
        let other = served
            .ask("GET", &path, &[("accept", DOCKER_MANIFEST)], b"")
            .await;
        assert_eq!(refusal(other).await, (404, "MANIFEST_UNKNOWN".into()));
        let both = format!("{DOCKER_MANIFEST}, {OCI_MANIFEST};q=0.5");
        let both = served.ask("GET", &path, &[("accept", &both)], b"").await;
        assert_eq!(both.status(), 200);
    }
}

#[tokio::test]
async fn blobs_come_in_parts() {
    let served = Served::new(false).await;
    let layer = &served.fixture.layers[0];
    let bytes = &served.fixture.blobs[layer];
    let path = format!("/v2/test/app/blobs/{layer}");
    for (range, status, part) in [
        ("bytes=0-9", 206, &bytes[..10]),
        ("bytes=100-", 206, &bytes[100..]),
        ("bytes=-7", 206, &bytes[bytes.len() - 7..]),
        ("lines=1-2", 200, &bytes[..]),
        ("bytes=99999999-", 416, &[]),
    ] {
        let answer = served.ask("GET", &path, &[("range", range)], b"").await;
        assert_eq!(answer.status(), status, "{range}");
        if status != 416 {
            assert_eq!(answer.bytes().await.unwrap(), part, "{range}");
        }
    }
    let head = served.ask("HEAD", &path, &[], b"").await;
    assert_eq!(header(&head, "content-length"), bytes.len().to_string());
    assert_eq!(header(&head, "docker-content-digest"), layer.as_str());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let served = Served::new(false).await;
    for tag in ["2", "3"] {
        let name = Reference::parse(&format!("test/app:{tag}")).unwrap();
        served.bench.store.tag("test/app:1", &name).unwrap();
    }
    let read = async |path: &str| -> (Value, String) {
        let answer = served.get(path).await;
        let link = answer.headers().get("link");
        let link = link.map(|link| link.to_str().unwrap().to_owned());
        let body = answer.bytes().await.unwrap();
        (
            serde_json::from_slice(&body).unwrap(),
            link.unwrap_or_default(),
        )
    };
    // The name with a port can only be asked for as a mirror's.
    let (catalog, _) = read("/v2/_catalog").await;
    assert_eq!(catalog["repositories"], serde_json::json!(["test/app"]));
    let (tags, link) = read("/v2/test/app/tags/list?n=2").await;
    assert_eq!(
        tags,
        serde_json::json!({"name": "test/app", "tags": ["1", "2"]})
    );
    assert_eq!(link, "</v2/test/app/tags/list?n=2&last=2>; rel=\"next\"");
    let (tags, link) = read("/v2/test/app/tags/list?n=2&last=2").await;
    assert_eq!(
        (&tags["tags"], link.as_str()),
        (&serde_json::json!(["3"]), "")
    );
    let missing = served.refuses("GET", "/v2/none/tags/list", b"").await;
    assert_eq!(missing, (404, "NAME_UNKNOWN".into()));
}

#[tokio::test]
async fn a_mirror_is_asked_for_names_with_ports() {
    let served = Served::new(false).await;
    let source = served
        .image
        .references
        .iter()
        .find(|name| name.registry().contains(':'));
    let registry = source.unwrap().registry();
    let found = served
        .get(&format!("/v2/test/app/manifests/latest?ns={registry}"))
        .await;
    assert_eq!(found.status(), 200);
    // As a mirror of another registry it does not have it.
    for ns in ["docker.io", "ghcr.io", "..", "a/b"] {
        let path = format!("/v2/test/app/manifests/latest?ns={ns}");
        let (status, _) = served.refuses("GET", &path, b"").await;
        assert!(matches!(status, 400 | 404), "{ns}");
    }
}

#[tokio::test]
async fn only_blobs_of_images_are_given_away() {
    let served = Served::new(false).await;
    let secret = Digest::of(b"a half-built image");
    let _ingest = served.bench.store.begin();
    served
        .bench
        .store
        .content()
        .write_whole(&secret, b"a half-built image")
        .unwrap();
    let path = format!("/v2/test/app/blobs/{secret}");
    assert_eq!(
        served.refuses("GET", &path, b"").await,
        (404, "BLOB_UNKNOWN".into())
    );
    let config = &served.image.id;
    assert_eq!(
        served
            .get(&format!("/v2/test/app/blobs/{config}"))
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn a_read_only_registry_changes_nothing() {
    let served = Served::new(false).await;
    let before = served.bench.files();
    for (method, path) in [
        ("POST", "/v2/x/blobs/uploads/"),
        ("PUT", "/v2/x/manifests/1"),
        ("DELETE", "/v2/test/app/manifests/1"),
    ] {
        let refused = served.refuses(method, path, b"").await;
        assert_eq!(refused, (405, "UNSUPPORTED".into()), "{method} {path}");
    }
    assert_eq!(served.bench.files(), before);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_broke_off() {
    let served = Served::new(true).await;
    let at = served.upload().await;
    let bytes = b"0123456789";
    let first = served
        .ask("PATCH", &at, &[("content-range", "0-3")], &bytes[..4])
        .await;
    assert_eq!(
        (first.status().as_u16(), header(&first, "range")),
        (202, "0-3")
    );
    let gap = served
        .ask("PATCH", &at, &[("content-range", "6-9")], &bytes[6..])
        .await;
    assert_eq!(header(&gap, "range"), "0-3");
    assert_eq!(refusal(gap).await.0, 416);
    let status = served.get(&at).await;
    assert_eq!(
        (status.status().as_u16(), header(&status, "range")),
        (204, "0-3")
    );
    let digest = Digest::of(bytes);
    let last = served
        .ask("PUT", &format!("{at}?digest={digest}"), &[], &bytes[4..])
        .await;
    assert_eq!(last.status(), 201);
    assert_eq!(header(&last, "docker-content-digest"), digest.as_str());
    let blob = served.get(&format!("/v2/x/blobs/{digest}")).await;
    assert_eq!(blob.bytes().await.unwrap(), &bytes[..]);
    assert_eq!(
        served.refuses("PATCH", &at, b"").await,
        (404, "BLOB_UPLOAD_UNKNOWN".into())
    );
    let whole = served
        .ask(
            "POST",
            &format!("/v2/x/blobs/uploads/?digest={}", Digest::of(b"one")),
            &[],
            b"one",
        )
        .await;
    assert_eq!(whole.status(), 201);
    let mounted = served
        .ask(
            "POST",
            &format!("/v2/y/blobs/uploads/?mount={digest}&from=x"),
            &[],
            b"",
        )
        .await;
    assert_eq!(mounted.status(), 201);
}

#[tokio::test]
async fn bad_pushes_leave_nothing() {
    let served = Served::new(true).await;
    let before = served.bench.files();
    let at = served.upload().await;
    let wrong = format!("{at}?digest={}", Digest::of(b"other"));
    assert_eq!(
        served.refuses("PUT", &wrong, b"bytes").await,
        (400, "DIGEST_INVALID".into())
    );
    for digest in [
        "",
        "?digest=sha256:..",
        "?digest=sha512:00",
        "?digest=/etc/passwd",
    ] {
        let at = served.upload().await;
        let refused = served.refuses("PUT", &format!("{at}{digest}"), b"x").await;
        assert_eq!(refused, (400, "DIGEST_INVALID".into()), "{digest}");
        assert_eq!(served.ask("DELETE", &at, &[], b"").await.status(), 204);
    }
    let elsewhere = served.upload().await.replace("/x/", "/y/");
    assert_eq!(served.refuses("PATCH", &elsewhere, b"x").await.0, 404);

    let missing = served.fixture.manifests["latest"].1.clone();
    let missing = String::from_utf8(missing)
        .unwrap()
        .replace(served.fixture.layers[0].hex(), Digest::of(b"?").hex());
    let large = vec![b' '; 5 << 20];
    for (body, kind, refused) in [
        (
            missing.as_bytes(),
            OCI_MANIFEST,
            (400, "MANIFEST_BLOB_UNKNOWN"),
        ),
        (b"{}", OCI_MANIFEST, (400, "MANIFEST_INVALID")),
        (b"<html>", "text/html", (400, "MANIFEST_INVALID")),
        (
            br#"{"schemaVersion":2,"manifests":[]}"#,
            crate::manifest::OCI_INDEX,
            (400, "UNSUPPORTED"),
        ),
        (
            served.fixture.manifests["latest"].1.as_slice(),
            DOCKER_MANIFEST,
            (400, "MANIFEST_INVALID"),
        ),
        (&large, OCI_MANIFEST, (413, "SIZE_INVALID")),
    ] {
        let answer = served
            .ask("PUT", "/v2/x/manifests/1", &[("content-type", kind)], body)
            .await;
        let (status, code) = refusal(answer).await;
        assert_eq!((status, code.as_str()), refused);
    }
    let path = format!("/v2/x/manifests/{}", Digest::of(b"other"));
    let answer = served
        .ask("PUT", &path, &[("content-type", OCI_MANIFEST)], b"{}")
        .await;
    assert_eq!(refusal(answer).await, (400, "DIGEST_INVALID".into()));
    served.ask("DELETE", &at, &[], b"").await;
    drop(served.server);
    for _ in 0..500 {
        if served.bench.files() == before {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(served.bench.files(), before);
}

#[tokio::test]
async fn uploads_are_counted() {
    let served = Served::new(true).await;
    for _ in 0..64 {
        served.upload().await;
    }
    let refused = served.refuses("POST", "/v2/x/blobs/uploads/", b"").await;
    assert_eq!(refused, (429, "TOOMANYREQUESTS".into()));
}

#[tokio::test]
async fn web_pages_are_refused() {
    let served = Served::new(true).await;
    for headers in [
        [("origin", "http://evil.example"), ("x", "y")],
        [("host", "evil.example"), ("x", "y")],
        [("host", ""), ("x", "y")],
    ] {
        let answer = served.ask("GET", "/v2/", &headers, b"").await;
        assert_eq!(refusal(answer).await, (403, "DENIED".into()), "{headers:?}");
    }
}

#[tokio::test]
async fn it_ends_when_nobody_wants_it() {
    let mut served = Served::new(false).await;
    served.get("/v2/").await;
    let answered = served.server.answered().await.unwrap();
    assert_eq!(
        (
            answered.method.as_str(),
            answered.path.as_str(),
            answered.status
        ),
        ("GET", "/v2/", 200)
    );
    let address = served.server.address();
    drop(served.server);
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("somebody still listens");
}

/// What is no HTTP, or too much of it, ends its own connection and nothing else.
#[tokio::test]
async fn clients_that_misbehave_harm_only_themselves() {
    let served = Served::new(true).await;
    let line = "X-Filler: yes\r\n";
    let endless = format!("GET /v2/ HTTP/1.1\r\n{}", line.repeat(100_000));
    let long = format!(
        "GET /v2/{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a".repeat(200_000)
    );
    let many = format!(
        "GET /v2/ HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        line.repeat(65)
    );
    for bytes in [
        "\0\0\0\0",
        "SSH-2.0-x\r\n\r\n",
        "GET /v2/\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        "PUT /v2/x/manifests/1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &endless,
        &long,
        &many,
    ] {
        let mut stream = TcpStream::connect(served.server.address()).await.unwrap();
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert!(read.is_ok(), "the connection stays open");
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
    // Connections that say nothing leave room for those who do.
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(served.server.address()).await.unwrap());
    }
    assert_eq!(served.get("/v2/").await.status(), 200);
}

#[tokio::test]
async fn a_push_whose_client_leaves_can_be_gone_on_with() {
    let served = Served::new(true).await;
    let at = served.upload().await;
    let mut stream = TcpStream::connect(served.server.address()).await.unwrap();
    let head = format!("PATCH {at} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[7; 1_000]).await.unwrap();
    stream.flush().await.unwrap();
    // What was sent is there, and then the connection breaks.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stream);
    let mut kept = String::new();
    for _ in 0..500 {
        let status = served.get(&at).await;
        assert_eq!(status.status(), 204);
        header(&status, "range").clone_into(&mut kept);
        if kept == "0-999" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(kept, "0-999");
    let bytes = [7; 1_500];
    let put = format!("{at}?digest={}", Digest::of(&bytes));
    let last = served.ask("PUT", &put, &[], &bytes[1_000..]).await;
    assert_eq!(last.status(), 201);
}
