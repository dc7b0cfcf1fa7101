//! A container's places on networks: what is asked for, and what became of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use orc_base::{Context, Error, Result};
use orc_host::network::{Endpoint, EndpointSpec, Ipv6Place, Link};

use crate::convert::namespace::DEFAULT_NETWORK;
use crate::convert::resources;
use crate::wire::network::{EndpointIpam, EndpointSettings};

/// The driver option that names the interface inside.
const INTERFACE: &str = "com.docker.network.endpoint.ifname";

/// What is asked for, without the network's name.
pub(crate) fn spec_to_wire(spec: &EndpointSpec) -> EndpointSettings {
    let ipam = EndpointIpam {
        ipv4_address: shown(spec.ipv4),
        ipv6_address: shown(spec.ipv6),
        link_local_ips: spec.link_local.iter().map(IpAddr::to_string).collect(),
    };
    EndpointSettings {
        ipam_config: (ipam != EndpointIpam::default()).then_some(ipam),
        links: spec
            .links
            .iter()
            .map(|link| format!("{}:{}", link.peer, link.alias))
            .collect(),
        aliases: spec.aliases.clone(),
        mac_address: spec.mac.clone().unwrap_or_default(),
        driver_opts: spec
            .interface
            .iter()
            .map(|name| (INTERFACE.to_owned(), name.clone()))
            .collect(),
        gw_priority: spec.gateway_priority,
        ..Default::default()
    }
}

/// The inverse of [`spec_to_wire`]; `network` is the name it stands under.
pub(crate) fn spec_from_wire(
    network: &str,
    settings: &EndpointSettings,
    warnings: &mut Vec<String>,
) -> Result<EndpointSpec> {
    let named = || format!("endpoint on network {network}");
    let none = EndpointIpam::default();
    let ipam = settings.ipam_config.as_ref().unwrap_or(&none);
    for option in settings.driver_opts.keys().filter(|key| *key != INTERFACE) {
        warnings.push(format!(
            "{}: driver option `{option}` is not supported and was ignored",
            named()
        ));
    }
    Ok(EndpointSpec {
        network: match network {
            "default" => DEFAULT_NETWORK.into(),
            _ => network.into(),
        },
        aliases: settings.aliases.clone(),
        ipv4: wished("IPv4Address", "an IPv4 address", &ipam.ipv4_address).context(named)?,
        ipv6: wished("IPv6Address", "an IPv6 address", &ipam.ipv6_address).context(named)?,
        link_local: ipam
            .link_local_ips
            .iter()
            .filter_map(|text| wished("LinkLocalIPs", "an address", text).transpose())
            .collect::<Result<_>>()
            .context(named)?,
        links: settings.links.iter().map(|text| link(text)).collect(),
        mac: resources::text(&settings.mac_address),
        gateway_priority: settings.gw_priority,
        interface: settings.driver_opts.get(INTERFACE).cloned(),
    })
}

/// An address that somebody asks for; empty is none.
fn wished<A: FromStr>(member: &str, what: &str, text: &str) -> Result<Option<A>> {
    match text {
        "" => Ok(None),
        _ => text
            .parse()
            .map(Some)
            .map_err(|_| Error::invalid(format!("`{member}`: `{text}` is not {what}"))),
    }
}

/// `db`, or `db:database` for another name.
pub(crate) fn link(text: &str) -> Link {
    let (peer, alias) = text.split_once(':').unwrap_or((text, text));
    Link {
        // Docker's own clients write the slash of `/db` on either side.
        peer: peer.trim_start_matches('/').into(),
        alias: alias.rsplit('/').next().unwrap_or(alias).into(),
    }
}

/// What became of it, and with `extended` what was asked for.
pub(crate) fn to_wire(endpoint: &Endpoint, container: &str, extended: bool) -> EndpointSettings {
    EndpointSettings {
        mac_address: endpoint.mac.clone().unwrap_or_default(),
        network_id: endpoint.network_id.clone(),
        // Docker's is an opaque id; a container has one place on a network, so its own id serves.
        endpoint_id: endpoint
            .address
            .map(|_| container.into())
            .unwrap_or_default(),
        gateway: shown(endpoint.gateway),
        ip_address: shown(endpoint.address),
        ip_prefix_len: endpoint.prefix,
        global_ipv6_address: shown(endpoint.ipv6.map(|place| place.address)),
        global_ipv6_prefix_len: endpoint.ipv6.map_or(0, |place| place.prefix),
        ipv6_gateway: shown(endpoint.ipv6.and_then(|place| place.gateway)),
        dns_names: endpoint.dns_names.clone(),
        orc_spec: extended.then(|| endpoint.spec.clone()),
        ..spec_to_wire(&endpoint.spec)
    }
}

/// The inverse of [`to_wire`] with `extended`.
pub(crate) fn from_wire(network: &str, settings: &EndpointSettings) -> Result<Endpoint> {
    let spec = settings
        .orc_spec
        .clone()
        .ok_or_else(|| Error::internal("the daemon did not say what was asked for"))?;
    Ok(Endpoint {
        spec,
        network_name: network.into(),
        network_id: settings.network_id.clone(),
        address: address(&settings.ip_address)?,
        prefix: settings.ip_prefix_len,
        gateway: address(&settings.gateway)?,
        ipv6: ipv6_place(settings)?,
        mac: resources::text(&settings.mac_address),
        dns_names: settings.dns_names.clone(),
    })
}

fn ipv6_place(settings: &EndpointSettings) -> Result<Option<Ipv6Place>> {
    let Some(own) = address(&settings.global_ipv6_address)? else {
        return Ok(None);
    };
    Ok(Some(Ipv6Place {
        address: own,
        prefix: settings.global_ipv6_prefix_len,
        gateway: address(&settings.ipv6_gateway)?,
    }))
}

fn shown(address: Option<impl ToString>) -> String {
    address
        .map(|address| address.to_string())
        .unwrap_or_default()
}

fn address<A: FromStr>(text: &str) -> Result<Option<A>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Error::internal(format!("`{text}` is not an address of its family")))
}

/// What each of the endpoints asks for, by network.
pub(crate) fn specs_from_wire(
    endpoints: &[(String, EndpointSettings)],
    warnings: &mut Vec<String>,
) -> Result<Vec<EndpointSpec>> {
    let mut seen = BTreeMap::new();
    let mut specs = Vec::new();
    for (network, settings) in endpoints {
        let spec = spec_from_wire(network, settings, warnings)?;
        if seen.insert(spec.network.clone(), ()).is_some() {
            return Err(Error::invalid(format!(
                "network {} is named twice",
                spec.network
            )));
        }
        specs.push(spec);
    }
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_comes_back() {
        let spec = EndpointSpec {
            network: "front".into(),
            aliases: vec!["web".into()],
            ipv4: Some("172.20.0.9".parse().unwrap()),
            ipv6: Some("fd00::9".parse().unwrap()),
            link_local: vec!["169.254.0.9".parse().unwrap(), "fe80::9".parse().unwrap()],
            links: vec![Link {
                peer: "db".into(),
                alias: "base".into(),
            }],
            mac: Some("02:42:00:00:00:01".into()),
            gateway_priority: -3,
            interface: Some("lan0".into()),
        };
        let mut warnings = Vec::new();
        let back = spec_from_wire("front", &spec_to_wire(&spec), &mut warnings).unwrap();
        assert_eq!((back, warnings.len()), (spec, 0));
    }

    #[test]
    fn what_cannot_be_done_names_the_network() {
        let ipam = |change: fn(&mut EndpointIpam)| {
            let mut ipam = EndpointIpam::default();
            change(&mut ipam);
            EndpointSettings {
                ipam_config: Some(ipam),
                ..Default::default()
            }
        };
        for settings in [
            ipam(|ipam| ipam.ipv4_address = "::1".into()),
            ipam(|ipam| ipam.ipv6_address = "10.0.0.2".into()),
            ipam(|ipam| ipam.link_local_ips = vec!["nowhere".into()]),
        ] {
            let error = spec_from_wire("front", &settings, &mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("front"), "{error}");
        }
        let mut warnings = Vec::new();
        let settings = EndpointSettings {
            links: vec!["db".into(), "db:db".into(), "db:base".into()],
            driver_opts: [("x".to_string(), "y".to_string())].into(),
            ..Default::default()
        };
        let spec = spec_from_wire("default", &settings, &mut warnings).unwrap();
        assert_eq!(spec.network, "bridge");
        let links: Vec<_> = spec
            .links
            .iter()
            .map(|link| format!("{} as {}", link.peer, link.alias))
            .collect();
        assert_eq!(links, ["db as db", "db as db", "db as base"]);
        assert!(
            warnings[0].contains("`x`") && warnings.len() == 1,
            "{warnings:?}"
        );
    }
}
