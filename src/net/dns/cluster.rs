//! The names of services, as Kubernetes' DNS specification has them (version 1.1.0,
//! <https://github.com/kubernetes/dns/blob/master/docs/specification.md>).
//!
//! Pure: built anew from all services after every change. Whatever ends in the cluster's domain is
//! answered here or exists nowhere, so that a search list never leads a question out of the cluster.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::dns::answer::Answer;
use crate::dns::message;
use crate::model::Protocol;

/// What the records of [`ClusterNames`] say the specification is.
const VERSION: &str = "1.1.0";

/// The name of one service and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// What it is called within its namespace.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its own addresses; without any the name stands for the hosts.
    pub addresses: Vec<IpAddr>,
    /// Its ports that have names.
    pub ports: Vec<PortName>,
    /// Who answers now.
    pub hosts: Vec<HostName>,
}

/// A port with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortName {
    /// What it is called within its service.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

/// A container behind a service without addresses of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// What it is called within its service; its address with dashes when `None`.
    pub name: Option<String>,
    /// Its address.
    pub address: IpAddr,
}

/// All names of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNames {
    /// What they all end in: `cluster.local`, as a rule.
    pub domain: String,
    /// The services.
    pub services: Vec<ServiceName>,
}

/// The same as it is asked.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// With a dot before it.
    domain: String,
    addresses: HashMap<String, Vec<IpAddr>>,
    /// A port and the name of who has it.
    ports: HashMap<String, Vec<(u16, String)>>,
    names: HashMap<IpAddr, String>,
    /// What other names end in, and is itself none.
    between: HashSet<String>,
}

impl Cluster {
    pub(crate) fn new(names: &ClusterNames) -> Self {
        let domain = names.domain.to_ascii_lowercase();
        let mut cluster = Self {
            domain: format!(".{domain}"),
            addresses: HashMap::new(),
            ports: HashMap::new(),
            names: HashMap::new(),
            between: HashSet::from([domain]),
        };
        for service in &names.services {
            cluster.add(service);
        }
        let all: Vec<String> = cluster
            .addresses
            .keys()
            .chain(cluster.ports.keys())
            .cloned()
            .collect();
        for name in all {
            cluster.add_between(&name);
        }
        cluster
    }

    fn add(&mut self, service: &ServiceName) {
        let ServiceName {
            name, namespace, ..
        } = service;
        let own = format!("{name}.{namespace}.svc{}", self.domain).to_ascii_lowercase();
        let mut answering = Vec::new();
        for address in &service.addresses {
            self.addresses
                .entry(own.clone())
                .or_default()
                .push(*address);
            self.names.insert(*address, own.clone());
        }
        match service.addresses.is_empty() {
            false => answering.push(own.clone()),
            true => {
                // There is such a name even while nobody answers.
                self.addresses.entry(own.clone()).or_default();
                for host in &service.hosts {
                    answering.push(self.add_host(&own, host));
                }
            }
        }
        for port in &service.ports {
            let name = format!("_{}._{}.{own}", port.name, port.protocol).to_ascii_lowercase();
            let all = answering.iter().map(|host| (port.port, host.clone()));
            self.ports.entry(name).or_default().extend(all);
        }
    }

    fn add_host(&mut self, service: &str, host: &HostName) -> String {
        let label = host.name.clone().unwrap_or_else(|| dashed(host.address));
        let name = format!("{label}.{service}").to_ascii_lowercase();
        for name in [service, &name] {
            self.addresses
                .entry(name.to_owned())
                .or_default()
                .push(host.address);
        }
        self.names
            .entry(host.address)
            .or_insert_with(|| name.clone());
        name
    }

    fn add_between(&mut self, name: &str) {
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if !self.between.insert(parent.to_owned()) || !parent.ends_with(&self.domain) {
                return;
            }
            rest = parent;
        }
    }

    /// What is said about a name of the cluster; nothing when it is none.
    pub(crate) fn resolve(&self, name: &str, kind: u16, turn: usize) -> Option<Answer> {
        if !name.ends_with(&self.domain) && name != &self.domain[1..] {
            return None;
        }
        if let Some(answer) = self.named(name, kind, turn) {
            return Some(answer);
        }
        let version = name.strip_suffix(&self.domain) == Some("dns-version");
        Some(match (version, self.between.contains(name)) {
            (true, _) if matches!(kind, message::TXT | message::ANY) => {
                Answer::Text(VERSION.to_owned())
            }
            (false, false) => match self.pod(name) {
                Some(address) => Answer::of(&[address], kind, turn),
                None => Answer::NoSuchName,
            },
            _ => Answer::Empty,
        })
    }

    fn named(&self, name: &str, kind: u16, turn: usize) -> Option<Answer> {
        if let Some(addresses) = self.addresses.get(name) {
            return Some(Answer::of(addresses, kind, turn));
        }
        let ports = self.ports.get(name)?;
        Some(match kind {
            message::SRV | message::ANY if !ports.is_empty() => Answer::Services(ports.clone()),
            _ => Answer::Empty,
        })
    }

    /// `10-1-0-2.<namespace>.pod.<domain>` is 10.1.0.2, whoever has that.
    fn pod(&self, name: &str) -> Option<IpAddr> {
        let rest = name.strip_suffix(&self.domain)?.strip_suffix(".pod")?;
        let (label, namespace) = rest.split_once('.')?;
        let is_one = !namespace.is_empty() && !namespace.contains('.');
        let address = label.replace('-', ".").parse().map(IpAddr::V4);
        let address = address.or_else(|_| label.replace('-', ":").parse().map(IpAddr::V6));
        address.ok().filter(|_| is_one)
    }

    /// The name of an address; nothing when it is of no service.
    pub(crate) fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.names.get(&address).map(String::as_str)
    }
}

fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let ip = |text: &str| text.parse().unwrap();
        let port = |name: &str, port| PortName {
            name: name.into(),
            protocol: Protocol::Tcp,
            port,
        };
        let host = |name: Option<&str>, address: &str| HostName {
            name: name.map(Into::into),
            address: ip(address),
        };
        let service = |name: &str, addresses: Vec<IpAddr>, hosts| ServiceName {
            name: name.into(),
            namespace: "shop".into(),
            addresses,
            ports: vec![port("http", 80)],
            hosts,
        };
        Cluster::new(&ClusterNames {
            domain: "Cluster.local".into(),
            services: vec![
                service("web", vec![ip("10.96.0.7")], vec![host(None, "10.1.0.2")]),
                service(
                    "db",
                    vec![],
                    vec![host(Some("db-0"), "10.1.0.3"), host(None, "10.1.0.4")],
                ),
                service("idle", vec![], vec![]),
            ],
        })
    }

    fn told(name: &str, kind: u16) -> String {
        match cluster().resolve(name, kind, 0) {
            None => "not ours".into(),
            Some(Answer::Addresses(all)) => all
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            Some(Answer::Services(all)) => {
                let one = |(port, name): &(u16, String)| format!("{port} {name}");
                all.iter().map(one).collect::<Vec<_>>().join(", ")
            }
            Some(Answer::Text(text)) => text,
            Some(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn services_and_hosts_have_names() {
        use message::{A, AAAA, SRV, TXT};
        assert_eq!(told("web.shop.svc.cluster.local", A), "10.96.0.7");
        assert_eq!(told("web.shop.svc.cluster.local", AAAA), "Empty");
        assert_eq!(told("db.shop.svc.cluster.local", A), "10.1.0.3 10.1.0.4");
        assert_eq!(told("db-0.db.shop.svc.cluster.local", A), "10.1.0.3");
        assert_eq!(told("10-1-0-4.db.shop.svc.cluster.local", A), "10.1.0.4");
        assert_eq!(
            told("_http._tcp.web.shop.svc.cluster.local", SRV),
            "80 web.shop.svc.cluster.local"
        );
        assert_eq!(
            told("_http._tcp.db.shop.svc.cluster.local", SRV),
            "80 db-0.db.shop.svc.cluster.local, 80 10-1-0-4.db.shop.svc.cluster.local"
        );
        assert_eq!(told("10-1-0-9.shop.pod.cluster.local", A), "10.1.0.9");
        assert_eq!(told("dns-version.cluster.local", TXT), "1.1.0");
        let name = cluster();
        assert_eq!(
            name.name_of("10.1.0.3".parse().unwrap()),
            Some("db-0.db.shop.svc.cluster.local")
        );
    }

    #[test]
    fn nothing_leaves_the_cluster() {
        use message::A;
        for empty in [
            "idle.shop.svc.cluster.local",
            "shop.svc.cluster.local",
            "svc.cluster.local",
            "cluster.local",
            "_tcp.web.shop.svc.cluster.local",
        ] {
            assert_eq!(told(empty, A), "Empty", "{empty}");
        }
        for none in [
            "nobody.shop.svc.cluster.local",
            "example.com.shop.svc.cluster.local",
            "web.other.svc.cluster.local",
            "x.pod.cluster.local",
        ] {
            assert_eq!(told(none, A), "NoSuchName", "{none}");
        }
        for other in ["example.com", "notcluster.local", "local", "web"] {
            assert_eq!(told(other, A), "not ours", "{other}");
        }
    }
}
