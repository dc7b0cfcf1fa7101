//! The images of the fake, and those a pull finds. An archive is a list of names.

use futures_util::StreamExt;
use orc_base::{Error, Result};

use crate::fake::FakeHost;
use crate::fake::streams::done;
use crate::fake::world::with_tag;
use crate::image::{ImageConfig, ImportSource, ImportTar, Progress, Removal};
use crate::stream::{Bytes, Stream};

pub(crate) fn pull(host: &FakeHost, reference: &str) -> Result<Stream<Progress>> {
    let tag = with_tag(reference);
    let now = host.clock.now();
    let mut world = host.lock();
    world.calls.push(format!("pull {tag}"));
    let Some(mut image) = world
        .remote
        .iter()
        .find(|image| image.tags.contains(&tag))
        .cloned()
    else {
        return Err(Error::not_found(format!(
            "pull {tag}: manifest unknown: check the name and the tag"
        )));
    };
    world.images.retain(|local| local.id != image.id);
    let id = image.id.clone();
    image.pulled = Some(now);
    world.images.push(image);
    Ok(done(vec![Progress {
        image: Some(id),
        ..Progress::message(format!("Status: Downloaded newer image for {tag}"))
    }]))
}

pub(crate) fn push(host: &FakeHost, reference: &str) -> Result<Stream<Progress>> {
    let mut world = host.lock();
    let image = world.find_image(reference)?.clone();
    world.remote.push(image);
    Ok(done(vec![Progress::message("pushed")]))
}

pub(crate) fn tag(host: &FakeHost, name: &str, reference: &str) -> Result<()> {
    let mut world = host.lock();
    let id = world.find_image(name)?.id.clone();
    let tag = with_tag(reference);
    for image in &mut world.images {
        image.tags.retain(|other| *other != tag);
        if image.id == id {
            image.tags.push(tag.clone());
        }
    }
    Ok(())
}

pub(crate) fn remove(host: &FakeHost, name: &str, force: bool) -> Result<Vec<Removal>> {
    let mut world = host.lock();
    let image = world.find_image(name)?.clone();
    let tag = with_tag(name);
    if image.tags.len() > 1 && image.tags.contains(&tag) {
        for local in &mut world.images {
            local.tags.retain(|other| *other != tag);
        }
        return Ok(vec![Removal::Untagged(tag)]);
    }
    let user = world
        .containers
        .values()
        .find(|entry| entry.container.image_id == image.id);
    if let Some(entry) = user
        && !force
    {
        let user = &entry.container.name;
        return Err(Error::conflict(format!(
            "image {name} is used by container {user}"
        )));
    }
    world.images.retain(|local| local.id != image.id);
    world.calls.push(format!("remove image {name}"));
    Ok(image
        .tags
        .into_iter()
        .map(Removal::Untagged)
        .chain([Removal::Deleted(image.id)])
        .collect())
}

pub(crate) async fn import(host: &FakeHost, source: ImportSource) -> Result<Stream<Progress>> {
    if let ImportTar::Sent(mut tar) = source.tar {
        while let Some(bytes) = tar.next().await {
            bytes?;
        }
    }
    let image = host.image(
        source.reference.as_deref().unwrap_or("none"),
        ImageConfig::default(),
    );
    let id = image.id.clone();
    host.lock().images.push(image);
    Ok(done(vec![Progress {
        image: Some(id.clone()),
        ..Progress::message(id)
    }]))
}

pub(crate) fn save(host: &FakeHost, names: &[String]) -> Result<Stream<Bytes>> {
    let world = host.lock();
    let mut tags = String::new();
    for name in names {
        tags += &format!("{}\n", world.find_image(name)?.tags.join(" "));
    }
    Ok(done(vec![Bytes::from(tags)]))
}

pub(crate) async fn load(host: &FakeHost, mut tar: Stream<Bytes>) -> Result<Stream<Progress>> {
    let mut saved = Vec::new();
    while let Some(bytes) = tar.next().await {
        saved.extend_from_slice(&bytes?);
    }
    let saved = String::from_utf8_lossy(&saved).into_owned();
    let mut loaded = Vec::new();
    for tag in saved.split_whitespace() {
        host.add_image(tag, ImageConfig::default());
        loaded.push(Progress::message(format!("Loaded image: {tag}")));
    }
    Ok(done(loaded))
}
