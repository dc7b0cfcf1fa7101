//! What holds between values: references, pairs of keys that exclude each other, cycles.
//!
//! Works on the normalised tree, so that every refusal has a place.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::Result;

use crate::node::{Map, Node, Trail, Value};
use crate::select::{Selection, dependencies};

/// Pairs of a service's key and the place in `deploy` that says the same.
const TWINS: [(&str, &[&str]); 5] = [
    ("mem_limit", &["resources", "limits", "memory"]),
    ("mem_reservation", &["resources", "reservations", "memory"]),
    ("cpus", &["resources", "limits", "cpus"]),
    ("pids_limit", &["resources", "limits", "pids"]),
    ("scale", &["replicas"]),
];

/// Checks what is wrong in any project.
pub(crate) fn shapes(tree: &Node) -> Result<()> {
    for section in ["secrets", "configs"] {
        let things = tree.get(section).and_then(Node::map);
        for (name, entry) in things.into_iter().flat_map(Map::iter) {
            let section = Trail::ROOT.key(section);
            one_source(&entry.node, &section.key(name))?;
        }
    }
    let volumes = tree.get("volumes").and_then(Node::map);
    for (name, entry) in volumes.into_iter().flat_map(Map::iter) {
        let section = Trail::ROOT.key("volumes");
        external_alone(&entry.node, &section.key(name))?;
    }
    Ok(())
}

/// A secret or config has one source.
fn one_source(node: &Node, trail: &Trail<'_>) -> Result<()> {
    let given: Vec<&str> = ["file", "environment", "content"]
        .into_iter()
        .filter(|key| node.get(key).is_some())
        .collect();
    let external = is_true(node.get("external"));
    let elsewhere = external || node.get("driver").is_some();
    match given[..] {
        [] if elsewhere => Ok(()),
        [] => Err(trail.error(
            &node.span,
            "one of file|environment|content|external must be set",
        )),
        [key] if external => Err(trail.error(
            &node.span,
            format!("conflicting parameters \"external\" and \"{key}\" specified"),
        )),
        [_] => Ok(()),
        _ => Err(trail.error(
            &node.span,
            format!("{} attributes are mutually exclusive", given.join("|")),
        )),
    }
}

/// What is made by somebody else is not described here.
fn external_alone(node: &Node, trail: &Trail<'_>) -> Result<()> {
    if !is_true(node.get("external")) {
        return Ok(());
    }
    let map = node.map();
    for (key, entry) in map.into_iter().flat_map(Map::iter) {
        let allowed = matches!(key.as_str(), "name" | "external") || key.starts_with("x-");
        if !allowed {
            return Err(trail.error(
                &entry.key,
                format!("conflicting parameters \"external\" and \"{key}\" specified"),
            ));
        }
    }
    Ok(())
}

/// Checks how services refer to each other and to the rest.
pub(crate) fn consistency(tree: &Node, selection: &Selection) -> Result<()> {
    let empty = Map::default();
    let services = tree.get("services").and_then(Node::map).unwrap_or(&empty);
    let section = Trail::ROOT.key("services");
    for name in &selection.enabled {
        if let Some(node) = services.get(name) {
            let trail = section.key(name);
            service(tree, services, selection, name, node, &trail)?;
        }
    }
    container_names(services, selection)?;
    cycles(services, &selection.enabled)
}

fn service(
    tree: &Node,
    services: &Map,
    selection: &Selection,
    name: &str,
    node: &Node,
    trail: &Trail<'_>,
) -> Result<()> {
    let place = services.entry(name).map_or(&node.span, |entry| &entry.key);
    let has = |key: &str| node.get(key).is_some();
    if !has("image") && !has("build") && !has("provider") {
        return Err(trail.error(
            place,
            format!("service \"{name}\" has neither an image nor a build context specified"),
        ));
    }
    build(node, trail)?;
    references(tree, name, node, trail)?;
    needs(services, selection, name, node, trail)?;
    twins(node, trail)?;
    mounts(node, trail)?;
    if let Some(networks) = node.get("networks").and_then(Node::map)
        && let Some(mode) = node.get("network_mode")
        && !networks.is_empty()
    {
        return Err(trail.error(
            &mode.span,
            format!("service {name} declares mutually exclusive `network_mode` and `networks`"),
        ));
    }
    if let Some(fixed) = node.get("container_name")
        && replicas(node) > 1
    {
        return Err(trail.key("container_name").error(
            &fixed.span,
            format!(
                "can't set container_name and {} replicas: container names must be unique",
                replicas(node)
            ),
        ));
    }
    Ok(())
}

fn build(node: &Node, trail: &Trail<'_>) -> Result<()> {
    let Some(build) = node.get("build") else {
        return Ok(());
    };
    let trail = trail.key("build");
    if let (Some(inline), Some(_)) = (build.get("dockerfile_inline"), build.get("dockerfile")) {
        return Err(trail.error(
            &inline.span,
            "declares mutually exclusive dockerfile and dockerfile_inline",
        ));
    }
    let platforms = build
        .get("platforms")
        .and_then(Node::list)
        .unwrap_or_default();
    let platform = node.get("platform").and_then(Node::text);
    if let Some(platform) = platform
        && !platforms.is_empty()
        && !platforms.iter().any(|item| item.text() == Some(platform))
    {
        return Err(trail.key("platforms").error(
            &build.span,
            format!("must include service platform {platform}"),
        ));
    }
    Ok(())
}

/// Networks, volumes, secrets, configs and models that a service names are declared.
fn references(tree: &Node, name: &str, node: &Node, trail: &Trail<'_>) -> Result<()> {
    let declared = |section: &str, key: &str| tree.at(&[section, key]).is_some();
    for (key, what) in [("networks", "network"), ("models", "model")] {
        let map = node.get(key).and_then(Node::map);
        for (other, entry) in map.into_iter().flat_map(Map::iter) {
            if !declared(key, other) {
                return Err(undefined(&trail.key(key), &entry.key, name, what, other));
            }
        }
    }
    for (key, what) in [("secrets", "secret"), ("configs", "config")] {
        let items = node.get(key).and_then(Node::list).unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let other = item.get("source").and_then(Node::text).unwrap_or_default();
            if !declared(key, other) {
                let trail = trail.key(key);
                return Err(undefined(
                    &trail.index(index),
                    &item.span,
                    name,
                    what,
                    other,
                ));
            }
        }
    }
    let items = node.at(&["build", "secrets"]).and_then(Node::list);
    for item in items.unwrap_or_default() {
        let other = item.get("source").and_then(Node::text).unwrap_or_default();
        if !declared("secrets", other) {
            return Err(undefined(
                &trail.key("build"),
                &item.span,
                name,
                "build secret",
                other,
            ));
        }
    }
    let items = node.get("volumes").and_then(Node::list).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        let source = item.get("source").and_then(Node::text).unwrap_or_default();
        let named = item.get("type").and_then(Node::text) == Some("volume") && !source.is_empty();
        if named && !declared("volumes", source) {
            let trail = trail.key("volumes");
            return Err(undefined(
                &trail.index(index),
                &item.span,
                name,
                "volume",
                source,
            ));
        }
    }
    Ok(())
}

fn undefined(
    trail: &Trail<'_>,
    span: &crate::node::Span,
    service: &str,
    what: &str,
    name: &str,
) -> orc_base::Error {
    trail.error(
        span,
        format!(
            "service \"{service}\" refers to undefined {what} {name}: declare it at the top level"
        ),
    )
}

/// Services that a service needs exist and are on.
fn needs(
    services: &Map,
    selection: &Selection,
    name: &str,
    node: &Node,
    trail: &Trail<'_>,
) -> Result<()> {
    for (other, dependency) in dependencies(services, name) {
        let required = !matches!(
            dependency.get("required").map(|node| &node.value),
            Some(Value::Bool(false))
        );
        let trail = trail.key("depends_on");
        if !services.contains(&other) {
            return Err(trail.error(
                &dependency.span,
                format!("service \"{name}\" depends on undefined service \"{other}\""),
            ));
        }
        if required && selection.disabled.contains(&other) {
            let profiles: Vec<_> = services
                .get(&other)
                .and_then(|service| service.get("profiles")?.list())
                .unwrap_or_default()
                .iter()
                .filter_map(Node::text)
                .collect();
            return Err(trail.error(
                &dependency.span,
                format!(
                    "service \"{other}\" is required by \"{name}\" but is disabled. Can be enabled by profiles [{}]",
                    profiles.join(" ")
                ),
            ));
        }
    }
    for key in ["network_mode", "ipc", "pid", "uts"] {
        if let Some(value) = node.get(key)
            && let Some(other) = value.text().and_then(|text| text.strip_prefix("service:"))
            && !services.contains(other)
        {
            return Err(trail.key(key).error(
                &value.span,
                format!("service \"{name}\" depends on undefined service \"{other}\""),
            ));
        }
    }
    Ok(())
}

/// What can be said in two places is said the same.
fn twins(node: &Node, trail: &Trail<'_>) -> Result<()> {
    let Some(deploy) = node.get("deploy") else {
        return Ok(());
    };
    for (key, path) in TWINS {
        let (Some(here), Some(there)) = (node.get(key), deploy.at(path)) else {
            continue;
        };
        if here.scalar() != there.scalar() {
            return Err(trail.key(key).error(
                &here.span,
                format!(
                    "can't set distinct values on '{key}' and 'deploy.{}'",
                    path.join(".")
                ),
            ));
        }
    }
    Ok(())
}

/// One thing a place.
fn mounts(node: &Node, trail: &Trail<'_>) -> Result<()> {
    let mut taken: BTreeMap<String, &'static str> = BTreeMap::new();
    let volumes = node.get("volumes").and_then(Node::list).unwrap_or_default();
    for (index, item) in volumes.iter().enumerate() {
        let target = item.get("target").and_then(Node::text).unwrap_or_default();
        if target.is_empty() {
            return Err(trail
                .key("volumes")
                .index(index)
                .error(&item.span, "missing a mount target"));
        }
        taken.insert(target.trim_end_matches('/').to_owned(), "volumes");
    }
    let tmpfs = node.get("tmpfs").and_then(Node::list).unwrap_or_default();
    for (index, item) in tmpfs.iter().enumerate() {
        let target = item.text().unwrap_or_default();
        let target = target
            .split(':')
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        if let Some(other) = taken.insert(target.to_owned(), "tmpfs") {
            return Err(trail.key("tmpfs").index(index).error(
                &item.span,
                format!("target {target} is already mounted as {other}"),
            ));
        }
    }
    let others = [("configs", "/"), ("secrets", "/run/secrets/")];
    for (key, directory) in others {
        let items = node.get(key).and_then(Node::list).unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let named = item
                .get("target")
                .or(item.get("source"))
                .and_then(Node::text);
            let named = named.unwrap_or_default();
            let target = match named.starts_with('/') {
                true => named.to_owned(),
                false => format!("{directory}{named}"),
            };
            if let Some(other) = taken.insert(target.clone(), key) {
                return Err(trail.key(key).index(index).error(
                    &item.span,
                    format!("target {target} is already mounted as {other}"),
                ));
            }
        }
    }
    Ok(())
}

fn container_names(services: &Map, selection: &Selection) -> Result<()> {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for name in &selection.enabled {
        let Some(node) = services
            .get(name)
            .and_then(|service| service.get("container_name"))
        else {
            continue;
        };
        let fixed = node.text().unwrap_or_default();
        if let Some(other) = taken.insert(fixed, name) {
            let section = Trail::ROOT.key("services");
            return Err(section.key(name).key("container_name").error(
                &node.span,
                format!("container name \"{fixed}\" is already in use by service \"{other}\""),
            ));
        }
    }
    Ok(())
}

/// Depth first; the path that meets itself is the cycle.
fn cycles(services: &Map, enabled: &BTreeSet<String>) -> Result<()> {
    let below = |name: &str| -> Vec<String> {
        let names = dependencies(services, name).into_keys();
        names.rev().collect()
    };
    let mut done = BTreeSet::new();
    for start in enabled {
        let mut path = vec![(start.clone(), below(start))];
        while let Some((name, rest)) = path.last_mut() {
            let Some(next) = rest.pop() else {
                done.insert(name.clone());
                path.pop();
                continue;
            };
            if let Some(first) = path.iter().position(|(name, _)| *name == next) {
                let names = path[first..].iter().map(|(name, _)| name.as_str());
                let cycle: Vec<_> = names.chain([next.as_str()]).collect();
                let span = services.entry(&next).map(|entry| entry.key.clone());
                let section = Trail::ROOT.key("services");
                return Err(section.key(&next).key("depends_on").error(
                    &span.unwrap_or_default(),
                    format!("dependency cycle detected: {}", cycle.join(" -> ")),
                ));
            }
            if !done.contains(&next) {
                let rest = below(&next);
                path.push((next, rest));
            }
        }
    }
    Ok(())
}

fn replicas(node: &Node) -> i128 {
    let count = node.at(&["deploy", "replicas"]).or(node.get("scale"));
    match count.map(|count| &count.value) {
        Some(Value::Int(count)) => *count,
        _ => 1,
    }
}

fn is_true(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.value == Value::Bool(true))
}
