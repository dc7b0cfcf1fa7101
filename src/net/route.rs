//! Links, addresses and routes of one network namespace, by rtnetlink (rtnetlink(7)).
//!
//! Knows the kernel's objects, not ours: who owns a link is told by its alias and judged elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use orc_base::{Context, Error, Result};
use rustix::io::Errno;

use crate::address::{Address, Mac, Subnet};
use crate::netlink::{self, CREATE_NEW, CREATE_OR_REPLACE, Message, Request, Socket};

/// Types of messages.
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const DELETE_NEIGHBOUR: u16 = 29;
const GET_NEIGHBOUR: u16 = 30;

/// Attributes of links, `IFLA_*`.
mod link {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const MASTER: u16 = 10;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const IFALIAS: u16 = 20;
    pub(super) const GROUP: u16 = 27;
    pub(super) const NET_NS_FD: u16 = 28;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const INFO_SLAVE_KIND: u16 = 4;
    pub(super) const INFO_SLAVE_DATA: u16 = 5;
    /// `IFLA_BRPORT_MODE`: a frame may leave by the port it came in.
    pub(super) const PORT_HAIRPIN: u16 = 4;
    /// `IFLA_BRPORT_ISOLATED`: no frame goes from it to another such port. Linux 4.18.
    pub(super) const PORT_ISOLATED: u16 = 33;
    /// `VETH_INFO_PEER`.
    pub(super) const VETH_PEER: u16 = 1;
    pub(super) const VXLAN_ID: u16 = 1;
    pub(super) const VXLAN_LOCAL: u16 = 4;
    pub(super) const VXLAN_LEARNING: u16 = 7;
    pub(super) const VXLAN_PORT: u16 = 15;
    /// `IFF_UP`.
    pub(super) const UP: u32 = 1;
}

/// Attributes of addresses, `IFA_*`, and routes, `RTA_*`.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

/// Attributes of neighbours, `NDA_*`.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// `NUD_PERMANENT`: never asked for.
const PERMANENT: u16 = 0x80;
/// `NTF_SELF`: an entry of the interface itself, not of its bridge.
const OF_INTERFACE: u8 = 0x02;
/// `RTNH_F_ONLINK`: the gateway is on the wire whatever its address is.
const GATEWAY_ON_LINK: u32 = 4;

/// `IFA_F_NODAD`: an address is good at once, not after a second of asking whether another has it.
/// Ours are given once and held by the rules.
const NO_DUPLICATE_DETECTION: u8 = 0x02;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Neighbours by hardware address: to where frames for it go.
const AF_BRIDGE: u8 = 7;
/// The main routing table, `RT_TABLE_MAIN`.
const MAIN_TABLE: u8 = 254;

/// A link as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    /// The bridge it is a port of.
    pub(crate) master: Option<u32>,
    /// Who it belongs to.
    pub(crate) alias: Option<String>,
    /// `bridge`, `veth` and so on; none for real hardware.
    pub(crate) kind: Option<String>,
}

/// One end of a veth pair inside a namespace that is not ours.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    pub(crate) namespace: BorrowedFd<'a>,
    pub(crate) name: &'a str,
    pub(crate) mac: Mac,
}

/// A route of the main table to a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteTo<A: Address = Ipv4Addr> {
    pub(crate) subnet: Subnet<A>,
    pub(crate) link: u32,
    /// The router that its hosts are behind; none when they are on the wire.
    pub(crate) gateway: Option<A>,
}

/// One end of a VXLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub(crate) vni: u32,
    /// The UDP port of all ends.
    pub(crate) port: u16,
    /// The address that it sends from.
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: Mac,
    pub(crate) mtu: u32,
}

/// The links, addresses and routes of the namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Routes(Socket);

impl Routes {
    pub(crate) fn open() -> Result<Self> {
        Socket::open(None, 0).map(Self)
    }

    /// Carries out all requests in order; returns the first failure after trying all.
    pub(crate) fn apply(&mut self, requests: Vec<Request>) -> Result<()> {
        self.0.apply(requests)
    }

    /// Deletes links by their numbers, all at once: one costs about 25 ms, forty cost 30. Those
    /// that are gone are fine.
    pub(crate) fn delete(&mut self, links: &[u32]) -> Result<()> {
        // A number that nobody uses: groups are small numbers that administrators choose.
        let group = u32::from_ne_bytes(orc_base::id::random_bytes()) | 1 << 30;
        let grouping = links.iter().map(|index| set_group(*index, group)).collect();
        let mut any = false;
        for outcome in self.0.apply_each(grouping)? {
            match outcome {
                Ok(()) => any = true,
                Err(Errno::NODEV) => {}
                Err(errno) => return Err(errno).context(|| "delete interfaces"),
            }
        }
        match any {
            true => match self.0.apply_each(vec![delete_group(group)])?.pop() {
                None | Some(Ok(()) | Err(Errno::NODEV)) => Ok(()),
                Some(Err(errno)) => Err(errno).context(|| "delete interfaces"),
            },
            false => Ok(()),
        }
    }

    /// Takes addresses from a link, and the routes to their subnets with them; what is gone is fine.
    pub(crate) fn delete_addresses(&mut self, index: u32, all: &[(IpAddr, u8)]) -> Result<()> {
        let one = |(address, prefix): &(IpAddr, u8)| delete_address(index, *address, *prefix);
        for outcome in self.0.apply_each(all.iter().map(one).collect())? {
            match outcome {
                Ok(()) | Err(Errno::ADDRNOTAVAIL | Errno::NODEV) => {}
                Err(errno) => return Err(errno).context(|| "take the addresses from a bridge"),
            }
        }
        Ok(())
    }

    pub(crate) fn links(&mut self) -> Result<Vec<Link>> {
        let items = self.0.dump(GET_LINK, &link_header(0, 0))?;
        Ok(items.iter().filter_map(|item| parse_link(item)).collect())
    }

    pub(crate) fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = Message::new(GET_LINK, 0).fixed(&link_header(0, 0));
        message.put_str(link::IFNAME, name);
        let answer = self
            .0
            .get(message)
            .context(|| format!("look for interface {name}"))?;
        Ok(answer.as_deref().and_then(parse_link))
    }

    /// The link of that name, which must be there.
    pub(crate) fn existing(&mut self, name: &str) -> Result<Link> {
        self.link(name)?
            .ok_or_else(|| Error::not_found(format!("there is no interface {name}")))
    }

    /// All addresses: the link that has it, and the length of its subnet's prefix on that link.
    pub(crate) fn addresses(&mut self) -> Result<Vec<(u32, IpAddr, u8)>> {
        let mut all = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let items = self.0.dump(GET_ADDRESS, &[family, 0, 0, 0, 0, 0, 0, 0])?;
            all.extend(items.iter().filter_map(|item| parse_address(item)));
        }
        Ok(all)
    }

    /// The IPv4 routes of the main table, without the default route.
    pub(crate) fn routes(&mut self) -> Result<Vec<RouteTo>> {
        self.routes_of(AF_INET, address4)
    }

    /// The IPv6 routes of the main table, without the default route and those of single wires.
    pub(crate) fn routes6(&mut self) -> Result<Vec<RouteTo<Ipv6Addr>>> {
        let mut routes = self.routes_of(AF_INET6, address6)?;
        routes.retain(|route| {
            let to = route.subnet.address();
            !to.is_unicast_link_local() && !to.is_multicast() && !to.is_loopback()
        });
        Ok(routes)
    }

    /// Who is on the wire of a link, as far as that was written and not learnt.
    pub(crate) fn neighbours(&mut self, link: u32) -> Result<Vec<(IpAddr, Mac)>> {
        let items = self
            .0
            .dump(GET_NEIGHBOUR, &neighbour_header(AF_INET, 0, 0, 0))?;
        let all = items.iter().filter_map(|item| parse_neighbour(item, link));
        Ok(all.filter_map(|(to, mac)| Some((to, mac?))).collect())
    }

    /// Where a VXLAN sends the frames for a hardware address.
    pub(crate) fn forwards(&mut self, link: u32) -> Result<Vec<(Mac, Ipv4Addr)>> {
        let items = self
            .0
            .dump(GET_NEIGHBOUR, &neighbour_header(AF_BRIDGE, 0, 0, 0))?;
        let all = items.iter().filter_map(|item| parse_neighbour(item, link));
        let known = all.filter_map(|(to, mac)| match to {
            IpAddr::V4(to) => Some((mac?, to)),
            IpAddr::V6(_) => None,
        });
        Ok(known.collect())
    }

    fn routes_of<A: Address>(
        &mut self,
        family: u8,
        address: impl Fn(&[u8]) -> Option<A>,
    ) -> Result<Vec<RouteTo<A>>> {
        let mut fixed = [0; 12];
        fixed[0] = family;
        let items = self.0.dump(GET_ROUTE, &fixed)?;
        let routes = items.iter().filter(|item| item.first() == Some(&family));
        Ok(routes
            .filter_map(|item| parse_route(item, &address))
            .collect())
    }
}

/// `struct ifinfomsg`: the fields beside these two are zero.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

/// Makes a bridge, down. Its hardware address is fixed, or it would change with its ports and the
/// containers would go on sending to the old one.
pub(crate) fn create_bridge(name: &str, mac: Mac, mtu: u32) -> Request {
    let mut message = Message::new(NEW_LINK, CREATE_NEW).fixed(&link_header(0, 0));
    message
        .put_str(link::IFNAME, name)
        .put_u32(link::MTU, mtu)
        .put(link::ADDRESS, &mac.octets())
        .nest(link::LINKINFO, |info| {
            info.put_str(link::INFO_KIND, "bridge");
        });
    Request::new(format!("create bridge {name}"), message)
}

/// Makes a veth pair, down: this end in the bridge, the other one inside its namespace. To be born
/// there takes 0.3 ms; to be moved there, 20. (The kernel refuses to set the inner end up before
/// the outer one is there.)
pub(crate) fn create_veth(name: &str, bridge: u32, mtu: u32, inside: &Inside<'_>) -> Request {
    let mut message = Message::new(NEW_LINK, CREATE_NEW).fixed(&link_header(0, 0));
    message
        .put_str(link::IFNAME, name)
        .put_u32(link::MTU, mtu)
        .put_u32(link::MASTER, bridge)
        .nest(link::LINKINFO, |info| {
            info.put_str(link::INFO_KIND, "veth")
                .nest(link::INFO_DATA, |data| {
                    data.nest(link::VETH_PEER, |peer| {
                        peer.raw(&link_header(0, 0));
                        peer.put_str(link::IFNAME, inside.name)
                            .put_u32(link::MTU, mtu)
                            .put(link::ADDRESS, &inside.mac.octets())
                            .put_u32(
                                link::NET_NS_FD,
                                inside.namespace.as_raw_fd().cast_unsigned(),
                            );
                    });
                });
        });
    Request::new(format!("create interface {name}"), message)
}

/// Makes one end of a VXLAN, down, that learns nothing from what it hears.
pub(crate) fn create_vxlan(name: &str, tunnel: &Tunnel) -> Request {
    let mut message = Message::new(NEW_LINK, CREATE_NEW).fixed(&link_header(0, 0));
    message
        .put_str(link::IFNAME, name)
        .put_u32(link::MTU, tunnel.mtu)
        .put(link::ADDRESS, &tunnel.mac.octets())
        .nest(link::LINKINFO, |info| {
            info.put_str(link::INFO_KIND, "vxlan")
                .nest(link::INFO_DATA, |data| {
                    data.put_u32(link::VXLAN_ID, tunnel.vni)
                        .put(link::VXLAN_LOCAL, &tunnel.address.octets())
                        .put(link::VXLAN_LEARNING, &[0])
                        .put(link::VXLAN_PORT, &tunnel.port.to_be_bytes());
                });
        });
    Request::new(format!("create interface {name}"), message)
}

/// Says how large a packet of a link may be.
pub(crate) fn set_mtu(name: &str, mtu: u32) -> Request {
    let mut message = Message::new(NEW_LINK, 0).fixed(&link_header(0, 0));
    message.put_str(link::IFNAME, name).put_u32(link::MTU, mtu);
    Request::new(format!("set the packet size of interface {name}"), message)
}

/// Says whose link it is. The kernel takes no alias when a link is made.
pub(crate) fn tag(name: &str, owner: &str) -> Request {
    let mut message = Message::new(NEW_LINK, 0).fixed(&link_header(0, 0));
    message
        .put_str(link::IFNAME, name)
        .put(link::IFALIAS, owner.as_bytes());
    Request::new(format!("tag interface {name}"), message)
}

/// Lets a container reach itself by a published port: with br_netfilter the answer leaves by the
/// port the question came in.
pub(crate) fn set_hairpin(name: &str) -> Request {
    let mut message = Message::new(NEW_LINK, 0).fixed(&link_header(0, 0));
    message
        .put_str(link::IFNAME, name)
        .nest(link::LINKINFO, |info| {
            info.put_str(link::INFO_SLAVE_KIND, "bridge")
                .nest(link::INFO_SLAVE_DATA, |data| {
                    data.put(link::PORT_HAIRPIN, &[1]);
                });
        });
    Request::new(format!("let interface {name} answer itself"), message)
}

/// Keeps the ports of a bridge that are so from each other.
pub(crate) fn set_isolated(name: &str) -> Request {
    let mut message = Message::new(NEW_LINK, 0).fixed(&link_header(0, 0));
    message
        .put_str(link::IFNAME, name)
        .nest(link::LINKINFO, |info| {
            info.put_str(link::INFO_SLAVE_KIND, "bridge")
                .nest(link::INFO_SLAVE_DATA, |data| {
                    data.put(link::PORT_ISOLATED, &[1]);
                });
        });
    Request::new(format!("keep interface {name} apart"), message)
}

/// Makes `name` a port of a bridge.
pub(crate) fn set_master(name: &str, bridge: u32) -> Request {
    let mut message = Message::new(NEW_LINK, 0).fixed(&link_header(0, 0));
    message
        .put_str(link::IFNAME, name)
        .put_u32(link::MASTER, bridge);
    Request::new(format!("put interface {name} into its bridge"), message)
}

pub(crate) fn set_up(name: &str) -> Request {
    let mut message = Message::new(NEW_LINK, 0).fixed(&link_header(0, link::UP));
    message.put_str(link::IFNAME, name);
    Request::new(format!("set interface {name} up"), message)
}

/// Puts a link into a group, by which many are deleted at once.
fn set_group(index: u32, group: u32) -> Request {
    let mut message = Message::new(NEW_LINK, 0).fixed(&link_header(index, 0));
    message.put_u32(link::GROUP, group);
    Request::new(format!("group interface {index}"), message)
}

/// Deletes all links of a group.
fn delete_group(group: u32) -> Request {
    let mut message = Message::new(DELETE_LINK, 0).fixed(&link_header(0, 0));
    message.put_u32(link::GROUP, group);
    Request::new("delete interfaces", message)
}

/// Gives a link an address and the route to its subnet; fine when it has it already.
pub(crate) fn add_address(index: u32, address: impl Into<IpAddr>, prefix: u8) -> Request {
    let address = address.into();
    let flags = match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => NO_DUPLICATE_DETECTION,
    };
    let [a, b, c, d] = index.to_ne_bytes();
    let fixed = [family(address), prefix, flags, 0, a, b, c, d];
    let mut message = Message::new(NEW_ADDRESS, CREATE_OR_REPLACE).fixed(&fixed);
    put_address(&mut message, IFA_LOCAL, address);
    put_address(&mut message, IFA_ADDRESS, address);
    if let IpAddr::V4(address) = address
        && let Ok(subnet) = Subnet::of(address, prefix)
        && prefix < 31
    {
        message.put(IFA_BROADCAST, &subnet.last().octets());
    }
    Request::new(format!("add address {address}/{prefix}"), message)
}

/// Sends everything of its family without a better route by `gateway`, and by no other.
pub(crate) fn add_default_route(index: u32, gateway: impl Into<IpAddr>) -> Request {
    let gateway = gateway.into();
    // rtmsg: family, prefix lengths, TOS, table, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST.
    let fixed = [family(gateway), 0, 0, 0, MAIN_TABLE, 3, 0, 1, 0, 0, 0, 0];
    let mut message = Message::new(NEW_ROUTE, CREATE_OR_REPLACE).fixed(&fixed);
    put_address(&mut message, RTA_GATEWAY, gateway);
    message.put_u32(RTA_OIF, index);
    Request::new(format!("add default route by {gateway}"), message)
}

/// Sends what is for a subnet to a router on the wire of a link.
pub(crate) fn add_route(index: u32, to: Subnet, gateway: Ipv4Addr) -> Request {
    let message = route_message(NEW_ROUTE, CREATE_OR_REPLACE, index, to, gateway);
    Request::new(format!("add route to {to} by {gateway}"), message)
}

/// No longer does.
pub(crate) fn delete_route(index: u32, to: Subnet, gateway: Ipv4Addr) -> Request {
    let message = route_message(DELETE_ROUTE, 0, index, to, gateway);
    Request::new(format!("delete route to {to} by {gateway}"), message)
}

fn route_message(kind: u16, flags: u16, index: u32, to: Subnet, gateway: Ipv4Addr) -> Message {
    // As for the default route, and its flags.
    let mut fixed = [AF_INET, to.prefix(), 0, 0, MAIN_TABLE, 3, 0, 1, 0, 0, 0, 0];
    fixed[8..].copy_from_slice(&GATEWAY_ON_LINK.to_ne_bytes());
    let mut message = Message::new(kind, flags).fixed(&fixed);
    put_address(&mut message, RTA_DST, to.address().into());
    put_address(&mut message, RTA_GATEWAY, gateway.into());
    message.put_u32(RTA_OIF, index);
    message
}

/// Says who has an address on the wire of a link, so that nobody has to be asked.
pub(crate) fn add_neighbour(index: u32, address: Ipv4Addr, mac: Mac) -> Request {
    let header = neighbour_header(AF_INET, index, PERMANENT, 0);
    let mut message = Message::new(NEW_NEIGHBOUR, CREATE_OR_REPLACE).fixed(&header);
    put_address(&mut message, NDA_DST, address.into());
    message.put(NDA_LLADDR, &mac.octets());
    Request::new(format!("add neighbour {address}"), message)
}

/// No longer says it.
pub(crate) fn delete_neighbour(index: u32, address: Ipv4Addr) -> Request {
    let header = neighbour_header(AF_INET, index, 0, 0);
    let mut message = Message::new(DELETE_NEIGHBOUR, 0).fixed(&header);
    put_address(&mut message, NDA_DST, address.into());
    Request::new(format!("delete neighbour {address}"), message)
}

/// Says to which host a VXLAN sends the frames for a hardware address.
pub(crate) fn add_forward(index: u32, mac: Mac, host: Ipv4Addr) -> Request {
    let message = forward_message(NEW_NEIGHBOUR, CREATE_OR_REPLACE, index, mac, host);
    Request::new(format!("add the way to {mac} by {host}"), message)
}

/// No longer says it.
pub(crate) fn delete_forward(index: u32, mac: Mac, host: Ipv4Addr) -> Request {
    let message = forward_message(DELETE_NEIGHBOUR, 0, index, mac, host);
    Request::new(format!("delete the way to {mac} by {host}"), message)
}

fn forward_message(kind: u16, flags: u16, index: u32, mac: Mac, host: Ipv4Addr) -> Message {
    let header = neighbour_header(AF_BRIDGE, index, PERMANENT, OF_INTERFACE);
    let mut message = Message::new(kind, flags).fixed(&header);
    put_address(&mut message, NDA_DST, host.into());
    message.put(NDA_LLADDR, &mac.octets());
    message
}

/// `struct ndmsg`: the fields beside these are zero.
fn neighbour_header(family: u8, index: u32, state: u16, flags: u8) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0] = family;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..10].copy_from_slice(&state.to_ne_bytes());
    bytes[10] = flags;
    bytes
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

fn put_address(message: &mut Message, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => message.put(kind, &address.octets()),
        IpAddr::V6(address) => message.put(kind, &address.octets()),
    };
}

/// Takes an address away, and the route to its subnet.
pub(crate) fn delete_address(index: u32, address: impl Into<IpAddr>, prefix: u8) -> Request {
    let address = address.into();
    let [a, b, c, d] = index.to_ne_bytes();
    let fixed = [family(address), prefix, 0, 0, a, b, c, d];
    let mut message = Message::new(DELETE_ADDRESS, 0).fixed(&fixed);
    put_address(&mut message, IFA_LOCAL, address);
    Request::new(format!("delete address {address}/{prefix}"), message)
}

/// Gives a link another hardware address.
#[cfg(test)]
pub(crate) fn set_mac(name: &str, mac: Mac) -> Request {
    let mut message = Message::new(NEW_LINK, 0).fixed(&link_header(0, 0));
    message
        .put_str(link::IFNAME, name)
        .put(link::ADDRESS, &mac.octets());
    Request::new(format!("change interface {name}"), message)
}

fn parse_link(bytes: &[u8]) -> Option<Link> {
    let mut found = Link {
        index: netlink::u32_at(bytes, 4)?,
        up: netlink::u32_at(bytes, 8)? & link::UP != 0,
        ..Link::default()
    };
    for (kind, value) in netlink::attributes(bytes.get(16..)?) {
        match kind {
            link::IFNAME => found.name = netlink::text(value),
            link::IFALIAS => found.alias = Some(netlink::text(value)),
            link::MASTER => found.master = netlink::u32_at(value, 0),
            link::LINKINFO => {
                found.kind = netlink::attribute(value, link::INFO_KIND).map(netlink::text);
            }
            _ => {}
        }
    }
    Some(found)
}

fn parse_address(bytes: &[u8]) -> Option<(u32, IpAddr, u8)> {
    let index = netlink::u32_at(bytes, 4)?;
    let attributes = bytes.get(8..)?;
    let local = netlink::attribute(attributes, IFA_LOCAL)
        .or_else(|| netlink::attribute(attributes, IFA_ADDRESS))?;
    let address = address4(local)
        .map(IpAddr::V4)
        .or_else(|| address6(local).map(IpAddr::V6))?;
    Some((index, address, *bytes.get(1)?))
}

fn parse_route<A: Address>(
    bytes: &[u8],
    address: impl Fn(&[u8]) -> Option<A>,
) -> Option<RouteTo<A>> {
    let (prefix, table) = (*bytes.get(1)?, *bytes.get(4)?);
    let attributes = bytes.get(12..)?;
    if table != MAIN_TABLE || prefix == 0 {
        return None;
    }
    let to = address(netlink::attribute(attributes, RTA_DST)?)?;
    let link = netlink::attribute(attributes, RTA_OIF)
        .and_then(|value| netlink::u32_at(value, 0))
        .unwrap_or(0);
    Some(RouteTo {
        subnet: Subnet::of(to, prefix).ok()?,
        link,
        gateway: netlink::attribute(attributes, RTA_GATEWAY).and_then(&address),
    })
}

/// A permanent entry of `link`: an address, and the hardware address beside it.
fn parse_neighbour(bytes: &[u8], link: u32) -> Option<(IpAddr, Option<Mac>)> {
    let state = u16::from_ne_bytes([*bytes.get(8)?, *bytes.get(9)?]);
    if netlink::u32_at(bytes, 4)? != link || state & PERMANENT == 0 {
        return None;
    }
    let attributes = bytes.get(12..)?;
    let address = netlink::attribute(attributes, NDA_DST)?;
    let address = address4(address)
        .map(IpAddr::V4)
        .or_else(|| address6(address).map(IpAddr::V6))?;
    let mac = netlink::attribute(attributes, NDA_LLADDR)
        .and_then(|octets| <[u8; 6]>::try_from(octets).ok())
        .and_then(Mac::from_octets);
    Some((address, mac))
}

fn address4(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

fn address6(value: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(value).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_loopback() {
        let mut routes = Routes::open().unwrap();
        let lo = routes.existing("lo").unwrap();
        assert_eq!((lo.index, lo.kind), (1, None));
        assert!(routes.links().unwrap().iter().any(|link| link.name == "lo"));
        assert!(routes.link("orc-no-such").unwrap().is_none());
        routes.routes().unwrap();
        routes.routes6().unwrap();
        let loopback = (1, IpAddr::V4(Ipv4Addr::LOCALHOST), 8);
        assert!(routes.addresses().unwrap().contains(&loopback));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = (parse_link(&bytes), parse_address(&bytes));
            let _ = (parse_route(&bytes, address4), parse_route(&bytes, address6));
            let _ = parse_neighbour(&bytes, 0);
        }
    }
}
