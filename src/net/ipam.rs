//! Which subnet a network gets and which address a container.
//!
//! Pure. Always the lowest that is free, so the answer follows from what is taken and nothing has
//! to be remembered beside the networks and sandboxes themselves.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use orc_base::{Error, Name, Result};

use crate::address::Subnet;
use crate::model::Network;

/// The host's bridges have at most 1023 ports, so more addresses than in a /22 are of no use.
pub(crate) const POOL_PREFIX: u8 = 22;

/// Docker's pools: 1024 networks of a /22 each.
pub(crate) fn default_pools() -> Vec<Subnet> {
    (17..32)
        .map(|second| Subnet::literal([172, second, 0, 0], 16))
        .chain([Subnet::literal([192, 168, 0, 0], 16)])
        .collect()
}

/// A subnet that is taken and by what, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) subnet: Subnet,
    pub(crate) by: TakenBy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TakenBy {
    /// The network of that name.
    Network(String),
    /// The wire that the host's interface of that name is on.
    Link(String),
    /// A route of the host over that interface to somewhere behind a router.
    Route(String),
    /// One of the host's name servers.
    NameServer,
}

impl std::fmt::Display for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.by {
            TakenBy::Network(name) => write!(f, "{} of network `{name}`", self.subnet),
            TakenBy::Link(link) => write!(f, "{} on the host's {link}", self.subnet),
            TakenBy::Route(link) => write!(f, "the host's route to {} over {link}", self.subnet),
            TakenBy::NameServer => {
                write!(f, "the host's name server {}", self.subnet.address())
            }
        }
    }
}

/// The first part of the pools that overlaps nothing that is taken.
pub(crate) fn choose_subnet(pools: &[Subnet], prefix: u8, taken: &[Taken]) -> Result<Subnet> {
    let mut conflict = None;
    for subnet in pools.iter().flat_map(|pool| pool.split(prefix)) {
        match taken.iter().find(|taken| taken.subnet.overlaps(subnet)) {
            None => return Ok(subnet),
            Some(taken) => conflict = Some((subnet, taken)),
        }
    }
    let why = conflict.map_or_else(
        || "there is no pool of subnets".to_owned(),
        |(subnet, taken)| format!("the last one, {subnet}, overlaps {taken}"),
    );
    Err(Error::exhausted(format!(
        "no subnet is left for another network: {why}; remove unused networks or name a subnet"
    )))
}

/// Refuses a subnet that somebody asked for.
///
/// A route to behind a router that is wider than the subnet does no harm: the subnet is the better
/// route and the rest goes where it went.
pub(crate) fn check_subnet(subnet: Subnet, taken: &[Taken]) -> Result<()> {
    if !(8..=30).contains(&subnet.prefix()) {
        return Err(Error::invalid(format!(
            "subnet {subnet} cannot be used: its prefix must have 8 to 30 bits"
        )));
    }
    let special = [
        Subnet::literal([0, 0, 0, 0], 8),
        Subnet::literal([127, 0, 0, 0], 8),
        Subnet::literal([169, 254, 0, 0], 16),
        Subnet::literal([224, 0, 0, 0], 3),
    ];
    if let Some(special) = special.iter().find(|special| special.overlaps(subnet)) {
        return Err(Error::invalid(format!(
            "subnet {subnet} cannot be used: {special} has a meaning of its own"
        )));
    }
    let conflict = taken.iter().find(|taken| match taken.by {
        TakenBy::Network(_) | TakenBy::Link(_) => taken.subnet.overlaps(subnet),
        TakenBy::Route(_) | TakenBy::NameServer => subnet.covers(taken.subnet),
    });
    match conflict {
        None => Ok(()),
        Some(taken) => Err(Error::conflict(format!(
            "subnet {subnet} overlaps {taken}; choose another"
        ))),
    }
}

/// The gateway of a network: the one asked for, or the first address.
pub(crate) fn choose_gateway(
    subnet: Subnet,
    ip_range: Option<Subnet>,
    wanted: Option<Ipv4Addr>,
) -> Result<Ipv4Addr> {
    if let Some(range) = ip_range
        && !subnet.covers(range)
    {
        return Err(Error::invalid(format!(
            "the range {range} is not inside the subnet {subnet}"
        )));
    }
    match wanted {
        Some(gateway) if !subnet.is_host(gateway) => Err(Error::invalid(format!(
            "the gateway {gateway} is not a host's address of the subnet {subnet}"
        ))),
        Some(gateway) => Ok(gateway),
        None => ip_range
            .unwrap_or(subnet)
            .hosts()
            .chain(subnet.hosts())
            .next()
            .ok_or_else(|| Error::invalid(format!("subnet {subnet} has no room for a host"))),
    }
}

/// The addresses of a network that are in use, and by which container.
pub(crate) type Used<'a> = HashMap<Ipv4Addr, &'a Name>;

/// An address for a container: the one it wants, or the lowest free one.
pub(crate) fn choose_address(
    network: &Network,
    used: &Used<'_>,
    wanted: Option<Ipv4Addr>,
) -> Result<Ipv4Addr> {
    if let Some(address) = wanted {
        return check_address(network, used, address);
    }
    let range = network.ip_range.unwrap_or(network.subnet);
    // The subnet's own ends are left out even when the range holds them.
    addresses(range)
        .filter(|address| network.subnet.is_host(*address) && *address != network.gateway)
        .find(|address| !used.contains_key(address))
        .ok_or_else(|| {
            Error::exhausted(format!(
                "network `{}` has no free address left in {range}",
                network.name
            ))
        })
}

fn addresses(range: Subnet) -> impl Iterator<Item = Ipv4Addr> {
    (range.address().to_bits()..=range.broadcast().to_bits()).map(Ipv4Addr::from_bits)
}

fn check_address(network: &Network, used: &Used<'_>, address: Ipv4Addr) -> Result<Ipv4Addr> {
    if !network.subnet.is_host(address) {
        return Err(Error::invalid(format!(
            "{address} is not a host's address of network `{}` ({})",
            network.name, network.subnet
        )));
    }
    if address == network.gateway {
        return Err(Error::conflict(format!(
            "{address} is the gateway of network `{}`",
            network.name
        )));
    }
    if let Some(owner) = used.get(&address) {
        return Err(Error::conflict(format!(
            "{address} on network `{}` belongs to container `{owner}`",
            network.name
        )));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use orc_base::{Id, Kind};

    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn network(subnet_text: &str, range: Option<&str>) -> Network {
        let subnet = subnet(subnet_text);
        Network {
            id: Id::random(),
            name: "front".parse().unwrap(),
            internal: false,
            subnet,
            ip_range: range.map(|range| range.parse().unwrap()),
            gateway: choose_gateway(subnet, None, None).unwrap(),
            mtu: 1500,
            bridge: "orc-0".into(),
            masquerade: true,
        }
    }

    #[test]
    fn pools_hold_more_than_250_networks() {
        let all: Vec<_> = default_pools()
            .into_iter()
            .flat_map(|pool| pool.split(POOL_PREFIX))
            .collect();
        assert_eq!(all.len(), 1024);
        assert_eq!(all[0].to_string(), "172.17.0.0/22");
    }

    #[test]
    fn subnets_avoid_what_is_taken_and_say_so() {
        let route = |text: &str| Taken {
            subnet: subnet(text),
            by: TakenBy::Route("wlan0".into()),
        };
        let pools = [subnet("172.17.0.0/22")];
        let chosen = choose_subnet(&pools, 24, &[route("172.17.0.0/24")]).unwrap();
        assert_eq!(chosen.to_string(), "172.17.1.0/24");
        let error = choose_subnet(&pools, 24, &[route("172.16.0.0/12")]).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
        assert!(
            error.to_string().contains("172.16.0.0/12 over wlan0"),
            "{error}"
        );
        assert!(choose_subnet(&[], 24, &[]).is_err());
    }

    #[test]
    fn wished_subnets_are_checked() {
        let taken = [
            Taken {
                subnet: subnet("10.0.0.0/8"),
                by: TakenBy::Route("vpn".into()),
            },
            Taken {
                subnet: subnet("192.0.2.0/24"),
                by: TakenBy::Link("eth0".into()),
            },
            Taken {
                subnet: subnet("10.9.0.0/16"),
                by: TakenBy::Network("back".into()),
            },
        ];
        check_subnet(subnet("10.1.0.0/16"), &taken).unwrap();
        for (bad, kind) in [
            ("10.0.0.0/8", Kind::Conflict),
            ("192.0.2.0/24", Kind::Conflict),
            ("192.0.0.0/16", Kind::Conflict),
            ("192.0.2.128/25", Kind::Conflict),
            ("10.9.1.0/24", Kind::Conflict),
            ("127.0.1.0/24", Kind::Invalid),
            ("224.0.0.0/24", Kind::Invalid),
            ("10.0.0.0/31", Kind::Invalid),
            ("0.0.0.0/0", Kind::Invalid),
        ] {
            let error = check_subnet(subnet(bad), &taken).unwrap_err();
            assert_eq!(error.kind(), kind, "{bad}: {error}");
        }
    }

    #[test]
    fn addresses_are_the_lowest_free_ones() {
        let network = network("10.0.0.0/29", None);
        let name: Name = "web".parse().unwrap();
        let mut used = Used::new();
        let mut given = Vec::new();
        while let Ok(address) = choose_address(&network, &used, None) {
            used.insert(address, &name);
            given.push(address.octets()[3]);
        }
        assert_eq!(given, [2, 3, 4, 5, 6]);
        let error = choose_address(&network, &used, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
    }

    #[test]
    fn wished_addresses_are_checked() {
        let network = network("10.0.0.0/24", Some("10.0.0.128/25"));
        let name: Name = "web".parse().unwrap();
        let used = Used::from([(Ipv4Addr::new(10, 0, 0, 9), &name)]);
        let choose = |text: &str| choose_address(&network, &used, Some(text.parse().unwrap()));
        assert!(choose("10.0.0.10").is_ok());
        assert_eq!(choose("10.0.0.9").unwrap_err().kind(), Kind::Conflict);
        assert_eq!(choose("10.0.0.1").unwrap_err().kind(), Kind::Conflict);
        assert_eq!(choose("10.0.0.255").unwrap_err().kind(), Kind::Invalid);
        assert_eq!(choose("10.0.1.1").unwrap_err().kind(), Kind::Invalid);
        let lowest = choose_address(&network, &used, None).unwrap();
        assert_eq!(lowest, Ipv4Addr::new(10, 0, 0, 128));
    }

    #[test]
    fn gateways_are_inside() {
        let net = subnet("10.0.0.0/24");
        let gateway = |range: Option<&str>, wanted: Option<&str>| {
            choose_gateway(
                net,
                range.map(|range| range.parse().unwrap()),
                wanted.map(|wanted| wanted.parse().unwrap()),
            )
        };
        assert_eq!(gateway(None, None).unwrap().octets()[3], 1);
        assert_eq!(gateway(Some("10.0.0.64/26"), None).unwrap().octets()[3], 65);
        assert_eq!(gateway(None, Some("10.0.0.254")).unwrap().octets()[3], 254);
        assert!(gateway(None, Some("10.0.0.0")).is_err());
        assert!(gateway(None, Some("10.0.1.1")).is_err());
        assert!(gateway(Some("10.0.1.0/25"), None).is_err());
    }
}
