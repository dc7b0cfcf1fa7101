//! Promises about what flows: output, logs, input, and further processes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use orc_base::Kind;
use tokio::io::AsyncWriteExt;

use crate::container::ContainerSpec;
use crate::contract::bench::{Bench, collect, refused};
use crate::exec::ExecSpec;
use crate::stream::{LogOptions, Output};

pub(crate) async fn output_is_kept_in_order(bench: Bench) {
    let script = "echo one; echo two; echo bad >&2; echo three";
    let name = bench.start("c", &bench.spec(&["sh", "-c", script])).await;
    bench.exit_code(&name).await;
    let stdout = LogOptions {
        only: Some(Output::Stdout),
        ..LogOptions::default()
    };
    let out = |text: &str| (Output::Stdout, format!("{text}\n"));
    assert_eq!(
        bench.logs(&name, stdout.clone()).await,
        [out("one"), out("two"), out("three")]
    );
    let stderr = LogOptions {
        only: Some(Output::Stderr),
        ..LogOptions::default()
    };
    assert_eq!(
        bench.logs(&name, stderr).await,
        [(Output::Stderr, "bad\n".into())]
    );
    assert_eq!(bench.logs(&name, LogOptions::default()).await.len(), 4);
    let last = LogOptions {
        tail: Some(2),
        ..stdout
    };
    assert_eq!(bench.logs(&name, last).await, [out("two"), out("three")]);
    bench.remove(&name).await;
}

pub(crate) async fn following_ends_with_the_container(bench: Bench) {
    let name = bench
        .start("c", &bench.spec(&["sh", "-c", "echo here; sleep 1000"]))
        .await;
    let follow = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let mut lines = bench.host.logs(&name, &follow).await.expect("logs");
    let line = lines.next().await.expect("a line").expect("no error");
    assert_eq!(&line.bytes[..], b"here\n");
    bench.host.kill_container(&name, None).await.expect("kill");
    assert!(collect(lines).await.is_empty());
    bench.remove(&name).await;
}

pub(crate) async fn attached_before_the_start_sees_all(bench: Bench) {
    let name = bench
        .create("c", &bench.spec(&["sh", "-c", "echo out; echo err >&2"]))
        .await;
    let attached = bench.host.attach_container(&name).await.expect("attach");
    assert!(!attached.terminal);
    bench.host.start_container(&name).await.expect("start");
    let mut seen = BTreeMap::<&str, Vec<u8>>::new();
    for chunk in collect(attached.output).await {
        let output = match chunk.output {
            Output::Stdout => "stdout",
            Output::Stderr => "stderr",
        };
        seen.entry(output)
            .or_default()
            .extend_from_slice(&chunk.bytes);
    }
    assert_eq!(
        seen,
        BTreeMap::from([("stdout", b"out\n".to_vec()), ("stderr", b"err\n".to_vec())])
    );
    bench.remove(&name).await;
}

pub(crate) async fn input_reaches_the_program(bench: Bench) {
    let spec = ContainerSpec {
        open_stdin: true,
        stdin_once: true,
        ..bench.spec(&["cat"])
    };
    let name = bench.create("c", &spec).await;
    let attached = bench.host.attach_container(&name).await.expect("attach");
    bench.host.start_container(&name).await.expect("start");
    let mut input = attached.input.expect("it has input");
    input.write_all(b"hello\0\xff\n").await.expect("write");
    input.shutdown().await.expect("end of file");
    let output: Vec<u8> = collect(attached.output)
        .await
        .into_iter()
        .flat_map(|chunk| chunk.bytes)
        .collect();
    assert_eq!(output, b"hello\0\xff\n");
    assert_eq!(bench.exit_code(&name).await, 0);
    bench.remove(&name).await;
}

pub(crate) async fn exec(bench: &Bench, name: &str, command: &[&str]) -> (i32, String) {
    let spec = ExecSpec {
        command: command.iter().map(|word| (*word).into()).collect(),
        stdout: true,
        stderr: true,
        ..ExecSpec::default()
    };
    let id = bench
        .host
        .create_exec(name, &spec)
        .await
        .expect("create exec");
    let attached = bench.host.start_exec(&id, false).await.expect("start exec");
    let output: Vec<u8> = collect(attached.output)
        .await
        .into_iter()
        .flat_map(|chunk| chunk.bytes)
        .collect();
    let mut code = None;
    for _ in 0..600 {
        code = bench
            .host
            .inspect_exec(&id)
            .await
            .expect("inspect exec")
            .exit_code;
        if code.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (
        code.expect("it ended"),
        String::from_utf8_lossy(&output).into_owned(),
    )
}

pub(crate) async fn an_exec_runs_beside(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    assert_eq!(
        exec(&bench, &name, &["echo", "hi"]).await,
        (0, "hi\n".into())
    );
    assert_eq!(exec(&bench, &name, &["sh", "-c", "exit 3"]).await.0, 3);
    assert!(bench.state(&name).await.is_running());
    bench.remove(&name).await;
}

pub(crate) async fn an_exec_of_a_missing_program_ends_with_127(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    let (code, text) = exec(&bench, &name, &["/bin/nope"]).await;
    assert_eq!(code, 127);
    assert!(
        text.contains("/bin/nope") && text.contains("no such file or directory"),
        "{text}"
    );
    bench.remove(&name).await;
}

pub(crate) async fn no_exec_without_a_running_container(bench: Bench) {
    let name = bench.create("c", &bench.spec(&["true"])).await;
    let spec = ExecSpec {
        command: vec!["true".into()],
        ..ExecSpec::default()
    };
    refused(bench.host.create_exec(&name, &spec).await, Kind::Conflict);
    bench.remove(&name).await;
}
