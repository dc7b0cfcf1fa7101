//! etcd's members on loopback, and its `Put` by gRPC, which is small enough to write by hand.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Sample, VALUE, measure, memory};

/// How long etcd may take to answer at first.
const PATIENCE: Duration = Duration::from_secs(20);

/// Members, killed when dropped.
pub(crate) struct Cluster {
    members: Vec<Child>,
    urls: Vec<String>,
    client: reqwest::Client,
}

impl Cluster {
    /// Starts so many members; nothing when there is no etcd on this machine.
    pub(crate) async fn start(place: &Path, nodes: u64) -> Option<Self> {
        let found = Command::new("etcd")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if found.is_err() {
            println!("no etcd here: install etcd-server to have it beside");
            return None;
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let ports: Vec<(u16, u16)> = (0..nodes).map(|_| (free_port(), free_port())).collect();
        let everyone = ports.iter().enumerate();
        let everyone: Vec<String> = everyone
            .map(|(at, (_, peer))| format!("m{at}={}", url(*peer)))
            .collect();
        let start = |(at, (client, peer)): (usize, &(u16, u16))| {
            Command::new("etcd")
                .args([
                    "--name",
                    &format!("m{at}"),
                    "--logger=zap",
                    "--log-level=error",
                ])
                .arg("--data-dir")
                .arg(place.join(format!("etcd-{at}")))
                .args([
                    "--listen-client-urls",
                    &url(*client),
                    "--advertise-client-urls",
                    &url(*client),
                ])
                .args([
                    "--listen-peer-urls",
                    &url(*peer),
                    "--initial-advertise-peer-urls",
                    &url(*peer),
                ])
                .args(["--initial-cluster", &everyone.join(",")])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("etcd starts")
        };
        let cluster = Self {
            members: ports.iter().enumerate().map(start).collect(),
            urls: ports.iter().map(|(client, _)| url(*client)).collect(),
            client: reqwest::Client::builder()
                .http2_prior_knowledge()
                .no_proxy()
                .build()
                .expect("a client"),
        };
        let began = Instant::now();
        for url in &cluster.urls {
            while let Err(error) = put(&cluster.client, url, 0).await {
                assert!(began.elapsed() < PATIENCE, "etcd does not answer: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Some(cluster)
    }

    pub(crate) async fn measure(&self, clients: usize) -> Sample {
        let (client, urls) = (self.client.clone(), self.urls.clone());
        measure(clients, move |number, key| {
            let (client, url) = (client.clone(), urls[number % urls.len()].clone());
            async move { put(&client, &url, key).await.expect("a write") }
        })
        .await
    }

    pub(crate) fn memory(&self) -> String {
        let each = self
            .members
            .iter()
            .map(|member| format!("{:.0} MiB", memory(member.id())));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// `etcdserverpb.KV/Put` with the fields `key` (1) and `value` (2).
async fn put(client: &reqwest::Client, url: &str, key: usize) -> Result<(), String> {
    let mut message = Vec::new();
    field(&mut message, 1, format!("key/{key}").as_bytes());
    field(&mut message, 2, &[b'x'; VALUE]);
    let mut body = vec![0];
    body.extend_from_slice(&(message.len() as u32).to_be_bytes());
    body.extend_from_slice(&message);
    let request = client.post(format!("{url}/etcdserverpb.KV/Put"));
    let request = request
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let response = request
        .body(body)
        .send()
        .await
        .map_err(|error| error.to_string())?;
    let failed = response.headers().contains_key("grpc-status");
    let bytes = response.bytes().await.map_err(|error| error.to_string())?;
    // A failed call has no message.
    match failed || bytes.len() < 5 {
        true => Err("etcd refused the write".to_owned()),
        false => Ok(()),
    }
}

fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 128 {
        message.push(length as u8 | 128);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}
