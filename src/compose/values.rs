//! Checks strings that have a notation of their own, where they stand in the file, so that a wrong
//! one is refused before anything is made. What is wrong is noted; an error is only returned when there
//! is no use in looking on.

use std::net::IpAddr;

use orc_base::{Name, Result};

use crate::mistakes::Mistakes;
use crate::node::{Map, Node, Trail, Value};
use crate::notation;

/// Checks a normalised tree.
pub(crate) fn check(tree: &Node, mistakes: &mut Mistakes) -> Result<()> {
    let section = Trail::ROOT.key("services");
    for (name, node) in children(tree, "services") {
        service(node, &section.key(name), mistakes)?;
    }
    let section = Trail::ROOT.key("networks");
    for (name, node) in children(tree, "networks") {
        let trail = section.key(name);
        named(node, &trail, mistakes)?;
        let ipam = trail.key("ipam");
        let config = ipam.key("config");
        let pools = node.at(&["ipam", "config"]).and_then(Node::list);
        for (index, item) in pools.unwrap_or_default().iter().enumerate() {
            pool(item, &config.index(index), mistakes)?;
        }
    }
    let section = Trail::ROOT.key("volumes");
    for (name, node) in children(tree, "volumes") {
        named(node, &section.key(name), mistakes)?;
    }
    Ok(())
}

fn children<'a>(tree: &'a Node, section: &str) -> impl Iterator<Item = (&'a String, &'a Node)> {
    let map = tree.get(section).and_then(Node::map);
    map.into_iter()
        .flat_map(Map::iter)
        .map(|(name, entry)| (name, &entry.node))
}

/// A name on the machine.
fn named(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    text(node, "name", trail, mistakes, |name| {
        name.parse::<Name>().map(drop)
    })
}

fn pool(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    text(node, "subnet", trail, mistakes, notation::subnet)?;
    text(node, "ip_range", trail, mistakes, notation::subnet)?;
    text(node, "gateway", trail, mistakes, address)?;
    let taken = node.get("aux_addresses").and_then(Node::map);
    for (name, entry) in taken.into_iter().flat_map(Map::iter) {
        let trail = trail.key("aux_addresses");
        if let Err(error) = address(entry.node.text().unwrap_or_default()) {
            mistakes.note(&trail.key(name), &entry.node.span, error)?;
        }
    }
    Ok(())
}

fn address(text: &str) -> Result<()> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(orc_base::Error::invalid(format!(
            "`{text}` is not an address"
        ))),
    }
}

fn service(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    text(node, "restart", trail, mistakes, |text| {
        notation::restart(text).map(drop)
    })?;
    text(node, "container_name", trail, mistakes, |name| {
        name.parse::<Name>().map(drop)
    })?;
    items(node, "expose", trail, mistakes, |text| {
        notation::exposed(text).map(drop)
    })?;
    items(node, "tmpfs", trail, mistakes, |text| {
        notation::tmpfs(text).map(drop)
    })?;
    let networks = trail.key("networks");
    let joined = node.get("networks").and_then(Node::map);
    for (name, entry) in joined.into_iter().flat_map(Map::iter) {
        let trail = networks.key(name);
        text(&entry.node, "ipv4_address", &trail, mistakes, |text| {
            notation::ipv4(text).map(drop)
        })?;
        text(&entry.node, "ipv6_address", &trail, mistakes, |text| {
            notation::ipv6(text).map(drop)
        })?;
        items(&entry.node, "link_local_ips", &trail, mistakes, |text| {
            notation::address(text).map(drop)
        })?;
    }
    counts(node, trail, mistakes)
}

/// Numbers that count something are not negative.
fn counts(node: &Node, trail: &Trail<'_>, mistakes: &mut Mistakes) -> Result<()> {
    for path in [
        &["scale"] as &[&str],
        &["deploy", "replicas"],
        &["healthcheck", "retries"],
        &["cpu_shares"],
    ] {
        let Some(found) = node.at(path) else {
            continue;
        };
        let key = path.join(".");
        if matches!(found.value, Value::Int(..0)) {
            let trail = trail.key(&key);
            mistakes.note(&trail, &found.span, "must be greater than or equal to 0")?;
        }
    }
    let cpus = node
        .get("cpus")
        .or(node.at(&["deploy", "resources", "limits", "cpus"]));
    if let Some(Node {
        value: Value::Float(cpus),
        span,
        ..
    }) = cpus
        && !(0.0..=1_000_000.0).contains(cpus)
    {
        mistakes.note(&trail.key("cpus"), span, "must be a number of processors")?;
    }
    Ok(())
}

fn text(
    node: &Node,
    key: &str,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
    check: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let found = node.get(key).and_then(|node| Some((node, node.text()?)));
    match found.map(|(node, text)| (node, check(text))) {
        Some((node, Err(error))) => mistakes.note(&trail.key(key), &node.span, error),
        _ => Ok(()),
    }
}

fn items(
    node: &Node,
    key: &str,
    trail: &Trail<'_>,
    mistakes: &mut Mistakes,
    check: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    let trail = trail.key(key);
    let items = node.get(key).and_then(Node::list).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        if let Err(error) = check(item.text().unwrap_or_default()) {
            mistakes.note(&trail.index(index), &item.span, error)?;
        }
    }
    Ok(())
}
