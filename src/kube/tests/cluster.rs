//! A server for a test, and the kubectl that speaks to it.

use std::collections::HashMap;
use std::future::Future;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use orc_base::clock::SystemClock;
use orc_base::{Clock, Error, Result};
use orc_kube::auth::authenticator::Authenticator;
use orc_kube::auth::jwt::Keys;
use orc_kube::kinds::{NAMESPACE, SERVICE_ACCOUNT};
use orc_kube::pki::authority::{Issued, NODE_LIFE};
use orc_kube::pki::identity::{NodeIdentity, Role, ServedName, Subject};
use orc_kube::pki::live::Live;
use orc_kube::pki::rotation::Roots;
use orc_kube::pki::tls::{self, ClientCertificates};
use orc_kube::pki::trust::{Trust, open_gate};
use orc_kube::server::kubeconfig;
use orc_kube::server::listen;
use orc_kube::server::service::Service;
use orc_kube::server::state::Parts;
use orc_kube::server::streams::node::{
    Connection, ContainerTarget, Log, LogOptions, NodeStreams, Terminal,
};
use orc_kube::{LocalObjects, Object, Objects, Scope, Settings, WriteOptions};
use orc_store::{Limits, MemoryStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

const INSIDE: &str = "ORC_KUBE_TEST_INSIDE";
/// Where the server listens.
pub(crate) const PORT: u16 = 6443;

/// Runs a test in a network namespace of its own: this very test again, below `unshare`.
pub(crate) fn alone<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Arc<Cluster>) -> F) {
    if std::env::var_os(INSIDE).is_none() {
        let program = std::env::current_exe().unwrap();
        let status = std::process::Command::new("timeout")
            .args(["120", "unshare", "--net"])
            .arg(program)
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(INSIDE, "1")
            .status()
            .unwrap();
        assert!(status.success(), "{name}: {status}");
        return;
    }
    let up = std::process::Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .unwrap();
    assert!(up.success());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::start().await;
        test(cluster.clone()).await;
        cluster.stop.send_replace(true);
    });
}

/// A server and its clients' files.
pub(crate) struct Cluster {
    /// What it serves.
    pub(crate) objects: Arc<LocalObjects>,
    /// The lines of its audit.
    pub(crate) audit: Arc<Mutex<Vec<String>>>,
    roots: Roots,
    directory: tempfile::TempDir,
    stop: watch::Sender<bool>,
}

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) out: String,
    /// What it complained of.
    pub(crate) err: String,
}

impl Cluster {
    async fn start() -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Arc::new(MemoryStore::new(Limits::default()));
        let settings = Settings::default();
        let objects = Arc::new(LocalObjects::new(store, clock.clone(), settings));
        let roots = Roots::first("test", clock.now()).unwrap();
        let keys = Keys::load([Keys::generate().unwrap().as_slice()]).unwrap();
        let audit = Arc::new(Mutex::new(Vec::new()));
        let lines = audit.clone();
        let service = Service::new(Parts {
            objects: objects.clone(),
            authenticator: Authenticator::new(objects.clone(), keys, open_gate(), clock.clone()),
            node_streams: Arc::new(Pods),
            clock: clock.clone(),
            audit: Box::new(move |line| lines.lock().unwrap().push(line.to_string())),
            ready: Box::new(|| Ok(())),
            max_watches: 1000,
        });
        let identity = NodeIdentity::new("test", "m1", Role::Manager).unwrap();
        let names = vec![ServedName::Address([127, 0, 0, 1].into())];
        let server = Subject::Node { identity, names };
        let signer = roots.signer().unwrap();
        let issued = signer.issue(&server, clock.now(), NODE_LIFE).unwrap();
        let chain = issued.certificate.clone() + &roots.chain().concat();
        let shown = Arc::new(Live::new(&chain, &issued.key).unwrap());
        let trust = Arc::new(Trust::new(roots.trusted()).unwrap());
        let accepted = ClientCertificates::Accepted;
        let tls = tls::server(
            shown,
            trust,
            open_gate(),
            accepted,
            listen::PROTOCOLS,
            clock,
        );
        let listener = TcpListener::bind(("127.0.0.1", PORT)).await.unwrap();
        let stop = watch::Sender::new(false);
        let serving = listen::serve(listener, Arc::new(tls.unwrap()), service, stop.subscribe());
        tokio::spawn(serving);
        let cluster = Arc::new(Self {
            objects,
            audit,
            roots,
            directory: tempfile::tempdir().unwrap(),
            stop,
        });
        cluster.admin("admin", "system:masters");
        cluster.namespace("default").await;
        cluster
    }

    /// A namespace with its account, as the controllers of a cluster make one.
    pub(crate) async fn namespace(&self, name: &str) {
        let options = WriteOptions::by("test");
        let scope = Scope::all(&NAMESPACE);
        let object = Object::new("v1", "Namespace", "", name);
        self.objects.create(&scope, object, &options).await.unwrap();
        let scope = Scope::inside(&SERVICE_ACCOUNT, name);
        let object = Object::new("v1", "ServiceAccount", name, "default");
        self.objects.create(&scope, object, &options).await.unwrap();
    }

    /// What somebody shows.
    pub(crate) fn live(&self, subject: &Subject) -> Arc<Live> {
        let signer = self.roots.signer().unwrap();
        let issued = signer.issue(subject, SystemClock.now(), NODE_LIFE).unwrap();
        Arc::new(Live::new(&issued.certificate, &issued.key).unwrap())
    }

    /// Whom everybody believes.
    pub(crate) fn trust(&self) -> Arc<Trust> {
        Arc::new(Trust::new(self.roots.trusted()).unwrap())
    }

    /// Writes the kubeconfig of a person.
    fn admin(&self, name: &str, group: &str) {
        self.user(
            name,
            &Subject::User {
                name: name.to_owned(),
                groups: vec![group.to_owned()],
            },
        );
    }

    /// Writes the kubeconfig `name` for anybody.
    pub(crate) fn user(&self, name: &str, subject: &Subject) {
        let signer = self.roots.signer().unwrap();
        let issued = signer.issue(subject, SystemClock.now(), NODE_LIFE).unwrap();
        self.config(name, &issued);
    }

    fn config(&self, name: &str, issued: &Issued) {
        let url = format!("https://127.0.0.1:{PORT}");
        let roots = self.roots.trusted().concat();
        let config = kubeconfig::render(name, &url, &roots, issued);
        std::fs::write(self.directory.path().join(name), config.to_string()).unwrap();
    }

    /// Writes the kubeconfig `name` for somebody with a bearer token.
    pub(crate) fn token(&self, name: &str, token: &str) {
        let nobody = Issued {
            certificate: String::new(),
            key: String::new(),
        };
        let url = format!("https://127.0.0.1:{PORT}");
        let roots = self.roots.trusted().concat();
        let mut config = kubeconfig::render(name, &url, &roots, &nobody);
        config["users"][0]["user"] = serde_json::json!({ "token": token });
        std::fs::write(self.directory.path().join(name), config.to_string()).unwrap();
    }

    /// Runs kubectl as the administrator.
    pub(crate) async fn kubectl(&self, arguments: &str) -> Ran {
        self.run_as("admin", arguments, "").await
    }

    /// Runs kubectl with words apart by blanks, and something to read.
    pub(crate) async fn run_as(&self, user: &str, arguments: &str, input: &str) -> Ran {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        self.run(user, &words, input).await
    }

    /// Runs kubectl.
    pub(crate) async fn run(&self, user: &str, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.command(user, arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let feed = tokio::spawn(async move {
            // A program that reads nothing closes its end.
            let _ = stdin.write_all(input.as_bytes()).await;
        });
        let limit = Duration::from_secs(30);
        let output = tokio::time::timeout(limit, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("kubectl {arguments:?} hangs"));
        feed.await.unwrap();
        let output = output.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// kubectl, not yet started; ends when dropped.
    pub(crate) fn command(&self, user: &str, arguments: &[&str]) -> tokio::process::Command {
        self.program("kubectl", user, arguments)
    }

    /// A program in whose environment kubectl finds the server, not yet started; ends when dropped.
    pub(crate) fn program(
        &self,
        program: &str,
        user: &str,
        arguments: &[&str],
    ) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .env("KUBECONFIG", self.directory.path().join(user))
            .env("HOME", self.directory.path())
            .env("KUBECACHEDIR", self.directory.path().join("cache"))
            .env("TMPDIR", self.directory.path())
            .env("EDITOR", "sed -i 's/replicas: 1/replicas: 4/'")
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// kubectl as the administrator; what it printed, when it ended well.
    pub(crate) async fn ok(&self, arguments: &str) -> String {
        self.fed(arguments, "").await
    }

    /// The same with something to read.
    pub(crate) async fn fed(&self, arguments: &str, input: &str) -> String {
        let ran = self.run_as("admin", arguments, input).await;
        assert_eq!(ran.code, 0, "kubectl {arguments}: {ran:?}");
        ran.out
    }

    /// kubectl as the administrator; what it complained of, when it failed.
    pub(crate) async fn refused(&self, arguments: &str, input: &str) -> String {
        let ran = self.run_as("admin", arguments, input).await;
        assert_ne!(ran.code, 0, "kubectl {arguments}: {ran:?}");
        ran.err
    }
}

/// The twin of an agent: a pod whose program is a shell of three commands.
pub(crate) struct Pods;

#[async_trait]
impl NodeStreams for Pods {
    async fn exec(
        &self,
        _: &ContainerTarget,
        command: &[String],
        terminal: Terminal,
    ) -> Result<i32> {
        let say = async |to: &Option<tokio::sync::mpsc::Sender<Bytes>>, text: String| {
            if let Some(to) = to {
                let _ = to.send(text.into()).await;
            }
        };
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match &words[..] {
            ["echo", rest @ ..] => {
                say(&terminal.stdout, format!("{}\n", rest.join(" "))).await;
                Ok(0)
            }
            ["cat"] => {
                let mut stdin = terminal.stdin.expect("cat reads");
                while let Some(bytes) = stdin.recv().await {
                    say(
                        &terminal.stdout,
                        String::from_utf8_lossy(&bytes).into_owned(),
                    )
                    .await;
                }
                Ok(0)
            }
            ["size"] if terminal.tty => {
                let mut sizes = terminal.sizes;
                let size = sizes.recv().await.expect("kubectl tells the size");
                let text = format!("terminal of {} x {}\r\n", size.width, size.height);
                say(&terminal.stdout, text).await;
                Ok(0)
            }
            ["fail"] => {
                say(&terminal.stderr, "it failed\n".to_owned()).await;
                Ok(7)
            }
            _ => Err(Error::not_found(format!("no program {command:?}"))),
        }
    }

    async fn attach(&self, target: &ContainerTarget, terminal: Terminal) -> Result<i32> {
        let hello = vec!["echo".to_owned(), "attached".to_owned()];
        self.exec(target, &hello, terminal).await
    }

    async fn logs(&self, target: &ContainerTarget, options: &LogOptions) -> Result<Log> {
        let lines = HashMap::from([("one", "first line\nsecond line\n")]);
        let text = *lines
            .get(target.container.as_str())
            .ok_or_else(|| Error::not_found("the container has not run"))?;
        let lines: Vec<&str> = text.lines().collect();
        let tail = usize::try_from(options.tail.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let from = lines.len().saturating_sub(tail);
        let lines: Vec<_> = lines[from..]
            .iter()
            .map(|line| Ok(Bytes::from(format!("{line}\n"))))
            .collect();
        Ok(Box::pin(futures_util::stream::iter(lines)))
    }

    async fn forward(&self, _: &Object, port: u16) -> Result<Box<dyn Connection>> {
        if port != 80 {
            return Err(Error::unavailable("connection refused"));
        }
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut text = vec![0; 1024];
            let length = theirs.read(&mut text).await.unwrap();
            theirs.write_all(b"you said ").await.unwrap();
            theirs.write_all(&text[..length]).await.unwrap();
        });
        Ok(Box::new(ours))
    }
}
