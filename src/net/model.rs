//! What the engine asks of the network layer and what it gets back to remember.
//!
//! Plain data. `…Spec` and [`AttachRequest`] are wishes, with `None` for what this layer chooses;
//! [`Network`], [`Sandbox`] and [`Endpoint`] are what was chosen, complete enough to rebuild
//! everything after a restart of the daemon or to adopt it as it is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use orc_base::{Error, Id, Name, Result};
use serde::{Deserialize, Serialize};

use crate::address::{Address, Mac, Subnet, Subnet6};

/// A network to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its identifier; the bridge's name follows from it.
    pub id: Id,
    /// What people call it.
    pub name: Name,
    /// Cut off from every other network, the host's services and the names of the outside.
    pub internal: bool,
    /// Its addresses; one of the pools' when `None`.
    pub subnet: Option<Subnet>,
    /// The part of the subnet that addresses are chosen from.
    pub ip_range: Option<Subnet>,
    /// The bridge's own address; the first of the range when `None`.
    pub gateway: Option<Ipv4Addr>,
    /// The largest packet; 1500 when `None`.
    pub mtu: Option<u32>,
    /// What the bridge is called in the kernel.
    pub bridge_name: Option<String>,
    /// Whether its containers appear as the host to the outside.
    pub masquerade: bool,
    /// Its IPv6 addresses; none when `None`.
    pub ipv6: Option<Ipv6Spec>,
    /// Addresses that something else has: never given to a container that asks for none.
    pub reserved: Vec<IpAddr>,
    /// Whether its containers reach each other by published ports only.
    pub isolated: bool,
    /// The host's address that ports without one are published on; all of them when `None`.
    pub host_ip: Option<Ipv4Addr>,
}

/// The IPv6 addresses of a network to make.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ipv6Spec {
    /// Its addresses; when `None`, a /64 of unique local ones (RFC 4193) that follows from the
    /// network's id.
    pub subnet: Option<Subnet6>,
    /// The part of the subnet that addresses are chosen from.
    pub ip_range: Option<Subnet6>,
    /// The bridge's own address; the first of the range when `None`.
    pub gateway: Option<Ipv6Addr>,
}

impl NetworkSpec {
    /// A network that leaves all choices to this layer.
    pub fn new(id: Id, name: Name) -> Self {
        Self {
            id,
            name,
            internal: false,
            subnet: None,
            ip_range: None,
            gateway: None,
            mtu: None,
            bridge_name: None,
            masquerade: true,
            ipv6: None,
            reserved: Vec::new(),
            isolated: false,
            host_ip: None,
        }
    }
}

/// A network that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its identifier.
    pub id: Id,
    /// What people call it.
    pub name: Name,
    /// See [`NetworkSpec::internal`].
    pub internal: bool,
    /// Its addresses.
    pub subnet: Subnet,
    /// The part of the subnet that addresses are chosen from, when it is not the whole.
    pub ip_range: Option<Subnet>,
    /// The bridge's own address, where its DNS server answers too.
    pub gateway: Ipv4Addr,
    /// The largest packet.
    pub mtu: u32,
    /// What the bridge is called in the kernel.
    pub bridge: String,
    /// See [`NetworkSpec::masquerade`].
    pub masquerade: bool,
    /// Its IPv6 addresses, when it has any.
    #[serde(default)]
    pub ipv6: Option<Plan<Ipv6Addr>>,
    /// See [`NetworkSpec::reserved`].
    #[serde(default)]
    pub reserved: Vec<IpAddr>,
    /// See [`NetworkSpec::isolated`].
    #[serde(default)]
    pub isolated: bool,
    /// See [`NetworkSpec::host_ip`].
    #[serde(default)]
    pub host_ip: Option<Ipv4Addr>,
}

impl Network {
    /// Its IPv4 addresses.
    pub fn ipv4(&self) -> Plan<Ipv4Addr> {
        Plan {
            subnet: self.subnet,
            ip_range: self.ip_range,
            gateway: self.gateway,
        }
    }
}

/// The addresses of one family that a network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "A: Address + Serialize",
    deserialize = "A: Address + Deserialize<'de>"
))]
pub struct Plan<A: Address> {
    /// All of them.
    pub subnet: Subnet<A>,
    /// The part that addresses are chosen from, when it is not the whole.
    pub ip_range: Option<Subnet<A>>,
    /// The bridge's own.
    pub gateway: A,
}

/// A place on one network that a container wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Which network.
    pub network: Id,
    /// What the interface is called inside; the first free `eth<n>` when `None`.
    pub interface: Option<String>,
    /// A fixed address.
    pub address: Option<Ipv4Addr>,
    /// A fixed hardware address; follows from the address when `None`.
    pub mac: Option<Mac>,
    /// Names beside the container's own name and short id: service, aliases, host name.
    pub names: Vec<String>,
    /// A fixed IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// Further addresses that mean something on this wire only, of `169.254.0.0/16` or `fe80::/10`.
    pub link_local: Vec<IpAddr>,
    /// What this container alone calls others on the network.
    pub links: Vec<PeerAlias>,
}

/// A name that one container has for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAlias {
    /// What it says.
    pub alias: String,
    /// A name or id of the other one on the network, looked up when the alias is.
    pub peer: String,
}

impl EndpointSpec {
    /// A place on `network` that leaves all choices to this layer.
    pub fn new(network: Id) -> Self {
        Self {
            network,
            interface: None,
            address: None,
            mac: None,
            names: Vec::new(),
            ipv6: None,
            link_local: Vec::new(),
            links: Vec::new(),
        }
    }
}

/// A container's place on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Which network.
    pub network: Id,
    /// What the interface is called inside.
    pub interface: String,
    /// What its other end is called on the host.
    pub veth: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The prefix length of the network.
    pub prefix: u8,
    /// The way out of the network; `None` on an internal one.
    pub gateway: Option<Ipv4Addr>,
    /// Where the network's DNS server answers: the bridge's address, internal or not.
    pub resolver: Ipv4Addr,
    /// Its hardware address.
    pub mac: Mac,
    /// Names beside the container's own name and short id.
    pub names: Vec<String>,
    /// Its place in the network's IPv6 addresses, when that has any.
    #[serde(default)]
    pub ipv6: Option<Ipv6Place>,
    /// See [`EndpointSpec::link_local`].
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// See [`EndpointSpec::links`].
    #[serde(default)]
    pub links: Vec<PeerAlias>,
}

/// A container's IPv6 address on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Place {
    /// Its address.
    pub address: Ipv6Addr,
    /// The prefix length of the network.
    pub prefix: u8,
    /// The way out of the network; `None` on an internal one.
    pub gateway: Option<Ipv6Addr>,
}

impl Endpoint {
    /// All its addresses with their prefix lengths. An interface with IPv6 has a link-local one
    /// beside what was asked for: neighbours find each other by it.
    pub(crate) fn addresses(&self) -> Vec<(IpAddr, u8)> {
        let mut all = vec![(IpAddr::V4(self.address), self.prefix)];
        if let Some(place) = self.ipv6 {
            all.push((place.address.into(), place.prefix));
            all.push((self.mac.link_local().into(), 64));
        }
        for address in &self.link_local {
            let prefix = if address.is_ipv4() { 16 } else { 64 };
            if !all.iter().any(|(other, _)| other == address) {
                all.push((*address, prefix));
            }
        }
        all
    }
}

/// The two protocols whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Refuses port 0 and a range that ends before it begins.
    pub fn new(first: u16, last: u16) -> Result<Self> {
        if first == 0 || last < first {
            return Err(Error::invalid(format!(
                "{first}-{last} is not a range of ports: it goes from 1 or more up to 65535"
            )));
        }
        Ok(Self { first, last })
    }

    /// One port; refuses 0.
    pub fn one(port: u16) -> Result<Self> {
        Self::new(port, port)
    }

    /// The ports, lowest first.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// A port of a container that the host should answer on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// The host's address; all of them when `None`.
    pub host_ip: Option<IpAddr>,
    /// The host's port: the first free one of the range, any free one when `None`.
    pub host_port: Option<PortRange>,
    /// The container's port.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

/// A port of the host that leads to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host's address; `0.0.0.0` is all of IPv4, `::` all of IPv6.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl PublishedPort {
    /// Whether the daemon may have to answer on it: where no rule leads ([`crate::relay`]).
    pub(crate) fn is_answered(&self) -> bool {
        self.host_ip.is_ipv6()
    }

    /// Whether one socket of the host cannot be both.
    pub fn overlaps(&self, other: &PublishedPort) -> bool {
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && self.host_ip.is_ipv4() == other.host_ip.is_ipv4()
            && (self.host_ip == other.host_ip
                || self.host_ip.is_unspecified()
                || other.host_ip.is_unspecified())
    }
}

/// The host's side: `5000/tcp on 0.0.0.0`.
impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{} on {}",
            self.host_port, self.protocol, self.host_ip
        )
    }
}

/// A container that wants to be on networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachRequest {
    /// Which container.
    pub container: Id,
    /// Its name, in messages and in DNS.
    pub name: Name,
    /// Its network namespace, from [`crate::Net::create_namespace`].
    pub namespace: PathBuf,
    /// The networks, most important first: the first that is not internal has the default route,
    /// of IPv6 the first of those that have it.
    pub endpoints: Vec<EndpointSpec>,
    /// The ports the host answers on.
    pub ports: Vec<PortSpec>,
    /// Where names of the outside are asked; the host's own servers when empty.
    pub dns: Vec<IpAddr>,
    /// Whether it may send with addresses that are not its own: a router or a VPN, which needs
    /// `NET_ADMIN` anyway. All others are held to their addresses.
    pub forwards: bool,
}

/// A container that is on networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Which container.
    pub container: Id,
    /// Its name.
    pub name: Name,
    /// Its network namespace.
    pub namespace: PathBuf,
    /// Its places on networks, most important first.
    pub endpoints: Vec<Endpoint>,
    /// The ports of the host that lead to it. On internal networks only, nothing leads to it.
    pub ports: Vec<PublishedPort>,
    /// Where names of the outside are asked; the host's own servers when empty.
    pub dns: Vec<IpAddr>,
    /// See [`AttachRequest::forwards`].
    #[serde(default)]
    pub forwards: bool,
    /// Places beside `ports` where the daemon answers itself and passes on what it hears:
    /// `[::1]`, for what `localhost` means to a client. See [`crate::relay`].
    #[serde(default)]
    pub relayed: Vec<PublishedPort>,
}

impl Sandbox {
    /// The endpoint with the default route, which published ports lead to.
    pub fn primary(&self) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.gateway.is_some())
    }

    /// The IPv6 endpoint with the default route, which ports published on IPv6 lead to.
    pub fn primary_ipv6(&self) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.ipv6.is_some_and(|place| place.gateway.is_some()))
    }

    /// Where published ports lead, IPv6 first.
    pub(crate) fn targets(&self) -> Vec<IpAddr> {
        let ipv6 = self.primary_ipv6().and_then(|endpoint| endpoint.ipv6);
        let ipv6 = ipv6.map(|place| IpAddr::V6(place.address));
        let ipv4 = self.primary().map(|endpoint| IpAddr::V4(endpoint.address));
        ipv6.into_iter().chain(ipv4).collect()
    }

    /// Its place on `network`.
    pub fn endpoint(&self, network: &Id) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.network == *network)
    }

    /// The name servers for its `resolv.conf`. Each network's server knows the names of all of the
    /// container's networks; the others are there for when it leaves the first.
    pub fn resolvers(&self) -> Vec<IpAddr> {
        let first = self.primary().into_iter();
        let mut servers: Vec<IpAddr> = Vec::new();
        for endpoint in first.chain(&self.endpoints) {
            let server = IpAddr::V4(endpoint.resolver);
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        // resolv.conf(5): MAXNS is 3.
        servers.truncate(3);
        servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_overlap_as_sockets_do() {
        let port = |ip: &str, host_port, protocol| PublishedPort {
            host_ip: ip.parse().unwrap(),
            host_port,
            container_port: 80,
            protocol,
        };
        let any = port("0.0.0.0", 80, Protocol::Tcp);
        let local = port("127.0.0.1", 80, Protocol::Tcp);
        assert!(any.overlaps(&local) && local.overlaps(&any) && local.overlaps(&local));
        assert!(!local.overlaps(&port("127.0.0.2", 80, Protocol::Tcp)));
        assert!(!any.overlaps(&port("0.0.0.0", 80, Protocol::Udp)));
        assert!(!any.overlaps(&port("0.0.0.0", 81, Protocol::Tcp)));
        assert_eq!(any.to_string(), "80/tcp on 0.0.0.0");
        // The families are apart.
        let any6 = port("::", 80, Protocol::Tcp);
        assert!(any6.overlaps(&port("::1", 80, Protocol::Tcp)));
        assert!(!any6.overlaps(&any) && !local.overlaps(&any6));
    }

    #[test]
    fn records_survive_as_json() {
        let text = r#"{"container":"ID","name":"web","namespace":"/run/ns/x","endpoints":[{"network":"ID",
            "interface":"eth0","veth":"orc-0","address":"10.0.0.2","prefix":24,"gateway":"10.0.0.1",
            "resolver":"10.0.0.1","mac":"02:42:0a:00:00:02","names":["db"]}],
            "ports":[{"host_ip":"0.0.0.0","host_port":80,"container_port":8080,"protocol":"tcp"}],
            "dns":[]}"#;
        let text = text.replace("ID", &"a".repeat(64));
        let sandbox: Sandbox = serde_json::from_str(&text).unwrap();
        assert!(!sandbox.forwards && sandbox.relayed.is_empty());
        assert!(sandbox.endpoints[0].ipv6.is_none());
        let again = serde_json::to_string(&sandbox).unwrap();
        assert_eq!(serde_json::from_str::<Sandbox>(&again).unwrap(), sandbox);
        assert!(serde_json::from_str::<Sandbox>(&text.replace("02:42", "03:42")).is_err());
    }

    /// A record of version 0.1, which knew IPv4 only.
    #[test]
    fn old_networks_are_read() {
        let text = r#"{"id":"ID","name":"front","internal":false,"subnet":"10.0.0.0/24",
            "ip_range":null,"gateway":"10.0.0.1","mtu":1500,"bridge":"orc-0","masquerade":true}"#;
        let mut network: Network =
            serde_json::from_str(&text.replace("ID", &"a".repeat(64))).unwrap();
        assert!(network.ipv6.is_none() && !network.isolated);
        network.ipv6 = Some(Plan {
            subnet: "fd00::/64".parse().unwrap(),
            ip_range: None,
            gateway: "fd00::1".parse().unwrap(),
        });
        let again = serde_json::to_string(&network).unwrap();
        assert_eq!(serde_json::from_str::<Network>(&again).unwrap(), network);
    }

    #[test]
    fn ranges_refuse_port_zero_and_order() {
        assert!(PortRange::new(0, 5).is_err());
        assert!(PortRange::new(6, 5).is_err());
        assert_eq!(PortRange::new(5, 7).unwrap().ports().count(), 3);
        assert_eq!(PortRange::one(80).unwrap().to_string(), "80");
    }
}
