//! What every test lies in: a directory, a control group parent and a runtime of its own, all gone
//! when it is dropped, also after a failure.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use orc_base::Id;
use orc_runtime::cgroup::{Cgroup, Layout};
use orc_runtime::log::{LogReader, Stream};
use orc_runtime::spec::{
    ContainerSpec, ExecSpec, Exit, LogSpec, Namespaces, ProcessSpec, Resources, Rootfs, Stdio,
    default_masked_paths, default_readonly_paths,
};
use orc_runtime::{Adopted, Config, Monitor, Runtime};

const BUSYBOX: &str = "/bin/busybox";
/// The programs that tests use; all are busybox.
const APPLETS: [&str; 29] = [
    "cat", "chmod", "dd", "echo", "env", "false", "grep", "hostname", "id", "kill", "ls", "mkdir",
    "mknod", "mount", "printf", "ps", "pwd", "readlink", "rm", "sed", "seq", "sh", "sleep", "stat",
    "stty", "touch", "true", "tty", "umount",
];

/// One test's world.
pub(crate) struct Bed {
    dir: tempfile::TempDir,
    parent: String,
    pub(crate) runtime: Runtime,
}

/// The end of a container and what it wrote.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bed {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(
            Path::new(BUSYBOX).exists(),
            "{name} needs root and {BUSYBOX}: apt-get install busybox-static"
        );
        make_lower(&dir.path().join("lower"));
        std::fs::create_dir(dir.path().join("state")).expect("a state root");
        let parent = format!("/{}/{count}", group());
        let runtime = Runtime::launch(Config {
            state_root: dir.path().join("state"),
            cgroup_parent: parent.clone(),
            exe: None,
        });
        Self {
            runtime: runtime.expect("a launcher (are you root?)"),
            dir,
            parent,
        }
    }

    /// The same place with another daemon's eyes: a launcher of its own, no memory.
    pub(crate) fn another_runtime(&self) -> Runtime {
        let config = Config {
            state_root: self.path("state"),
            cgroup_parent: self.parent.clone(),
            exe: None,
        };
        Runtime::launch(config).expect("another launcher")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The image's only layer, to be changed by tests.
    pub(crate) fn image(&self) -> PathBuf {
        self.path("lower")
    }

    /// A container with the default confinement and these arguments.
    pub(crate) fn spec<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> ContainerSpec {
        let id = Id::random();
        let own = |name: &str| self.path(&format!("{name}-{}", id.short()));
        let (upper, work, state) = (
            own("upper"),
            own("work"),
            self.path("state").join(id.as_str()),
        );
        for directory in [&upper, &work, &state] {
            std::fs::create_dir(directory).expect("a directory");
        }
        ContainerSpec {
            hostname: "bed".into(),
            domainname: None,
            rootfs: Rootfs {
                lowers: vec![self.image()],
                upper,
                work,
                readonly: false,
            },
            mounts: Vec::new(),
            namespaces: Namespaces::default(),
            process: ProcessSpec {
                env: vec!["PATH=/bin".into()],
                ..ProcessSpec::new(args)
            },
            resources: Resources::default(),
            cgroup: format!("{}/{id}", self.parent),
            devices: Vec::new(),
            device_rules: Vec::new(),
            sysctls: BTreeMap::new(),
            masked_paths: default_masked_paths(),
            readonly_paths: default_readonly_paths(),
            privileged: false,
            init: false,
            oom_score_adj: None,
            shm_bytes: 64 << 20,
            stdio: Stdio::default(),
            log: Some(LogSpec::at(own("log"))),
            state_dir: state,
            id,
        }
    }

    /// A container that runs a shell script.
    pub(crate) fn script(&self, script: &str) -> ContainerSpec {
        self.spec(["/bin/sh", "-c", script])
    }

    /// Runs a container to its end.
    pub(crate) async fn run(&self, spec: &ContainerSpec) -> Outcome {
        let monitor = self.start(spec).await;
        self.outcome(spec, monitor.wait().await)
    }

    /// Runs a script in a container with the default profile and returns what it said, which must
    /// end well.
    pub(crate) async fn say(&self, script: &str) -> String {
        let outcome = self.run(&self.script(script)).await;
        assert_eq!(outcome.exit.code, 0, "{outcome:?}");
        outcome.stdout
    }

    pub(crate) async fn start(&self, spec: &ContainerSpec) -> Monitor {
        let started = self.runtime.start(spec).await;
        started.unwrap_or_else(|error| panic!("start {:?}: {error}", spec.process.args))
    }

    /// Why a container does not start.
    pub(crate) async fn refusal(&self, spec: &ContainerSpec) -> orc_base::Error {
        match self.runtime.start(spec).await {
            Err(error) => {
                self.assert_nothing_left(spec);
                error
            }
            Ok(monitor) => {
                let _ = monitor.signal(orc_runtime::signal::KILL);
                panic!("{:?} was started", spec.process.args);
            }
        }
    }

    pub(crate) fn outcome(&self, spec: &ContainerSpec, exit: Exit) -> Outcome {
        Outcome {
            exit,
            stdout: self.output(spec, Stream::Stdout),
            stderr: self.output(spec, Stream::Stderr),
        }
    }

    /// What a container has written so far.
    pub(crate) fn output(&self, spec: &ContainerSpec, stream: Stream) -> String {
        let log = spec.log.as_ref().expect("a log");
        let records = LogReader::from_start(&log.path).map(|record| record.expect("a record"));
        let bytes: Vec<u8> = records
            .filter(|record| record.stream == stream)
            .flat_map(|record| record.bytes)
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until a container has written `text`.
    pub(crate) async fn output_has(&self, spec: &ContainerSpec, text: &str) {
        while !self.output(spec, Stream::Stdout).contains(text) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn exec_spec(&self, container: &ContainerSpec, script: &str) -> ExecSpec {
        ExecSpec {
            process: ProcessSpec {
                env: vec!["PATH=/bin".into()],
                ..ProcessSpec::new(["/bin/sh", "-c", script])
            },
            stdin: false,
            terminal: false,
            size: None,
            cgroup: container.cgroup.clone(),
            oom_score_adj: None,
        }
    }

    /// Waits until all monitors that this bed's launcher has forked are gone. A container that runs
    /// is killed.
    pub(crate) async fn settle(&self, spec: &ContainerSpec) {
        // Orders are taken in order: when this one is done, the earlier ones have been forked.
        self.run(&self.spec(["/bin/true"])).await;
        let launcher = self.launcher_pid();
        let children = format!("/proc/{launcher}/task/{launcher}/children");
        while !std::fs::read_to_string(&children)
            .unwrap()
            .trim()
            .is_empty()
        {
            if let Ok(Adopted::Running(monitor)) = self.runtime.adopt(&spec.state_dir).await {
                let _ = monitor.signal(orc_runtime::signal::KILL);
                monitor.wait().await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// The one launcher among this process's children: tests run one after the other.
    pub(crate) fn launcher_pid(&self) -> i32 {
        let mut pids = Vec::new();
        for task in std::fs::read_dir("/proc/self/task")
            .expect("tasks")
            .flatten()
        {
            let text = std::fs::read_to_string(task.path().join("children"));
            pids.extend(
                text.unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned),
            );
        }
        let is_launcher = |pid: &&String| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm.trim() == "orc-launcher")
        };
        let launchers: Vec<&String> = pids.iter().filter(is_launcher).collect();
        assert_eq!(launchers.len(), 1, "{launchers:?}");
        launchers[0].parse().expect("a pid")
    }

    /// The container's group, by a layout of the test's own.
    pub(crate) fn cgroup(&self, spec: &ContainerSpec) -> Cgroup {
        self.runtime.cgroup(&spec.cgroup).expect("a group")
    }

    /// No process, no group, no socket, no mount.
    pub(crate) fn assert_nothing_left(&self, spec: &ContainerSpec) {
        assert_eq!(self.cgroup(spec).processes().unwrap(), [0; 0]);
        for directory in group_directories(&spec.cgroup) {
            assert!(!directory.exists(), "{} is left", directory.display());
        }
        let left: Vec<PathBuf> = orc_base::fs::list(&spec.state_dir).unwrap();
        let left: Vec<_> = left
            .iter()
            .filter(|path| !path.ends_with("exit.json"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = self.dir.path().to_str().unwrap();
        assert!(!mounts.contains(own), "a mount below {own} is left");
    }
}

impl Drop for Bed {
    /// Whatever a failed test has left is killed by its groups.
    fn drop(&mut self) {
        let layout = Layout::detect().expect("a layout");
        for tree in group_directories(&self.parent) {
            let children = std::fs::read_dir(&tree).into_iter().flatten().flatten();
            for child in children.filter(|child| child.path().is_dir()) {
                let name = child.file_name();
                let path = format!("{}/{}", self.parent, name.to_string_lossy());
                if let Ok(group) = Cgroup::new(&layout, &path) {
                    let _ = group.remove();
                }
            }
        }
        if let Ok(group) = Cgroup::new(&layout, &self.parent) {
            let _ = group.remove();
        }
    }
}

/// Removes what all tests of this process share.
pub(crate) fn tidy_up() {
    for directory in group_directories(&format!("/{}", group())) {
        let _ = std::fs::remove_dir(directory);
    }
}

fn group() -> String {
    format!("orc-test-{}", std::process::id())
}

/// Where a group is, or would be, in every hierarchy that is mounted below /sys/fs/cgroup.
fn group_directories(path: &str) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let trees = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (_, mount, kind) = (fields.next()?, fields.next()?, fields.next()?);
        kind.starts_with("cgroup").then(|| PathBuf::from(mount))
    });
    trees
        .map(|tree| tree.join(path.trim_start_matches('/')))
        .collect()
}

/// A minimal image: busybox, and three users.
fn make_lower(lower: &Path) {
    let bin = lower.join("bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    std::fs::copy(BUSYBOX, bin.join("busybox")).expect("busybox");
    for applet in APPLETS {
        symlink("busybox", bin.join(applet)).expect("a link");
    }
    let etc = lower.join("etc");
    std::fs::create_dir(&etc).expect("a directory");
    std::fs::write(
        etc.join("passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n1000:x:0:0:trap:/:/bin/sh\n",
    )
    .expect("passwd");
    std::fs::write(etc.join("group"), "root:x:0:\nwww:x:33:\naudio:x:29:web\n").expect("group");
    std::fs::create_dir_all(lower.join("tmp")).expect("a directory");
}

/// All that a pipe or a terminal gives until its end.
pub(crate) async fn read_to_end(fd: std::os::fd::OwnedFd) -> String {
    use std::io::Read;
    let read = move || {
        let mut bytes = Vec::new();
        // A terminal whose last user has closed it says EIO after its last byte.
        let _ = std::fs::File::from(fd).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    tokio::task::spawn_blocking(read).await.expect("a reader")
}
