//! Signals, standard input, terminals; daemons that come and go; monitors that are killed.

use std::io::Write;
use std::time::Duration;

use orc_base::Kind;
use orc_runtime::log::{LogReader, Stream};
use orc_runtime::spec::{LogSpec, Stdio};
use orc_runtime::{Adopted, signal};

use crate::bed::Bed;

crate::tests! {
    signals_reach_the_program
    standard_input_stays_open_until_it_is_closed
    a_terminal_is_a_terminal
    many_wait_for_one_end
    the_built_in_init_forwards_and_reaps
    the_next_daemon_finds_a_running_container
    the_next_daemon_finds_how_it_ended
    a_killed_launcher_is_replaced
    a_killed_monitor_does_not_leave_a_container_behind
    a_start_that_nobody_waits_for_is_undone
    no_line_is_lost_while_no_daemon_is_there
    logs_rotate
    a_container_without_a_log_runs
    a_full_disk_costs_output_and_nothing_else
    monitors_are_small
}

async fn signals_reach_the_program(bed: Bed) {
    let spec =
        bed.script("trap 'echo got it; exit 7' TERM; echo ready; while :; do sleep 0.01; done");
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "ready").await;
    assert_eq!(monitor.signal(0).map_err(|error| error.kind()), Ok(()));
    assert_eq!(monitor.signal(999).unwrap_err().kind(), Kind::Invalid);
    monitor.signal(signal::TERM).unwrap();
    let outcome = bed.outcome(&spec, monitor.wait().await);
    assert_eq!(
        (outcome.exit.code, outcome.stdout.as_str()),
        (7, "ready\ngot it\n")
    );
    assert_eq!(
        monitor.signal(signal::TERM).unwrap_err().kind(),
        Kind::NotFound
    );

    let monitor = bed.start(&bed.spec(["/bin/sleep", "1000"])).await;
    monitor.signal(signal::KILL).unwrap();
    assert_eq!(monitor.wait().await.code, 137);
    assert_eq!(monitor.exited().unwrap().code, 137);
}

async fn standard_input_stays_open_until_it_is_closed(bed: Bed) {
    let mut spec = bed.spec(["/bin/cat"]);
    spec.stdio.stdin = true;
    let monitor = bed.start(&spec).await;
    for line in ["first\n", "second\n"] {
        let mut stdin = std::fs::File::from(monitor.stdin().await.unwrap().unwrap());
        stdin.write_all(line.as_bytes()).unwrap();
        drop(stdin);
        bed.output_has(&spec, line).await;
    }
    monitor.close_stdin().await.unwrap();
    monitor.close_stdin().await.unwrap();
    assert!(monitor.stdin().await.unwrap().is_none());
    assert_eq!(monitor.wait().await.code, 0);

    // Nothing to read when nothing was asked for.
    let spec = bed.spec(["/bin/cat"]);
    let monitor = bed.start(&spec).await;
    assert!(monitor.stdin().await.unwrap().is_none());
    assert_eq!(monitor.wait().await.code, 0);
}

async fn a_terminal_is_a_terminal(bed: Bed) {
    let mut spec = bed.script(
        "tty; stty size; stat -c '%F %t:%T' /dev/console /dev/pts/0; echo err >&2; read line; echo \"<$line>\"; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.01; done",
    );
    spec.stdio = Stdio {
        terminal: true,
        stdin: true,
        stdin_once: false,
        size: Some((33, 77)),
    };
    let monitor = bed.start(&spec).await;
    let mut typed = std::fs::File::from(monitor.stdin().await.unwrap().unwrap());
    typed.write_all(b"hello\r").unwrap();
    bed.output_has(&spec, "ready").await;
    monitor.resize(40, 100).unwrap();
    let outcome = bed.outcome(&spec, monitor.wait().await);
    assert_eq!(outcome.exit.code, 3, "{outcome:?}");
    let text = outcome.stdout.replace("\r\n", "\n");
    for part in [
        "/dev/pts/0\n",
        "33 77\n",
        // Major 136: the console is the terminal itself.
        "character special file 88:0\ncharacter special file 88:0\n",
        "err\n",
        "<hello>\n",
        "40 100\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert_eq!(outcome.stderr, "");
    assert!(monitor.resize(1, 1).is_err() || monitor.exited().is_some());

    let plain = bed.start(&bed.spec(["/bin/sleep", "0.01"])).await;
    assert_eq!(plain.resize(1, 1).unwrap_err().kind(), Kind::Conflict);
    plain.wait().await;
}

async fn many_wait_for_one_end(bed: Bed) {
    let spec = bed.script("sleep 0.05; exit 9");
    let monitor = bed.start(&spec).await;
    let waiting = (0..50).map(|_| monitor.wait());
    let ends = futures_util::future::join_all(waiting).await;
    assert!(ends.iter().all(|end| end.code == 9 && *end == ends[0]));
    assert_eq!(monitor.wait().await, ends[0]);
}

async fn the_built_in_init_forwards_and_reaps(bed: Bed) {
    let mut spec = bed.script(
        "echo $$; ls /proc/1/fd | wc -l 2>/dev/null; (sleep 0.02 &) ; sleep 0.2; ls -d /proc/[0-9]* | grep -c .; trap 'exit 5' USR1; echo ready; while :; do sleep 0.01; done",
    );
    spec.init = true;
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "ready").await;
    monitor.signal(signal::parse("USR1").unwrap()).unwrap();
    let outcome = bed.outcome(&spec, monitor.wait().await);
    assert_eq!(outcome.exit.code, 5, "{outcome:?}");
    let number = outcome.stdout.lines().next().unwrap();
    assert_ne!(number, "1", "not the first process: {outcome:?}");

    let mut spec = bed.spec(["/bin/nope"]);
    spec.init = true;
    assert_eq!(bed.refusal(&spec).await.kind(), Kind::NotFound);

    let mut spec = bed.script("kill -9 $$");
    spec.init = true;
    assert_eq!(bed.run(&spec).await.exit.code, 137);

    // On a terminal the program is in the foreground: it may read.
    let mut spec = bed.script("read line; echo \"<$line>\"");
    spec.init = true;
    spec.stdio.terminal = true;
    let monitor = bed.start(&spec).await;
    let mut typed = std::fs::File::from(monitor.stdin().await.unwrap().unwrap());
    typed.write_all(b"hi\r").unwrap();
    let outcome = bed.outcome(&spec, monitor.wait().await);
    assert!(outcome.stdout.contains("<hi>"), "{outcome:?}");
}

async fn the_next_daemon_finds_a_running_container(bed: Bed) {
    let mut spec = bed.spec(["/bin/cat"]);
    spec.stdio.stdin = true;
    let first = bed.start(&spec).await;
    let pid = first.pid();
    drop(first);
    let next = bed.another_runtime();
    let Adopted::Running(monitor) = next.adopt(&spec.state_dir).await.unwrap() else {
        panic!("not found");
    };
    assert_eq!(monitor.pid(), pid);
    let mut stdin = std::fs::File::from(monitor.stdin().await.unwrap().unwrap());
    stdin.write_all(b"from the second\n").unwrap();
    drop(stdin);
    bed.output_has(&spec, "from the second").await;

    // Two at once are served too, and hear the same end.
    let Adopted::Running(third) = next.adopt(&spec.state_dir).await.unwrap() else {
        panic!("not found");
    };
    monitor.close_stdin().await.unwrap();
    drop(third.stdin().await.unwrap());
    third.close_stdin().await.unwrap();
    let (one, other) = tokio::join!(monitor.wait(), third.wait());
    assert_eq!((one.code, one), (0, other));
    bed.assert_nothing_left(&spec);
}

async fn the_next_daemon_finds_how_it_ended(bed: Bed) {
    let spec = bed.script("sleep 0.05; exit 12");
    drop(bed.start(&spec).await);
    let exit = loop {
        match bed.another_runtime().adopt(&spec.state_dir).await.unwrap() {
            Adopted::Exited(exit) => break exit,
            Adopted::Running(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Adopted::Lost => panic!("lost"),
        }
    };
    assert_eq!(exit.code, 12);

    let nothing = bed.path("state").join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    let found = bed.runtime.adopt(&nothing).await.unwrap();
    assert!(matches!(found, Adopted::Lost));
}

async fn a_killed_launcher_is_replaced(bed: Bed) {
    let spec = bed.spec(["/bin/sleep", "1000"]);
    let monitor = bed.start(&spec).await;
    let launcher = bed.launcher_pid();
    kill(launcher);
    // The container does not depend on it, and the next start gets another one.
    assert_eq!(bed.say("echo again").await, "again\n");
    assert_ne!(bed.launcher_pid(), launcher);
    assert!(monitor.exited().is_none());
    monitor.signal(signal::KILL).unwrap();
    assert_eq!(monitor.wait().await.code, 137);
}

async fn a_killed_monitor_does_not_leave_a_container_behind(bed: Bed) {
    let spec = bed.spec(["/bin/sleep", "1000"]);
    let monitor = bed.start(&spec).await;
    kill(parent_of(monitor.pid()));
    let exit = monitor.wait().await;
    assert_eq!(exit.code, 137);
    bed.assert_nothing_left(&spec);
    let found = bed.runtime.adopt(&spec.state_dir).await.unwrap();
    assert!(matches!(found, Adopted::Exited(found) if found == exit));

    // The same while no daemon looks.
    let spec = bed.script("sleep 1000 & sleep 1000");
    let monitor = bed.start(&spec).await;
    let shim = parent_of(monitor.pid());
    drop(monitor);
    kill(shim);
    let found = loop {
        let found = bed.another_runtime().adopt(&spec.state_dir).await;
        // The kernel may still be closing the socket.
        if let Ok(found) = found {
            break found;
        }
    };
    assert!(matches!(found, Adopted::Lost));
    bed.assert_nothing_left(&spec);
}

async fn a_start_that_nobody_waits_for_is_undone(bed: Bed) {
    for delay_us in [0, 500, 1_000, 2_000, 4_000, 8_000] {
        let spec = bed.spec(["/bin/sleep", "1000"]);
        let limit = Duration::from_micros(delay_us);
        match tokio::time::timeout(limit, bed.runtime.start(&spec)).await {
            Ok(started) => {
                let monitor = started.unwrap();
                monitor.signal(signal::KILL).unwrap();
                monitor.wait().await;
            }
            Err(_) => {
                // Undone, or running because it was done a moment before: never in between.
                bed.settle(&spec).await;
            }
        }
        bed.assert_nothing_left(&spec);
    }
}

async fn no_line_is_lost_while_no_daemon_is_there(bed: Bed) {
    let spec = bed.script("seq 1 20000; sleep 0.1; seq 20001 40000");
    drop(bed.start(&spec).await);
    let expected: String = (1..=40_000).map(|line| format!("{line}\n")).collect();
    while bed.output(&spec, Stream::Stdout).len() < expected.len() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bed.output(&spec, Stream::Stdout), expected);
}

async fn logs_rotate(bed: Bed) {
    let mut spec = bed.script("seq 1 50000");
    spec.log = Some(LogSpec {
        path: bed.path("small"),
        max_bytes: 64 << 10,
        max_files: 2,
    });
    let monitor = bed.start(&spec).await;
    monitor.wait().await;
    let kept = bed.output(&spec, Stream::Stdout);
    assert!(kept.ends_with("49999\n50000\n") && kept.len() < 200 << 10);
    let last: Vec<u8> = LogReader::tail(&bed.path("small"), 3)
        .unwrap()
        .flat_map(|record| record.unwrap().bytes)
        .collect();
    assert_eq!(last, b"49998\n49999\n50000\n");
}

async fn a_container_without_a_log_runs(bed: Bed) {
    let mut spec = bed.script("seq 1 100000; exit 6");
    spec.log = None;
    let monitor = bed.start(&spec).await;
    assert_eq!(monitor.wait().await.code, 6);
}

async fn a_full_disk_costs_output_and_nothing_else(bed: Bed) {
    let disk = bed.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let size = c"size=256k";
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", &disk, "tmpfs", flags, Some(size)).unwrap();
    std::fs::write(disk.join("ballast"), vec![0; 64 << 10]).unwrap();

    let mut spec = bed.script("seq 1 100000; echo > /written; read go; echo after; seq 1 10");
    spec.log = Some(LogSpec::at(disk.join("log")));
    spec.stdio.stdin = true;
    let monitor = bed.start(&spec).await;
    bed.output_has(&spec, "10000\n").await;
    // It reads only after it has written all: then the disk is full.
    let mut stdin = std::fs::File::from(monitor.stdin().await.unwrap().unwrap());
    while !spec.rootfs.upper.join("written").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::remove_file(disk.join("ballast")).unwrap();
    stdin.write_all(b"\n").unwrap();
    let outcome = bed.outcome(&spec, monitor.wait().await);
    let detach = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(&disk, detach).unwrap();
    assert_eq!(outcome.exit.code, 0);
    assert!(outcome.stdout.starts_with("1\n2\n3\n"));
    assert!(
        outcome
            .stdout
            .ends_with("after\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n")
    );
    let note = &outcome.stderr;
    assert!(
        note.starts_with("orc: ") && note.ends_with("bytes of output could not be kept here\n"),
        "{note}"
    );
}

/// Many monitors share what the launcher had before the fork; each adds little of its own.
async fn monitors_are_small(bed: Bed) {
    let specs: Vec<_> = (0..20).map(|_| bed.spec(["/bin/sleep", "1000"])).collect();
    let mut monitors = Vec::new();
    for spec in &specs {
        monitors.push(bed.start(spec).await);
    }
    let sizes: Vec<u64> = monitors
        .iter()
        .map(|monitor| proportional_kib(parent_of(monitor.pid())))
        .collect();
    let mean = sizes.iter().sum::<u64>() / sizes.len() as u64;
    println!("monitors: {mean} KiB each");
    for monitor in &monitors {
        monitor.signal(signal::KILL).unwrap();
    }
    for monitor in &monitors {
        monitor.wait().await;
    }
    // Unoptimised code is larger; optimised it is half of that.
    assert!(mean < 512, "{sizes:?}");
}

fn proportional_kib(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

fn parent_of(pid: i32) -> i32 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .unwrap();
    line.trim().parse().unwrap()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
