//! Removes what nobody uses.
//!
//! What goes is decided from one look at the machine; who uses something by the time it is to go
//! keeps it, and so does who was faster with removing it. The same for every host: whoever has a way
//! of its own ([`crate::Host::prune`]) leads here in the end.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Kind, Result};

use crate::Host;
use crate::container::{Container, ContainerFilter, MountKind, RemoveOptions, State};
use crate::image::Image;
use crate::network::Network;
use crate::storage::{DiskUsage, UsageOf};
use crate::unused::{PREDEFINED_NETWORKS, Prunable, Prune, PruneFilter, Pruned};
use crate::volume::Volume;

/// Removes what `prune` says.
pub async fn prune<H: Host + ?Sized>(host: &H, prune: &Prune) -> Result<Pruned> {
    let filter = &prune.filter;
    match prune.what {
        Prunable::Containers => containers(host, filter).await,
        Prunable::Networks => networks(host, filter).await,
        Prunable::Volumes { named } => volumes(host, named, filter).await,
        Prunable::Images { named } => images(host, named, filter).await,
    }
}

async fn containers<H: Host + ?Sized>(host: &H, filter: &PruneFilter) -> Result<Pruned> {
    let all = host.list_containers(&ContainerFilter::everything()).await?;
    let ended = |one: &Container| {
        matches!(one.state, State::Created { .. } | State::Exited { .. })
            && filter.matches(Some(one.created), &one.labels)
    };
    let doomed: Vec<String> = all.into_iter().filter(ended).map(|one| one.id).collect();
    if doomed.is_empty() {
        return Ok(Pruned::default());
    }
    let usage = usage(
        host,
        UsageOf {
            containers: true,
            only: doomed.clone(),
            ..UsageOf::default()
        },
    )
    .await;
    let sizes: BTreeMap<&str, u64> = usage
        .containers
        .iter()
        .map(|one| (one.id.as_str(), one.bytes))
        .collect();
    let mut pruned = Pruned::default();
    for id in doomed {
        let removed = host.remove_container(&id, RemoveOptions::default()).await;
        if is_gone(removed)? {
            pruned.bytes += sizes.get(id.as_str()).copied().unwrap_or(0);
            pruned.removed.push(id);
        }
    }
    Ok(pruned)
}

async fn networks<H: Host + ?Sized>(host: &H, filter: &PruneFilter) -> Result<Pruned> {
    let containers = host.list_containers(&ContainerFilter::everything()).await?;
    let used = |network: &Network| {
        let mut endpoints = containers.iter().flat_map(|one| &one.endpoints);
        !network.endpoints.is_empty()
            || endpoints
                .any(|one| one.network_id == network.id || one.network_name == network.spec.name)
    };
    let mut pruned = Pruned::default();
    for network in host.list_networks().await? {
        let name = network.spec.name.clone();
        let stays = PREDEFINED_NETWORKS.contains(&name.as_str())
            || used(&network)
            || !filter.matches(Some(network.created), &network.spec.labels);
        if !stays && is_gone(host.remove_network(&network.id).await)? {
            pruned.removed.push(name);
        }
    }
    Ok(pruned)
}

async fn volumes<H: Host + ?Sized>(host: &H, named: bool, filter: &PruneFilter) -> Result<Pruned> {
    let containers = host.list_containers(&ContainerFilter::everything()).await?;
    let mounts = containers.iter().flat_map(|one| &one.mounts);
    let used: BTreeSet<&str> = mounts.filter_map(|mount| mount.name.as_deref()).collect();
    let goes = |one: &Volume| {
        (named || one.anonymous)
            && !used.contains(one.name.as_str())
            && filter.matches(Some(one.created), &one.labels)
    };
    let all = host.list_volumes().await?;
    let doomed: Vec<String> = all.into_iter().filter(goes).map(|one| one.name).collect();
    if doomed.is_empty() {
        return Ok(Pruned::default());
    }
    let usage = usage(
        host,
        UsageOf {
            volumes: true,
            ..UsageOf::default()
        },
    )
    .await;
    let sizes: BTreeMap<&str, u64> = usage
        .volumes
        .iter()
        .map(|one| (one.name.as_str(), one.bytes.unwrap_or(0)))
        .collect();
    let mut pruned = Pruned::default();
    for name in doomed {
        if is_gone(host.remove_volume(&name, false).await)? {
            pruned.bytes += sizes.get(name.as_str()).copied().unwrap_or(0);
            pruned.removed.push(name);
        }
    }
    Ok(pruned)
}

async fn images<H: Host + ?Sized>(host: &H, named: bool, filter: &PruneFilter) -> Result<Pruned> {
    let used: BTreeSet<String> = host
        .list_containers(&ContainerFilter::everything())
        .await?
        .into_iter()
        .flat_map(|container| {
            let mounted = container
                .mounts
                .into_iter()
                .filter(|mount| mount.kind == MountKind::Image)
                .map(|mount| mount.source);
            mounted.chain([container.image_id])
        })
        .collect();
    let goes = |image: &Image| {
        !used.contains(&image.id)
            && (named || image.tags.is_empty())
            && filter.matches(image.created, &image.config.labels)
    };
    let all = host.list_images().await?;
    let doomed: Vec<Image> = all.into_iter().filter(goes).collect();
    if doomed.is_empty() {
        return Ok(Pruned::default());
    }
    // What an image leaves to others or to the build cache is not free.
    let wanted = UsageOf {
        images: true,
        build_cache: true,
        ..UsageOf::default()
    };
    let before = space(&usage(host, wanted.clone()).await);
    let mut pruned = Pruned::default();
    for image in doomed {
        let names = match image.tags.is_empty() {
            true => vec![image.id],
            false => image.tags,
        };
        for name in names {
            // By its id it may have digests of several registries.
            let by_id = name.starts_with("sha256:");
            match host.remove_image(&name, by_id).await {
                Ok(removals) => pruned.images.extend(removals),
                Err(error) => {
                    is_gone(Err(error))?;
                }
            }
        }
    }
    let after = space(&usage(host, wanted).await);
    pruned.bytes = before.saturating_sub(after);
    Ok(pruned)
}

fn space(usage: &DiskUsage) -> u64 {
    usage.images_bytes + usage.build_cache_bytes
}

/// How much space things take; not worth failing for.
async fn usage<H: Host + ?Sized>(host: &H, of: UsageOf) -> DiskUsage {
    host.disk_usage(&of).await.unwrap_or_default()
}

/// Whether it was removed here: not when somebody uses it by now, or was faster.
fn is_gone(removed: Result<()>) -> Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}
