//! Hears when somebody else changes our firewall rules or deletes a link.
//!
//! The kernel tells every change, and of rules whose socket made it. What to do about it is decided
//! by [`crate::net`].

use orc_base::{Context, Result};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use crate::netlink::{self, Socket};
use crate::nft::SUBSYSTEM;

/// `1 << (NFNLGRP_NFTABLES - 1)`: who changes what.
const GROUP_NFTABLES: u32 = 1 << 6;
/// `RTMGRP_LINK`: links that come, change and go.
const GROUP_LINK: u32 = 1;
/// `RTM_DELLINK`.
const DELETE_LINK: u16 = 17;
/// `IFLA_IFNAME`.
const LINK_NAME: u16 = 3;
/// `struct ifinfomsg`; its first byte is the family, `AF_BRIDGE` when a port leaves a bridge.
const LINK_HEADER: usize = 16;
/// The end of a transaction, which is about no table.
const NEW_GENERATION: u16 = SUBSYSTEM | 15;
/// Room for the changes of a large ruleset, ours among them.
const BACKLOG: usize = 4 << 20;

/// Hears of every change of one kind in its namespace.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Netlink sockets carry datagrams, and tokio's type for these asks no more of a descriptor
    /// than to wait and to receive.
    socket: tokio::net::UdpSocket,
    buffer: Vec<u8>,
}

/// What [`Watch`] heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that concerns us.
    Nothing,
    /// What was waited for.
    Touched,
    /// There was more than could be heard.
    Overrun,
}

impl Watch {
    /// Hears of rules. Must be called within a runtime.
    pub(crate) fn rules() -> Result<Self> {
        Self::of(Socket::open(Some(NETFILTER), GROUP_NFTABLES)?)
            .context(|| "listen for changes of firewall rules")
    }

    /// Hears of links. Must be called within a runtime.
    pub(crate) fn links() -> Result<Self> {
        Self::of(Socket::open(None, GROUP_LINK)?).context(|| "listen for changes of interfaces")
    }

    fn of(socket: Socket) -> Result<Self> {
        socket.reserve(BACKLOG);
        let socket = std::net::UdpSocket::from(socket.into_fd());
        let open = || -> std::io::Result<_> {
            socket.set_nonblocking(true)?;
            tokio::net::UdpSocket::from_std(socket)
        };
        Ok(Self {
            socket: open()?,
            buffer: vec![0; netlink::RECEIVE],
        })
    }

    /// Waits for a change of rules and reads all that there is. What the socket `own` did is ours.
    pub(crate) async fn hear_of_rules(&mut self, tables: &[String], own: u32) -> Result<Heard> {
        self.hear(|message| message.port != own && concerns(message, tables))
            .await
    }

    /// Waits for a change of links and reads all that there is. Removals of those count that are
    /// `wanted`, by their name.
    pub(crate) async fn hear_of_removal(&mut self, wanted: impl Fn(&str) -> bool) -> Result<Heard> {
        self.hear(|message| removed_link(message).is_some_and(|name| wanted(&name)))
            .await
    }

    async fn hear(&mut self, wanted: impl Fn(&netlink::Received<'_>) -> bool) -> Result<Heard> {
        self.socket.readable().await?;
        let mut heard = Heard::Nothing;
        loop {
            match self.socket.try_recv(&mut self.buffer) {
                Ok(length) => {
                    let touched =
                        netlink::messages(&self.buffer[..length]).any(|message| wanted(&message));
                    if touched && heard == Heard::Nothing {
                        heard = Heard::Touched;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(heard),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::NOBUFS) => heard = Heard::Overrun,
                    _ => return Err(error.into()),
                },
            }
        }
    }
}

/// All messages about tables, chains, sets and rules have the table's name as attribute 1.
fn concerns(message: &netlink::Received<'_>, tables: &[String]) -> bool {
    message.kind & 0xff00 == SUBSYSTEM
        && message.kind != NEW_GENERATION
        && message
            .payload
            .get(4..)
            .and_then(|attributes| netlink::attribute(attributes, 1))
            .is_some_and(|name| tables.contains(&netlink::text(name)))
}

/// The name of the link that a message says is gone.
fn removed_link(message: &netlink::Received<'_>) -> Option<String> {
    let header = message.payload.first()?;
    if message.kind != DELETE_LINK || *header != 0 {
        return None;
    }
    let name = netlink::attribute(message.payload.get(LINK_HEADER..)?, LINK_NAME)?;
    Some(netlink::text(name))
}
