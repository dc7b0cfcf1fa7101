//! One host for one test.
//!
//! The host is a network namespace of its own (made by `ip netns`), with a data root, run root and
//! cgroup parent of its own; commands run inside it. Dropping it stops the daemon, kills what is
//! left by pid, and removes everything, also when the test panics.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::leaks::Snapshot;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host with orc on it.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
    name: String,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The command, for messages.
    pub(crate) line: String,
    /// Its exit code; 128 + the signal that killed it.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Lab {
    /// A fresh host without any image. `test` becomes part of its name.
    pub(crate) fn new(test: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("orc-lab-")
            .tempdir()
            .expect("a directory");
        let suffix = directory
            .path()
            .file_name()
            .expect("a name")
            .to_string_lossy();
        let name = format!("orc-{test}-{}", suffix.trim_start_matches("orc-lab-"));
        let lab = Self { directory, name };
        run(Command::new("ip").args(["netns", "add", &lab.name])).ok();
        lab.host(["ip", "link", "set", "lo", "up"]).ok();
        lab
    }

    /// A host with the busybox image as `example/busybox:1`.
    pub(crate) fn with_busybox(test: &str) -> Self {
        let lab = Self::new(test);
        lab.import("busybox", "example/busybox:1");
        lab
    }

    /// A directory of the test's own.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The name of its network namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.name
    }

    /// Where the daemon keeps data.
    pub(crate) fn data_root(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Where the daemon keeps what a reboot forgets.
    pub(crate) fn run_root(&self) -> PathBuf {
        self.path().join("run")
    }

    /// Below which cgroup the containers are.
    pub(crate) fn cgroup_parent(&self) -> String {
        format!("/{}", self.name)
    }

    /// A command that runs on this host.
    pub(crate) fn command<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        // Not `ip netns exec`, which gives each command a mount namespace of its own.
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg("--");
        command.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let orc = Path::new(env!("CARGO_BIN_EXE_orc"))
            .parent()
            .expect("a directory");
        let path = format!(
            "{}:{}",
            orc.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        command
            .env("PATH", path)
            .env("ORC_DATA_ROOT", self.data_root())
            .env("ORC_RUN_ROOT", self.run_root())
            .env("ORC_CGROUP_PARENT", self.cgroup_parent())
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.run_root().join("orc.sock").display()),
            )
            .env("DOCKER_CONFIG", self.path().join("docker-config"))
            .env_remove("RUST_BACKTRACE")
            .env_remove("REGISTRY")
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a program on this host.
    pub(crate) fn host<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        run(&mut self.command(args))
    }

    /// Runs `orc` on this host.
    pub(crate) fn orc<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.host(
            std::iter::once("orc".to_owned())
                .chain(args.into_iter().map(|arg| arg.as_ref().to_owned())),
        )
    }

    /// Runs `orc` with a line of words: no quoting.
    pub(crate) fn orc_line(&self, line: &str) -> Ran {
        self.orc(line.split_whitespace())
    }

    /// Runs the unmodified `docker` client against this host.
    pub(crate) fn docker(&self, line: &str) -> Ran {
        self.host(std::iter::once("docker").chain(line.split_whitespace()))
    }

    /// Runs a shell script in `directory` on this host.
    pub(crate) fn sh(&self, directory: &Path, script: &str) -> Ran {
        let mut ran = run(self.command(["sh", "-c", script]).current_dir(directory));
        ran.line = script.to_owned();
        ran
    }

    /// Starts a program on this host and lets it run, its output in pipes. Kill it by
    /// [`Child::kill`]; what is left dies with the lab.
    pub(crate) fn spawn<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a program starts")
    }

    /// Makes an image of `target/images/<archive>.tar`.
    pub(crate) fn import(&self, archive: &str, reference: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let changes = std::fs::read_to_string(root.join(format!("images/{archive}.changes")))
            .expect("the changes");
        let tar = root.join(format!("target/images/{archive}.tar"));
        assert!(
            tar.exists(),
            "{} is missing: run `make images` first",
            tar.display()
        );
        let mut args = vec!["import".to_owned()];
        for change in changes.lines() {
            args.extend(["--change".to_owned(), change.to_owned()]);
        }
        args.extend([tar.display().to_string(), reference.to_owned()]);
        self.orc(args).ok();
    }

    /// Makes a project directory with this Compose file.
    pub(crate) fn project(&self, name: &str, compose: &str) -> PathBuf {
        let directory = self.path().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("compose.yaml"), compose).expect("a file");
        directory
    }

    /// The pid of the daemon.
    pub(crate) fn daemon_pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.run_root().join("orc.lock"))
            .expect("the lock of the daemon");
        text.trim().parse().expect("the pid of the daemon")
    }

    /// What is on this host now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::take(self)
    }

    /// Whether an address answers HTTP on this host, and what.
    pub(crate) fn http(&self, url: &str) -> Ran {
        self.host(["curl", "-sS", "--max-time", "5", url])
    }

    /// All processes in this host's network namespace: daemon, monitors, and what tests left.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let Ok(namespace) = std::fs::metadata(format!("/run/netns/{}", self.name)) else {
            return Vec::new();
        };
        processes()
            .into_iter()
            .filter(|pid| {
                std::fs::metadata(format!("/proc/{pid}/ns/net"))
                    .is_ok_and(|own| own.ino() == namespace.ino())
            })
            .collect()
    }

    /// All cgroups of this host's containers, in every hierarchy.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten();
        let roots = hierarchies
            .map(|entry| entry.path())
            .chain([PathBuf::from("/sys/fs/cgroup")]);
        for root in roots {
            let mut pending = vec![root.join(self.name.as_str())];
            while let Some(directory) = pending.pop() {
                let Ok(entries) = std::fs::read_dir(&directory) else {
                    continue;
                };
                found.push(directory);
                pending.extend(
                    entries
                        .flatten()
                        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                        .map(|entry| entry.path()),
                );
            }
        }
        found
    }

    fn kill_all(&self) {
        let mut left: BTreeSet<i32> = self.processes().into_iter().collect();
        for cgroup in self.cgroups() {
            let procs = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            left.extend(procs.lines().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        for pid in left.into_iter().filter(|pid| *pid > 1) {
            let _ = Command::new("kill")
                .args(["-9", &pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }

    fn unmount_all(&self) {
        let below = self.path().display().to_string();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for target in targets
            .filter(|target| target.starts_with(&below))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let _ = Command::new("umount").args(["-l", target]).status();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log =
                std::fs::read_to_string(self.data_root().join("daemon.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- the daemon's log ends with:");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
        let _ = run(&mut self.command(["orc", "daemon", "stop"]));
        for _ in 0..100 {
            self.kill_all();
            let mut cgroups = self.cgroups();
            if self.processes().is_empty() && cgroups.is_empty() {
                break;
            }
            cgroups.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
            for cgroup in cgroups {
                let _ = std::fs::remove_dir(cgroup);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.unmount_all();
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}

impl Ran {
    /// Panics unless the command succeeded; gives its standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.code == 0, "{self}");
        self.stdout
    }

    /// Panics unless the command failed with one line of error, which it gives.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(self.code != 0, "should have failed: {self}");
        let text = self.stderr.trim().to_owned();
        assert!(!text.is_empty(), "no error was printed: {self}");
        text
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` ended with {}", self.line, self.code)?;
        write!(f, "--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Runs a command to its end, at most [`PATIENCE`] long.
pub(crate) fn run(command: &mut Command) -> Ran {
    let line = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let pid = child.id();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let output = match ended.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("the output of a child"),
        Err(_) => {
            let _ = Command::new("kill")
                .args(["-9", &format!("-{pid}")])
                .status();
            panic!("`{line}` did not end within {PATIENCE:?}");
        }
    };
    use std::os::unix::process::ExitStatusExt;
    let code = output
        .status
        .code()
        .or(output.status.signal().map(|signal| 128 + signal));
    Ran {
        line,
        code: code.expect("a code or a signal"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Looks again until `look` finds something; panics with `what` when it never does.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "never came true: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn processes() -> Vec<i32> {
    std::fs::read_dir("/proc")
        .expect("procfs")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
