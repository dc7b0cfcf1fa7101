//! Services, and containers of other nodes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::Path;

use super::lab::{
    Lab, MACHINE, NEIGHBOUR, ask, inside_of, is_silent, on_a_machine, tcp, udp, until,
};
use crate::model::{Network, Protocol, Sandbox};
use crate::overlay::{OVERHEAD, Overlay, Peer};
use crate::route::{self, Routes};
use crate::services::Service;
use crate::{netns, nft, services};

const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 7);

fn endpoint(sandbox: &Sandbox) -> SocketAddrV4 {
    SocketAddrV4::new(sandbox.endpoints[0].address, 80)
}

fn service(protocol: Protocol, endpoints: &[&Sandbox]) -> Service {
    Service {
        addresses: vec![CLUSTER_IP],
        port: 8000,
        protocol,
        node_port: Some(30080),
        endpoints: endpoints.iter().map(|sandbox| endpoint(sandbox)).collect(),
        remembers_clients: false,
    }
}

fn set(lab: &Lab, services: Vec<Service>) {
    lab.run(lab.net.set_services(services)).unwrap();
}

/// How often each name answers a client in `place`.
fn answers(place: &Path, server: Ipv4Addr, port: u16, times: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let answer = tcp(place, server, port);
        let name = answer.split(' ').next().unwrap_or_default().to_owned();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// Whether a connection is refused at once, not left to wait.
fn is_refused(place: &Path, server: Ipv4Addr, port: u16) -> bool {
    let error = inside_of(place, || {
        let patience = std::time::Duration::from_secs(5);
        Ok(std::net::TcpStream::connect_timeout(&(server, port).into(), patience).map(drop)?)
    });
    error.is_err_and(|error| error.to_string().contains("refused"))
}

#[test]
fn endpoints_take_turns_and_go_at_once() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let machine = lab.machine();
        // As for every program: there must be a way before there can be a better one.
        let mut routes = Routes::open().unwrap();
        let wire = routes.existing("wire0").unwrap().index;
        routes
            .apply(vec![route::add_default_route(wire, NEIGHBOUR)])
            .unwrap();
        let front = lab.network("front");
        let (a, b) = (lab.container("a", &[&front]), lab.container("b", &[&front]));
        let client = lab.container("client", &[&front]);
        lab.serve(&a.namespace, "a", 80);
        lab.serve(&b.namespace, "b", 80);
        set(lab, vec![service(Protocol::Tcp, &[&a, &b])]);
        let even = BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 5)]);
        assert_eq!(answers(&machine, CLUSTER_IP, 8000, 10), even);
        assert_eq!(answers(&client.namespace, CLUSTER_IP, 8000, 10), even);
        // An endpoint that meets itself.
        assert_eq!(answers(&a.namespace, CLUSTER_IP, 8000, 10), even);
        for address in [MACHINE, front.gateway, Ipv4Addr::LOCALHOST] {
            assert_eq!(answers(&machine, address, 30080, 10), even, "{address}");
        }
        assert_eq!(answers(&neighbour, MACHINE, 30080, 10), even);
        // Its own address, since the endpoint is on this node.
        assert!(tcp(&neighbour, MACHINE, 30080).ends_with(&NEIGHBOUR.to_string()));
        assert!(
            is_refused(&client.namespace, CLUSTER_IP, 8001),
            "another port"
        );

        set(lab, vec![service(Protocol::Tcp, &[&b])]);
        let only = BTreeMap::from([("b".to_owned(), 4)]);
        assert_eq!(answers(&client.namespace, CLUSTER_IP, 8000, 4), only);
        set(lab, vec![service(Protocol::Tcp, &[])]);
        assert!(is_refused(&client.namespace, CLUSTER_IP, 8000));
        assert!(is_refused(&machine, CLUSTER_IP, 8000));
        assert!(is_refused(&neighbour, MACHINE, 30080));
        set(lab, vec![]);
        assert!(
            !nft::Nft::open()
                .unwrap()
                .table_exists(&services::table("orc"))
                .unwrap()
        );
    });
}

#[test]
fn a_service_may_remember_its_clients() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let all: Vec<Sandbox> = ["a", "b", "c", "d"]
            .map(|name| {
                let sandbox = lab.container(name, &[&front]);
                lab.serve(&sandbox.namespace, name, 80);
                sandbox
            })
            .into();
        let clients: Vec<Sandbox> = (0..12)
            .map(|n| lab.container(&format!("client{n}"), &[&front]))
            .collect();
        let met = |endpoints: &[&Sandbox]| -> Vec<String> {
            let mut service = service(Protocol::Tcp, endpoints);
            service.remembers_clients = true;
            set(lab, vec![service]);
            let one = |client: &Sandbox| {
                let met = answers(&client.namespace, CLUSTER_IP, 8000, 4);
                assert_eq!(met.len(), 1, "{met:?}");
                met.into_keys().next().unwrap()
            };
            clients.iter().map(one).collect()
        };
        let before = met(&all.iter().collect::<Vec<_>>());
        assert!(before.iter().any(|name| *name != before[0]), "{before:?}");
        let after = met(&all[1..].iter().collect::<Vec<_>>());
        for (before, after) in before.iter().zip(&after) {
            assert!(before == "a" || before == after, "{before} {after}");
        }
    });
}

#[test]
fn a_conversation_by_udp_finds_another_endpoint() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let (a, b) = (lab.container("a", &[&front]), lab.container("b", &[&front]));
        let client = lab.container("client", &[&front]);
        lab.serve(&a.namespace, "a", 80);
        lab.serve(&b.namespace, "b", 80);
        set(lab, vec![service(Protocol::Udp, &[&a])]);
        let socket = inside_of(&client.namespace, || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            socket.connect((CLUSTER_IP, 8000))?;
            socket.set_read_timeout(Some(std::time::Duration::from_millis(300)))?;
            Ok(socket)
        })
        .unwrap();
        let met = |name: &str| ask(&socket).is_ok_and(|answer| answer.starts_with(name));
        until("the endpoint answers", || met("a udp"));
        set(lab, vec![service(Protocol::Udp, &[&b])]);
        until("the other endpoint answers", || met("b udp"));
        assert!(udp(&client.namespace, CLUSTER_IP, 8000).starts_with("b udp"));
    });
}

/// What a node is in these tests: the third byte of its containers' addresses is its number.
fn overlay(own: u8, peers: &[(u8, Ipv4Addr)], address: Ipv4Addr) -> Overlay {
    let pods = |number: u8| format!("10.1.{number}.0/24").parse().unwrap();
    Overlay {
        vni: 4096,
        port: 4789,
        address,
        mtu: 1500 - OVERHEAD,
        cluster: "10.1.0.0/16".parse().unwrap(),
        own: pods(own),
        peers: peers
            .iter()
            .map(|(number, address)| Peer {
                address: *address,
                pods: pods(*number),
            })
            .collect(),
    }
}

fn pods(lab: &Lab, number: u8) -> Network {
    lab.network_with("pods", |spec| {
        spec.subnet = Some(format!("10.1.{number}.0/24").parse().unwrap());
        spec.mtu = Some(1500 - OVERHEAD);
    })
}

/// Two machines on one wire, as nodes 1 and 2.
fn on_two_nodes(test: impl FnOnce(&mut Lab, &mut Lab) + Send) {
    on_a_machine(|one| {
        on_a_machine(|two| {
            let there = netns::open(&two.machine()).unwrap();
            inside_of(&one.machine(), || {
                let mut routes = Routes::open()?;
                let inside = route::Inside {
                    namespace: there.as_fd(),
                    name: "wire0",
                    mac: "02:00:00:00:00:02".parse()?,
                };
                routes.apply(vec![
                    route::create_veth("wire0", 0, 1500, &inside),
                    route::set_up("wire0"),
                ])?;
                let index = routes.existing("wire0")?.index;
                routes.apply(vec![
                    route::add_address(index, MACHINE, 24),
                    route::add_default_route(index, NEIGHBOUR),
                ])
            })
            .unwrap();
            let mut routes = Routes::open().unwrap();
            let index = routes.existing("wire0").unwrap().index;
            routes
                .apply(vec![
                    route::set_up("wire0"),
                    route::add_address(index, NEIGHBOUR, 24),
                ])
                .unwrap();
            test(one, two);
        });
    });
}

#[test]
fn containers_of_two_nodes_reach_each_other() {
    on_two_nodes(|one, two| {
        let (here, there) = (pods(one, 1), pods(two, 2));
        let (a, b) = (one.container("a", &[&here]), two.container("b", &[&there]));
        one.serve(&a.namespace, "a", 80);
        two.serve(&b.namespace, "b", 80);
        let (to_a, to_b) = (a.endpoints[0].address, b.endpoints[0].address);
        assert!(is_silent(&a.namespace, to_b, 80));
        let set = |lab: &Lab, overlay| lab.run(lab.net.set_overlay(Some(overlay))).unwrap();
        set(one, overlay(1, &[(2, NEIGHBOUR)], MACHINE));
        set(two, overlay(2, &[(1, MACHINE)], NEIGHBOUR));
        // With their own addresses both ways, containers and nodes.
        assert_eq!(tcp(&a.namespace, to_b, 80), format!("b tcp {to_a}"));
        assert_eq!(udp(&b.namespace, to_a, 80), format!("a udp {to_b}"));
        assert!(tcp(&one.machine(), to_b, 80).starts_with("b tcp 10.1.1.0"));

        // A service with its only endpoint on the other node.
        let service = || vec![service(Protocol::Tcp, &[&b])];
        one.run(one.net.set_services(service())).unwrap();
        let meets_b = |place: &Path, server, port| tcp(place, server, port).starts_with("b tcp");
        assert!(tcp(&a.namespace, CLUSTER_IP, 8000).ends_with(&to_a.to_string()));
        assert!(meets_b(&one.machine(), CLUSTER_IP, 8000));
        assert!(meets_b(&one.machine(), Ipv4Addr::LOCALHOST, 30080));
        assert!(
            meets_b(&two.machine(), MACHINE, 30080),
            "from outside of node 1"
        );

        // Again, with another list, after the interface was deleted, and after a restart.
        set(one, overlay(1, &[(2, NEIGHBOUR)], MACHINE));
        assert!(meets_b(&a.namespace, to_b, 80));
        inside_of(&one.machine(), || {
            let mut routes = Routes::open()?;
            let link = routes.existing("orc-vx1000")?;
            routes.delete(&[link.index])
        })
        .unwrap();
        until("the overlay is back", || {
            inside_of(&one.machine(), || {
                Ok(Routes::open()?.link("orc-vx1000")?.is_some())
            })
            .unwrap()
        });
        assert!(meets_b(&a.namespace, to_b, 80));
        set(one, overlay(1, &[], MACHINE));
        assert!(is_silent(&a.namespace, to_b, 80));
        set(one, overlay(1, &[(2, NEIGHBOUR)], MACHINE));
        assert!(meets_b(&a.namespace, to_b, 80));
        one.run(one.net.set_overlay(None)).unwrap();
        let left = inside_of(&one.machine(), || Routes::open()?.link("orc-vx1000")).unwrap();
        assert_eq!(left, None);
    });
}
