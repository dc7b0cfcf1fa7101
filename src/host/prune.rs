//! Removes what nobody uses.
//!
//! What goes is decided from one look at the machine; who uses something by the time it is to go
//! keeps it, and so does who was faster with removing it. The same for every host: whoever has a way
//! of its own ([`crate::Host::prune`]) leads here in the end.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Kind, Result, Time};
use serde::{Deserialize, Serialize};

use crate::Host;
use crate::container::{Container, ContainerFilter, RemoveOptions, State};
use crate::image::{Image, Removal};
use crate::network::Network;
use crate::storage::{DiskUsage, UsageOf};
use crate::volume::Volume;

/// Networks that are always there.
pub const PREDEFINED_NETWORKS: [&str; 3] = ["bridge", "host", "none"];

/// What to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Of which kind.
    pub what: Prunable,
    /// Only what fits.
    pub filter: PruneFilter,
}

/// Kinds of things that may be used by nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prunable {
    /// Containers that do not run.
    Containers,
    /// Networks that no container, running or not, is to be on.
    Networks,
    /// Volumes that no container, running or not, has.
    Volumes {
        /// Those with a name of their own, too.
        named: bool,
    },
    /// Images that no container, running or not, is of.
    Images {
        /// Those with a name, too.
        named: bool,
    },
}

/// Which of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PruneFilter {
    /// Made before.
    pub until: Option<Time>,
    /// Labels it must have; no value matches any.
    pub labels: Vec<(String, Option<String>)>,
    /// Labels it must not have.
    pub without: Vec<(String, Option<String>)>,
}

/// What went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pruned {
    /// Ids of containers, names of networks and volumes.
    pub removed: Vec<String>,
    /// Names, images and layers.
    pub images: Vec<Removal>,
    /// Bytes on disk that are free now.
    pub bytes: u64,
}

impl PruneFilter {
    /// Whether a thing that was made then and has these labels is meant.
    pub fn matches(&self, created: Option<Time>, labels: &BTreeMap<String, String>) -> bool {
        let has = |(key, value): &(String, Option<String>)| {
            let found = labels.get(key);
            found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        self.until.is_none_or(|until| created < Some(until))
            && self.labels.iter().all(has)
            && !self.without.iter().any(has)
    }
}

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
        .map(|container| container.image_id)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn filters_are_all_to_hold() {
        let label = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        let filter = PruneFilter {
            until: Some(Time::from_secs(100)),
            labels: vec![label("a", None)],
            without: vec![label("keep", Some("yes"))],
        };
        for (secs, pairs, expected) in [
            (99, &[("a", "1")][..], true),
            (100, &[("a", "1")], false),
            (1, &[("b", "1")], false),
            (1, &[("a", "1"), ("keep", "yes")], false),
            (1, &[("a", "1"), ("keep", "no")], true),
        ] {
            let created = Some(Time::from_secs(secs));
            assert_eq!(
                filter.matches(created, &labels(pairs)),
                expected,
                "{secs} {pairs:?}"
            );
        }
        // An image that does not say when it was made is old.
        assert!(filter.matches(None, &labels(&[("a", "")])));
        assert!(PruneFilter::default().matches(None, &labels(&[])));
    }
}
