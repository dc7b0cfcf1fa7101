//! A container's wishes for networks in the words of the network layer, and what came of them in
//! the words of people.
//!
//! Pure.

use std::collections::BTreeSet;

use orc_base::{Error, Result};
use orc_host::container::{ContainerSpec, NetworkMode};
use orc_host::network::{
    Endpoint, EndpointSpec, Ipv6Place, Port, PortBinding, Protocol, PublishedPort,
};
use orc_net::model::{self, PeerAlias, PortRange, PortSpec, Sandbox};

use crate::effective::Effective;
use crate::networks::DEFAULT;
use crate::records::{ContainerRecord, NetworkRecord, Place};

/// The networks that a container joins: those of its spec, or the default one.
pub(crate) fn places(
    spec: &ContainerSpec,
    find: impl Fn(&str) -> Result<NetworkRecord>,
) -> Result<Vec<Place>> {
    if spec.network_mode != NetworkMode::Networks {
        return Ok(Vec::new());
    }
    let default = [EndpointSpec {
        network: DEFAULT.into(),
        ..EndpointSpec::default()
    }];
    let wanted = match spec.networks.is_empty() {
        true => &default[..],
        false => &spec.networks,
    };
    let mut places: Vec<Place> = Vec::with_capacity(wanted.len());
    for endpoint in wanted {
        let place = place(endpoint, &find)?;
        if places.iter().any(|other| other.network == place.network) {
            return Err(Error::invalid(format!(
                "network {} is joined twice",
                place.network_name
            )));
        }
        places.push(place);
    }
    Ok(places)
}

/// One network that a container joins.
pub(crate) fn place(
    endpoint: &EndpointSpec,
    find: impl Fn(&str) -> Result<NetworkRecord>,
) -> Result<Place> {
    let network = find(&endpoint.network)?.network;
    if let Some(address) = endpoint.ipv4
        && !network.subnet.contains(address)
    {
        return Err(Error::invalid(format!(
            "address {address} is not in the subnet {} of network {}",
            network.subnet, network.name
        )));
    }
    if let Some(address) = endpoint.ipv6 {
        match network.ipv6 {
            None => {
                return Err(Error::invalid(format!(
                    "address {address} cannot be had: network {} was made without IPv6",
                    network.name
                )));
            }
            Some(plan) if !plan.subnet.contains(address) => {
                return Err(Error::invalid(format!(
                    "address {address} is not in the subnet {} of network {}",
                    plan.subnet, network.name
                )));
            }
            Some(_) => {}
        }
    }
    Ok(Place {
        network: network.id,
        network_name: network.name.to_string(),
        spec: endpoint.clone(),
    })
}

/// The places in order of who gives the default route.
pub(crate) fn by_priority(places: &[Place]) -> Vec<&Place> {
    let mut sorted: Vec<&Place> = places.iter().collect();
    sorted.sort_by_key(|place| std::cmp::Reverse(place.spec.gateway_priority));
    sorted
}

/// A place in the words of the network layer.
pub(crate) fn endpoint(place: &Place, hostname: &str) -> Result<model::EndpointSpec> {
    let mut wish = model::EndpointSpec::new(place.network.clone());
    wish.interface = place.spec.interface.clone();
    wish.address = place.spec.ipv4;
    wish.mac = place.spec.mac.as_deref().map(str::parse).transpose()?;
    wish.names = extra_names(place, hostname);
    wish.ipv6 = place.spec.ipv6;
    wish.link_local.clone_from(&place.spec.link_local);
    let links = place.spec.links.iter().map(|link| PeerAlias {
        alias: link.alias.clone(),
        peer: link.peer.clone(),
    });
    wish.links = links.collect();
    Ok(wish)
}

/// The names beside the container's own and its short id.
fn extra_names(place: &Place, hostname: &str) -> Vec<String> {
    let mut names = place.spec.aliases.clone();
    if !names.iter().any(|name| name == hostname) {
        names.push(hostname.into());
    }
    names
}

/// The ports that the machine is to answer on.
pub(crate) fn ports(spec: &ContainerSpec, effective: &Effective) -> Result<Vec<PortSpec>> {
    if spec.network_mode != NetworkMode::Networks {
        return Ok(Vec::new());
    }
    let bound: BTreeSet<Port> = spec.ports.iter().map(|binding| binding.port).collect();
    let exposed = effective
        .exposed_ports
        .iter()
        .filter(|port| spec.publish_all && !bound.contains(port))
        .map(|port| PortBinding {
            port: *port,
            host_ip: None,
            host_ports: None,
        });
    spec.ports
        .iter()
        .cloned()
        .chain(exposed)
        .map(|binding| port(&binding))
        .collect()
}

fn port(binding: &PortBinding) -> Result<PortSpec> {
    let range = binding.host_ports.filter(|(first, _)| *first > 0);
    Ok(PortSpec {
        host_ip: binding.host_ip,
        host_port: range
            .map(|(first, last)| PortRange::new(first, last))
            .transpose()?,
        container_port: binding.port.number,
        protocol: match binding.port.protocol {
            Protocol::Tcp => model::Protocol::Tcp,
            Protocol::Udp => model::Protocol::Udp,
        },
    })
}

/// The container's places as people see them, with addresses while it runs.
pub(crate) fn endpoints(record: &ContainerRecord, sandbox: Option<&Sandbox>) -> Vec<Endpoint> {
    record
        .places
        .iter()
        .map(|place| {
            let now = sandbox.and_then(|sandbox| sandbox.endpoint(&place.network));
            Endpoint {
                spec: place.spec.clone(),
                network_name: place.network_name.clone(),
                network_id: place.network.to_string(),
                address: now.map(|endpoint| endpoint.address),
                prefix: now.map_or(0, |endpoint| endpoint.prefix),
                gateway: now.and_then(|endpoint| endpoint.gateway),
                ipv6: now
                    .and_then(|endpoint| endpoint.ipv6)
                    .map(|place| Ipv6Place {
                        address: place.address,
                        prefix: place.prefix,
                        gateway: place.gateway,
                    }),
                mac: now.map(|endpoint| endpoint.mac.to_string()),
                dns_names: dns_names(record, place),
            }
        })
        .collect()
}

fn dns_names(record: &ContainerRecord, place: &Place) -> Vec<String> {
    let mut names = vec![record.name.to_string(), record.id.short().to_owned()];
    for name in extra_names(place, &record.effective.hostname) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What is reachable from outside now.
pub(crate) fn published(sandbox: Option<&Sandbox>) -> Vec<PublishedPort> {
    let ports = sandbox.map_or(&[][..], |sandbox| &sandbox.ports);
    ports
        .iter()
        .map(|port| PublishedPort {
            port: Port {
                number: port.container_port,
                protocol: match port.protocol {
                    model::Protocol::Tcp => Protocol::Tcp,
                    model::Protocol::Udp => Protocol::Udp,
                },
            },
            host_ip: port.host_ip,
            host_port: port.host_port,
        })
        .collect()
}
