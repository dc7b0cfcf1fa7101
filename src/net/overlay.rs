//! The way from the containers of one node to those of all others: VXLAN (RFC 7348), routed.
//!
//! Every node has a subnet of the cluster's addresses. Its packets for the others' subnets go into a
//! VXLAN interface, each to the node that has the subnet. Which that is, is told by three tables that
//! are written from the list of nodes alone; the kernel learns nothing from packets and asks nobody:
//!
//! ```text
//! route      10.1.7.0/24 via 10.1.7.0     the first address of a subnet is its node's end
//! neighbour  10.1.7.0 is 02:42:0a:01:07:00    which follows from the address
//! forward    02:42:0a:01:07:00 by 192.0.2.7   the node's own address
//! ```
//!
//! What the kernel has is compared with the list and only the difference is written, so a change of
//! the list disturbs no traffic but that of the nodes it is about. Packets are not encrypted.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use orc_base::{Context, Error, Result};

use crate::address::{Mac, Subnet};
use crate::netlink::Request;
use crate::netns;
use crate::route::{self, Link, Routes, Tunnel};

/// What VXLAN adds to a packet, in bytes: Ethernet, IP, UDP and its own header.
pub const OVERHEAD: u32 = 50;

/// What the names of its interfaces begin with.
pub(crate) const INTERFACE: &str = "orc-vx";

/// The overlay as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Which overlay it is, of those between the same nodes: less than 2^24.
    pub vni: u32,
    /// The UDP port on every node.
    pub port: u16,
    /// The address of this node that the others send to.
    pub address: Ipv4Addr,
    /// The largest packet that may go in: the nodes' own less [`OVERHEAD`].
    pub mtu: u32,
    /// The addresses of all containers of all nodes.
    pub cluster: Subnet,
    /// Those of this node.
    pub own: Subnet,
    /// The other nodes.
    pub peers: Vec<Peer>,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its own address.
    pub address: Ipv4Addr,
    /// Those of its containers.
    pub pods: Subnet,
}

impl Overlay {
    /// What the interface is called.
    pub fn interface(&self) -> String {
        format!("{INTERFACE}{:x}", self.vni)
    }

    /// Refuses what the tables cannot say: a subnet that is not in the cluster's, or of two nodes.
    pub fn check(&self) -> Result<()> {
        if self.vni >= 1 << 24 {
            let vni = self.vni;
            return Err(Error::invalid(format!(
                "VXLAN numbers are below 2^24, {vni} is not"
            )));
        }
        let own = Peer {
            address: self.address,
            pods: self.own,
        };
        let mut nodes: Vec<&Peer> = std::iter::once(&own).chain(&self.peers).collect();
        for node in &nodes {
            if !self.cluster.covers(node.pods) {
                return Err(Error::invalid(format!(
                    "{} of node {} is not within {}, the addresses of the cluster",
                    node.pods, node.address, self.cluster
                )));
            }
        }
        // Subnets are nested or apart, so one that overlaps any overlaps its neighbour.
        nodes.sort_by_key(|node| (node.pods.address(), node.pods.prefix()));
        match nodes
            .windows(2)
            .find(|two| two[0].pods.overlaps(two[1].pods))
        {
            Some(two) => Err(Error::invalid(format!(
                "nodes {} and {} both have addresses of {}",
                two[0].address, two[1].address, two[1].pods
            ))),
            None => Ok(()),
        }
    }

    /// The mark of the interface, by which a change of its settings is seen.
    fn alias(&self, tag: &str) -> String {
        let Self { port, address, .. } = self;
        format!("{tag}:overlay {address} {port}")
    }

    fn tunnel(&self) -> Tunnel {
        Tunnel {
            vni: self.vni,
            port: self.port,
            address: self.address,
            mac: end(self.own).1,
            mtu: self.mtu,
        }
    }
}

/// A node's end in the overlay: its address and hardware address.
fn end(pods: Subnet) -> (Ipv4Addr, Mac) {
    (pods.address(), Mac::from_address(pods.address()))
}

/// What the kernel's three tables say about an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Tables {
    routes: BTreeSet<(Subnet, Ipv4Addr)>,
    neighbours: BTreeSet<(Ipv4Addr, Mac)>,
    forwards: BTreeSet<(Mac, Ipv4Addr)>,
}

impl Tables {
    fn of(peers: &[Peer]) -> Self {
        let mut tables = Self::default();
        for peer in peers {
            let (address, mac) = end(peer.pods);
            tables.routes.insert((peer.pods, address));
            tables.neighbours.insert((address, mac));
            tables.forwards.insert((mac, peer.address));
        }
        tables
    }

    fn read(routes: &mut Routes, link: u32) -> Result<Self> {
        let mut tables = Self::default();
        for route in routes.routes()? {
            if let (true, Some(by)) = (route.link == link, route.gateway) {
                tables.routes.insert((route.subnet, by));
            }
        }
        for (address, mac) in routes.neighbours(link)? {
            if let IpAddr::V4(address) = address {
                tables.neighbours.insert((address, mac));
            }
        }
        for (mac, address) in routes.forwards(link)? {
            tables.forwards.insert((mac, address));
        }
        Ok(tables)
    }

    /// The requests that lead from here to `wanted`. A route comes when its node can be reached, and
    /// goes before that ends; what is wrong about a node is replaced.
    fn lead_to(&self, wanted: &Self, link: u32) -> Vec<Request> {
        let mut requests = Vec::new();
        let gone = |(subnet, by): &(Subnet, Ipv4Addr)| route::delete_route(link, *subnet, *by);
        requests.extend(self.routes.difference(&wanted.routes).map(gone));
        for (mac, address) in self.forwards.difference(&wanted.forwards) {
            requests.push(route::delete_forward(link, *mac, *address));
        }
        for (address, _) in self.neighbours.difference(&wanted.neighbours) {
            requests.push(route::delete_neighbour(link, *address));
        }
        for (mac, address) in wanted.forwards.difference(&self.forwards) {
            requests.push(route::add_forward(link, *mac, *address));
        }
        for (address, mac) in wanted.neighbours.difference(&self.neighbours) {
            requests.push(route::add_neighbour(link, *address, *mac));
        }
        let come = |(subnet, by): &(Subnet, Ipv4Addr)| route::add_route(link, *subnet, *by);
        requests.extend(wanted.routes.difference(&self.routes).map(come));
        requests
    }
}

/// Makes the kernel's overlay this one. `tag` is this daemon's mark on its links.
pub(crate) fn set(routes: &mut Routes, tag: &str, overlay: &Overlay) -> Result<()> {
    overlay.check()?;
    let name = overlay.interface();
    let context = || format!("set up the overlay {name}");
    let alias = overlay.alias(tag);
    for other in own_links(routes, tag)? {
        if other.name != name || other.alias.as_deref() != Some(&alias) {
            routes.delete(&[other.index]).context(context)?;
        }
    }
    if routes.link(&name)?.is_none() {
        let made = vec![
            route::create_vxlan(&name, &overlay.tunnel()),
            route::tag(&name, &alias),
        ];
        routes.apply(made).context(context)?;
        netns::sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1")?;
        // Lets answers to this host's 127.0.0.1 come back, as bridges do.
        netns::sysctl(&format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    }
    netns::sysctl("net/ipv4/ip_forward", "1")?;
    let link = routes.existing(&name)?;
    if link.alias.as_deref() != Some(&alias) {
        return Err(Error::conflict(format!(
            "there is an interface {name} already that does not belong to this daemon; remove it"
        )));
    }
    let (address, _) = end(overlay.own);
    let end_up = vec![
        route::set_mtu(&name, overlay.mtu),
        route::add_address(link.index, address, 32),
        route::set_up(&name),
    ];
    routes.apply(end_up).context(context)?;
    let tables = Tables::read(routes, link.index)?;
    let requests = tables.lead_to(&Tables::of(&overlay.peers), link.index);
    routes.apply(requests).context(context)
}

/// Removes every overlay of this daemon; fine when there is none.
pub(crate) fn remove(routes: &mut Routes, tag: &str) -> Result<()> {
    let links: Vec<u32> = own_links(routes, tag)?
        .iter()
        .map(|link| link.index)
        .collect();
    match links.is_empty() {
        true => Ok(()),
        false => routes.delete(&links).context(|| "remove the overlay"),
    }
}

fn own_links(routes: &mut Routes, tag: &str) -> Result<Vec<Link>> {
    let mark = format!("{tag}:overlay ");
    let mut links = routes.links()?;
    links.retain(|link| {
        link.alias
            .as_deref()
            .is_some_and(|alias| alias.starts_with(&mark))
    });
    Ok(links)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(peers: &[(&str, &str)]) -> Overlay {
        let peer = |(address, pods): &(&str, &str)| Peer {
            address: address.parse().unwrap(),
            pods: pods.parse().unwrap(),
        };
        Overlay {
            vni: 4096,
            port: 4789,
            address: "192.0.2.1".parse().unwrap(),
            mtu: 1450,
            cluster: "10.1.0.0/16".parse().unwrap(),
            own: "10.1.0.0/24".parse().unwrap(),
            peers: peers.iter().map(peer).collect(),
        }
    }

    #[test]
    fn refuses_what_the_tables_cannot_say() {
        let refusal = |peers: &[(&str, &str)]| overlay(peers).check().unwrap_err().to_string();
        assert!(overlay(&[("192.0.2.2", "10.1.1.0/24")]).check().is_ok());
        assert_eq!(
            refusal(&[("192.0.2.2", "10.2.0.0/24")]),
            "10.2.0.0/24 of node 192.0.2.2 is not within 10.1.0.0/16, the addresses of the cluster"
        );
        assert_eq!(
            refusal(&[("192.0.2.2", "10.1.4.0/22"), ("192.0.2.3", "10.1.6.0/24")]),
            "nodes 192.0.2.2 and 192.0.2.3 both have addresses of 10.1.6.0/24"
        );
        assert_eq!(
            refusal(&[("192.0.2.2", "10.1.0.0/24")]),
            "nodes 192.0.2.1 and 192.0.2.2 both have addresses of 10.1.0.0/24"
        );
    }

    #[test]
    fn only_the_difference_is_written() {
        let of = |peers: &[(&str, &str)]| Tables::of(&overlay(peers).peers);
        let words = |from: &Tables, to: &Tables| -> Vec<String> {
            let requests = from.lead_to(to, 7);
            requests
                .iter()
                .map(|request| request.what().to_owned())
                .collect()
        };
        let two = of(&[("192.0.2.2", "10.1.2.0/24"), ("192.0.2.3", "10.1.3.0/24")]);
        let moved = of(&[("192.0.2.2", "10.1.2.0/24"), ("192.0.2.9", "10.1.3.0/24")]);
        let other = of(&[("192.0.2.2", "10.1.2.0/24"), ("192.0.2.9", "10.1.4.0/24")]);
        assert!(words(&two, &two).is_empty());
        assert_eq!(
            words(&two, &moved),
            [
                "delete the way to 02:42:0a:01:03:00 by 192.0.2.3",
                "add the way to 02:42:0a:01:03:00 by 192.0.2.9"
            ]
        );
        assert_eq!(
            words(&moved, &other),
            [
                "delete route to 10.1.3.0/24 by 10.1.3.0",
                "delete the way to 02:42:0a:01:03:00 by 192.0.2.9",
                "delete neighbour 10.1.3.0",
                "add the way to 02:42:0a:01:04:00 by 192.0.2.9",
                "add neighbour 10.1.4.0",
                "add route to 10.1.4.0/24 by 10.1.4.0"
            ]
        );
    }
}
