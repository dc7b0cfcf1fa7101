//! Makes the kernel forget UDP conversations that follow old rules.
//!
//! Rules look at the first packet only. A UDP client that keeps sending from one socket stays led
//! to a container that is gone, or to nobody when it began before the port was published, for as
//! long as it sends. So entries are deleted when a port changes hands, and the next packet is a
//! first one. Needs Linux 5.8 (filtered dumps); the numbers are those of
//! `linux/netfilter/nfnetlink_conntrack.h`.

use std::net::IpAddr;

use orc_base::Result;
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use crate::model::Protocol;
use crate::netlink::{self, Message, Request, Socket};

/// `NFNL_SUBSYS_CTNETLINK`, the upper half of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

/// Attributes of entries, `CTA_*`.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const FILTER: u16 = 25;
/// Attributes of a filter.
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// What a filter looks at, `CTA_FILTER_F_*`.
const BY_SOURCE: u32 = 1;
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DESTINATION_PORT: u32 = 1 << 5;
/// Attributes of a tuple and its parts.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
const IP_SOURCE6: u16 = 3;
const IP_DESTINATION6: u16 = 4;
const PROTO_NUMBER: u16 = 1;
const PROTO_DESTINATION_PORT: u16 = 3;

/// What differs between the two protocols: the `nfgenmsg` and the attributes of the addresses.
#[derive(Debug, Clone, Copy)]
struct Side {
    family: [u8; 4],
    source: u16,
    destination: u16,
}

const IPV4: Side = Side {
    family: [2, 0, 0, 0],
    source: IP_SOURCE,
    destination: IP_DESTINATION,
};
const IPV6: Side = Side {
    family: [10, 0, 0, 0],
    source: IP_SOURCE6,
    destination: IP_DESTINATION6,
};

/// The connections of the namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Connections(Socket);

impl Connections {
    pub(crate) fn open() -> Result<Self> {
        Socket::open(Some(NETFILTER), 0).map(Self)
    }

    /// Forgets the conversations that were led to a container at `address`.
    pub(crate) fn forget_led_to(&mut self, address: IpAddr) -> Result<()> {
        let (side, octets) = match address {
            IpAddr::V4(address) => (IPV4, address.octets().to_vec()),
            IpAddr::V6(address) => (IPV6, address.octets().to_vec()),
        };
        self.forget(
            side,
            |message| {
                message
                    .nest(FILTER, |filter| {
                        filter.put_u32(FILTER_REPLY, BY_SOURCE | BY_PROTOCOL);
                    })
                    .nest(TUPLE_REPLY, |tuple| {
                        tuple
                            .nest(TUPLE_IP, |ip| {
                                ip.put(side.source, &octets);
                            })
                            .nest(TUPLE_PROTO, put_udp);
                    });
            },
            |entry| entry.answers_from(&octets),
        )
    }

    /// Forgets the conversations of one family with `port` of this host that are led nowhere.
    pub(crate) fn forget_not_led(&mut self, port: u16, ipv6: bool) -> Result<()> {
        self.forget(
            if ipv6 { IPV6 } else { IPV4 },
            |message| {
                message
                    .nest(FILTER, |filter| {
                        filter.put_u32(FILTER_ORIGINAL, BY_PROTOCOL | BY_DESTINATION_PORT);
                    })
                    .nest(TUPLE_ORIGINAL, |tuple| {
                        tuple.nest(TUPLE_PROTO, |proto| {
                            put_udp(proto);
                            proto.put(PROTO_DESTINATION_PORT, &port.to_be_bytes());
                        });
                    });
            },
            |entry| entry.is_unchanged(),
        )
    }

    /// Deletes the entries that the kernel's filter finds and that are `wanted`.
    fn forget(
        &mut self,
        side: Side,
        filter: impl Fn(&mut Message),
        wanted: impl Fn(&Entry<'_>) -> bool,
    ) -> Result<()> {
        let mut dump = Message::new(GET, 0).fixed(&side.family);
        filter(&mut dump);
        let found = self.0.dump_with(&dump)?;
        let deletions = found
            .iter()
            .filter_map(|bytes| Entry::parse(bytes, side))
            .filter(wanted)
            .map(|entry| {
                let mut message = Message::new(DELETE, 0).fixed(&side.family);
                message.nest(TUPLE_ORIGINAL, |tuple| tuple.raw(entry.original));
                Request::new("forget a connection", message)
            })
            .collect();
        for outcome in self.0.apply_each(deletions)? {
            match outcome {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

fn put_udp(proto: &mut Message) {
    proto.put(PROTO_NUMBER, &[Protocol::Udp.number()]);
}

/// A connection: the attributes of both its tuples.
struct Entry<'a> {
    side: Side,
    original: &'a [u8],
    reply: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(bytes: &'a [u8], side: Side) -> Option<Self> {
        let attributes = bytes.get(4..)?;
        let entry = Self {
            side,
            original: netlink::attribute(attributes, TUPLE_ORIGINAL)?,
            reply: netlink::attribute(attributes, TUPLE_REPLY)?,
        };
        // A kernel that knows no filter lists everything.
        let proto = netlink::attribute(entry.original, TUPLE_PROTO)?;
        let udp = [Protocol::Udp.number()];
        (netlink::attribute(proto, PROTO_NUMBER)? == udp).then_some(entry)
    }

    fn answers_from(&self, address: &[u8]) -> bool {
        self.source(self.reply) == Some(address) && self.destination(self.original) != Some(address)
    }

    /// Neither end's address was rewritten.
    fn is_unchanged(&self) -> bool {
        self.source(self.original) == self.destination(self.reply)
            && self.destination(self.original) == self.source(self.reply)
    }

    fn source(&self, tuple: &'a [u8]) -> Option<&'a [u8]> {
        self.address(tuple, self.side.source)
    }

    fn destination(&self, tuple: &'a [u8]) -> Option<&'a [u8]> {
        self.address(tuple, self.side.destination)
    }

    fn address(&self, tuple: &'a [u8], which: u16) -> Option<&'a [u8]> {
        netlink::attribute(netlink::attribute(tuple, TUPLE_IP)?, which)
    }
}
