//! Streams: what is open while a call goes on, and what is left after it.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use orc_base::{Error, Kind};
use orc_host::Host;
use orc_host::container::ContainerSpec;
use orc_host::event::EventFilter;
use orc_host::image::{ImportSource, ImportTar};
use orc_host::stream::{Bytes, LogOptions};
use tokio::runtime::Handle;

use crate::client::Client;
use crate::tests::support::Server;

async fn running(server: &Server, name: &str, change: impl FnOnce(&mut ContainerSpec)) {
    let mut spec = ContainerSpec {
        image: "busybox".into(),
        command: Some(vec![
            "sh".into(),
            "-c".into(),
            "echo here; sleep 1000".into(),
        ]),
        ..ContainerSpec::default()
    };
    change(&mut spec);
    server
        .host
        .create_container(Some(name), &spec)
        .await
        .unwrap();
    server.host.start_container(name).await.unwrap();
}

/// Waits until no more tasks are alive than before.
async fn settled(before: usize) {
    for _ in 0..600 {
        if Handle::current().metrics().num_alive_tasks() <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "{} tasks are alive, there were {before}",
        Handle::current().metrics().num_alive_tasks()
    );
}

#[tokio::test]
async fn whoever_leaves_leaves_nothing() {
    let server = Server::start();
    running(&server, "web", |_| {}).await;
    let before = Handle::current().metrics().num_alive_tasks();
    let client = server.client().await;
    for _ in 0..50 {
        drop(client.attach_container("web").await.unwrap());
        let follow = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut lines = client.logs("web", &follow).await.unwrap();
        assert!(lines.next().await.unwrap().is_ok());
        drop(lines);
        drop(client.events(EventFilter::default()).await.unwrap());
        let wait = client.wait_container("web", Default::default());
        let _ = tokio::time::timeout(Duration::from_millis(1), wait).await;
    }
    drop(client);
    settled(before).await;
}

#[tokio::test]
async fn a_terminal_has_no_frames_but_its_log_has_lines() {
    let server = Server::start();
    running(&server, "tty", |spec| spec.tty = true).await;
    let raw = server.get("/containers/tty/logs?stdout=1").await;
    assert!(raw.contains("application/vnd.docker.raw-stream"), "{raw}");
    assert!(
        raw.contains("\r\nhere\n\r\n"),
        "no frame before it: {raw:?}"
    );
    let client = server.client().await;
    let lines: Vec<_> = client
        .logs("tty", &LogOptions::default())
        .await
        .unwrap()
        .collect()
        .await;
    assert_eq!(&lines[0].as_ref().unwrap().bytes[..], b"here\n");
    assert!(client.attach_container("tty").await.unwrap().terminal);
    let none = server.get("/containers/tty/logs").await;
    assert!(
        none.starts_with("HTTP/1.1 400") && none.contains("at least one stream"),
        "{none}"
    );
}

#[tokio::test]
async fn attaching_can_replay() {
    let server = Server::start();
    running(&server, "web", |_| {}).await;
    // Without an upgrade it is a body; without `stream` it ends with what there is.
    let past = server
        .ask("POST", "/containers/web/attach?logs=1&stdout=1", "")
        .await;
    assert!(
        past.starts_with("HTTP/1.1 200") && past.contains("here\n"),
        "{past}"
    );
    assert!(
        past.contains("application/vnd.docker.multiplexed-stream"),
        "{past}"
    );
}

#[tokio::test]
async fn an_exec_without_an_upgrade_is_a_body() {
    let server = Server::start();
    running(&server, "web", |_| {}).await;
    let body = r#"{"Cmd":["echo","hi"],"AttachStdout":true}"#;
    let answer = server.ask("POST", "/containers/web/exec", body).await;
    let id = answer.split('"').nth_back(1).unwrap().to_owned();
    let output = server.ask("POST", &format!("/exec/{id}/start"), "{}").await;
    assert!(
        output.starts_with("HTTP/1.1 200") && output.contains("hi\n"),
        "{output}"
    );
    let found = server.get(&format!("/exec/{id}/json")).await;
    assert!(
        found.contains(r#""ExitCode":0"#) && found.contains(r#""entrypoint":"echo""#),
        "{found}"
    );
}

#[tokio::test]
async fn a_broken_archive_breaks_the_call() {
    let server = Server::start();
    let client = server.client().await;
    let items = [
        Ok(Bytes::from_static(b"half")),
        Err(Error::new(Kind::Exhausted, "the disk is gone")),
    ];
    let error = match client.load_images(Box::pin(stream::iter(items))).await {
        Err(error) => error,
        Ok(progress) => progress
            .filter_map(|item| std::future::ready(item.err()))
            .next()
            .await
            .expect("an error"),
    };
    assert_eq!(error.to_string(), "the disk is gone");
    assert_eq!(server.host.list_images().await.unwrap().len(), 1);
}

#[tokio::test]
async fn images_travel_both_ways() {
    let server = Server::start();
    let client = server.client().await;
    let saved: Vec<_> = client
        .save_images(&["busybox".into()])
        .await
        .unwrap()
        .collect()
        .await;
    let saved = saved
        .into_iter()
        .map(|bytes| Ok(bytes.unwrap()))
        .collect::<Vec<_>>();
    let loaded: Vec<_> = client
        .load_images(Box::pin(stream::iter(saved)))
        .await
        .unwrap()
        .collect()
        .await;
    assert_eq!(
        loaded[0].as_ref().unwrap().status,
        "Loaded image: busybox:latest"
    );
    let source = ImportSource {
        tar: ImportTar::Sent(Box::pin(stream::iter([Ok(Bytes::from(vec![0; 1 << 20]))]))),
        reference: Some("made:1".into()),
        changes: vec![r#"CMD ["a b"]"#.into()],
        message: Some("by hand".into()),
    };
    let progress: Vec<_> = client.import_image(source).await.unwrap().collect().await;
    let made = progress.last().unwrap().as_ref().unwrap().image.clone();
    assert_eq!(
        made.unwrap(),
        client.inspect_image("made:1").await.unwrap().id
    );
    assert_eq!(
        client
            .save_images(&["nope".into()])
            .await
            .err()
            .unwrap()
            .kind(),
        Kind::NotFound
    );
}

#[tokio::test]
async fn a_pull_that_fails_says_why() {
    let server = Server::start();
    let client = server.client().await;
    let error = match client.pull_image("nope:1", None, None).await {
        Err(error) => error,
        Ok(progress) => progress
            .collect::<Vec<_>>()
            .await
            .pop()
            .unwrap()
            .unwrap_err(),
    };
    assert_eq!(error.kind(), Kind::NotFound);
    server.host.add_remote_image("there:1", Default::default());
    let progress: Vec<_> = client
        .pull_image("there:1", None, None)
        .await
        .unwrap()
        .collect()
        .await;
    assert!(progress.last().unwrap().as_ref().unwrap().image.is_some());
    let answer = server
        .ask(
            "POST",
            "/images/create?fromImage=docker.io/library/there&tag=1",
            "",
        )
        .await;
    assert!(
        answer.contains(r#"{"status":"Status: Downloaded newer image for there:1"}"#),
        "{answer}"
    );
}

#[tokio::test]
async fn a_client_outlives_the_daemon() {
    let server = Server::start();
    let client = server.client().await;
    client.info().await.unwrap();
    let (socket, host) = (server.socket.clone(), server.host.clone());
    let _directory = server.stop_keeping_directory().await;
    assert_eq!(client.info().await.unwrap_err().kind(), Kind::Unavailable);
    // The same place, another daemon: kept connections are not taken for good.
    let _again = Server::start_at(&socket, host);
    client.info().await.unwrap();
}

#[tokio::test]
async fn nobody_and_strangers_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("nobody.sock");
    let error = Client::connect(&socket).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("nobody.sock"), "{error}");
    let stranger = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = stranger.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let answer = b"HTTP/1.1 200 OK\r\nServer: Docker/28\r\nContent-Length: 2\r\n\r\nOK";
        stream.write_all(answer).await.unwrap();
    });
    let error = Client::connect(&socket).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("Docker/28"), "{error}");
}
