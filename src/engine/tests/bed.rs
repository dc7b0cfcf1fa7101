//! What the cases lie in: directories, a cgroup parent, an engine, and an image of busybox.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use futures_util::StreamExt;
use orc_base::dirs::Dirs;
use orc_engine::{Engine, Options};
use orc_host::Host;
use orc_host::container::{ContainerFilter, ContainerSpec, RemoveOptions};
use orc_host::image::{ImportSource, ImportTar};
use orc_host::stream::{Attached, Chunk, LogOptions, Output};

pub(crate) const IMAGE: &str = "example/busybox:1";
const APPLETS: [&str; 18] = [
    "cat", "chown", "echo", "false", "hostname", "id", "ls", "mkdir", "nc", "nslookup", "printf",
    "sh", "sleep", "stat", "stty", "trap", "true", "wget",
];

/// A machine for one case.
pub(crate) struct Bed {
    dir: tempfile::TempDir,
    parent: String,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            parent: format!("/orc-engine-test-{}", std::process::id()),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Opens an engine on this machine; the last one must have been dropped.
    pub(crate) async fn open(&self) -> Arc<Engine> {
        let dirs = Dirs::new(self.path("data"), self.path("run"));
        let mut options = Options::new(dirs);
        options.cgroup_parent.clone_from(&self.parent);
        Engine::open(options)
            .await
            .expect("an engine (are you root?)")
    }

    /// Opens an engine with the image.
    pub(crate) async fn open_with_image(&self) -> Arc<Engine> {
        let engine = self.open().await;
        let root = self.path("root");
        std::fs::create_dir_all(root.join("bin")).expect("a directory");
        for directory in ["etc", "tmp", "proc", "sys", "dev", "srv/sub"] {
            std::fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("a file");
        std::fs::write(root.join("etc/notexec"), "text\n").expect("a file");
        std::fs::write(root.join("srv/file"), "from the image\n").expect("a file");
        std::os::unix::fs::chown(root.join("srv"), Some(33), Some(34)).expect("an owner");
        let tar = Command::new("tar")
            .args(["-C", &root.display().to_string(), "-c", "."])
            .output()
            .expect("tar");
        std::fs::remove_dir_all(&root).expect("the directory goes");
        let source = ImportSource {
            tar: ImportTar::Sent(Box::pin(futures_util::stream::iter([Ok(tar
                .stdout
                .into())]))),
            reference: Some(IMAGE.into()),
            changes: Vec::new(),
            message: None,
        };
        let mut progress = engine.import_image(source).await.expect("an import");
        while let Some(line) = progress.next().await {
            line.expect("an import");
        }
        engine
    }

    /// Panics unless nothing is left of containers; what is removed in the background gets a while.
    pub(crate) async fn is_clean(&self) {
        for _ in 0..500 {
            if self.leftovers().is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("left: {:?}", self.leftovers());
    }

    /// The cgroups and directories that containers of this machine left.
    fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for hierarchy in read_dir(Path::new("/sys/fs/cgroup")) {
            left.extend(read_dir(
                &hierarchy.join(self.parent.trim_start_matches('/')),
            ));
        }
        left.retain(|path| path.is_dir());
        for name in [
            "data/containers",
            "data/images/snapshots",
            "run/containers",
            "run/ns",
        ] {
            left.extend(read_dir(&self.path(name)));
        }
        left.into_iter()
            .map(|path| path.display().to_string())
            .collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for hierarchy in read_dir(Path::new("/sys/fs/cgroup")) {
            // Only there when it is a hierarchy and a container was started.
            let _ = std::fs::remove_dir(hierarchy.join(self.parent.trim_start_matches('/')));
        }
    }
}

fn read_dir(path: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// A container that runs a line of shell.
pub(crate) fn shell(line: &str) -> ContainerSpec {
    ContainerSpec {
        image: IMAGE.into(),
        command: Some(["sh", "-c", line].map(String::from).into()),
        stop_timeout: Some(std::time::Duration::from_secs(1)),
        ..ContainerSpec::default()
    }
}

/// Makes and starts a container.
pub(crate) async fn run(engine: &Engine, name: &str, spec: &ContainerSpec) {
    engine
        .create_container(Some(name), spec)
        .await
        .expect("create");
    engine.start_container(name).await.expect("start");
}

/// Runs a container to its end: exit code, output, and nothing left.
pub(crate) async fn run_to_end(engine: &Engine, spec: &ContainerSpec) -> (i32, String) {
    run(engine, "to-end", spec).await;
    let exit = engine
        .wait_container("to-end", Default::default())
        .await
        .expect("wait");
    let text = log(engine, "to-end").await;
    remove(engine, "to-end").await;
    (exit.code, text)
}

/// Runs a line of shell in a running container.
pub(crate) async fn exec(engine: &Engine, name: &str, line: &str) -> (Option<i32>, String) {
    let spec = orc_host::exec::ExecSpec {
        command: ["sh", "-c", line].map(String::from).into(),
        stdout: true,
        stderr: true,
        ..Default::default()
    };
    let id = engine.create_exec(name, &spec).await.expect("an exec");
    let attached = engine.start_exec(&id, false).await.expect("a start");
    let text = all(attached).await;
    (
        engine.inspect_exec(&id).await.expect("its end").exit_code,
        text,
    )
}

/// All output of something attached.
pub(crate) async fn all(attached: Attached) -> String {
    let mut text = String::new();
    let mut output = attached.output;
    while let Some(chunk) = output.next().await {
        let Chunk { bytes, .. } = chunk.expect("output");
        text += &String::from_utf8_lossy(&bytes);
    }
    text
}

pub(crate) async fn log(engine: &Engine, name: &str) -> String {
    let mut lines = engine
        .logs(name, &LogOptions::default())
        .await
        .expect("logs");
    let mut text = String::new();
    while let Some(line) = lines.next().await {
        let line = line.expect("a line");
        let mark = if line.output == Output::Stderr {
            "! "
        } else {
            ""
        };
        text += &format!("{mark}{}", String::from_utf8_lossy(&line.bytes));
    }
    text
}

pub(crate) async fn remove(engine: &Engine, name: &str) {
    let options = RemoveOptions {
        force: true,
        volumes: true,
    };
    engine
        .remove_container(name, options)
        .await
        .expect("remove");
}

pub(crate) async fn remove_all(engine: &Engine) {
    let all = engine
        .list_containers(&ContainerFilter::everything())
        .await
        .expect("a list");
    for container in all {
        remove(engine, &container.id).await;
    }
}
