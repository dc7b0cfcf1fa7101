//! Mounts and devices: `[source:]target[:options]`.

use orc_base::Result;

use crate::node::{Map, Node, Trail, Value};
use crate::short::int;
use crate::spec::{Paths, is_windows_absolute};

/// An item of `volumes`: a string or the long form.
pub(crate) fn spread(node: Node, trail: &Trail<'_>) -> Result<Vec<Node>> {
    let text = match &node.value {
        Value::Map(_) => return Ok(vec![node]),
        Value::Text(text) => text,
        _ => {
            return Err(trail.error(
                &node.span,
                format!("must be a string or mapping, not {}", node.kind()),
            ));
        }
    };
    let parts = split(text);
    if parts.iter().any(|part| part.is_empty()) {
        return Err(trail.error(
            &node.span,
            format!("invalid spec: {text}: empty section between colons"),
        ));
    }
    let mut map = Map::default();
    let put = |value: &str| Node::new(value, &node.span);
    match parts[..] {
        [target] => {
            map.set("type", put("volume"));
            map.set("target", put(target));
        }
        [source, target] | [source, target, _] => {
            let is_bind = is_path(source);
            map.set("type", put(if is_bind { "bind" } else { "volume" }));
            map.set("source", put(source));
            map.set("target", put(target));
            if let [_, _, options] = parts[..] {
                apply_options(&mut map, options, is_bind, &node);
            }
        }
        _ => {
            return Err(trail.error(&node.span, format!("invalid spec: {text}: too many colons")));
        }
    }
    let long = Node {
        value: map.into(),
        span: node.span.clone(),
        mark: node.mark,
    };
    Ok(vec![long])
}

/// The parts between colons; the colon of a drive letter is none.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(':') {
        let drive = at == start + 1 && is_drive(&text[start..]);
        if !drive {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `C:\…`; with a slash it is a volume with a short name.
fn is_drive(text: &str) -> bool {
    is_windows_absolute(text) && text.as_bytes().get(2) == Some(&b'\\')
}

/// Whether a source is a path rather than the name of a volume.
fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~']) || is_windows_absolute(source)
}

fn apply_options(map: &mut Map, options: &str, is_bind: bool, place: &Node) {
    for option in options.split(',') {
        match option {
            "ro" => map.set("read_only", Node::new(true, &place.span)),
            "nocopy" => nest(map, "volume", "nocopy", Value::Bool(true), place),
            "z" | "Z" if is_bind => nest(map, "bind", "selinux", option.into(), place),
            "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate" if is_bind => {
                nest(map, "bind", "propagation", option.into(), place);
            }
            // `rw`, `cached`, `consistent`, `delegated` and unknown words change nothing, as in
            // docker compose.
            _ => {}
        }
    }
}

fn nest(map: &mut Map, outer: &str, key: &str, value: Value, place: &Node) {
    map.set_default(outer, || Node::new(Map::default(), &place.span));
    if let Some(inner) = map.get_mut(outer).and_then(Node::map_mut) {
        inner.set(key, Node::new(value, &place.span));
    }
}

/// Checks a long form and resolves its source.
pub(crate) fn finish(node: &mut Node, paths: &Paths<'_>, trail: &Trail<'_>) -> Result<()> {
    let span = node.span.clone();
    let Some(map) = node.map_mut() else {
        return Ok(());
    };
    let kind = match map.get("type").and_then(Node::text) {
        Some(kind) => kind.to_owned(),
        None => return Err(trail.error(&span, "missing property 'type'")),
    };
    let source = map.get("source").and_then(Node::text).unwrap_or_default();
    match kind.as_str() {
        "bind" if source.is_empty() => {
            return Err(trail.error(&span, "field Source must not be empty"));
        }
        "bind" => {
            let resolved = paths.resolve(source);
            if let Some(source) = map.get_mut("source") {
                source.value = resolved.into();
            }
        }
        "tmpfs" => {
            if let Some(mode) = map
                .get_mut("tmpfs")
                .and_then(|tmpfs| tmpfs.map_mut()?.get_mut("mode"))
            {
                mode.value = int(mode, trail)?.into();
            }
        }
        _ => {}
    }
    if let Some(target) = map.get_mut("target")
        && let Value::Text(path) = &mut target.value
        && path.starts_with('/')
    {
        *path = crate::files::join(std::path::Path::new("/"), path)
            .to_string_lossy()
            .into_owned();
    }
    Ok(())
}

/// `source[:target[:permissions]]`, or the name of a CDI device.
pub(crate) fn device(node: Node, trail: &Trail<'_>) -> Result<Node> {
    let Some(text) = node.text() else {
        return Ok(node);
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, second] if is_permissions(second) => (source, source, second),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => {
            return Err(trail.error(&node.span, format!("confusing device mapping: {text}")));
        }
    };
    let mut map = Map::default();
    for (key, value) in [
        ("source", source),
        ("target", target),
        ("permissions", permissions),
    ] {
        map.set(key, Node::new(value, &node.span));
    }
    Ok(node.with(map))
}

fn is_permissions(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 3
        && text.bytes().all(|byte| matches!(byte, b'r' | b'w' | b'm'))
}

/// Where a line of `tmpfs` is mounted.
pub(crate) fn tmpfs_target(node: &Node) -> String {
    let text = node.text().unwrap_or_default();
    text.split(':').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_colons_but_not_at_drives() {
        for (text, parts) in [
            ("/data", vec!["/data"]),
            ("a:/b:ro", vec!["a", "/b", "ro"]),
            ("C:\\x:/b", vec!["C:\\x", "/b"]),
            ("./a:C:\\b:ro", vec!["./a", "C:\\b", "ro"]),
            ("ab::b", vec!["ab", "", "b"]),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }

    #[test]
    fn short_forms_become_long() {
        let place = Node::default();
        let long = |text: &str| spread(Node::new(text, &place.span), &Trail::ROOT);
        let bind = long("./a:/b:ro,rslave,z").unwrap().remove(0);
        assert_eq!(
            bind.at(&["bind", "propagation"]).unwrap().text(),
            Some("rslave")
        );
        assert_eq!(bind.get("read_only").unwrap().value, Value::Bool(true));
        assert_eq!(bind.get("type").unwrap().text(), Some("bind"));
        let volume = long("data:/b:nocopy").unwrap().remove(0);
        assert_eq!(volume.get("type").unwrap().text(), Some("volume"));
        assert!(volume.at(&["volume", "nocopy"]).is_some());
        for bad in ["/a:/b:ro:x", "", ":/b", "ab:"] {
            assert!(long(bad).is_err(), "{bad}");
        }
    }
}
