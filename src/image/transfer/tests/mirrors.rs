//! Mirrors: asked first, trusted with nothing, and left when they fail.

use orc_base::{Error, Kind, Result};

use crate::credentials::Credentials;
use crate::image::Image;
use crate::reference::Reference;
use crate::registry::config::{HostConfig, Mirror, RegistryConfig};
use crate::registry::session::{Access, Session};
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::scripted::{Reply, Server, Then};
use crate::transfer::tests::{Bench, assert_error, spoiled, spoiled_at};

fn mirrored(config: &mut RegistryConfig, of: &Server, mirrors: &[&Server]) {
    let mirrors = mirrors
        .iter()
        .map(|mirror| Mirror::parse(&mirror.host()).unwrap());
    let host = HostConfig {
        mirrors: mirrors.collect(),
        ..HostConfig::default()
    };
    config.hosts.insert(of.host(), host);
}

async fn pull(upstream: &Server, mirrors: &[&Server]) -> Result<Image> {
    let bench = Bench::with(|config| mirrored(config, upstream, mirrors));
    let image = bench.pull(upstream).await;
    if image.is_err() {
        bench.becomes_empty().await;
    }
    image
}

#[tokio::test]
async fn a_mirror_is_enough() {
    let fixture = Fixture::new(2);
    let mirror = Server::start({
        let fixture = fixture.clone();
        move |request, _| {
            let mut plain = request.clone();
            plain.path = request.path.split('?').next().unwrap().to_owned();
            fixture.honest(&plain)
        }
    })
    .await;
    let upstream = Server::start(|_, _| Reply::new(500, "")).await;
    let image = pull(&upstream, &[&mirror]).await.unwrap();
    // It has the name of the registry, and the registry was not asked.
    assert_eq!(image.manifest, fixture.manifest);
    assert_eq!(image.references[0].registry(), upstream.host());
    assert!(upstream.requests().is_empty());
    let of = format!("?ns={}", upstream.host().replace(':', "%3A"));
    assert!(
        mirror
            .requests()
            .iter()
            .all(|request| request.path.ends_with(&of))
    );
}

/// Mirrors that are no help; the image comes from the registry all the same.
#[tokio::test]
async fn a_mirror_that_fails_is_left() {
    type Bad = fn() -> Reply;
    let bad: [(&str, Bad); 8] = [
        ("has nothing", || Reply::new(404, "")),
        ("lets nobody in", || Reply::new(403, "")),
        ("wants an account", || Reply::challenge("Basic realm=\"x\"")),
        ("fails", || Reply::new(500, "")),
        ("is a web page", || Reply::new(200, "<!doctype html>")),
        ("speaks something else", || Reply::raw("SSH-2.0-x\r\n")),
        ("sends on to a file", || {
            Reply::redirect(302, "file:///etc/passwd")
        }),
        ("has no end", || Reply::new(200, "{").then(Then::Endless)),
    ];
    for (name, bad) in bad {
        let fixture = Fixture::new(1);
        let mirror = Server::start(move |_, _| bad()).await;
        let upstream = spoiled(&fixture, |_, _, honest| honest).await;
        let image = pull(&upstream, &[&mirror]).await;
        assert!(image.is_ok(), "a mirror that {name}: {image:?}");
        assert!(mirror.requests().len() <= 4, "{name}");
    }
}

#[tokio::test]
async fn a_mirror_that_is_not_there_is_left() {
    let gone = Server::start(|_, _| Reply::new(200, "")).await;
    let host = gone.host();
    drop(gone);
    let upstream = spoiled(&Fixture::new(1), |_, _, honest| honest).await;
    let bench = Bench::with(|config| {
        let host = HostConfig {
            mirrors: vec![Mirror::parse(&host).unwrap()],
            ..HostConfig::default()
        };
        config.hosts.insert(upstream.host(), host);
    });
    bench.pull(&upstream).await.unwrap();
}

#[tokio::test]
async fn the_order_is_kept_and_nobody_is_asked_twice() {
    let fixture = Fixture::new(3);
    let first = Server::start(|_, _| Reply::new(404, "")).await;
    // Has the manifest and no blobs.
    let second = Server::start({
        let fixture = fixture.clone();
        move |request, _| {
            let mut plain = request.clone();
            plain.path = request.path.split('?').next().unwrap().to_owned();
            match plain.path.contains("/blobs/") {
                true => Reply::new(404, ""),
                false => fixture.honest(&plain),
            }
        }
    })
    .await;
    let upstream = spoiled(&fixture, |_, _, honest| honest).await;
    pull(&upstream, &[&first, &second]).await.unwrap();
    assert_eq!(first.requests().len(), 1);
    assert_eq!(second.count("GET", "/manifests/"), 1);
    assert_eq!(upstream.count("GET", "/manifests/"), 0);
    for layer in &fixture.layers {
        assert_eq!(upstream.count("GET", layer.hex()), 1);
    }
}

#[tokio::test]
async fn a_download_goes_on_at_the_registry() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let mirror = Server::start({
        let fixture = fixture.clone();
        move |request, nth| {
            let mut plain = request.clone();
            plain.path = request.path.split('?').next().unwrap().to_owned();
            let honest = fixture.honest(&plain);
            match plain.path == Fixture::blob(&fixture.layers[0]) && nth == 0 {
                true => honest.cut(100_000, Then::Close),
                false if plain.path.contains("/blobs/") && nth > 0 => Reply::new(500, ""),
                false => honest,
            }
        }
    })
    .await;
    let upstream = spoiled(&fixture, |_, _, honest| honest).await;
    pull(&upstream, &[&mirror]).await.unwrap();
    let rest = upstream.requests();
    let rest = rest
        .iter()
        .find(|request| request.path.contains(layer.hex()));
    assert_eq!(rest.unwrap().range_start(), Some(100_000));
}

#[tokio::test]
async fn a_mirror_sees_no_password_of_the_registry() {
    const BASIC: &str = "Basic YW5uOnMzY3IzdA==";
    let fixture = Fixture::new(1);
    let mirror = Server::start(|_, _| Reply::challenge("Basic realm=\"give it to me\"")).await;
    let upstream = spoiled(&fixture, |request, _, honest| {
        match request.header("authorization") {
            Some(BASIC) => honest,
            _ => Reply::challenge("Basic realm=\"test\""),
        }
    })
    .await;
    let bench = Bench::with(|config| mirrored(config, &upstream, &[&mirror]));
    let ann = Some(Credentials::basic("ann", "s3cr3t"));
    bench.pull_as(&upstream, ann).await.unwrap();
    assert_eq!(mirror.authorizations(), [""; 0]);
    assert!(!upstream.authorizations().is_empty());
}

#[tokio::test]
async fn what_a_mirror_makes_up_is_not_taken() {
    // A pin is compared, whoever answers: then the registry is asked.
    let fixture = Fixture::new(1);
    let lie = Fixture::new(1);
    let mirror = Server::start(move |request, _| {
        let bytes = lie.manifests["latest"].1.clone();
        match request.path.contains("/manifests/") {
            true => Reply::new(200, bytes).header("Content-Type", crate::manifest::OCI_MANIFEST),
            false => Reply::new(200, "{}"),
        }
    })
    .await;
    let upstream = spoiled(&fixture, |_, _, honest| honest).await;
    let bench = Bench::with(|config| mirrored(config, &upstream, &[&mirror]));
    let name = format!("{}/test/app@{}", upstream.host(), fixture.manifest);
    let options = crate::transfer::pull::PullOptions::default();
    let image = bench
        .pull_with(&name, &options, &crate::progress::Silent)
        .await;
    assert_eq!(image.unwrap().manifest, fixture.manifest);
}

#[tokio::test]
async fn wrong_bytes_of_a_mirror_are_asked_of_the_registry() {
    let fixture = Fixture::new(3);
    let mirror = Server::start({
        let fixture = fixture.clone();
        move |request, _| {
            let mut plain = request.clone();
            plain.path = request.path.split('?').next().unwrap().to_owned();
            let mut honest = fixture.honest(&plain);
            if plain.path.contains(fixture.layers[1].hex()) {
                honest.body[5_000] ^= 1;
            }
            honest
        }
    })
    .await;
    let upstream = spoiled(&fixture, |_, _, honest| honest).await;
    let image = pull(&upstream, &[&mirror]).await.unwrap();
    assert_eq!(image.layers, fixture.diff_ids);
    assert_eq!(upstream.count("GET", fixture.layers[1].hex()), 1);
    assert_eq!(mirror.count("GET", fixture.layers[1].hex()), 1);

    // And where the registry lies too, that is the end.
    let lie = fixture.clone();
    let upstream = spoiled(&fixture, move |request, _, mut honest| {
        if request.path == Fixture::blob(&lie.layers[1]) {
            honest.body[5_000] ^= 1;
        }
        honest
    })
    .await;
    let error = pull(&upstream, &[&mirror]).await.unwrap_err();
    assert_error(&error, Kind::Invalid, "not what was announced");
}

#[tokio::test]
async fn when_all_fail_the_registry_has_the_last_word() {
    let mirror = Server::start(|_, _| Reply::new(500, "")).await;
    let upstream = Server::start(|request, _| match request.path.as_str() {
        "/v2/" => Reply::new(200, ""),
        _ => Reply::new(404, ""),
    })
    .await;
    let error: Error = pull(&upstream, &[&mirror]).await.unwrap_err();
    assert_error(&error, Kind::NotFound, "check the name and the tag");
}

#[tokio::test]
async fn pushes_go_to_the_registry() {
    let mirror = Server::start(|_, _| Reply::new(500, "")).await;
    let source = spoiled(&Fixture::new(1), |_, _, honest| honest).await;
    let upstream = Server::start(|request, _| match request.method.as_str() {
        "POST" | "PUT" => Reply::new(201, "").header("Location", "/x"),
        _ => Reply::new(200, ""),
    })
    .await;
    let bench = Bench::with(|config| mirrored(config, &upstream, &[&mirror]));
    let image = bench.pull(&source).await.unwrap();
    let name = format!("{}/test/app:1", upstream.host());
    bench.push(&image, &name, &[], None).await.unwrap();
    assert!(mirror.requests().is_empty());
}

#[tokio::test]
async fn logins_are_checked_by_the_registry() {
    let server = Server::start(|request, _| match request.header("authorization") {
        Some("Basic YW5uOnMzY3IzdA==") => Reply::new(200, "{}"),
        _ => Reply::challenge("Basic realm=\"test\""),
    })
    .await;
    let log_in = async |password: &str| -> Result<()> {
        let account = Credentials::basic("ann", password);
        let bench = Bench::new();
        Session::with_registry(&bench.http, &server.host(), account)
            .await?
            .check_login()
            .await
    };
    log_in("s3cr3t").await.unwrap();
    let error = log_in("wr0ng").await.unwrap_err();
    assert_error(&error, Kind::Denied, "refuses this login (401)");
    assert!(!error.to_string().contains("wr0ng"));
}

async fn tags(server: &Server) -> Result<Vec<String>> {
    let bench = Bench::new();
    let reference = Reference::parse(&format!("{}/test/app", server.host())).unwrap();
    Session::open(&bench.http, &reference, Access::Pull, &[], None)
        .await?
        .tags(&reference)
        .await
}

#[tokio::test]
async fn tags_come_page_by_page() {
    let server = Server::start(|request, _| {
        let page = |tags: &str| Reply::new(200, format!(r#"{{"name":"test/app","tags":{tags}}}"#));
        match request.path.as_str() {
            "/v2/test/app/tags/list?n=1000" => {
                page(r#"["a","b"]"#).header("Link", "</v2/test/app/tags/list?last=b>; rel=\"next\"")
            }
            "/v2/test/app/tags/list?n=1000&last=b" => page(r#"["c"]"#),
            "/v2/" => Reply::new(200, ""),
            _ => Reply::new(400, ""),
        }
    })
    .await;
    assert_eq!(tags(&server).await.unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn bad_lists_of_tags_are_refused() {
    type Bad = fn() -> Reply;
    let bad: [(&str, Bad, Kind, &str); 6] = [
        (
            "no end",
            || Reply::new(200, "{").then(Then::Endless),
            Kind::Exhausted,
            "more than 1048576 bytes",
        ),
        (
            "a path",
            || Reply::new(200, r#"{"tags":["../x"]}"#),
            Kind::Invalid,
            "a tag is letters",
        ),
        (
            "a web page",
            || Reply::new(200, "<html>"),
            Kind::Invalid,
            "cannot be read",
        ),
        (
            "numbers",
            || Reply::new(200, r#"{"tags":[1]}"#),
            Kind::Invalid,
            "cannot be read",
        ),
        (
            "nothing",
            || Reply::new(404, ""),
            Kind::NotFound,
            "has no repository test/app",
        ),
        ("no right", || Reply::new(403, ""), Kind::Denied, "(403)"),
    ];
    for (name, bad, kind, says) in bad {
        let server = spoiled_at(
            &Fixture::new(1),
            "/v2/test/app/tags/list?n=1000".into(),
            move |_, _, _| bad(),
        )
        .await;
        let error = tags(&server).await.expect_err(name);
        assert_error(&error, kind, says);
    }
    // Page after page without an end: the same one each time, and ever new ones.
    let same =
        Server::start(|_, _| Reply::new(200, r#"{"tags":["a"]}"#).header("Link", "<x>")).await;
    assert_eq!(tags(&same).await.unwrap(), ["a"]);
    let count = std::sync::atomic::AtomicUsize::new(0);
    let new = Server::start(move |_, _| {
        let nth = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Reply::new(200, format!(r#"{{"tags":["t{nth}"]}}"#)).header("Link", "<x>")
    })
    .await;
    assert_error(&tags(&new).await.unwrap_err(), Kind::Exhausted, "more tags");
    assert!(new.requests().len() <= 101);
}
