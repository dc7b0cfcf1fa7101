//! A server of its own for each test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use orc_base::clock::SystemClock;
use orc_host::fake::FakeHost;
use orc_host::image::ImageConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::server::listen::{Options, serve};

/// A server that ends with this.
pub(crate) struct Server {
    pub(crate) host: FakeHost,
    pub(crate) socket: PathBuf,
    directory: Option<tempfile::TempDir>,
    end: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Over a fake host that has the image `busybox:latest`.
    pub(crate) fn start() -> Self {
        let host = FakeHost::new(Arc::new(SystemClock));
        let config = ImageConfig {
            command: Some(vec!["sh".into()]),
            env: vec!["PATH=/bin".into()],
            exposed_ports: vec!["80/tcp".into(), "53/udp".into()],
            ..ImageConfig::default()
        };
        host.add_image("busybox:latest", config);
        let directory = tempfile::tempdir().unwrap();
        let mut server = Self::start_at(&directory.path().join("orc.sock"), host);
        server.directory = Some(directory);
        server
    }

    /// Over a given host, at a given place.
    pub(crate) fn start_at(socket: &Path, host: FakeHost) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let (end, ended) = oneshot::channel();
        let served = Arc::new(host.clone());
        let task = tokio::spawn(async move {
            let until = async {
                let _ = ended.await;
            };
            serve(listener, served, Options::default(), until)
                .await
                .unwrap();
        });
        Self {
            host,
            socket: socket.to_owned(),
            directory: None,
            end: Some(end),
            task,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.socket).await.unwrap()
    }

    /// Sends bytes and reads what comes back until the server closes.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        // A server that refuses may close before everything is written.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request without a body; the answer's status, headers and body as text.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.ask("GET", path, "").await
    }

    /// A request with a JSON body.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let path = path
            .replace('"', "%22")
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('^', "%5E");
        let length = body.len();
        let json = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/json\r\n"
        };
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{json}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// Asks the server to end and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop_keeping_directory().await;
    }

    /// The same; its directory lives as long as what is returned.
    pub(crate) async fn stop_keeping_directory(mut self) -> Option<tempfile::TempDir> {
        drop(self.end.take());
        (&mut self.task).await.unwrap();
        self.directory.take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
