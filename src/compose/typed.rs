//! From the normalised tree to the typed [`Project`].

use std::collections::BTreeMap;

use orc_base::{Error, Result};
use serde::de::DeserializeOwned;

use crate::config_hash;
use crate::model::Project;
use crate::model::provider::Model;
use crate::model::resources::{FileSource, Network, Volume};
use crate::model::service::Service;
use crate::node::{Map, Node};
use crate::render::json;
use crate::select::Selection;

/// Reads the tree, which must be normalised and valid. `lenient`: a tree in which variables stand
/// where numbers belong is only good for printing; what cannot be read is left at its default.
pub(crate) fn project(tree: Node, selection: &Selection, lenient: bool) -> Result<Project> {
    let mut project = Project {
        networks: all::<Network>(&tree, "networks", lenient)?,
        volumes: all::<Volume>(&tree, "volumes", lenient)?,
        secrets: all::<FileSource>(&tree, "secrets", lenient)?,
        configs: all::<FileSource>(&tree, "configs", lenient)?,
        models: all::<Model>(&tree, "models", lenient)?,
        ..Project::default()
    };
    for (name, node) in children(&tree, "networks") {
        if let Some(network) = project.networks.get_mut(name) {
            network.hash = config_hash::of_network(&json(node));
        }
    }
    for (name, node) in children(&tree, "volumes") {
        if let Some(volume) = project.volumes.get_mut(name) {
            volume.hash = config_hash::of_volume(&json(node));
        }
    }
    for (name, node) in children(&tree, "services") {
        let mut service: Service = read(node, "services", name, lenient)?;
        service.name.clone_from(name);
        service.hash = config_hash::of_service(&json(node));
        match selection.disabled.contains(name) {
            true => project.disabled.insert(name.clone(), service),
            false => project.services.insert(name.clone(), service),
        };
    }
    project.tree = tree;
    Ok(project)
}

fn children<'a>(tree: &'a Node, section: &str) -> impl Iterator<Item = (&'a String, &'a Node)> {
    let map = tree.get(section).and_then(Node::map);
    map.into_iter()
        .flat_map(Map::iter)
        .map(|(name, entry)| (name, &entry.node))
}

fn all<T: DeserializeOwned + Default>(
    tree: &Node,
    section: &str,
    lenient: bool,
) -> Result<BTreeMap<String, T>> {
    children(tree, section)
        .map(|(name, node)| Ok((name.clone(), read(node, section, name, lenient)?)))
        .collect()
}

fn read<T: DeserializeOwned + Default>(
    node: &Node,
    section: &str,
    name: &str,
    lenient: bool,
) -> Result<T> {
    match serde_json::from_value(json(node)) {
        Err(_) if lenient => Ok(T::default()),
        read => read
            .map_err(|error| Error::invalid(format!("{}: {section}.{name}: {error}", node.span))),
    }
}
