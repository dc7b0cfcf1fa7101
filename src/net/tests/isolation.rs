//! Who must not reach whom.

use std::net::UdpSocket;
use std::time::Duration;

use super::lab::{MACHINE, NEIGHBOUR, inside_of, is_silent, on_a_machine, tcp, udp};
use crate::model::Sandbox;
use crate::netns;
use crate::route::{self, Routes};

#[test]
fn networks_are_apart() {
    on_a_machine(|lab| {
        let (front, back) = (lab.network("front"), lab.network("back"));
        let web = lab.container("web", &[&front]);
        let peer = lab.container("peer", &[&front]);
        let db = lab.container("db", &[&back]);
        let both = lab.container("both", &[&front, &back]);
        for sandbox in [&web, &db, &both] {
            lab.serve(&sandbox.namespace, &sandbox.name, 80);
        }
        let address = |sandbox: &Sandbox, index: usize| sandbox.endpoints[index].address;
        let seen = tcp(&peer.namespace, address(&web, 0), 80);
        assert_eq!(seen, format!("web tcp {}", address(&peer, 0)));
        assert!(udp(&peer.namespace, address(&web, 0), 80).starts_with("web udp"));
        for client in [&web, &peer] {
            assert!(is_silent(&client.namespace, address(&db, 0), 80));
            assert!(tcp(&client.namespace, address(&both, 0), 80).starts_with("both"));
            assert!(is_silent(&client.namespace, address(&both, 1), 80));
        }
        assert!(tcp(&both.namespace, address(&db, 0), 80).starts_with("db"));
        assert!(tcp(&db.namespace, address(&both, 1), 80).starts_with("both"));
        // The host reaches all of them.
        assert!(tcp(&lab.machine(), address(&db, 0), 80).starts_with("db"));
    });
}

#[test]
fn internal_networks_are_shut() {
    on_a_machine(|lab| {
        let neighbour = lab.neighbour();
        let front = lab.network("front");
        let inner = lab.network_with("inner", |spec| spec.internal = true);
        let vault = lab.container("vault", &[&inner]);
        let peer = lab.container("peer", &[&inner]);
        let web = lab.container("web", &[&front]);
        for sandbox in [&vault, &web] {
            lab.serve(&sandbox.namespace, &sandbox.name, 80);
        }
        lab.serve(&neighbour, "neighbour", 80);
        lab.serve(&lab.machine(), "machine", 8080);
        let vault_at = vault.endpoints[0].address;
        assert!(tcp(&peer.namespace, vault_at, 80).starts_with("vault"));
        assert!(is_silent(&web.namespace, vault_at, 80));
        assert!(is_silent(&neighbour, vault_at, 80));
        // Even with a route out, which it does not get from us.
        assert_eq!(vault.endpoints[0].gateway, None);
        inside_of(&vault.namespace, || {
            let mut routes = Routes::open()?;
            let index = routes.existing("eth0")?.index;
            routes.apply(vec![route::add_default_route(index, inner.gateway)])
        })
        .unwrap();
        for (address, port) in [
            (NEIGHBOUR, 80),
            (MACHINE, 8080),
            (inner.gateway, 8080),
            (web.endpoints[0].address, 80),
        ] {
            assert!(is_silent(&vault.namespace, address, port), "{address}");
        }
        assert!(tcp(&web.namespace, front.gateway, 8080).starts_with("machine"));
        // A published port of a container that is also elsewhere is no way in or out.
        assert!(tcp(&lab.machine(), vault_at, 80).starts_with("vault"));
    });
}

#[test]
fn containers_send_with_their_own_addresses_only() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let server = lab.container("server", &[&front]);
        let liar = lab.container("liar", &[&front]);
        let router = {
            let mut request = lab.request("router", &[&front]);
            request.forwards = true;
            lab.run(lab.net.attach(request)).unwrap()
        };
        lab.serve(&server.namespace, "server", 80);
        let server_at = server.endpoints[0].address;
        let false_address = |last: u8| {
            let [a, b, c, _] = front.gateway.octets();
            std::net::Ipv4Addr::new(a, b, c, last)
        };
        // Nothing but this listens there: an answer would need the liar's help to find its way.
        let heard = inside_of(&server.namespace, || {
            let socket = UdpSocket::bind("0.0.0.0:81")?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok(socket)
        })
        .unwrap();
        let speak_as = |sandbox: &Sandbox, last: u8| {
            // The way to the server is known from an honest question.
            assert!(udp(&sandbox.namespace, server_at, 80).starts_with("server"));
            inside_of(&sandbox.namespace, || {
                let mut routes = Routes::open()?;
                let index = routes.existing("eth0")?.index;
                let address = false_address(last);
                let prefix = front.subnet.prefix();
                routes.apply(vec![route::add_address(index, address, prefix)])?;
                let socket = UdpSocket::bind((address, 0))?;
                socket.send_to(b"hello", (server_at, 81))?;
                Ok(())
            })
            .unwrap();
            heard.recv_from(&mut [0; 16]).map(|(_, client)| client.ip())
        };
        assert!(speak_as(&liar, 77).is_err());
        assert_eq!(speak_as(&router, 78).unwrap(), false_address(78));
        // Another hardware address is as bad.
        inside_of(&liar.namespace, || {
            Routes::open()?.apply(vec![route::set_mac("eth0", "02:00:00:00:00:99".parse()?)])
        })
        .unwrap();
        assert!(is_silent(&liar.namespace, server_at, 80));
    });
}

#[test]
fn ipv6_stays_away() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let web = lab.container("web", &[&front]);
        let read = |link: &str, name: &str| {
            std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{link}/{name}"))
                .map(|value| value.trim().to_owned())
                .map_err(Into::into)
        };
        for link in [&front.bridge, &web.endpoints[0].veth] {
            assert_eq!(
                inside_of(&lab.machine(), || read(link, "disable_ipv6")).unwrap(),
                "1"
            );
            assert_eq!(
                inside_of(&lab.machine(), || read(link, "accept_ra")).unwrap(),
                "0"
            );
        }
        let inside = inside_of(&web.namespace, || {
            Ok((read("eth0", "disable_ipv6")?, read("eth0", "accept_ra")?))
        });
        assert_eq!(inside.unwrap(), ("1".into(), "0".into()));
        let addresses = inside_of(&web.namespace, || {
            Ok(std::fs::read_to_string("/proc/thread-self/net/if_inet6")?)
        })
        .unwrap();
        assert!(
            addresses.lines().all(|line| line.ends_with(" lo")),
            "{addresses}"
        );
        // Only the bridge that leads out may carry answers for 127.0.0.1.
        assert!(netns::sysctl("net/ipv4/conf/lo/route_localnet", "0").is_ok());
    });
}
