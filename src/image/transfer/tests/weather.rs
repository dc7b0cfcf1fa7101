//! Connections that break, stall and flap (HAZARDS G10, F15).

use std::ffi::CString;
use std::time::Duration;

use orc_base::{Kind, fs};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::progress::Silent;
use crate::registry::config::RegistryConfig;
use crate::transfer::pull::PullOptions;
use crate::transfer::tests::fixture::{Fixture, ranged};
use crate::transfer::tests::scripted::{Reply, Server, Then};
use crate::transfer::tests::{Bench, assert_error, name, spoiled, spoiled_at};

/// Long enough for a busy machine to answer, short enough to wait for.
fn hasty(config: &mut RegistryConfig) {
    config.limits.stall = Duration::from_millis(700);
}

fn one_try(config: &mut RegistryConfig) {
    config.limits.tries = 1;
    config.limits.resumes = 0;
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    for then in [Then::Close, Then::Reset] {
        let fixture = Fixture::new(1);
        let layer = &fixture.layers[0];
        let server = spoiled_at(
            &fixture,
            Fixture::blob(layer),
            move |_, nth, honest| match nth {
                0 | 1 => honest.cut(100_000, then),
                _ => honest,
            },
        )
        .await;
        let bench = Bench::new();
        bench.pull(&server).await.unwrap();
        let starts: Vec<_> = server
            .requests()
            .iter()
            .filter(|request| request.path == Fixture::blob(layer))
            .map(crate::transfer::tests::scripted::Request::range_start)
            .collect();
        // A reset may eat bytes that were on their way.
        assert_eq!((starts.len(), starts[0]), (3, None), "{starts:?}");
        if then == Then::Close {
            assert_eq!(starts, [None, Some(100_000), Some(200_000)]);
        }
    }
}

#[tokio::test]
async fn a_stalled_download_goes_on_over_another_connection() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let server = spoiled_at(
        &fixture,
        Fixture::blob(&layer),
        |_, nth, honest| match nth {
            0 => honest.cut(100_000, Then::Stall),
            _ => honest,
        },
    )
    .await;
    Bench::with(hasty).pull(&server).await.unwrap();
    assert!(server.count("GET", layer.hex()) >= 2);
}

#[tokio::test]
async fn a_registry_that_only_stalls_is_given_up() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let server = spoiled_at(&fixture, Fixture::blob(&layer), |_, _, honest| {
        honest.cut(0, Then::Stall)
    })
    .await;
    let bench = Bench::with(hasty);
    let error = bench.pull(&server).await.unwrap_err();
    assert_error(&error, Kind::Timeout, "sent nothing for");
    assert!(bench.store.list().unwrap().is_empty());
    assert_eq!(server.count("GET", layer.hex()), 3);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "/v2/" => Reply::new(200, ""),
        _ => Reply::raw("").then(Then::Stall),
    })
    .await;
    let bench = Bench::with(|config| config.limits.answer = Duration::from_millis(700));
    let error = bench.refuses(&server).await;
    assert_error(&error, Kind::Timeout, "did not answer in time");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_document_that_trickles_is_given_up() {
    let fixture = Fixture::new(1);
    let path = Fixture::document("latest");
    let server = spoiled_at(&fixture, path, |_, _, _| {
        Reply::new(200, "{").then(Then::Trickle)
    })
    .await;
    let bench = Bench::with(|config| config.limits.document = Duration::from_millis(700));
    let error = bench.refuses(&server).await;
    assert_error(
        &error,
        Kind::Timeout,
        "did not send its whole answer in time",
    );
}

#[tokio::test]
async fn a_layer_that_trickles_is_given_up() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let server = spoiled_at(&fixture, Fixture::blob(&layer), |_, _, honest| {
        honest.cut(0, Then::Trickle)
    })
    .await;
    let bench = Bench::with(|config| {
        config.limits.slow_window = Duration::from_millis(400);
        config.limits.slow_bytes = 16 << 10;
    });
    let error = bench.pull(&server).await.unwrap_err();
    assert_error(&error, Kind::Timeout, "sends less than 16384 bytes");
    assert!(server.count("GET", layer.hex()) <= 3);
}

#[tokio::test]
async fn a_layer_in_tiny_pieces_ends_some_time() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let server = spoiled_at(&fixture, Fixture::blob(&layer), |_, _, honest| {
        honest.cut(10, Then::Close)
    })
    .await;
    let error = Bench::new().pull(&server).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    let tried = server.count("GET", layer.hex());
    assert!((20..=25).contains(&tried), "{tried}");
}

#[tokio::test]
async fn registries_that_do_not_resume_cost_time_only() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let bytes = fixture.blobs[&layer].clone();
    let total = bytes.len();
    type Rest = Box<dyn Fn(usize) -> Reply + Send + Sync>;
    let of = |bytes: &[u8]| bytes.to_vec();
    let (b0, b1, b2, b3, b4) = (of(&bytes), of(&bytes), of(&bytes), of(&bytes), of(&bytes));
    let with_range =
        move |bytes: &[u8], range: String| Reply::new(206, bytes).header("Content-Range", range);
    let cases: Vec<(&str, Rest)> = vec![
        (
            "200 from the start",
            Box::new(move |_| Reply::new(200, b0.clone())),
        ),
        (
            "another range",
            Box::new(move |start| {
                let range = format!("bytes {}-{}/{total}", start - 1, total - 1);
                with_range(&b1[start - 1..], range)
            }),
        ),
        (
            "another total",
            Box::new(move |start| {
                let range = format!("bytes {start}-{}/{}", total - 1, total + 1);
                with_range(&b2[start..], range)
            }),
        ),
        (
            "no range",
            Box::new(move |start| Reply::new(206, &b3[start..])),
        ),
        ("416", Box::new(|_| Reply::new(416, ""))),
        (
            "*",
            Box::new(move |start| {
                with_range(&b4[start..], format!("bytes {start}-{}/*", total - 1))
            }),
        ),
    ];
    for (case, rest) in cases {
        let server = spoiled_at(
            &fixture,
            Fixture::blob(&layer),
            move |request, nth, honest| match (nth, request.range_start()) {
                (0, _) => honest.cut(100_000, Then::Close),
                (_, Some(start)) => rest(start),
                (_, None) => honest,
            },
        )
        .await;
        let image = Bench::new().pull(&server).await;
        assert!(image.is_ok(), "{case}: {image:?}");
    }
}

#[tokio::test]
async fn a_download_goes_on_after_a_restart() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let server = spoiled_at(
        &fixture,
        Fixture::blob(&layer),
        |_, nth, honest| match nth {
            0 => honest.cut(100_000, Then::Close),
            _ => honest,
        },
    )
    .await;
    let bench = Bench::with(one_try);
    let error = bench.pull(&server).await.unwrap_err();
    assert_error(&error, Kind::Unavailable, layer.short());
    let bench = bench.restarted(|_| {});
    bench.pull(&server).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.last().unwrap().range_start(), Some(100_000));
}

#[tokio::test]
async fn what_a_crash_damaged_is_fetched_anew() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let server = spoiled_at(
        &fixture,
        Fixture::blob(&layer),
        |_, nth, honest| match nth {
            0 => honest.cut(100_000, Then::Close),
            _ => honest,
        },
    )
    .await;
    let bench = Bench::with(one_try);
    bench.pull(&server).await.unwrap_err();
    let partial = bench.files();
    let partial = partial
        .iter()
        .find(|file| file.contains("/partial/"))
        .unwrap();
    let partial = std::path::Path::new(partial);
    let mut bytes = fs::read_limited(partial, 1 << 20).unwrap();
    bytes[5] ^= 1;
    std::fs::write(partial, bytes).unwrap();
    let bench = bench.restarted(|_| {});
    bench.pull(&server).await.unwrap();
    assert_eq!(server.requests().last().unwrap().range_start(), None);
}

#[tokio::test]
async fn flapping_registries_are_asked_again() {
    for status in [500, 502, 503, 504, 429] {
        let fixture = Fixture::new(2);
        let server = spoiled(&fixture, move |request, nth, honest| {
            match (request.path.as_str(), nth) {
                ("/v2/", _) => honest,
                (_, 0 | 1) => Reply::new(status, "sorry"),
                _ => honest,
            }
        })
        .await;
        let image = Bench::new().pull(&server).await;
        assert!(image.is_ok(), "{status}: {image:?}");
    }
}

#[tokio::test]
async fn errors_that_stay_are_given_up_and_told() {
    for (status, kind, tries, text) in [
        (500, Kind::Unavailable, 3, "failed (500"),
        (501, Kind::Unavailable, 1, "failed (501"),
        (503, Kind::Unavailable, 3, "failed (503"),
        (504, Kind::Timeout, 3, "gave up waiting (504)"),
        (429, Kind::Unavailable, 3, "too many requests (429)"),
        (
            400,
            Kind::Invalid,
            1,
            "refuses the request for test/app (400",
        ),
        (403, Kind::Denied, 1, "denies access to test/app (403)"),
        (404, Kind::NotFound, 1, "check the name and the tag"),
        (418, Kind::Invalid, 1, "refuses the request"),
        (304, Kind::Invalid, 1, "refuses the request"),
    ] {
        let server = Server::start(move |request, _| match request.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => Reply::new(status, ""),
        })
        .await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, kind, text);
        assert_eq!(server.requests().len(), tries, "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_heeded_within_reason() {
    for (value, tries) in [
        ("0", 3),
        ("junk", 3),
        ("-5", 3),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 3),
        ("3600", 1),
        ("99999999999999999999999999", 1),
        ("Wed, 31 Dec 2200 23:59:59 GMT", 1),
    ] {
        let server = Server::start(move |request, _| match request.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => Reply::new(429, "").header("Retry-After", value),
        })
        .await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, Kind::Unavailable, "try again");
        assert_eq!(server.requests().len(), tries, "{value}");
    }
}

#[tokio::test]
async fn garbage_is_not_http() {
    for garbage in [
        "",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "\0\0\0\0",
    ] {
        let server = Server::start(move |request, _| match request.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => Reply::raw(garbage),
        })
        .await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, Kind::Unavailable, "registry 127.0.0.1:");
    }
}

#[tokio::test]
async fn a_broken_manifest_is_asked_for_again() {
    for then in [Then::Close, Then::Reset] {
        let fixture = Fixture::new(1);
        let path = Fixture::document("latest");
        let server = spoiled_at(&fixture, path, move |_, nth, honest| match nth {
            0 => honest.cut(20, then),
            _ => honest,
        })
        .await;
        Bench::new().pull(&server).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_at_home_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let bench = Bench::new();
    let name = format!("{address}/test/app");
    let error = bench
        .pull_with(&name, &PullOptions::default(), &Silent)
        .await;
    let text = format!(
        "pull {address}/test/app:latest: registry {address} did not answer: connection refused"
    );
    assert_error(&error.unwrap_err(), Kind::Unavailable, &text);
    bench.becomes_empty().await;
}

#[tokio::test]
async fn a_name_nobody_knows_is_said_so() {
    // RFC 6761: never resolves. How that comes out depends on the machine's resolver.
    let bench = Bench::new();
    let options = PullOptions::default();
    let error = bench
        .pull_with("registry.invalid/a", &options, &Silent)
        .await
        .unwrap_err();
    assert!(
        matches!(error.kind(), Kind::Unavailable | Kind::Timeout),
        "{error}"
    );
    assert!(
        error.to_string().contains("registry registry.invalid "),
        "{error}"
    );
    bench.becomes_empty().await;
}

#[tokio::test]
async fn a_cancelled_pull_leaves_what_the_next_one_needs() {
    let fixture = Fixture::new(1);
    let layer = fixture.layers[0].clone();
    let server = spoiled_at(
        &fixture,
        Fixture::blob(&layer),
        |_, nth, honest| match nth {
            0 => honest.cut(100_000, Then::Stall),
            _ => honest,
        },
    )
    .await;
    let bench = Bench::new();
    {
        let pull = bench.pull(&server);
        tokio::pin!(pull);
        let far_enough = async {
            while !bench.files().iter().any(|file| {
                file.contains("/partial/")
                    && std::fs::metadata(file).is_ok_and(|m| m.len() == 100_000)
            }) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = &mut pull => panic!("ended by itself"),
            () = far_enough => {}
        }
    }
    bench.pull(&server).await.unwrap();
    let last = server.requests().last().cloned().unwrap();
    assert_eq!(last.range_start(), Some(100_000));
    let name = name(&server, ":latest");
    assert_eq!(bench.store.find(&name).unwrap().id, fixture.config);
}

/// A file system of its own, so small that it is soon full.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let options = CString::new(format!("size={size}")).unwrap();
        let flags = MountFlags::empty();
        rustix::mount::mount("tmpfs", disk.0.path(), "tmpfs", flags, &*options).unwrap();
        disk
    }

    fn grow(&self, size: &str) {
        let options = CString::new(format!("size={size}")).unwrap();
        rustix::mount::mount_remount(self.0.path(), MountFlags::empty(), &*options).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_is_said_so_and_emptied() {
    let fixture = Fixture::new(3);
    let server = spoiled(&fixture, |_, _, honest| honest).await;
    // Three layers have 256 KiB each, compressed and unpacked: the first disk ends in the download,
    // the second in the unpacking.
    for size in ["200k", "900k"] {
        let disk = SmallDisk::new(size);
        let bench = Bench::at(disk.0.path(), |_| {});
        let error = bench.refuses(&server).await;
        assert_error(&error, Kind::Exhausted, "no space left on device");
        disk.grow("16m");
        bench.pull(&server).await.unwrap();
    }
}

#[tokio::test]
async fn an_honest_range_is_what_the_fixture_serves() {
    let server = Server::start(|request, _| ranged(request, b"0123456789")).await;
    let url = format!("http://{}/x", server.host());
    let get = async |range: &str| {
        let request = reqwest::Client::builder().no_proxy().build();
        let response = request.unwrap().get(&url).header("Range", range).send();
        let response = response.await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert_eq!(get("bytes=4-").await, (206, "456789".into()));
    assert_eq!(get("bytes=10-").await, (416, String::new()));
}
