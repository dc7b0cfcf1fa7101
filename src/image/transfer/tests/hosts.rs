//! Secrets and requests go where they belong and nowhere else (HAZARDS G3, G5, G9).

use orc_base::Kind;

use crate::credentials::Credentials;
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::scripted::{Reply, Request, Server};
use crate::transfer::tests::{Bench, assert_error, spoiled, spoiled_at};

fn ann() -> Option<Credentials> {
    Some(Credentials::basic("ann", "s3cr3t"))
}

/// `ann:s3cr3t`.
const BASIC: &str = "Basic YW5uOnMzY3IzdA==";

/// Lets nobody in without the password.
fn guarded(request: &Request, honest: Reply) -> Reply {
    match request.header("authorization") {
        Some(BASIC) => honest,
        _ => Reply::challenge("Basic realm=\"test\""),
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_secret_along() {
    for status in [301, 302, 303, 307, 308] {
        let fixture = Fixture::new(1);
        let storage = fixture.clone();
        let storage = Server::start(move |request, _| storage.honest(request)).await;
        let target = format!("http://{}", storage.host());
        let server = spoiled(&fixture, move |request, _, honest| {
            match request.path.contains("/blobs/") && request.header("authorization").is_some() {
                true => Reply::redirect(status, format!("{target}{}", request.path)),
                false => guarded(request, honest),
            }
        })
        .await;
        Bench::new().pull_as(&server, ann()).await.unwrap();
        assert_eq!(storage.requests().len(), 2, "{status}");
        assert_eq!(storage.authorizations(), [""; 0], "{status}");
        assert!(server.authorizations().iter().all(|value| value == BASIC));
    }
}

#[tokio::test]
async fn a_redirect_on_the_same_host_takes_them_along() {
    let fixture = Fixture::new(1);
    let server = spoiled(&fixture, |request, nth, honest| {
        match request.header("authorization").is_some() && nth == 1 {
            true => Reply::redirect(307, request.path.clone()),
            false => guarded(request, honest),
        }
    })
    .await;
    Bench::new().pull_as(&server, ann()).await.unwrap();
}

#[tokio::test]
async fn the_greeting_is_anonymous() {
    let fixture = Fixture::new(1);
    let server = spoiled(&fixture, |request, _, honest| guarded(request, honest)).await;
    Bench::new().pull_as(&server, ann()).await.unwrap();
    let first = server.requests()[0].clone();
    assert_eq!(first.header("authorization"), None);
}

#[tokio::test]
async fn redirects_lead_only_so_far() {
    for (to, text) in [
        (
            "/v2/test/app/manifests/latest",
            "sends on more than 5 times",
        ),
        (
            "http://169.254.169.254/latest/meta-data",
            "inside this machine or on its link",
        ),
        (
            "http://storage.example/x",
            "plain HTTP address that is not listed",
        ),
        ("file:///etc/passwd", "not an address on the web"),
        ("unix:///run/orc.sock", "not an address on the web"),
        ("http://ann:pw@127.0.0.1:1/x", "with a login in the address"),
        ("http://[", "not a URL"),
    ] {
        let fixture = Fixture::new(1);
        let path = Fixture::document("latest");
        let server = spoiled_at(&fixture, path, move |_, _, _| Reply::redirect(302, to)).await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, Kind::Invalid, text);
        assert!(server.requests().len() <= 6, "{to}");
    }
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_answer_like_others() {
    let fixture = Fixture::new(1);
    let path = Fixture::document("latest");
    let server = spoiled_at(&fixture, path, |_, _, _| Reply::new(302, "")).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Invalid, "(302 Found)");
}

#[tokio::test]
async fn five_hops_are_fine() {
    let inner = Fixture::new(1);
    let server = Server::start(move |request, _| match request.path.as_str() {
        "/hop/0" => {
            let mut request = request.clone();
            request.path = Fixture::document("latest");
            inner.honest(&request)
        }
        path if path.starts_with("/hop/") => {
            let left: usize = path["/hop/".len()..].parse().unwrap();
            Reply::redirect(302, format!("/hop/{}", left - 1))
        }
        path if path == Fixture::document("latest") => Reply::redirect(302, "/hop/4"),
        _ => inner.honest(request),
    })
    .await;
    Bench::new().pull(&server).await.unwrap();
}

#[tokio::test]
async fn a_storage_that_refuses_is_not_logged_in_to() {
    let fixture = Fixture::new(1);
    let storage = Server::start(|_, _| Reply::challenge("Basic realm=\"give it to me\"")).await;
    let target = format!("http://{}", storage.host());
    let server = spoiled(&fixture, move |request, _, honest| {
        match request.path.contains("/blobs/") && request.header("authorization").is_some() {
            true => Reply::redirect(307, format!("{target}{}", request.path)),
            false => guarded(request, honest),
        }
    })
    .await;
    let error = Bench::new().pull_as(&server, ann()).await.unwrap_err();
    assert_error(&error, Kind::Unavailable, "keeps its data refuses (401");
    assert_eq!(storage.authorizations(), [""; 0]);
}

#[tokio::test]
async fn secrets_that_come_back_are_not_printed() {
    let server = Server::start(|request, _| {
        let sent = request.header("authorization").unwrap_or_default();
        let body =
            format!(r#"{{"errors":[{{"code":"DENIED","message":"not {sent}, not s3cr3t"}}]}}"#);
        match sent {
            "" => Reply::challenge("Basic realm=\"test\""),
            _ => Reply::new(403, body),
        }
    })
    .await;
    let error = Bench::new().pull_as(&server, ann()).await.unwrap_err();
    assert_error(&error, Kind::Denied, "denied: not Basic …, not …");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("s3cr3t") && !text.contains("YW5u"), "{text}");
}
