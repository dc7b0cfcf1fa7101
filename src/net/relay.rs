//! Answers published ports that rules cannot lead to a container, and passes on what it hears.
//!
//! The kernel takes nothing to or from `::1` off the loopback, and no rule makes IPv6 packets of
//! IPv4 ones. So a client of this host that takes `localhost` for `::1`, as most do first, is heard
//! by the daemon, on the very socket that keeps the port ([`crate::port`]); so is any client of a
//! port that was published on an IPv6 address for a container without one. The container sees the
//! host's address on its network. While no daemon runs, such clients are refused and go on to
//! 127.0.0.1.
//!
//! This file passes on connections; [`datagrams`] does what is sent by UDP. A container has so many
//! connections and no more; further clients wait in the kernel's queue.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use orc_base::task::Tasks;
use orc_base::{Context, Result};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::model::Protocol;
use crate::port::Reservation;
use crate::relay::door::{Door, Shut};
use crate::relay::targets::Targets;

mod datagrams;
mod door;
mod targets;

/// Clients that the kernel lets wait.
const BACKLOG: i32 = 128;
/// Connections of one container at a time.
const CONNECTIONS: usize = 512;
/// How long a container may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// A pause after an error that will not be gone at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// The relays of one container; they end with it, and their ports are free at once.
#[derive(Debug)]
pub(crate) struct Relays {
    targets: Arc<Targets>,
    doors: Vec<Arc<dyn Shut>>,
    tasks: Tasks,
    slots: Arc<Semaphore>,
}

impl Relays {
    /// Listens on the sockets of those reservations that it answers for; the others come back. Must
    /// be called within a runtime, whose threads are in this network namespace.
    pub(crate) fn start(reservations: Vec<Reservation>) -> Result<(Self, Vec<Reservation>)> {
        let mut relays = Self {
            targets: Arc::default(),
            doors: Vec::new(),
            tasks: Tasks::default(),
            slots: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        let mut kept = Vec::with_capacity(reservations.len());
        for reservation in reservations {
            let port = reservation.port;
            if !port.is_answered() {
                kept.push(reservation);
                continue;
            }
            relays
                .answer(reservation)
                .context(|| format!("listen on port {port}"))?;
        }
        Ok((relays, kept))
    }

    fn answer(&mut self, reservation: Reservation) -> Result<()> {
        let port = reservation.port.container_port;
        let targets = Arc::clone(&self.targets);
        match reservation.port.protocol {
            Protocol::Tcp => {
                let door = Arc::new(Door::new(listen(reservation.socket)?));
                self.doors.push(door.clone());
                let work = serve(door, port, targets, Arc::clone(&self.slots));
                self.tasks.spawn("port-relay", work);
            }
            Protocol::Udp => {
                let door = Arc::new(Door::new(hear(reservation.socket)?));
                self.doors.push(door.clone());
                let work = datagrams::serve(door, port, targets);
                self.tasks.spawn("datagram-relay", work);
            }
        }
        Ok(())
    }

    /// From now on, new connections lead here.
    pub(crate) fn lead_to(&self, targets: Vec<IpAddr>) {
        self.targets.set(targets);
    }
}

impl Drop for Relays {
    fn drop(&mut self) {
        for door in &self.doors {
            door.shut();
        }
    }
}

fn hear(socket: OwnedFd) -> Result<UdpSocket> {
    let socket = std::net::UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    Ok(UdpSocket::from_std(socket)?)
}

fn listen(socket: OwnedFd) -> Result<TcpListener> {
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

async fn serve(
    door: Arc<Door<TcpListener>>,
    port: u16,
    targets: Arc<Targets>,
    slots: Arc<Semaphore>,
) {
    // Bounded by the slots; ends with this task.
    let mut connections = JoinSet::new();
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        match accept(&door).await {
            None => return,
            Some(Ok(client)) => {
                let targets = targets.list();
                connections.spawn(async move {
                    pass_on(client, targets, port).await;
                    drop(slot);
                });
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "accept a connection to a published port");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The next client; `None` when the door is shut.
async fn accept(door: &Door<TcpListener>) -> Option<std::io::Result<TcpStream>> {
    std::future::poll_fn(|context| match &*door.lock() {
        None => Poll::Ready(None),
        Some(listener) => listener
            .poll_accept(context)
            .map(|accepted| Some(accepted.map(|(stream, _)| stream))),
    })
    .await
}

/// Both ways until both are done. Without anybody who listens, the client is hung up on.
async fn pass_on(mut client: TcpStream, targets: Vec<IpAddr>, port: u16) {
    let Some(mut server) = connect(targets, port).await else {
        // So that the client sees a reset and not an empty answer.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut server).await {
        tracing::debug!(%error, port, "pass on a connection");
    }
}

async fn connect(targets: Vec<IpAddr>, port: u16) -> Option<TcpStream> {
    for target in targets {
        let target = SocketAddr::new(target, port);
        match timeout(PATIENCE, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(%error, %target, "no connection to a container"),
            Err(_) => tracing::debug!(%target, "a container does not accept a connection"),
        }
    }
    None
}
