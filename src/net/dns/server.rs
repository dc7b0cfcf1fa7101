//! The DNS server of one network, at the address of its bridge, by UDP and TCP.
//!
//! It listens on a port of its own and the firewall rules lead port 53 there, so that a container
//! may have port 53 of the host. What one client does costs the others nothing: questions for
//! upstream wait aside, idle connections are closed, and a client has only so many of them.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use orc_base::task::Tasks;
use orc_base::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::dns::answer::{Answer, Upstream};
use crate::dns::forward::Forwarder;
use crate::dns::message::{self, Code, Query, Records, Reject, Transport};
use crate::dns::zone::Zone;

/// The port that is tried first: with the same one after a restart, clients that keep asking from
/// one socket still get through.
const PORT: u16 = 26053;
/// How often another port is tried.
const PORT_TRIES: usize = 16;
/// The longest question.
const QUESTION_LIMIT: usize = 4096;
/// How long a connection may be idle, or slow.
const IDLE: Duration = Duration::from_secs(5);
/// Connections a client may have: one more, and its oldest is closed.
const CONNECTIONS_PER_CLIENT: usize = 16;
/// A pause after an error that will not be gone at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// What the servers of all networks have in common.
#[derive(Debug)]
pub(crate) struct Names {
    zone: RwLock<Arc<Zone>>,
    turn: AtomicUsize,
    forwarder: Forwarder,
}

impl Names {
    pub(crate) fn new(forwarder: Forwarder) -> Self {
        Self {
            zone: RwLock::default(),
            turn: AtomicUsize::new(0),
            forwarder,
        }
    }

    /// From now on, answers come from `zone`.
    pub(crate) fn publish(&self, zone: Zone) {
        *self.zone.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zone);
    }

    fn zone(&self) -> Arc<Zone> {
        Arc::clone(&self.zone.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides on a message from `source`; an answer is written to `out`.
    fn handle(
        &self,
        source: Ipv4Addr,
        message: &[u8],
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Next {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Reject::Ignore) => return Next::Nothing,
            Err(Reject::Answer(code)) => {
                message::answer_code(message, code, out);
                return Next::Answer;
            }
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut say = |code, records: Records<'_>| {
            query.answer(message, code, records, transport, out);
            Next::Answer
        };
        match self.zone().resolve(source, &query, turn) {
            Answer::Addresses(all) => say(Code::NoError, Records::Addresses(&all)),
            Answer::Pointer(name) => say(Code::NoError, Records::Pointer(&name)),
            Answer::Text(text) => say(Code::NoError, Records::Text(&text)),
            Answer::Services(all) => say(Code::NoError, Records::Services(&all)),
            Answer::Empty => say(Code::NoError, Records::None),
            Answer::NoSuchName => say(Code::NoSuchName, Records::None),
            Answer::Refused => {
                message::answer_code(message, Code::Refused, out);
                Next::Answer
            }
            Answer::Ask(upstream) => Next::Ask(upstream, query),
        }
    }

    /// The answer of upstream, or that there is none.
    async fn ask(
        &self,
        upstream: &Upstream,
        query: &Query,
        message: &[u8],
        transport: Transport,
    ) -> Vec<u8> {
        match self
            .forwarder
            .ask(upstream, query, message, transport)
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, name = ?query.name, "no answer from upstream");
                let mut out = Vec::new();
                message::answer_code(message, Code::ServerFailure, &mut out);
                out
            }
        }
    }
}

/// What follows from a message.
enum Next {
    Nothing,
    Answer,
    Ask(Upstream, Query),
}

/// A server that answers while this lives.
#[derive(Debug)]
pub(crate) struct Server {
    /// The port it listens on.
    pub(crate) port: u16,
    _tasks: Tasks,
}

impl Server {
    /// Starts the server of the network whose bridge has `address`, in the network namespace of
    /// the calling thread. Must be called within a runtime.
    pub(crate) fn start(address: Ipv4Addr, names: &Arc<Names>) -> Result<Self> {
        let start = || -> Result<Self> {
            let (udp, tcp) = bind(address)?;
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            let port = udp.local_addr()?.port();
            let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
            let tasks = Tasks::default();
            tasks.spawn("dns-udp", serve_udp(Arc::new(udp), Arc::clone(names)));
            tasks.spawn("dns-tcp", serve_tcp(tcp, Arc::clone(names)));
            Ok(Self {
                port,
                _tasks: tasks,
            })
        };
        start().context(|| format!("start the DNS server at {address}"))
    }
}

/// Both sockets on one port.
fn bind(address: Ipv4Addr) -> std::io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let both = |port| -> std::io::Result<_> {
        let udp = std::net::UdpSocket::bind((address, port))?;
        let tcp = std::net::TcpListener::bind((address, udp.local_addr()?.port()))?;
        Ok((udp, tcp))
    };
    let mut result = both(PORT);
    for _ in 0..PORT_TRIES {
        match result {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => result = both(0),
            other => return other,
        }
    }
    result
}

async fn serve_udp(socket: Arc<UdpSocket>, names: Arc<Names>) {
    let mut message = vec![0; QUESTION_LIMIT];
    let mut out = Vec::with_capacity(QUESTION_LIMIT);
    // Bounded by the forwarder; ends with this task.
    let mut waiting = JoinSet::new();
    loop {
        while waiting.try_join_next().is_some() {}
        let (length, client) = match socket.recv_from(&mut message).await {
            Ok((length, SocketAddr::V4(client))) => (length, client),
            Ok(_) => continue,
            Err(error) => {
                // Such as a client that is gone before its answer.
                tracing::debug!(%error, "receive a DNS question");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match names.handle(*client.ip(), &message[..length], Transport::Udp, &mut out) {
            Next::Nothing => {}
            Next::Answer => send(&socket, &out, client).await,
            Next::Ask(upstream, query) => {
                let (socket, names) = (Arc::clone(&socket), Arc::clone(&names));
                let message = message[..length].to_vec();
                waiting.spawn(async move {
                    let answer = names.ask(&upstream, &query, &message, Transport::Udp).await;
                    send(&socket, &answer, client).await;
                });
            }
        }
    }
}

/// An answer that cannot be sent is lost, as any datagram may be.
async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddrV4) {
    if let Err(error) = socket.send_to(answer, client).await {
        tracing::debug!(%error, %client, "send a DNS answer");
    }
}

async fn serve_tcp(listener: TcpListener, names: Arc<Names>) {
    let mut connections = JoinSet::new();
    let mut of_client: HashMap<Ipv4Addr, VecDeque<AbortHandle>> = HashMap::new();
    loop {
        let (stream, client) = match listener.accept().await {
            Ok((stream, SocketAddr::V4(client))) => (stream, *client.ip()),
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, "accept a DNS connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        of_client.retain(|_, theirs| {
            theirs.retain(|connection| !connection.is_finished());
            !theirs.is_empty()
        });
        let theirs = of_client.entry(client).or_default();
        if theirs.len() >= CONNECTIONS_PER_CLIENT
            && let Some(oldest) = theirs.pop_front()
        {
            oldest.abort();
        }
        let names = Arc::clone(&names);
        theirs.push_back(connections.spawn(async move {
            if let Err(error) = serve_connection(stream, client, &names).await {
                tracing::debug!(%error, %client, "DNS connection");
            }
        }));
    }
}

async fn serve_connection(
    mut stream: TcpStream,
    client: Ipv4Addr,
    names: &Names,
) -> std::io::Result<()> {
    let mut out = Vec::new();
    while let Ok(length) = timeout(IDLE, stream.read_u16()).await? {
        let length = usize::from(length);
        if length > QUESTION_LIMIT {
            break;
        }
        let mut message = vec![0; length];
        timeout(IDLE, stream.read_exact(&mut message)).await??;
        match names.handle(client, &message, Transport::Tcp, &mut out) {
            Next::Nothing => break,
            Next::Answer => {}
            Next::Ask(upstream, query) => {
                out = names.ask(&upstream, &query, &message, Transport::Tcp).await;
            }
        }
        let mut framed = (out.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&out);
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
    Ok(())
}
