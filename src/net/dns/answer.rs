//! What a client is told, before it is a message.

use std::net::IpAddr;
use std::sync::Arc;

use crate::dns::message;

/// What to tell a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Addresses(Vec<IpAddr>),
    Pointer(String),
    Text(String),
    /// Ports and the names of who has them.
    Services(Vec<(u16, String)>),
    /// The name exists and has no such record.
    Empty,
    NoSuchName,
    /// The client is nobody's, or asks what it may not.
    Refused,
    /// Somebody else knows.
    Ask(Upstream),
}

impl Answer {
    /// The addresses of the kind that is asked for, another one first each time.
    pub(crate) fn of(addresses: &[IpAddr], kind: u16, turn: usize) -> Self {
        let asked = |address: &&IpAddr| match kind {
            message::A => address.is_ipv4(),
            message::AAAA => address.is_ipv6(),
            _ => kind == message::ANY,
        };
        let mut addresses: Vec<IpAddr> = addresses.iter().filter(asked).copied().collect();
        if addresses.is_empty() {
            return Self::Empty;
        }
        let first = turn % addresses.len();
        addresses.rotate_left(first);
        Self::Addresses(addresses)
    }
}

/// Where a client's other questions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Nowhere.
    None,
    /// To the host's servers.
    Host,
    /// To the servers it was given.
    Servers(Arc<[IpAddr]>),
}
