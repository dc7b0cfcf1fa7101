//! Counts how much space things take below the data root, as du(1) does.

use std::path::Path;
use std::sync::Arc;

use orc_base::{Id, Result};
use orc_host::container::Mount;
use orc_host::storage::{
    CachePrune, CacheUsage, ContainerUsage, DiskUsage, ImageUsage, UsageOf, VolumeUsage,
};
use orc_image::cache::{self, CacheEntry, CacheFilter};
use orc_image::store::footprint::Footprint;
use orc_image::usage::Usage;

use crate::core::{Core, blocking};
use crate::records::ContainerRecord;

/// The ids of the images that a container is made of and mounts.
fn used_by(record: &ContainerRecord) -> Vec<String> {
    let mounted = record.mounts.iter().filter_map(|mount| match mount {
        Mount::Image { image, .. } => Some(image.clone()),
        _ => None,
    });
    mounted.chain([record.image_id.clone()]).collect()
}

/// Counts what is asked for.
pub(crate) async fn disk_usage(core: &Arc<Core>, of: &UsageOf) -> Result<DiskUsage> {
    let (core, of) = (core.clone(), of.clone());
    let only: Vec<Id> = of
        .only
        .iter()
        .map(|name| Ok(core.find(name)?.id().clone()))
        .collect::<Result<_>>()?;
    blocking(move || {
        let mut usage = DiskUsage::default();
        if of.images || of.build_cache {
            let cells = core.containers.all().into_iter();
            let used = cells.flat_map(|cell| used_by(&cell.record())).collect();
            let footprint = core.images.footprint(&used)?;
            if of.images {
                usage.images = images(&footprint);
                usage.images_bytes = footprint.images_bytes;
                usage.images_unused_bytes = footprint.images_unused_bytes;
            }
            if of.build_cache {
                usage.build_cache_bytes = footprint.cache_bytes;
                usage.build_cache = footprint.cache.into_iter().map(cached).collect();
            }
        }
        if of.containers {
            usage.containers = containers(&core, &only)?;
        }
        if of.volumes {
            usage.volumes = volumes(&core)?;
        }
        if of.other {
            usage.other_bytes = other(core.store.dirs().data())?;
        }
        Ok(usage)
    })
    .await
}

fn images(footprint: &Footprint) -> Vec<ImageUsage> {
    let images = footprint.images.iter();
    images
        .map(|image| ImageUsage {
            id: image.id.to_string(),
            bytes: image.bytes,
            shared_bytes: image.shared_bytes,
        })
        .collect()
}

fn cached(entry: CacheEntry) -> CacheUsage {
    let record = entry.record;
    CacheUsage {
        id: record.key.hex().to_owned(),
        parents: record
            .parents
            .iter()
            .map(|key| key.hex().to_owned())
            .collect(),
        kind: record.kind.name().into(),
        description: record.description,
        in_use: entry.in_use,
        shared: entry.shared,
        bytes: record.size_bytes,
        created: record.created,
        last_used: record.last_used,
        uses: record.uses,
    }
}

fn containers(core: &Core, only: &[Id]) -> Result<Vec<ContainerUsage>> {
    let cells = core.containers.all();
    let wanted = cells
        .iter()
        .map(|cell| cell.id())
        .filter(|id| only.is_empty() || only.contains(id));
    wanted
        .map(|id| {
            Ok(ContainerUsage {
                id: id.to_string(),
                bytes: core.images.snapshot_usage(id)?.disk_bytes,
            })
        })
        .collect()
}

fn volumes(core: &Core) -> Result<Vec<VolumeUsage>> {
    let volumes = core.volumes.list().into_iter();
    volumes
        .map(|volume| {
            // One with options is a mount of something else.
            let bytes = match volume.options.is_empty() {
                true => Some(Usage::of(Path::new(&volume.mountpoint))?.disk_bytes),
                false => None,
            };
            Ok(VolumeUsage {
                name: volume.name,
                bytes,
            })
        })
        .collect()
}

/// All below the data root that is counted nowhere else: logs, records, downloads, and the
/// directories that hold all the rest.
fn other(data: &Path) -> Result<u64> {
    let counted = |path: &[&[u8]]| {
        let hidden = |name: &[u8]| name.first() == Some(&b'.');
        match path {
            [b"images", b"layers" | b"snapshots" | b"cache-mounts", name] => !hidden(name),
            [b"images", b"blobs", b"sha256" | b"sha512", name] => !hidden(name),
            [b"volumes", _, b"_data"] => true,
            _ => false,
        }
    };
    Ok(Usage::except(data, &counted)?.disk_bytes)
}

/// Removes what builds may use again. Returns the keys and the bytes.
pub(crate) async fn prune_build_cache(
    core: &Arc<Core>,
    prune: &CachePrune,
) -> Result<(Vec<String>, u64)> {
    let filters = prune.filters.iter();
    let filters = filters.filter_map(|(key, value)| filter(key, value).transpose());
    let prune = cache::CachePrune {
        all: prune.all,
        keep_bytes: prune.keep_bytes,
        filters: filters.collect::<Result<_>>()?,
    };
    let core = core.clone();
    blocking(move || {
        let pruned = core.images.cache_prune(&prune)?;
        let keys = pruned.keys.iter().map(|key| key.hex().to_owned());
        Ok((keys.collect(), pruned.bytes))
    })
    .await
}

/// BuildKit's filters; nothing for one that all records fit.
fn filter(key: &str, value: &str) -> Result<Option<CacheFilter>> {
    use orc_base::{Error, units};
    let flag = || match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Error::invalid(format!(
            "invalid filter '{key}={value}': use true or false"
        ))),
    };
    Ok(Some(match key {
        "id" => CacheFilter::Id(value.into()),
        "parent" | "parents" => CacheFilter::Parent(value.into()),
        "description" => CacheFilter::Description(value.into()),
        "type" => CacheFilter::Kind(value.into()),
        "until" | "unused-for" => CacheFilter::UnusedFor(units::parse_duration(value)?),
        "inuse" => CacheFilter::InUse(flag()?),
        "shared" => CacheFilter::Shared(flag()?),
        "private" => CacheFilter::Shared(!flag()?),
        "mutable" => CacheFilter::Mutable(flag()?),
        "immutable" => CacheFilter::Mutable(!flag()?),
        _ => {
            return Err(Error::invalid(format!(
                "invalid filter '{key}': use id, parents, description, type, until, unused-for, inuse, shared, private, mutable or immutable"
            )));
        }
    }))
}
