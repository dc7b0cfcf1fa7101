//! Ports of containers and their places on the machine.

use std::net::{IpAddr, Ipv4Addr};

use orc_base::{Context, Error, Result};
use orc_host::network::{Port, PortBinding, PublishedPort};

use crate::wire::host_config as wire;
use crate::wire::json::Ordered;

/// `HostConfig.PortBindings`.
pub(crate) fn bindings_to_wire(bindings: &[PortBinding]) -> Ordered<Vec<wire::PortBinding>> {
    let mut ports: Ordered<Vec<wire::PortBinding>> = Ordered::default();
    for binding in bindings {
        ports
            .entry(&binding.port.to_string())
            .push(wire::PortBinding {
                host_ip: binding.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                host_port: match binding.host_ports {
                    None => String::new(),
                    Some((first, last)) if first == last => first.to_string(),
                    Some((first, last)) => format!("{first}-{last}"),
                },
            });
    }
    ports
}

/// The inverse of [`bindings_to_wire`].
pub(crate) fn bindings_from_wire(
    ports: &Ordered<Vec<wire::PortBinding>>,
) -> Result<Vec<PortBinding>> {
    let mut bindings = Vec::new();
    for (port, places) in &ports.0 {
        let port: Port = port.parse().context(|| "`HostConfig.PortBindings`")?;
        for place in places {
            let binding = binding_from_wire(port, place)
                .context(|| format!("`HostConfig.PortBindings` of {port}"))?;
            bindings.push(binding);
        }
    }
    Ok(bindings)
}

fn binding_from_wire(port: Port, place: &wire::PortBinding) -> Result<PortBinding> {
    let host_ip = match place.host_ip.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| Error::invalid(format!("`HostIp`: `{text}` is not an address")))?,
        ),
    };
    Ok(PortBinding {
        port,
        host_ip,
        host_ports: host_ports(&place.host_port)?,
    })
}

/// Empty and 0 are any free port.
fn host_ports(text: &str) -> Result<Option<(u16, u16)>> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Some((first, last))),
        _ => Err(Error::invalid(format!(
            "`HostPort`: `{text}` is not a port or a range such as 8000-8010"
        ))),
    }
}

/// `NetworkSettings.Ports`: what is published, and `null` for what is only exposed.
pub(crate) fn published_to_wire(
    published: &[PublishedPort],
    exposed: impl IntoIterator<Item = Port>,
) -> Ordered<Option<Vec<wire::PortBinding>>> {
    let mut ports: Ordered<Option<Vec<wire::PortBinding>>> = Ordered::default();
    for port in published {
        let places = ports.entry(&port.port.to_string());
        places.get_or_insert_default().push(wire::PortBinding {
            host_ip: port.host_ip.to_string(),
            host_port: port.host_port.to_string(),
        });
    }
    for port in exposed {
        ports.entry(&port.to_string());
    }
    ports
}

/// The inverse of [`published_to_wire`]: what is published.
pub(crate) fn published_from_wire(
    ports: &Ordered<Option<Vec<wire::PortBinding>>>,
) -> Result<Vec<PublishedPort>> {
    let mut published = Vec::new();
    for (port, places) in &ports.0 {
        let port: Port = port.parse()?;
        for place in places.iter().flatten() {
            let binding = binding_from_wire(port, place)?;
            let Some((host_port, _)) = binding.host_ports else {
                continue;
            };
            published.push(PublishedPort {
                port,
                host_ip: binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                host_port,
            });
        }
    }
    Ok(published)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(ip: &str, port: &str) -> wire::PortBinding {
        wire::PortBinding {
            host_ip: ip.into(),
            host_port: port.into(),
        }
    }

    #[test]
    fn bindings_come_back() {
        let ports: Ordered<Vec<wire::PortBinding>> = [
            (
                "80/tcp".to_string(),
                vec![place("127.0.0.1", "8080"), place("", "")],
            ),
            ("53/udp".to_string(), vec![place("::1", "5300-5310")]),
        ]
        .into_iter()
        .collect();
        let bindings = bindings_from_wire(&ports).unwrap();
        assert_eq!(bindings.len(), 3);
        assert_eq!(bindings[2].host_ports, Some((5300, 5310)));
        assert_eq!(bindings_to_wire(&bindings), ports);
    }

    #[test]
    fn wrong_ports_are_named() {
        for (port, ip, host) in [
            ("80/tcp", "", "70000"),
            ("80/tcp", "", "9-8"),
            ("80/tcp", "localhost", "1"),
            ("0", "", "1"),
            ("80/sctp", "", "1"),
        ] {
            let ports = [(port.to_string(), vec![place(ip, host)])]
                .into_iter()
                .collect();
            let text = bindings_from_wire(&ports).unwrap_err().to_string();
            assert!(text.contains("HostConfig.PortBindings"), "{text}");
        }
    }
}
