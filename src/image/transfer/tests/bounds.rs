//! Bodies without an end, and other things without a bound (HAZARDS G8, U5's cousins on the wire).

use orc_base::Kind;

use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::scripted::{Reply, Server, Then};
use crate::transfer::tests::{Bench, assert_error, spoiled_at};

fn endless(status: u16) -> Reply {
    Reply::new(status, "{").then(Then::Endless)
}

#[tokio::test]
async fn a_manifest_without_an_end_is_refused() {
    let fixture = Fixture::new(1);
    let path = Fixture::document("latest");
    let server = spoiled_at(&fixture, path, |_, _, _| endless(200)).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Exhausted, "more than 4194304 bytes");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_manifest_that_announces_too_much_is_not_read() {
    let fixture = Fixture::new(1);
    let path = Fixture::document("latest");
    let server = spoiled_at(&fixture, path, |_, _, _| {
        Reply::new(200, "{").claims(1 << 40).then(Then::Stall)
    })
    .await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Exhausted, "more than 4194304 bytes");
}

#[tokio::test]
async fn a_config_without_an_end_is_refused() {
    let fixture = Fixture::new(1);
    let path = Fixture::blob(&fixture.config);
    let server = spoiled_at(&fixture, path, |_, _, _| endless(200)).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Exhausted, "answers with more than");
}

#[tokio::test]
async fn a_layer_without_an_end_is_refused() {
    let fixture = Fixture::new(1);
    let path = Fixture::blob(&fixture.layers[0]);
    let server = spoiled_at(&fixture, path, |_, _, _| endless(200)).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "comes with more than");
    assert_eq!(server.count("GET", fixture.layers[0].hex()), 1);
}

#[tokio::test]
async fn an_error_without_an_end_is_still_that_error() {
    for (status, kind) in [
        (404, Kind::NotFound),
        (403, Kind::Denied),
        (500, Kind::Unavailable),
        (400, Kind::Invalid),
    ] {
        let server = Server::start(move |request, _| match request.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => endless(status),
        })
        .await;
        let error = Bench::new().refuses(&server).await;
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn a_greeting_without_an_end_is_not_read() {
    let fixture = Fixture::new(1);
    let server = spoiled_at(&fixture, "/v2/".into(), |_, _, _| endless(200)).await;
    Bench::new().pull(&server).await.unwrap();
}

#[tokio::test]
async fn a_token_without_an_end_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let server = Server::on(listener, move |request, _| {
        match request.path.starts_with("/token") {
            true => endless(200),
            false => Reply::challenge(format!("Bearer realm=\"{realm}\"")),
        }
    });
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Exhausted, "more than 1048576 bytes");
    assert_eq!(server.count("GET", "/token"), 1);
}

#[tokio::test]
async fn heads_without_an_end_are_refused() {
    let bomb = |line: &str| format!("HTTP/1.1 200 OK\r\n{}", line.repeat(1 << 16));
    for head in [bomb("X-Filler: yes\r\n"), bomb("X-Filler-without-an-end")] {
        let server = Server::start(move |request, _| match request.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => Reply::raw(head.clone()).then(Then::Endless),
        })
        .await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, Kind::Unavailable, "broke");
    }
}
