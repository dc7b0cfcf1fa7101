//! Fills in what the specification leaves unsaid: the default network, implicit dependencies, names.

use std::collections::BTreeMap;

use crate::node::{Entry, Map, Node, Span, Value};

/// Completes a settled tree of the long form.
pub(crate) fn normalize(tree: &mut Node, project: &str, variables: &BTreeMap<String, String>) {
    let Some(top) = tree.map_mut() else {
        return;
    };
    top.set("name", Node::new(project, &Span::default()));
    top.set_default("services", || Node::new(Map::default(), &Span::default()));
    let mut uses_default = false;
    if let Some(services) = top.get_mut("services").and_then(Node::map_mut) {
        for (_, entry) in services.iter_mut() {
            let Some(service) = entry.node.map_mut() else {
                continue;
            };
            build(service, variables);
            pull_policy(service);
            hooks(service);
            implicit_dependencies(service);
            default_network(service, &entry.key);
            uses_default |= service
                .get("networks")
                .is_some_and(|networks| networks.get("default").is_some());
        }
    }
    if uses_default {
        top.set_default("networks", || Node::new(Map::default(), &Span::default()));
        if let Some(networks) = top.get_mut("networks").and_then(Node::map_mut) {
            networks.set_default("default", || Node::new(Map::default(), &Span::default()));
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        names(top, section, project);
    }
}

/// `<project>_<key>`, or the key itself for what is there without the project.
fn names(top: &mut Map, section: &str, project: &str) {
    let Some(things) = top.get_mut(section).and_then(Node::map_mut) else {
        return;
    };
    for (key, Entry { key: span, node }) in things.iter_mut() {
        let external = node
            .get("external")
            .is_some_and(|external| external.value == Value::Bool(true));
        if let Some(map) = node.map_mut() {
            map.set_default("name", || {
                let name = match external {
                    true => key.clone(),
                    false => format!("{project}_{key}"),
                };
                Node::new(name, span)
            });
        }
    }
}

fn build(service: &mut Map, variables: &BTreeMap<String, String>) {
    let Some(build) = service.get_mut("build") else {
        return;
    };
    let span = build.span.clone();
    let Some(build) = build.map_mut() else {
        return;
    };
    if !build.contains("dockerfile_inline") {
        build.set_default("dockerfile", || Node::new("Dockerfile", &span));
    }
    if let Some(args) = build.get_mut("args").and_then(Node::map_mut) {
        args.retain(|name, entry| {
            if let (Value::Null, Some(value)) = (&entry.node.value, variables.get(name)) {
                entry.node.value = value.as_str().into();
            }
            !entry.node.is_null()
        });
    }
}

fn pull_policy(service: &mut Map) {
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.text() == Some("if_not_present")
    {
        policy.value = "missing".into();
    }
}

fn hooks(service: &mut Map) {
    let image = service.get("image").cloned();
    let (Some(image), Some(hooks)) = (image, service.get_mut("pre_start")) else {
        return;
    };
    if let Value::List(hooks) = &mut hooks.value {
        for hook in hooks.iter_mut().filter_map(Node::map_mut) {
            hook.set_default("image", || image.clone());
        }
    }
}

/// Sharing something with a service, or being linked to it, needs it.
fn implicit_dependencies(service: &mut Map) {
    let mut needed: Vec<(String, Span, bool)> = Vec::new();
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(key)
            && let Some(other) = node.text().and_then(|text| text.strip_prefix("service:"))
        {
            needed.push((other.to_owned(), node.span.clone(), true));
        }
    }
    for (key, restart) in [("links", true), ("volumes_from", false)] {
        let items = service.get(key).and_then(Node::list).unwrap_or_default();
        for item in items {
            let text = item.text().unwrap_or_default();
            let other = text.split(':').next().unwrap_or_default();
            if !(key == "volumes_from" && other == "container") {
                needed.push((other.to_owned(), item.span.clone(), restart));
            }
        }
    }
    if !needed.is_empty() {
        service.set_default("depends_on", || Node::new(Map::default(), &needed[0].1));
    }
    let Some(dependencies) = service.get_mut("depends_on").and_then(Node::map_mut) else {
        return;
    };
    for (other, span, restart) in needed {
        dependencies.set_default(&other, || {
            let mut map = Map::default();
            map.set("condition", Node::new("service_started", &span));
            map.set("required", Node::new(true, &span));
            if restart {
                map.set("restart", Node::new(true, &span));
            }
            Node::new(map, &span)
        });
    }
    for (_, entry) in dependencies.iter_mut() {
        let span = entry.node.span.clone();
        if let Some(map) = entry.node.map_mut() {
            map.set_default("condition", || Node::new("service_started", &span));
            map.set_default("required", || Node::new(true, &span));
        }
    }
}

fn default_network(service: &mut Map, span: &Span) {
    let has = |key: &str| service.contains(key);
    let joined = service
        .get("networks")
        .and_then(Node::map)
        .is_some_and(|networks| !networks.is_empty());
    if joined || has("network_mode") || has("provider") {
        return;
    }
    let mut networks = Map::default();
    networks.set("default", Node::new(Value::Null, span));
    service.set("networks", Node::new(networks, span));
}
