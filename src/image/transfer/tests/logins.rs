//! Who is shown which secret, and how often (HAZARDS G3, G4, G10).

use orc_base::Kind;

use crate::credentials::Credentials;
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::scripted::{Reply, Request, Server};
use crate::transfer::tests::{Bench, assert_error, spoiled};

/// `ann:s3cr3t`.
const BASIC: &str = "Basic YW5uOnMzY3IzdA==";

fn ann() -> Option<Credentials> {
    Some(Credentials::basic("ann", "s3cr3t"))
}

fn token(token: &str) -> Reply {
    Reply::new(200, format!(r#"{{"token": "{token}"}}"#))
}

/// Asks for a token from `realm`; none is the registry's own `/token`.
fn bearer(request: &Request, realm: Option<&str>) -> Reply {
    let own = format!("http://{}/token", request.header("host").unwrap());
    let realm = realm.unwrap_or(&own);
    Reply::challenge(format!(
        "Bearer realm=\"{realm}\",service=\"test\",scope=\"repository:test/app:pull\""
    ))
}

/// A registry that wants `Bearer good` and whose issuer is itself; `issue` answers for the issuer.
async fn registry(issue: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Server {
    spoiled(
        &Fixture::new(2),
        move |request, nth, honest| match request.header("authorization") {
            _ if request.path.starts_with("/token") => issue(request, nth),
            Some("Bearer good") => honest,
            _ => bearer(request, None),
        },
    )
    .await
}

#[tokio::test]
async fn a_public_image_needs_an_anonymous_token_once() {
    let server = registry(|_, _| token("good")).await;
    Bench::new().pull(&server).await.unwrap();
    assert_eq!(server.count("GET", "/token"), 1);
    let requests = server.requests();
    let asked = requests
        .iter()
        .find(|one| one.path.starts_with("/token"))
        .unwrap();
    assert_eq!(
        asked.path,
        "/token?service=test&scope=repository%3Atest%2Fapp%3Apull"
    );
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn the_registrys_own_issuer_sees_the_password() {
    let server = registry(|request, _| match request.header("authorization") {
        Some(BASIC) => Reply::new(200, r#"{"access_token": "good", "expires_in": 60}"#),
        _ => Reply::new(401, ""),
    })
    .await;
    Bench::new().pull_as(&server, ann()).await.unwrap();
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Denied, "without credentials (401)");
    assert_error(&error, Kind::Denied, "run `orc login 127.0.0.1:");
}

#[tokio::test]
async fn a_strange_issuer_sees_none() {
    let issuer = Server::start(|_, _| token("good")).await;
    let realm = format!("http://{}/token", issuer.host());
    let server = spoiled(&Fixture::new(1), move |request, _, honest| {
        match request.header("authorization") {
            Some("Bearer good") => honest,
            _ => bearer(request, Some(&realm)),
        }
    })
    .await;
    Bench::new().pull_as(&server, ann()).await.unwrap();
    let mut refresh = Credentials::basic("ann", "");
    refresh.identity_token = "r3fresh".into();
    Bench::new().pull_as(&server, Some(refresh)).await.unwrap();
    assert_eq!(issuer.authorizations(), [""; 0]);
    assert_eq!(issuer.requests().len(), 2);
    for request in issuer.requests() {
        let seen = format!("{request:?}");
        assert!(!seen.contains("s3cr3t") && !seen.contains("r3fresh") && !seen.contains("ann"));
    }
}

#[tokio::test]
async fn a_strange_issuer_that_insists_is_named() {
    let issuer = Server::start(|request, _| match request.header("authorization") {
        Some(BASIC) => token("good"),
        _ => Reply::new(401, ""),
    })
    .await;
    let (host, realm) = (issuer.host(), format!("http://{}/token", issuer.host()));
    let server = spoiled(&Fixture::new(1), move |request, _, honest| {
        match request.header("authorization") {
            Some("Bearer good") => honest,
            _ => bearer(request, Some(&realm)),
        }
    })
    .await;
    let error = Bench::new().pull_as(&server, ann()).await.unwrap_err();
    assert_error(
        &error,
        Kind::Denied,
        "was not shown the password: list it as a token host",
    );
    assert_eq!(issuer.authorizations(), [""; 0]);

    let pair = (server.host(), host);
    let bench = Bench::with(|config| config.token_hosts = vec![pair]);
    bench.pull_as(&server, ann()).await.unwrap();
    assert_eq!(issuer.authorizations(), [BASIC]);
}

#[tokio::test]
async fn an_issuer_that_moves_is_followed_without_the_password() {
    let other = Server::start(|_, _| token("good")).await;
    let target = format!("http://{}/token", other.host());
    let server = registry(move |_, _| Reply::redirect(307, target.clone())).await;
    Bench::new().pull_as(&server, ann()).await.unwrap();
    assert_eq!(other.authorizations(), [""; 0]);
    assert!(server.authorizations().iter().any(|value| value == BASIC));
}

#[tokio::test]
async fn impossible_issuers_are_refused() {
    for (realm, text) in [
        ("file:///etc/shadow", "not an address on the web"),
        (
            "http://169.254.169.254/token",
            "inside this machine or on its link",
        ),
        (
            "http://issuer.example/token",
            "plain HTTP address that is not listed",
        ),
        ("token", "not a URL"),
        ("http://u:p@127.0.0.1/token", "with a login in the address"),
    ] {
        let server = Server::start(move |request, _| bearer(request, Some(realm))).await;
        let error = Bench::new().pull_as(&server, ann()).await.unwrap_err();
        assert_error(&error, Kind::Invalid, text);
        assert_eq!(server.requests().len(), 1, "{realm}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "/v2/" => Reply::new(200, ""),
        _ => Reply::challenge("Basic realm=\"test\""),
    })
    .await;
    let error = Bench::new().pull_as(&server, ann()).await.unwrap_err();
    let text = format!(
        "registry {0} refuses the credentials for test/app (401): run `orc login {0}`",
        server.host()
    );
    assert_error(&error, Kind::Denied, &text);
    assert_eq!(server.requests().len(), 2);
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Denied, "without credentials (401)");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn endless_demands_for_tokens_end() {
    let server = registry(|_, nth| token(&format!("bad{nth}"))).await;
    for credentials in [None, ann()] {
        let before = server.requests().len();
        let error = Bench::new()
            .pull_as(&server, credentials)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(server.requests().len() - before <= 5);
    }
}

#[tokio::test]
async fn demands_that_cannot_be_met_end_at_once() {
    let demands = [
        Reply::new(401, ""),
        Reply::challenge("Negotiate"),
        Reply::challenge("Bearer service=\"no realm\""),
        Reply::challenge("x".repeat(20_000)),
    ];
    for demand in demands {
        let server = Server::start(move |request, _| match request.path.as_str() {
            "/v2/" => Reply::new(200, ""),
            _ => demand.clone(),
        })
        .await;
        let error = Bench::new().refuses(&server).await;
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn what_is_no_token_is_not_used() {
    for (body, text) in [
        ("", "answers without a token"),
        ("{}", "answers without a token"),
        ("null", "answers without a token"),
        (r#"{"token": ""}"#, "answers without a token"),
        (r#"{"token": 7}"#, "answers without a token"),
        ("<html>s3cr3t</html>", "answers without a token"),
        (r#"{"token": "s3cr3t\r\nX-Evil: 1"}"#, "cannot stand in a"),
    ] {
        let server = registry(move |_, _| Reply::new(200, body)).await;
        let error = Bench::new().refuses(&server).await;
        assert_error(&error, Kind::Invalid, text);
        assert!(!error.to_string().contains("s3cr3t"));
    }
}

#[tokio::test]
async fn a_flapping_issuer_is_asked_again() {
    let server = registry(|_, nth| match nth {
        0 | 1 => Reply::new(503, "").header("Retry-After", "0"),
        _ => token("good"),
    })
    .await;
    Bench::new().pull(&server).await.unwrap();
    let server = registry(|_, _| Reply::new(500, "")).await;
    let error = Bench::new().refuses(&server).await;
    assert_error(&error, Kind::Unavailable, "failed (500");
    assert_eq!(server.count("GET", "/token"), 3);
}

#[tokio::test]
async fn a_refresh_token_is_posted_and_not_put_into_the_url() {
    let server = registry(|request, _| {
        let form = String::from_utf8(request.body.clone()).unwrap();
        match form.contains("grant_type=refresh_token") && form.contains("refresh_token=r3fresh") {
            true => Reply::new(200, r#"{"access_token": "good"}"#),
            false => Reply::new(400, ""),
        }
    })
    .await;
    let credentials = Credentials {
        identity_token: "r3fresh".into(),
        ..Credentials::default()
    };
    Bench::new()
        .pull_as(&server, Some(credentials))
        .await
        .unwrap();
    let asked = server.requests();
    let asked = asked
        .iter()
        .find(|request| request.method == "POST")
        .unwrap();
    assert!(!asked.path.contains("r3fresh"));
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(
        asked.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[tokio::test]
async fn a_token_that_runs_out_half_way_is_renewed() {
    let fixture = Fixture::new(4);
    let server = spoiled(&fixture, |request, nth, honest| {
        let manifest = request.path.contains("/manifests/");
        match request.header("authorization") {
            _ if request.path == "/v2/" => honest,
            _ if request.path.starts_with("/token") => token(["first", "second"][nth.min(1)]),
            Some("Bearer first") if manifest => honest,
            Some("Bearer second") => honest,
            _ => bearer(request, None),
        }
    })
    .await;
    Bench::new().pull(&server).await.unwrap();
    // Four layers ran into it at once and share the new one.
    assert_eq!(server.count("GET", "/token"), 2);
}

#[tokio::test]
async fn the_configuration_is_read_when_a_registry_asks() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let guarded = Server::start({
        let fixture = Fixture::new(1);
        move |request, _| match request.header("authorization") {
            Some(BASIC) => fixture.honest(request),
            _ => Reply::challenge("Basic realm=\"test\""),
        }
    })
    .await;
    let open = spoiled(&Fixture::new(1), |_, _, honest| honest).await;
    let bench = || Bench::with(|config| config.credentials_file = Some(file.clone()));

    let error = bench().refuses(&guarded).await;
    assert_error(&error, Kind::Denied, "without credentials");

    let text = format!(
        r#"{{"auths": {{"{}": {{"auth": "YW5uOnMzY3IzdA=="}}}}}}"#,
        guarded.host()
    );
    std::fs::write(&file, text).unwrap();
    bench().pull(&guarded).await.unwrap();

    std::fs::write(&file, r#"{"credsStore": "nobody-has-this"}"#).unwrap();
    bench().pull(&open).await.unwrap();
    let error = bench().refuses(&guarded).await;
    assert_error(
        &error,
        Kind::Unsupported,
        "`docker-credential-nobody-has-this` is not in",
    );

    std::fs::write(&file, "{").unwrap();
    bench().pull(&open).await.unwrap();
    let error = bench().refuses(&guarded).await;
    assert_error(&error, Kind::Invalid, "config.json");
}
