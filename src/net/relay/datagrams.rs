//! Passes on datagrams: what a client sends to a published port goes on to the container by a socket
//! of that client's own, and what comes back by it goes to the client.
//!
//! A conversation is forgotten after a silence as long as the kernel's tracking of connections allows.
//! A port has so many; for one more, the most silent one goes. As on any wire datagrams may be lost:
//! what cannot be sent at once is.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::relay::door::Door;
use crate::relay::targets::Targets;

/// No datagram is longer.
const LONGEST: usize = 64 << 10;
/// Conversations of one port at a time.
const CONVERSATIONS: usize = 512;
/// `net.netfilter.nf_conntrack_udp_timeout_stream`, as it is unless somebody changes it.
const SILENCE: Duration = Duration::from_secs(120);
/// A pause after an error that will not be gone at once, such as too little memory.
const PAUSE: Duration = Duration::from_millis(50);
/// Not by tokio, which sends nothing at once on a socket that is new to it.
const AT_ONCE: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Answers for a container's `port` until the door is shut or this is dropped.
pub(super) async fn serve(door: Arc<Door<UdpSocket>>, port: u16, targets: Arc<Targets>) {
    let mut buffer = vec![0; LONGEST];
    let mut conversations = Conversations {
        relay: Arc::new(Relay {
            door,
            scratch: Mutex::new(vec![0; LONGEST]),
            turn: AtomicUsize::new(0),
        }),
        targets,
        port,
        all: HashMap::new(),
        tasks: JoinSet::new(),
        begun: 0,
    };
    loop {
        let relay = Arc::clone(&conversations.relay);
        tokio::select! {
            heard = relay.receive(&mut buffer) => match heard {
                None => return,
                Some(Ok((length, client))) => conversations.pass_on(&buffer[..length], client),
                Some(Err(error)) => {
                    tracing::debug!(%error, port, "hear a datagram for a published port");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(ended) = conversations.tasks.join_next() => {
                // One that was given up is out of the list already.
                if let Ok((client, number)) = ended {
                    conversations.forget(client, number);
                }
            }
        }
    }
}

/// What all conversations of a port share.
struct Relay {
    door: Arc<Door<UdpSocket>>,
    scratch: Mutex<Vec<u8>>,
    /// How often a container's address has refused, which leads to its next one.
    turn: AtomicUsize,
}

impl Relay {
    /// The next datagram and its sender; `None` when the door is shut.
    async fn receive(&self, buffer: &mut [u8]) -> Option<std::io::Result<(usize, SocketAddr)>> {
        std::future::poll_fn(|context| {
            let door = self.door.lock();
            let Some(socket) = &*door else {
                return Poll::Ready(None);
            };
            let mut buffer = ReadBuf::new(buffer);
            let received = socket.poll_recv_from(context, &mut buffer);
            received.map(|received| Some(received.map(|client| (buffer.filled().len(), client))))
        })
        .await
    }

    /// Passes on the answers to one client until both are silent.
    async fn answer(&self, socket: &UdpSocket, client: SocketAddr, last: &Last) {
        loop {
            match timeout_at(last.time() + SILENCE, socket.readable()).await {
                Ok(Ok(())) => self.pass_back(socket, client, last),
                Ok(Err(_)) => return,
                Err(_) if last.time().elapsed() >= SILENCE => return,
                Err(_) => {}
            }
        }
    }

    fn pass_back(&self, socket: &UdpSocket, client: SocketAddr, last: &Last) {
        let mut buffer = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        match socket.try_recv(&mut buffer) {
            Ok(length) => {
                last.touch();
                if let Some(door) = &*self.door.lock() {
                    let _ = rustix::net::sendto(door, &buffer[..length], AT_ONCE, &client);
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.was_refused(),
            Err(_) => {}
        }
    }

    fn was_refused(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

/// When something was last said.
struct Last(Mutex<Instant>);

impl Last {
    fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time(&self) -> Instant {
        *self.lock()
    }

    fn touch(&self) {
        *self.lock() = Instant::now();
    }
}

/// One client's.
struct Conversation {
    number: u64,
    target: SocketAddr,
    socket: Arc<UdpSocket>,
    last: Arc<Last>,
    task: AbortHandle,
}

/// All of one port.
struct Conversations {
    relay: Arc<Relay>,
    targets: Arc<Targets>,
    port: u16,
    all: HashMap<SocketAddr, Conversation>,
    tasks: JoinSet<(SocketAddr, u64)>,
    begun: u64,
}

impl Conversations {
    fn pass_on(&mut self, datagram: &[u8], client: SocketAddr) {
        // A container listens on all of its addresses or on some.
        for _ in 0..self.targets.list().len() {
            let Some(target) = self.target() else { return };
            let conversation = match self.with(client, target) {
                Ok(conversation) => conversation,
                Err(error) => {
                    tracing::debug!(%error, %target, "pass on a datagram");
                    return;
                }
            };
            conversation.last.touch();
            match rustix::net::send(&*conversation.socket, datagram, AT_ONCE) {
                // That is about an earlier one.
                Err(Errno::CONNREFUSED) => self.relay.was_refused(),
                _ => return,
            }
        }
    }

    /// Where datagrams lead now.
    fn target(&self) -> Option<SocketAddr> {
        let targets = self.targets.list();
        let turn = self.relay.turn.load(Ordering::Relaxed);
        let target = targets.get(turn.checked_rem(targets.len())?)?;
        Some(SocketAddr::new(*target, self.port))
    }

    /// The client's conversation with that target.
    fn with(&mut self, client: SocketAddr, target: SocketAddr) -> std::io::Result<&Conversation> {
        if self.all.get(&client).is_none_or(|one| one.target != target) {
            self.give_up(client);
            self.make_room();
            let begun = self.begin(client, target)?;
            self.all.insert(client, begun);
        }
        Ok(&self.all[&client])
    }

    fn begin(&mut self, client: SocketAddr, target: SocketAddr) -> std::io::Result<Conversation> {
        let socket = Arc::new(connected(target)?);
        let last = Arc::new(Last::now());
        self.begun += 1;
        let number = self.begun;
        let (relay, theirs, heard) = (self.relay.clone(), socket.clone(), last.clone());
        let task = self.tasks.spawn(async move {
            relay.answer(&theirs, client, &heard).await;
            (client, number)
        });
        Ok(Conversation {
            number,
            target,
            socket,
            last,
            task,
        })
    }

    fn make_room(&mut self) {
        if self.all.len() < CONVERSATIONS {
            return;
        }
        let silent = self.all.iter().min_by_key(|(_, one)| one.last.time());
        if let Some(client) = silent.map(|(client, _)| *client) {
            self.give_up(client);
        }
    }

    fn give_up(&mut self, client: SocketAddr) {
        if let Some(conversation) = self.all.remove(&client) {
            conversation.task.abort();
        }
    }

    fn forget(&mut self, client: SocketAddr, number: u64) {
        // The client may have begun another one meanwhile.
        if self
            .all
            .get(&client)
            .is_some_and(|one| one.number == number)
        {
            self.all.remove(&client);
        }
    }
}

/// A socket that speaks with `target` alone.
fn connected(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket of a client, and the relay that it speaks with.
    async fn relayed(targets: Vec<IpAddr>, port: u16) -> (UdpSocket, JoinSet<()>) {
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        let client = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        client.connect(socket.local_addr().unwrap()).await.unwrap();
        let all = Arc::new(Targets::default());
        all.set(targets);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(Arc::new(Door::new(socket)), port, all));
        (client, tasks)
    }

    /// What comes back when a client asks and asks again.
    async fn ask(client: &UdpSocket, question: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; LONGEST];
        for _ in 0..50 {
            client.send(question).await.unwrap();
            let heard = client.recv(&mut buffer);
            if let Ok(heard) = tokio::time::timeout(Duration::from_millis(100), heard).await {
                buffer.truncate(heard.unwrap());
                return buffer;
            }
        }
        panic!("no answer");
    }

    #[tokio::test]
    async fn an_address_that_refuses_leads_to_the_next_one() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let targets = vec![
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
        ];
        let (client, _tasks) = relayed(targets, port).await;
        let echo = async {
            let mut buffer = vec![0; LONGEST];
            loop {
                let (length, from) = server.recv_from(&mut buffer).await.unwrap();
                server.send_to(&buffer[..length], from).await.unwrap();
            }
        };
        let asked = async {
            assert_eq!(ask(&client, b"hello").await, b"hello");
            // The empty one and the longest one are datagrams, too.
            assert_eq!(ask(&client, b"").await, b"");
            let long = vec![7; 60_000];
            assert_eq!(ask(&client, &long).await, long);
        };
        tokio::select! {
            () = asked => {}
            () = echo => {}
        }
    }
}
