//! Networks with IPv6: who reaches whom, by which address, and what a container cannot pretend.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use orc_base::{Kind, Result};

use super::lab::{
    Lab, MACHINE6, NEIGHBOUR6, ask, inside_of, is_silent, on_a_machine, tcp, udp, until,
};
use crate::address::Mac;
use crate::model::{EndpointSpec, Ipv6Spec, Network, PortRange, PortSpec, Protocol, Sandbox};
use crate::netns;
use crate::route::{self, Routes};

const LOOPBACK6: Ipv6Addr = Ipv6Addr::LOCALHOST;

fn with_ipv6(lab: &Lab, name: &str) -> Network {
    lab.network_with(name, |spec| spec.ipv6 = Some(Ipv6Spec::default()))
}

/// A container's IPv6 address on its first network.
fn at(sandbox: &Sandbox) -> Ipv6Addr {
    sandbox.endpoints[0].ipv6.unwrap().address
}

/// Port `host` of the machine, at one address or all, to port 80, by both protocols.
fn both(host_ip: Option<IpAddr>, host: u16) -> Vec<PortSpec> {
    [Protocol::Tcp, Protocol::Udp]
        .map(|protocol| PortSpec {
            host_ip,
            host_port: Some(PortRange::one(host).unwrap()),
            container_port: 80,
            protocol,
        })
        .to_vec()
}

fn only_tcp(host_ip: Option<IpAddr>, host: u16) -> Vec<PortSpec> {
    both(host_ip, host)[..1].to_vec()
}

/// A parameter of a link inside `place`.
fn parameter(place: &Path, link: &str, what: &str) -> String {
    let read = || Ok(netns::read_sysctl(&format!("net/ipv6/conf/{link}/{what}")));
    inside_of(place, read).unwrap().unwrap()
}

/// The global addresses of `eth0` in `place`, those without duplicate detection first.
fn global_addresses(place: &Path) -> Vec<IpAddr> {
    inside_of(place, || {
        let mut routes = Routes::open()?;
        let index = routes.existing("eth0")?.index;
        let all = routes.addresses()?.into_iter();
        Ok(all
            .filter(|(link, _, _)| *link == index)
            .map(|(_, address, _)| address)
            .filter(|address| matches!(address, IpAddr::V6(ip) if !ip.is_unicast_link_local()))
            .collect())
    })
    .unwrap()
}

#[test]
fn containers_reach_each_other_and_the_world() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let front = with_ipv6(lab, "front");
        let plan = front.ipv6.unwrap();
        assert_eq!(plan.subnet.prefix(), 64);
        assert_eq!(plan.subnet.address().octets()[0], 0xfd);
        let web = lab.container("web", &[&front]);
        let peer = lab.container("peer", &[&front]);
        for (place, name) in [(&web.namespace, "web"), (&neighbour, "neighbour")] {
            lab.serve6(place, name, 80);
        }
        lab.serve(&web.namespace, "web", 80);
        lab.serve6(&lab.machine(), "machine", 8080);
        // At once: no second of asking whether somebody else has the address.
        assert_eq!(
            tcp(&peer.namespace, at(&web), 80),
            format!("web tcp {}", at(&peer))
        );
        assert!(udp(&peer.namespace, at(&web), 80).starts_with("web udp"));
        assert!(tcp(&lab.machine(), at(&web), 80).starts_with("web"));
        assert!(tcp(&peer.namespace, plan.gateway, 8080).starts_with("machine"));
        // IPv4 is beside it.
        assert!(tcp(&peer.namespace, web.endpoints[0].address, 80).starts_with("web"));
        // Another machine sees this one, and reaches nothing by itself.
        let seen = tcp(&peer.namespace, NEIGHBOUR6, 80);
        assert_eq!(seen, format!("neighbour tcp {MACHINE6}"));
        assert!(is_silent(&neighbour, at(&web), 80));
    });
}

#[test]
fn a_network_that_does_not_masquerade_is_seen_as_it_is() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let front = lab.network_with("front", |spec| {
            spec.masquerade = false;
            spec.ipv6 = Some(Ipv6Spec {
                subnet: Some("2001:db8:1::/64".parse().unwrap()),
                ip_range: Some("2001:db8:1::8000/113".parse().unwrap()),
                gateway: Some("2001:db8:1::ff".parse().unwrap()),
            });
        });
        let web = lab.container("web", &[&front]);
        assert_eq!(at(&web).to_string(), "2001:db8:1::8000");
        lab.serve6(&neighbour, "neighbour", 80);
        let seen = tcp(&web.namespace, NEIGHBOUR6, 80);
        assert_eq!(seen, format!("neighbour tcp {}", at(&web)));
    });
}

#[test]
fn networks_are_apart() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let (front, back) = (with_ipv6(lab, "front"), with_ipv6(lab, "back"));
        let inner = lab.network_with("inner", |spec| {
            spec.internal = true;
            spec.ipv6 = Some(Ipv6Spec::default());
        });
        let web = lab.container("web", &[&front]);
        let db = lab.container("db", &[&back]);
        let vault = lab.container("vault", &[&inner]);
        let peer = lab.container("peer", &[&inner]);
        for sandbox in [&web, &db, &vault] {
            lab.serve6(&sandbox.namespace, &sandbox.name, 80);
        }
        lab.serve6(&neighbour, "neighbour", 80);
        lab.serve6(&lab.machine(), "machine", 8080);
        assert!(tcp(&peer.namespace, at(&vault), 80).starts_with("vault"));
        // The host finds and reaches those inside.
        assert!(tcp(&lab.machine(), at(&vault), 80).starts_with("vault"));
        assert!(tcp(&lab.machine(), at(&db), 80).starts_with("db"));
        assert!(is_silent(&web.namespace, at(&db), 80));
        assert!(is_silent(&db.namespace, at(&web), 80));
        assert!(is_silent(&web.namespace, at(&vault), 80));
        assert!(is_silent(&neighbour, at(&vault), 80));
        // Even with a route out, which it does not get from us.
        let gateway = inner.ipv6.unwrap().gateway;
        assert_eq!(vault.endpoints[0].ipv6.unwrap().gateway, None);
        inside_of(&vault.namespace, || {
            let mut routes = Routes::open()?;
            let index = routes.existing("eth0")?.index;
            routes.apply(vec![route::add_default_route(index, gateway)])
        })
        .unwrap();
        for (address, port) in [
            (NEIGHBOUR6, 80),
            (MACHINE6, 8080),
            (gateway, 8080),
            (at(&web), 80),
        ] {
            assert!(is_silent(&vault.namespace, address, port), "{address}");
        }
    });
}

#[test]
fn a_port_is_reached_by_both_families() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let (front, back) = (with_ipv6(lab, "front"), with_ipv6(lab, "back"));
        let web = lab.published("web", &[&front], both(None, 5000));
        let peer = lab.container("peer", &[&front]);
        let other = lab.container("other", &[&back]);
        lab.serve(&web.namespace, "web", 80);
        lab.serve6(&web.namespace, "web", 80);
        let places: Vec<_> = web.ports.iter().map(ToString::to_string).collect();
        assert_eq!(
            places,
            [
                "5000/tcp on 0.0.0.0",
                "5000/tcp on ::",
                "5000/udp on 0.0.0.0",
                "5000/udp on ::"
            ]
        );
        let machine = lab.machine();
        let gateway = front.ipv6.unwrap().gateway;
        for address in [MACHINE6, gateway] {
            assert!(
                tcp(&machine, address, 5000).starts_with("web tcp"),
                "{address}"
            );
            assert!(
                udp(&machine, address, 5000).starts_with("web udp"),
                "{address}"
            );
            // Containers of the same network, of another one, and the container itself.
            for client in [&peer, &other, &web] {
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
        // The host's own `::1` is answered by the daemon.
        assert!(tcp(&machine, LOOPBACK6, 5000).starts_with("web tcp"));
        assert!(udp(&machine, LOOPBACK6, 5000).starts_with("web udp"));
        // Another machine's address is kept.
        assert_eq!(
            tcp(&neighbour, MACHINE6, 5000),
            format!("web tcp {NEIGHBOUR6}")
        );
        assert_eq!(
            udp(&neighbour, MACHINE6, 5000),
            format!("web udp {NEIGHBOUR6}")
        );
        // Traffic to the same port of another machine is that machine's.
        lab.serve6(&neighbour, "neighbour", 5000);
        for place in [&machine, &other.namespace] {
            assert!(tcp(place, NEIGHBOUR6, 5000).starts_with("neighbour tcp"));
        }
        lab.run(lab.net.detach(&web.container)).unwrap();
        assert!(is_silent(&machine, LOOPBACK6, 5000));
        // All are free at once.
        lab.published("next", &[&front], both(None, 5000));
    });
}

#[test]
fn localhost_leads_to_containers_without_ipv6() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let front = lab.network("front");
        let mut ports = both(None, 5000);
        ports.extend(both(Some(Ipv4Addr::LOCALHOST.into()), 5001));
        ports.extend(both(Some(LOOPBACK6.into()), 5002));
        ports.extend(both(Some(MACHINE6.into()), 5003));
        let web = lab.published("web", &[&front], ports.clone());
        let machine = lab.machine();
        // Nobody is hung up on later than a port that nobody listens on.
        assert!(is_silent(&machine, LOOPBACK6, 5000));
        lab.serve(&web.namespace, "web", 80);
        let gateway = front.gateway;
        for (address, port) in [(LOOPBACK6, 5000), (LOOPBACK6, 5002), (MACHINE6, 5003)] {
            assert_eq!(tcp(&machine, address, port), format!("web tcp {gateway}"));
            assert_eq!(udp(&machine, address, port), format!("web udp {gateway}"));
        }
        // Who says 127.0.0.1 means it.
        assert!(is_silent(&machine, LOOPBACK6, 5001));
        // And nothing of `::1` is for the wire.
        assert!(is_silent(&neighbour, MACHINE6, 5000));
        assert!(is_silent(&neighbour, MACHINE6, 5002));
        assert!(tcp(&neighbour, MACHINE6, 5003).starts_with("web"));
        assert!(udp(&neighbour, MACHINE6, 5003).starts_with("web"));
        // It is so after a restart, with the sockets of the next daemon.
        let (networks, sandboxes) = (lab.net.networks(), lab.net.sandboxes());
        lab.restart();
        lab.run(lab.net.restore(networks, sandboxes)).unwrap();
        assert!(tcp(&machine, LOOPBACK6, 5000).starts_with("web"));
        assert!(udp(&machine, LOOPBACK6, 5000).starts_with("web"));
        // Once gone, the ports are free at once.
        lab.run(lab.net.detach(&web.container)).unwrap();
        lab.published("next", &[&front], ports);
        // The daemon would answer from some address of the host's, so nobody is told that it does.
        let mut wish = lab.request("udp", &[&front]);
        wish.ports = both(Some(Ipv6Addr::UNSPECIFIED.into()), 5009);
        let error = lab.run(lab.net.attach(wish)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    });
}

#[test]
fn many_clients_wait_their_turn() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let web = lab.published("web", &[&front], only_tcp(None, 5000));
        lab.serve(&web.namespace, "web", 80);
        let machine = lab.machine();
        // More than may be passed on at a time, all of them open: the last ones are in the queue.
        let held: Vec<_> = inside_of(&machine, || {
            Ok((0..600)
                .map_while(|_| std::net::TcpStream::connect((LOOPBACK6, 5000)).ok())
                .collect())
        })
        .unwrap();
        assert_eq!(held.len(), 600);
        drop(held);
        assert!(tcp(&machine, LOOPBACK6, 5000).starts_with("web"));
    });
}

#[test]
fn many_clients_send_datagrams_to_localhost() {
    on_a_machine(|lab| {
        let (front, back) = (lab.network("front"), lab.network("back"));
        let web = lab.published("web", &[&front, &back], both(None, 5000));
        lab.serve(&web.namespace, "web", 80);
        let client = || {
            inside_of(&lab.machine(), || {
                let socket = std::net::UdpSocket::bind((LOOPBACK6, 0))?;
                socket.connect((LOOPBACK6, 5000))?;
                socket.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
                Ok(socket)
            })
            .unwrap()
        };
        // More than are remembered at a time, and each hears what it asked for.
        let clients: Vec<_> = (0..600).map(|_| client()).collect();
        for client in &clients {
            assert_eq!(ask(client).unwrap(), format!("web udp {}", front.gateway));
        }
        // The first ones are forgotten by now, which they do not notice.
        for client in clients.iter().take(50) {
            assert!(ask(client).unwrap().starts_with("web udp"));
        }
        // So it is when the container's way out moves.
        lab.run(lab.net.disconnect(&web.container, &front.id))
            .unwrap();
        assert_eq!(
            ask(&clients[0]).unwrap(),
            format!("web udp {}", back.gateway)
        );
        lab.run(lab.net.detach(&web.container)).unwrap();
        inside_of(&lab.machine(), || {
            Ok(std::net::UdpSocket::bind((LOOPBACK6, 5000)).map(drop)?)
        })
        .expect("the port is free at once");
    });
}

#[test]
fn containers_send_with_their_own_addresses_only() {
    on_a_machine(|lab| {
        let front = with_ipv6(lab, "front");
        let server = lab.container("server", &[&front]);
        let liar = lab.container("liar", &[&front]);
        let router = {
            let mut request = lab.request("router", &[&front]);
            request.forwards = true;
            lab.run(lab.net.attach(request)).unwrap()
        };
        lab.serve6(&server.namespace, "server", 80);
        let server_at = at(&server);
        let heard = inside_of(&server.namespace, || {
            let socket = UdpSocket::bind("[::]:81")?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok(socket)
        })
        .unwrap();
        let false_address = |last: u16| {
            let mut segments = server_at.segments();
            segments[7] = last;
            Ipv6Addr::from(segments)
        };
        let speak_as = |sandbox: &Sandbox, last: u16| {
            // The way to the server is known from an honest question.
            assert!(udp(&sandbox.namespace, server_at, 80).starts_with("server"));
            inside_of(&sandbox.namespace, || {
                let mut routes = Routes::open()?;
                let index = routes.existing("eth0")?.index;
                let address = false_address(last);
                routes.apply(vec![route::add_address(index, address, 64)])?;
                let socket = UdpSocket::bind((address, 0))?;
                socket.send_to(b"hello", (server_at, 81))?;
                Ok(())
            })
            .unwrap();
            heard.recv_from(&mut [0; 16]).map(|(_, client)| client.ip())
        };
        assert!(speak_as(&liar, 0x77).is_err());
        assert_eq!(speak_as(&router, 0x78).unwrap(), false_address(0x78));
        // What it says to have and has not, nobody believes: not even an honest question finds it.
        let peer = lab.container("peer", &[&front]);
        lab.serve6(&liar.namespace, "liar", 80);
        assert!(is_silent(&peer.namespace, false_address(0x77), 80));
        assert!(tcp(&peer.namespace, at(&liar), 80).starts_with("liar"));
        // Another hardware address is as bad.
        inside_of(&liar.namespace, || {
            Routes::open()?.apply(vec![route::set_mac("eth0", "02:00:00:00:00:99".parse()?)])
        })
        .unwrap();
        assert!(is_silent(&liar.namespace, server_at, 80));
    });
}

/// A router advertisement (RFC 4861, 4.2) with a prefix to make addresses of, and no checksum: the
/// kernel fills it in.
fn advertisement() -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08];
    message.extend([0; 8]);
    message.extend([3, 4, 64, 0xc0]);
    message.extend(86_400_u32.to_be_bytes());
    message.extend(86_400_u32.to_be_bytes());
    message.extend([0; 4]);
    message.extend("2001:db8:bad::".parse::<Ipv6Addr>().unwrap().octets());
    message
}

/// Tells all on the wire of `eth0` that this is a router.
fn advertise(place: &Path) {
    let say = || -> Result<()> {
        let index = Routes::open()?.existing("eth0")?.index;
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET6,
            rustix::net::SocketType::RAW,
            Some(rustix::net::ipproto::ICMPV6),
        )?;
        // Others are not believed (RFC 4861, 6.1.2).
        rustix::net::sockopt::set_ipv6_multicast_hops(&socket, 255)?;
        let all: Ipv6Addr = "ff02::1".parse().unwrap();
        let to = std::net::SocketAddrV6::new(all, 0, 0, index);
        for _ in 0..3 {
            let flags = rustix::net::SendFlags::empty();
            rustix::net::sendto(&socket, &advertisement(), flags, &to)?;
        }
        Ok(())
    };
    inside_of(place, say).unwrap();
}

#[test]
fn nobody_believes_a_router() {
    on_a_machine(|lab| {
        let front = with_ipv6(lab, "front");
        let liar = lab.container("liar", &[&front]);
        let mut request = lab.request("router", &[&front]);
        request.forwards = true;
        let router = lab.run(lab.net.attach(request)).unwrap();
        // One that would listen, so that the test can fail.
        let gullible = lab.container("gullible", &[&front]);
        inside_of(&gullible.namespace, || {
            netns::sysctl("net/ipv6/conf/eth0/accept_ra", "2")?;
            netns::sysctl("net/ipv6/conf/eth0/addr_gen_mode", "0")
        })
        .unwrap();
        let own = vec![IpAddr::V6(at(&gullible))];
        assert_eq!(global_addresses(&gullible.namespace), own);
        advertise(&liar.namespace);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(global_addresses(&gullible.namespace), own);
        // A router may be one, and then this listens.
        advertise(&router.namespace);
        until("an advertisement arrives", || {
            global_addresses(&gullible.namespace).len() == 2
        });
        // All others do not, neither containers nor the host.
        assert_eq!(global_addresses(&liar.namespace), [IpAddr::V6(at(&liar))]);
        let bridge = Routes::open().unwrap().existing(&front.bridge).unwrap();
        let strange: Vec<_> = Routes::open()
            .unwrap()
            .addresses()
            .unwrap()
            .into_iter()
            .filter(|(link, address, _)| *link == bridge.index && address.is_ipv6())
            .map(|(_, address, _)| address)
            .collect();
        let link_local = Mac::from_address(front.gateway).link_local();
        let gateway = front.ipv6.unwrap().gateway;
        assert_eq!(strange.len(), 2, "{strange:?}");
        assert!(strange.contains(&gateway.into()) && strange.contains(&link_local.into()));
        for what in ["accept_ra", "disable_ipv6"] {
            assert_eq!(parameter(&lab.machine(), &front.bridge, what), "0");
        }
    });
}

#[test]
fn links_that_heed_routers_still_do() {
    on_a_machine(|lab| {
        let _neighbour = lab.neighbour();
        let machine = lab.machine();
        let set = |what: &str, value| {
            inside_of(&machine, || {
                netns::sysctl(&format!("net/ipv6/conf/{what}"), value)
            })
            .unwrap();
        };
        set("wire0/accept_ra", "1");
        set("lo/accept_ra", "0");
        assert_eq!(parameter(&machine, "all", "forwarding"), "0");
        // A network without IPv6 changes nothing.
        lab.network("four");
        assert_eq!(parameter(&machine, "all", "forwarding"), "0");
        assert_eq!(parameter(&machine, "wire0", "accept_ra"), "1");
        let front = with_ipv6(lab, "front");
        assert_eq!(parameter(&machine, "all", "forwarding"), "1");
        assert_eq!(parameter(&machine, "wire0", "accept_ra"), "2");
        assert_eq!(parameter(&machine, "lo", "accept_ra"), "0");
        assert_eq!(parameter(&machine, &front.bridge, "accept_ra"), "0");
    });
}

#[test]
fn addresses_can_be_asked_for() {
    on_a_machine(|lab| {
        let front = lab.network_with("front", |spec| {
            spec.ipv6 = Some(Ipv6Spec {
                subnet: Some("fd00:7::/64".parse().unwrap()),
                ..Ipv6Spec::default()
            });
        });
        let mut request = lab.request("web", &[&front]);
        request.endpoints[0].ipv6 = Some("fd00:7::99".parse().unwrap());
        request.endpoints[0].link_local =
            vec!["169.254.8.8".parse().unwrap(), "fe80::8".parse().unwrap()];
        request.endpoints[0].mac = Some("02:00:00:00:00:77".parse().unwrap());
        request.endpoints[0].interface = Some("lan0".into());
        let web = lab.run(lab.net.attach(request)).unwrap();
        let peer = {
            let mut request = lab.request("peer", &[&front]);
            request.endpoints[0].link_local = vec!["169.254.8.9".parse().unwrap()];
            lab.run(lab.net.attach(request)).unwrap()
        };
        lab.serve(&web.namespace, "web", 80);
        lab.serve6(&web.namespace, "web", 80);
        assert!(tcp(&peer.namespace, at(&web), 80).starts_with("web"));
        let seen = tcp(
            &peer.namespace,
            "169.254.8.8".parse::<IpAddr>().unwrap(),
            80,
        );
        assert_eq!(seen, "web tcp 169.254.8.9");
        let listed = inside_of(&web.namespace, || {
            let mut routes = Routes::open()?;
            let index = routes.existing("lan0")?.index;
            let all = routes.addresses()?.into_iter();
            let own = all.filter(|(link, _, _)| *link == index);
            Ok(own
                .map(|(_, address, prefix)| format!("{address}/{prefix}"))
                .collect::<Vec<_>>())
        })
        .unwrap();
        for wanted in [
            "fd00:7::99/64",
            "fe80::ff:fe00:77/64",
            "fe80::8/64",
            "169.254.8.8/16",
        ] {
            assert!(
                listed.iter().any(|text| text == wanted),
                "{wanted}: {listed:?}"
            );
        }
    });
}

#[test]
fn ipv6_comes_and_goes_with_a_network() {
    on_a_machine(|lab| {
        let (four, six) = (lab.network("four"), with_ipv6(lab, "six"));
        let web = lab.published("web", &[&four], only_tcp(None, 5000));
        let peer = lab.container("peer", &[&six]);
        lab.serve(&web.namespace, "web", 80);
        let endpoint = lab
            .run(
                lab.net
                    .connect(&web.container, EndpointSpec::new(six.id.clone())),
            )
            .unwrap();
        let address = endpoint.ipv6.unwrap().address;
        lab.serve6(&web.namespace, "web", 80);
        assert!(tcp(&peer.namespace, address, 80).starts_with("web"));
        assert!(tcp(&lab.machine(), LOOPBACK6, 5000).starts_with("web"));
        let default_routes = || {
            inside_of(&web.namespace, || {
                let table = std::fs::read_to_string("/proc/thread-self/net/ipv6_route")?;
                let mut lines = table.lines().map(|line| line.split_ascii_whitespace());
                Ok(lines
                    .by_ref()
                    .map(|fields| fields.collect::<Vec<_>>())
                    .filter(|fields| fields[1] == "00" && fields[9] != "lo")
                    .map(|fields| fields[9].to_owned())
                    .collect::<Vec<_>>())
            })
            .unwrap()
        };
        assert_eq!(default_routes(), ["eth1"]);
        lab.run(lab.net.disconnect(&web.container, &six.id))
            .unwrap();
        assert!(default_routes().is_empty());
        assert!(is_silent(&peer.namespace, address, 80));
        assert!(tcp(&lab.machine(), LOOPBACK6, 5000).starts_with("web"));
    });
}

#[test]
fn a_restart_keeps_ipv6() {
    on_a_machine(|lab| {
        let front = with_ipv6(lab, "front");
        let web = lab.published("web", &[&front], both(None, 5000));
        let peer = lab.container("peer", &[&front]);
        lab.serve6(&web.namespace, "web", 80);
        let before = Routes::open()
            .unwrap()
            .existing(&web.endpoints[0].veth)
            .unwrap();
        let (networks, sandboxes) = (lab.net.networks(), lab.net.sandboxes());
        lab.restart();
        assert!(tcp(&peer.namespace, at(&web), 80).starts_with("web"));
        lab.run(lab.net.restore(networks, sandboxes)).unwrap();
        let after = Routes::open()
            .unwrap()
            .existing(&web.endpoints[0].veth)
            .unwrap();
        assert_eq!(before, after, "the same link, not a new one");
        assert!(tcp(&peer.namespace, at(&web), 80).starts_with("web"));
        assert!(tcp(&lab.machine(), LOOPBACK6, 5000).starts_with("web"));
        assert!(udp(&lab.machine(), front.ipv6.unwrap().gateway, 5000).starts_with("web"));
        // Nothing is left when all is removed.
        lab.run(async {
            for sandbox in lab.net.sandboxes() {
                lab.net.detach(&sandbox.container).await.unwrap();
            }
            lab.net.remove_network(&front.id).await.unwrap();
        });
        assert_eq!(lab.run(lab.net.rules_text()).unwrap(), "");
    });
}

#[test]
fn an_isolated_networks_containers_meet_by_published_ports_only() {
    for rules_see_frames in ["1", "0"] {
        on_a_machine(|lab| {
            // What is not there cannot be set: without br_netfilter both turns are the same.
            for which in ["iptables", "ip6tables"] {
                let name = format!("net/bridge/bridge-nf-call-{which}");
                netns::sysctl(&name, rules_see_frames).unwrap();
            }
            isolated_containers(lab);
        });
    }
}

fn isolated_containers(lab: &Lab) {
    let front = lab.network_with("front", |spec| {
        spec.isolated = true;
        spec.ipv6 = Some(Ipv6Spec::default());
    });
    let web = lab.published("web", &[&front], both(None, 5000));
    let peer = lab.container("peer", &[&front]);
    lab.serve(&web.namespace, "web", 80);
    lab.serve6(&web.namespace, "web", 80);
    let place = &peer.namespace;
    assert!(is_silent(place, web.endpoints[0].address, 80));
    assert!(is_silent(place, at(&web), 80));
    assert!(tcp(&lab.machine(), at(&web), 80).starts_with("web"));
    let gateway = front.ipv6.unwrap().gateway;
    assert!(tcp(place, gateway, 5000).starts_with("web tcp"));
    assert!(tcp(place, front.gateway, 5000).starts_with("web tcp"));
}
