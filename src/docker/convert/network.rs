//! Networks: Docker's JSON of them, and back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use orc_base::{Context, Error, Result};
use orc_host::network::{AddressPool, Network, NetworkEndpoint, NetworkSpec, OPTIONS};

use crate::convert::resources;
use crate::convert::unsupported::{self, Place};
use crate::wire::network as wire;

/// What `docker network inspect` prints.
pub(crate) fn to_wire(network: &Network) -> wire::Network {
    let spec = &network.spec;
    wire::Network {
        name: spec.name.clone(),
        id: network.id.clone(),
        created: network.created.to_string(),
        scope: "local".into(),
        driver: match spec.driver.as_str() {
            "" => "bridge".into(),
            driver => driver.into(),
        },
        enable_ipv4: true,
        enable_ipv6: spec.ipv6,
        ipam: ipam_to_wire(&spec.ipam),
        internal: spec.internal,
        attachable: spec.attachable,
        containers: network
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.container.clone(), endpoint_to_wire(endpoint)))
            .collect(),
        options: spec.options.clone(),
        labels: spec.labels.clone(),
        ..Default::default()
    }
}

/// The inverse of [`to_wire`].
pub(crate) fn from_wire(network: &wire::Network) -> Result<Network> {
    let convert = || -> Result<Network> {
        Ok(Network {
            id: network.id.clone(),
            spec: NetworkSpec {
                name: network.name.clone(),
                driver: network.driver.clone(),
                options: network.options.clone(),
                labels: network.labels.clone(),
                internal: network.internal,
                attachable: network.attachable,
                ipv6: network.enable_ipv6,
                ipam: ipam_from_wire(&network.ipam)?,
            },
            created: network.created.parse()?,
            endpoints: network
                .containers
                .0
                .iter()
                .map(|(container, endpoint)| endpoint_from_wire(container, endpoint))
                .collect::<Result<_>>()?,
        })
    };
    convert()
        .map_err(|error| error.with_kind(orc_base::Kind::Internal))
        .context(|| format!("read network {}", network.id))
}

/// The body that asks for a network.
pub(crate) fn body(spec: &NetworkSpec) -> wire::CreateBody {
    wire::CreateBody {
        name: spec.name.clone(),
        driver: spec.driver.clone(),
        enable_ipv6: Some(spec.ipv6),
        ipam: Some(ipam_to_wire(&spec.ipam)),
        internal: spec.internal,
        attachable: spec.attachable,
        options: spec.options.clone(),
        labels: spec.labels.clone(),
        ..Default::default()
    }
}

/// What a body asks for, and what of it is not done.
pub(crate) fn spec(body: &wire::CreateBody) -> Result<(NetworkSpec, Vec<String>)> {
    let mut warnings = Vec::new();
    unsupported::check(Place::Network, &body.other, &mut warnings)?;
    let config_from = body
        .config_from
        .as_ref()
        .is_some_and(|from| !from.network.is_empty());
    let swarm = !matches!(body.scope.as_str(), "" | "local");
    for (member, set) in [
        ("Scope", swarm),
        ("Ingress", body.ingress),
        ("ConfigOnly", body.config_only),
        ("ConfigFrom", config_from),
        ("EnableIPv4", body.enable_ipv4 == Some(false)),
    ] {
        if set {
            return Err(Error::unsupported(format!(
                "`{member}` of a network is not supported: leave it out"
            )));
        }
    }
    let none = wire::Ipam::default();
    let ipam = body.ipam.as_ref().unwrap_or(&none);
    let options = ipam
        .options
        .as_ref()
        .is_some_and(|options| !options.is_empty());
    if options || !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(Error::unsupported(
            "`IPAM`: only the default driver without options is supported",
        ));
    }
    let unknown = |option: &&String| !OPTIONS.contains(&option.as_str());
    for option in body.options.keys().filter(unknown) {
        warnings.push(format!(
            "network option `{option}` is not supported and was ignored"
        ));
    }
    let spec = NetworkSpec {
        name: body.name.clone(),
        driver: body.driver.clone(),
        options: body.options.clone(),
        labels: body.labels.clone(),
        internal: body.internal,
        attachable: body.attachable,
        ipv6: body.enable_ipv6.unwrap_or(false),
        ipam: ipam_from_wire(ipam)?,
    };
    Ok((spec, warnings))
}

fn ipam_to_wire(pools: &[AddressPool]) -> wire::Ipam {
    let addresses = |addresses: &BTreeMap<String, IpAddr>| {
        addresses
            .iter()
            .map(|(name, address)| (name.clone(), address.to_string()))
            .collect()
    };
    wire::Ipam {
        driver: "default".into(),
        options: None,
        config: pools
            .iter()
            .map(|pool| wire::IpamConfig {
                subnet: pool.subnet.clone().unwrap_or_default(),
                ip_range: pool.ip_range.clone().unwrap_or_default(),
                gateway: pool
                    .gateway
                    .map(|address| address.to_string())
                    .unwrap_or_default(),
                auxiliary_addresses: addresses(&pool.reserved),
            })
            .collect(),
    }
}

fn ipam_from_wire(ipam: &wire::Ipam) -> Result<Vec<AddressPool>> {
    let pool = |config: &wire::IpamConfig| -> Result<AddressPool> {
        Ok(AddressPool {
            subnet: resources::text(&config.subnet),
            ip_range: resources::text(&config.ip_range),
            gateway: match config.gateway.as_str() {
                "" => None,
                text => Some(address("Gateway", text)?),
            },
            reserved: config
                .auxiliary_addresses
                .iter()
                .map(|(name, text)| Ok((name.clone(), address("AuxiliaryAddresses", text)?)))
                .collect::<Result<_>>()?,
        })
    };
    ipam.config.iter().map(pool).collect()
}

fn address(member: &str, text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| {
        Error::invalid(format!(
            "`IPAM.Config.{member}`: `{text}` is not an address"
        ))
    })
}

fn endpoint_to_wire(endpoint: &NetworkEndpoint) -> wire::NetworkContainer {
    wire::NetworkContainer {
        name: endpoint.name.clone(),
        endpoint_id: endpoint.container.clone(),
        mac_address: endpoint.mac.clone(),
        ipv4_address: format!("{}/{}", endpoint.address, endpoint.prefix),
        ipv6_address: endpoint
            .ipv6
            .map(|(address, prefix)| format!("{address}/{prefix}"))
            .unwrap_or_default(),
    }
}

fn endpoint_from_wire(container: &str, wire: &wire::NetworkContainer) -> Result<NetworkEndpoint> {
    let (address, prefix) = with_prefix(&wire.ipv4_address)?;
    let ipv6 = match wire.ipv6_address.as_str() {
        "" => None,
        text => Some(with_prefix(text)?),
    };
    Ok(NetworkEndpoint {
        container: container.into(),
        name: wire.name.clone(),
        address,
        prefix,
        ipv6,
        mac: wire.mac_address.clone(),
    })
}

/// Reads `172.20.0.2/16`.
fn with_prefix<A: std::str::FromStr>(text: &str) -> Result<(A, u8)> {
    text.split_once('/')
        .and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)))
        .ok_or_else(|| Error::internal(format!("`{text}` is not an address with a prefix")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_comes_back() {
        let wish = NetworkSpec {
            name: "front".into(),
            driver: "bridge".into(),
            options: [(
                "com.docker.network.driver.mtu".to_string(),
                "1400".to_string(),
            )]
            .into(),
            labels: [("a".to_string(), "b".to_string())].into(),
            internal: true,
            attachable: true,
            ipv6: true,
            ipam: vec![AddressPool {
                subnet: Some("172.20.0.0/16".into()),
                ip_range: Some("172.20.5.0/24".into()),
                gateway: Some("172.20.0.1".parse().unwrap()),
                reserved: [("router".to_string(), "172.20.0.9".parse().unwrap())].into(),
            }],
        };
        assert_eq!(spec(&body(&wish)).unwrap(), (wish, vec![]));
    }

    #[test]
    fn endpoints_come_back() {
        let endpoint = NetworkEndpoint {
            container: "ab".into(),
            name: "web".into(),
            address: "172.20.0.2".parse().unwrap(),
            prefix: 16,
            ipv6: Some(("fd00::2".parse().unwrap(), 64)),
            mac: "02:42:ac:14:00:02".into(),
        };
        let mut wire = endpoint_to_wire(&endpoint);
        assert_eq!(wire.ipv6_address, "fd00::2/64");
        assert_eq!(endpoint_from_wire("ab", &wire).unwrap(), endpoint);
        wire.ipv6_address = "fd00::2".into();
        assert!(endpoint_from_wire("ab", &wire).is_err());
    }

    #[test]
    fn unknown_options_are_told() {
        let body: wire::CreateBody = serde_json::from_str(
            r#"{"Name":"n","Options":{"com.docker.network.driver.mtu":"1400","parent":"eth0"}}"#,
        )
        .unwrap();
        let (_, warnings) = spec(&body).unwrap();
        assert_eq!(
            warnings,
            ["network option `parent` is not supported and was ignored"]
        );
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let refused = |text: &str| {
            let body: wire::CreateBody = serde_json::from_str(text).unwrap();
            spec(&body).unwrap_err().to_string()
        };
        assert!(refused(r#"{"Ingress":true}"#).contains("Ingress"));
        assert!(refused(r#"{"Scope":"swarm"}"#).contains("Scope"));
        assert!(refused(r#"{"EnableIPv4":false}"#).contains("EnableIPv4"));
        assert!(refused(r#"{"IPAM":{"Driver":"dhcp"}}"#).contains("IPAM"));
        assert!(refused(r#"{"IPAM":{"Config":[{"Gateway":"x"}]}}"#).contains("Gateway"));
    }
}
