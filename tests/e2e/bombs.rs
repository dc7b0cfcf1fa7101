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
/// How often a slow run is done again.
const TRIES: usize = 4;
/// Memory that the program may have beside its own code, in KiB: `ulimit -d`. One that takes more is
/// aborted, and does not end with 1.
const MEMORY_KIB: u32 = 64 << 10;

/// How the program ended, what it said, and its processor time.
struct Ended {
    status: ExitStatus,
    said: String,
    time: Duration,
}

#[test]
fn each_is_refused_in_little_time_and_memory() {
    for bomb in files::all() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in &bomb.files {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        let mut ended = run(directory.path(), MEMORY_KIB);
        // A machine that does other things, too, is slow at times, but not each time.
        for _ in 0..TRIES {
            if ended.time >= TIME {
                ended = run(directory.path(), MEMORY_KIB);
            }
        }
        let Ended { status, said, time } = ended;
        println!("{}: {time:?}", bomb.name);
        assert_eq!(status.code(), Some(1), "{}: {status}: {said}", bomb.name);
        let first = said.lines().next().unwrap_or_default();
        assert!(first.ends_with(bomb.refusal), "{}: {first}", bomb.name);
        assert!(time < TIME, "{}: {time:?}", bomb.name);
        let left = std::fs::read_dir(directory.path()).expect("the directory");
        let left = left.count();
        assert_eq!(left, bomb.files.len(), "{}: nothing is made", bomb.name);
    }
}

#[test]
fn the_bound_on_memory_is_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys: String = (0..50_000)
        .map(|index| format!("  k{index}: v\n"))
        .collect();
    let text = format!("x-a:\n{keys}");
    std::fs::write(directory.path().join("compose.yaml"), text).expect("a file");
    assert!(run(directory.path(), 1 << 20).status.success());
    assert!(!run(directory.path(), 8 << 10).status.success());
}

/// `orc compose config`, which needs no daemon, with so much memory.
#[expect(
    clippy::zombie_processes,
    reason = "`wait4` waits for it, and tells its processor time"
)]
fn run(directory: &Path, memory_kib: u32) -> Ended {
    let said = tempfile::NamedTempFile::new().expect("a file");
    let line =
        format!("ulimit -c 0 && ulimit -d {memory_kib} && exec \"$0\" compose config --quiet");
    let child = Command::new("sh")
        .args(["-c", &line, env!("CARGO_BIN_EXE_orc")])
        .current_dir(directory)
        .env("ORC_RUN_ROOT", directory.join("none"))
        .stdout(Stdio::null())
        .stderr(said.reopen().expect("the file"))
        .spawn()
        .expect("orc starts");
    let (status, time) = wait(child.id());
    let said = std::fs::read(said.path()).expect("the file");
    Ended {
        status,
        said: String::from_utf8_lossy(&said).into_owned(),
        time,
    }
}

/// Waits for a child and tells its processor time.
fn wait(pid: u32) -> (ExitStatus, Duration) {
    let pid = i32::try_from(pid).expect("a pid");
    let mut status = 0;
    // SAFETY: all zeros is a valid `rusage`, which is plain numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types; nobody else waits for this child.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid);
    let time = |spent: libc::timeval| {
        let micros = spent.tv_sec * 1_000_000 + spent.tv_usec;
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    let spent = time(usage.ru_utime) + time(usage.ru_stime);
    (ExitStatus::from_raw(status), spent)
}
