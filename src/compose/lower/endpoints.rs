//! A service's places on networks.
//!
//! What a link calls another service is known to who links only, and is looked up when it is asked
//! for: the other one may come later, be made anew or have several containers.

use std::collections::BTreeSet;

use orc_base::Result;
use orc_host::network::{EndpointSpec, Link};

use crate::lower::network_name;
use crate::model::Project;
use crate::model::service::{Service, ServiceNetwork};
use crate::notation;

/// The option of an endpoint that names the interface inside.
pub(crate) const INTERFACE: &str = "com.docker.network.endpoint.ifname";

/// The networks it joins, the one with the highest priority first.
pub(crate) fn endpoints(
    project: &Project,
    service: &Service,
    container: &str,
) -> Result<Vec<EndpointSpec>> {
    let mut joined: Vec<_> = service.networks.iter().collect();
    joined.sort_by_key(|(_, options)| -options.as_ref().map_or(0, |options| options.priority));
    joined
        .into_iter()
        .enumerate()
        .map(|(index, (key, options))| {
            let options = options.clone().unwrap_or_default();
            let links = links(project, service, key);
            let mut endpoint = endpoint(service, container, options)
                .map_err(|error| error.within(format!("network {key}")))?;
            endpoint.network = network_name(project, key);
            endpoint.links = links;
            if index == 0 && endpoint.mac.is_none() {
                endpoint.mac.clone_from(&service.mac_address);
            }
            Ok(endpoint)
        })
        .collect()
}

/// One place, without its network and links.
fn endpoint(service: &Service, container: &str, options: ServiceNetwork) -> Result<EndpointSpec> {
    let mut aliases = vec![service.name.clone(), container.to_owned()];
    aliases.extend(options.aliases);
    let mut seen = BTreeSet::new();
    aliases.retain(|alias| seen.insert(alias.clone()));
    let link_local = options.link_local_ips.iter();
    Ok(EndpointSpec {
        aliases,
        ipv4: options
            .ipv4_address
            .as_deref()
            .map(notation::ipv4)
            .transpose()?,
        ipv6: options
            .ipv6_address
            .as_deref()
            .map(notation::ipv6)
            .transpose()?,
        link_local: link_local
            .map(|text| notation::address(text))
            .collect::<Result<_>>()?,
        mac: options.mac_address,
        gateway_priority: options.gw_priority,
        interface: options
            .interface_name
            .or_else(|| options.driver_opts.get(INTERFACE).cloned()),
        ..EndpointSpec::default()
    })
}

/// What the service calls others on a network: services of the project that are on it too, and
/// containers that somebody else made and that may be.
fn links(project: &Project, service: &Service, network: &str) -> Vec<Link> {
    let ours = service.links.iter().map(|text| split(text)).filter(|link| {
        project
            .service(&link.peer)
            .is_some_and(|other| other.networks.contains_key(network))
    });
    let theirs = service.external_links.iter().map(|text| split(text));
    ours.chain(theirs)
        .filter(|link| link.peer != link.alias)
        .collect()
}

/// `db`, or `db:database` for another name.
fn split(text: &str) -> Link {
    let (peer, alias) = text.split_once(':').unwrap_or((text, text));
    Link {
        peer: peer.into(),
        alias: alias.into(),
    }
}
