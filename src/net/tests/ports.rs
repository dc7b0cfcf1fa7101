//! Published ports: who reaches them, and as whom.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use orc_base::Kind;

use super::lab::{MACHINE, NEIGHBOUR, ask, inside_of, is_silent, on_a_machine, tcp, udp, until};
use crate::model::{PortRange, PortSpec, Protocol};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Port `host` of the machine, at one address or all, to port 80, by both protocols.
fn both(host_ip: Option<Ipv4Addr>, host: u16) -> Vec<PortSpec> {
    [Protocol::Tcp, Protocol::Udp]
        .map(|protocol| PortSpec {
            host_ip: host_ip.map(IpAddr::V4),
            host_port: Some(PortRange::one(host).unwrap()),
            container_port: 80,
            protocol,
        })
        .to_vec()
}

#[test]
fn a_port_is_reached_from_everywhere() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let (front, back) = (lab.network("front"), lab.network("back"));
        let web = lab.published("web", &[&front], both(None, 5000));
        let peer = lab.container("peer", &[&front]);
        let other = lab.container("other", &[&back]);
        lab.serve(&web.namespace, "web", 80);
        let machine = lab.machine();

        // The host itself, by the loopback, by its address on the wire and by its bridges'.
        for address in [
            LOOPBACK,
            Ipv4Addr::new(127, 9, 9, 9),
            MACHINE,
            front.gateway,
            back.gateway,
        ] {
            assert!(
                tcp(&machine, address, 5000).starts_with("web tcp"),
                "{address}"
            );
            assert!(
                udp(&machine, address, 5000).starts_with("web udp"),
                "{address}"
            );
        }
        // Another machine, whose address is kept.
        assert_eq!(
            tcp(&neighbour, MACHINE, 5000),
            format!("web tcp {NEIGHBOUR}")
        );
        assert_eq!(
            udp(&neighbour, MACHINE, 5000),
            format!("web udp {NEIGHBOUR}")
        );
        // Containers of the same network, of another one, and the container itself.
        for client in [&peer, &other, &web] {
            for address in [MACHINE, front.gateway] {
                let place = &client.namespace;
                assert!(
                    tcp(place, address, 5000).starts_with("web tcp"),
                    "{}",
                    client.name
                );
                assert!(
                    udp(place, address, 5000).starts_with("web udp"),
                    "{}",
                    client.name
                );
            }
        }
    });
}

#[test]
fn a_port_of_one_address_answers_there_only() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let front = lab.network("front");
        let web = lab.published("web", &[&front], both(Some(MACHINE), 5000));
        let db = lab.published("db", &[&front], both(Some(LOOPBACK), 5000));
        lab.serve(&web.namespace, "web", 80);
        lab.serve(&db.namespace, "db", 80);
        let machine = lab.machine();
        assert!(tcp(&machine, MACHINE, 5000).starts_with("web"));
        assert!(tcp(&machine, LOOPBACK, 5000).starts_with("db"));
        assert!(udp(&machine, LOOPBACK, 5000).starts_with("db"));
        assert!(tcp(&neighbour, MACHINE, 5000).starts_with("web"));
        assert!(is_silent(&machine, front.gateway, 5000));
    });
}

#[test]
fn a_network_may_say_where_its_ports_are() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let front = lab.network_with("front", |spec| {
            spec.host_ip = Some(LOOPBACK);
            spec.ipv6 = Some(crate::model::Ipv6Spec::default());
        });
        let mut ports = both(None, 5000);
        ports.extend(both(Some(MACHINE), 5001));
        let web = lab.published("web", &[&front], ports);
        lab.serve(&web.namespace, "web", 80);
        assert!(tcp(&lab.machine(), LOOPBACK, 5000).starts_with("web"));
        assert!(is_silent(&lab.machine(), MACHINE, 5000));
        assert!(is_silent(&neighbour, MACHINE, 5000));
        // Whoever names an address means that one.
        assert!(tcp(&neighbour, MACHINE, 5001).starts_with("web"));
        let addresses: Vec<_> = web.ports.iter().map(|port| port.host_ip).collect();
        assert!(addresses.iter().all(IpAddr::is_ipv4), "{addresses:?}");
        assert!(web.relayed.is_empty());
    });
}

#[test]
fn the_wire_reaches_nothing_else() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let front = lab.network("front");
        let web = lab.published("web", &[&front], both(Some(LOOPBACK), 5000));
        lab.serve(&web.namespace, "web", 80);
        // The neighbour routes everything by this machine and, a thing only an enemy does, sends
        // 127.0.0.0/8 out too.
        inside_of(&neighbour, || {
            crate::netns::sysctl("net/ipv4/conf/all/route_localnet", "1")?;
            let mut routes = crate::route::Routes::open()?;
            let lo = routes.existing("lo")?.index;
            routes.apply(vec![crate::route::delete_address(lo, LOOPBACK, 8)])
        })
        .unwrap();
        let inside = web.endpoints[0].address;
        for (address, port) in [
            (inside, 80),
            (LOOPBACK, 5000),
            (LOOPBACK, 80),
            (MACHINE, 5000),
        ] {
            assert!(is_silent(&neighbour, address, port), "{address}:{port}");
        }
        // It is there, though.
        assert!(tcp(&lab.machine(), LOOPBACK, 5000).starts_with("web"));
        assert!(tcp(&lab.machine(), inside, 80).starts_with("web"));
        let all = std::fs::read_to_string("/proc/thread-self/net/route").unwrap();
        assert!(!all.is_empty());
        let value = std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/route_localnet").unwrap();
        assert_eq!(
            value.trim(),
            "0",
            "route_localnet must not be set for all interfaces"
        );
    });
}

#[test]
fn traffic_through_the_machine_is_left_alone() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let (front, back) = (lab.network("front"), lab.network("back"));
        let web = lab.published("web", &[&front], both(None, 5000));
        let client = lab.container("client", &[&back]);
        lab.serve(&web.namespace, "web", 80);
        // The same port of another machine is that machine's.
        lab.serve(&neighbour, "neighbour", 5000);
        for place in [&lab.machine(), &client.namespace] {
            assert!(tcp(place, NEIGHBOUR, 5000).starts_with("neighbour tcp"));
            assert!(udp(place, NEIGHBOUR, 5000).starts_with("neighbour udp"));
        }
        // And it sees the machine, not the container.
        let seen = tcp(&client.namespace, NEIGHBOUR, 5000);
        assert_eq!(seen, format!("neighbour tcp {MACHINE}"));
    });
}

#[test]
fn conflicts_name_the_owner_and_leave_nothing() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let web = lab.published("web-1", &[&front], both(None, 5000));
        let request = || {
            let mut request = lab.request("web-2", &[&front]);
            request.ports = both(Some(LOOPBACK), 5000);
            request
        };
        let error = lab.run(lab.net.attach(request())).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(
            error.to_string(),
            "port 5000/tcp on 127.0.0.1 is already published by container `web-1`"
        );
        assert_eq!(lab.net.sandboxes().len(), 1);

        // A process of the host's.
        let taken = UdpSocket::bind("0.0.0.0:6000").unwrap();
        let mut wish = request();
        wish.ports = both(None, 6000);
        let error = lab.run(lab.net.attach(wish)).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        let pid = format!("(pid {})", std::process::id());
        assert!(error.to_string().contains(&pid), "{error}");
        drop(taken);
        // The TCP port that was reserved first is free again.
        drop(std::net::TcpListener::bind("0.0.0.0:6000").unwrap());

        // Nobody else can have a published port, and once detached it is free.
        assert!(std::net::TcpListener::bind("0.0.0.0:5000").is_err());
        lab.run(lab.net.detach(&web.container)).unwrap();
        lab.run(lab.net.attach(request())).unwrap();
    });
}

#[test]
fn a_free_port_is_chosen() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let mut ports = both(None, 1);
        for port in &mut ports {
            port.host_port = None;
        }
        let web = lab.published("web", &[&front], ports);
        lab.serve(&web.namespace, "web", 80);
        assert!(tcp(&lab.machine(), LOOPBACK, web.ports[0].host_port).starts_with("web"));
        assert!(udp(&lab.machine(), LOOPBACK, web.ports[1].host_port).starts_with("web"));
    });
}

#[test]
fn port_53_of_the_host_can_be_a_containers() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let dns = lab.published("dns", &[&front], both(None, 53));
        lab.serve(&dns.namespace, "dns", 80);
        assert!(udp(&lab.machine(), LOOPBACK, 53).starts_with("dns"));
        assert!(tcp(&lab.machine(), LOOPBACK, 53).starts_with("dns"));
    });
}

#[test]
fn udp_clients_that_keep_talking_find_the_next_container() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let front = lab.network("front");
        // From outside and from the host itself, each with one socket for all its life.
        let clients: Vec<UdpSocket> = [(&neighbour, MACHINE), (&lab.machine(), LOOPBACK)]
            .map(|(place, server)| {
                inside_of(place, || {
                    let socket = UdpSocket::bind("0.0.0.0:0")?;
                    socket.set_read_timeout(Some(std::time::Duration::from_millis(200)))?;
                    socket.connect((server, 5000))?;
                    Ok(socket)
                })
                .unwrap()
            })
            .into();
        let answer = |client: &UdpSocket| ask(client).unwrap_or_default();
        // They begin before there is anybody to answer.
        assert!(clients.iter().all(|client| answer(client).is_empty()));
        for name in ["first", "second"] {
            // The first one's address stays taken, so the second one has another.
            let web = lab.published(name, &[&front], both(None, 5000));
            lab.container(&format!("beside-{name}"), &[&front]);
            lab.serve(&web.namespace, name, 80);
            for client in &clients {
                until("the client is led to the container", || {
                    answer(client).starts_with(name)
                });
            }
            lab.run(lab.net.detach(&web.container)).unwrap();
            lab.container(&format!("instead-of-{name}"), &[&front]);
        }
    });
}
