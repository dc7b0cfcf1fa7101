//! Which subnet a network gets and which address a container.
//!
//! Pure. Always the lowest that is free, so the answer follows from what is taken and nothing has
//! to be remembered beside the networks and sandboxes themselves.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use orc_base::{Error, Id, Name, Result};

use crate::address::{Address, Subnet, Subnet6};
use crate::model::Plan;

/// The host's bridges have at most 1023 ports, so more addresses than in a /22 are of no use.
pub(crate) const POOL_PREFIX: u8 = 22;

/// Docker's pools: 1024 networks of a /22 each.
pub(crate) fn default_pools() -> Vec<Subnet> {
    (17..32)
        .map(|second| Subnet::literal([172, second, 0, 0], 16))
        .chain([Subnet::literal([192, 168, 0, 0], 16)])
        .collect()
}

/// The IPv6 subnet of a network that names none: a /64 of its own under `fd00::/8` (RFC 4193), which
/// follows from the network's id and so is the same whenever the network is made again.
pub(crate) fn local_subnet(network: &Id) -> Subnet6 {
    let digits = u64::from_str_radix(&network.as_str()[..14], 16);
    let digits = digits.expect("an id is hexadecimal digits");
    let address = Ipv6Addr::from_bits(u128::from(0xfd << 56 | digits) << 64);
    Subnet6::of(address, 64).expect("64 bits fit")
}

/// A subnet that is taken and by what, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken<A: Address = Ipv4Addr> {
    pub(crate) subnet: Subnet<A>,
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

impl<A: Address> std::fmt::Display for Taken<A> {
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

/// Refuses an IPv4 subnet that somebody asked for.
pub(crate) fn check_subnet(subnet: Subnet, taken: &[Taken]) -> Result<()> {
    check_prefix(subnet, 8, 30)?;
    let special = [
        Subnet::literal([0, 0, 0, 0], 8),
        Subnet::literal([127, 0, 0, 0], 8),
        Subnet::literal([169, 254, 0, 0], 16),
        Subnet::literal([224, 0, 0, 0], 3),
    ];
    check_special(subnet, &special)?;
    check_free(subnet, taken)
}

/// Refuses an IPv6 subnet that somebody asked for: only unique local and global addresses are given
/// to containers.
pub(crate) fn check_subnet6(subnet: Subnet6, taken: &[Taken<Ipv6Addr>]) -> Result<()> {
    check_prefix(subnet, 8, 126)?;
    let special = [
        // The loopback, the unspecified address and IPv4 in disguise.
        Subnet6::literal6(0, 8),
        Subnet6::literal6(0xfe80, 10),
        Subnet6::literal6(0xff00, 8),
    ];
    check_special(subnet, &special)?;
    check_free(subnet, taken)
}

fn check_prefix<A: Address>(subnet: Subnet<A>, least: u8, most: u8) -> Result<()> {
    if (least..=most).contains(&subnet.prefix()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "subnet {subnet} cannot be used: its prefix must have {least} to {most} bits"
    )))
}

fn check_special<A: Address>(subnet: Subnet<A>, special: &[Subnet<A>]) -> Result<()> {
    match special.iter().find(|special| special.overlaps(subnet)) {
        None => Ok(()),
        Some(special) => Err(Error::invalid(format!(
            "subnet {subnet} cannot be used: {special} has a meaning of its own"
        ))),
    }
}

/// A route to behind a router that is wider than the subnet does no harm: the subnet is the better
/// route and the rest goes where it went.
fn check_free<A: Address>(subnet: Subnet<A>, taken: &[Taken<A>]) -> Result<()> {
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

/// The addresses of a network: its gateway is the one asked for, or the first that nothing else has.
pub(crate) fn plan<A: Address>(
    subnet: Subnet<A>,
    ip_range: Option<Subnet<A>>,
    wanted: Option<A>,
    reserved: &[IpAddr],
) -> Result<Plan<A>> {
    if let Some(range) = ip_range
        && !subnet.covers(range)
    {
        return Err(Error::invalid(format!(
            "the range {range} is not inside the subnet {subnet}"
        )));
    }
    let gateway = match wanted {
        Some(gateway) if !subnet.is_host(gateway) => {
            return Err(Error::invalid(format!(
                "the gateway {gateway} is not a host's address of the subnet {subnet}"
            )));
        }
        Some(gateway) => gateway,
        None => {
            let first = ip_range.unwrap_or(subnet).hosts().chain(subnet.hosts());
            first
                .take(SEARCH)
                .find(|address| !reserved.contains(&(*address).into()))
                .ok_or_else(|| {
                    Error::invalid(format!("subnet {subnet} has no room for a gateway"))
                })?
        }
    };
    Ok(Plan {
        subnet,
        ip_range,
        gateway,
    })
}

/// How many addresses are looked at: more than a bridge can have containers and a file can reserve.
const SEARCH: usize = 1 << 20;

/// The addresses of one family on a network that cannot be given.
#[derive(Debug)]
pub(crate) struct Used<'a, A> {
    /// The network's name, for people.
    pub(crate) network: &'a Name,
    /// Which container has which.
    pub(crate) by: HashMap<A, &'a Name>,
    /// Those that something else has.
    pub(crate) reserved: &'a [IpAddr],
}

/// An address for a container: the one it wants, or the lowest free one. One that is reserved can be
/// wanted: whoever reserved it may be that container.
pub(crate) fn choose_address<A: Address>(
    plan: &Plan<A>,
    used: &Used<'_, A>,
    wanted: Option<A>,
) -> Result<A> {
    if let Some(address) = wanted {
        return check_address(plan, used, address);
    }
    let range = plan.ip_range.unwrap_or(plan.subnet);
    // The subnet's own ends are left out even when the range holds them.
    range
        .addresses()
        .take(SEARCH)
        .filter(|address| plan.subnet.is_host(*address) && *address != plan.gateway)
        .filter(|address| !used.reserved.contains(&(*address).into()))
        .find(|address| !used.by.contains_key(address))
        .ok_or_else(|| {
            Error::exhausted(format!(
                "network `{}` has no free address left in {range}",
                used.network
            ))
        })
}

fn check_address<A: Address>(plan: &Plan<A>, used: &Used<'_, A>, address: A) -> Result<A> {
    let network = used.network;
    if !plan.subnet.is_host(address) {
        return Err(Error::invalid(format!(
            "{address} is not a host's address of network `{network}` ({})",
            plan.subnet
        )));
    }
    if address == plan.gateway {
        return Err(Error::conflict(format!(
            "{address} is the gateway of network `{network}`"
        )));
    }
    if let Some(owner) = used.by.get(&address) {
        return Err(Error::conflict(format!(
            "{address} on network `{network}` belongs to container `{owner}`"
        )));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn network(subnet_text: &str, range: Option<&str>) -> Plan<Ipv4Addr> {
        let range = range.map(|range| range.parse().unwrap());
        plan(
            subnet(subnet_text),
            range,
            Some(subnet(subnet_text).hosts().next().unwrap()),
            &[],
        )
        .unwrap()
    }

    fn used<'a, A: Address>(
        name: &'a Name,
        addresses: &[&str],
        reserved: &'a [IpAddr],
    ) -> Used<'a, A>
    where
        A::Err: std::fmt::Debug,
    {
        Used {
            network: name,
            by: addresses
                .iter()
                .map(|address| (address.parse().unwrap(), name))
                .collect(),
            reserved,
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
        let reserved = ["10.0.0.4".parse().unwrap()];
        let mut used = used(&name, &[], &reserved);
        let mut given = Vec::new();
        while let Ok(address) = choose_address(&network, &used, None) {
            used.by.insert(address, &name);
            given.push(address.octets()[3]);
        }
        assert_eq!(given, [2, 3, 5, 6]);
        // Who knows that it is reserved may be whom it is reserved for.
        let wanted = Some(Ipv4Addr::new(10, 0, 0, 4));
        assert!(choose_address(&network, &used, wanted).is_ok());
        let error = choose_address(&network, &used, None).unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
    }

    #[test]
    fn wished_addresses_are_checked() {
        let network = network("10.0.0.0/24", Some("10.0.0.128/25"));
        let name: Name = "web".parse().unwrap();
        let used = used(&name, &["10.0.0.9"], &[]);
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
    fn ipv6_addresses_are_chosen_alike() {
        let name: Name = "web".parse().unwrap();
        let plan = plan("fd00:1::/64".parse::<Subnet6>().unwrap(), None, None, &[]).unwrap();
        assert_eq!(plan.gateway.to_string(), "fd00:1::1");
        let used = used::<Ipv6Addr>(&name, &["fd00:1::2"], &[]);
        let choose = |wanted: Option<&str>| {
            choose_address(&plan, &used, wanted.map(|text| text.parse().unwrap()))
        };
        assert_eq!(choose(None).unwrap().to_string(), "fd00:1::3");
        assert!(choose(Some("fd00:1::ffff:ffff:ffff:ffff")).is_ok());
        assert_eq!(choose(Some("fd00:1::")).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(choose(Some("fd00:2::2")).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(
            choose(Some("fd00:1::1")).unwrap_err().kind(),
            Kind::Conflict
        );
        assert_eq!(
            choose(Some("fd00:1::2")).unwrap_err().kind(),
            Kind::Conflict
        );
    }

    #[test]
    fn local_subnets_follow_from_ids() {
        let id: Id = format!("{:0<64}", "0123456789abcdef").parse().unwrap();
        assert_eq!(local_subnet(&id).to_string(), "fd01:2345:6789:abcd::/64");
        check_subnet6(local_subnet(&Id::random()), &[]).unwrap();
        for bad in [
            "::/64",
            "fe80::/64",
            "ff02::/16",
            "fd00::/127",
            "::/0",
            "::ffff:a00:0/104",
        ] {
            let error = check_subnet6(bad.parse().unwrap(), &[]).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid, "{bad}: {error}");
        }
        let taken = [Taken {
            subnet: "fd00::/32".parse().unwrap(),
            by: TakenBy::Network("back".into()),
        }];
        let error = check_subnet6("fd00:0:1::/64".parse().unwrap(), &taken).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
    }

    #[test]
    fn gateways_are_inside() {
        let net = subnet("10.0.0.0/24");
        let gateway = |range: Option<&str>, wanted: Option<&str>| {
            plan(
                net,
                range.map(|range| range.parse().unwrap()),
                wanted.map(|wanted| wanted.parse().unwrap()),
                &["10.0.0.1".parse().unwrap()],
            )
            .map(|plan| plan.gateway)
        };
        assert_eq!(gateway(None, None).unwrap().octets()[3], 2);
        assert_eq!(gateway(Some("10.0.0.64/26"), None).unwrap().octets()[3], 65);
        assert_eq!(gateway(None, Some("10.0.0.254")).unwrap().octets()[3], 254);
        assert!(gateway(None, Some("10.0.0.0")).is_err());
        assert!(gateway(None, Some("10.0.1.1")).is_err());
        assert!(gateway(Some("10.0.1.0/25"), None).is_err());
    }
}
