//! What the server says to requests that no kubectl sends: wrong, too large, too many, or by nobody.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use orc_base::clock::FakeClock;
use orc_base::{Error, Time};
use orc_kube::auth::authenticator::Authenticator;
use orc_kube::auth::jwt::Keys;
use orc_kube::kinds::NAMESPACE;
use orc_kube::pki::peer::Peer;
use orc_kube::pki::trust::Gate;
use orc_kube::server::service::Service;
use orc_kube::server::state::Parts;
use orc_kube::{LocalObjects, MAX_BYTES, Object, Objects, Scope, Settings, WriteOptions};
use orc_store::{Limits, MemoryStore};
use serde_json::{Value, json};

use crate::cluster::Pods;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

struct Server {
    service: Arc<Service>,
    audit: Arc<Mutex<Vec<String>>>,
    removed: Arc<Mutex<bool>>,
}

fn admin() -> Peer {
    Peer {
        common_name: "admin".to_owned(),
        organizations: vec!["system:masters".to_owned()],
        node: None,
        serial: "01".to_owned(),
        not_before: Time::EPOCH,
        not_after: Time::from_secs(4_000_000_000),
    }
}

async fn server() -> Server {
    let clock = Arc::new(FakeClock::at("2026-11-21T12:00:00Z".parse().unwrap()));
    let store = Arc::new(MemoryStore::new(Limits::default()));
    let objects = LocalObjects::new(store, clock.clone(), Settings::default());
    let objects = Arc::new(objects);
    let namespace = Object::new("v1", "Namespace", "", "default");
    let options = WriteOptions::by("test");
    let scope = Scope::all(&NAMESPACE);
    objects.create(&scope, namespace, &options).await.unwrap();
    let audit = Arc::new(Mutex::new(Vec::new()));
    let removed = Arc::new(Mutex::new(false));
    let (lines, gone) = (audit.clone(), removed.clone());
    let gate: Gate = Arc::new(move |_| match *gone.lock().unwrap() {
        true => Err(Error::denied("removed")),
        false => Ok(()),
    });
    let keys = Keys::load([Keys::generate().unwrap().as_slice()]).unwrap();
    let service = Service::new(Parts {
        objects: objects.clone(),
        authenticator: Authenticator::new(objects, keys, gate, clock.clone()),
        node_streams: Arc::new(Pods),
        clock,
        audit: Box::new(move |line| lines.lock().unwrap().push(line.to_string())),
        ready: Box::new(|| Err(Error::unavailable("no leader"))),
        max_watches: 3,
    });
    Server {
        service,
        audit,
        removed,
    }
}

type Answer =
    hyper::Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::convert::Infallible>>;

impl Server {
    async fn ask(&self, request: Request<Full<Bytes>>, peer: Option<Peer>) -> (u16, Value) {
        let answer = self.service.answer(request, peer).await;
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (
            code,
            serde_json::from_slice(&bytes).unwrap_or(Value::String(text)),
        )
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(request(Method::GET, path, "", ""), Some(admin()))
            .await
    }

    async fn send(&self, method: Method, path: &str, media: &str, body: &str) -> (u16, Value) {
        let request = request(method, path, media, body);
        self.ask(request, Some(admin())).await
    }

    async fn watch(&self, query: &str) -> Answer {
        let path = format!("{CONFIG_MAPS}?watch=true&{query}");
        let request = request(Method::GET, &path, "", "");
        self.service.answer(request, Some(admin())).await
    }
}

fn request(method: Method, path: &str, media: &str, body: &str) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .header("user-agent", "test/1")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap()
}

fn config_map(name: &str) -> String {
    json!({ "metadata": { "name": name }, "data": { "a": "b" } }).to_string()
}

#[tokio::test]
async fn nobody_learns_more_than_that_it_lives() {
    let server = server().await;
    for (path, code) in [
        ("/livez", 200),
        ("/readyz", 503),
        ("/version", 200),
        ("/api", 403),
        ("/openapi/v3", 403),
        ("/api/v1/namespaces", 403),
        ("/metrics", 403),
        ("/nope", 403),
    ] {
        let asked = request(Method::GET, path, "", "");
        let (answered, body) = server.ask(asked, None).await;
        assert_eq!(answered, code, "{path}: {body}");
    }
    for header in ["Bearer wrong", "Basic YTpi", "Bearer "] {
        let mut asked = request(Method::GET, "/livez", "", "");
        asked
            .headers_mut()
            .insert("authorization", header.parse().unwrap());
        // A wrong token is refused even where none is needed, and even beside a good certificate.
        let (answered, body) = server.ask(asked, Some(admin())).await;
        assert_eq!(
            (answered, body["message"].as_str()),
            (401, Some("Unauthorized"))
        );
    }
}

#[tokio::test]
async fn browsers_and_who_would_act_as_somebody_else_are_refused() {
    let server = server().await;
    for (name, value) in [
        ("origin", "https://example.com"),
        ("impersonate-user", "jane"),
        ("impersonate-group", "system:nodes"),
        ("impersonate-extra-x", "y"),
    ] {
        let mut asked = request(Method::GET, CONFIG_MAPS, "", "");
        asked.headers_mut().insert(name, value.parse().unwrap());
        let (code, answer) = server.ask(asked, Some(admin())).await;
        assert_eq!(code, 403, "{name}: {answer}");
    }
    assert_eq!(server.get(CONFIG_MAPS).await.0, 200);
}

#[tokio::test]
async fn refuses_what_makes_no_sense() {
    let server = server().await;
    let too_deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let too_large = " ".repeat(MAX_BYTES + 1);
    let json = "application/json";
    let one = format!("{CONFIG_MAPS}/a");
    for (method, path, media, body, code) in [
        (
            Method::GET,
            "/api/v1/namespaces/a%2fb/configmaps",
            "",
            "",
            400,
        ),
        (
            Method::GET,
            "/api/v1/namespaces/default/configmaps/..",
            "",
            "",
            400,
        ),
        (Method::GET, "/api/v1/nonsense", "", "", 404),
        (Method::GET, "/api/v1/configmaps/a", "", "", 404),
        (Method::GET, "/api/v1/namespaces/default/nodes", "", "", 404),
        (Method::GET, "/apis/nope/v1/things", "", "", 404),
        (Method::GET, &format!("{one}/status"), "", "", 404),
        (Method::PUT, CONFIG_MAPS, json, "{}", 405),
        (Method::POST, CONFIG_MAPS, "text/plain", "x", 415),
        (Method::POST, CONFIG_MAPS, json, "{", 400),
        (Method::POST, CONFIG_MAPS, json, "[]", 400),
        (Method::POST, CONFIG_MAPS, json, &too_deep, 400),
        (Method::POST, CONFIG_MAPS, json, &too_large, 413),
        (
            Method::POST,
            CONFIG_MAPS,
            json,
            r#"{"kind":"Secret","metadata":{"name":"a"}}"#,
            400,
        ),
        (
            Method::POST,
            CONFIG_MAPS,
            json,
            r#"{"apiVersion":"v2","metadata":{"name":"a"}}"#,
            400,
        ),
        (
            Method::POST,
            CONFIG_MAPS,
            json,
            r#"{"metadata":{"name":"a","namespace":"other"}}"#,
            400,
        ),
        (
            Method::POST,
            CONFIG_MAPS,
            json,
            r#"{"metadata":{"name":"../a"}}"#,
            422,
        ),
        (
            Method::POST,
            CONFIG_MAPS,
            "application/vnd.kubernetes.protobuf",
            "k8s\0\u{1}",
            400,
        ),
        (Method::PUT, &one, json, r#"{"metadata":{"name":"b"}}"#, 400),
        (Method::PATCH, &one, json, "{}", 415),
        (
            Method::PATCH,
            &one,
            "application/apply-patch+yaml",
            "{}",
            400,
        ),
        (
            Method::PATCH,
            &format!("{one}?force=true"),
            "application/merge-patch+json",
            "{}",
            400,
        ),
        (Method::DELETE, &one, json, r#"{"kind":"Pod"}"#, 400),
        (
            Method::GET,
            &format!("{CONFIG_MAPS}?labelSelector=a%20in"),
            "",
            "",
            400,
        ),
        (
            Method::GET,
            &format!("{CONFIG_MAPS}?watch=perhaps"),
            "",
            "",
            400,
        ),
    ] {
        let (answered, answer) = server.send(method.clone(), path, media, body).await;
        assert_eq!(answered, code, "{method} {path}: {answer}");
        assert_eq!(answer["kind"], "Status", "{method} {path}: {answer}");
        assert_eq!(answer["code"], code, "{method} {path}: {answer}");
    }
    let mut asked = request(Method::GET, CONFIG_MAPS, "", "");
    asked
        .headers_mut()
        .insert("accept", "text/html".parse().unwrap());
    assert_eq!(server.ask(asked, Some(admin())).await.0, 406);
    assert_eq!(server.get("/livez").await.0, 200);
}

#[tokio::test]
async fn a_bomb_of_patches_ends_in_words() {
    let server = server().await;
    let json = "application/json";
    server
        .send(Method::POST, CONFIG_MAPS, json, &config_map("a"))
        .await;
    let one = format!("{CONFIG_MAPS}/a");
    let test = json!({ "op": "test", "path": "/data/a", "value": "b" });
    let many = Value::Array(vec![test; 10_001]).to_string();
    let double = json!({ "op": "copy", "from": "/data", "path": "/data/x" });
    let grow = Value::Array(vec![double; 60]).to_string();
    for bomb in [many, grow] {
        let media = "application/json-patch+json";
        let (code, answer) = server.send(Method::PATCH, &one, media, &bomb).await;
        assert!((400..=422).contains(&code), "{answer}");
        assert!(answer.to_string().len() < 2000);
    }
    let (_, now) = server.get(&one).await;
    assert_eq!(now["data"], json!({ "a": "b" }));
}

#[tokio::test]
async fn lists_page_by_page_and_as_tables() {
    let server = server().await;
    for name in ["a", "b", "c"] {
        let body = config_map(name);
        let made = server.send(Method::POST, CONFIG_MAPS, "application/json", &body);
        assert_eq!(made.await.0, 201);
    }
    let (_, first) = server.get(&format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!(first["kind"], "ConfigMapList");
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = server
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await;
    assert_eq!(rest["items"][0]["metadata"]["name"], "c");
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    for (accept, kind, place) in [
        (
            "application/json;as=Table;g=meta.k8s.io;v=v1",
            "Table",
            "/rows/2/object/metadata/name",
        ),
        (
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            "PartialObjectMetadataList",
            "/items/2/metadata/name",
        ),
    ] {
        let mut asked = request(Method::GET, CONFIG_MAPS, "", "");
        asked
            .headers_mut()
            .insert("accept", accept.parse().unwrap());
        let (_, answer) = server.ask(asked, Some(admin())).await;
        assert_eq!(answer["kind"], kind);
        assert_eq!(answer.pointer(place).unwrap(), "c");
    }
    let (code, gone) = server.send(Method::DELETE, CONFIG_MAPS, "", "").await;
    assert_eq!((code, gone["items"].as_array().unwrap().len()), (200, 3));
    let audit = server.audit.lock().unwrap().clone();
    assert_eq!(audit[0], "201 \"admin\" create configmaps default/");
    assert_eq!(
        audit[3],
        "200 \"admin\" deletecollection configmaps default/"
    );
    assert_eq!(audit.len(), 4);
}

async fn line(answer: &mut Answer) -> Option<Value> {
    let frame = answer.body_mut().frame().await?.unwrap();
    let bytes = frame.into_data().unwrap();
    assert!(bytes.ends_with(b"\n"));
    Some(serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test(start_paused = true)]
async fn watches_until_its_time_is_up() {
    let server = server().await;
    let mut watch = server.watch("timeoutSeconds=5").await;
    server
        .send(
            Method::POST,
            CONFIG_MAPS,
            "application/json",
            &config_map("a"),
        )
        .await;
    let event = line(&mut watch).await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("a"))
    );
    assert_eq!(line(&mut watch).await, None);
    let mut old = server.watch("resourceVersion=999999").await;
    let event = line(&mut old).await;
    assert!(old.status() == 504 || event.is_none_or(|event| event["type"] == "ERROR"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_the_right_to_it() {
    let server = server().await;
    let mut watch = server.watch("").await;
    *server.removed.lock().unwrap() = true;
    let begun = tokio::time::Instant::now();
    let event = line(&mut watch).await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(401))
    );
    assert!(begun.elapsed().as_secs() <= 30);
    assert_eq!(line(&mut watch).await, None);
}

#[tokio::test]
async fn a_flood_of_watches_is_told_to_come_back() {
    let server = server().await;
    let open = [
        server.watch("").await,
        server.watch("").await,
        server.watch("").await,
    ];
    let refused = server.watch("").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(server.get(CONFIG_MAPS).await.0, 200);
    drop(open);
    assert_eq!(server.watch("").await.status(), 200);
    let mut last = server.watch("").await;
    server.service.stop();
    assert_eq!(line(&mut last).await, None);
}

async fn made(server: &Server, path: &str, body: Value) -> Value {
    let json = "application/json";
    let (code, answer) = server
        .send(Method::POST, path, json, &body.to_string())
        .await;
    assert_eq!(code, 201, "{path}: {answer}");
    answer
}

#[tokio::test]
async fn a_token_ends_with_its_pod() {
    let server = server().await;
    let of = |plural: &str| format!("/api/v1/namespaces/default/{plural}");
    let accounts = of("serviceaccounts");
    made(
        &server,
        &accounts,
        json!({ "metadata": { "name": "robot" } }),
    )
    .await;
    let pod = json!({
        "metadata": { "name": "web" },
        "spec": { "serviceAccountName": "robot", "containers": [{ "name": "c", "image": "i" }] },
    });
    let pod = made(&server, &of("pods"), pod).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let bound = |uid: &str| json!({ "spec": { "boundObjectRef": { "kind": "Pod", "name": "web", "uid": uid } } });
    let tokens = format!("{accounts}/robot/token");
    let wrong = bound("another").to_string();
    let (code, _) = server
        .send(Method::POST, &tokens, "application/json", &wrong)
        .await;
    assert_eq!(code, 409);
    let answer = made(&server, &tokens, bound(uid)).await;
    let token = answer["status"]["token"].as_str().unwrap().to_owned();
    assert_eq!(
        answer["status"]["expirationTimestamp"],
        "2026-11-21T13:00:00Z"
    );

    let review = async |token: &str, audiences: Value| {
        let spec = json!({ "spec": { "token": token, "audiences": audiences } });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        made(&server, path, spec).await["status"].clone()
    };
    let seen = review(&token, json!([])).await;
    assert_eq!(
        seen["user"]["username"],
        "system:serviceaccount:default:robot"
    );
    let of_pod = &seen["user"]["extra"]["authentication.kubernetes.io/pod-name"];
    assert_eq!(of_pod, &json!(["web"]));
    assert_eq!(
        review(&token, json!(["vault"])).await["authenticated"],
        false
    );
    assert_eq!(review("x.y.z", json!([])).await["authenticated"], false);

    let asked = || {
        let mut asked = request(Method::GET, CONFIG_MAPS, "", "");
        let value = format!("Bearer {token}").parse().unwrap();
        asked.headers_mut().insert("authorization", value);
        server.ask(asked, None)
    };
    assert_eq!(asked().await.0, 200);
    let gone = format!("{}/web?gracePeriodSeconds=0", of("pods"));
    assert_eq!(server.send(Method::DELETE, &gone, "", "").await.0, 200);
    assert_eq!(asked().await.0, 401);
    assert_eq!(review(&token, json!([])).await["authenticated"], false);
}

#[tokio::test]
async fn says_what_others_may_do() {
    let server = server().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    for (user, groups, verb, resource, allowed) in [
        ("jane", json!([]), "list", "pods", false),
        ("jane", json!(["system:masters"]), "delete", "nodes", true),
        (
            "system:serviceaccount:default:robot",
            json!(["system:serviceaccounts", "system:authenticated"]),
            "get",
            "secrets",
            false,
        ),
        (
            "system:node:n1",
            json!(["system:nodes", "system:authenticated"]),
            "get",
            "secrets",
            false,
        ),
    ] {
        let attributes =
            json!({ "verb": verb, "resource": resource, "namespace": "default", "name": "x" });
        let spec = json!({ "user": user, "groups": groups, "resourceAttributes": attributes });
        let answer = made(&server, path, json!({ "spec": spec })).await;
        assert_eq!(
            answer["status"]["allowed"], allowed,
            "{user} {verb} {resource}"
        );
    }
}
