//! Compose files that are bombs, given to the whole program: refused in little time and memory, before
//! there is a daemon or anything else.

#[path = "../../src/compose/tests/bombs/files.rs"]
mod files;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// Processor time for a refusal. Unoptimised code takes tens of times as long.
const TIME: Duration = match cfg!(debug_assertions) {
    true => Duration::from_secs(10),
    false => Duration::from_millis(200),
};
/// Memory at its peak, in KiB.
const MEMORY: i64 = 64 << 10;

#[test]
fn each_is_refused_in_little_time_and_memory() {
    for bomb in files::all() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in &bomb.files {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        let (status, took) = run(directory.path());
        println!("{}: {took:?}", bomb.name);
        assert_eq!(status.code(), Some(1), "{}: {status}", bomb.name);
        assert!(took.time < TIME, "{}: {took:?}", bomb.name);
        assert!(took.memory_kib < MEMORY, "{}: {took:?}", bomb.name);
        let left = std::fs::read_dir(directory.path()).expect("the directory");
        assert_eq!(
            left.count(),
            bomb.files.len(),
            "{}: nothing is made",
            bomb.name
        );
    }
}

/// What a process took.
#[derive(Debug)]
struct Took {
    time: Duration,
    memory_kib: i64,
}

/// `orc compose config`, which needs no daemon, and what it took.
fn run(directory: &Path) -> (ExitStatus, Took) {
    let child = Command::new(env!("CARGO_BIN_EXE_orc"))
        .args(["compose", "config", "--quiet"])
        .current_dir(directory)
        .env("ORC_RUN_ROOT", directory.join("none"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("orc starts");
    let pid = i32::try_from(child.id()).expect("a pid");
    let mut status = 0;
    // SAFETY: all zeros is a valid `rusage`, which is plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types; nobody else waits for this child.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid);
    let time = |spent: libc::timeval| {
        let micros = i64::from(spent.tv_sec) * 1_000_000 + i64::from(spent.tv_usec);
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    let took = Took {
        time: time(usage.ru_utime) + time(usage.ru_stime),
        memory_kib: i64::from(usage.ru_maxrss),
    };
    (ExitStatus::from_raw(status), took)
}
