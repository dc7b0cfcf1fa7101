//! Hears when somebody else changes our firewall rules.
//!
//! The kernel tells every change and whose socket made it. What to do about it is decided by
//! [`crate::net`].

use orc_base::{Context, Result};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use crate::netlink::{self, Socket};
use crate::nft::SUBSYSTEM;

/// `1 << (NFNLGRP_NFTABLES - 1)`: who changes what.
const GROUP_NFTABLES: u32 = 1 << 6;
/// The end of a transaction, which is about no table.
const NEW_GENERATION: u16 = SUBSYSTEM | 15;
/// Room for the changes of a large ruleset, ours among them.
const BACKLOG: usize = 4 << 20;

/// Hears of every change to the rules of its namespace.
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
    /// Somebody else changed one of our tables.
    Touched,
    /// There was more than could be heard.
    Overrun,
}

impl Watch {
    /// Must be called within a runtime.
    pub(crate) fn open() -> Result<Self> {
        let socket = Socket::open(Some(NETFILTER), GROUP_NFTABLES)?;
        socket.reserve(BACKLOG);
        let socket = std::net::UdpSocket::from(socket.into_fd());
        let open = || -> std::io::Result<_> {
            socket.set_nonblocking(true)?;
            tokio::net::UdpSocket::from_std(socket)
        };
        Ok(Self {
            socket: open().context(|| "listen for changes of firewall rules")?,
            buffer: vec![0; netlink::RECEIVE],
        })
    }

    /// Waits for changes and reads all that there is. What the socket `own` did is ours.
    pub(crate) async fn hear(&mut self, table: &str, own: u32) -> Result<Heard> {
        self.socket.readable().await?;
        let mut heard = Heard::Nothing;
        loop {
            match self.socket.try_recv(&mut self.buffer) {
                Ok(length) => {
                    let touched = netlink::messages(&self.buffer[..length])
                        .any(|message| message.port != own && concerns(&message, table));
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
fn concerns(message: &netlink::Received<'_>, table: &str) -> bool {
    message.kind & 0xff00 == SUBSYSTEM
        && message.kind != NEW_GENERATION
        && message
            .payload
            .get(4..)
            .and_then(|attributes| netlink::attribute(attributes, 1))
            .is_some_and(|name| netlink::text(name) == table)
}
