//! A container's places on networks: what is asked for, and what became of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use orc_base::{Context, Error, Result};
use orc_host::network::{Endpoint, EndpointSpec};

use crate::convert::namespace::DEFAULT_NETWORK;
use crate::convert::resources;
use crate::wire::network::{EndpointIpam, EndpointSettings};

/// The driver option that names the interface inside.
const INTERFACE: &str = "com.docker.network.endpoint.ifname";

/// What is asked for, without the network's name.
pub(crate) fn spec_to_wire(spec: &EndpointSpec) -> EndpointSettings {
    EndpointSettings {
        ipam_config: spec.ipv4.map(|address| EndpointIpam {
            ipv4_address: address.to_string(),
            ..Default::default()
        }),
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
    refuse_ipv6(settings).context(named)?;
    for link in needed_links(&settings.links) {
        warnings.push(format!(
            "{}: link `{link}` is not supported and was ignored: give the other container an alias",
            named()
        ));
    }
    let ipv4 = match &settings.ipam_config {
        Some(ipam) if !ipam.ipv4_address.is_empty() => {
            let address = ipam.ipv4_address.parse().map_err(|_| {
                let text = &ipam.ipv4_address;
                Error::invalid(format!("`IPv4Address`: `{text}` is not an IPv4 address"))
                    .within(named())
            })?;
            Some(address)
        }
        _ => None,
    };
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
        ipv4,
        mac: resources::text(&settings.mac_address),
        gateway_priority: settings.gw_priority,
        interface: settings.driver_opts.get(INTERFACE).cloned(),
    })
}

fn refuse_ipv6(settings: &EndpointSettings) -> Result<()> {
    let Some(ipam) = &settings.ipam_config else {
        return Ok(());
    };
    if !ipam.ipv6_address.is_empty() || !ipam.link_local_ips.is_empty() {
        return Err(Error::unsupported(
            "`IPv6Address` and `LinkLocalIPs` are not supported",
        ));
    }
    Ok(())
}

/// The links that the network's DNS does not give anyway: those under another name.
fn needed_links(links: &[String]) -> impl Iterator<Item = &String> {
    links.iter().filter(|link| {
        link.split_once(':')
            .is_some_and(|(container, alias)| container != alias)
    })
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
        mac: resources::text(&settings.mac_address),
        dns_names: settings.dns_names.clone(),
    })
}

fn shown(address: Option<Ipv4Addr>) -> String {
    address
        .map(|address| address.to_string())
        .unwrap_or_default()
}

fn address(text: &str) -> Result<Option<Ipv4Addr>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Error::internal(format!("`{text}` is not an IPv4 address")))
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
            ipv4: Some(Ipv4Addr::new(172, 20, 0, 9)),
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
            ipam(|ipam| ipam.ipv6_address = "fd00::2".into()),
            ipam(|ipam| ipam.link_local_ips = vec!["169.254.0.2".into()]),
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
        assert!(warnings[0].contains("`db:base`"), "{warnings:?}");
        assert!(
            warnings[1].contains("`x`") && warnings.len() == 2,
            "{warnings:?}"
        );
    }
}
