//! From the normalised tree to the typed [`Project`].

use std::collections::BTreeMap;

use orc_base::{Error, Result};
use serde::de::DeserializeOwned;

use crate::digest;
use crate::model::Project;
use crate::model::resources::{FileSource, Network, Volume};
use crate::model::service::Service;
use crate::node::{Map, Node};
use crate::render::json;
use crate::select::Selection;

/// Keys that say when and how often a service runs, not what a container is made from.
const NOT_HASHED: [&str; 5] = ["build", "pull_policy", "scale", "depends_on", "profiles"];

/// Reads the tree, which must be normalised and valid. `lenient`: a tree in which variables stand
/// where numbers belong is only good for printing; what cannot be read is left at its default.
pub(crate) fn project(tree: Node, selection: &Selection, lenient: bool) -> Result<Project> {
    let mut project = Project {
        networks: all::<Network>(&tree, "networks", lenient)?,
        volumes: all::<Volume>(&tree, "volumes", lenient)?,
        secrets: all::<FileSource>(&tree, "secrets", lenient)?,
        configs: all::<FileSource>(&tree, "configs", lenient)?,
        ..Project::default()
    };
    for (name, node) in children(&tree, "networks") {
        if let Some(network) = project.networks.get_mut(name) {
            network.hash = digest::of(&json(node).to_string());
        }
    }
    for (name, node) in children(&tree, "volumes") {
        if let Some(volume) = project.volumes.get_mut(name) {
            volume.hash = digest::of(&json(node).to_string());
        }
    }
    for (name, node) in children(&tree, "services") {
        let mut service: Service = read(node, "services", name, lenient)?;
        service.name.clone_from(name);
        service.hash = service_hash(node);
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

/// Digest of what a container of the service is made from.
fn service_hash(node: &Node) -> String {
    let mut node = node.clone();
    if let Some(map) = node.map_mut() {
        for key in NOT_HASHED {
            map.remove(key);
        }
        if let Some(deploy) = map.get_mut("deploy").and_then(Node::map_mut) {
            deploy.remove("replicas");
            if deploy.is_empty() {
                map.remove("deploy");
            }
        }
    }
    digest::of(&json(&node).to_string())
}
