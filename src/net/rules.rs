//! Turns networks and the containers on them into one nftables ruleset.
//!
//! Pure: same model, same rules. Packets are matched by sets and maps, so their cost does not grow
//! with containers and ports. What holds, for IPv4 and for IPv6:
//!
//! - Nothing from outside reaches a container but answers and published ports, whatever routes a
//!   neighbour on the wire adds; containers of different networks are outside to each other.
//! - A published port answers on local addresses only (`fib daddr type local`), and one on
//!   127.0.0.1 to this host only: nothing for 127.0.0.0/8 comes in by a wire. The kernel keeps `::1`
//!   off all wires by itself, ours included, so that a port on it is answered by the daemon
//!   ([`crate::relay`]).
//! - The client's address is kept, but for this host by 127.0.0.1 and for a container that reaches
//!   its own network by the host: the answers of these would not come back.
//! - Internal networks send nothing out and reach nothing of the host but their DNS server.
//! - A container sends with its own addresses only, says of no other address that it has it, and is
//!   no router to its neighbours, unless it forwards for others.
//!
//! There is a table for IPv6 as soon as a network has it. What other tables do is theirs: all
//! chains accept what they do not drop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use orc_base::Id;

use crate::address::Subnet;
use crate::model::{Endpoint, Network, Protocol, Sandbox};
use crate::overlay::Overlay;
use crate::ruleset::{
    Chain, Cidr, Elements, Family, Field, Frame, HookKind, HookPoint, Icmp6, MapTo, Rule, Ruleset,
    Set, Statement, Table, Type, Value, Verdict,
};

/// The addresses that never leave a machine.
const LOOPBACK: Subnet = Subnet::literal([127, 0, 0, 0], 8);
/// Where containers ask for names; the server itself listens elsewhere, so that a container can
/// have port 53 of the host.
const DNS_PORT: u16 = 53;

/// What the rules are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model<'a> {
    pub(crate) table: &'a str,
    pub(crate) networks: &'a BTreeMap<Id, Network>,
    pub(crate) sandboxes: &'a BTreeMap<Id, Sandbox>,
    /// The port that each network's DNS server listens on, at the bridge's address.
    pub(crate) resolvers: &'a BTreeMap<Id, u16>,
    /// Whether this kernel can filter on bridges.
    pub(crate) bridge_filter: bool,
    /// The way to other nodes.
    pub(crate) overlay: Option<&'a Overlay>,
}

/// The rules for all networks and sandboxes; no table at all when there is no network.
pub(crate) fn render(model: &Model<'_>) -> Ruleset {
    if model.networks.is_empty() {
        return Ruleset::default();
    }
    let mut tables = vec![ip_table(model, &IPV4)];
    if model
        .networks
        .values()
        .any(|network| network.ipv6.is_some())
    {
        tables.push(ip_table(model, &IPV6));
    }
    if model.bridge_filter {
        tables.push(bridge_table(model));
    }
    Ruleset { tables }
}

/// What differs between the two protocols.
struct Side {
    family: Family,
    address: Type,
    source: Field,
    destination: Field,
    subnet: fn(&Network) -> Option<Cidr>,
    /// Where a container's published ports lead.
    primary: fn(&Sandbox) -> Option<IpAddr>,
}

const IPV4: Side = Side {
    family: Family::Ip,
    address: Type::Address,
    source: Field::Source,
    destination: Field::Destination,
    subnet: |network| Some(network.subnet.into()),
    primary: |sandbox| Some(sandbox.primary()?.address.into()),
};

const IPV6: Side = Side {
    family: Family::Ip6,
    address: Type::Address6,
    source: Field::Source6,
    destination: Field::Destination6,
    subnet: |network| Some(network.ipv6?.subnet.into()),
    primary: |sandbox| Some(sandbox.primary_ipv6()?.ipv6?.address.into()),
};

impl Side {
    fn is_ipv6(&self) -> bool {
        self.family == Family::Ip6
    }

    /// The addresses of this host that are on no wire.
    fn loopback(&self) -> Cidr {
        match self.is_ipv6() {
            true => Cidr {
                address: Ipv6Addr::LOCALHOST.into(),
                prefix: 128,
                last: Ipv6Addr::LOCALHOST.into(),
            },
            false => LOOPBACK.into(),
        }
    }
}

fn ip_table(model: &Model<'_>, side: &Side) -> Table {
    let (mut sets, mut chains) = (Vec::new(), Vec::new());
    sets.extend(network_sets(model, side));
    sets.push(match side.is_ipv6() {
        true => neighbours(),
        false => resolvers_set(model),
    });
    sets.push(staying(model));
    sets.extend(published_maps(model, side));
    if !side.is_ipv6() {
        chains.push(wire_chain());
    }
    chains.extend(filter_chains(side));
    chains.extend(nat_chains(model, side));
    chains.extend(
        model
            .networks
            .values()
            .map(|network| stay_chain(network, side)),
    );
    Table {
        family: side.family,
        name: model.table.to_owned(),
        sets,
        chains,
    }
}

fn network_sets(model: &Model<'_>, side: &Side) -> [Set; 4] {
    let networks = || model.networks.values();
    let outgoing = networks().filter(|network| network.masquerade && !network.internal);
    [
        keys(
            "bridges",
            &[Type::Interface],
            networks().map(|network| vec![bridge(network)]).collect(),
        ),
        keys(
            "internal",
            &[Type::Interface],
            networks()
                .filter(|network| network.internal)
                .map(|network| vec![bridge(network)])
                .collect(),
        ),
        keys(
            "inside",
            &[Type::Interface, Type::Interface],
            networks()
                .filter(|network| !network.isolated)
                .map(|network| vec![bridge(network), bridge(network)])
                .chain(from_nodes(model, side))
                .collect(),
        ),
        Set {
            name: "outgoing".into(),
            key: vec![side.address],
            to: None,
            elements: Elements::Subnets(sorted(outgoing.filter_map(side.subnet))),
        },
    ]
}

/// From other nodes to the containers that the overlay is for.
fn from_nodes(model: &Model<'_>, side: &Side) -> Option<Vec<Value>> {
    let overlay = model.overlay.filter(|_| !side.is_ipv6())?;
    let mut networks = model.networks.values();
    let network = networks.find(|network| network.subnet == overlay.own)?;
    Some(vec![Value::Interface(overlay.interface()), bridge(network)])
}

fn resolvers_set(model: &Model<'_>) -> Set {
    keys(
        "resolvers",
        &[Type::Interface, Type::Address, Type::Protocol, Type::Port],
        resolvers(model)
            .map(|(network, protocol, port)| {
                vec![
                    bridge(network),
                    Value::Address(network.gateway.into()),
                    Value::Protocol(protocol),
                    Value::Port(port),
                ]
            })
            .collect(),
    )
}

/// The messages without which nobody is found on a wire.
fn neighbours() -> Set {
    let messages = [Icmp6::NeighbourSolicitation, Icmp6::NeighbourAdvertisement];
    keys(
        "neighbours",
        &[Type::Icmp6],
        messages.map(|message| vec![Value::Icmp6(message)]).into(),
    )
}

fn staying(model: &Model<'_>) -> Set {
    let networks = model.networks.values();
    Set {
        name: "staying".into(),
        key: vec![Type::Interface],
        to: Some(MapTo::Verdict),
        elements: Elements::Verdicts(
            networks
                .map(|network| (vec![bridge(network)], Verdict::Jump(stay_name(network))))
                .collect(),
        ),
    }
}

fn bridge(network: &Network) -> Value {
    Value::Interface(network.bridge.clone())
}

fn keys(name: &'static str, key: &[Type], keys: Vec<Vec<Value>>) -> Set {
    Set {
        name: name.into(),
        key: key.to_vec(),
        to: None,
        elements: Elements::Keys(keys),
    }
}

fn resolvers<'a>(model: &Model<'a>) -> impl Iterator<Item = (&'a Network, Protocol, u16)> {
    let (networks, resolvers) = (model.networks, model.resolvers);
    networks.values().flat_map(move |network| {
        let port = resolvers.get(&network.id).copied();
        [Protocol::Udp, Protocol::Tcp]
            .into_iter()
            .filter_map(move |protocol| Some((network, protocol, port?)))
    })
}

/// Two maps, as a key cannot have a wildcard: ports of one address, and ports of all of them.
fn published_maps(model: &Model<'_>, side: &Side) -> [Set; 2] {
    let mut exact = BTreeMap::new();
    let mut any = BTreeMap::new();
    for (network, protocol, port) in resolvers(model).filter(|_| !side.is_ipv6()) {
        let gateway = IpAddr::V4(network.gateway);
        exact.insert((gateway, protocol, DNS_PORT), (gateway, port));
    }
    for sandbox in model.sandboxes.values() {
        let Some(primary) = (side.primary)(sandbox) else {
            continue;
        };
        let ports = sandbox.ports.iter();
        for port in ports.filter(|port| port.host_ip.is_ipv6() == side.is_ipv6()) {
            let to = (primary, port.container_port);
            if port.host_ip.is_unspecified() {
                any.insert((port.protocol, port.host_port), to);
            } else {
                exact
                    .entry((port.host_ip, port.protocol, port.host_port))
                    .or_insert(to);
            }
        }
    }
    let to = |(address, port): (IpAddr, u16)| vec![Value::Address(address), Value::Port(port)];
    let map = |name: &'static str, key: &[Type], elements| Set {
        name: name.into(),
        key: key.to_vec(),
        to: Some(MapTo::Data(vec![side.address, Type::Port])),
        elements: Elements::Data(elements),
    };
    [
        map(
            "published",
            &[side.address, Type::Protocol, Type::Port],
            exact
                .into_iter()
                .map(|((address, protocol, port), target)| {
                    let key = vec![
                        Value::Address(address),
                        Value::Protocol(protocol),
                        Value::Port(port),
                    ];
                    (key, to(target))
                })
                .collect(),
        ),
        map(
            "published_any",
            &[Type::Protocol, Type::Port],
            any.into_iter()
                .map(|((protocol, port), target)| {
                    let key = vec![Value::Protocol(protocol), Value::Port(port)];
                    (key, to(target))
                })
                .collect(),
        ),
    ]
}

/// Before connection tracking, which would know these as answers.
fn wire_chain() -> Chain {
    use Statement::{Do, NotFrom, Within};
    let to_loopback = Within(Field::Destination, LOOPBACK.into());
    Chain::base(
        "wire",
        HookKind::Filter,
        HookPoint::Prerouting,
        -300,
        vec![vec![NotFrom("lo"), to_loopback, Do(Verdict::Drop)]],
    )
}

fn filter_chains(side: &Side) -> [Chain; 3] {
    use Field::{InInterface, OutInterface};
    use Statement::{Do, Established, In, Redirected};
    let accept = || Do(Verdict::Accept);
    let drop = || Do(Verdict::Drop);
    [
        Chain::base(
            "forward",
            HookKind::Filter,
            HookPoint::Forward,
            0,
            vec![
                vec![Established, accept()],
                vec![In(vec![InInterface, OutInterface], "inside"), accept()],
                vec![In(vec![InInterface], "internal"), drop()],
                vec![In(vec![OutInterface], "internal"), drop()],
                vec![In(vec![OutInterface], "bridges"), Redirected, accept()],
                vec![In(vec![OutInterface], "bridges"), drop()],
            ],
        ),
        Chain::base(
            "input",
            HookKind::Filter,
            HookPoint::Input,
            0,
            vec![vec![
                In(vec![InInterface], "internal"),
                Do(Verdict::Goto("from_internal".into())),
            ]],
        ),
        Chain::plain(
            "from_internal",
            vec![
                vec![Established, accept()],
                needed_of_host(side),
                vec![drop()],
            ],
        ),
    ]
}

/// What a container of an internal network may ask of the host.
fn needed_of_host(side: &Side) -> Rule {
    use Field::{Destination, DestinationPort, Icmp6Type, InInterface};
    use Statement::{Do, In, IsIcmp6};
    let accept = Do(Verdict::Accept);
    match side.is_ipv6() {
        true => vec![IsIcmp6, In(vec![Icmp6Type], "neighbours"), accept],
        false => vec![
            In(
                vec![InInterface, Destination, Field::Protocol, DestinationPort],
                "resolvers",
            ),
            accept,
        ],
    }
}

fn nat_chains(model: &Model<'_>, side: &Side) -> [Chain; 4] {
    use Field::{DestinationPort, OutInterface};
    use Statement::{Choose, Do, In, LocalDestination, Masquerade, OutBy, Redirect, Within};
    let local = || vec![LocalDestination, Do(Verdict::Goto("to_published".into()))];
    // What is sent to `::1` cannot be led away from it: the kernel drops the answers.
    let to_itself = vec![
        Within(side.destination, side.loopback()),
        Do(Verdict::Accept),
    ];
    let to_nodes = model.overlay.filter(|_| !side.is_ipv6());
    let sent = match side.is_ipv6() {
        true => vec![to_itself, local()],
        false => vec![local()],
    };
    [
        Chain::base(
            "prerouting",
            HookKind::Nat,
            HookPoint::Prerouting,
            -100,
            vec![local()],
        ),
        Chain::base("output", HookKind::Nat, HookPoint::Output, -100, sent),
        Chain::plain(
            "to_published",
            vec![
                vec![Redirect(
                    side.family,
                    vec![side.destination, Field::Protocol, DestinationPort],
                    "published",
                )],
                vec![Redirect(
                    side.family,
                    vec![Field::Protocol, DestinationPort],
                    "published_any",
                )],
            ],
        ),
        Chain::base(
            "postrouting",
            HookKind::Nat,
            HookPoint::Postrouting,
            100,
            [
                Some(vec![Choose(vec![OutInterface], "staying")]),
                // Containers of other nodes see each other with their own addresses.
                to_nodes.map(|overlay| vec![OutBy(overlay.interface()), Do(Verdict::Accept)]),
                Some(vec![In(vec![side.source], "outgoing"), Masquerade]),
            ]
            .into_iter()
            .flatten()
            .collect(),
        ),
    ]
}

/// What happens to the source of packets that enter a network's bridge from above.
fn stay_chain(network: &Network, side: &Side) -> Chain {
    use Statement::{Do, Masquerade, Redirected, Within};
    let mut rules = Vec::new();
    if !side.is_ipv6() {
        rules.push(vec![Within(side.source, side.loopback()), Masquerade]);
    }
    if let Some(subnet) = (side.subnet)(network) {
        let own = Within(side.source, subnet);
        rules.push(vec![own.clone(), Redirected, Masquerade]);
        rules.push(vec![own, Do(Verdict::Accept)]);
    }
    Chain::plain(&stay_name(network), rules)
}

fn stay_name(network: &Network) -> String {
    format!("stay_{}", network.bridge)
}

/// Frames from containers' interfaces carry the addresses that the container was given.
fn bridge_table(model: &Model<'_>) -> Table {
    let held = || {
        model
            .sandboxes
            .values()
            .filter(|sandbox| !sandbox.forwards)
            .flat_map(|sandbox| &sandbox.endpoints)
    };
    let own = |name, address, wanted: fn(&IpAddr) -> bool| {
        let entries = held().flat_map(|endpoint| {
            let addresses = endpoint.addresses().into_iter().map(|(address, _)| address);
            addresses
                .filter(wanted)
                .map(|address| own_entry(endpoint, address))
        });
        keys(
            name,
            &[Type::Interface, Type::Mac, address],
            entries.collect(),
        )
    };
    let with_ipv6 = model
        .networks
        .values()
        .any(|network| network.ipv6.is_some());
    let mut sets = vec![
        keys(
            "held",
            &[Type::Interface],
            held()
                .map(|endpoint| vec![Value::Interface(endpoint.veth.clone())])
                .collect(),
        ),
        own("own", Type::Address, IpAddr::is_ipv4),
    ];
    let mut chains = vec![held_chain(), hold_chain(with_ipv6)];
    if with_ipv6 {
        sets.push(own("own6", Type::Address6, IpAddr::is_ipv6));
        sets.push(spoken());
        chains.extend(hold6_chains());
    }
    Table {
        family: Family::Bridge,
        name: model.table.to_owned(),
        sets,
        chains,
    }
}

fn own_entry(endpoint: &Endpoint, address: IpAddr) -> Vec<Value> {
    vec![
        Value::Interface(endpoint.veth.clone()),
        Value::Mac(endpoint.mac),
        Value::Address(address),
    ]
}

fn held_chain() -> Chain {
    use Statement::{Do, In};
    Chain::base(
        "wire",
        HookKind::Filter,
        HookPoint::Prerouting,
        -300,
        vec![vec![
            In(vec![Field::InInterface], "held"),
            Do(Verdict::Goto("hold".into())),
        ]],
    )
}

fn hold_chain(with_ipv6: bool) -> Chain {
    use Field::{ArpSource, ArpSourceMac, InInterface, Source, Source6, SourceMac};
    use Statement::{Carries, Do, In};
    let own = |fields| In(fields, "own");
    let mut rules = vec![
        vec![
            Carries(Frame::Ip),
            own(vec![InInterface, SourceMac, Source]),
            Do(Verdict::Accept),
        ],
        vec![
            Carries(Frame::Arp),
            own(vec![InInterface, SourceMac, ArpSource]),
            own(vec![InInterface, ArpSourceMac, ArpSource]),
            Do(Verdict::Accept),
        ],
    ];
    if with_ipv6 {
        rules.push(vec![
            Carries(Frame::Ip6),
            In(vec![InInterface, SourceMac, Source6], "own6"),
            Do(Verdict::Goto("hold6".into())),
        ]);
    }
    rules.push(vec![Do(Verdict::Drop)]);
    Chain::plain("hold", rules)
}

/// What becomes of messages that say something about a neighbour.
fn spoken() -> Set {
    let key = |message| vec![Value::Icmp6(message)];
    Set {
        name: "spoken".into(),
        key: vec![Type::Icmp6],
        to: Some(MapTo::Verdict),
        elements: Elements::Verdicts(vec![
            (key(Icmp6::RouterAdvertisement), Verdict::Drop),
            (
                key(Icmp6::NeighbourAdvertisement),
                Verdict::Goto("about_itself".into()),
            ),
            (key(Icmp6::Redirect), Verdict::Drop),
        ]),
    }
}

fn hold6_chains() -> [Chain; 2] {
    use Field::{Icmp6Target, Icmp6Type, InInterface, SourceMac};
    use Statement::{Choose, Do, In, IsIcmp6};
    [
        Chain::plain(
            "hold6",
            vec![
                vec![IsIcmp6, Choose(vec![Icmp6Type], "spoken")],
                vec![Do(Verdict::Accept)],
            ],
        ),
        Chain::plain(
            "about_itself",
            vec![
                vec![
                    In(vec![InInterface, SourceMac, Icmp6Target], "own6"),
                    Do(Verdict::Accept),
                ],
                vec![Do(Verdict::Drop)],
            ],
        ),
    ]
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::address::Mac;
    use crate::model::{Endpoint, Ipv6Place, Plan, PublishedPort};

    fn id(digit: char) -> Id {
        digit.to_string().repeat(64).parse().unwrap()
    }

    fn network(digit: char, name: &str, third: u8, internal: bool) -> Network {
        Network {
            id: id(digit),
            name: name.parse().unwrap(),
            internal,
            subnet: Subnet::literal([10, 0, third, 0], 24),
            ip_range: None,
            gateway: Ipv4Addr::new(10, 0, third, 1),
            mtu: 1500,
            bridge: format!("orc-{name}"),
            masquerade: true,
            ipv6: None,
            reserved: vec![],
            isolated: false,
            host_ip: None,
        }
    }

    /// The same with addresses of `fd00:<third>::/64`.
    fn with_ipv6(mut network: Network, third: u16) -> Network {
        let base = Ipv6Addr::new(0xfd00, third, 0, 0, 0, 0, 0, 0);
        network.ipv6 = Some(Plan {
            subnet: Subnet::of(base, 64).unwrap(),
            ip_range: None,
            gateway: Ipv6Addr::new(0xfd00, third, 0, 0, 0, 0, 0, 1),
        });
        network
    }

    fn sandbox(digit: char, on: &[&Network], host: u8, ports: Vec<PublishedPort>) -> Sandbox {
        let endpoint = |network: &&Network| {
            let [a, b, c, _] = network.gateway.octets();
            let address = Ipv4Addr::new(a, b, c, host);
            Endpoint {
                network: network.id.clone(),
                interface: "eth0".into(),
                veth: format!("veth{digit}{c}"),
                address,
                prefix: 24,
                gateway: (!network.internal).then_some(network.gateway),
                resolver: network.gateway,
                mac: Mac::from_address(address),
                names: vec![],
                ipv6: network.ipv6.map(|plan| Ipv6Place {
                    address: Ipv6Addr::from_bits(
                        plan.subnet.address().to_bits() | u128::from(host),
                    ),
                    prefix: 64,
                    gateway: (!network.internal).then_some(plan.gateway),
                }),
                link_local: vec![],
                links: vec![],
            }
        };
        Sandbox {
            container: id(digit),
            name: "c".parse().unwrap(),
            namespace: "/x".into(),
            endpoints: on.iter().map(endpoint).collect(),
            ports,
            dns: vec![],
            forwards: false,
            relayed: vec![],
        }
    }

    fn text(networks: Vec<Network>, sandboxes: Vec<Sandbox>) -> String {
        let resolvers = networks
            .iter()
            .map(|network| (network.id.clone(), 26053))
            .collect();
        let networks = networks
            .into_iter()
            .map(|network| (network.id.clone(), network))
            .collect();
        let sandboxes = sandboxes
            .into_iter()
            .map(|sandbox| (sandbox.container.clone(), sandbox))
            .collect();
        let model = Model {
            table: "orc",
            networks: &networks,
            sandboxes: &sandboxes,
            resolvers: &resolvers,
            bridge_filter: true,
            overlay: None,
        };
        render(&model).to_string()
    }

    #[test]
    fn no_network_needs_no_rules() {
        assert_eq!(text(vec![], vec![]), "");
    }

    /// The text of these rules was compared with what `nft list ruleset` shows of them in the
    /// kernel. A change here is a change of who reaches whom.
    #[test]
    fn two_networks_and_two_containers() {
        let front = network('a', "front", 0, false);
        let inner = network('b', "inner", 1, true);
        let port = |host_ip: [u8; 4], host_port, protocol| PublishedPort {
            host_ip: IpAddr::from(host_ip),
            host_port,
            container_port: 80,
            protocol,
        };
        let ports = vec![
            port([0; 4], 5000, Protocol::Tcp),
            port([127, 0, 0, 1], 5001, Protocol::Udp),
        ];
        let web = sandbox('c', &[&inner, &front], 2, ports);
        // It has no way out, so nothing leads to it.
        let vault = sandbox('d', &[&inner], 3, vec![port([0; 4], 6000, Protocol::Tcp)]);
        let mut router = sandbox('e', &[&front], 4, vec![]);
        router.forwards = true;
        let expected = include_str!("tests/rules.golden.nft");
        let actual = text(vec![front, inner], vec![web, vault, router]);
        assert!(actual == expected, "the rules are now:\n{actual}");
    }

    /// The same with IPv6: what it adds.
    #[test]
    fn networks_with_ipv6() {
        let front = with_ipv6(network('a', "front", 0, false), 1);
        let inner = with_ipv6(network('b', "inner", 1, true), 2);
        let four = network('9', "four", 2, false);
        let port = |host_ip: &str, host_port| PublishedPort {
            host_ip: host_ip.parse().unwrap(),
            host_port,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let ports = vec![
            port("0.0.0.0", 5000),
            port("::", 5000),
            port("fd00::7", 5001),
        ];
        let mut web = sandbox('c', &[&four, &front], 2, ports);
        web.endpoints[1].link_local = vec!["fe80::7".parse().unwrap()];
        // It has no way out, so nothing leads to it.
        let vault = sandbox('d', &[&inner], 3, vec![port("::", 6000)]);
        let mut router = sandbox('e', &[&front], 4, vec![]);
        router.forwards = true;
        let expected = include_str!("tests/rules6.golden.nft");
        let actual = text(vec![front, inner, four], vec![web, vault, router]);
        assert!(actual == expected, "the rules are now:\n{actual}");
    }

    #[test]
    fn an_isolated_networks_containers_are_outside_to_each_other() {
        let mut front = network('a', "front", 0, false);
        let together = "\"orc-front\" . \"orc-front\"";
        assert!(text(vec![front.clone()], vec![]).contains(together));
        front.isolated = true;
        assert!(!text(vec![front], vec![]).contains(together));
    }

    #[test]
    fn rules_do_not_grow_with_containers() {
        let front = network('a', "front", 0, false);
        let rules = |count: u8| {
            let sandboxes = (0..count)
                .map(|number| {
                    let mut sandbox = sandbox('c', &[&front], number + 2, vec![]);
                    sandbox.container = Id::random();
                    sandbox
                })
                .collect();
            let text = text(vec![front.clone()], sandboxes);
            text.split("chain wire").skip(1).collect::<String>()
        };
        let without_elements = |text: String| -> Vec<String> {
            text.lines()
                .filter(|line| !line.contains("veth"))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(without_elements(rules(1)), without_elements(rules(100)));
    }

    #[test]
    fn a_network_without_masquerade_is_seen_as_it_is() {
        let mut front = network('a', "front", 0, false);
        let masqueraded = "elements = { 10.0.0.0/24 }";
        assert!(text(vec![front.clone()], vec![]).contains(masqueraded));
        front.masquerade = false;
        assert!(!text(vec![front], vec![]).contains(masqueraded));
    }
}
