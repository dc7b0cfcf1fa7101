//! Services: addresses and ports that stand for whichever containers answer now.
//!
//! Pure: same services, same rules. They are a table of their own, so that endpoints come and go without
//! the rules of networks being touched. What holds:
//!
//! - A packet costs one look into a map, however many services and endpoints there are.
//! - New connections go to the endpoints in turn. A client of a service that remembers its clients
//!   meets the same endpoint from every node and after every change, as long as that endpoint is
//!   there: it is chosen by its address (rendezvous hashing), and nothing has to be remembered.
//! - The address of a service answers on the ports of the service and refuses all others. One without
//!   endpoints is refused at once, not left to wait.
//! - Containers of other nodes are seen with their own addresses; one on the same bridge appears as that
//!   bridge, and a client that is no container as its node when the endpoint is on another one: their
//!   answers would take another way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use crate::address::Subnet;
use crate::model::Protocol;
use crate::ruleset::{
    By, Chain, Elements, Family, Field, HookKind, HookPoint, MapTo, Rule, Ruleset, Set, Statement,
    Table, Type, Value, Verdict,
};

/// Places that clients of a service that remembers them are spread over.
const PLACES: u32 = 128;
/// Makes the place of a client the same on every node.
const SEED: u32 = 0x6f72_6331;
/// Before the ports that containers publish.
const BEFORE_PUBLISHED: i32 = -105;
/// Before networks decide about the source.
const BEFORE_NETWORKS: i32 = 95;

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// The addresses it answers on.
    pub addresses: Vec<Ipv4Addr>,
    /// The port on these.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port on all addresses of every node.
    pub node_port: Option<u16>,
    /// Who answers now.
    pub endpoints: Vec<SocketAddrV4>,
    /// Whether a client meets the same endpoint again.
    pub remembers_clients: bool,
}

/// What the table of services is called beside the one of networks.
pub(crate) fn table(networks: &str) -> String {
    format!("{networks}_services")
}

/// The endpoints of UDP services that are no longer any. Conversations with them would go on as long
/// as their clients talk.
pub(crate) fn gone_for_udp(before: &[Service], after: &[Service]) -> BTreeSet<Ipv4Addr> {
    let endpoints = |services: &[Service]| -> BTreeSet<Ipv4Addr> {
        let udp = services.iter().filter(|s| s.protocol == Protocol::Udp);
        let endpoints = udp.flat_map(|service| &service.endpoints);
        endpoints.map(|endpoint| *endpoint.ip()).collect()
    };
    &endpoints(before) - &endpoints(after)
}

/// The rules of all services; no table at all when there is none. `pods` are the addresses that are
/// the same everywhere, and `overlay` is the interface to other nodes.
pub(crate) fn render(
    table: &str,
    services: &[Service],
    pods: Option<Subnet>,
    overlay: Option<&str>,
) -> Ruleset {
    if services.is_empty() {
        return Ruleset::default();
    }
    let targets = Targets::of(services);
    let mut sets = targets.sets();
    sets.extend(refused(services));
    let mut chains = base_chains(pods, overlay);
    for (name, target) in &targets.0 {
        sets.push(target.map(name));
        chains.push(Chain::plain(name, vec![target.rule(name)]));
    }
    Ruleset {
        tables: vec![Table {
            family: Family::Ip,
            name: table.to_owned(),
            sets,
            chains,
        }],
    }
}

/// Services by the name of their chain and map.
struct Targets<'s>(BTreeMap<String, Target<'s>>);

/// A service that is led somewhere, with its endpoints in order and once each.
struct Target<'s> {
    service: &'s Service,
    endpoints: Vec<SocketAddrV4>,
}

impl<'s> Targets<'s> {
    /// Named by what is unique about a service, so that a change of one leaves the names of others.
    fn of(services: &'s [Service]) -> Self {
        let named = services
            .iter()
            .filter(|service| !service.endpoints.is_empty());
        let target = |service: &'s Service| {
            let endpoints: BTreeSet<_> = service.endpoints.iter().copied().collect();
            Target {
                service,
                endpoints: endpoints.into_iter().collect(),
            }
        };
        Self(
            named
                .map(|service| (name(service), target(service)))
                .collect(),
        )
    }

    fn sets(&self) -> Vec<Set> {
        let mut by_address = BTreeMap::new();
        let mut by_port = BTreeMap::new();
        for (name, Target { service, .. }) in &self.0 {
            let protocol = Value::Protocol(service.protocol);
            let to = || Verdict::Goto(name.clone());
            for address in &service.addresses {
                let key = vec![
                    Value::Address(IpAddr::V4(*address)),
                    protocol.clone(),
                    Value::Port(service.port),
                ];
                by_address.insert(key, to());
            }
            if let Some(port) = service.node_port {
                by_port.insert(vec![protocol, Value::Port(port)], to());
            }
        }
        let chosen = |name: &'static str, key: &[Type], chosen: BTreeMap<_, _>| Set {
            name: name.into(),
            key: key.to_vec(),
            to: Some(MapTo::Verdict),
            elements: Elements::Verdicts(chosen.into_iter().collect()),
        };
        vec![
            chosen(
                "services",
                &[Type::Address, Type::Protocol, Type::Port],
                by_address,
            ),
            chosen("node_ports", &[Type::Protocol, Type::Port], by_port),
        ]
    }
}

/// What is answered by a refusal unless it was led somewhere.
fn refused(services: &[Service]) -> [Set; 2] {
    let addresses = services.iter().flat_map(|service| &service.addresses);
    let addresses: BTreeSet<_> = addresses
        .map(|address| vec![Value::Address(IpAddr::V4(*address))])
        .collect();
    let unanswered = services
        .iter()
        .filter(|service| service.endpoints.is_empty());
    let unanswered: BTreeSet<_> = unanswered
        .filter_map(|service| {
            let port = Value::Port(service.node_port?);
            Some(vec![Value::Protocol(service.protocol), port])
        })
        .collect();
    let set = |name: &'static str, key: &[Type], keys: BTreeSet<_>| Set {
        name: name.into(),
        key: key.to_vec(),
        to: None,
        elements: Elements::Keys(keys.into_iter().collect()),
    };
    [
        set("addresses", &[Type::Address], addresses),
        set("unanswered", &[Type::Protocol, Type::Port], unanswered),
    ]
}

/// An address or a node port belongs to one service, so either names it.
fn name(service: &Service) -> String {
    let Service { protocol, port, .. } = service;
    match (service.addresses.first(), service.node_port) {
        (Some(address), _) => {
            let [a, b, c, d] = address.octets();
            format!("to_{a}_{b}_{c}_{d}_{protocol}_{port}")
        }
        (None, Some(port)) => format!("to_node_{protocol}_{port}"),
        (None, None) => format!("to_none_{protocol}_{port}"),
    }
}

impl Target<'_> {
    fn by(&self) -> By {
        match self.service.remembers_clients {
            true => By::Client {
                places: PLACES,
                seed: SEED,
            },
            false => By::Turn(self.endpoints.len() as u32),
        }
    }

    fn rule(&self, name: &str) -> Rule {
        vec![Statement::Spread(self.by(), name.to_owned())]
    }

    fn map(&self, name: &str) -> Set {
        let endpoint = |place: u32| match self.by() {
            By::Turn(_) => self.endpoints[place as usize],
            By::Client { .. } => highest(&self.endpoints, place),
        };
        let element = |place: u32| {
            let endpoint = endpoint(place);
            let to = vec![
                Value::Address(IpAddr::V4(*endpoint.ip())),
                Value::Port(endpoint.port()),
            ];
            (vec![Value::Number(place)], to)
        };
        Set {
            name: name.to_owned().into(),
            key: vec![Type::Number],
            to: Some(MapTo::Data(vec![Type::Address, Type::Port])),
            elements: Elements::Data((0..self.by().places()).map(element).collect()),
        }
    }
}

/// The endpoint that has a place: each endpoint bids, so that one that goes leaves all others theirs.
fn highest(endpoints: &[SocketAddrV4], place: u32) -> SocketAddrV4 {
    let bid = |endpoint: &&SocketAddrV4| {
        let number = u64::from(endpoint.ip().to_bits()) << 16 | u64::from(endpoint.port());
        mixed(number ^ mixed(u64::from(place) + 1))
    };
    *endpoints
        .iter()
        .max_by_key(bid)
        .expect("a target has endpoints")
}

/// The finalizer of `SplitMix64`: every bit depends on every bit.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn base_chains(pods: Option<Subnet>, overlay: Option<&str>) -> Vec<Chain> {
    use Field::{Destination, DestinationPort, Source};
    use HookPoint::{Forward, Input, Output, Postrouting, Prerouting};
    use Statement::{
        Choose, In, LocalDestination, Masquerade, NotWithin, OutBy, Redirected, Reject,
        Unredirected,
    };
    let lead = |name, point| {
        let key = vec![Destination, Field::Protocol, DestinationPort];
        let to_service = Choose(key, "services");
        let to_node = Choose(vec![Field::Protocol, DestinationPort], "node_ports");
        let rules = vec![vec![to_service], vec![LocalDestination, to_node]];
        Chain::base(name, HookKind::Nat, point, BEFORE_PUBLISHED, rules)
    };
    // What was led somewhere has another destination by now.
    let refuse = |name, point, rule| Chain::base(name, HookKind::Filter, point, 0, vec![rule]);
    let address = || vec![In(vec![Destination], "addresses"), Reject];
    let port = vec![
        Unredirected,
        In(vec![Field::Protocol, DestinationPort], "unanswered"),
        Reject,
    ];
    let as_node = match (pods, overlay) {
        (Some(pods), Some(overlay)) => vec![vec![
            Redirected,
            OutBy(overlay.to_owned()),
            NotWithin(Source, pods.into()),
            Masquerade,
        ]],
        _ => vec![],
    };
    vec![
        lead("prerouting", Prerouting),
        lead("output", Output),
        refuse("refuse_forwarded", Forward, address()),
        refuse("refuse_sent", Output, address()),
        refuse("refuse_here", Input, port),
        Chain::base(
            "postrouting",
            HookKind::Nat,
            Postrouting,
            BEFORE_NETWORKS,
            as_node,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(address: u8, port: u16, endpoints: &[&str]) -> Service {
        Service {
            addresses: vec![Ipv4Addr::new(10, 96, 0, address)],
            port,
            protocol: Protocol::Tcp,
            node_port: None,
            endpoints: endpoints.iter().map(|e| e.parse().unwrap()).collect(),
            remembers_clients: false,
        }
    }

    #[test]
    fn reads_as_one_table() {
        let services = [
            service(1, 443, &["192.0.2.1:6443"]),
            Service {
                node_port: Some(30080),
                ..service(7, 80, &["10.1.0.9:8080", "10.1.0.2:80", "10.1.0.9:8080"])
            },
            Service {
                node_port: Some(30081),
                ..service(8, 80, &[])
            },
        ];
        let pods = Subnet::literal([10, 1, 0, 0], 16);
        let text = render("orc_services", &services, Some(pods), Some("orc-overlay")).to_string();
        assert_eq!(text, include_str!("tests/services.golden.nft"));
        assert!(render("orc_services", &[], None, None).tables.is_empty());
    }

    #[test]
    fn a_client_keeps_its_endpoint_when_others_go() {
        let all: Vec<String> = (1..=8).map(|n| format!("10.1.0.{n}:80")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let led = |endpoints: &[&str]| -> Vec<SocketAddrV4> {
            let endpoints = service(1, 80, endpoints).endpoints;
            (0..PLACES)
                .map(|place| highest(&endpoints, place))
                .collect()
        };
        let (before, after) = (led(&all), led(&all[1..]));
        let gone = before.iter().filter(|e| e.ip().octets()[3] == 1).count();
        assert!((4..40).contains(&gone), "{gone} of {PLACES}");
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || before.ip().octets()[3] == 1);
        }
    }
}
