//! Docker's own command line against the server, as far as the fake host goes.
//!
//! Where there is no `docker` the test says so and does nothing.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use orc_host::Host;
use orc_host::container::{ContainerFilter, NetworkMode};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::tests::support::Server;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Docker<'a> {
    server: &'a Server,
    config: tempfile::TempDir,
}

struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl<'a> Docker<'a> {
    /// Docker's own client has to be there: `make deps-test` installs it.
    async fn of(server: &'a Server) -> Self {
        let found = Command::new("docker").arg("--version").output().await;
        let found = found.is_ok_and(|output| output.status.success());
        assert!(
            found,
            "there is no `docker` on this machine: run `make deps-test`"
        );
        Self {
            server,
            config: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.server.socket.display()),
            )
            .env("DOCKER_CONFIG", self.config.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Done {
        let output = tokio::time::timeout(PATIENCE, self.command(args).output()).await;
        done(
            &output
                .unwrap_or_else(|_| panic!("docker {args:?} hangs"))
                .unwrap(),
        )
    }

    /// Runs with input that ends.
    async fn feed(&self, args: &[&str], input: &[u8]) -> Done {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        done(
            &output
                .unwrap_or_else(|_| panic!("docker {args:?} hangs"))
                .unwrap(),
        )
    }

    /// Runs what must succeed and returns what it printed.
    async fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args).await;
        assert_eq!(
            done.code, 0,
            "docker {args:?}: {}{}",
            done.stdout, done.stderr
        );
        done.stdout
    }

    /// Runs what must fail with `code` and say `told`.
    async fn refused(&self, args: &[&str], code: i32, told: &str) {
        let done = self.run(args).await;
        assert_eq!(
            done.code, code,
            "docker {args:?}: {}{}",
            done.stdout, done.stderr
        );
        assert!(
            done.stderr.contains(told),
            "docker {args:?}: {}",
            done.stderr
        );
    }
}

fn done(output: &Output) -> Done {
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_sees_the_machine() {
    let server = Server::start();
    let docker = Docker::of(&server).await;
    assert!(docker.ok(&["version"]).await.contains("Server: orc"));
    assert!(
        docker
            .ok(&["info"])
            .await
            .contains("Storage Driver: overlayfs")
    );
    assert!(docker.ok(&["images"]).await.contains("busybox"));
    assert!(docker.ok(&["network", "ls"]).await.contains("bridge"));
    assert!(docker.ok(&["system", "df"]).await.contains("Local Volumes"));
    docker
        .refused(&["node", "ls"], 1, "not a swarm manager")
        .await;
    docker
        .refused(&["ps", "--filter", "x=y"], 1, "invalid filter 'x'")
        .await;
    docker.refused(&["search", "x"], 1, "does not offer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_runs_containers() {
    let server = Server::start();
    let docker = Docker::of(&server).await;
    assert_eq!(docker.ok(&["run", "busybox", "echo", "hi"]).await, "hi\n");
    let both = docker
        .run(&[
            "run",
            "busybox",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 7",
        ])
        .await;
    assert_eq!(
        (both.code, both.stdout.as_str(), both.stderr.as_str()),
        (7, "out\n", "err\n")
    );
    assert_eq!(
        docker
            .feed(&["run", "-i", "busybox", "cat"], b"a\0b")
            .await
            .stdout,
        "a\0b"
    );
    docker
        .refused(
            &["run", "busybox", "/bin/nope"],
            127,
            "no such file or directory",
        )
        .await;
    docker
        .refused(
            &["run", "--gpus", "all", "busybox", "true"],
            125,
            "HostConfig.DeviceRequests",
        )
        .await;
    docker
        .refused(&["run", "nope:1", "true"], 125, "manifest unknown")
        .await;
    let weighed = [
        "run",
        "--name",
        "w",
        "--blkio-weight",
        "10",
        "busybox",
        "true",
    ];
    let ran = docker.run(&weighed).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let changed = docker
        .run(&["update", "--pids-limit", "7", "--restart", "always", "w"])
        .await;
    assert_eq!((changed.code, changed.stdout.as_str()), (0, "w\n"));
    let spec = server.host.inspect_container("w").await.unwrap().spec;
    assert_eq!(spec.resources.block_io.weight, Some(10));
    assert_eq!(spec.resources.pids, Some(7));
    assert_eq!(spec.restart, orc_host::container::RestartPolicy::Always);
    server.host.add_remote_image("there:1", Default::default());
    assert_eq!(
        docker.ok(&["run", "there:1", "echo", "pulled"]).await,
        "pulled\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_lives_with_a_container() {
    let server = Server::start();
    let docker = Docker::of(&server).await;
    let script = "echo one; echo two; sleep 1000";
    docker
        .ok(&[
            "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", script,
        ])
        .await;
    let ps = docker
        .ok(&["ps", "--format", "{{.Names}} {{.Ports}} {{.State}}"])
        .await;
    assert_eq!(ps, "web 0.0.0.0:8080->80/tcp running\n");
    assert_eq!(
        docker.ok(&["port", "web"]).await,
        "80/tcp -> 0.0.0.0:8080\n"
    );
    assert_eq!(docker.ok(&["logs", "--tail", "1", "web"]).await, "two\n");
    let stamped = docker.ok(&["logs", "-t", "web"]).await;
    assert!(
        stamped
            .lines()
            .all(|line| line.len() > 30 && line[..4].parse::<u32>().is_ok()),
        "{stamped}"
    );
    assert_eq!(docker.ok(&["exec", "web", "echo", "hey"]).await, "hey\n");
    assert_eq!(
        docker
            .run(&["exec", "web", "sh", "-c", "exit 3"])
            .await
            .code,
        3
    );
    assert_eq!(docker.run(&["exec", "web", "/bin/nope"]).await.code, 127);
    assert!(docker.ok(&["top", "web"]).await.contains("PID"));
    let format = "{{.State.Status}} {{.HostConfig.NetworkMode}} {{.Config.Image}} {{.NetworkSettings.Networks.bridge.IPAddress}}";
    let inspected = docker.ok(&["inspect", "-f", format, "web"]).await;
    assert!(
        inspected.starts_with("running bridge busybox 172."),
        "{inspected}"
    );
    docker.ok(&["pause", "web"]).await;
    assert!(docker.ok(&["ps"]).await.contains("(Paused)"));
    docker.ok(&["unpause", "web"]).await;
    docker.ok(&["restart", "-t", "0", "web"]).await;
    let follow = docker.command(&["logs", "-f", "web"]).spawn().unwrap();
    docker.ok(&["stop", "-t", "0", "web"]).await;
    let followed = tokio::time::timeout(PATIENCE, follow.wait_with_output()).await;
    assert!(
        done(&followed.expect("it ends").unwrap())
            .stdout
            .starts_with("one\ntwo\n")
    );
    // Stopping what is stopped is fine, killing it is not.
    docker.ok(&["stop", "web"]).await;
    docker.refused(&["kill", "web"], 1, "is not running").await;
    assert_eq!(docker.ok(&["wait", "web"]).await, "137\n");
    docker.ok(&["rename", "web", "old"]).await;
    docker.ok(&["rm", "old"]).await;
    docker.refused(&["inspect", "old"], 1, "No such").await;
    assert!(
        server
            .host
            .list_containers(&ContainerFilter::everything())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_asks_for_many_things() {
    let server = Server::start();
    let docker = Docker::of(&server).await;
    docker
        .ok(&["network", "create", "--subnet", "10.9.0.0/24", "front"])
        .await;
    docker
        .ok(&[
            "create",
            "--name",
            "web",
            "--network",
            "front",
            "--network-alias",
            "w",
            "--ip",
            "10.9.0.7",
            "-v",
            "/srv:/s:ro",
            "-v",
            "data:/d",
            "-v",
            "/anon",
            "--tmpfs",
            "/t:size=1m",
            "--mount",
            "type=bind,src=/etc,dst=/e,readonly",
            "-e",
            "A=b",
            "-l",
            "x=y",
            "-u",
            "1:2",
            "-w",
            "/w",
            "-h",
            "name",
            "--entrypoint",
            "sh",
            "--restart",
            "on-failure:3",
            "-m",
            "64m",
            "--cpus",
            "1.5",
            "--pids-limit",
            "9",
            "--cap-add",
            "NET_ADMIN",
            "--cap-drop",
            "ALL",
            "--read-only",
            "--init",
            "--security-opt",
            "no-new-privileges",
            "--ulimit",
            "nofile=5:6",
            "--sysctl",
            "net.core.somaxconn=9",
            "--add-host",
            "db:192.0.2.1",
            "--dns",
            "192.0.2.2",
            "--health-cmd",
            "true",
            "--health-interval",
            "3s",
            "--stop-signal",
            "SIGINT",
            "--stop-timeout",
            "4",
            "--shm-size",
            "1m",
            "--device",
            "/dev/null:/dev/x:r",
            "busybox",
            "-c",
            "true",
        ])
        .await;
    let spec = server.host.inspect_container("web").await.unwrap().spec;
    assert_eq!(spec.network_mode, NetworkMode::Networks);
    assert_eq!(spec.networks[0].aliases, ["w"]);
    assert_eq!(spec.networks[0].ipv4, Some("10.9.0.7".parse().unwrap()));
    let mut targets: Vec<_> = spec.mounts.iter().map(|mount| mount.target()).collect();
    // Docker's client sends what `-v` names in any order.
    targets[..2].sort_unstable();
    assert_eq!(targets, ["/d", "/s", "/e", "/t"]);
    assert_eq!(spec.anonymous_volumes, ["/anon".to_owned()].into());
    assert_eq!(spec.entrypoint.unwrap(), ["sh"]);
    assert_eq!(spec.command.unwrap(), ["-c", "true"]);
    assert_eq!(spec.resources.nano_cpus, Some(1_500_000_000));
    assert_eq!(
        (spec.resources.memory_bytes, spec.resources.pids),
        (Some(64 << 20), Some(9))
    );
    assert!(spec.read_only && spec.init && spec.no_new_privileges);
    assert_eq!(
        spec.healthcheck.unwrap().interval,
        Some(Duration::from_secs(3))
    );
    assert_eq!(spec.stop_timeout, Some(Duration::from_secs(4)));
    assert_eq!(
        (spec.devices[0].target.as_str(), spec.ulimits[0].hard),
        ("/dev/x", 6)
    );
    assert_eq!(spec.extra_hosts, [("db".into(), "192.0.2.1".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_keeps_house() {
    let server = Server::start();
    let docker = Docker::of(&server).await;
    docker.ok(&["volume", "create", "data"]).await;
    assert!(
        docker
            .ok(&["volume", "inspect", "data"])
            .await
            .contains("\"Scope\": \"local\"")
    );
    docker.ok(&["network", "create", "front"]).await;
    docker
        .ok(&[
            "run", "-d", "--name", "web", "-v", "data:/d", "busybox", "sleep", "9",
        ])
        .await;
    docker
        .ok(&["network", "connect", "--alias", "w", "front", "web"])
        .await;
    assert!(
        docker
            .ok(&["network", "inspect", "front"])
            .await
            .contains("\"Name\": \"web\"")
    );
    docker
        .refused(&["network", "rm", "front"], 1, "is used by container web")
        .await;
    docker.ok(&["network", "disconnect", "front", "web"]).await;
    docker
        .refused(&["volume", "rm", "data"], 1, "is used by container web")
        .await;
    docker.refused(&["rm", "web"], 1, "is running").await;
    docker.ok(&["rm", "-f", "web"]).await;
    docker.ok(&["volume", "rm", "data"]).await;
    docker.ok(&["network", "rm", "front"]).await;

    docker.ok(&["tag", "busybox", "other:1"]).await;
    assert!(
        docker
            .ok(&["rmi", "other:1"])
            .await
            .contains("Untagged: other:1")
    );
    docker.ok(&["history", "busybox"]).await;
    let tar = docker.config.path().join("image.tar");
    docker.ok(&["save", "-o", text(&tar), "busybox"]).await;
    assert_eq!(
        docker.ok(&["load", "-i", text(&tar)]).await,
        "Loaded image: busybox:latest\n"
    );
    let imported = docker.feed(&["import", "-", "made:1"], b"a tar").await;
    assert!(
        imported.stdout.starts_with("sha256:"),
        "{}",
        imported.stderr
    );
    docker
        .refused(&["pull", "nope:1"], 1, "manifest unknown")
        .await;
    assert!(
        docker
            .ok(&["events", "--since", "1h", "--until", "4102444800"])
            .await
            .contains("container start")
    );
    assert!(
        docker
            .ok(&["system", "prune", "-f", "--volumes"])
            .await
            .contains("Total reclaimed space")
    );
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
