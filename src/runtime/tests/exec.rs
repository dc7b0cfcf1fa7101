//! More processes in a running container.

use std::io::Write;
use std::time::Duration;

use orc_base::Kind;
use orc_runtime::signal;
use orc_runtime::spec::ContainerSpec;

use crate::bed::{Bed, read_to_end};

crate::tests! {
    joins_all_namespaces_and_groups
    connects_pipes
    connects_a_terminal
    says_why_it_cannot
    is_confined_like_the_container
    ends_with_the_container
    resolves_users_in_the_container
    many_run_at_once
}

fn sleeper(bed: &Bed) -> ContainerSpec {
    bed.spec(["/bin/sleep", "1000"])
}

async fn joins_all_namespaces_and_groups(bed: Bed) {
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    let script = "for n in mnt pid net ipc uts cgroup; do [ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) ] || echo $n differs; done; cat /proc/self/cgroup | grep -v ':/$'; hostname; pwd";
    let mut exec = bed
        .runtime
        .exec(&monitor, &bed.exec_spec(&spec, script))
        .await
        .unwrap();
    let text = read_to_end(exec.stdout.take().unwrap()).await;
    assert_eq!(text, "bed\n/\n");
    assert_eq!(exec.wait().await, 0);
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", monitor.pid())).unwrap();
    let inside = groups.lines().filter(|line| line.ends_with(&spec.cgroup));
    assert_eq!(inside.count(), groups.lines().count(), "{groups}");
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn connects_pipes(bed: Bed) {
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    let mut wanted = bed.exec_spec(&spec, "cat; echo err >&2; exit 3");
    wanted.stdin = true;
    let mut exec = bed.runtime.exec(&monitor, &wanted).await.unwrap();
    assert!(exec.pid() > 0 && exec.terminal.is_none());
    let mut stdin = std::fs::File::from(exec.stdin.take().unwrap());
    stdin.write_all(b"to and fro").unwrap();
    drop(stdin);
    assert_eq!(read_to_end(exec.stdout.take().unwrap()).await, "to and fro");
    assert_eq!(read_to_end(exec.stderr.take().unwrap()).await, "err\n");
    assert_eq!(exec.wait().await, 3);
    assert_eq!(exec.wait().await, 3);
    assert_eq!(exec.exited(), Some(3));
    assert_eq!(exec.resize(1, 1).unwrap_err().kind(), Kind::Conflict);

    let mut exec = bed
        .runtime
        .exec(&monitor, &bed.exec_spec(&spec, "cat"))
        .await
        .unwrap();
    assert!(exec.stdin.is_none());
    assert_eq!(read_to_end(exec.stdout.take().unwrap()).await, "");
    assert_eq!(exec.wait().await, 0);
    // What an exec writes is not the container's log.
    assert_eq!(bed.output(&spec, orc_runtime::log::Stream::Stdout), "");
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn connects_a_terminal(bed: Bed) {
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    let mut wanted = bed.exec_spec(
        &spec,
        "tty; stty size; read line; echo \"<$line>\"; stty size",
    );
    wanted.terminal = true;
    wanted.size = Some((10, 20));
    let mut exec = bed.runtime.exec(&monitor, &wanted).await.unwrap();
    assert!(exec.stdout.is_none() && exec.stderr.is_none());
    let terminal = exec.terminal.as_ref().unwrap().try_clone().unwrap();
    exec.resize(11, 22).unwrap();
    std::fs::File::from(terminal).write_all(b"typed\r").unwrap();
    assert_eq!(exec.wait().await, 0);
    let text = read_to_end(exec.terminal.take().unwrap()).await;
    assert!(
        text.starts_with("/dev/pts/0\r\n") || text.starts_with("typed"),
        "{text:?}"
    );
    assert!(text.contains("<typed>\r\n11 22\r\n"), "{text:?}");
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn says_why_it_cannot(bed: Bed) {
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    let mut wanted = bed.exec_spec(&spec, "");
    wanted.process.args = vec!["/bin/nope".into()];
    let error = bed.runtime.exec(&monitor, &wanted).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(
        error.to_string().contains("no such file or directory"),
        "{error}"
    );
    wanted.process.args = vec!["/etc".into()];
    let error = bed.runtime.exec(&monitor, &wanted).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    wanted.process.user = "nobody-here".into();
    let error = bed.runtime.exec(&monitor, &wanted).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
    let error = bed.runtime.exec(&monitor, &wanted).await.unwrap_err();
    assert!(
        matches!(error.kind(), Kind::Conflict | Kind::NotFound),
        "{error}"
    );
}

async fn is_confined_like_the_container(bed: Bed) {
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    let script = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; ls /proc/self/fd | grep -c .; umount /proc/sys; echo $?";
    let mut exec = bed
        .runtime
        .exec(&monitor, &bed.exec_spec(&spec, script))
        .await
        .unwrap();
    let text = read_to_end(exec.stdout.take().unwrap()).await;
    let text = text.replace('\t', " ");
    assert_eq!(
        text,
        "CapInh: 0000000000000000\nCapPrm: 00000000a80425fb\nCapEff: 00000000a80425fb\nCapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\nNoNewPrivs: 0\nSeccomp: 2\n4\n1\n"
    );
    // CVE-2024-21626: no descriptor of the host is a working directory.
    for number in 3..20 {
        let mut wanted = bed.exec_spec(&spec, "pwd");
        wanted.process.cwd = format!("/proc/self/fd/{number}");
        let result = bed.runtime.exec(&monitor, &wanted).await;
        assert!(result.is_err(), "entered descriptor {number}");
    }
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn ends_with_the_container(bed: Bed) {
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    let exec = bed
        .runtime
        .exec(&monitor, &bed.exec_spec(&spec, "sleep 1000"))
        .await
        .unwrap();
    monitor.signal(signal::KILL).unwrap();
    assert_eq!(exec.wait().await, 137);
    monitor.wait().await;
    bed.assert_nothing_left(&spec);

    // Killed alone, it leaves the container be.
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    let exec = bed
        .runtime
        .exec(&monitor, &bed.exec_spec(&spec, "sleep 1000"))
        .await
        .unwrap();
    exec.signal(signal::TERM).unwrap();
    assert_eq!(exec.wait().await, 143);
    assert_eq!(
        exec.signal(signal::TERM).unwrap_err().kind(),
        Kind::NotFound
    );
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(monitor.exited().is_none());
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn resolves_users_in_the_container(bed: Bed) {
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    for (user, expected) in [
        (
            "web",
            "uid=33(web) gid=33(www) groups=29(audio),33(www)\n/srv\n",
        ),
        ("1000", "uid=1000 gid=0(root) groups=0(root)\n/\n"),
    ] {
        let mut wanted = bed.exec_spec(&spec, "id; echo $HOME; echo x > /dev/stderr");
        wanted.process.user = user.into();
        let mut exec = bed.runtime.exec(&monitor, &wanted).await.unwrap();
        assert_eq!(read_to_end(exec.stdout.take().unwrap()).await, expected);
        // The user owns its standard error and may open it again.
        assert_eq!(read_to_end(exec.stderr.take().unwrap()).await, "x\n");
        assert_eq!(exec.wait().await, 0);
    }
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}

async fn many_run_at_once(bed: Bed) {
    let spec = sleeper(&bed);
    let monitor = bed.start(&spec).await;
    let runs = (0..10).map(|index| {
        let wanted = bed.exec_spec(&spec, &format!("echo {index}; exit {index}"));
        let (runtime, monitor) = (&bed.runtime, &monitor);
        async move {
            let mut exec = runtime.exec(monitor, &wanted).await.unwrap();
            let text = read_to_end(exec.stdout.take().unwrap()).await;
            (text, exec.wait().await)
        }
    });
    let results = futures_util::future::join_all(runs).await;
    for (index, (text, code)) in results.into_iter().enumerate() {
        assert_eq!((text, code), (format!("{index}\n"), index as i32));
    }
    monitor.signal(signal::KILL).unwrap();
    monitor.wait().await;
}
