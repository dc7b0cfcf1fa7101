//! What the fake host holds: containers, images, networks, volumes, and what happened to them.
//!
//! Changed only under the one lock of [`crate::fake::FakeHost`]; nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use orc_base::{Error, Id, Result, Time};

use crate::container::{Container, ContainerSpec, Exit, Mount, MountKind, MountPoint, NetworkMode};
use crate::event::{Event, Subject};
use crate::exec::Exec;
use crate::fake::files::Files;
use crate::fake::program::Program;
use crate::image::{Image, ImageConfig};
use crate::network::{
    AddressPool, Endpoint, EndpointSpec, Network, NetworkEndpoint, NetworkSpec, PublishedPort,
};
use crate::stream::{Bytes, LogLine};
use crate::volume::{Volume, VolumeSpec};

pub(crate) struct World {
    pub(crate) containers: BTreeMap<String, Entry>,
    pub(crate) execs: BTreeMap<String, Exec>,
    pub(crate) images: Vec<Image>,
    /// What registries hold: a pull copies from here.
    pub(crate) remote: Vec<Image>,
    pub(crate) networks: Vec<Network>,
    pub(crate) volumes: BTreeMap<String, Volume>,
    /// How containers that are gone had ended, for those who wait for the removal.
    pub(crate) ends: BTreeMap<String, Exit>,
    pub(crate) events: Vec<Event>,
    pub(crate) calls: Vec<String>,
    pub(crate) order: u64,
    pub(crate) next_address: u32,
}

pub(crate) struct Entry {
    pub(crate) container: Container,
    pub(crate) order: u64,
    pub(crate) log: Vec<LogLine>,
    pub(crate) input: VecDeque<u8>,
    pub(crate) input_ended: bool,
    pub(crate) exits: u64,
    pub(crate) files: Files,
}

impl Entry {
    pub(crate) fn print(&mut self, program: &Program, now: Time) {
        for (output, text) in &program.prints {
            self.log.push(LogLine {
                output: *output,
                time: now,
                bytes: Bytes::from(text.clone()),
            });
        }
    }
}

impl World {
    pub(crate) fn find(&self, name: &str) -> Result<String> {
        let name = name.trim_start_matches('/');
        let named = self
            .containers
            .values()
            .find(|entry| entry.container.name == name);
        if let Some(entry) = named {
            return Ok(entry.container.id.clone());
        }
        let mut ids = self
            .containers
            .keys()
            .filter(|id| !name.is_empty() && id.starts_with(name));
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id.clone()),
            (Some(_), Some(_)) => Err(Error::invalid(format!(
                "several containers have an id that begins with {name}"
            ))),
            (None, _) => Err(Error::not_found(format!("No such container: {name}"))),
        }
    }

    pub(crate) fn entry(&mut self, id: &str) -> Result<&mut Entry> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Error::not_found(format!("No such container: {id}")))
    }

    pub(crate) fn find_image(&self, name: &str) -> Result<&Image> {
        let tag = with_tag(name);
        let hex = name.trim_start_matches("sha256:");
        self.images
            .iter()
            .find(|image| {
                image.tags.contains(&tag) || (hex.len() >= 4 && image.id[7..].starts_with(hex))
            })
            .ok_or_else(|| Error::not_found(format!("No such image: {tag}")))
    }

    pub(crate) fn find_network(&mut self, name: &str) -> Result<&mut Network> {
        self.networks
            .iter_mut()
            .find(|network| network.spec.name == name || network.id == name)
            .ok_or_else(|| Error::not_found(format!("network {name} not found")))
    }

    pub(crate) fn add_network(&mut self, spec: &NetworkSpec, now: Time) -> String {
        let mut spec = spec.clone();
        let third = self.networks.len() as u8;
        if spec.driver.is_empty() {
            spec.driver = "bridge".into();
        }
        if spec.ipam.is_empty() {
            spec.ipam.push(AddressPool {
                subnet: Some(format!("172.30.{third}.0/24")),
                gateway: Some(IpAddr::V4(Ipv4Addr::new(172, 30, third, 1))),
                ..AddressPool::default()
            });
        }
        let id = Id::random().to_string();
        self.networks.push(Network {
            id: id.clone(),
            spec,
            created: now,
            endpoints: Vec::new(),
        });
        id
    }

    pub(crate) fn add_volume(&mut self, spec: &VolumeSpec, now: Time) -> Volume {
        let anonymous = spec.name.is_empty();
        let name = match anonymous {
            true => Id::random().to_string(),
            false => spec.name.clone(),
        };
        let volume = Volume {
            mountpoint: format!("/fake/volumes/{name}/_data"),
            name: name.clone(),
            driver: "local".into(),
            options: spec.options.clone(),
            labels: spec.labels.clone(),
            created: now,
            anonymous,
        };
        self.volumes.entry(name).or_insert(volume).clone()
    }

    /// Gives a container that begins to run its addresses.
    pub(crate) fn connect_all(&mut self, id: &str) {
        let Some(entry) = self.containers.get_mut(id) else {
            return;
        };
        let container = &mut entry.container;
        for endpoint in &mut container.endpoints {
            let address = endpoint.spec.ipv4.unwrap_or_else(|| {
                self.next_address += 1;
                Ipv4Addr::from(self.next_address)
            });
            endpoint.address = Some(address);
            endpoint.prefix = 24;
            endpoint.gateway = Some(Ipv4Addr::new(172, 30, 0, 1));
            endpoint.mac = Some("02:42:ac:1e:00:02".into());
            let network = self
                .networks
                .iter_mut()
                .find(|network| network.id == endpoint.network_id);
            if let Some(network) = network {
                network.endpoints.push(NetworkEndpoint {
                    container: container.id.clone(),
                    name: container.name.clone(),
                    address,
                    prefix: 24,
                    ipv6: None,
                    mac: "02:42:ac:1e:00:02".into(),
                });
            }
        }
        container.published = container
            .spec
            .ports
            .iter()
            .map(|binding| PublishedPort {
                port: binding.port,
                host_ip: binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                host_port: binding.host_ports.map_or(40_000, |(first, _)| first),
            })
            .collect();
    }

    pub(crate) fn disconnect_all(&mut self, id: &str) {
        for network in &mut self.networks {
            network
                .endpoints
                .retain(|endpoint| endpoint.container != id);
        }
        if let Some(entry) = self.containers.get_mut(id) {
            entry.container.published.clear();
            for endpoint in &mut entry.container.endpoints {
                endpoint.address = None;
                endpoint.gateway = None;
                endpoint.mac = None;
                endpoint.prefix = 0;
            }
        }
    }

    pub(crate) fn remove(&mut self, id: &str, volumes: bool, now: Time) {
        self.emit_container(now, id, "destroy", &[]);
        let Some(entry) = self.containers.remove(id) else {
            return;
        };
        if let Some(exit) = entry.container.state.exit() {
            self.ends.insert(id.into(), exit.clone());
        }
        for mount in entry.container.mounts {
            if let Some(name) = mount.name
                && volumes
                && self
                    .volumes
                    .get(&name)
                    .is_some_and(|volume| volume.anonymous)
            {
                self.volumes.remove(&name);
            }
        }
    }

    pub(crate) fn emit(
        &mut self,
        time: Time,
        subject: Subject,
        action: &str,
        id: &str,
        name: &str,
    ) {
        self.events.push(Event {
            time,
            subject,
            action: action.into(),
            id: id.into(),
            attributes: BTreeMap::from([("name".into(), name.into())]),
        });
    }

    pub(crate) fn emit_container(
        &mut self,
        time: Time,
        id: &str,
        action: &str,
        more: &[(&str, &str)],
    ) {
        let Some(entry) = self.containers.get(id) else {
            return;
        };
        let mut attributes = entry.container.labels.clone();
        attributes.insert("name".into(), entry.container.name.clone());
        attributes.insert("image".into(), entry.container.spec.image.clone());
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).into(), (*value).into())),
        );
        self.events.push(Event {
            time,
            subject: Subject::Container,
            action: action.into(),
            id: id.into(),
            attributes,
        });
    }

    pub(crate) fn endpoints(
        &mut self,
        spec: &ContainerSpec,
        name: &str,
        id: &str,
    ) -> Result<Vec<Endpoint>> {
        if spec.network_mode != NetworkMode::Networks {
            return Ok(Vec::new());
        }
        let bridge = [EndpointSpec {
            network: "bridge".into(),
            ..EndpointSpec::default()
        }];
        let wanted = match spec.networks.is_empty() {
            true => &bridge[..],
            false => &spec.networks,
        };
        wanted
            .iter()
            .map(|endpoint| self.endpoint(endpoint, name, id))
            .collect()
    }

    pub(crate) fn endpoint(
        &mut self,
        spec: &EndpointSpec,
        name: &str,
        id: &str,
    ) -> Result<Endpoint> {
        let network = self.find_network(&spec.network)?;
        let names = [name.to_owned(), id[..Id::SHORT].to_owned()];
        Ok(Endpoint {
            spec: spec.clone(),
            network_name: network.spec.name.clone(),
            network_id: network.id.clone(),
            address: None,
            prefix: 0,
            gateway: None,
            ipv6: None,
            mac: None,
            dns_names: names
                .into_iter()
                .chain(spec.aliases.iter().cloned())
                .collect(),
        })
    }

    pub(crate) fn mounts(
        &mut self,
        spec: &ContainerSpec,
        image: &ImageConfig,
        now: Time,
    ) -> Result<Vec<MountPoint>> {
        let mut mounts: Vec<MountPoint> = Vec::new();
        for mount in &spec.mounts {
            mounts.push(match mount {
                Mount::Bind {
                    source,
                    target,
                    read_only,
                    ..
                } => MountPoint {
                    kind: MountKind::Bind,
                    name: None,
                    source: source.display().to_string(),
                    target: target.clone(),
                    read_only: *read_only,
                    propagation: "rprivate".into(),
                },
                Mount::Image { image, target, .. } => MountPoint {
                    kind: MountKind::Image,
                    name: None,
                    source: self.find_image(image)?.id.clone(),
                    target: target.clone(),
                    read_only: true,
                    propagation: String::new(),
                },
                Mount::Tmpfs { target, .. } => MountPoint {
                    kind: MountKind::Tmpfs,
                    name: None,
                    source: String::new(),
                    target: target.clone(),
                    read_only: false,
                    propagation: String::new(),
                },
                Mount::Volume {
                    name,
                    target,
                    read_only,
                    ..
                } => self.volume_mount(name, target, *read_only, now),
            });
        }
        for from in &spec.volumes_from {
            let other = self.find(&from.container)?;
            for mut mount in self.entry(&other)?.container.mounts.clone() {
                let free = !mounts.iter().any(|own| own.target == mount.target);
                if free && mount.kind != MountKind::Tmpfs {
                    mount.read_only |= from.read_only;
                    mounts.push(mount);
                }
            }
        }
        for target in spec.anonymous_volumes.iter().chain(&image.volumes) {
            if !mounts.iter().any(|mount| mount.target == *target) {
                let mount = self.volume_mount("", target, false, now);
                mounts.push(mount);
            }
        }
        Ok(mounts)
    }

    pub(crate) fn volume_mount(
        &mut self,
        name: &str,
        target: &str,
        read_only: bool,
        now: Time,
    ) -> MountPoint {
        let spec = VolumeSpec {
            name: name.into(),
            ..VolumeSpec::default()
        };
        let volume = self.add_volume(&spec, now);
        MountPoint {
            kind: MountKind::Volume,
            name: Some(volume.name),
            source: volume.mountpoint,
            target: target.into(),
            read_only,
            propagation: String::new(),
        }
    }
}

pub(crate) fn with_tag(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    match last.contains([':', '@']) {
        true => reference.into(),
        false => format!("{reference}:latest"),
    }
}

/// The image's environment with the container's over it.
pub(crate) fn merge_env(image: &[String], container: &[String]) -> Vec<String> {
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut merged: Vec<String> = image
        .iter()
        .filter(|entry| !container.iter().any(|over| key(over) == key(entry)))
        .cloned()
        .collect();
    merged.extend(
        container
            .iter()
            .filter(|entry| entry.contains('='))
            .cloned(),
    );
    merged
}
