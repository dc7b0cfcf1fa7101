//! What every [`Driver`] promises, tried on the real one and on its twin.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use orc_base::{Id, Kind};

use super::lab::{Lab, on_a_machine};
use crate::address::Mac;
use crate::bridge::{self, Bridge};
use crate::driver::fake::FakeDriver;
use crate::driver::{Driver, Place};
use crate::model::{Endpoint, Ipv6Place, Network, Plan};
use crate::netns;
use crate::route::Routes;

#[test]
fn bridges_keep_the_contract() {
    on_a_machine(|lab| {
        let driver = Bridge::open("test").unwrap();
        let links = |_: &Bridge| {
            let links = Routes::open().unwrap().links().unwrap();
            links
                .into_iter()
                .filter(|link| link.name.starts_with("orc-"))
                .map(|link| link.name)
                .collect()
        };
        keeps_the_contract(lab, driver, links);
    });
}

#[test]
fn the_twin_keeps_the_contract() {
    on_a_machine(|lab| {
        keeps_the_contract(lab, FakeDriver::default(), FakeDriver::links);
    });
}

fn keeps_the_contract<D: Driver>(lab: &Lab, mut driver: D, links: impl Fn(&D) -> BTreeSet<String>) {
    let (front, back) = (network("front", 0, false), network("back", 1, true));
    let request = lab.request("web", &[]);
    let namespace = netns::open(&request.namespace).unwrap();
    let place = Place {
        container: &request.container,
        namespace: namespace.as_fd(),
        primary: true,
        primary_ipv6: true,
    };
    let (eth0, eth1) = (
        endpoint(&request.container, &front, "eth0"),
        endpoint(&request.container, &back, "eth1"),
    );
    let all = |items: &[&str]| {
        items
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };

    // Nobody can be on a network that is not there.
    let error = driver.attach(&place, &front, &eth0).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    // All is safe to repeat.
    for _ in 0..2 {
        driver.create_network(&front).unwrap();
        driver.create_network(&back).unwrap();
        driver.attach(&place, &front, &eth0).unwrap();
        driver.attach(&place, &back, &eth1).unwrap();
        driver.route_by(&place, &eth1).unwrap();
    }
    let there = all(&[&front.bridge, &back.bridge, &eth0.veth, &eth1.veth]);
    assert_eq!(links(&driver), there);
    // Owners keep what is theirs.
    driver
        .remove_orphans(&|id| [&front.id, &back.id, &request.container].contains(&id))
        .unwrap();
    settle(lab, &mut driver);
    assert_eq!(links(&driver), there);
    for _ in 0..2 {
        driver.detach(&request.container, &eth0).unwrap();
        driver.remove_network(&front).unwrap();
        settle(lab, &mut driver);
        assert_eq!(links(&driver), all(&[&back.bridge, &eth1.veth]));
    }
    // What is made anew after a removal has begun stays.
    for _ in 0..5 {
        driver.detach(&request.container, &eth1).unwrap();
        driver.remove_network(&back).unwrap();
        driver.create_network(&back).unwrap();
        driver.attach(&place, &back, &eth1).unwrap();
        settle(lab, &mut driver);
        assert_eq!(links(&driver), all(&[&back.bridge, &eth1.veth]));
    }
    driver.remove_orphans(&|id| *id == back.id).unwrap();
    settle(lab, &mut driver);
    assert_eq!(links(&driver), all(&[&back.bridge]));
    driver.remove_orphans(&|_| false).unwrap();
    settle(lab, &mut driver);
    assert_eq!(links(&driver), BTreeSet::new());
}

fn settle(lab: &Lab, driver: &mut impl Driver) {
    lab.run(driver.settled()).unwrap();
}

fn network(name: &str, third: u8, ipv6: bool) -> Network {
    let id = Id::random();
    Network {
        bridge: bridge::bridge_name(&id),
        id,
        name: name.parse().unwrap(),
        internal: false,
        subnet: format!("10.0.{third}.0/24").parse().unwrap(),
        ip_range: None,
        gateway: [10, 0, third, 1].into(),
        mtu: 1500,
        masquerade: true,
        ipv6: ipv6.then(|| Plan {
            subnet: format!("fd00:{third}::/64").parse().unwrap(),
            ip_range: None,
            gateway: format!("fd00:{third}::1").parse().unwrap(),
        }),
        reserved: vec![],
        isolated: false,
        host_ip: None,
    }
}

fn endpoint(container: &Id, network: &Network, interface: &str) -> Endpoint {
    let [a, b, c, _] = network.gateway.octets();
    let address = [a, b, c, 2].into();
    Endpoint {
        network: network.id.clone(),
        interface: interface.into(),
        veth: bridge::veth_name(container, &network.id),
        address,
        prefix: 24,
        gateway: Some(network.gateway),
        resolver: network.gateway,
        mac: Mac::from_address(address),
        names: vec![],
        ipv6: network.ipv6.map(|plan| Ipv6Place {
            address: plan.subnet.hosts().nth(1).unwrap(),
            prefix: 64,
            gateway: Some(plan.gateway),
        }),
        link_local: vec![],
        links: vec![],
    }
}
