//! Containers, images, networks and volumes in the words and columns of `docker ps` and its kin.
//!
//! Pure: things and the time in, rows out.

use orc_base::{Time, units};
use orc_host::container::{Container, Health, HealthStatus, MountKind, State};
use orc_host::image::Image;
use orc_host::network::{Network, PublishedPort};
use orc_host::volume::Volume;

use crate::ui::format::{Column, Row};
use crate::ui::table::ellipsis;

/// The usual columns of `ps`.
pub(crate) const CONTAINERS: &[Column] = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("STATUS", "Status"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
];

/// Digits of an id that people see.
const SHORT: usize = 12;
/// Characters of a command that people see.
const COMMAND: usize = 20;

/// The first digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..SHORT).unwrap_or(digits)
}

/// An id as it was asked for.
fn id(id: &str, whole: bool) -> &str {
    if whole { id } else { short_id(id) }
}

/// How long ago something was.
pub(crate) fn ago(then: Time, now: Time) -> String {
    format!("{} ago", units::human_duration(now.since(then)))
}

/// One line of `ps`.
pub(crate) fn container(container: &Container, now: Time, whole: bool) -> Row {
    let command = container.args.join(" ");
    let command = if whole {
        command
    } else {
        ellipsis(&command, COMMAND)
    };
    let mounts: Vec<&str> = container
        .mounts
        .iter()
        .map(|mount| mount.name.as_deref().unwrap_or(&mount.source))
        .filter(|name| !name.is_empty())
        .collect();
    let mounts: Vec<String> = match whole {
        true => mounts.iter().map(|name| (*name).to_owned()).collect(),
        false => mounts.iter().map(|name| ellipsis(name, 15)).collect(),
    };
    let volumes = container
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Volume)
        .count();
    let networks: Vec<&str> = container
        .endpoints
        .iter()
        .map(|endpoint| endpoint.network_name.as_str())
        .collect();
    let labels: Vec<String> = container
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Row {
        labels: container.labels.clone(),
        ..Row::default()
    }
    .with("Command", format!("\"{command}\""))
    .with("CreatedAt", container.created.to_string())
    .with("ID", id(&container.id, whole))
    .with("Image", container.spec.image.clone())
    .with("Labels", labels.join(","))
    .with("LocalVolumes", volumes.to_string())
    .with("Mounts", mounts.join(","))
    .with("Names", container.name.clone())
    .with("Networks", networks.join(","))
    .with("Ports", ports(container))
    .with("RunningFor", ago(container.created, now))
    .with("Size", "0B")
    .with("State", container.state.as_str())
    .with("Status", status(container, now))
}

/// Where a container is in its life, in Docker's words.
pub(crate) fn status(container: &Container, now: Time) -> String {
    let since = |time: Time| units::human_duration(now.since(time));
    match &container.state {
        State::Created { .. } => "Created".into(),
        State::Removing => "Removal In Progress".into(),
        State::Running { started_at, .. } => format!(
            "Up {}{}",
            since(*started_at),
            health(container.health.as_ref())
        ),
        State::Paused { started_at, .. } => format!("Up {} (Paused)", since(*started_at)),
        State::Restarting { exit } => {
            format!("Restarting ({}) {} ago", exit.code, since(exit.finished_at))
        }
        State::Exited { exit } => format!("Exited ({}) {} ago", exit.code, since(exit.finished_at)),
    }
}

fn health(health: Option<&Health>) -> &'static str {
    match health.map(|health| health.status) {
        None => "",
        Some(HealthStatus::Starting) => " (health: starting)",
        Some(HealthStatus::Healthy) => " (healthy)",
        Some(HealthStatus::Unhealthy) => " (unhealthy)",
    }
}

/// Published ports, runs of them as ranges, and then the ones that are only exposed.
pub(crate) fn ports(container: &Container) -> String {
    let mut published = container.published.clone();
    published.sort_by_key(|port| {
        (
            port.port.protocol,
            port.host_ip,
            port.port.number,
            port.host_port,
        )
    });
    let mut runs: Vec<(PublishedPort, u16)> = Vec::new();
    for port in published {
        match runs.last_mut() {
            Some((first, length)) if continues(first, *length, &port) => *length += 1,
            _ => runs.push((port, 1)),
        }
    }
    let mut texts: Vec<String> = runs
        .iter()
        .map(|(first, length)| run(first, *length))
        .collect();
    if container.state.is_running() {
        let hidden = container.spec.exposed_ports.iter().filter(|port| {
            !container
                .published
                .iter()
                .any(|published| published.port == **port)
        });
        texts.extend(hidden.map(ToString::to_string));
    }
    texts.join(", ")
}

fn continues(first: &PublishedPort, length: u16, port: &PublishedPort) -> bool {
    port.host_ip == first.host_ip
        && port.port.protocol == first.port.protocol
        && first.port.number.checked_add(length) == Some(port.port.number)
        && first.host_port.checked_add(length) == Some(port.host_port)
}

fn run(first: &PublishedPort, length: u16) -> String {
    let range = |from: u16| match length {
        1 => from.to_string(),
        _ => format!("{from}-{}", from + (length - 1)),
    };
    let ip = match first.host_ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let (outside, inside) = (range(first.host_port), range(first.port.number));
    format!("{ip}:{outside}->{inside}/{}", first.port.protocol)
}

/// The usual columns of `images`.
pub(crate) const IMAGES: &[Column] = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
];

/// The lines of `images` for one image: one for each of its names.
pub(crate) fn image(image: &Image, now: Time, whole: bool) -> Vec<Row> {
    const NONE: &str = "<none>";
    let mut names: Vec<(&str, &str)> = image.tags.iter().map(|name| split_tag(name)).collect();
    if names.is_empty() {
        let repository = image
            .digests
            .first()
            .and_then(|digest| digest.split_once('@'));
        names.push((repository.map_or(NONE, |(repository, _)| repository), NONE));
    }
    let row = |(repository, tag): (&str, &str)| {
        let digest = image
            .digests
            .iter()
            .filter_map(|digest| digest.split_once('@'))
            .find(|(name, _)| *name == repository)
            .map_or(NONE, |(_, digest)| digest);
        Row {
            labels: image.config.labels.clone(),
            ..Row::default()
        }
        .with(
            "CreatedAt",
            image
                .created
                .map(|time| time.to_string())
                .unwrap_or_default(),
        )
        .with(
            "CreatedSince",
            image.created.map_or("N/A".into(), |time| ago(time, now)),
        )
        .with("Digest", digest)
        .with("ID", id(&image.id, whole))
        .with("Repository", repository)
        .with("Size", units::format_bytes(image.size_bytes))
        .with("Tag", tag)
    };
    names.into_iter().map(row).collect()
}

/// The name and the tag of a reference.
pub(crate) fn split_tag(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "<none>"),
    }
}

/// The usual columns of `network ls`.
pub(crate) const NETWORKS: &[Column] = &[
    ("NETWORK ID", "ID"),
    ("NAME", "Name"),
    ("DRIVER", "Driver"),
    ("SCOPE", "Scope"),
];

/// One line of `network ls`.
pub(crate) fn network(network: &Network, whole: bool) -> Row {
    let labels: Vec<String> = network
        .spec
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Row {
        labels: network.spec.labels.clone(),
        ..Row::default()
    }
    .with("CreatedAt", network.created.to_string())
    .with("Driver", network.spec.driver.clone())
    .with("ID", id(&network.id, whole))
    .with("IPv6", network.spec.ipv6.to_string())
    .with("Internal", network.spec.internal.to_string())
    .with("Labels", labels.join(","))
    .with("Name", network.spec.name.clone())
    .with("Scope", "local")
}

/// The usual columns of `volume ls`.
pub(crate) const VOLUMES: &[Column] = &[("DRIVER", "Driver"), ("VOLUME NAME", "Name")];

/// One line of `volume ls`.
pub(crate) fn volume(volume: &Volume) -> Row {
    let labels: Vec<String> = volume
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Row {
        labels: volume.labels.clone(),
        ..Row::default()
    }
    .with("CreatedAt", volume.created.to_string())
    .with("Driver", volume.driver.clone())
    .with("Labels", labels.join(","))
    .with("Mountpoint", volume.mountpoint.clone())
    .with("Name", volume.name.clone())
    .with("Scope", "local")
}

#[cfg(test)]
mod tests {
    use orc_host::network::{Port, Protocol};

    use super::*;

    fn published(ip: &str, outside: u16, inside: u16) -> PublishedPort {
        PublishedPort {
            port: Port {
                number: inside,
                protocol: Protocol::Tcp,
            },
            host_ip: ip.parse().unwrap(),
            host_port: outside,
        }
    }

    #[test]
    fn runs_of_ports_are_ranges() {
        let first = published("0.0.0.0", 8000, 80);
        assert_eq!(run(&first, 1), "0.0.0.0:8000->80/tcp");
        assert_eq!(run(&first, 3), "0.0.0.0:8000-8002->80-82/tcp");
        assert_eq!(run(&published("::", 1, 2), 1), "[::]:1->2/tcp");
        assert!(continues(&first, 1, &published("0.0.0.0", 8001, 81)));
        assert!(!continues(&first, 1, &published("0.0.0.0", 8002, 81)));
        assert!(!continues(&first, 1, &published("127.0.0.1", 8001, 81)));
        assert!(!continues(&published("0.0.0.0", 65535, 65535), 1, &first));
    }

    #[test]
    fn ids_and_references() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("short"), "short");
        assert_eq!(
            split_tag("localhost:5000/a/b:v1"),
            ("localhost:5000/a/b", "v1")
        );
        assert_eq!(
            split_tag("localhost:5000/a/b"),
            ("localhost:5000/a/b", "<none>")
        );
    }
}
