//! The way upstream: a client's question goes on as it is, and the answer comes back as it is.
//!
//! Nothing is kept and nothing is made up. Every question leaves from a port of its own under a
//! number of its own, and only an answer to the same question from the server that was asked is
//! passed on, so there is little to guess for who would forge one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orc_base::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::dns::answer::Upstream;
use crate::dns::message::{Code, Query, Transport};
use crate::resolv::Resolver;

/// How long one server has to answer.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// How many servers are asked, one after the other.
const SERVERS: usize = 4;
/// How many questions may be under way.
const IN_FLIGHT: usize = 512;
/// The longest answer by UDP: no server sends more, whatever a client says it takes.
const DATAGRAM: usize = 8192;
/// How many answers to something else one question puts up with.
const STRAYS: usize = 64;
/// How often the host's configuration is looked at.
const FRESH: Duration = Duration::from_secs(1);
/// The port of the service.
const PORT: u16 = 53;

/// Asks the servers of the host or of a container.
#[derive(Debug)]
pub(crate) struct Forwarder {
    resolv_conf: PathBuf,
    host: Mutex<Option<Host>>,
    slots: Semaphore,
}

/// The host's servers and the file they were read from.
#[derive(Debug)]
struct Host {
    looked: Instant,
    stamp: Option<Stamp>,
    servers: Arc<[IpAddr]>,
}

/// What is different when a file is: change time, inode and size.
type Stamp = (i64, i64, u64, u64);

impl Forwarder {
    pub(crate) fn new(resolv_conf: PathBuf) -> Self {
        Self {
            resolv_conf,
            host: Mutex::new(None),
            slots: Semaphore::new(IN_FLIGHT),
        }
    }

    /// The answer of the first server that has one.
    pub(crate) async fn ask(
        &self,
        upstream: &Upstream,
        query: &Query,
        message: &[u8],
        transport: Transport,
    ) -> Result<Vec<u8>> {
        let _slot = self.slots.try_acquire().map_err(|_| {
            Error::exhausted(format!("{IN_FLIGHT} questions are under way already"))
        })?;
        let servers = match upstream {
            Upstream::None => Arc::default(),
            Upstream::Host => self.host_servers(),
            Upstream::Servers(servers) => Arc::clone(servers),
        };
        let mut failure = Error::unavailable("there is no server to ask");
        let mut excuse = None;
        for server in servers.iter().take(SERVERS) {
            let server = SocketAddr::new(*server, PORT);
            let answer = match transport {
                Transport::Udp => timeout(SERVER_TIMEOUT, ask_udp(server, query, message)).await,
                Transport::Tcp => timeout(SERVER_TIMEOUT, ask_tcp(server, query, message)).await,
            };
            match answer {
                Ok(Ok(reply)) if is_excuse(&reply) => excuse = Some(reply),
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = Error::timeout(format!("{server} does not answer")),
            }
        }
        excuse.ok_or(failure)
    }

    fn host_servers(&self) -> Arc<[IpAddr]> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = &*host
            && host.looked.elapsed() < FRESH
        {
            return Arc::clone(&host.servers);
        }
        let stamp = std::fs::metadata(&self.resolv_conf)
            .ok()
            .map(|file| (file.ctime(), file.ctime_nsec(), file.ino(), file.size()));
        let servers = match &*host {
            Some(host) if host.stamp == stamp => Arc::clone(&host.servers),
            _ => Resolver::read(&self.resolv_conf)
                .inspect_err(|error| tracing::warn!(%error, "the host's name servers are unknown"))
                .unwrap_or_default()
                .nameservers
                .into(),
        };
        *host = Some(Host {
            looked: Instant::now(),
            stamp,
            servers: Arc::clone(&servers),
        });
        servers
    }
}

/// Whether a server says that it cannot or will not; another one may.
fn is_excuse(reply: &[u8]) -> bool {
    [Code::ServerFailure, Code::NotImplemented, Code::Refused]
        .iter()
        .any(|code| reply[3] & 0x0f == *code as u8)
}

/// The message under a new number, and the number.
fn renumbered(message: &[u8]) -> (Vec<u8>, [u8; 2]) {
    let number = orc_base::id::random_bytes::<2>();
    let mut message = message.to_vec();
    message[..2].copy_from_slice(&number);
    (message, number)
}

async fn ask_udp(server: SocketAddr, query: &Query, message: &[u8]) -> Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let (question, number) = renumbered(message);
    socket.send(&question).await?;
    let mut reply = vec![0; DATAGRAM];
    for _ in 0..STRAYS {
        let length = socket.recv(&mut reply).await?;
        let answer = &reply[..length];
        if answer.starts_with(&number) && query.is_answered_by(message, answer) {
            let mut answer = answer.to_vec();
            answer[..2].copy_from_slice(&message[..2]);
            return Ok(answer);
        }
    }
    Err(Error::unavailable(format!(
        "{server} answers {STRAYS} times what it was not asked"
    )))
}

async fn ask_tcp(server: SocketAddr, query: &Query, message: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let (question, number) = renumbered(message);
    let mut framed = (question.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&question);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if !answer.starts_with(&number) || !query.is_answered_by(message, &answer) {
        return Err(Error::unavailable(format!(
            "{server} answers what it was not asked"
        )));
    }
    answer[..2].copy_from_slice(&message[..2]);
    Ok(answer)
}
