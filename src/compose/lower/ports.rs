//! Published and exposed ports of a service.

use std::collections::BTreeSet;

use orc_base::{Error, Result};
use orc_host::network::{Port, PortBinding, Protocol};

use crate::model::service::Service;
use crate::notation;
use crate::short::ports::range;

/// What is reachable from outside.
pub(crate) fn bindings(service: &Service) -> Result<Vec<PortBinding>> {
    service
        .ports
        .iter()
        .map(|port| {
            let published = port.published.as_deref().filter(|text| !text.is_empty());
            let host_ip = port.host_ip.as_deref().filter(|text| !text.is_empty());
            Ok(PortBinding {
                port: Port {
                    number: port.target,
                    protocol: protocol(port.protocol.as_deref())?,
                },
                host_ip: host_ip
                    .map(|text| {
                        text.parse()
                            .map_err(|_| Error::invalid(format!("invalid ip address: {text}")))
                    })
                    .transpose()?,
                host_ports: published.map(range).transpose()?,
            })
        })
        .collect()
}

/// What it listens on: `expose` and the targets of `ports`.
pub(crate) fn exposed(service: &Service) -> Result<BTreeSet<Port>> {
    let mut all = BTreeSet::new();
    for text in &service.expose {
        all.extend(notation::exposed(text)?);
    }
    for binding in bindings(service)? {
        all.insert(binding.port);
    }
    Ok(all)
}

fn protocol(text: Option<&str>) -> Result<Protocol> {
    text.filter(|text| !text.is_empty())
        .map_or(Ok(Protocol::Tcp), str::parse)
}
