//! Which services are on: by their profiles, or because somebody named them.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Result, spelling};

use crate::node::{Map, Node};

/// The services of a tree that are on and off.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) enabled: BTreeSet<String>,
    pub(crate) disabled: BTreeSet<String>,
    /// What was named, or all that are on, and what that needs.
    pub(crate) wanted: BTreeSet<String>,
}

/// Decides. `profiles` come from flags or `COMPOSE_PROFILES`, `names` from the command line.
pub(crate) fn select(services: &Map, profiles: &[String], names: &[String]) -> Result<Selection> {
    let mut active: BTreeSet<&str> = profiles.iter().map(String::as_str).collect();
    for name in names {
        let Some(service) = services.get(name) else {
            let hint = match spelling::nearest(name, services.keys().map(String::as_str)) {
                Some(near) => format!(": did you mean `{near}`?"),
                None => String::new(),
            };
            return Err(Error::not_found(format!("no such service: {name}{hint}")));
        };
        if !is_on(service, &active) {
            active.extend(profiles_of(service));
        }
    }
    let mut selection = Selection::default();
    for (name, entry) in services.iter() {
        let side = match is_on(&entry.node, &active) {
            true => &mut selection.enabled,
            false => &mut selection.disabled,
        };
        side.insert(name.clone());
    }
    selection.wanted = match names {
        [] => selection.enabled.clone(),
        names => closure(services, names, &selection.enabled),
    };
    Ok(selection)
}

fn profiles_of(service: &Node) -> impl Iterator<Item = &str> {
    let profiles = service.get("profiles").and_then(Node::list);
    profiles.unwrap_or_default().iter().filter_map(Node::text)
}

fn is_on(service: &Node, active: &BTreeSet<&str>) -> bool {
    let mut profiles = profiles_of(service).peekable();
    profiles.peek().is_none()
        || active.contains("*")
        || profiles.any(|profile| active.contains(profile))
}

/// `names` and all they need that is on.
fn closure(services: &Map, names: &[String], enabled: &BTreeSet<String>) -> BTreeSet<String> {
    let mut wanted: BTreeSet<String> = names.iter().cloned().collect();
    let mut queue: Vec<String> = names.to_vec();
    while let Some(name) = queue.pop() {
        for other in dependencies(services, &name).keys() {
            if enabled.contains(other) && wanted.insert(other.clone()) {
                queue.push(other.clone());
            }
        }
    }
    wanted
}

/// What a service names in `depends_on`, and where.
pub(crate) fn dependencies<'a>(services: &'a Map, name: &str) -> BTreeMap<String, &'a Node> {
    services
        .get(name)
        .and_then(|service| service.get("depends_on")?.map())
        .map(|map| {
            map.iter()
                .map(|(key, entry)| (key.clone(), &entry.node))
                .collect()
        })
        .unwrap_or_default()
}
