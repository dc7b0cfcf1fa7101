//! HTTP as bytes: what is refused, what is bounded, and what Docker's clients look for.

use std::time::Duration;

use orc_host::Host;
use orc_host::container::ContainerSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::tests::support::Server;

#[tokio::test]
async fn a_ping_says_which_version() {
    let server = Server::start();
    let answer = server.get("/_ping").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for header in [
        "api-version: 1.51",
        "ostype: linux",
        "docker-experimental: false",
        "server: orc/",
    ] {
        assert!(answer.contains(header), "{answer}");
    }
    assert!(answer.ends_with("\r\n\r\nOK"), "{answer}");
    let head = server.ask("HEAD", "/v1.24/_ping", "").await;
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn versions_are_negotiated() {
    let server = Server::start();
    for good in ["/version", "/v1.24/version", "/v1.51/version"] {
        let answer = server.get(good).await;
        assert!(
            answer.contains(r#""ApiVersion":"1.51","MinAPIVersion":"1.24""#),
            "{answer}"
        );
    }
    let old = server.get("/v1.23/version").await;
    assert!(
        old.starts_with("HTTP/1.1 400") && old.contains("client version 1.23 is too old"),
        "{old}"
    );
    let new = server.get("/v1.52/version").await;
    assert!(
        new.starts_with("HTTP/1.1 400") && new.contains("client version 1.52 is too new"),
        "{new}"
    );
}

#[tokio::test]
async fn unknown_addresses_are_not_found() {
    let server = Server::start();
    for unknown in [
        "/",
        "/containers",
        "/v1.40/nope",
        "/containers/a/b/json",
        "/v1.40",
    ] {
        let answer = server.get(unknown).await;
        assert!(
            answer.starts_with("HTTP/1.1 404") && answer.contains("page not found"),
            "{answer}"
        );
    }
    assert!(
        server
            .ask("PATCH", "/info", "")
            .await
            .starts_with("HTTP/1.1 405")
    );
    assert!(
        server
            .get("/containers/%zz/json")
            .await
            .starts_with("HTTP/1.1 400")
    );
    assert!(
        server
            .get("/containers/json?filters={")
            .await
            .starts_with("HTTP/1.1 400")
    );
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    let server = Server::start();
    for (method, path, status) in [
        ("POST", "/build?version=2", "501"),
        ("GET", "/nodes", "503"),
    ] {
        let answer = server.ask(method, path, "").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.contains(r#"{"message":"#), "{answer}");
    }
    assert!(
        server
            .ask("HEAD", "/images/search", "")
            .await
            .contains(" 501 ")
    );
}

#[tokio::test]
async fn use_is_told_as_docker_tells_it() {
    let server = Server::start();
    let spec = ContainerSpec {
        image: "busybox".into(),
        command: Some(vec!["sleep".into(), "1000".into()]),
        ..ContainerSpec::default()
    };
    let host = &server.host;
    host.create_container(Some("a"), &spec).await.unwrap();
    let body = |answer: &str| -> serde_json::Value {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str(body).unwrap()
    };
    let once = "/containers/a/stats?stream=false&one-shot=true";
    let resting = body(&server.get(once).await);
    assert_eq!(resting["name"], "/a");
    assert_eq!(resting["read"], "0001-01-01T00:00:00Z");
    assert_eq!(resting["memory_stats"], serde_json::json!({}));
    host.start_container("a").await.unwrap();
    let running = body(&server.get(once).await);
    for path in [
        "/cpu_stats/cpu_usage/total_usage",
        "/cpu_stats/system_cpu_usage",
        "/cpu_stats/online_cpus",
        "/memory_stats/usage",
        "/memory_stats/limit",
        "/memory_stats/stats/inactive_file",
        "/pids_stats/current",
        "/networks/eth0/rx_bytes",
        "/blkio_stats/io_service_bytes_recursive/0/value",
    ] {
        let value = running.pointer(path);
        assert!(
            value.is_some_and(serde_json::Value::is_u64),
            "{path} of {running}"
        );
    }
    assert_eq!(running["preread"], "0001-01-01T00:00:00Z");
    // One answer with an earlier look, so that a rate follows.
    let twice = body(&server.get("/containers/a/stats?stream=false").await);
    let total = |stats: &str| {
        let total = format!("/{stats}/cpu_usage/total_usage");
        twice.pointer(&total).unwrap().as_u64().unwrap()
    };
    assert!(total("cpu_stats") > total("precpu_stats") && total("precpu_stats") > 0);
    assert!(
        server
            .get("/containers/nobody/stats")
            .await
            .contains(" 404 ")
    );
}

#[tokio::test]
async fn files_of_containers_are_found_and_refused() {
    let server = Server::start();
    let missing = "HTTP/1.1 404";
    for (method, path) in [
        ("GET", "/containers/a/archive?path=/"),
        ("HEAD", "/containers/a/archive?path=/"),
        ("PUT", "/containers/a/archive?path=/"),
        ("GET", "/containers/a/export"),
        ("GET", "/containers/a/changes"),
        ("POST", "/commit?container=a"),
    ] {
        let answer = server.ask(method, path, "").await;
        assert!(answer.starts_with(missing), "{path}: {answer}");
    }
    for (method, path) in [
        ("GET", "/containers/a/archive"),
        ("PUT", "/containers/a/archive"),
        ("POST", "/commit"),
    ] {
        let answer = server.ask(method, path, "").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
    let config = server.ask("POST", "/commit?container=a", r#"{"Cmd":["x"]}"#);
    assert!(config.await.starts_with("HTTP/1.1 501"));
}

#[tokio::test]
async fn a_wrong_body_is_refused() {
    let server = Server::start();
    let create = async |body: &str| server.ask("POST", "/containers/create", body).await;
    for (body, told) in [
        ("", "the body is missing"),
        ("{", "ends too early"),
        ("[]", "JSON object"),
        (r#"{"HostConfig":{"Memory":"64m"}}"#, "`HostConfig.Memory`"),
        (
            r#"{"Image":"busybox","HostConfig":{"PidMode":"x"}}"#,
            "HostConfig.PidMode",
        ),
    ] {
        let answer = create(body).await;
        let refused = answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 501");
        assert!(refused && answer.contains(told), "{body}: {answer}");
    }
    let deep = format!(r#"{{"Labels":{}"#, "[".repeat(1_000_000));
    assert!(create(&deep).await.starts_with("HTTP/1.1 400"));
    let long = format!(r#"{{"Image":"{}"}}"#, "a".repeat(5 << 20));
    let answer = create(&long).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    // A page in a browser could send this.
    let answer = server
        .raw("POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n\r\n{\"Image\":\"busybox\"}")
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("text/plain"),
        "{answer}"
    );
    assert!(server.host.calls().is_empty(), "{:?}", server.host.calls());
    assert!(server.get("/_ping").await.contains("200 OK"));
}

/// However a body is sent, the same is decided on it.
#[tokio::test]
async fn a_body_in_pieces_is_the_same_body() {
    let server = Server::start();
    let body = r#"{"Image":"busybox","HostConfig":{"UsernsMode":"auto"}}"#;
    let whole = server.ask("POST", "/containers/create", body).await;
    let (first, second) = body.split_at(20);
    let chunked = server
        .raw(&format!(
            "POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            first.len(),
            second.len()
        ))
        .await;
    for answer in [whole, chunked] {
        assert!(
            answer.starts_with("HTTP/1.1 501") && answer.contains("UsernsMode"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = Server::start();
    let long = format!(
        "GET /info HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "a".repeat(200_000)
    );
    let answer = server.raw(&long).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
    let many = format!(
        "GET /info HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X: y\r\n".repeat(200)
    );
    assert!(server.raw(&many).await.starts_with("HTTP/1.1 431"));
    for smuggled in [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: x",
        "Transfer-Encoding: gzip",
    ] {
        let request =
            format!("POST /containers/create HTTP/1.1\r\nHost: x\r\n{smuggled}\r\n\r\nabc");
        let answer = server.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{smuggled}: {answer}");
    }
    let answer = server
        .raw("POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    assert!(server.get("/_ping").await.contains("200 OK"));
}

#[tokio::test]
async fn a_warning_names_the_member() {
    let server = Server::start();
    let body = r#"{"Image":"busybox","Cmd":["true"],"HostConfig":{"CpuPercent":10,"Future":[1]}}"#;
    let answer = server
        .ask("POST", "/containers/create?name=/web", body)
        .await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(
        answer.contains("`HostConfig.CpuPercent` is not supported"),
        "{answer}"
    );
    assert!(
        answer.contains("`HostConfig.Future` is not known"),
        "{answer}"
    );
    assert!(server.host.inspect_container("web").await.is_ok());
}

#[tokio::test]
async fn a_start_that_fails_is_a_bad_request() {
    let server = Server::start();
    for (name, program) in [("bad", "/bin/nope"), ("good", "sleep")] {
        let spec = ContainerSpec {
            image: "busybox".into(),
            command: Some(vec![program.into()]),
            ..ContainerSpec::default()
        };
        server
            .host
            .create_container(Some(name), &spec)
            .await
            .unwrap();
    }
    let start = async |name: &str| {
        server
            .ask("POST", &format!("/containers/{name}/start"), "")
            .await
    };
    let failed = start("bad").await;
    assert!(failed.starts_with("HTTP/1.1 400"), "{failed}");
    assert!(failed.contains("no such file or directory"), "{failed}");
    assert!(failed.contains("orc-kind: not-found"), "{failed}");
    assert!(start("nobody").await.starts_with("HTTP/1.1 404"));
    assert!(start("good").await.starts_with("HTTP/1.1 204"));
    let again = start("good").await;
    assert!(
        again.starts_with("HTTP/1.1 304") && again.ends_with("\r\n\r\n"),
        "{again}"
    );
}

#[tokio::test]
async fn docker_sees_no_members_of_ours() {
    let server = Server::start();
    let body = r#"{"Image":"busybox","Cmd":["sleep"],"Volumes":{"/v":{}}}"#;
    server
        .ask("POST", "/containers/create?name=web", body)
        .await;
    for path in [
        "/containers/json?all=1",
        "/containers/web/json",
        "/images/json",
        "/images/busybox/json",
        "/volumes",
        "/networks",
    ] {
        let answer = server.get(path).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && !body.contains("\"Orc"),
            "{answer}"
        );
    }
    assert!(
        server
            .get("/containers/json?all=1&orc=1")
            .await
            .contains("\"OrcInspect\"")
    );
}

#[tokio::test]
async fn filters_and_limits_work_together() {
    let server = Server::start();
    for name in ["web-1", "web-2", "db-1"] {
        let body = r#"{"Image":"busybox","Cmd":["sleep"]}"#;
        server
            .ask("POST", &format!("/containers/create?name={name}"), body)
            .await;
    }
    let names = async |query: &str| {
        let answer = server.get(&format!("/containers/json?all=1&{query}")).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
        let names = rows
            .iter()
            .map(|row| row["Names"][0].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        names(r#"filters={"name":["^web"]}&limit=1"#).await,
        ["/web-2"]
    );
    assert_eq!(
        names(r#"filters={"name":["web"]}"#).await,
        ["/web-2", "/web-1"]
    );
    assert_eq!(names(r#"filters={"before":["web-2"]}"#).await, ["/web-1"]);
    assert_eq!(names(r#"filters={"since":["web-2"]}"#).await, ["/db-1"]);
    assert_eq!(
        names(r#"filters={"ancestor":["busybox:latest"]}"#)
            .await
            .len(),
        3
    );
    assert_eq!(names(r#"filters={"is-task":["true"]}"#).await, [""; 0]);
}

#[tokio::test]
async fn pruning_spares_what_is_used() {
    let server = Server::start();
    server.host.add_image("unused:1", Default::default());
    for (name, command) in [("runs", "sleep"), ("ended", "true")] {
        let body = format!(
            r#"{{"Image":"busybox","Cmd":["{command}"],"HostConfig":{{"Binds":["{name}:/v"]}}}}"#
        );
        server
            .ask("POST", &format!("/containers/create?name={name}"), &body)
            .await;
        server
            .ask("POST", &format!("/containers/{name}/start"), "")
            .await;
    }
    let post = async |path: &str| server.ask("POST", path, "").await;
    post("/networks/create").await;
    server
        .ask("POST", "/networks/create", r#"{"Name":"idle"}"#)
        .await;
    let gone = post("/containers/prune").await;
    assert_eq!(gone.matches("\",\"").count(), 0, "one was removed: {gone}");
    assert!(server.host.inspect_container("runs").await.is_ok());
    assert!(server.host.inspect_container("ended").await.is_err());
    // Named volumes stay unless all are meant.
    assert!(
        post("/volumes/prune")
            .await
            .contains(r#""VolumesDeleted":[]"#)
    );
    let gone = post(r#"/volumes/prune?filters={"all":["true"]}"#).await;
    assert!(gone.contains(r#""VolumesDeleted":["ended"]"#), "{gone}");
    assert!(
        post("/networks/prune")
            .await
            .contains(r#""NetworksDeleted":["idle"]"#)
    );
    assert!(
        post("/images/prune")
            .await
            .contains(r#""ImagesDeleted":[]"#)
    );
    let gone = post(r#"/images/prune?filters={"dangling":["false"]}"#).await;
    assert!(
        gone.contains("unused:1") && !gone.contains("busybox"),
        "{gone}"
    );
}

#[tokio::test]
async fn the_end_does_not_wait_for_streams() {
    let server = Server::start();
    let mut idle = UnixStream::connect(&server.socket).await.unwrap();
    let mut events = UnixStream::connect(&server.socket).await.unwrap();
    events
        .write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut head = [0; 15];
    events.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    tokio::time::timeout(Duration::from_secs(60), server.stop())
        .await
        .expect("it ends");
    let mut rest = Vec::new();
    let _ = events.read_to_end(&mut rest).await;
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
}

/// What is spoken to a client that builds by the classic way, and by orc's own.
#[tokio::test]
async fn builds_are_told_line_by_line() {
    let server = Server::start();
    let answer = server
        .ask("POST", "/build?t=demo&remote=client-session", "")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for line in [
        r#"{"stream":"Step 1/1 : FROM scratch\n"}"#,
        r#"{"aux":{"ID":"sha256:"#,
        r#"{"stream":"Successfully built "#,
        r#"{"stream":"Successfully tagged demo:latest\n"}"#,
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    let wrong = server.ask("POST", "/orc/build", "{}").await;
    assert!(wrong.starts_with("HTTP/1.1 400"), "{wrong}");
    let body = "{\"tags\":[\"x\"]}";
    let endless = server
        .raw(&format!(
            "POST /orc/build HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/vnd.orc.build\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert!(endless.contains("before the line feed"), "{endless}");
}
