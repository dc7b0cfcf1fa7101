//! The volumes of the fake, and how much space everything takes: hardly any.

use orc_base::{Error, Name, Result};

use crate::Host;
use crate::container::ContainerFilter;
use crate::fake::FakeHost;
use crate::image::Image;
use crate::storage::{ContainerUsage, DiskUsage, ImageUsage, UsageOf, VolumeUsage};
use crate::volume::{Volume, VolumeSpec};

pub(crate) fn create(host: &FakeHost, spec: &VolumeSpec) -> Result<Volume> {
    if !spec.name.is_empty() {
        spec.name.parse::<Name>()?;
    }
    let mut world = host.lock();
    if !world.volumes.contains_key(&spec.name) {
        world.calls.push(format!("create volume {}", spec.name));
    }
    Ok(world.add_volume(spec, host.clock.now()))
}

pub(crate) fn remove(host: &FakeHost, name: &str, force: bool) -> Result<()> {
    let mut world = host.lock();
    if !world.volumes.contains_key(name) {
        return match force {
            true => Ok(()),
            false => Err(Error::not_found(format!("get {name}: no such volume"))),
        };
    }
    let user = world.containers.values().find(|entry| {
        entry
            .container
            .mounts
            .iter()
            .any(|mount| mount.name.as_deref() == Some(name))
    });
    if let Some(entry) = user {
        let user = &entry.container.name;
        return Err(Error::conflict(format!(
            "volume {name} is used by container {user}"
        )));
    }
    world.volumes.remove(name);
    world.calls.push(format!("remove volume {name}"));
    Ok(())
}

pub(crate) fn inspect(host: &FakeHost, name: &str) -> Result<Volume> {
    host.lock()
        .volumes
        .get(name)
        .cloned()
        .ok_or_else(|| Error::not_found(format!("get {name}: no such volume")))
}

pub(crate) async fn usage(host: &FakeHost, of: &UsageOf) -> Result<DiskUsage> {
    let images = host.list_images().await?;
    let containers = host.list_containers(&ContainerFilter::everything()).await?;
    let wanted = |id: &str| of.only.is_empty() || of.only.iter().any(|one| one == id);
    let mut usage = DiskUsage::default();
    if of.images {
        usage.images_bytes = images.iter().map(|image| image.size_bytes).sum();
        let space = |image: &Image| ImageUsage {
            id: image.id.clone(),
            bytes: image.size_bytes,
            shared_bytes: 0,
        };
        usage.images = images.iter().map(space).collect();
    }
    if of.containers {
        let ids = containers.into_iter().map(|one| one.id);
        let space = |id| ContainerUsage { id, bytes: 0 };
        usage.containers = ids.filter(|id| wanted(id)).map(space).collect();
    }
    if of.volumes {
        let names = host.lock().volumes.keys().cloned().collect::<Vec<_>>();
        let space = |name| VolumeUsage {
            name,
            bytes: Some(0),
        };
        usage.volumes = names.into_iter().map(space).collect();
    }
    Ok(usage)
}
