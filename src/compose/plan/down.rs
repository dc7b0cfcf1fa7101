//! `down`: nothing of the project is left.

use std::collections::BTreeSet;

use orc_base::Result;
use orc_host::container::{Container, Mount};

use crate::labels;
use crate::model::Project;
use crate::observe::{Observed, label};
use crate::plan::orphans::{orphans, warn_of};
use crate::plan::removal::{Removal, backwards, remove_container};
use crate::plan::{Action, Down, Plan, RemoveImages, graph, provide};
use crate::provider::metadata::Verb;

/// Plans `down`.
pub(super) fn plan(project: &Project, observed: &Observed, options: &Down) -> Result<Plan> {
    let mut plan = Plan::default();
    let everything = options.services.is_empty();
    let scope: BTreeSet<String> = match everything {
        true => project
            .services
            .keys()
            .chain(project.disabled.keys())
            .cloned()
            .collect(),
        false => project.select(&options.services)?,
    };
    let order = graph::order(project, &scope)?;
    let removal = Removal {
        cause: "down",
        timeout: options.timeout,
        volumes: options.volumes,
    };
    let mut removed = backwards(
        &mut plan,
        project,
        &order,
        &|service| of_service(observed, service),
        &|plan, container, after| Some(remove_container(plan, project, container, &removal, after)),
        &|plan, service, after| provide::end(plan, project, observed, service, Verb::Down, after),
    );
    let orphans = orphans(project, observed);
    let mut left: BTreeSet<&str> = BTreeSet::new();
    let known = |container: &Container| {
        label(container, labels::SERVICE).is_some_and(|name| scope.contains(name))
    };
    let is_orphan = |container: &Container| orphans.iter().any(|one| one.id == container.id);
    for container in observed.containers.iter().filter(|one| !known(one)) {
        match options.remove_orphans && is_orphan(container) {
            true => {
                let removal = Removal {
                    cause: "orphan",
                    ..removal
                };
                removed.push(remove_container(
                    &mut plan,
                    project,
                    container,
                    &removal,
                    &[],
                ));
            }
            false => {
                left.insert(&container.id);
            }
        }
    }
    if !options.remove_orphans && everything {
        let unknown: Vec<_> = orphans
            .iter()
            .filter(|container| !known(container))
            .copied()
            .collect();
        warn_of(&unknown, project, &mut plan);
    }
    if everything {
        networks(&mut plan, project, observed, &removed, &left);
        if options.volumes {
            volumes(&mut plan, project, observed, &removed);
        }
        if let Some(which) = options.images {
            images(&mut plan, project, observed, which, &removed);
        }
    }
    Ok(plan)
}

/// All containers of a service, one-offs too.
pub(super) fn of_service<'o>(observed: &'o Observed, service: &str) -> Vec<&'o Container> {
    observed
        .containers
        .iter()
        .filter(|container| label(container, labels::SERVICE) == Some(service))
        .collect()
}

/// The project's own networks, by their label.
fn networks(
    plan: &mut Plan,
    project: &Project,
    observed: &Observed,
    removed: &[usize],
    left: &BTreeSet<&str>,
) {
    let own = observed
        .networks
        .values()
        .filter(|network| network.spec.labels.get(labels::PROJECT) == Some(&project.name));
    for network in own {
        let ours = |id: &str| {
            observed
                .containers
                .iter()
                .any(|container| container.id == id)
        };
        let stays = network.endpoints.iter().find(|endpoint| {
            left.contains(endpoint.container.as_str()) || !ours(&endpoint.container)
        });
        if let Some(endpoint) = stays {
            plan.warn(format!(
                "network {} stays: container {} is on it",
                network.spec.name, endpoint.name
            ));
            continue;
        }
        let action = Action::RemoveNetwork {
            name: network.spec.name.clone(),
        };
        plan.add(None, action, "down", removed.to_vec());
    }
}

/// The volumes that the files declare, or, without files, those with the project's label.
fn volumes(plan: &mut Plan, project: &Project, observed: &Observed, removed: &[usize]) {
    let declared: BTreeSet<&str> = project
        .volumes
        .values()
        .filter(|volume| !volume.external)
        .map(|volume| volume.name.as_str())
        .collect();
    let external: BTreeSet<&str> = project
        .volumes
        .values()
        .filter(|volume| volume.external)
        .map(|volume| volume.name.as_str())
        .collect();
    // The engine removes anonymous volumes with the container that they were made for. One that went
    // from container to container has outlived that one.
    let carried: BTreeSet<&str> = observed
        .containers
        .iter()
        .filter(|container| label(container, labels::SERVICE).is_some())
        .flat_map(|container| &container.spec.mounts)
        .filter_map(|mount| match mount {
            Mount::Volume { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    for volume in observed.volumes.values() {
        let labelled = volume.labels.get(labels::PROJECT) == Some(&project.name);
        let own = match project.files.is_empty() {
            true => labelled,
            false => declared.contains(volume.name.as_str()),
        };
        let own = own || (volume.anonymous && carried.contains(volume.name.as_str()));
        if own && !external.contains(volume.name.as_str()) {
            let action = Action::RemoveVolume {
                name: volume.name.clone(),
            };
            plan.add(None, action, "down with volumes", removed.to_vec());
        }
    }
}

fn images(
    plan: &mut Plan,
    project: &Project,
    observed: &Observed,
    which: RemoveImages,
    removed: &[usize],
) {
    let services = project.services.values().chain(project.disabled.values());
    let names: BTreeSet<String> = services
        .filter(|service| which == RemoveImages::All || service.image.is_none())
        .map(|service| service.image_name(&project.name))
        .filter(|image| observed.image(image).is_some())
        .collect();
    for image in names {
        plan.add(
            None,
            Action::RemoveImage { image },
            "down with images",
            removed.to_vec(),
        );
    }
}
