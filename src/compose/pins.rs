//! The images that a project is made of, and others in their place: what pins tags to digests.
//!
//! As docker compose has it: images of services, of `pre_start`, and of volumes of type `image`. Where one
//! stands is told by service and number, so that a project that was loaded with its variables can be
//! pinned by what it is without them.

use std::collections::BTreeMap;

use crate::model::Project;
use crate::node::{Map, Node, Span, Value};

/// Where an image stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageOf {
    /// `image` of a service.
    Service(String),
    /// Of a step of its `pre_start`, from 0.
    PreStart(String, usize),
    /// Of one of its `volumes`, from 0.
    Volume(String, usize),
}

/// Puts other images where these stand.
pub fn set_images(project: &mut Project, images: &BTreeMap<ImageOf, String>) {
    let services = project
        .tree
        .map_mut()
        .and_then(|top| top.get_mut("services")?.map_mut());
    let Some(services) = services else {
        return;
    };
    for (place, image) in images {
        let (ImageOf::Service(name) | ImageOf::PreStart(name, _) | ImageOf::Volume(name, _)) =
            place;
        let Some(service) = services.get_mut(name).and_then(Node::map_mut) else {
            continue;
        };
        let pinned = Node::new(image.as_str(), &Span::default());
        match place {
            ImageOf::Service(_) => service.set("image", pinned),
            ImageOf::PreStart(_, index) => put(service, "pre_start", *index, "image", pinned),
            ImageOf::Volume(_, index) => put(service, "volumes", *index, "source", pinned),
        }
    }
    for (name, service) in &mut project.services {
        if let Some(image) = images.get(&ImageOf::Service(name.clone())) {
            service.image = Some(image.clone());
        }
    }
}

/// Puts a value into an item of a list; a short form that has its variables yet is left alone.
fn put(service: &mut Map, list: &str, index: usize, key: &str, value: Node) {
    let items = match service.get_mut(list).map(|node| &mut node.value) {
        Some(Value::List(items)) => items,
        _ => return,
    };
    if let Some(item) = items.get_mut(index).and_then(Node::map_mut) {
        item.set(key, value);
    }
}

/// All images that the services of a project are made of and that registries may have, and where each
/// stands. A volume that is the image of a service is none of them.
pub fn images(project: &Project) -> BTreeMap<ImageOf, String> {
    let mut images = BTreeMap::new();
    for (name, service) in &project.services {
        if let Some(image) = &service.image {
            images.insert(ImageOf::Service(name.clone()), image.clone());
        }
        for (index, step) in service.pre_start.iter().enumerate() {
            if let Some(image) = &step.image {
                images.insert(ImageOf::PreStart(name.clone(), index), image.clone());
            }
        }
        for (index, volume) in service.volumes.iter().enumerate() {
            let source = volume.source.as_ref().filter(|_| volume.kind == "image");
            if let Some(source) = source.filter(|source| project.service(source).is_none()) {
                images.insert(ImageOf::Volume(name.clone(), index), source.clone());
            }
        }
    }
    images
}

/// The services whose `pre_start` has images of its own, which a further file cannot pin: its steps
/// would come after those that are there.
pub fn unpinned_steps(project: &Project) -> Vec<String> {
    let services = project.services.iter();
    let has = services.filter(|(_, service)| {
        let mut steps = service.pre_start.iter();
        steps.any(|step| step.image.is_some())
    });
    has.map(|(name, _)| name.clone()).collect()
}

/// Leaves of a project its services, and of them the images and the volumes that are images: what pins
/// them, as a further file.
pub fn keep_images(project: &mut Project) {
    let Some(top) = project.tree.map_mut() else {
        return;
    };
    top.retain(|section, _| section == "services");
    let services = top.get_mut("services").and_then(Node::map_mut);
    for (_, entry) in services.into_iter().flat_map(Map::iter_mut) {
        if let Some(service) = entry.node.map_mut() {
            service.retain(|key, _| matches!(key.as_str(), "image" | "volumes"));
            let is_image = |item: &Node| item.get("type").and_then(Node::text) == Some("image");
            if let Some(Value::List(items)) = service.get_mut("volumes").map(|node| &mut node.value)
            {
                items.retain(is_image);
                if items.is_empty() {
                    service.remove("volumes");
                }
            }
        }
    }
}
