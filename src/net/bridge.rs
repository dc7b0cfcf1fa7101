//! Networks of one host: a bridge each, and a veth pair for every container on it.
//!
//! Kernel names follow from ids, and the alias of every link says whose it is
//! (`<tag>:<network or container id>`); a link without our tag is never touched. Addresses follow
//! the model; the rules that keep networks apart are [`crate::rules`].
//!
//! A link of an IPv4 network has no IPv6 at all. One of an IPv6 network has the addresses that it was
//! given and no others: none from router advertisements, and a link-local one from us, so that it is
//! good at once.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use orc_base::{Error, Id, Result};
use tokio::sync::oneshot;

use crate::address::{Mac, shown};
use crate::driver::{Driver, Place};
use crate::model::{Endpoint, Network};
use crate::netlink;
use crate::netns;
use crate::reaper::Reaper;
use crate::route::{self, Inside, Link, Routes};

/// `IFNAMSIZ` with the zero at its end.
const NAME_LIMIT: usize = 15;

/// What a network's bridge is called.
pub(crate) fn bridge_name(network: &Id) -> String {
    kernel_name(digits(network))
}

/// What the host's end of a container's interface on a network is called.
pub(crate) fn veth_name(container: &Id, network: &Id) -> String {
    kernel_name(digits(container) ^ digits(network))
}

fn kernel_name(number: u64) -> String {
    format!("orc-{number:010x}")
}

/// The first forty bits of an id.
fn digits(id: &Id) -> u64 {
    u64::from_str_radix(&id.as_str()[..10], 16).expect("an id is hexadecimal digits")
}

/// Refuses a name that the kernel would refuse, and one that is an option or a path to a program.
pub(crate) fn check_interface_name(name: &str) -> Result<()> {
    let valid = name.len() <= NAME_LIMIT
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if valid && !matches!(name, "lo" | "all" | "default") {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{}` is not a name for an interface: use up to {NAME_LIMIT} letters, digits, `_`, `.` and `-`",
        shown(name)
    )))
}

/// The driver of bridges in the network namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Bridge {
    tag: String,
    routes: Routes,
    reaper: Reaper,
    home: OwnedFd,
}

impl Bridge {
    /// `tag` is this daemon's mark on its links.
    pub(crate) fn open(tag: &str) -> Result<Self> {
        Ok(Self {
            tag: tag.to_owned(),
            routes: Routes::open()?,
            reaper: Reaper::start()?,
            home: netns::current()?,
        })
    }

    fn alias(&self, id: &Id) -> String {
        format!("{}:{id}", self.tag)
    }

    /// The id in an alias of ours.
    fn owner(&self, link: &Link) -> Option<Id> {
        let (tag, id) = link.alias.as_deref()?.split_once(':')?;
        (tag == self.tag).then(|| id.parse().ok())?
    }

    /// The link of that name when it is the owner's; [`orc_base::Kind::Conflict`] when it is
    /// somebody else's. A derived name without any alias is ours: it was made just before a crash.
    /// One that is about to go is waited for and gone, whosever it was.
    fn own_link(&mut self, name: &str, owner: &Id, derived: &str) -> Result<Option<Link>> {
        // Asked first: what goes while the kernel is asked for the link was doomed before.
        let doomed = self.reaper.doomed();
        let Some(link) = self.routes.link(name)? else {
            return Ok(None);
        };
        if doomed.contains(&link.index) {
            let _ = self.reaper.settled().blocking_recv();
            return Ok(None);
        }
        let untagged = link.alias.is_none() && name == derived;
        if untagged || self.owner(&link).as_ref() == Some(owner) {
            return Ok(Some(link));
        }
        Err(Error::conflict(format!(
            "there is an interface {name} already that does not belong to this network; remove it or choose another name"
        )))
    }

    fn create_bridge(&mut self, network: &Network) -> Result<()> {
        let name = &network.bridge;
        let mac = Mac::from_address(network.gateway);
        self.routes.apply(vec![
            route::create_bridge(name, mac, network.mtu),
            route::tag(name, &self.alias(&network.id)),
        ])
    }

    /// Brings a bridge that is there into the state it should be in.
    fn set_up_bridge(&mut self, network: &Network) -> Result<()> {
        let name = &network.bridge;
        netns::sysctl("net/ipv4/ip_forward", "1")?;
        match network.ipv6 {
            Some(_) => {
                self.forward_ipv6()?;
                still_ipv6(name)?;
            }
            None => quiet_ipv6(name)?,
        }
        if !network.internal {
            // Lets answers to this host's 127.0.0.1 come back from a published port; the chain
            // `wire` of our rules keeps everything else for 127.0.0.0/8 off the wire.
            netns::sysctl(&format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
        }
        let index = self.routes.existing(name)?.index;
        let mut requests = vec![route::tag(name, &self.alias(&network.id))];
        let addresses = addresses(network).into_iter();
        requests
            .extend(addresses.map(|(address, prefix)| route::add_address(index, address, prefix)));
        requests.push(route::set_up(name));
        self.routes.apply(requests)
    }

    /// Lets IPv6 packets through this host. A host that does so no longer heeds router
    /// advertisements, unless it is told to do both: the links that did, still do.
    fn forward_ipv6(&mut self) -> Result<()> {
        const FORWARDING: &str = "net/ipv6/conf/all/forwarding";
        if netns::read_sysctl(FORWARDING).is_none_or(|value| value == "1") {
            return Ok(());
        }
        for link in self.routes.links()? {
            let of_link = |what: &str| format!("net/ipv6/conf/{}/{what}", link.name);
            let forwards = netns::read_sysctl(&of_link("forwarding"));
            let heeds = netns::read_sysctl(&of_link("accept_ra"));
            if heeds.as_deref() == Some("1") && forwards.as_deref() == Some("0") {
                netns::sysctl(&of_link("accept_ra"), "2")?;
            }
        }
        netns::sysctl(FORWARDING, "1")
    }

    fn create_veth(
        &mut self,
        place: &Place<'_>,
        bridge: &Link,
        network: &Network,
        endpoint: &Endpoint,
    ) -> Result<()> {
        let name = &endpoint.veth;
        let inside = Inside {
            namespace: place.namespace,
            name: &endpoint.interface,
            mac: endpoint.mac,
        };
        self.routes.apply(vec![
            route::create_veth(name, bridge.index, network.mtu, &inside),
            route::tag(name, &self.alias(place.container)),
        ])?;
        quiet_ipv6(name)?;
        self.routes.apply(port_requests(network, name))?;
        netns::inside(place.namespace, || {
            set_up_inside(endpoint, &place.gateways(endpoint))
        })
    }

    /// Whether the pair is there; its end on the host is brought into the state it should be in.
    fn adopt(
        &mut self,
        place: &Place<'_>,
        veth: &Link,
        bridge: &Link,
        network: &Network,
        endpoint: &Endpoint,
    ) -> Result<bool> {
        if !netns::inside(place.namespace, || is_inside(endpoint)).unwrap_or(false) {
            return Ok(false);
        }
        let name = &endpoint.veth;
        if veth.master != Some(bridge.index) || !veth.up {
            let mut requests = vec![route::set_master(name, bridge.index)];
            requests.extend(port_requests(network, name));
            self.routes.apply(requests)?;
        }
        Ok(true)
    }

    /// Deletes a link and waits for it, in turn with those that are to go anyway.
    fn delete_now(&self, link: &Link) {
        self.reaper.delete(link.index);
        let _ = self.reaper.settled().blocking_recv();
    }
}

impl Driver for Bridge {
    fn create_network(&mut self, network: &Network) -> Result<()> {
        let derived = bridge_name(&network.id);
        let found = self.own_link(&network.bridge, &network.id, &derived)?;
        if found.is_none() {
            self.create_bridge(network)?;
        }
        let result = self.set_up_bridge(network);
        if result.is_err() && found.is_none() {
            self.remove_network(network)?;
        }
        result
    }

    fn remove_network(&mut self, network: &Network) -> Result<()> {
        if let Some(link) = self.routes.link(&network.bridge)?
            && self.owner(&link).as_ref() == Some(&network.id)
        {
            // The link goes a little later; its subnets are free now.
            let freed = self
                .routes
                .delete_addresses(link.index, &addresses(network));
            self.reaper.delete(link.index);
            freed?;
        }
        Ok(())
    }

    fn attach(&mut self, place: &Place<'_>, network: &Network, endpoint: &Endpoint) -> Result<()> {
        if netns::same(place.namespace, &self.home)? {
            return Err(Error::invalid(
                "a container in the host's own network namespace cannot be put on a network",
            ));
        }
        let bridge = self.routes.existing(&network.bridge)?;
        let derived = veth_name(place.container, &network.id);
        if let Some(veth) = self.own_link(&endpoint.veth, place.container, &derived)? {
            if self.adopt(place, &veth, &bridge, network, endpoint)? {
                return Ok(());
            }
            // Half made.
            self.delete_now(&veth);
        }
        let result = self.create_veth(place, &bridge, network, endpoint);
        if result.is_err() {
            self.detach(place.container, endpoint)?;
        }
        result
    }

    fn route_by(&mut self, place: &Place<'_>, endpoint: &Endpoint) -> Result<()> {
        let gateways = place.gateways(endpoint);
        if gateways.is_empty() {
            return Ok(());
        }
        netns::inside(place.namespace, || {
            let mut routes = Routes::open()?;
            let index = routes.existing(&endpoint.interface)?.index;
            routes.apply(default_routes(index, &gateways))
        })
    }

    fn detach(&mut self, container: &Id, endpoint: &Endpoint) -> Result<()> {
        if let Some(link) = self.routes.link(&endpoint.veth)?
            && self.owner(&link).as_ref() == Some(container)
        {
            self.reaper.delete(link.index);
        }
        Ok(())
    }

    fn remove_orphans(&mut self, owners: &dyn Fn(&Id) -> bool) -> Result<()> {
        for link in self.routes.links()? {
            if let Some(owner) = self.owner(&link)
                && !owners(&owner)
            {
                self.reaper.delete(link.index);
            }
        }
        Ok(())
    }

    fn settled(&mut self) -> oneshot::Receiver<()> {
        self.reaper.settled()
    }
}

/// All addresses of a network's bridge with their prefix lengths.
fn addresses(network: &Network) -> Vec<(IpAddr, u8)> {
    let mut all = vec![(IpAddr::V4(network.gateway), network.subnet.prefix())];
    if let Some(plan) = network.ipv6 {
        let link_local = Mac::from_address(network.gateway).link_local();
        all.push((plan.gateway.into(), plan.subnet.prefix()));
        all.push((link_local.into(), 64));
    }
    all
}

/// Keeps IPv6 off a link of an IPv4 network, router advertisements first of all.
fn quiet_ipv6(link: &str) -> Result<()> {
    netns::sysctl(&format!("net/ipv6/conf/{link}/accept_ra"), "0")?;
    netns::sysctl(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1")
}

/// Gives a link IPv6, but no address that nobody gave it.
fn still_ipv6(link: &str) -> Result<()> {
    let set = |what: &str, value| netns::sysctl(&format!("net/ipv6/conf/{link}/{what}"), value);
    set("accept_ra", "0")?;
    // `IN6_ADDR_GEN_MODE_NONE`: it would make a link-local address and ask for a second whether
    // another has it.
    set("addr_gen_mode", "1")?;
    set("disable_ipv6", "0")
}

/// What makes a link a port as the network wants it.
fn port_requests(network: &Network, name: &str) -> Vec<netlink::Request> {
    let mut requests = vec![route::set_hairpin(name)];
    if network.isolated && !rules_see_frames() {
        requests.push(route::set_isolated(name));
    }
    requests.push(route::set_up(name));
    requests
}

/// Whether the rules for packets see those between ports of a bridge too (br_netfilter). Then they
/// keep the containers of an isolated network apart and let published ports through, which the port
/// itself could not tell: they go from port to port.
fn rules_see_frames() -> bool {
    ["iptables", "ip6tables"].iter().all(|which| {
        netns::read_sysctl(&format!("net/bridge/bridge-nf-call-{which}")).as_deref() == Some("1")
    })
}

fn default_routes(index: u32, gateways: &[IpAddr]) -> Vec<netlink::Request> {
    gateways
        .iter()
        .map(|gateway| route::add_default_route(index, *gateway))
        .collect()
}

fn set_up_inside(endpoint: &Endpoint, gateways: &[IpAddr]) -> Result<()> {
    match endpoint.ipv6 {
        Some(_) => still_ipv6(&endpoint.interface)?,
        None => quiet_ipv6(&endpoint.interface)?,
    }
    let mut routes = Routes::open()?;
    let index = routes.existing(&endpoint.interface)?.index;
    let addresses = endpoint.addresses().into_iter();
    let mut requests: Vec<_> = addresses
        .map(|(address, prefix)| route::add_address(index, address, prefix))
        .collect();
    requests.push(route::set_up(&endpoint.interface));
    requests.extend(default_routes(index, gateways));
    routes.apply(requests)
}

fn is_inside(endpoint: &Endpoint) -> Result<bool> {
    let mut routes = Routes::open()?;
    let Some(link) = routes.link(&endpoint.interface)? else {
        return Ok(false);
    };
    let there = routes.addresses()?;
    let has = |(address, prefix)| there.contains(&(link.index, address, prefix));
    Ok(link.up && endpoint.addresses().into_iter().all(has))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ() {
        let (container, a, b) = (Id::random(), Id::random(), Id::random());
        let names = [
            bridge_name(&a),
            bridge_name(&b),
            veth_name(&container, &a),
            veth_name(&container, &b),
        ];
        for (index, name) in names.iter().enumerate() {
            check_interface_name(name).unwrap();
            assert!(!names[index + 1..].contains(name));
        }
    }

    #[test]
    fn odd_interface_names_are_refused() {
        for bad in [
            "",
            "lo",
            "..",
            "a/b",
            "a b",
            "-x",
            "all",
            "default",
            "a\n",
            "seventeen-letters",
            "ipvlan;reboot",
        ] {
            assert!(check_interface_name(bad).is_err(), "{bad:?}");
        }
        check_interface_name("eth0").unwrap();
    }
}
