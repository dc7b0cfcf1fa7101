//! Networks and volumes that services use: made when they are missing, replaced when they changed.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result};
use orc_host::container::{Container, MountKind};

use crate::labels;
use crate::lower;
use crate::model::Project;
use crate::model::resources::{Network, Volume};
use crate::model::service::Service;
use crate::observe::{Observed, is_one_off, label};
use crate::plan::removal::{Removal, remove_container};
use crate::plan::{Action, Plan};

/// The steps after which networks and volumes are ready, by their key in the file.
#[derive(Debug, Default)]
pub(super) struct Resources {
    networks: BTreeMap<String, usize>,
    volumes: BTreeMap<String, usize>,
    /// Containers that had to go with a network or volume.
    pub(super) removed: BTreeMap<String, Gone>,
}

/// A container that had to go with a network or volume.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    /// The step that removes it.
    pub(super) step: usize,
    /// Why.
    pub(super) cause: &'static str,
}

const NETWORK_CHANGED: &str = "network changed";
const VOLUME_CHANGED: &str = "volume changed";

impl Resources {
    /// The steps that a container of `service` has to wait for.
    pub(super) fn of(&self, service: &Service) -> Vec<usize> {
        let networks = service
            .networks
            .keys()
            .filter_map(|key| self.networks.get(key));
        let volumes = service
            .volumes
            .iter()
            .filter_map(|volume| self.volumes.get(volume.source.as_deref()?));
        networks.chain(volumes).copied().collect()
    }

    /// Whether a network of the service is made anew.
    pub(super) fn renews_network_of(&self, service: &Service) -> bool {
        service
            .networks
            .keys()
            .any(|key| self.networks.contains_key(key))
    }
}

/// The services that have containers on a network which `scope` makes anew: they go with it.
pub(super) fn drawn_in(
    project: &Project,
    observed: &Observed,
    scope: &BTreeSet<String>,
) -> BTreeSet<String> {
    let services = || scope.iter().filter_map(|name| project.service(name));
    let changed: BTreeSet<&str> = project
        .networks
        .iter()
        .filter(|(key, _)| services().any(|service| service.networks.contains_key(*key)))
        .filter(|(_, network)| !network.external && has_changed(network, observed))
        .map(|(_, network)| network.name.as_str())
        .collect();
    observed
        .containers
        .iter()
        .filter(|container| {
            let mut names = container
                .endpoints
                .iter()
                .map(|endpoint| endpoint.network_name.as_str());
            names.any(|name| changed.contains(name))
        })
        .filter_map(|container| label(container, labels::SERVICE))
        .filter(|name| project.services.contains_key(*name))
        .map(str::to_owned)
        .collect()
}

/// The services that have containers with a volume which is made anew: they go with it.
pub(super) fn drawn_in_by_volumes(
    project: &Project,
    observed: &Observed,
    scope: &BTreeSet<String>,
    renew: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut renewed = changed_volumes(project, observed, scope);
    renewed.retain(|name| renew.contains(name));
    observed
        .containers
        .iter()
        .filter(|container| renewed.iter().any(|name| mounts(container, name)))
        .filter_map(|container| label(container, labels::SERVICE))
        .filter(|name| project.services.contains_key(*name))
        .map(str::to_owned)
        .collect()
}

/// The names of the volumes of these services that are there, are the project's, and are not as the
/// file says.
pub(super) fn changed_volumes(
    project: &Project,
    observed: &Observed,
    scope: &BTreeSet<String>,
) -> BTreeSet<String> {
    let used = |key: &str| {
        let mut services = scope.iter().filter_map(|name| project.service(name));
        services.any(|service| crate::plan::refuse::mounts_volume(service, key))
    };
    project
        .volumes
        .iter()
        .filter(|(key, volume)| !volume.external && used(key))
        .filter(|(_, volume)| is_other_volume(project, volume, observed))
        .map(|(_, volume)| volume.name.clone())
        .collect()
}

/// Whether a volume is there, is the project's, and is not as the file says.
fn is_other_volume(project: &Project, volume: &Volume, observed: &Observed) -> bool {
    observed.volumes.get(&volume.name).is_some_and(|existing| {
        let hash = existing.labels.get(labels::CONFIG_HASH);
        existing.labels.get(labels::PROJECT) == Some(&project.name)
            && hash.is_some_and(|hash| *hash != volume.hash)
    })
}

fn mounts(container: &Container, volume: &str) -> bool {
    let mut points = container.mounts.iter();
    points.any(|point| point.kind == MountKind::Volume && point.name.as_deref() == Some(volume))
}

/// Whether a network is there, is the project's, and is not as the file says.
fn has_changed(network: &Network, observed: &Observed) -> bool {
    let existing = observed.networks.get(&network.name);
    let hash = existing.and_then(|existing| existing.spec.labels.get(labels::CONFIG_HASH));
    hash.is_some_and(|hash| *hash != network.hash)
}

/// Adds the steps for all that `services` use, after the images are there: a wrong image then leaves
/// nothing behind.
pub(super) fn provide(
    plan: &mut Plan,
    project: &Project,
    observed: &Observed,
    services: &[&Service],
    pulls: &[usize],
    renew: &BTreeSet<String>,
) -> Result<Resources> {
    let mut resources = Resources::default();
    for (key, network) in &project.networks {
        let used = services
            .iter()
            .any(|service| service.network_mode.is_none() && service.networks.contains_key(key));
        if !used {
            continue;
        }
        let there = observed.networks.get(&network.name);
        if network.external {
            match there {
                Some(_) => continue,
                None => {
                    return Err(Error::not_found(format!(
                        "network {} declared as external, but could not be found: make it with `orc network create {}`",
                        network.name, network.name
                    )));
                }
            }
        }
        let spec = lower::network(project, key, network)?;
        let (cause, after) = match there {
            None => ("network is missing", pulls.to_vec()),
            Some(existing) => {
                let owner = existing.spec.labels.get(labels::PROJECT);
                if owner != Some(&project.name) {
                    return Err(Error::conflict(format!(
                        "a network with name {} exists but was not created for project {}: set `external: true` to use it, or another `name`",
                        network.name, project.name
                    )));
                }
                if !has_changed(network, observed) {
                    continue;
                }
                let removed = remove_network(
                    plan,
                    project,
                    observed,
                    &network.name,
                    &mut resources,
                    pulls,
                )?;
                (NETWORK_CHANGED, vec![removed])
            }
        };
        let step = plan.add(None, Action::CreateNetwork(spec), cause, after);
        resources.networks.insert(key.clone(), step);
    }
    for (key, volume) in &project.volumes {
        let used = services
            .iter()
            .any(|service| crate::plan::refuse::mounts_volume(service, key));
        if !used {
            continue;
        }
        match observed.volumes.get(&volume.name) {
            None if volume.external => {
                return Err(Error::not_found(format!(
                    "volume {} declared as external, but could not be found: make it with `orc volume create {}`",
                    volume.name, volume.name
                )));
            }
            None => {
                let action = Action::CreateVolume(lower::volume(project, key, volume));
                let step = plan.add(None, action, "volume is missing", pulls.to_vec());
                resources.volumes.insert(key.clone(), step);
            }
            Some(_) if volume.external => {}
            Some(existing) => {
                if existing.labels.get(labels::PROJECT) != Some(&project.name) {
                    plan.warn(format!(
                        "volume {} already exists but was not made for project {}: use `external: true` to say that this is meant",
                        volume.name, project.name
                    ));
                    continue;
                }
                if !is_other_volume(project, volume, observed) {
                    continue;
                }
                if renew.contains(&volume.name) {
                    let after =
                        remove_volume(plan, project, observed, volume, &mut resources, pulls)?;
                    let action = Action::CreateVolume(lower::volume(project, key, volume));
                    let step = plan.add(None, action, VOLUME_CHANGED, vec![after]);
                    resources.volumes.insert(key.clone(), step);
                } else {
                    plan.warn(format!(
                        "volume {} is as it was made, not as the file says now: `orc up -y` makes it anew, without its data",
                        volume.name
                    ));
                }
            }
        }
    }
    Ok(resources)
}

/// Takes the project's containers off a network and removes it. The answer is the last step.
fn remove_network(
    plan: &mut Plan,
    project: &Project,
    observed: &Observed,
    name: &str,
    resources: &mut Resources,
    pulls: &[usize],
) -> Result<usize> {
    let ours = |id: &str| {
        observed
            .containers
            .iter()
            .any(|container| container.id == id)
    };
    let endpoints = observed
        .networks
        .get(name)
        .map(|network| &network.endpoints);
    if let Some(endpoint) = endpoints
        .into_iter()
        .flatten()
        .find(|endpoint| !ours(&endpoint.container))
    {
        return Err(in_the_way(name, &endpoint.name));
    }
    let on_it = observed.containers.iter().filter(|container| {
        container
            .endpoints
            .iter()
            .any(|endpoint| endpoint.network_name == name)
    });
    for container in on_it {
        let service = label(container, labels::SERVICE);
        let known = service.is_some_and(|service| project.services.contains_key(service));
        if !known || is_one_off(container) {
            return Err(in_the_way(name, &container.name));
        }
        if !resources.removed.contains_key(&container.name) {
            remove_with(plan, project, container, resources, pulls, NETWORK_CHANGED);
        }
    }
    let action = Action::RemoveNetwork {
        name: name.to_owned(),
    };
    let removed = resources.removed.values().map(|gone| gone.step).collect();
    Ok(plan.add(None, action, NETWORK_CHANGED, removed))
}

/// Removes a volume with its data, and the project's containers that mount it first. The answer is the
/// last step.
fn remove_volume(
    plan: &mut Plan,
    project: &Project,
    observed: &Observed,
    volume: &Volume,
    resources: &mut Resources,
    pulls: &[usize],
) -> Result<usize> {
    let name = &volume.name;
    let mut after = pulls.to_vec();
    for container in observed.containers.iter().filter(|one| mounts(one, name)) {
        let service = label(container, labels::SERVICE);
        let known = service.is_some_and(|service| project.services.contains_key(service));
        if !known || is_one_off(container) {
            return Err(Error::conflict(format!(
                "volume {name} changed and cannot be replaced: container {} mounts it, remove that first",
                container.name
            )));
        }
        if !resources.removed.contains_key(&container.name) {
            remove_with(plan, project, container, resources, pulls, VOLUME_CHANGED);
        }
        after.extend(resources.removed.get(&container.name).map(|gone| gone.step));
    }
    let action = Action::RemoveVolume { name: name.clone() };
    Ok(plan.add(None, action, VOLUME_CHANGED, after))
}

fn remove_with(
    plan: &mut Plan,
    project: &Project,
    container: &Container,
    resources: &mut Resources,
    pulls: &[usize],
    cause: &'static str,
) {
    let removal = Removal {
        cause,
        timeout: None,
        volumes: false,
    };
    let step = remove_container(plan, project, container, &removal, pulls);
    let gone = Gone { step, cause };
    resources.removed.insert(container.name.clone(), gone);
}

fn in_the_way(network: &str, container: &str) -> Error {
    Error::conflict(format!(
        "network {network} changed and cannot be replaced: container {container} is on it, remove that first"
    ))
}
