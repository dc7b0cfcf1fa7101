//! What a plan refuses before it plans anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use orc_base::{Error, Kind, Result};

use crate::model::service::Service;
use crate::model::{Project, Severity, Subject};
use crate::plan::Plan;
use crate::short::ports::range;

/// How many replicas one service may have.
const MAX_REPLICAS: u64 = 1_000;
/// How many containers one project may have.
const MAX_CONTAINERS: u64 = 5_000;
/// How many ports one project may publish.
const MAX_PORTS: usize = 20_000;

/// Refuses what the files ask of these services and orc does not do, and puts warnings in the plan.
pub(crate) fn findings(project: &Project, scope: &BTreeSet<String>, plan: &mut Plan) -> Result<()> {
    let services = || scope.iter().filter_map(|name| project.service(name));
    for finding in &project.findings {
        let concerns = match &finding.subject {
            Subject::Project => true,
            Subject::Service(name) => scope.contains(name),
            Subject::Network(key) => services().any(|service| service.networks.contains_key(key)),
            Subject::Volume(key) => services().any(|service| mounts_volume(service, key)),
        };
        if !concerns {
            continue;
        }
        match finding.severity {
            Severity::Warning => plan.warn(&finding.text),
            Severity::Unsupported => return Err(Error::unsupported(&finding.text)),
            Severity::Missing => return Err(Error::invalid(&finding.text)),
        }
    }
    Ok(())
}

/// Refuses what the `build` sections of these services ask of orc and it does not do; nothing else
/// about them matters to a build.
pub(crate) fn builds(project: &Project, scope: &BTreeSet<String>, plan: &mut Plan) -> Result<()> {
    for finding in &project.findings {
        let Subject::Service(name) = &finding.subject else {
            continue;
        };
        if !scope.contains(name) || !finding.text.contains(&format!("services.{name}.build")) {
            continue;
        }
        match finding.severity {
            Severity::Warning => plan.warn(&finding.text),
            Severity::Unsupported => return Err(Error::unsupported(&finding.text)),
            Severity::Missing => return Err(Error::invalid(&finding.text)),
        }
    }
    Ok(())
}

/// Whether a service mounts a volume of the project.
pub(crate) fn mounts_volume(service: &Service, key: &str) -> bool {
    service
        .volumes
        .iter()
        .any(|volume| volume.kind == "volume" && volume.source.as_deref() == Some(key))
}

/// Refuses numbers of replicas and ports that cannot be meant.
pub(crate) fn numbers(project: &Project, replicas: &BTreeMap<String, u64>) -> Result<()> {
    let mut containers = 0;
    let mut ports = 0;
    for (name, count) in replicas {
        let Some(service) = project.service(name) else {
            continue;
        };
        if *count > MAX_REPLICAS {
            return Err(too_many(&format!(
                "service {name}: {count} replicas are more than the {MAX_REPLICAS} that one machine takes"
            )));
        }
        if *count > 1
            && let Some(fixed) = &service.container_name
        {
            return Err(Error::invalid(format!(
                "service {name}: {count} replicas cannot all be called {fixed}: take container_name away"
            )));
        }
        containers += count;
        ports += service.ports.len() * usize::try_from(*count).unwrap_or(usize::MAX);
    }
    if containers > MAX_CONTAINERS {
        return Err(too_many(&format!(
            "{containers} containers are more than the {MAX_CONTAINERS} that one machine takes"
        )));
    }
    if ports > MAX_PORTS {
        return Err(too_many(&format!(
            "{ports} published ports are more than the {MAX_PORTS} that one machine takes"
        )));
    }
    Ok(())
}

fn too_many(text: &str) -> Error {
    Error::new(Kind::Exhausted, text)
}

/// An address of the machine, and the service that publishes there.
type Holder<'a> = (Option<IpAddr>, &'a str);

/// Refuses a port of the machine that two containers of the project would have to share.
pub(crate) fn ports(project: &Project, replicas: &BTreeMap<String, u64>) -> Result<()> {
    let mut taken: BTreeMap<(u16, String), Vec<Holder<'_>>> = BTreeMap::new();
    let running = replicas.iter().filter(|(_, count)| **count > 0);
    for (name, count) in running {
        let Some(service) = project.service(name) else {
            continue;
        };
        for port in &service.ports {
            let Some(published) = port.published.as_deref().filter(|text| !text.is_empty()) else {
                continue;
            };
            let (first, last) = range(published)?;
            if u64::from(last - first) + 1 < *count {
                return Err(Error::conflict(format!(
                    "service {name}: {count} replicas cannot all publish port {published} of this machine: publish a range as wide, or no host port"
                )));
            }
            if first != last {
                continue;
            }
            let ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
            let protocol = port.protocol.clone().unwrap_or_else(|| "tcp".into());
            let others = taken.entry((first, protocol.clone())).or_default();
            if let Some((_, other)) = others.iter().find(|(other, _)| overlap(*other, ip)) {
                return Err(Error::conflict(format!(
                    "services {other} and {name} both publish port {first}/{protocol} of this machine: change one"
                )));
            }
            others.push((ip, name));
        }
    }
    Ok(())
}

/// Whether two bindings of one port exclude each other; no address is all of them.
fn overlap(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => {
            let same_family = a.is_ipv4() == b.is_ipv4();
            same_family && (a == b || a.is_unspecified() || b.is_unspecified())
        }
        _ => true,
    }
}
