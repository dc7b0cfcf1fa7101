//! Coming and going: restarts, flushed rules, leftovers, and what must not be left.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use orc_base::{Id, Kind, Name};

use super::lab::{Lab, ask, inside_of, is_silent, on_a_machine, tcp, udp, until};
use crate::model::{EndpointSpec, NetworkSpec, PortRange, PortSpec, Protocol, Sandbox};
use crate::nft::Nft;
use crate::route::{self, Routes};
use crate::ruleset::Ruleset;

fn udp_port(host: u16) -> Vec<PortSpec> {
    vec![PortSpec {
        host_ip: None,
        host_port: Some(PortRange::one(host).unwrap()),
        container_port: 80,
        protocol: Protocol::Udp,
    }]
}

/// The machine's links but its loopback and wire.
fn links() -> BTreeSet<String> {
    let links = Routes::open().unwrap().links().unwrap();
    links
        .into_iter()
        .filter(|link| link.name.starts_with("orc-"))
        .map(|link| link.name)
        .collect()
}

fn default_routes(place: &Path) -> Vec<String> {
    let table = inside_of(place, || {
        Ok(std::fs::read_to_string("/proc/thread-self/net/route")?)
    });
    table
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(|fields| fields[1] == "00000000")
        .map(|fields| fields[0].to_owned())
        .collect()
}

#[test]
fn nothing_is_left_when_all_is_removed() {
    on_a_machine(|lab| {
        let (front, back) = (lab.network("front"), lab.network("back"));
        let web = lab.published("web", &[&front, &back], udp_port(5000));
        assert_eq!(links().len(), 4);
        let error = lab.run(lab.net.remove_network(&front.id)).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains("in use by `web`"), "{error}");
        lab.run(async {
            lab.net.detach(&web.container).await.unwrap();
            lab.net.detach(&web.container).await.unwrap();
            lab.net.remove_namespace(&web.container).await.unwrap();
            lab.net.remove_namespace(&web.container).await.unwrap();
            for network in [&front, &back, &back] {
                lab.net.remove_network(&network.id).await.unwrap();
            }
            lab.net.settle().await.unwrap();
        });
        assert_eq!(links(), BTreeSet::new());
        assert!(!web.namespace.exists());
        assert_eq!(lab.run(lab.net.rules_text()).unwrap(), "");
        assert!(!has_table());
        assert!(lab.net.networks().is_empty() && lab.net.sandboxes().is_empty());
        drop(UdpSocket::bind("0.0.0.0:5000").unwrap());
    });
}

/// Whether the rules are in the kernel: a rule for nothing can only be set without them.
fn has_table() -> bool {
    let mut nft = Nft::open().unwrap();
    nft.table_exists("orc").unwrap()
}

#[test]
fn a_restart_disturbs_nothing() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let web = lab.published("web", &[&front], udp_port(5000));
        let peer = lab.container("peer", &[&front]);
        lab.serve(&web.namespace, "web", 80);
        let stranger = {
            let mut routes = Routes::open().unwrap();
            let mac = "02:00:00:00:00:55".parse().unwrap();
            routes
                .apply(vec![
                    route::create_bridge("stranger", mac, 1500),
                    route::tag("stranger", &format!("other:{}", Id::random())),
                    // What a crash of an earlier daemon left, of an owner that nobody knows.
                    route::create_bridge("orc-00000000aa", mac, 1500),
                    route::tag("orc-00000000aa", &format!("orc:{}", Id::random())),
                ])
                .unwrap();
            routes.existing("stranger").unwrap()
        };
        let before: Vec<_> = [&front.bridge, &web.endpoints[0].veth]
            .map(|name| Routes::open().unwrap().existing(name).unwrap())
            .into();
        // A conversation that goes on all the while.
        let client = inside_of(&peer.namespace, || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect((web.endpoints[0].address, 80))?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok(socket)
        })
        .unwrap();
        ask(&client).unwrap();
        let (networks, sandboxes) = (lab.net.networks(), lab.net.sandboxes());
        lab.restart();
        ask(&client).unwrap();
        lab.run(lab.net.restore(networks.clone(), sandboxes.clone()))
            .unwrap();
        ask(&client).unwrap();
        assert_eq!(
            (lab.net.networks(), lab.net.sandboxes()),
            (networks, sandboxes)
        );
        let after: Vec<_> = [&front.bridge, &web.endpoints[0].veth]
            .map(|name| Routes::open().unwrap().existing(name).unwrap())
            .into();
        assert_eq!(before, after, "the same links, not new ones");
        lab.run(lab.net.settle()).unwrap();
        assert!(
            Routes::open()
                .unwrap()
                .link("orc-00000000aa")
                .unwrap()
                .is_none()
        );
        assert_eq!(
            Routes::open().unwrap().existing("stranger").unwrap(),
            stranger
        );
        // Ports are held and led, and addresses remembered.
        assert!(UdpSocket::bind("0.0.0.0:5000").is_err());
        assert!(udp(&lab.machine(), Ipv4Addr::LOCALHOST, 5000).starts_with("web"));
        let third = lab.container("third", &[&front]);
        let addresses: BTreeSet<_> = lab
            .net
            .sandboxes()
            .iter()
            .map(|sandbox| sandbox.endpoints[0].address)
            .collect();
        assert_eq!(addresses.len(), 3);
        assert!(tcp(&third.namespace, web.endpoints[0].address, 80).starts_with("web"));
    });
}

#[test]
fn a_restart_makes_what_is_missing() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let web = lab.published("web", &[&front], udp_port(5000));
        let gone = lab.container("gone", &[&front]);
        lab.serve(&web.namespace, "web", 80);
        let peer = lab.container("peer", &[&front]);
        let (networks, sandboxes) = (lab.net.networks(), lab.net.sandboxes());
        lab.restart();
        let mut routes = Routes::open().unwrap();
        let bridge = routes.existing(&front.bridge).unwrap().index;
        let veth = routes.existing(&peer.endpoints[0].veth).unwrap().index;
        routes.delete(&[bridge, veth]).unwrap();
        Nft::open()
            .unwrap()
            .replace("orc", &Ruleset::default())
            .unwrap();
        crate::netns::remove(&gone.namespace).unwrap();
        lab.run(lab.net.restore(networks, sandboxes)).unwrap();
        let address = web.endpoints[0].address;
        assert!(tcp(&peer.namespace, address, 80).starts_with("web"));
        assert!(udp(&lab.machine(), Ipv4Addr::LOCALHOST, 5000).starts_with("web"));
        assert_eq!(default_routes(&peer.namespace), ["eth0"]);
        assert!(lab.net.sandbox(&gone.container).is_none());
    });
}

#[test]
fn flushed_rules_come_back() {
    on_a_machine(|lab| {
        let (front, back) = (lab.network("front"), lab.network("back"));
        let web = lab.published("web", &[&front], udp_port(5000));
        let db = lab.container("db", &[&back]);
        lab.serve(&web.namespace, "web", 80);
        for _ in 0..3 {
            Nft::open()
                .unwrap()
                .replace("orc", &Ruleset::default())
                .unwrap();
            until("the rules are back", has_table);
            assert!(udp(&lab.machine(), Ipv4Addr::LOCALHOST, 5000).starts_with("web"));
            assert!(is_silent(&db.namespace, web.endpoints[0].address, 80));
        }
        // Tables of others come and go as they like.
        let theirs = Ruleset::default();
        Nft::open().unwrap().replace("theirs", &theirs).unwrap();
        assert!(has_table());
    });
}

#[test]
fn a_deleted_bridge_comes_back() {
    on_a_machine(|lab| {
        let front = lab.network_with("front", |spec| {
            spec.ipv6 = Some(crate::model::Ipv6Spec::default());
        });
        let back = lab.network("back");
        let web = lab.published("web", &[&front, &back], udp_port(5000));
        let peer = lab.container("peer", &[&front]);
        lab.serve(&web.namespace, "web", 80);
        lab.serve6(&web.namespace, "web", 80);
        for _ in 0..2 {
            let mut routes = Routes::open().unwrap();
            let bridge = routes.existing(&front.bridge).unwrap().index;
            routes.delete(&[bridge]).unwrap();
            until("the bridge is back", || {
                let link = routes.link(&front.bridge).unwrap();
                let veth = routes.existing(&peer.endpoints[0].veth).unwrap();
                link.is_some_and(|link| veth.master == Some(link.index))
            });
            let address = web.endpoints[0].address;
            assert!(tcp(&peer.namespace, address, 80).starts_with("web"));
            let address = web.endpoints[0].ipv6.unwrap().address;
            assert!(tcp(&peer.namespace, address, 80).starts_with("web"));
            assert!(udp(&lab.machine(), Ipv4Addr::LOCALHOST, 5000).starts_with("web"));
        }
        // What is removed by us stays away.
        lab.run(async {
            lab.net.detach(&web.container).await.unwrap();
            lab.net.detach(&peer.container).await.unwrap();
            lab.net.remove_network(&front.id).await.unwrap();
        });
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(links(), BTreeSet::from([back.bridge]));
    });
}

#[test]
fn a_deleted_interface_comes_back() {
    on_a_machine(|lab| {
        let front = lab.network_with("front", |spec| {
            spec.ipv6 = Some(crate::model::Ipv6Spec::default());
        });
        let back = lab.network("back");
        let web = lab.published("web", &[&front, &back], udp_port(5000));
        let peer = lab.container("peer", &[&front]);
        lab.serve(&web.namespace, "web", 80);
        lab.serve6(&web.namespace, "web", 80);
        let (place, veth) = (&web.endpoints[0], &web.endpoints[0].veth);
        let delete = |name: &str| {
            let mut routes = Routes::open()?;
            let index = routes.existing(name)?.index;
            routes.delete(&[index])
        };
        // From outside and from inside; the way out goes by it.
        for outside in [true, false] {
            let before = Routes::open().unwrap().existing(veth).unwrap().index;
            match outside {
                true => delete(veth).unwrap(),
                false => inside_of(&web.namespace, || delete("eth0")).unwrap(),
            }
            until("the interface is back", || {
                let link = Routes::open().unwrap().link(veth).unwrap();
                link.is_some_and(|link| link.index != before)
            });
            // Whatever comes after it on its thread comes after the whole repair.
            lab.run(lab.net.settle()).unwrap();
            assert!(tcp(&peer.namespace, place.address, 80).starts_with("web"));
            let address = place.ipv6.unwrap().address;
            assert!(tcp(&peer.namespace, address, 80).starts_with("web"));
            assert!(udp(&lab.machine(), Ipv4Addr::LOCALHOST, 5000).starts_with("web"));
            assert_eq!(default_routes(&web.namespace), ["eth0"]);
        }
        // What we take away stays away.
        lab.run(async {
            let left = lab.net.disconnect(&web.container, &front.id);
            left.await.unwrap();
            lab.net.detach(&peer.container).await.unwrap();
            lab.net.settle().await.unwrap();
        });
        std::thread::sleep(Duration::from_millis(300));
        let left = [front.bridge, back.bridge, web.endpoints[1].veth.clone()];
        assert_eq!(links(), BTreeSet::from(left));
    });
}

#[test]
fn a_running_container_joins_and_leaves() {
    on_a_machine(|lab| {
        let inner = lab.network_with("inner", |spec| spec.internal = true);
        let (front, back) = (lab.network("front"), lab.network("back"));
        let web = lab.published("web", &[&inner], udp_port(5000));
        lab.serve(&web.namespace, "web", 80);
        let place = &web.namespace;
        let machine = lab.machine();
        assert!(default_routes(place).is_empty());
        assert!(is_silent(&machine, Ipv4Addr::LOCALHOST, 5000));
        let connect = |id: &Id| {
            lab.run(
                lab.net
                    .connect(&web.container, EndpointSpec::new(id.clone())),
            )
        };
        let first = connect(&front.id).unwrap();
        assert_eq!(first.interface, "eth1");
        assert_eq!(connect(&back.id).unwrap().interface, "eth2");
        assert_eq!(connect(&back.id).unwrap_err().kind(), Kind::Conflict);
        assert_eq!(connect(&Id::random()).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(default_routes(place), ["eth1"]);
        assert!(udp(&machine, Ipv4Addr::LOCALHOST, 5000).starts_with("web"));
        // The way out moves when its network is left, and so does the published port.
        let disconnect = |id: &Id| lab.run(lab.net.disconnect(&web.container, id));
        disconnect(&front.id).unwrap();
        assert_eq!(default_routes(place), ["eth2"]);
        assert!(udp(&machine, Ipv4Addr::LOCALHOST, 5000).starts_with("web"));
        assert!(Routes::open().unwrap().link(&first.veth).unwrap().is_none());
        assert_eq!(disconnect(&front.id).unwrap_err().kind(), Kind::NotFound);
        disconnect(&back.id).unwrap();
        assert!(is_silent(&machine, Ipv4Addr::LOCALHOST, 5000));
        assert_eq!(lab.net.sandbox(&web.container).unwrap().endpoints.len(), 1);
    });
}

#[test]
fn a_failed_attach_leaves_nothing() {
    on_a_machine(|lab| {
        let (front, back) = (lab.network("front"), lab.network("back"));
        let before = (links(), lab.run(lab.net.rules_text()).unwrap());
        let mut request = lab.request("web", &[&front, &back]);
        request.ports = udp_port(5000);
        // The second interface is refused by the kernel: the container has one of that name.
        inside_of(&request.namespace, || {
            let mac = "02:00:00:00:00:55".parse()?;
            Routes::open()?.apply(vec![route::create_bridge("eth1", mac, 1500)])
        })
        .unwrap();
        let error = lab.run(lab.net.attach(request.clone())).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains("network `back`"), "{error}");
        lab.run(lab.net.settle()).unwrap();
        assert_eq!(before, (links(), lab.run(lab.net.rules_text()).unwrap()));
        assert!(lab.net.sandboxes().is_empty());
        drop(UdpSocket::bind("0.0.0.0:5000").unwrap());
        // The next try works, and may follow at once.
        request.endpoints[1].interface = Some("back0".into());
        let web = lab.run(lab.net.attach(request.clone())).unwrap();
        lab.run(lab.net.detach(&web.container)).unwrap();
        lab.run(lab.net.attach(request.clone())).unwrap();
        assert_eq!(
            lab.run(lab.net.attach(request)).unwrap_err().kind(),
            Kind::Conflict
        );

        let mut nowhere = lab.request("nowhere", &[&front]);
        nowhere.namespace = "/no/such/place".into();
        let error = lab.run(lab.net.attach(nowhere)).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        let mut host = lab.request("host", &[&front]);
        host.namespace = lab.machine();
        assert_eq!(
            lab.run(lab.net.attach(host)).unwrap_err().kind(),
            Kind::Invalid
        );
    });
}

#[test]
fn subnets_of_the_host_are_avoided() {
    on_a_machine(|lab| {
        let _neighbour = lab.neighbour();
        let spec = |subnet: &str| {
            let mut spec = NetworkSpec::new(Id::random(), "front".parse().unwrap());
            spec.subnet = Some(subnet.parse().unwrap());
            spec
        };
        for subnet in ["192.0.2.0/24", "192.0.2.128/25", "192.0.0.0/16"] {
            let error = lab.run(lab.net.create_network(spec(subnet))).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict, "{error}");
            assert!(error.to_string().contains("wire0"), "{error}");
        }
        // The pools go around what is there.
        inside_of(&lab.machine(), || {
            let mut routes = Routes::open()?;
            let index = routes.existing("wire0")?.index;
            let address = Ipv4Addr::new(172, 17, 0, 9);
            routes.apply(vec![route::add_address(index, address, 24)])
        })
        .unwrap();
        let network = lab.network("front");
        assert_eq!(network.subnet.to_string(), "172.17.4.0/22");
    });
}

#[test]
fn links_of_others_are_left_alone() {
    on_a_machine(|lab| {
        let mac = "02:00:00:00:00:55".parse().unwrap();
        let mut routes = Routes::open().unwrap();
        routes
            .apply(vec![route::create_bridge("br0", mac, 1500)])
            .unwrap();
        let theirs = routes.existing("br0").unwrap();
        let mut spec = NetworkSpec::new(Id::random(), "front".parse().unwrap());
        spec.bridge_name = Some("br0".into());
        let error = lab.run(lab.net.create_network(spec)).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(routes.existing("br0").unwrap(), theirs);
        let named = lab.network_with("named", |spec| spec.bridge_name = Some("demo0".into()));
        assert_eq!(named.bridge, "demo0");
        let web = lab.container("web", &[&named]);
        let peer = lab.container("peer", &[&named]);
        lab.serve(&web.namespace, "web", 80);
        assert!(tcp(&peer.namespace, web.endpoints[0].address, 80).starts_with("web"));
    });
}

#[test]
fn many_at_once() {
    on_a_machine(|lab| {
        let front = lab.network("front");
        let requests: Vec<_> = (0..20)
            .map(|number| {
                let mut request = lab.request(&format!("web-{number}"), &[&front]);
                request.ports = udp_port(5000 + number);
                request
            })
            .collect();
        let ids: Vec<Id> = requests
            .iter()
            .map(|request| request.container.clone())
            .collect();
        let sandboxes: Vec<Sandbox> = join(
            lab,
            requests.into_iter().map(|request| lab.net.attach(request)),
        );
        let addresses: BTreeSet<_> = sandboxes
            .iter()
            .map(|sandbox| sandbox.endpoints[0].address)
            .collect();
        assert_eq!(addresses.len(), 20);
        let names: BTreeSet<Name> = sandboxes.into_iter().map(|sandbox| sandbox.name).collect();
        assert_eq!(names.len(), 20);
        join(lab, ids.iter().map(|id| lab.net.detach(id)));
        lab.run(lab.net.remove_network(&front.id)).unwrap();
        lab.run(lab.net.settle()).unwrap();
        assert_eq!(links(), BTreeSet::new());
    });
}

#[test]
fn a_removed_networks_place_is_free_at_once() {
    on_a_machine(|lab| {
        let wanted = |spec: &mut NetworkSpec| {
            spec.bridge_name = Some("demo0".into());
            spec.subnet = Some("10.7.0.0/24".parse().unwrap());
            spec.ipv6 = Some(crate::model::Ipv6Spec {
                subnet: Some("fd00:7::/64".parse().unwrap()),
                ..crate::model::Ipv6Spec::default()
            });
        };
        let plain = |spec: &mut NetworkSpec| {
            wanted(spec);
            spec.bridge_name = None;
        };
        let kept = lab.network("kept");
        for round in 0..6 {
            let front = match round % 2 {
                0 => lab.network_with("front", wanted),
                _ => lab.network_with("front", plain),
            };
            let web = lab.container("web", &[&front]);
            let peer = lab.container("peer", &[&front]);
            lab.serve(&web.namespace, "web", 80);
            let address = web.endpoints[0].address;
            assert!(tcp(&lab.machine(), address, 80).starts_with("web"));
            assert!(tcp(&peer.namespace, address, 80).starts_with("web"));
            lab.run(async {
                for sandbox in lab.net.sandboxes() {
                    lab.net.detach(&sandbox.container).await.unwrap();
                }
                lab.net.remove_network(&front.id).await.unwrap();
            });
            // So is a subnet that was chosen.
            let first = lab.network("first");
            lab.run(lab.net.remove_network(&first.id)).unwrap();
            let second = lab.network("second");
            assert_eq!(first.subnet, second.subnet);
            lab.run(lab.net.remove_network(&second.id)).unwrap();
        }
        lab.run(lab.net.settle()).unwrap();
        assert_eq!(links(), BTreeSet::from([kept.bridge]));
        assert!(Routes::open().unwrap().link("demo0").unwrap().is_none());
    });
}

/// Drives all at once; all must succeed.
fn join<T>(
    lab: &Lab,
    work: impl Iterator<Item = impl Future<Output = orc_base::Result<T>>>,
) -> Vec<T> {
    let mut work: Vec<_> = work.map(Box::pin).collect();
    lab.run(async {
        // Polled once each, so that all are under way before the first is waited for.
        let mut results = Vec::new();
        std::future::poll_fn(|context| {
            work.retain_mut(|future| match future.as_mut().poll(context) {
                std::task::Poll::Ready(result) => {
                    results.push(result.unwrap());
                    false
                }
                std::task::Poll::Pending => true,
            });
            match work.is_empty() {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
        results
    })
}
