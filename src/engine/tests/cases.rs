//! What an engine does with real containers, one case after the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orc_base::Kind;
use orc_host::Host;
use orc_host::container::{
    ContainerSpec, HealthStatus, Mount, RestartPace, RestartPolicy, State, Submounts,
};
use orc_host::image::Healthcheck;
use orc_host::stop::StopOptions;

use crate::bed::{Bed, all, exec, log, remove, remove_all, run as start, run_to_end, shell};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long one case may take.
const PATIENCE: Duration = Duration::from_secs(90);

macro_rules! cases {
    ($($name:ident)*) => {
        const CASES: &[(&str, fn(Arc<Bed>) -> Work)] =
            &[$((stringify!($name), |bed| Box::pin($name(bed)))),*];
    };
}

cases! {
    it_keeps_the_contract
    a_container_is_told_who_it_is
    failures_leave_nothing
    volumes_are_filled_from_the_image
    mounts_appear_where_they_should
    containers_outlive_the_engine
    what_ended_without_an_engine_is_known
    a_crash_in_between_is_put_right
    a_probe_that_hangs_is_killed
    lines_are_whole
    many_at_once_end_well
    a_restart_policy_has_its_pace
    a_boot_asks_the_restart_policy
    a_damaged_record_harms_no_other
    what_was_found_again_restarts_after_it_was_torn_down
    names_are_answered_on_a_network
    a_terminal_is_attached
    images_leave_as_they_came
    starts_are_quick
}

/// Runs the cases whose names contain a wanted word, and tells how many failed.
pub(crate) fn run(wanted: &[String]) -> usize {
    let mut failed = 0;
    for (name, case) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let began = Instant::now();
        let ended = std::thread::spawn(move || one(*case)).join();
        let verdict = if ended.is_ok() { "ok" } else { "FAILED" };
        println!("case {name} ... {verdict} ({:.2?})", began.elapsed());
        failed += usize::from(ended.is_err());
    }
    failed
}

fn one(case: fn(Arc<Bed>) -> Work) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let bed = Arc::new(Bed::new());
    let ended = runtime.block_on(async {
        let case = tokio::spawn(case(bed.clone()));
        let ended = tokio::time::timeout(PATIENCE, case).await;
        // Another engine cleans up, also after a failure.
        let engine = bed.open().await;
        remove_all(&engine).await;
        if matches!(ended, Ok(Ok(()))) {
            bed.is_clean().await;
        }
        ended
    });
    drop(runtime);
    drop(bed);
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        Err(_) => panic!("no end after {PATIENCE:?}"),
    }
}

async fn it_keeps_the_contract(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    orc_host::contract::run_all(engine, crate::bed::IMAGE).await;
}

async fn a_container_is_told_who_it_is(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let spec = ContainerSpec {
        hostname: Some("web".into()),
        env: vec!["A=1".into()],
        working_dir: Some("/tmp".into()),
        user: Some("7:8".into()),
        extra_hosts: vec![("db".into(), "10.9.9.9".into())],
        ..shell(
            "hostname; echo $A $HOSTNAME; cat /etc/hosts /etc/resolv.conf; id -u; id -g; echo $PWD; cat /proc/self/limits | grep 'open files' || true; echo oops >&2",
        )
    };
    let (code, text) = run_to_end(&engine, &spec).await;
    assert_eq!(code, 0, "{text}");
    for line in [
        "web\n",
        "1 web\n",
        "10.9.9.9\tdb\n",
        "nameserver 1",
        "\n7\n8\n/tmp\n",
        "! oops\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
}

async fn failures_leave_nothing(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let program = |program: &str| ContainerSpec {
        command: Some(vec![program.into()]),
        ..shell("")
    };
    for (path, kind, code, word) in [
        (
            "/bin/nope",
            Kind::NotFound,
            127,
            "no such file or directory",
        ),
        ("/etc/notexec", Kind::Denied, 126, "permission denied"),
    ] {
        engine
            .create_container(Some("c"), &program(path))
            .await
            .expect("create");
        let error = engine.start_container("c").await.expect_err("no start");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().contains(word) && error.to_string().contains(path),
            "{error}"
        );
        let State::Created { exit: Some(exit) } =
            engine.inspect_container("c").await.expect("c").state
        else {
            panic!("not created")
        };
        assert_eq!(exit.code, code);
        remove(&engine, "c").await;
    }
    let missing = ContainerSpec {
        mounts: vec![Mount::Bind {
            source: bed.path("nope"),
            target: "/x".into(),
            read_only: false,
            propagation: None,
            create_source: false,
            submounts: Submounts::Follow,
        }],
        ..shell("true")
    };
    let error = engine
        .create_container(Some("c"), &missing)
        .await
        .expect_err("no source");
    assert!(error.to_string().contains("nope"), "{error}");
    let unknown = ContainerSpec {
        image: "nobody/nothing:1".into(),
        ..shell("true")
    };
    let error = engine
        .create_container(Some("c"), &unknown)
        .await
        .expect_err("no image");
    assert_eq!(error.kind(), Kind::NotFound);
    let busy = ContainerSpec {
        ports: vec![port(18_181)],
        ..shell("sleep 1000")
    };
    start(&engine, "one", &busy).await;
    engine
        .create_container(Some("two"), &busy)
        .await
        .expect("create");
    let error = engine
        .start_container("two")
        .await
        .expect_err("the port is taken");
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(error.to_string().contains("one"), "{error}");
    remove(&engine, "one").await;
    engine
        .start_container("two")
        .await
        .expect("the port is free again");
    remove(&engine, "two").await;
    bed.is_clean().await;
}

fn port(host: u16) -> orc_host::network::PortBinding {
    orc_host::network::PortBinding {
        port: "80".parse().expect("a port"),
        host_ip: None,
        host_ports: Some((host, host)),
    }
}

fn volume(name: &str, target: &str) -> Mount {
    Mount::Volume {
        name: name.into(),
        target: target.into(),
        read_only: false,
        no_copy: false,
        subpath: None,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    }
}

async fn volumes_are_filled_from_the_image(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let spec = ContainerSpec {
        mounts: vec![volume("data", "/srv")],
        ..shell("cat /srv/file; stat -c %u:%g /srv; echo mine > /srv/file")
    };
    let (code, text) = run_to_end(&engine, &spec).await;
    assert_eq!((code, text.as_str()), (0, "from the image\n33:34\n"));
    let (_, text) = run_to_end(&engine, &spec).await;
    assert!(text.starts_with("mine\n"), "{text}");
    engine
        .remove_volume("data", false)
        .await
        .expect("nobody uses it");
}

async fn mounts_appear_where_they_should(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let source = bed.path("source");
    std::fs::create_dir(&source).expect("a directory");
    std::fs::write(source.join("file"), "outside\n").expect("a file");
    let bind = |source: std::path::PathBuf, target: &str, read_only| Mount::Bind {
        source,
        target: target.into(),
        read_only,
        propagation: None,
        create_source: false,
        submounts: Submounts::Follow,
    };
    let spec = ContainerSpec {
        mounts: vec![
            bind(source.clone(), "/a/b", false),
            bind(source.join("file"), "/one", true),
            Mount::Tmpfs {
                target: "/a".into(),
                size_bytes: Some(1 << 20),
                mode: None,
                options: Vec::new(),
            },
        ],
        read_only: true,
        ..shell(
            "cat /a/b/file /one; echo x > /a/b/new; echo x > /a/t; echo x > /one; echo x > /root-file",
        )
    };
    let (_, text) = run_to_end(&engine, &spec).await;
    assert!(text.starts_with("outside\noutside\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert_eq!(
        std::fs::read_to_string(source.join("new")).expect("written"),
        "x\n"
    );
}

async fn containers_outlive_the_engine(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let spec = ContainerSpec {
        ports: vec![port(18_182)],
        healthcheck: Some(Healthcheck {
            test: vec!["CMD".into(), "true".into()],
            interval: Some(Duration::from_millis(50)),
            ..Healthcheck::default()
        }),
        ..shell("i=0; while true; do i=$((i+1)); echo line $i; sleep 0.01; done")
    };
    start(&engine, "writer", &spec).await;
    let web = ContainerSpec {
        ports: vec![port(18_183)],
        ..shell("while true; do echo hello | nc -l -p 80; done")
    };
    start(&engine, "web", &web).await;
    until(&engine, "writer", |container| {
        container
            .health
            .as_ref()
            .is_some_and(|health| health.status == HealthStatus::Healthy)
    })
    .await;
    let before = engine.inspect_container("writer").await.expect("writer");
    drop(engine);
    tokio::time::sleep(Duration::from_millis(300)).await;

    let began = Instant::now();
    let engine = bed.open().await;
    println!("  reopened in {:?}", began.elapsed());
    let after = engine.inspect_container("writer").await.expect("writer");
    assert_eq!(after.state, before.state);
    assert_eq!(after.endpoints, before.endpoints);
    assert_eq!(after.published, before.published);
    let health = after.health.expect("its health is kept");
    assert_eq!(health.status, HealthStatus::Healthy);
    until(&engine, "writer", |container| {
        container.health.as_ref().is_some_and(|health| {
            health
                .log
                .last()
                .is_some_and(|probe| probe.start > before.created.plus(began.elapsed()))
        })
    })
    .await;
    let answer = connect("127.0.0.1:18183").await;
    assert_eq!(answer, "hello\n");
    let (code, text) = exec(&engine, "writer", "echo $HOSTNAME").await;
    assert_eq!((code, text.trim()), (Some(0), &before.id[..12]));
    engine
        .stop_container("writer", &StopOptions::default())
        .await
        .expect("stop");
    let text = log(&engine, "writer").await;
    let numbers: Vec<u64> = text
        .lines()
        .filter_map(|line| line.strip_prefix("line ")?.parse().ok())
        .collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "no line is lost or doubled");
    remove_all(&engine).await;
}

async fn connect(address: &str) -> String {
    use tokio::io::AsyncReadExt;
    for _ in 0..100 {
        if let Ok(mut stream) = tokio::net::TcpStream::connect(address).await {
            let mut text = String::new();
            if stream.read_to_string(&mut text).await.is_ok() && !text.is_empty() {
                return text;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{address} does not answer");
}

async fn until(
    engine: &orc_engine::Engine,
    name: &str,
    look: impl Fn(&orc_host::container::Container) -> bool,
) {
    loop {
        if look(&engine.inspect_container(name).await.expect("a container")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn what_ended_without_an_engine_is_known(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    start(&engine, "ends", &shell("sleep 0.3; exit 9")).await;
    let again = ContainerSpec {
        restart: RestartPolicy::Always,
        ..shell("sleep 0.3; exit 1")
    };
    start(&engine, "again", &again).await;
    let itself = ContainerSpec {
        auto_remove: true,
        ..shell("sleep 0.3")
    };
    start(&engine, "itself", &itself).await;
    drop(engine);
    tokio::time::sleep(Duration::from_millis(800)).await;
    let engine = bed.open().await;
    let State::Exited { exit } = engine.inspect_container("ends").await.expect("ends").state else {
        panic!("it ended");
    };
    assert_eq!(exit.code, 9);
    until(&engine, "again", |container| {
        container.restart_count > 0 && container.state.is_running()
    })
    .await;
    for _ in 0..500 {
        if engine.inspect_container("itself").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    engine
        .inspect_container("itself")
        .await
        .expect_err("it removed itself");
    remove_all(&engine).await;
}

async fn a_crash_in_between_is_put_right(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    start(&engine, "kept", &shell("sleep 1000")).await;
    let kept = engine.inspect_container("kept").await.expect("kept");
    let spec = ContainerSpec {
        anonymous_volumes: ["/data".to_owned()].into(),
        ..shell("sleep 1000")
    };
    start(&engine, "half", &spec).await;
    let half = engine.inspect_container("half").await.expect("half");
    drop(engine);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // As if its record had never been acknowledged: a program runs that nobody owns.
    let directory = bed.path("data/containers").join(&half.id);
    std::fs::remove_file(directory.join("container.json")).expect("a record");
    std::fs::create_dir_all(bed.path("run/containers").join("0".repeat(64))).expect("a stray");

    let engine = bed.open().await;
    engine
        .inspect_container("half")
        .await
        .expect_err("it was never there");
    assert!(!std::path::Path::new(&format!("/proc/{}", half.state.pid().expect("a pid"))).exists());
    assert!(engine.list_volumes().await.expect("volumes").is_empty());
    let same = engine.inspect_container("kept").await.expect("kept");
    assert_eq!(same.state, kept.state);
    remove(&engine, "kept").await;
    bed.is_clean().await;
}

async fn a_probe_that_hangs_is_killed(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let spec = ContainerSpec {
        healthcheck: Some(Healthcheck {
            test: vec!["CMD-SHELL".into(), "echo probing; sleep 1000".into()],
            interval: Some(Duration::from_millis(50)),
            timeout: Some(Duration::from_millis(200)),
            retries: Some(2),
            ..Healthcheck::default()
        }),
        ..shell("sleep 1000")
    };
    start(&engine, "sick", &spec).await;
    until(&engine, "sick", |container| {
        container
            .health
            .as_ref()
            .is_some_and(|health| health.status == HealthStatus::Unhealthy)
    })
    .await;
    let health = engine.inspect_container("sick").await.expect("it").health;
    let probe = health.expect("a health").log.pop().expect("a probe");
    assert_eq!(probe.exit_code, -1);
    assert_eq!(
        probe.output,
        "Health check exceeded timeout (200ms): probing\n"
    );
    let top = engine.top("sick").await.expect("top");
    let probes = top
        .processes
        .iter()
        .filter(|row| row[7].contains("probing"));
    assert!(probes.count() <= 1, "{top:?}");
}

async fn lines_are_whole(bed: Arc<Bed>) {
    use futures_util::StreamExt;
    let engine = bed.open_with_image().await;
    let line = "printf begun; for i in 1 2 3; do echo $i >&2; done; while [ ! -e /go ]; do sleep 0.02; done; echo ' and ended'; echo last";
    start(&engine, "writer", &shell(line)).await;
    while !log(&engine, "writer").await.contains("! 3\n") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let options = orc_host::stream::LogOptions {
        follow: true,
        tail: Some(2),
        ..Default::default()
    };
    let lines = engine.logs("writer", &options).await.expect("logs");
    exec(&engine, "writer", "echo > /go").await;
    let texts: Vec<String> = lines
        .map(|line| String::from_utf8_lossy(&line.expect("a line").bytes).into_owned())
        .collect()
        .await;
    assert_eq!(texts, ["2\n", "3\n", "begun and ended\n", "last\n"]);
    let since = engine
        .inspect_container("writer")
        .await
        .expect("it")
        .created;
    let options = orc_host::stream::LogOptions {
        since: Some(since.plus(Duration::from_secs(3600))),
        ..Default::default()
    };
    assert_eq!(
        engine
            .logs("writer", &options)
            .await
            .expect("logs")
            .count()
            .await,
        0
    );
}

async fn many_at_once_end_well(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    for round in 0..5 {
        let creations = (0..8).map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let spec = shell("sleep 1000");
                engine.create_container(Some("one"), &spec).await
            })
        });
        let created = futures_util::future::join_all(creations).await;
        let (made, refused): (Vec<_>, Vec<_>) = created
            .into_iter()
            .map(|made| made.expect("no panic"))
            .partition(Result::is_ok);
        assert_eq!(made.len(), 1, "round {round}");
        assert!(refused.iter().all(|made| {
            made.as_ref()
                .is_err_and(|error| error.kind() == Kind::Conflict)
        }));
        let operations = (0..12).map(|index| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let at_once = &StopOptions::within(Some(Duration::ZERO));
                // Whatever comes too late is refused; nothing hangs and nothing is left.
                let _ = match index % 4 {
                    0 => engine.start_container("one").await,
                    1 => engine.stop_container("one", at_once).await,
                    2 => engine.restart_container("one", at_once).await,
                    _ => engine.kill_container("one", None).await,
                };
            })
        });
        futures_util::future::join_all(operations).await;
        remove(&engine, "one").await;
        bed.is_clean().await;
    }
}

/// Says in a container's state that it is of another boot.
fn pretend_boot(bed: &Bed, id: &str) {
    let path = bed.path("data/containers").join(id).join("state.json");
    let text = std::fs::read_to_string(&path).expect("a state");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
    assert!(text.contains(boot.trim()));
    // Without the checksum that follows it is taken as it is.
    let record = text.lines().next().unwrap_or_default();
    std::fs::write(&path, record.replace(boot.trim(), "another")).expect("a state");
}

async fn a_restart_policy_has_its_pace(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let spec = ContainerSpec {
        restart: RestartPolicy::Always,
        restart_pace: RestartPace {
            delay: Some(Duration::from_millis(250)),
            window: Some(Duration::from_secs(60)),
            max_attempts: Some(2),
        },
        ..shell("echo run; exit 3")
    };
    let began = Instant::now();
    start(&engine, "tries", &spec).await;
    until(&engine, "tries", |container| {
        matches!(container.state, State::Exited { .. })
    })
    .await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert_eq!(log(&engine, "tries").await, "run\nrun\nrun\n");
    let tried = engine.inspect_container("tries").await.expect("inspect");
    assert_eq!(tried.restart_count, 2);
    assert_eq!(tried.spec.restart_pace, spec.restart_pace);
    remove_all(&engine).await;
}

async fn a_boot_asks_the_restart_policy(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let mut ids = Vec::new();
    for (name, restart) in [("no", RestartPolicy::No), ("always", RestartPolicy::Always)] {
        let spec = ContainerSpec {
            restart,
            ..shell("sleep 1000")
        };
        start(&engine, name, &spec).await;
        ids.push(engine.inspect_container(name).await.expect("it").id);
    }
    drop(engine);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for id in &ids {
        pretend_boot(&bed, id);
    }
    let engine = bed.open().await;
    until(&engine, "always", |container| container.state.is_running()).await;
    let State::Exited { exit } = engine.inspect_container("no").await.expect("no").state else {
        panic!("nothing starts it");
    };
    assert_eq!(exit.code, 137);
    remove_all(&engine).await;
}

async fn a_damaged_record_harms_no_other(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    for name in ["damaged", "whole"] {
        start(&engine, name, &shell("sleep 1000")).await;
    }
    let damaged = engine.inspect_container("damaged").await.expect("it");
    let record = bed
        .path("data/containers")
        .join(&damaged.id)
        .join("container.json");
    let text = std::fs::read(&record).expect("a record");
    drop(engine);
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::fs::write(&record, b"{").expect("a record");
    let engine = bed.open().await;
    engine
        .inspect_container("damaged")
        .await
        .expect_err("it cannot be read");
    assert!(
        engine
            .inspect_container("whole")
            .await
            .expect("it")
            .state
            .is_running()
    );
    drop(engine);
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::fs::write(&record, text).expect("a record");
    let engine = bed.open().await;
    let mended = engine
        .inspect_container("damaged")
        .await
        .expect("it is there again");
    assert_eq!(mended.state, damaged.state);
    remove_all(&engine).await;
}

async fn what_was_found_again_restarts_after_it_was_torn_down(bed: Arc<Bed>) {
    const MANY: usize = 8;
    let engine = bed.open_with_image().await;
    let names: Vec<String> = (0..MANY).map(|number| format!("c{number}")).collect();
    for name in &names {
        start(&engine, name, &shell("sleep 1000")).await;
    }
    drop(engine);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let engine = bed.open().await;
    let at_once = &StopOptions::within(Some(Duration::ZERO));
    let restarts = names
        .iter()
        .map(|name| engine.restart_container(name, at_once));
    for restarted in futures_util::future::join_all(restarts).await {
        restarted.expect("it starts where nothing of its last run is left");
    }
    remove_all(&engine).await;
}

async fn names_are_answered_on_a_network(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let network = orc_host::network::NetworkSpec {
        name: "front".into(),
        ..Default::default()
    };
    engine.create_network(&network).await.expect("a network");
    let on = |alias: &str, spec: ContainerSpec| ContainerSpec {
        networks: vec![orc_host::network::EndpointSpec {
            network: "front".into(),
            aliases: vec![alias.into()],
            ..Default::default()
        }],
        ..spec
    };
    start(
        &engine,
        "server",
        &on(
            "web",
            shell("while true; do echo hello | nc -l -p 80; done"),
        ),
    )
    .await;
    start(&engine, "client", &on("client-1", shell("sleep 1000"))).await;
    let line = "for i in 1 2 3 4 5 6 7 8 9; do nc web 80 && exit 0; sleep 0.1; done; exit 1";
    let (code, text) = exec(&engine, "client", line).await;
    assert_eq!((code, text.trim_end()), (Some(0), "hello"));
    let (code, text) = exec(&engine, "client", "nslookup server").await;
    assert_eq!(code, Some(0), "{text}");
    remove_all(&engine).await;
    engine
        .remove_network("front")
        .await
        .expect("nobody is on it");
    // The bridge goes a little later, and not after the engine.
    engine.end().await;
    assert_eq!(links(), 1, "the default network's bridge is left");
}

/// How many links of orc's there are.
fn links() -> usize {
    let devices = std::fs::read_to_string("/proc/thread-self/net/dev").expect("procfs");
    let names = devices.lines().map(str::trim_start);
    names.filter(|name| name.starts_with("orc-")).count()
}

async fn a_terminal_is_attached(bed: Arc<Bed>) {
    use tokio::io::AsyncWriteExt;
    let engine = bed.open_with_image().await;
    let spec = ContainerSpec {
        tty: true,
        open_stdin: true,
        stdin_once: true,
        ..shell("read line; stty size; echo got $line; exit 3")
    };
    engine
        .create_container(Some("tty"), &spec)
        .await
        .expect("create");
    let mut attached = engine.attach_container("tty").await.expect("attach");
    engine.start_container("tty").await.expect("start");
    let size = orc_host::stream::TerminalSize {
        rows: 30,
        columns: 100,
    };
    engine.resize_container("tty", size).await.expect("resize");
    let mut input = attached.input.take().expect("an input");
    input.write_all(b"hello\n").await.expect("it reads");
    let text = all(attached).await;
    assert!(
        text.contains("30 100\r\n") && text.contains("got hello\r\n"),
        "{text:?}"
    );
    let exit = engine
        .wait_container("tty", Default::default())
        .await
        .expect("wait");
    assert_eq!(exit.code, 3);
}

async fn images_leave_as_they_came(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let id = engine
        .inspect_image(crate::bed::IMAGE)
        .await
        .expect("the image")
        .id;
    start(&engine, "user", &shell("sleep 1000")).await;
    let error = engine
        .remove_image(crate::bed::IMAGE, false)
        .await
        .expect_err("in use");
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(error.to_string().contains("container"), "{error}");
    let saved = engine
        .save_images(&[crate::bed::IMAGE.into()])
        .await
        .expect("save");
    remove(&engine, "user").await;
    use futures_util::StreamExt;
    let saved: Vec<_> = saved.collect().await;
    engine
        .remove_image(crate::bed::IMAGE, false)
        .await
        .expect("free");
    engine.inspect_image(&id).await.expect_err("gone");
    let mut lines = engine
        .load_images(Box::pin(futures_util::stream::iter(saved)))
        .await
        .expect("load");
    let mut last = None;
    while let Some(line) = lines.next().await {
        last = Some(line.expect("a line"));
    }
    assert_eq!(last.and_then(|line| line.image), Some(id));
    let (code, _) = run_to_end(&engine, &shell("true")).await;
    assert_eq!(code, 0);
}

/// Prints what a start costs; asserts nothing about time, for the machine may be busy.
async fn starts_are_quick(bed: Arc<Bed>) {
    let engine = bed.open_with_image().await;
    let spec = ContainerSpec {
        command: Some(vec!["true".into()]),
        ..shell("")
    };
    let mut steps = [const { Vec::new() }; 5];
    for _ in 0..30 {
        let began = Instant::now();
        engine
            .create_container(Some("quick"), &spec)
            .await
            .expect("create");
        let created = began.elapsed();
        engine.start_container("quick").await.expect("start");
        let started = began.elapsed();
        engine
            .wait_container("quick", Default::default())
            .await
            .expect("wait");
        let ended = began.elapsed();
        remove(&engine, "quick").await;
        let removed = began.elapsed();
        for (step, took) in steps.iter_mut().zip([
            created,
            started - created,
            ended - started,
            removed - ended,
            removed,
        ]) {
            step.push(took);
        }
    }
    for (name, mut step) in ["create", "start", "wait", "remove", "all"]
        .iter()
        .zip(steps)
    {
        step.sort();
        println!(
            "  {name}: median {:?}, best {:?}",
            step[step.len() / 2],
            step[0]
        );
    }
}
