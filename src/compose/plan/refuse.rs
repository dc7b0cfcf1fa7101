//! What a plan refuses before it plans anything: all of it is told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use orc_base::{Error, Result};

use crate::model::service::Service;
use crate::model::{Finding, Project, Severity, Subject};
use crate::node::{Node, Trail};
use crate::plan::Plan;
use crate::short::ports::range;

/// How many replicas one service may have.
const MAX_REPLICAS: u64 = 1_000;
/// How many containers one project may have.
const MAX_CONTAINERS: u64 = 5_000;
/// How many ports one project may publish.
const MAX_PORTS: usize = 20_000;

/// How many refusals are told at once.
const MAX_TOLD: usize = 20;

/// All that a plan is refused for.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Vec<Error>);

impl Refusals {
    /// Notes one, told once.
    fn add(&mut self, error: Error) {
        let text = error.to_string();
        if !self.0.iter().any(|other| other.to_string() == text) {
            self.0.push(error);
        }
    }

    /// All of them as one error, of the kind of the first; none is fine.
    pub(crate) fn end(self) -> Result<()> {
        let Some(kind) = self.0.first().map(Error::kind) else {
            return Ok(());
        };
        let more = self.0.len().saturating_sub(MAX_TOLD);
        let told = self.0.iter().take(MAX_TOLD).map(ToString::to_string);
        let mut texts: Vec<String> = told.collect();
        if more > 0 {
            texts.push(format!("and {more} more: mend these first"));
        }
        Err(Error::new(kind, texts.join("\n")))
    }
}

/// Notes what the files ask of these services and orc does not do, and puts warnings in the plan.
pub(crate) fn findings(
    project: &Project,
    scope: &BTreeSet<String>,
    plan: &mut Plan,
    refusals: &mut Refusals,
) {
    let services = || scope.iter().filter_map(|name| project.service(name));
    for finding in &project.findings {
        let concerns = match &finding.subject {
            Subject::Project => true,
            Subject::Service(name) => scope.contains(name),
            Subject::Network(key) => services().any(|service| service.networks.contains_key(key)),
            Subject::Volume(key) => services().any(|service| mounts_volume(service, key)),
        };
        if concerns {
            heed(finding, plan, refusals);
        }
    }
}

/// Notes what the `build` sections of these services ask of orc and it does not do; nothing else
/// about them matters to a build.
pub(crate) fn builds(
    project: &Project,
    scope: &BTreeSet<String>,
    plan: &mut Plan,
    refusals: &mut Refusals,
) {
    for finding in &project.findings {
        let Subject::Service(name) = &finding.subject else {
            continue;
        };
        if scope.contains(name) && finding.text.contains(&format!("services.{name}.build")) {
            heed(finding, plan, refusals);
        }
    }
}

fn heed(finding: &Finding, plan: &mut Plan, refusals: &mut Refusals) {
    match finding.severity {
        Severity::Warning => plan.warn(&finding.text),
        Severity::Unsupported => refusals.add(Error::unsupported(&finding.text)),
        Severity::Missing => refusals.add(Error::invalid(&finding.text)),
    }
}

/// Whether a service mounts a volume of the project.
pub(crate) fn mounts_volume(service: &Service, key: &str) -> bool {
    service
        .volumes
        .iter()
        .any(|volume| volume.kind == "volume" && volume.source.as_deref() == Some(key))
}

/// Notes numbers of replicas and ports that cannot be meant.
pub(crate) fn numbers(
    project: &Project,
    replicas: &BTreeMap<String, u64>,
    refusals: &mut Refusals,
) {
    let mut containers = 0_u64;
    let mut ports = 0_usize;
    for (name, count) in replicas {
        let Some(service) = project.service(name) else {
            continue;
        };
        if *count > MAX_REPLICAS {
            let text =
                format!("{count} replicas are more than the {MAX_REPLICAS} that one machine takes");
            let text = placed(project, name, None, None, &text);
            refusals.add(Error::exhausted(text));
        }
        if *count > 1
            && let Some(fixed) = &service.container_name
        {
            let text =
                format!("{count} replicas cannot all be called {fixed}: take container_name away");
            let text = placed(project, name, Some("container_name"), None, &text);
            refusals.add(Error::invalid(text));
        }
        containers = containers.saturating_add(*count);
        let count = usize::try_from(*count).unwrap_or(usize::MAX);
        ports = ports.saturating_add(service.ports.len().saturating_mul(count));
    }
    if containers > MAX_CONTAINERS {
        refusals.add(Error::exhausted(format!(
            "{containers} containers are more than the {MAX_CONTAINERS} that one machine takes"
        )));
    }
    if ports > MAX_PORTS {
        refusals.add(Error::exhausted(format!(
            "{ports} published ports are more than the {MAX_PORTS} that one machine takes"
        )));
    }
}

/// The text with the place in the files that it is about; the service's name where no file says.
fn placed(
    project: &Project,
    service: &str,
    key: Option<&str>,
    index: Option<usize>,
    text: &str,
) -> String {
    let section = Trail::ROOT.key("services");
    let at = section.key(service);
    let services = project.tree.get("services").and_then(Node::map);
    let Some(entry) = services.and_then(|services| services.entry(service)) else {
        return format!("service {service}: {text}");
    };
    let Some(key) = key else {
        return at.shown(&entry.key, text);
    };
    let at = at.key(key);
    match (entry.node.get(key), index) {
        (None, _) => at.shown(&entry.key, text),
        (Some(node), None) => at.shown(&node.span, text),
        (Some(node), Some(index)) => {
            let item = node.list().and_then(|items| items.get(index));
            at.index(index).shown(&item.unwrap_or(node).span, text)
        }
    }
}

/// An address of the machine, and the service that publishes there.
type Holder<'a> = (Option<IpAddr>, &'a str);

/// Notes ports of the machine that two containers of the project would have to share.
///
/// # Errors
///
/// A range of ports that is none.
pub(crate) fn ports(
    project: &Project,
    replicas: &BTreeMap<String, u64>,
    refusals: &mut Refusals,
) -> Result<()> {
    let mut taken: BTreeMap<(u16, String), Vec<Holder<'_>>> = BTreeMap::new();
    let running = replicas.iter().filter(|(_, count)| **count > 0);
    for (name, count) in running {
        let Some(service) = project.service(name) else {
            continue;
        };
        for (index, port) in service.ports.iter().enumerate() {
            let Some(published) = port.published.as_deref().filter(|text| !text.is_empty()) else {
                continue;
            };
            let mut refuse = |text: &str| {
                let text = placed(project, name, Some("ports"), Some(index), text);
                refusals.add(Error::conflict(text));
            };
            let (first, last) = range(published)?;
            if u64::from(last - first) + 1 < *count {
                refuse(&format!(
                    "{count} replicas cannot all publish port {published} of this machine: publish a range as wide, or no host port"
                ));
                continue;
            }
            if first != last {
                continue;
            }
            let ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
            let protocol = port.protocol.clone().unwrap_or_else(|| "tcp".into());
            let others = taken.entry((first, protocol.clone())).or_default();
            if let Some((_, other)) = others.iter().find(|(other, _)| overlap(*other, ip)) {
                refuse(&format!(
                    "services {other} and {name} both publish port {first}/{protocol} of this machine: change one"
                ));
                continue;
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
