//! Turns networks and the containers on them into one nftables ruleset.
//!
//! Pure: same model, same rules. Packets are matched by sets and maps, so their cost does not grow
//! with containers and ports. What holds:
//!
//! - Nothing from outside reaches a container but answers and published ports, whatever routes a
//!   neighbour on the wire adds; containers of different networks are outside to each other.
//! - A published port answers on local addresses only (`fib daddr type local`), and one on
//!   127.0.0.1 to this host only: nothing for 127.0.0.0/8 comes in by a wire.
//! - The client's address is kept, but for this host by 127.0.0.1 and for a container that reaches
//!   its own network by the host: the answers of these would not come back.
//! - Internal networks send nothing out and reach nothing of the host but their DNS server.
//! - A container sends with its own addresses only, unless it forwards for others.
//!
//! What other tables do is theirs: all chains accept what they do not drop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use orc_base::Id;

use crate::address::Subnet;
use crate::model::{Network, Protocol, Sandbox};
use crate::ruleset::{
    Chain, Elements, Family, Field, Frame, Hook, HookKind, HookPoint, MapTo, Rule, Ruleset, Set,
    Statement, Table, Type, Value, Verdict,
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
}

/// The rules for all networks and sandboxes; no table at all when there is no network.
pub(crate) fn render(model: &Model<'_>) -> Ruleset {
    if model.networks.is_empty() {
        return Ruleset::default();
    }
    let mut tables = vec![ip_table(model)];
    if model.bridge_filter {
        tables.push(bridge_table(model));
    }
    Ruleset { tables }
}

fn ip_table(model: &Model<'_>) -> Table {
    let (mut sets, mut chains) = (Vec::new(), Vec::new());
    sets.extend(network_sets(model));
    sets.extend(published_maps(model));
    chains.extend(filter_chains());
    chains.extend(nat_chains());
    chains.extend(model.networks.values().map(stay_chain));
    Table {
        family: Family::Ip,
        name: model.table.to_owned(),
        sets,
        chains,
    }
}

fn network_sets(model: &Model<'_>) -> [Set; 6] {
    let networks = || model.networks.values();
    let bridge = |network: &Network| Value::Interface(network.bridge.clone());
    let keys = |name, key: &[Type], keys: Vec<Vec<Value>>| Set {
        name,
        key: key.to_vec(),
        to: None,
        elements: Elements::Keys(keys),
    };
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
                .map(|network| vec![bridge(network), bridge(network)])
                .collect(),
        ),
        Set {
            name: "outgoing",
            key: vec![Type::Address],
            to: None,
            elements: Elements::Subnets(sorted(outgoing.map(|network| network.subnet))),
        },
        keys(
            "resolvers",
            &[Type::Interface, Type::Address, Type::Protocol, Type::Port],
            resolvers(model)
                .map(|(network, protocol, port)| {
                    vec![
                        bridge(network),
                        Value::Address(network.gateway),
                        Value::Protocol(protocol),
                        Value::Port(port),
                    ]
                })
                .collect(),
        ),
        Set {
            name: "staying",
            key: vec![Type::Interface],
            to: Some(MapTo::Verdict),
            elements: Elements::Verdicts(
                networks()
                    .map(|network| (vec![bridge(network)], Verdict::Jump(stay_name(network))))
                    .collect(),
            ),
        },
    ]
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
fn published_maps(model: &Model<'_>) -> [Set; 2] {
    let mut exact = BTreeMap::new();
    let mut any = BTreeMap::new();
    for (network, protocol, port) in resolvers(model) {
        exact.insert(
            (network.gateway, protocol, DNS_PORT),
            (network.gateway, port),
        );
    }
    for sandbox in model.sandboxes.values() {
        let Some(primary) = sandbox.primary() else {
            continue;
        };
        for port in &sandbox.ports {
            let to = (primary.address, port.container_port);
            if port.host_ip.is_unspecified() {
                any.insert((port.protocol, port.host_port), to);
            } else {
                exact
                    .entry((port.host_ip, port.protocol, port.host_port))
                    .or_insert(to);
            }
        }
    }
    let to = |(address, port): (Ipv4Addr, u16)| vec![Value::Address(address), Value::Port(port)];
    let map = |name, key: &[Type], elements| Set {
        name,
        key: key.to_vec(),
        to: Some(MapTo::Data(vec![Type::Address, Type::Port])),
        elements: Elements::Data(elements),
    };
    [
        map(
            "published",
            &[Type::Address, Type::Protocol, Type::Port],
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

fn filter_chains() -> [Chain; 4] {
    use Field::{Destination, DestinationPort, InInterface, OutInterface};
    use Statement::{Do, Established, In, NotFrom, Redirected, Within};
    let accept = || Do(Verdict::Accept);
    let drop = || Do(Verdict::Drop);
    [
        // Before connection tracking, which would know these as answers.
        base(
            "wire",
            HookKind::Filter,
            HookPoint::Prerouting,
            -300,
            vec![vec![NotFrom("lo"), Within(Destination, LOOPBACK), drop()]],
        ),
        base(
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
        base(
            "input",
            HookKind::Filter,
            HookPoint::Input,
            0,
            vec![vec![
                In(vec![InInterface], "internal"),
                Do(Verdict::Goto("from_internal".into())),
            ]],
        ),
        plain(
            "from_internal",
            vec![
                vec![Established, accept()],
                vec![
                    In(
                        vec![InInterface, Destination, Field::Protocol, DestinationPort],
                        "resolvers",
                    ),
                    accept(),
                ],
                vec![drop()],
            ],
        ),
    ]
}

fn nat_chains() -> [Chain; 4] {
    use Field::{Destination, DestinationPort, OutInterface, Source};
    use Statement::{Choose, Do, In, LocalDestination, Masquerade, Redirect};
    let local = || {
        vec![vec![
            LocalDestination,
            Do(Verdict::Goto("to_published".into())),
        ]]
    };
    [
        base(
            "prerouting",
            HookKind::Nat,
            HookPoint::Prerouting,
            -100,
            local(),
        ),
        base("output", HookKind::Nat, HookPoint::Output, -100, local()),
        plain(
            "to_published",
            vec![
                vec![Redirect(
                    vec![Destination, Field::Protocol, DestinationPort],
                    "published",
                )],
                vec![Redirect(
                    vec![Field::Protocol, DestinationPort],
                    "published_any",
                )],
            ],
        ),
        base(
            "postrouting",
            HookKind::Nat,
            HookPoint::Postrouting,
            100,
            vec![
                vec![Choose(vec![OutInterface], "staying")],
                vec![In(vec![Source], "outgoing"), Masquerade],
            ],
        ),
    ]
}

/// What happens to the source of packets that enter a network's bridge from above.
fn stay_chain(network: &Network) -> Chain {
    use Statement::{Do, Masquerade, Redirected, Within};
    let own = Within(Field::Source, network.subnet);
    plain(
        &stay_name(network),
        vec![
            vec![Within(Field::Source, LOOPBACK), Masquerade],
            vec![own.clone(), Redirected, Masquerade],
            vec![own, Do(Verdict::Accept)],
        ],
    )
}

fn stay_name(network: &Network) -> String {
    format!("stay_{}", network.bridge)
}

/// Frames from containers' interfaces carry the addresses that the container was given.
fn bridge_table(model: &Model<'_>) -> Table {
    use Field::{ArpSource, ArpSourceMac, InInterface, Source, SourceMac};
    use Statement::{Carries, Do, In};
    let held = || {
        model
            .sandboxes
            .values()
            .filter(|sandbox| !sandbox.forwards)
            .flat_map(|sandbox| &sandbox.endpoints)
    };
    let sets = vec![
        Set {
            name: "held",
            key: vec![Type::Interface],
            to: None,
            elements: Elements::Keys(
                held()
                    .map(|endpoint| vec![Value::Interface(endpoint.veth.clone())])
                    .collect(),
            ),
        },
        Set {
            name: "own",
            key: vec![Type::Interface, Type::Mac, Type::Address],
            to: None,
            elements: Elements::Keys(
                held()
                    .map(|endpoint| {
                        vec![
                            Value::Interface(endpoint.veth.clone()),
                            Value::Mac(endpoint.mac),
                            Value::Address(endpoint.address),
                        ]
                    })
                    .collect(),
            ),
        },
    ];
    let own = |fields| In(fields, "own");
    let chains = vec![
        base(
            "wire",
            HookKind::Filter,
            HookPoint::Prerouting,
            -300,
            vec![vec![
                In(vec![InInterface], "held"),
                Do(Verdict::Goto("hold".into())),
            ]],
        ),
        plain(
            "hold",
            vec![
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
                vec![Do(Verdict::Drop)],
            ],
        ),
    ];
    Table {
        family: Family::Bridge,
        name: model.table.to_owned(),
        sets,
        chains,
    }
}

fn base(name: &str, kind: HookKind, point: HookPoint, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain {
        name: name.to_owned(),
        hook: Some(Hook {
            kind,
            point,
            priority,
        }),
        rules,
    }
}

fn plain(name: &str, rules: Vec<Rule>) -> Chain {
    Chain {
        name: name.to_owned(),
        hook: None,
        rules,
    }
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Mac;
    use crate::model::{Endpoint, PublishedPort};

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
        }
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
            host_ip: host_ip.into(),
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
