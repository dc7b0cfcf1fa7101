//! Networks and the places of containers on them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use orc_base::Time;
use serde::{Deserialize, Serialize};

/// The options of a network that mean something here. Others are ignored, and whoever takes a wish
/// says so.
pub const OPTIONS: [&str; 8] = [
    "com.docker.network.driver.mtu",
    "com.docker.network.bridge.name",
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.bridge.host_binding_ipv4",
    "com.docker.network.bridge.default_bridge",
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
];

/// A network to make.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its name.
    pub name: String,
    /// `bridge`, or empty for it.
    pub driver: String,
    /// Options of the driver, such as `com.docker.network.driver.mtu`.
    pub options: BTreeMap<String, String>,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// Nothing goes in or out.
    pub internal: bool,
    /// Containers may join by hand. Every network of a single host lets them.
    pub attachable: bool,
    /// Whether its containers have IPv6 addresses too. An IPv6 pool says so as well.
    pub ipv6: bool,
    /// The address plan, at most one pool for each family; chosen by the host when empty.
    pub ipam: Vec<AddressPool>,
}

/// One range of addresses of a network, in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AddressPool {
    /// Such as `172.20.0.0/16`.
    pub subnet: Option<String>,
    /// Where addresses are taken from, within the subnet.
    pub ip_range: Option<String>,
    /// The machine's own address; the first one when empty.
    pub gateway: Option<IpAddr>,
    /// Addresses that are taken by something else, by name.
    pub reserved: BTreeMap<String, IpAddr>,
}

/// A network that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its identifier, 64 hexadecimal digits.
    pub id: String,
    /// What it was made with, the address plan filled in.
    pub spec: NetworkSpec,
    /// When it was made.
    pub created: Time,
    /// The running containers on it.
    pub endpoints: Vec<NetworkEndpoint>,
}

/// A container seen from a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkEndpoint {
    /// The container's id.
    pub container: String,
    /// The container's name.
    pub name: String,
    /// Its address and the subnet's prefix length.
    pub address: Ipv4Addr,
    /// Length of the subnet's prefix in bits.
    pub prefix: u8,
    /// Its IPv6 address, on a network that has them, with the length of the prefix in bits.
    #[serde(default)]
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// Its hardware address, `02:42:…`.
    pub mac: String,
}

/// A container's wish to be on a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Name or id of the network.
    pub network: String,
    /// Further names it is found under on this network only.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed hardware address.
    pub mac: Option<String>,
    /// The higher one gives the default route.
    pub gateway_priority: i64,
    /// What the interface is called inside, `eth0` and so on by default.
    pub interface: Option<String>,
    /// A fixed IPv6 address, on a network that has them.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// Further addresses that mean something on this wire only.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// What this container alone calls others on the network.
    #[serde(default)]
    pub links: Vec<Link>,
}

/// A name that one container has for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other one: its name, id, or a name it has on the network. It need not be there yet.
    pub peer: String,
    /// What it is called.
    pub alias: String,
}

/// An IPv6 address on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Place {
    /// The container's.
    pub address: Ipv6Addr,
    /// Length of the subnet's prefix in bits.
    pub prefix: u8,
    /// The machine's address on the network.
    pub gateway: Option<Ipv6Addr>,
}

/// A container's place on a network while it runs; before, only `spec` and `network_id` say anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What was asked for.
    pub spec: EndpointSpec,
    /// The network's name.
    pub network_name: String,
    /// The network's id.
    pub network_id: String,
    /// Its address, while it runs.
    pub address: Option<Ipv4Addr>,
    /// Length of the subnet's prefix in bits.
    pub prefix: u8,
    /// The machine's address on the network.
    pub gateway: Option<Ipv4Addr>,
    /// Its IPv6 address, while it runs on a network that has them.
    #[serde(default)]
    pub ipv6: Option<Ipv6Place>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// All names it is found under here.
    pub dns_names: Vec<String>,
}

/// The transport of a port.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    #[default]
    Tcp,
    /// RFC 768.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl std::str::FromStr for Protocol {
    type Err = orc_base::Error;

    fn from_str(text: &str) -> orc_base::Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Err(orc_base::Error::unsupported(
                "protocol `sctp` is not supported: use tcp or udp",
            )),
            _ => Err(orc_base::Error::invalid(format!(
                "`{text}` is not a protocol: use tcp or udp"
            ))),
        }
    }
}

/// A port of a container, `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// The transport.
    pub protocol: Protocol,
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl std::str::FromStr for Port {
    type Err = orc_base::Error;

    fn from_str(text: &str) -> orc_base::Result<Self> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        match number.parse() {
            Ok(0) | Err(_) => Err(orc_base::Error::invalid(format!(
                "`{text}` is not a port: use a number from 1 to 65535, and /tcp or /udp"
            ))),
            Ok(number) => Ok(Self {
                number,
                protocol: protocol.parse()?,
            }),
        }
    }
}

/// A wish to reach a container's port from outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortBinding {
    /// The container's port.
    pub port: Port,
    /// The machine's address it is bound to; all when absent.
    pub host_ip: Option<IpAddr>,
    /// The machine's port, or a range to take a free one from; any free one when absent.
    pub host_ports: Option<(u16, u16)>,
}

/// A port that is reachable now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The container's port.
    pub port: Port,
    /// The machine's address; `0.0.0.0` is all.
    pub host_ip: IpAddr,
    /// The machine's port.
    pub host_port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        assert_eq!("80".parse::<Port>().unwrap().to_string(), "80/tcp");
        assert_eq!("53/UDP".parse::<Port>().unwrap().to_string(), "53/udp");
        for bad in ["", "0", "65536", "80/icmp", "x/tcp", "1/sctp"] {
            assert!(bad.parse::<Port>().is_err(), "{bad}");
        }
    }
}
