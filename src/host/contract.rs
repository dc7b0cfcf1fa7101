//! What every [`Host`] promises, as one suite: run against the fake, the engine, and the client.
//!
//! A case makes its own things under names of its own and removes them, also when it fails. The
//! image given must have `sh`, `true`, `false`, `echo`, `sleep` and `cat`, as busybox has.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use orc_base::{Id, Kind, Result};
use tokio::io::AsyncWriteExt;

use crate::Host;
use crate::container::{
    ContainerFilter, ContainerSpec, HealthStatus, Mount, RemoveOptions, Resources, RestartPolicy,
    State, Ulimit, WaitFor,
};
use crate::event::{EventFilter, Subject};
use crate::exec::ExecSpec;
use crate::image::Healthcheck;
use crate::network::{EndpointSpec, NetworkSpec, PortBinding};
use crate::stream::{LogOptions, Output, Stream};
use crate::volume::VolumeSpec;

/// How long anything here may take before the host is taken to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// One case: what is promised, and the code that sees whether it holds.
pub struct Case {
    /// The promise.
    pub name: &'static str,
    run: fn(Bench) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Where a case works.
#[derive(Clone)]
struct Bench {
    host: Arc<dyn Host>,
    image: String,
    /// Begins every name the case makes.
    prefix: String,
}

/// Runs all cases, one after the other, and panics with the names of those that failed.
pub async fn run_all(host: Arc<dyn Host>, image: &str) {
    let mut failed = Vec::new();
    for case in cases() {
        if let Err(why) = run(&case, host.clone(), image).await {
            failed.push(format!("{}: {why}", case.name));
        }
    }
    assert!(failed.is_empty(), "broken promises:\n{}", failed.join("\n"));
}

/// Runs one case, and removes what it left.
pub async fn run(case: &Case, host: Arc<dyn Host>, image: &str) -> Result<(), String> {
    let bench = Bench {
        host,
        image: image.into(),
        prefix: format!("contract-{}", Id::random().short()),
    };
    let work = tokio::spawn((case.run)(bench.clone()));
    let abort = work.abort_handle();
    let result = match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(panic)) => Err(text_of(panic)),
        Err(_) => Err(format!("no end after {PATIENCE:?}")),
    };
    abort.abort();
    bench.clean().await;
    result
}

fn text_of(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into()))
            .unwrap_or_else(|| "panicked".into()),
        Err(error) => error.to_string(),
    }
}

macro_rules! cases {
    ($($name:ident)*) => {
        /// All cases, in the order of a container's life.
        pub fn cases() -> Vec<Case> {
            vec![$(Case { name: stringify!($name), run: |bench| Box::pin($name(bench)) }),*]
        }
    };
}

cases! {
    a_created_container_is_not_running
    what_was_asked_for_is_kept
    a_name_is_taken_once
    an_unknown_thing_is_not_found
    a_bad_name_is_invalid
    a_program_runs_to_its_end
    a_missing_program_fails_the_start
    a_running_container_does_not_start_again
    a_stopped_container_starts_again
    a_kill_ends_it
    output_is_kept_in_order
    following_ends_with_the_container
    attached_before_the_start_sees_all
    input_reaches_the_program
    an_exec_runs_beside
    an_exec_of_a_missing_program_ends_with_127
    no_exec_without_a_running_container
    lists_are_filtered
    a_wait_sees_the_next_exit
    a_paused_container_is_running
    a_failing_program_is_restarted
    a_container_can_remove_itself
    health_is_probed
    a_container_is_renamed
    events_tell_the_story
    networks_come_and_go
    a_container_joins_networks
    volumes_come_and_go
    anonymous_volumes_go_when_asked
    images_have_many_names
    the_machine_describes_itself
}

impl Bench {
    fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.prefix)
    }

    fn spec(&self, command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            image: self.image.clone(),
            command: Some(command.iter().map(|word| (*word).into()).collect()),
            labels: BTreeMap::from([("contract".into(), self.prefix.clone())]),
            stop_timeout: Some(Duration::from_secs(1)),
            ..ContainerSpec::default()
        }
    }

    async fn create(&self, what: &str, spec: &ContainerSpec) -> String {
        let name = self.name(what);
        self.host
            .create_container(Some(&name), spec)
            .await
            .expect("create");
        name
    }

    async fn start(&self, what: &str, spec: &ContainerSpec) -> String {
        let name = self.create(what, spec).await;
        self.host.start_container(&name).await.expect("start");
        name
    }

    async fn state(&self, name: &str) -> State {
        self.host
            .inspect_container(name)
            .await
            .expect("inspect")
            .state
    }

    async fn exit_code(&self, name: &str) -> i32 {
        self.host
            .wait_container(name, WaitFor::NotRunning)
            .await
            .expect("wait")
            .code
    }

    async fn logs(&self, name: &str, options: LogOptions) -> Vec<(Output, String)> {
        let lines = self.host.logs(name, &options).await.expect("logs");
        collect(lines)
            .await
            .into_iter()
            .map(|line| {
                (
                    line.output,
                    String::from_utf8_lossy(&line.bytes).into_owned(),
                )
            })
            .collect()
    }

    async fn remove(&self, name: &str) {
        let options = RemoveOptions {
            force: true,
            volumes: true,
        };
        self.host
            .remove_container(name, options)
            .await
            .expect("remove");
    }

    /// Removes what a failed case left.
    async fn clean(&self) {
        let options = RemoveOptions {
            force: true,
            volumes: true,
        };
        let filter = ContainerFilter::labelled("contract", &self.prefix);
        for container in self.host.list_containers(&filter).await.unwrap_or_default() {
            let _ = self.host.remove_container(&container.id, options).await;
        }
        for network in self.host.list_networks().await.unwrap_or_default() {
            if network.spec.name.starts_with(&self.prefix) {
                let _ = self.host.remove_network(&network.id).await;
            }
        }
        for volume in self.host.list_volumes().await.unwrap_or_default() {
            if volume.name.starts_with(&self.prefix) {
                let _ = self.host.remove_volume(&volume.name, true).await;
            }
        }
    }
}

async fn collect<T>(stream: Stream<T>) -> Vec<T> {
    stream
        .map(|item| item.expect("an item, not an error"))
        .collect()
        .await
}

#[track_caller]
fn refused<T>(result: Result<T>, kind: Kind) -> String {
    match result {
        Ok(_) => panic!("expected {kind:?}, but it was done"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error.to_string()
        }
    }
}

/// Looks again until `holds`, which some other task is about to make true.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..600 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never came true: {what}");
}

async fn a_created_container_is_not_running(bench: Bench) {
    let name = bench.name("c");
    let spec = bench.spec(&["sleep", "1000"]);
    let created = bench
        .host
        .create_container(Some(&name), &spec)
        .await
        .expect("create");
    assert_eq!(created.id.len(), 64);
    let container = bench
        .host
        .inspect_container(&name)
        .await
        .expect("inspect by name");
    assert_eq!(
        (container.id.as_str(), container.name.as_str()),
        (created.id.as_str(), name.as_str())
    );
    assert_eq!(container.state, State::Created { exit: None });
    assert_eq!(container.args, ["sleep", "1000"]);
    assert_eq!(container.hostname, created.id[..12]);
    let by_prefix = bench
        .host
        .inspect_container(&created.id[..12])
        .await
        .expect("inspect by short id");
    assert_eq!(by_prefix.id, created.id);
    bench.remove(&name).await;
    refused(bench.host.inspect_container(&name).await, Kind::NotFound);
}

async fn what_was_asked_for_is_kept(bench: Bench) {
    let spec = ContainerSpec {
        entrypoint: Some(vec!["sh".into(), "-c".into()]),
        env: vec!["A=1".into(), "B=two words".into()],
        working_dir: Some("/tmp".into()),
        user: Some("1000:1000".into()),
        groups: vec!["20".into()],
        hostname: Some("web".into()),
        domainname: Some("example".into()),
        annotations: BTreeMap::from([("note".into(), "x".into())]),
        stop_signal: Some("SIGQUIT".into()),
        stop_timeout: Some(Duration::from_secs(3)),
        healthcheck: Some(Healthcheck {
            test: vec!["CMD".into(), "true".into()],
            interval: Some(Duration::from_millis(1500)),
            timeout: Some(Duration::from_secs(2)),
            start_period: Some(Duration::from_secs(4)),
            start_interval: Some(Duration::from_secs(1)),
            retries: Some(5),
        }),
        exposed_ports: ["81/tcp".parse().expect("a port")].into(),
        mounts: vec![Mount::Tmpfs {
            target: "/scratch".into(),
            size_bytes: Some(1 << 20),
            mode: Some(0o700),
            options: vec![],
        }],
        ports: vec![PortBinding {
            port: "80/tcp".parse().expect("a port"),
            host_ip: Some("127.0.0.1".parse().expect("an address")),
            host_ports: Some((38_080, 38_080)),
        }],
        networks: vec![EndpointSpec {
            network: "bridge".into(),
            aliases: vec!["alias".into()],
            ..EndpointSpec::default()
        }],
        dns: vec!["192.0.2.1".into()],
        dns_search: vec!["example".into()],
        dns_options: vec!["ndots:1".into()],
        extra_hosts: vec![("db".into(), "192.0.2.2".into())],
        restart: RestartPolicy::OnFailure {
            max_retries: Some(4),
        },
        read_only: true,
        init: true,
        cap_add: vec!["NET_ADMIN".into()],
        cap_drop: vec!["CHOWN".into()],
        no_new_privileges: true,
        resources: Resources {
            memory_bytes: Some(64 << 20),
            nano_cpus: Some(500_000_000),
            pids: Some(100),
            ..Resources::default()
        },
        ulimits: vec![Ulimit {
            name: "nofile".into(),
            soft: 512,
            hard: 1024,
        }],
        sysctls: BTreeMap::from([("net.ipv4.ip_unprivileged_port_start".into(), "0".into())]),
        shm_bytes: Some(1 << 20),
        ..bench.spec(&["true"])
    };
    let name = bench.create("c", &spec).await;
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert_eq!(container.spec, spec);
    assert_eq!(container.args, ["sh", "-c", "true"]);
    assert_eq!(container.stop_signal, "SIGQUIT");
    assert!(
        container.env.contains(&"B=two words".to_string()),
        "{:?}",
        container.env
    );
    bench.remove(&name).await;
}

async fn a_name_is_taken_once(bench: Bench) {
    let spec = bench.spec(&["true"]);
    let name = bench.create("c", &spec).await;
    let text = refused(
        bench.host.create_container(Some(&name), &spec).await,
        Kind::Conflict,
    );
    assert!(text.contains(&name), "{text}");
    bench.remove(&name).await;
    let again = bench.create("c", &spec).await;
    bench.remove(&again).await;
}

async fn an_unknown_thing_is_not_found(bench: Bench) {
    let host = &bench.host;
    let nope = bench.name("nope");
    refused(host.inspect_container(&nope).await, Kind::NotFound);
    refused(host.start_container(&nope).await, Kind::NotFound);
    refused(host.stop_container(&nope, None).await, Kind::NotFound);
    refused(host.kill_container(&nope, None).await, Kind::NotFound);
    refused(
        host.remove_container(&nope, RemoveOptions::default()).await,
        Kind::NotFound,
    );
    refused(
        host.wait_container(&nope, WaitFor::NotRunning).await,
        Kind::NotFound,
    );
    refused(host.inspect_network(&nope).await, Kind::NotFound);
    refused(host.remove_network(&nope).await, Kind::NotFound);
    refused(host.inspect_volume(&nope).await, Kind::NotFound);
    refused(host.remove_volume(&nope, false).await, Kind::NotFound);
    refused(host.inspect_image(&nope).await, Kind::NotFound);
    refused(host.inspect_exec(&nope).await, Kind::NotFound);
    let spec = ContainerSpec {
        image: nope.clone(),
        ..bench.spec(&["true"])
    };
    let text = refused(host.create_container(None, &spec).await, Kind::NotFound);
    assert!(text.contains(&nope), "{text}");
    let spec = ContainerSpec {
        networks: vec![EndpointSpec {
            network: nope.clone(),
            ..EndpointSpec::default()
        }],
        ..bench.spec(&["true"])
    };
    let text = match host.create_container(Some(&nope), &spec).await {
        // Docker looks for the network at the start.
        Ok(_) => refused(host.start_container(&nope).await, Kind::NotFound),
        refusal => refused(refusal, Kind::NotFound),
    };
    assert!(text.contains(&nope), "{text}");
}

async fn a_bad_name_is_invalid(bench: Bench) {
    for bad in ["../x", "-rf", "a b", "a/b"] {
        let spec = bench.spec(&["true"]);
        refused(
            bench.host.create_container(Some(bad), &spec).await,
            Kind::Invalid,
        );
        let volume = VolumeSpec {
            name: bad.into(),
            ..VolumeSpec::default()
        };
        refused(bench.host.create_volume(&volume).await, Kind::Invalid);
        let network = NetworkSpec {
            name: bad.into(),
            ..NetworkSpec::default()
        };
        refused(bench.host.create_network(&network).await, Kind::Invalid);
    }
}

async fn a_program_runs_to_its_end(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sh", "-c", "exit 7"])).await;
    assert_eq!(bench.exit_code(&name).await, 7);
    let State::Exited { exit } = bench.state(&name).await else {
        panic!("not exited");
    };
    assert_eq!(exit.code, 7);
    let started = exit.started_at.expect("it ran");
    assert!(exit.finished_at >= started);
    bench.remove(&name).await;
}

async fn a_missing_program_fails_the_start(bench: Bench) {
    let name = bench.create("c", &bench.spec(&["/bin/nope"])).await;
    let text = refused(bench.host.start_container(&name).await, Kind::NotFound);
    assert!(text.contains("/bin/nope"), "{text}");
    assert!(text.contains("no such file or directory"), "{text}");
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert!(!container.state.is_running());
    assert_eq!(container.state.exit().expect("a failed start").code, 127);
    bench.remove(&name).await;
}

async fn a_running_container_does_not_start_again(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    assert!(bench.state(&name).await.is_running());
    refused(bench.host.start_container(&name).await, Kind::Unchanged);
    let text = refused(
        bench
            .host
            .remove_container(&name, RemoveOptions::default())
            .await,
        Kind::Conflict,
    );
    assert!(text.contains("running"), "{text}");
    bench.remove(&name).await;
}

async fn a_stopped_container_starts_again(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    bench
        .host
        .stop_container(&name, Some(Duration::ZERO))
        .await
        .expect("stop");
    assert_eq!(bench.state(&name).await.exit().expect("stopped").code, 137);
    refused(
        bench.host.stop_container(&name, None).await,
        Kind::Unchanged,
    );
    bench
        .host
        .start_container(&name)
        .await
        .expect("start again");
    assert!(bench.state(&name).await.is_running());
    let before = bench.state(&name).await;
    bench
        .host
        .restart_container(&name, Some(Duration::ZERO))
        .await
        .expect("restart");
    let after = bench.state(&name).await;
    assert!(after.is_running());
    assert_ne!(before, after);
    bench.remove(&name).await;
}

async fn a_kill_ends_it(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    refused(
        bench.host.kill_container(&name, Some("SIGNOPE")).await,
        Kind::Invalid,
    );
    bench
        .host
        .kill_container(&name, Some("KILL"))
        .await
        .expect("kill");
    assert_eq!(bench.exit_code(&name).await, 137);
    refused(bench.host.kill_container(&name, None).await, Kind::Conflict);
    bench.remove(&name).await;
}

async fn output_is_kept_in_order(bench: Bench) {
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

async fn following_ends_with_the_container(bench: Bench) {
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

async fn attached_before_the_start_sees_all(bench: Bench) {
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

async fn input_reaches_the_program(bench: Bench) {
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

async fn exec(bench: &Bench, name: &str, command: &[&str]) -> (i32, String) {
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

async fn an_exec_runs_beside(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    assert_eq!(
        exec(&bench, &name, &["echo", "hi"]).await,
        (0, "hi\n".into())
    );
    assert_eq!(exec(&bench, &name, &["sh", "-c", "exit 3"]).await.0, 3);
    assert!(bench.state(&name).await.is_running());
    bench.remove(&name).await;
}

async fn an_exec_of_a_missing_program_ends_with_127(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    let (code, text) = exec(&bench, &name, &["/bin/nope"]).await;
    assert_eq!(code, 127);
    assert!(
        text.contains("/bin/nope") && text.contains("no such file or directory"),
        "{text}"
    );
    bench.remove(&name).await;
}

async fn no_exec_without_a_running_container(bench: Bench) {
    let name = bench.create("c", &bench.spec(&["true"])).await;
    let spec = ExecSpec {
        command: vec!["true".into()],
        ..ExecSpec::default()
    };
    refused(bench.host.create_exec(&name, &spec).await, Kind::Conflict);
    bench.remove(&name).await;
}

async fn lists_are_filtered(bench: Bench) {
    let running = bench
        .start("running", &bench.spec(&["sleep", "1000"]))
        .await;
    let created = bench.create("created", &bench.spec(&["true"])).await;
    let names = |containers: Vec<crate::container::Container>| -> Vec<String> {
        containers
            .into_iter()
            .map(|container| container.name)
            .collect()
    };
    let ours = ContainerFilter::labelled("contract", &bench.prefix);
    let all = bench.host.list_containers(&ours).await.expect("list");
    assert_eq!(
        names(all),
        [created.clone(), running.clone()],
        "newest first"
    );
    let only_running = ContainerFilter {
        all: false,
        ..ours.clone()
    };
    let found = bench
        .host
        .list_containers(&only_running)
        .await
        .expect("list");
    assert_eq!(names(found), std::slice::from_ref(&running));
    let by_status = ContainerFilter {
        statuses: vec!["created".into()],
        ..ours.clone()
    };
    let found = bench.host.list_containers(&by_status).await.expect("list");
    assert_eq!(names(found), std::slice::from_ref(&created));
    let by_name = ContainerFilter {
        names: vec![running.clone()],
        ..ours
    };
    let found = bench.host.list_containers(&by_name).await.expect("list");
    assert_eq!(names(found), std::slice::from_ref(&running));
    let none = ContainerFilter::labelled("contract", "nobody");
    assert!(
        bench
            .host
            .list_containers(&none)
            .await
            .expect("list")
            .is_empty()
    );
    bench.remove(&running).await;
    bench.remove(&created).await;
}

async fn a_wait_sees_the_next_exit(bench: Bench) {
    let name = bench
        .create("c", &bench.spec(&["sh", "-c", "exit 4"]))
        .await;
    let not_running = bench.host.wait_container(&name, WaitFor::NotRunning).await;
    not_running.expect("it does not run");
    let (host, waited) = (bench.host.clone(), name.clone());
    let wait = tokio::spawn(async move { host.wait_container(&waited, WaitFor::NextExit).await });
    // The wait has to be there first: what it promises is about exits after it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.host.start_container(&name).await.expect("start");
    let exit = wait.await.expect("no panic").expect("wait");
    assert_eq!(exit.code, 4);
    bench.remove(&name).await;
}

async fn a_paused_container_is_running(bench: Bench) {
    let name = bench.start("c", &bench.spec(&["sleep", "1000"])).await;
    bench.host.pause_container(&name).await.expect("pause");
    let state = bench.state(&name).await;
    assert!(
        matches!(state, State::Paused { .. }) && state.is_running(),
        "{state:?}"
    );
    refused(bench.host.pause_container(&name).await, Kind::Conflict);
    bench.host.unpause_container(&name).await.expect("unpause");
    assert!(matches!(bench.state(&name).await, State::Running { .. }));
    refused(bench.host.unpause_container(&name).await, Kind::Conflict);
    bench.remove(&name).await;
}

async fn a_failing_program_is_restarted(bench: Bench) {
    let spec = ContainerSpec {
        restart: RestartPolicy::OnFailure {
            max_retries: Some(2),
        },
        ..bench.spec(&["false"])
    };
    let name = bench.start("c", &spec).await;
    assert_eq!(bench.exit_code(&name).await, 1);
    until("two restarts", || async {
        let container = bench.host.inspect_container(&name).await.expect("inspect");
        container.restart_count == 2 && matches!(container.state, State::Exited { .. })
    })
    .await;
    bench.remove(&name).await;
}

async fn a_container_can_remove_itself(bench: Bench) {
    let spec = ContainerSpec {
        auto_remove: true,
        ..bench.spec(&["sh", "-c", "exit 5"])
    };
    let name = bench.create("c", &spec).await;
    let (host, waited) = (bench.host.clone(), name.clone());
    let wait = tokio::spawn(async move { host.wait_container(&waited, WaitFor::Removed).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    bench.host.start_container(&name).await.expect("start");
    assert_eq!(wait.await.expect("no panic").expect("wait").code, 5);
    refused(bench.host.inspect_container(&name).await, Kind::NotFound);
}

async fn health_is_probed(bench: Bench) {
    for (program, status) in [
        ("true", HealthStatus::Healthy),
        ("false", HealthStatus::Unhealthy),
    ] {
        let spec = ContainerSpec {
            healthcheck: Some(Healthcheck {
                test: vec!["CMD".into(), program.into()],
                interval: Some(Duration::from_millis(100)),
                retries: Some(1),
                ..Healthcheck::default()
            }),
            ..bench.spec(&["sleep", "1000"])
        };
        let name = bench.start(program, &spec).await;
        until(status.as_str(), || async {
            let container = bench.host.inspect_container(&name).await.expect("inspect");
            container
                .health
                .is_some_and(|health| health.status == status)
        })
        .await;
        bench.remove(&name).await;
    }
}

async fn a_container_is_renamed(bench: Bench) {
    let name = bench.create("old", &bench.spec(&["true"])).await;
    let other = bench.create("other", &bench.spec(&["true"])).await;
    let new = bench.name("new");
    refused(
        bench.host.rename_container(&name, &other).await,
        Kind::Conflict,
    );
    refused(
        bench.host.rename_container(&name, "../x").await,
        Kind::Invalid,
    );
    bench
        .host
        .rename_container(&name, &new)
        .await
        .expect("rename");
    refused(bench.host.inspect_container(&name).await, Kind::NotFound);
    bench.remove(&new).await;
    bench.remove(&other).await;
}

async fn events_tell_the_story(bench: Bench) {
    let filter = EventFilter {
        subjects: vec![Subject::Container],
        labels: vec![("contract".into(), Some(bench.prefix.clone()))],
        ..EventFilter::default()
    };
    let mut events = bench.host.events(filter).await.expect("events");
    let name = bench.start("c", &bench.spec(&["sh", "-c", "exit 6"])).await;
    bench.exit_code(&name).await;
    bench.remove(&name).await;
    let mut story = Vec::new();
    while story.last().is_none_or(|action| action != "destroy") {
        let event = events
            .next()
            .await
            .expect("another event")
            .expect("no error");
        assert_eq!(event.attributes["name"], name);
        if event.action == "die" {
            assert_eq!(event.attributes["exitCode"], "6");
        }
        story.push(event.action);
    }
    assert_eq!(story, ["create", "start", "die", "destroy"]);
}

async fn networks_come_and_go(bench: Bench) {
    let spec = NetworkSpec {
        name: bench.name("net"),
        labels: BTreeMap::from([("a".into(), "b".into())]),
        internal: true,
        ..NetworkSpec::default()
    };
    let id = bench.host.create_network(&spec).await.expect("create");
    refused(bench.host.create_network(&spec).await, Kind::Conflict);
    let network = bench
        .host
        .inspect_network(&spec.name)
        .await
        .expect("inspect");
    assert_eq!(
        (&network.id, &network.spec.labels, network.spec.internal),
        (&id, &spec.labels, true)
    );
    assert_eq!(network.spec.driver, "bridge");
    assert!(
        network.spec.ipam[0].subnet.is_some(),
        "an address plan was chosen"
    );
    let listed = bench.host.list_networks().await.expect("list");
    assert!(listed.iter().any(|network| network.id == id));
    bench.host.remove_network(&spec.name).await.expect("remove");
    refused(bench.host.inspect_network(&id).await, Kind::NotFound);
}

async fn a_container_joins_networks(bench: Bench) {
    let mut networks = Vec::new();
    for what in ["one", "two"] {
        let spec = NetworkSpec {
            name: bench.name(what),
            ..NetworkSpec::default()
        };
        bench
            .host
            .create_network(&spec)
            .await
            .expect("create network");
        networks.push(spec.name);
    }
    let endpoint = |network: &String| EndpointSpec {
        network: network.clone(),
        aliases: vec!["web".into()],
        ..EndpointSpec::default()
    };
    let spec = ContainerSpec {
        networks: vec![endpoint(&networks[0])],
        ..bench.spec(&["sleep", "1000"])
    };
    let name = bench.start("c", &spec).await;
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    let place = &container.endpoints[0];
    assert_eq!(place.network_name, networks[0]);
    let address: Ipv4Addr = place.address.expect("an address while it runs");
    for dns_name in ["web", &name, &container.id[..12]] {
        assert!(
            place.dns_names.iter().any(|found| found == dns_name),
            "{:?}",
            place.dns_names
        );
    }
    let network = bench
        .host
        .inspect_network(&networks[0])
        .await
        .expect("inspect network");
    assert_eq!(network.endpoints[0].address, address);
    let text = refused(
        bench.host.remove_network(&networks[0]).await,
        Kind::Conflict,
    );
    assert!(text.contains(&name), "{text}");

    bench
        .host
        .connect_network(&name, &endpoint(&networks[1]))
        .await
        .expect("connect");
    refused(
        bench
            .host
            .connect_network(&name, &endpoint(&networks[1]))
            .await,
        Kind::Conflict,
    );
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert!(
        container
            .endpoints
            .iter()
            .all(|place| place.address.is_some())
    );
    assert_eq!(container.endpoints.len(), 2);
    bench
        .host
        .disconnect_network(&networks[1], &name, false)
        .await
        .expect("disconnect");
    let container = bench.host.inspect_container(&name).await.expect("inspect");
    assert_eq!(container.endpoints.len(), 1);
    bench.remove(&name).await;
    for network in networks {
        bench
            .host
            .remove_network(&network)
            .await
            .expect("remove network");
    }
}

async fn volumes_come_and_go(bench: Bench) {
    let spec = VolumeSpec {
        name: bench.name("vol"),
        labels: BTreeMap::from([("a".into(), "b".into())]),
        ..VolumeSpec::default()
    };
    let made = bench.host.create_volume(&spec).await.expect("create");
    assert_eq!(
        (made.driver.as_str(), &made.labels, made.anonymous),
        ("local", &spec.labels, false)
    );
    let again = bench.host.create_volume(&spec).await.expect("create again");
    assert_eq!(again, made);
    let container = ContainerSpec {
        mounts: vec![Mount::Volume {
            name: spec.name.clone(),
            target: "/data".into(),
            read_only: false,
            no_copy: false,
            subpath: None,
        }],
        ..bench.spec(&["true"])
    };
    let name = bench.create("c", &container).await;
    let mounts = bench
        .host
        .inspect_container(&name)
        .await
        .expect("inspect")
        .mounts;
    assert_eq!(
        (mounts[0].name.as_ref(), &mounts[0].source),
        (Some(&spec.name), &made.mountpoint)
    );
    let text = refused(
        bench.host.remove_volume(&spec.name, false).await,
        Kind::Conflict,
    );
    assert!(text.contains(&name), "{text}");
    bench.remove(&name).await;
    assert!(
        bench
            .host
            .list_volumes()
            .await
            .expect("list")
            .contains(&made)
    );
    bench
        .host
        .remove_volume(&spec.name, false)
        .await
        .expect("remove");
    refused(bench.host.inspect_volume(&spec.name).await, Kind::NotFound);
}

async fn anonymous_volumes_go_when_asked(bench: Bench) {
    let spec = ContainerSpec {
        anonymous_volumes: ["/data".to_string()].into(),
        ..bench.spec(&["true"])
    };
    for keep in [false, true] {
        let name = bench.create("c", &spec).await;
        let mounts = bench
            .host
            .inspect_container(&name)
            .await
            .expect("inspect")
            .mounts;
        let volume = mounts[0].name.clone().expect("a volume");
        let options = RemoveOptions {
            force: false,
            volumes: !keep,
        };
        bench
            .host
            .remove_container(&name, options)
            .await
            .expect("remove");
        if keep {
            assert!(
                bench
                    .host
                    .inspect_volume(&volume)
                    .await
                    .expect("kept")
                    .anonymous
            );
            bench
                .host
                .remove_volume(&volume, false)
                .await
                .expect("remove volume");
        }
        refused(bench.host.inspect_volume(&volume).await, Kind::NotFound);
    }
}

async fn images_have_many_names(bench: Bench) {
    let image = bench
        .host
        .inspect_image(&bench.image)
        .await
        .expect("the image of the suite");
    assert!(image.id.starts_with("sha256:"), "{}", image.id);
    let tag = format!("{}:v1", bench.name("image"));
    bench.host.tag_image(&bench.image, &tag).await.expect("tag");
    let same = bench
        .host
        .inspect_image(&tag)
        .await
        .expect("by its new name");
    assert_eq!(same.id, image.id);
    assert!(same.tags.contains(&tag), "{:?}", same.tags);
    let by_id = bench
        .host
        .inspect_image(&image.id[7..19])
        .await
        .expect("by its short id");
    assert_eq!(by_id.id, image.id);
    bench.host.remove_image(&tag, false).await.expect("untag");
    refused(bench.host.inspect_image(&tag).await, Kind::NotFound);
    bench
        .host
        .inspect_image(&bench.image)
        .await
        .expect("the image has its first name still");
}

async fn the_machine_describes_itself(bench: Bench) {
    let info = bench.host.info().await.expect("info");
    assert!(info.cpus > 0 && info.memory_bytes > 0, "{info:?}");
    assert!(matches!(info.cgroup_version, 1 | 2));
    assert!(!info.version.is_empty() && !info.kernel.is_empty());
}

#[cfg(test)]
mod tests {
    use orc_base::clock::SystemClock;

    use super::*;
    use crate::fake::FakeHost;
    use crate::image::ImageConfig;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_fake_keeps_every_promise() {
        let host = FakeHost::new(Arc::new(SystemClock));
        host.add_image("busybox:latest", ImageConfig::default());
        run_all(Arc::new(host), "busybox:latest").await;
    }
}
