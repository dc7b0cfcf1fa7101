//! The disk: what things take, what nobody uses, and whether it is sound.

use std::collections::BTreeMap;

use orc_base::Result;
use orc_host::container::ContainerFilter;
use orc_host::storage::{CachePrune, CheckOptions, DiskUsage, UsageOf};
use orc_host::unused::{Prunable, Prune, Pruned};

use crate::convert::{disk, image, summary, volume};
use crate::server::call::Call;
use crate::server::reply::{self, Reply};
use crate::server::volumes;
use crate::wire;

/// `GET /system/df`
pub(crate) async fn usage(call: Call) -> Result<Reply> {
    let mut of = disk::usage_of(call.query.all("type"))?;
    of.only = call.query.all("container").map(str::to_owned).collect();
    let usage = call.host.disk_usage(&of).await?;
    if call.extended() {
        return reply::ok(&wire::disk::DiskUsage {
            orc_usage: Some(usage),
            ..Default::default()
        });
    }
    let mut answer = wire::disk::DiskUsage {
        layers_size: usage.images_bytes,
        builder_size: usage.build_cache_bytes,
        build_cache: usage.build_cache.iter().map(disk::cache).collect(),
        ..Default::default()
    };
    if of.images {
        answer.images = images(&call, &usage).await?;
    }
    if of.containers {
        answer.containers = containers(&call, &usage).await?;
    }
    if of.volumes {
        answer.volumes = volume_rows(&call, &usage).await?;
    }
    reply::ok(&answer)
}

async fn images(call: &Call, usage: &DiskUsage) -> Result<Vec<wire::image::Summary>> {
    let containers = call
        .host
        .list_containers(&ContainerFilter::everything())
        .await?;
    let all = call.host.list_images().await?;
    let row = |found| {
        let used = containers.iter().filter(|one| one.image_id == found);
        used.count() as i64
    };
    Ok(all
        .iter()
        .map(|found| {
            let mut summary = image::summary(found, false);
            summary.containers = row(found.id.as_str());
            if let Some(space) = usage.images.iter().find(|one| one.id == found.id) {
                summary.size = space.bytes;
                summary.shared_size = signed(space.shared_bytes);
            }
            summary
        })
        .collect())
}

async fn containers(call: &Call, usage: &DiskUsage) -> Result<Vec<wire::container::Summary>> {
    let found = call
        .host
        .list_containers(&ContainerFilter::everything())
        .await?;
    let sizes = sizes(call, usage).await?;
    let now = call.now();
    found
        .iter()
        .map(|container| {
            let mut row = summary::to_wire(container, now, false)?;
            if let Some(size) = sizes.get(&container.id) {
                (row.size_rw, row.size_root_fs) = (Some(size.0), Some(size.0 + size.1));
            }
            Ok(row)
        })
        .collect()
}

async fn volume_rows(call: &Call, usage: &DiskUsage) -> Result<Vec<wire::disk::VolumeUsage>> {
    let users = volumes::users(call).await?;
    let found = call.host.list_volumes().await?;
    let row = |found: &orc_host::volume::Volume| {
        let space = usage.volumes.iter().find(|one| one.name == found.name);
        let bytes = space.and_then(|one| one.bytes);
        wire::disk::VolumeUsage {
            volume: volume::to_wire(found, false),
            usage_data: wire::disk::UsageData {
                // Docker's word for: kept elsewhere.
                size: bytes.map_or(-1, signed),
                ref_count: users.get(&found.name).copied().unwrap_or(0),
            },
        }
    };
    Ok(found.iter().map(row).collect())
}

/// What containers wrote, and how large their images are, by id; `only` these, or all.
pub(crate) async fn container_sizes(
    call: &Call,
    only: Vec<String>,
) -> Result<BTreeMap<String, (i64, i64)>> {
    let of = UsageOf {
        containers: true,
        only,
        ..UsageOf::default()
    };
    let usage = call.host.disk_usage(&of).await?;
    sizes(call, &usage).await
}

async fn sizes(call: &Call, usage: &DiskUsage) -> Result<BTreeMap<String, (i64, i64)>> {
    let images = call.host.list_images().await?;
    let of_image: BTreeMap<&str, u64> = images
        .iter()
        .map(|image| (image.id.as_str(), image.size_bytes))
        .collect();
    let containers = call
        .host
        .list_containers(&ContainerFilter::everything())
        .await?;
    let image_of: BTreeMap<&str, &str> = containers
        .iter()
        .map(|one| (one.id.as_str(), one.image_id.as_str()))
        .collect();
    let size = |one: &orc_host::storage::ContainerUsage| {
        let image = image_of.get(one.id.as_str());
        let image = image.and_then(|image| of_image.get(image)).copied();
        (
            one.id.clone(),
            (signed(one.bytes), signed(image.unwrap_or(0))),
        )
    };
    Ok(usage.containers.iter().map(size).collect())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// `POST /containers/prune`
pub(crate) async fn prune_containers(call: Call) -> Result<Reply> {
    let pruned = prune(&call, |_| Ok(Prunable::Containers)).await?;
    reply::ok(&wire::container::Pruned {
        containers_deleted: pruned.removed,
        space_reclaimed: pruned.bytes,
    })
}

/// `POST /networks/prune`
pub(crate) async fn prune_networks(call: Call) -> Result<Reply> {
    let pruned = prune(&call, |_| Ok(Prunable::Networks)).await?;
    reply::ok(&wire::network::Pruned {
        networks_deleted: pruned.removed,
    })
}

/// `POST /volumes/prune`
pub(crate) async fn prune_volumes(call: Call) -> Result<Reply> {
    let pruned = prune(&call, |filters| {
        let named = filters.take_flag("all")?.unwrap_or(false);
        Ok(Prunable::Volumes { named })
    })
    .await?;
    reply::ok(&wire::volume::Pruned {
        volumes_deleted: pruned.removed,
        space_reclaimed: pruned.bytes,
    })
}

/// `POST /images/prune`
pub(crate) async fn prune_images(call: Call) -> Result<Reply> {
    let pruned = prune(&call, |filters| {
        let named = filters.take_flag("dangling")? == Some(false);
        Ok(Prunable::Images { named })
    })
    .await?;
    reply::ok(&wire::image::Pruned {
        images_deleted: pruned.images.iter().map(image::removal_to_wire).collect(),
        space_reclaimed: pruned.bytes,
    })
}

async fn prune(
    call: &Call,
    what: impl FnOnce(&mut crate::convert::filter::Filters) -> Result<Prunable>,
) -> Result<Pruned> {
    let mut filters = call.query.filters()?;
    let what = what(&mut filters)?;
    let filter = disk::prune_filter(&mut filters, call.now())?;
    filters.finish()?;
    call.host.prune(&Prune { what, filter }).await
}

/// `POST /build/prune`
///
/// `reserved-space`, and its older name `keep-storage`, is what stays in any case, `max-used-space`
/// what may stay: the larger one counts, as in BuildKit.
pub(crate) async fn prune_builds(call: Call) -> Result<Reply> {
    let query = &call.query;
    let reserved = query.number::<u64>("reserved-space")?;
    let keep = [
        reserved.or(query.number("keep-storage")?),
        query.number("max-used-space")?,
    ];
    let prune = CachePrune {
        all: query.flag("all"),
        keep_bytes: keep.into_iter().flatten().filter(|keep| *keep > 0).max(),
        filters: disk::cache_filters(query.filters()?)?,
    };
    let pruned = call.host.prune_build_cache(&prune).await?;
    reply::ok(&wire::disk::BuildsPruned {
        caches_deleted: pruned.removed,
        space_reclaimed: pruned.bytes,
    })
}

/// `POST /orc/system/check`
pub(crate) async fn check(call: Call) -> Result<Reply> {
    let options = CheckOptions {
        quick: call.query.flag("quick"),
        repair: call.query.flag("repair"),
    };
    reply::ok(&call.host.check_storage(options).await?)
}
