//! What holds between values: references, pairs of keys that exclude each other, cycles.
//!
//! Works on the normalised tree, so that every mistake has a place. What is wrong is noted; an error is
//! only returned when there is no use in looking on.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Result, spelling};

use crate::mistakes::Mistakes;
use crate::node::{Map, Node, Span, Trail, Value};
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
pub(crate) fn shapes(tree: &Node, mistakes: &mut Mistakes) -> Result<()> {
    for section in ["secrets", "configs"] {
        let things = tree.get(section).and_then(Node::map);
        for (name, entry) in things.into_iter().flat_map(Map::iter) {
            let section = Trail::ROOT.key(section);
            one_source(&entry.node, &section.key(name), mistakes)?;
        }
    }
    let volumes = tree.get("volumes").and_then(Node::map);
    for (name, entry) in volumes.into_iter().flat_map(Map::iter) {
        let section = Trail::ROOT.key("volumes");
        external_alone(&entry.node, &section.key(name), mistakes)?;
    }
    Ok(())
}

/// A secret or config has one source.
fn one_source(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    let given: Vec<&str> = ["file", "environment", "content"]
        .into_iter()
        .filter(|key| node.get(key).is_some())
        .collect();
    let external = is_true(node.get("external"));
    let elsewhere = external || node.get("driver").is_some();
    let text = match given[..] {
        [] if elsewhere => return Ok(()),
        [] => "one of file|environment|content|external must be set".to_owned(),
        [key] if external => {
            format!("conflicting parameters \"external\" and \"{key}\" specified")
        }
        [_] => return Ok(()),
        _ => format!("{} attributes are mutually exclusive", given.join("|")),
    };
    mistakes.note(trail, &node.span, text)
}

/// What is made by somebody else is not described here.
fn external_alone(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    if !is_true(node.get("external")) {
        return Ok(());
    }
    let map = node.map();
    for (key, entry) in map.into_iter().flat_map(Map::iter) {
        let allowed = matches!(key.as_str(), "name" | "external") || key.starts_with("x-");
        if !allowed {
            let text = format!("conflicting parameters \"external\" and \"{key}\" specified");
            mistakes.note(trail, &entry.key, text)?;
        }
    }
    Ok(())
}

/// Checks how services refer to each other and to the rest. `lenient`: a name with a `$` is not one
/// yet, because nothing was interpolated.
pub(crate) fn consistency(
    tree: &Node,
    selection: &Selection,
    lenient: bool,
    mistakes: &mut Mistakes,
) -> Result<()> {
    let empty = Map::default();
    let services = tree.get("services").and_then(Node::map).unwrap_or(&empty);
    let around = Around {
        tree,
        services,
        selection,
        lenient,
        sections: &SECTIONS,
    };
    let section = Trail::ROOT.key("services");
    for name in &selection.enabled {
        if let Some(node) = services.get(name) {
            let trail = section.key(name);
            service(&around, name, node, &trail, mistakes)?;
        }
    }
    container_names(services, selection, mistakes)?;
    cycles(services, &selection.enabled, mistakes)
}

/// What a service may refer to.
struct Around<'a> {
    tree: &'a Node,
    services: &'a Map,
    selection: &'a Selection,
    lenient: bool,
    /// What is declared there is known.
    sections: &'a [&'static str],
}

/// What services refer to beside each other.
const SECTIONS: [&str; 5] = ["networks", "volumes", "secrets", "configs", "models"];

/// The sections of a tree that can be relied on when something is wrong in it.
pub(crate) fn sections(tree: &Node) -> Vec<&'static str> {
    let is_map = |section: &&str| tree.get(section).is_some_and(|node| node.map().is_some());
    SECTIONS.into_iter().filter(is_map).collect()
}

/// Checks only what services refer to: each other, and what is declared in these sections.
pub(crate) fn references(
    tree: &Node,
    selection: &Selection,
    lenient: bool,
    sections: &[&'static str],
    mistakes: &mut Mistakes,
) -> Result<()> {
    let empty = Map::default();
    let services = tree.get("services").and_then(Node::map).unwrap_or(&empty);
    let around = Around {
        tree,
        services,
        selection,
        lenient,
        sections,
    };
    let section = Trail::ROOT.key("services");
    for name in &selection.enabled {
        if let Some(node) = services.get(name) {
            let trail = section.key(name);
            declared(&around, name, node, &trail, mistakes)?;
            needs(&around, name, node, &trail, mistakes)?;
        }
    }
    Ok(())
}

fn service(
    around: &Around<'_>,
    name: &str,
    node: &Node,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Result<()> {
    let entry = around.services.entry(name);
    let place = entry.map_or(&node.span, |entry| &entry.key);
    let has = |key: &str| node.get(key).is_some();
    if !has("image") && !has("build") && !has("provider") {
        let text = format!("service \"{name}\" has neither an image nor a build context specified");
        mistakes.note(trail, place, text)?;
    }
    build(node, trail, mistakes)?;
    declared(around, name, node, trail, mistakes)?;
    needs(around, name, node, trail, mistakes)?;
    twins(node, trail, mistakes)?;
    mounts(node, trail, mistakes)?;
    if let Some(networks) = node.get("networks").and_then(Node::map)
        && let Some(mode) = node.get("network_mode")
        && !networks.is_empty()
    {
        let text =
            format!("service {name} declares mutually exclusive `network_mode` and `networks`");
        mistakes.note(trail, &mode.span, text)?;
    }
    if let Some(fixed) = node.get("container_name")
        && replicas(node) > 1
    {
        let count = replicas(node);
        let text = format!(
            "can't set container_name and {count} replicas: container names must be unique"
        );
        mistakes.note(&trail.key("container_name"), &fixed.span, text)?;
    }
    Ok(())
}

fn build(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    let Some(build) = node.get("build") else {
        return Ok(());
    };
    let trail = trail.key("build");
    if let (Some(inline), Some(_)) = (build.get("dockerfile_inline"), build.get("dockerfile")) {
        let text = "declares mutually exclusive dockerfile and dockerfile_inline";
        mistakes.note(&trail, &inline.span, text)?;
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
        let text = format!("must include service platform {platform}");
        mistakes.note(&trail.key("platforms"), &build.span, text)?;
    }
    Ok(())
}

/// Networks, volumes, secrets, configs and models that a service names are declared.
fn declared(
    around: &Around<'_>,
    name: &str,
    node: &Node,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Result<()> {
    let mut check = |what: &str, section: &str, other: &str, trail: &Trail<'_>, span: &Span| {
        let unknown = around.lenient && other.contains('$');
        let unsure = !around.sections.contains(&section);
        if unknown || unsure || around.tree.at(&[section, other]).is_some() {
            return Ok(());
        }
        let declared = around.tree.get(section).and_then(Node::map);
        let near = near(other, declared.into_iter().flat_map(Map::keys));
        let text = format!(
            "service \"{name}\" refers to undefined {what} {other}: {near}declare it at the top level"
        );
        mistakes.note(trail, span, text)
    };
    for (key, what) in [("networks", "network"), ("models", "model")] {
        let map = node.get(key).and_then(Node::map);
        for (other, entry) in map.into_iter().flat_map(Map::iter) {
            check(what, key, other, &trail.key(key), &entry.key)?;
        }
    }
    for (key, what) in [("secrets", "secret"), ("configs", "config")] {
        let trail = trail.key(key);
        let items = node.get(key).and_then(Node::list).unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let other = text(item, "source");
            check(what, key, other, &trail.index(index), &item.span)?;
        }
    }
    let items = node.at(&["build", "secrets"]).and_then(Node::list);
    let build = trail.key("build");
    for item in items.unwrap_or_default() {
        let other = text(item, "source");
        check("build secret", "secrets", other, &build, &item.span)?;
    }
    let items = node.get("volumes").and_then(Node::list).unwrap_or_default();
    let volumes = trail.key("volumes");
    for (index, item) in items.iter().enumerate() {
        let source = text(item, "source");
        if text(item, "type") == "volume" && !source.is_empty() {
            let trail = volumes.index(index);
            check("volume", "volumes", source, &trail, &item.span)?;
        }
    }
    Ok(())
}

/// A child that is a string; empty when there is none.
fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::text).unwrap_or_default()
}

/// The one that was probably meant, as the middle of a sentence.
fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a String>) -> String {
    let known = known.into_iter().map(String::as_str);
    match spelling::nearest(word, known) {
        Some(near) => format!("did you mean `{near}`? Or "),
        None => String::new(),
    }
}

/// Services that a service needs exist and are on.
fn needs(
    around: &Around<'_>,
    name: &str,
    node: &Node,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
) -> Result<()> {
    let services = around.services;
    let undefined = |other: &str| {
        let text = format!("service \"{name}\" depends on undefined service \"{other}\"");
        let known = services.keys().filter(|known| *known != name);
        match spelling::nearest(other, known.map(String::as_str)) {
            Some(near) => format!("{text}: did you mean `{near}`?"),
            None => text,
        }
    };
    let depends_on = trail.key("depends_on");
    for (other, dependency) in dependencies(services, name) {
        let required = !matches!(
            dependency.get("required").map(|node| &node.value),
            Some(Value::Bool(false))
        );
        if !services.contains(&other) {
            mistakes.note(&depends_on, &dependency.span, undefined(&other))?;
        } else if required && around.selection.disabled.contains(&other) {
            let profiles: Vec<_> = services
                .get(&other)
                .and_then(|service| service.get("profiles")?.list())
                .unwrap_or_default()
                .iter()
                .filter_map(Node::text)
                .collect();
            let profiles = profiles.join(" ");
            let text = format!(
                "service \"{other}\" is required by \"{name}\" but is disabled. Can be enabled by profiles [{profiles}]"
            );
            mistakes.note(&depends_on, &dependency.span, text)?;
        }
    }
    for key in ["network_mode", "ipc", "pid", "uts"] {
        if let Some(value) = node.get(key)
            && let Some(other) = value.text().and_then(|text| text.strip_prefix("service:"))
            && !services.contains(other)
            && !dependencies(services, name).contains_key(other)
        {
            mistakes.note(&trail.key(key), &value.span, undefined(other))?;
        }
    }
    Ok(())
}

/// What can be said in two places is said the same.
fn twins(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    let Some(deploy) = node.get("deploy") else {
        return Ok(());
    };
    for (key, path) in TWINS {
        let (Some(here), Some(there)) = (node.get(key), deploy.at(path)) else {
            continue;
        };
        if here.scalar() != there.scalar() {
            let path = path.join(".");
            let text = format!("can't set distinct values on '{key}' and 'deploy.{path}'");
            mistakes.note(&trail.key(key), &here.span, text)?;
        }
    }
    Ok(())
}

/// One thing a place.
fn mounts(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    let mut taken: BTreeMap<String, &'static str> = BTreeMap::new();
    let volumes = node.get("volumes").and_then(Node::list).unwrap_or_default();
    for (index, item) in volumes.iter().enumerate() {
        let target = item.get("target").and_then(Node::text).unwrap_or_default();
        if target.is_empty() {
            let trail = trail.key("volumes");
            mistakes.note(&trail.index(index), &item.span, "missing a mount target")?;
            continue;
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
            let text = format!("target {target} is already mounted as {other}");
            mistakes.note(&trail.key("tmpfs").index(index), &item.span, text)?;
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
                let text = format!("target {target} is already mounted as {other}");
                mistakes.note(&trail.key(key).index(index), &item.span, text)?;
            }
        }
    }
    Ok(())
}

fn container_names(services: &Map, selection: &Selection, mistakes: &mut Mistakes) -> Result<()> {
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
            let text =
                format!("container name \"{fixed}\" is already in use by service \"{other}\"");
            let trail = section.key(name);
            mistakes.note(&trail.key("container_name"), &node.span, text)?;
        }
    }
    Ok(())
}

/// Depth first; the path that meets itself is the cycle. One is told: others are often the same.
fn cycles(services: &Map, enabled: &BTreeSet<String>, mistakes: &mut Mistakes) -> Result<()> {
    let below = |name: &str| -> Vec<String> {
        let names = dependencies(services, name).into_keys();
        names.rev().collect()
    };
    let mut done = BTreeSet::new();
    let mut on_the_way = BTreeSet::new();
    for start in enabled {
        let mut path = vec![(start.clone(), below(start))];
        on_the_way.insert(start.clone());
        while let Some((name, rest)) = path.last_mut() {
            let Some(next) = rest.pop() else {
                on_the_way.remove(name);
                done.insert(name.clone());
                path.pop();
                continue;
            };
            if on_the_way.contains(&next) {
                let first = path.iter().position(|(name, _)| *name == next);
                let first = first.unwrap_or_default();
                let names = path[first..].iter().map(|(name, _)| name.as_str());
                let cycle: Vec<_> = names.chain([next.as_str()]).collect();
                let span = services.entry(&next).map(|entry| entry.key.clone());
                let section = Trail::ROOT.key("services");
                let trail = section.key(&next);
                let text = format!("dependency cycle detected: {}", cycle.join(" -> "));
                return mistakes.note(&trail.key("depends_on"), &span.unwrap_or_default(), text);
            }
            if !done.contains(&next) {
                on_the_way.insert(next.clone());
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
