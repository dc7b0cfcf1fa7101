//! Short forms and what they stand for, one function each; `spec.rs` says where they are allowed.
//!
//! A function takes what stands in the file and gives the long form, or refuses with the place.
//! What is long already passes through and is checked against its own row.

pub(crate) mod mounts;
pub(crate) mod ports;

use orc_base::Result;

use crate::node::{Map, Node, Trail, Value};
use crate::spec::{Paths, is_extension};

/// `build: dir` is `build: {context: dir}`.
pub(crate) fn build(node: Node, _: &Trail<'_>) -> Result<Node> {
    Ok(wrapped(node, "context"))
}

/// `extends: web` is `extends: {service: web}`.
pub(crate) fn extends(node: Node, _: &Trail<'_>) -> Result<Node> {
    Ok(wrapped(node, "service"))
}

/// `include: [file]` is `include: [{path: [file]}]`.
pub(crate) fn include(node: Node, _: &Trail<'_>) -> Result<Node> {
    Ok(wrapped(node, "path"))
}

/// `secrets: [name]` is `secrets: [{source: name}]`.
pub(crate) fn grant(node: Node, _: &Trail<'_>) -> Result<Node> {
    Ok(wrapped(node, "source"))
}

/// A string alone in a map, under `key`.
pub(crate) fn wrapped(node: Node, key: &str) -> Node {
    if node.text().is_none() {
        return node;
    }
    let mark = node.mark;
    let span = node.span.clone();
    let mut map = Map::default();
    map.set(key, node);
    Node {
        value: map.into(),
        span,
        mark,
    }
}

/// A list of names is a map of names to nothing.
pub(crate) fn names(node: Node, trail: &Trail<'_>) -> Result<Node> {
    keyed_by_item(node, trail, |_| Value::Null)
}

/// `depends_on: [db]` waits for the start of `db`, and needs it.
pub(crate) fn depends_on(node: Node, trail: &Trail<'_>) -> Result<Node> {
    keyed_by_item(node, trail, |item| {
        let mut map = Map::default();
        map.set("condition", Node::new("service_started", &item.span));
        map.set("required", Node::new(true, &item.span));
        map.into()
    })
}

fn keyed_by_item(node: Node, trail: &Trail<'_>, value: impl Fn(&Node) -> Value) -> Result<Node> {
    let Value::List(items) = &node.value else {
        return Ok(node);
    };
    let mut map = Map::default();
    for (index, item) in items.iter().enumerate() {
        let Some(name) = item.text() else {
            return Err(trail
                .index(index)
                .error(&item.span, format!("must be a string, not {}", item.kind())));
        };
        map.set(name, Node::new(value(item), &item.span));
    }
    Ok(node.with(map))
}

/// One path, or several, each alone or with `required` and `format`.
pub(crate) fn env_file(node: Node, trail: &Trail<'_>) -> Result<Node> {
    let node = one_or_many(node, trail)?;
    let Value::List(items) = node.value else {
        return Ok(node);
    };
    let items = items
        .into_iter()
        .map(|item| {
            let short = item.text().is_some();
            let mut item = wrapped(item, "path");
            let span = item.span.clone();
            if let (true, Some(map)) = (short, item.map_mut()) {
                map.set("required", Node::new(true, &span));
            }
            item
        })
        .collect::<Vec<_>>();
    Ok(Node {
        value: items.into(),
        span: node.span,
        mark: node.mark,
    })
}

/// A string is a list of it.
pub(crate) fn one_or_many(node: Node, _: &Trail<'_>) -> Result<Node> {
    if node.text().is_none() {
        return Ok(node);
    }
    let item = Node::new(node.value.clone(), &node.span);
    Ok(node.with(vec![item]))
}

/// `test: line` runs in a shell; a list says how by its first word.
pub(crate) fn health_test(node: Node, trail: &Trail<'_>) -> Result<Node> {
    let text = |text: &str| Node::new(text, &node.span);
    match &node.value {
        Value::Text(line) => {
            let items = vec![text("CMD-SHELL"), text(line)];
            Ok(node.with(items))
        }
        Value::List(items) => {
            let first = items.first().and_then(Node::text);
            if !matches!(first, Some("NONE" | "CMD" | "CMD-SHELL") | None)
                || (first.is_none() && !items.is_empty())
            {
                return Err(
                    trail.error(&node.span, "the first item must be NONE, CMD or CMD-SHELL")
                );
            }
            Ok(node)
        }
        _ => Ok(node),
    }
}

/// `gpus: all` is a list of one request.
pub(crate) fn gpus(node: Node, trail: &Trail<'_>) -> Result<Node> {
    match node.text() {
        Some("all") => {
            let mut map = Map::default();
            map.set("count", Node::new("all", &node.span));
            let item = Node::new(map, &node.span);
            Ok(node.with(vec![item]))
        }
        Some(_) => Err(trail.error(&node.span, "must be `all` or a list")),
        None => Ok(node),
    }
}

/// Names and addresses become a list of `name=address`, one address an item.
pub(crate) fn extra_hosts(node: Node, trail: &Trail<'_>) -> Result<Node> {
    let mut hosts = Vec::new();
    match &node.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let trail = trail.index(index);
                let Some((name, addresses)) = item.text().and_then(split_host) else {
                    return Err(trail.error(&item.span, "must be a string such as `name=1.2.3.4`"));
                };
                for address in addresses.split(',') {
                    hosts.push(host(name, address, item));
                }
            }
        }
        Value::Map(map) => {
            for (name, entry) in map.iter() {
                match &entry.node.value {
                    Value::List(addresses) => {
                        for address in addresses {
                            let text = address.scalar().ok_or_else(|| {
                                trail.key(name).error(&address.span, "must be a string")
                            })?;
                            hosts.push(host(name, &text, address));
                        }
                    }
                    _ => {
                        let text = entry.node.scalar().ok_or_else(|| {
                            trail.key(name).error(&entry.node.span, "must be a string")
                        })?;
                        for address in text.split(',') {
                            hosts.push(host(name, address, &entry.node));
                        }
                    }
                }
            }
        }
        _ => {
            return Err(trail.error(&node.span, "must be a mapping or a list"));
        }
    }
    Ok(node.with(hosts))
}

/// `name=address` or the older `name:address`; an IPv6 address has colons of its own.
fn split_host(text: &str) -> Option<(&str, &str)> {
    text.split_once('=').or_else(|| text.split_once(':'))
}

fn host(name: &str, address: &str, place: &Node) -> Node {
    let address = address.trim();
    let address = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(address);
    Node::new(format!("{}={}", name.trim(), address.trim()), &place.span)
}

/// `65535`, or `{soft: …, hard: …}`.
pub(crate) fn ulimit(node: &mut Node, _: &Paths<'_>, trail: &Trail<'_>) -> Result<()> {
    if let Some(map) = node.map_mut() {
        for (key, entry) in map.iter_mut() {
            match key.as_str() {
                "soft" | "hard" => {
                    let value = int(&entry.node, &trail.key(key))?;
                    entry.node.value = value.into();
                }
                key if is_extension(key) => {}
                _ => {
                    return Err(trail.error(
                        &entry.key,
                        format!("additional properties '{key}' not allowed: use soft and hard"),
                    ));
                }
            }
        }
        return match (map.contains("soft"), map.contains("hard")) {
            (true, true) => Ok(()),
            _ => Err(trail.error(&node.span, "needs both soft and hard")),
        };
    }
    node.value = int(node, trail)?.into();
    Ok(())
}

/// A whole number, or a string that says one.
pub(crate) fn int(node: &Node, trail: &Trail<'_>) -> Result<i128> {
    let found = match &node.value {
        Value::Int(value) => Some(*value),
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e18 => Some(*value as i128),
        Value::Text(text) => text.trim().parse::<i64>().ok().map(i128::from),
        _ => None,
    };
    found.ok_or_else(|| {
        let shown = node.scalar().unwrap_or_else(|| node.kind().into());
        trail.error(&node.span, format!("must be an integer, not {shown}"))
    })
}

/// `external: {name: x}`, an older form of `external: true` and `name: x`.
pub(crate) fn external(node: &mut Node, _: &Paths<'_>, trail: &Trail<'_>) -> Result<()> {
    let Some(map) = node.map_mut() else {
        return Ok(());
    };
    let Some(mut entry) = map.remove("external") else {
        return Ok(());
    };
    let trail = trail.key("external");
    if let Some(inner) = entry.node.map() {
        if let Some(unknown) = inner
            .iter()
            .find(|(key, _)| *key != "name" && !is_extension(key))
        {
            let (key, entry) = unknown;
            return Err(trail.error(
                &entry.key,
                format!("additional properties '{key}' not allowed"),
            ));
        }
        if let Some(name) = inner.get("name").cloned() {
            let differs = map
                .get("name")
                .is_some_and(|other| other.scalar() != name.scalar());
            if differs {
                return Err(trail.error(&name.span, "name and external.name conflict: keep `name`"));
            }
            map.set("name", name);
        }
        entry.node.value = true.into();
    } else {
        entry.node.value = boolean(&entry.node, &trail)?.into();
    }
    map.put("external", entry);
    Ok(())
}

/// A boolean, or a string that says one, older spellings too.
pub(crate) fn boolean(node: &Node, trail: &Trail<'_>) -> Result<bool> {
    let found = match &node.value {
        Value::Bool(value) => Some(*value),
        Value::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" | "t" => Some(true),
            "false" | "no" | "n" | "off" | "0" | "f" => Some(false),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| {
        let shown = node.scalar().unwrap_or_else(|| node.kind().into());
        trail.error(&node.span, format!("must be a boolean, not {shown}"))
    })
}

/// The device of a bind made by the `local` driver is a path like any other.
pub(crate) fn top_volume(node: &mut Node, paths: &Paths<'_>, trail: &Trail<'_>) -> Result<()> {
    external(node, paths, trail)?;
    let is_bind = node
        .at(&["driver_opts", "o"])
        .and_then(Node::text)
        .is_some_and(|options| {
            options
                .split(',')
                .any(|option| option == "bind" || option == "rbind")
        });
    let options = node.map_mut().and_then(|map| map.get_mut("driver_opts"));
    if let Some(device) = options
        .filter(|_| is_bind)
        .and_then(|options| options.map_mut()?.get_mut("device"))
        && let Value::Text(path) = &mut device.value
    {
        *path = paths.resolve(path);
    }
    Ok(())
}

/// A change that is synchronised needs somewhere to go.
pub(crate) fn watch(node: &mut Node, _: &Paths<'_>, trail: &Trail<'_>) -> Result<()> {
    for required in ["path", "action"] {
        if node.get(required).is_none() {
            return Err(trail.error(&node.span, format!("missing property '{required}'")));
        }
    }
    let syncs = node
        .get("action")
        .and_then(Node::text)
        .is_some_and(|action| action.starts_with("sync"));
    if syncs && node.get("target").is_none() {
        return Err(trail.error(&node.span, "target is required for non-rebuild actions"));
    }
    Ok(())
}

/// An `env_file` is somewhere.
pub(crate) fn needs_path(node: &mut Node, _: &Paths<'_>, trail: &Trail<'_>) -> Result<()> {
    match node.get("path") {
        Some(_) => Ok(()),
        None => Err(trail.error(&node.span, "missing property 'path'")),
    }
}

/// How many devices: a number, or -1 for all.
pub(crate) fn device_request(node: &mut Node, _: &Paths<'_>, trail: &Trail<'_>) -> Result<()> {
    let span = node.span.clone();
    let Some(map) = node.map_mut() else {
        return Ok(());
    };
    let by_id = map.contains("device_ids");
    let count = match map.get("count").map(|count| (count, count.text())) {
        Some((count, _)) if by_id => {
            return Err(trail.error(
                &count.span,
                "\"count\" and \"device_ids\" attributes are exclusive",
            ));
        }
        Some((_, Some("all"))) => -1,
        Some((count, text)) => text.and_then(|text| text.parse().ok()).ok_or_else(|| {
            trail
                .key("count")
                .error(&count.span, "the only value allowed is 'all' or a number")
        })?,
        None if by_id => return Ok(()),
        None => -1,
    };
    map.set("count", Node::new(i128::from(count as i64), &span));
    Ok(())
}

/// Further build contexts are directories unless they say what else they are.
pub(crate) fn contexts(node: &mut Node, paths: &Paths<'_>, _: &Trail<'_>) -> Result<()> {
    let Some(map) = node.map_mut() else {
        return Ok(());
    };
    for (_, entry) in map.iter_mut() {
        if let Value::Text(text) = &mut entry.node.value
            && !is_url(text)
            && !text.starts_with("service:")
        {
            *text = paths.resolve(text);
        }
    }
    Ok(())
}

/// Whether a build context is fetched instead of read.
pub(crate) fn is_url(text: &str) -> bool {
    text.contains("://") || text.starts_with("github.com/") || text.starts_with("git@")
}
