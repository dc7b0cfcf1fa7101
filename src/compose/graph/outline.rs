//! What a picture shows: boxes and lines, without places.

use std::collections::BTreeMap;

use crate::model::Project;
use crate::model::service::{Condition, Port, Service};

/// How many ports one box lists.
const MAX_PORTS: usize = 4;

/// A project as boxes and lines, in the order of names.
pub(crate) struct Outline {
    pub(crate) project: String,
    /// Services first, then networks, then volumes.
    pub(crate) boxes: Vec<Shape>,
    pub(crate) lines: Vec<Line>,
}

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Service,
    Network,
    Volume,
}

/// One box.
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Image and replicas, ports; `external`.
    pub(crate) details: Vec<String>,
}

/// One line, between indices of boxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) link: Link,
}

/// What a line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Link {
    /// `depends_on`, with the condition's short word.
    Needs { until: &'static str, required: bool },
    /// A service is on a network.
    Joins,
    /// A service mounts a volume there.
    Mounts { target: String },
}

impl Outline {
    /// The outline of the services that are on.
    pub(crate) fn of(project: &Project) -> Self {
        let mut outline = Self {
            project: project.name.clone(),
            boxes: Vec::new(),
            lines: Vec::new(),
        };
        let mut services = BTreeMap::new();
        for (name, service) in &project.services {
            let details = details(project, service);
            services.insert(name.as_str(), outline.add(Kind::Service, name, details));
        }
        let mut networks = BTreeMap::new();
        for (name, network) in &project.networks {
            if project
                .services
                .values()
                .any(|service| service.networks.contains_key(name))
            {
                let details = external(network.external);
                networks.insert(name.as_str(), outline.add(Kind::Network, name, details));
            }
        }
        let mut volumes = BTreeMap::new();
        for (name, volume) in &project.volumes {
            if project
                .services
                .values()
                .any(|service| mounts(service, name))
            {
                let details = external(volume.external);
                volumes.insert(name.as_str(), outline.add(Kind::Volume, name, details));
            }
        }
        for (name, service) in &project.services {
            let from = services[name.as_str()];
            for (other, dependency) in &service.depends_on {
                if let Some(to) = services.get(other.as_str()) {
                    let link = Link::Needs {
                        until: until(dependency.condition),
                        required: dependency.required,
                    };
                    outline.link(from, *to, link);
                }
            }
            for network in service.networks.keys() {
                if let Some(to) = networks.get(network.as_str()) {
                    outline.link(from, *to, Link::Joins);
                }
            }
            for mount in &service.volumes {
                let volume = mount.source.as_deref().filter(|_| mount.kind == "volume");
                if let Some(to) = volume.and_then(|volume| volumes.get(volume)) {
                    let target = mount.target.clone();
                    outline.link(from, *to, Link::Mounts { target });
                }
            }
        }
        outline
    }

    fn add(&mut self, kind: Kind, name: &str, details: Vec<String>) -> usize {
        self.boxes.push(Shape {
            kind,
            name: name.to_owned(),
            details,
        });
        self.boxes.len() - 1
    }

    fn link(&mut self, from: usize, to: usize, link: Link) {
        self.lines.push(Line { from, to, link });
    }

    /// The boxes of a kind, with their indices.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (usize, &Shape)> {
        let boxes = self.boxes.iter().enumerate();
        boxes.filter(move |(_, shape)| shape.kind == kind)
    }
}

impl Link {
    /// The words beside a line; none for networks.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Needs {
                until,
                required: true,
            } => (*until).to_owned(),
            Self::Needs { until, .. } => format!("{until}, optional"),
            Self::Joins => String::new(),
            Self::Mounts { target } => target.clone(),
        }
    }
}

fn until(condition: Condition) -> &'static str {
    match condition {
        Condition::ServiceStarted => "started",
        Condition::ServiceHealthy => "healthy",
        Condition::ServiceCompletedSuccessfully => "completed",
    }
}

fn external(external: bool) -> Vec<String> {
    match external {
        true => vec!["external".to_owned()],
        false => Vec::new(),
    }
}

fn mounts(service: &Service, volume: &str) -> bool {
    let mut mounts = service.volumes.iter();
    mounts.any(|mount| mount.kind == "volume" && mount.source.as_deref() == Some(volume))
}

fn details(project: &Project, service: &Service) -> Vec<String> {
    let image = service.image_name(&project.name);
    let image = match (service.build.is_some(), service.replicas()) {
        (false, 1) => image,
        (true, 1) => format!("{image} (built)"),
        (false, count) => format!("{image} ×{count}"),
        (true, count) => format!("{image} (built) ×{count}"),
    };
    let mut ports: Vec<String> = service.ports.iter().take(MAX_PORTS).map(port).collect();
    if service.ports.len() > MAX_PORTS {
        ports.push(format!("and {} more", service.ports.len() - MAX_PORTS));
    }
    match ports.is_empty() {
        true => vec![image],
        false => vec![image, ports.join(", ")],
    }
}

fn port(port: &Port) -> String {
    let address = match port.host_ip.as_deref() {
        None | Some("") => String::new(),
        Some(ip) if ip.contains(':') => format!("[{ip}]:"),
        Some(ip) => format!("{ip}:"),
    };
    let published = port.published.as_deref().filter(|port| !port.is_empty());
    let protocol = port.protocol.as_deref().unwrap_or("tcp");
    format!(
        "{address}{}->{}/{protocol}",
        published.unwrap_or("*"),
        port.target
    )
}
