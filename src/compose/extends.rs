//! `extends`: a service is put over another one of the same file or of another file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::{Error, Result};

use crate::files;
use crate::merge::merge;
use crate::node::{Map, Node, Trail};
use crate::reader::{Reader, is_reset, refuse_missing};
use crate::spec::root::ROOT;
use crate::spec::service::SERVICE;

/// A file in which services extend others.
struct Place<'a> {
    /// The file itself, for finding cycles.
    file: &'a Path,
    /// Where its relative paths start.
    base: &'a Path,
    document: &'a Node,
}

/// Puts every service of `document` over what it extends.
pub(crate) fn apply(
    reader: &mut Reader<'_>,
    mut document: Node,
    file: &Path,
    base: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<Node> {
    let uses_extends = |service: &Node| service.get("extends").is_some();
    let names: Vec<String> = match document.get("services").and_then(Node::map) {
        Some(services) => services
            .iter()
            .filter(|(_, entry)| uses_extends(&entry.node))
            .map(|(name, _)| name.clone())
            .collect(),
        None => return Ok(document),
    };
    let mut extended = Vec::with_capacity(names.len());
    for name in names {
        let place = Place {
            file,
            base,
            document: &document,
        };
        let service = service(reader, &place, &name, variables, &mut Vec::new())?;
        extended.push((name, service));
    }
    if let Some(services) = document
        .map_mut()
        .and_then(|map| map.get_mut("services")?.map_mut())
    {
        for (name, service) in extended {
            if let Some(node) = services.get_mut(&name) {
                *node = service;
            }
        }
    }
    Ok(document)
}

/// One service with what it extends below it.
fn service(
    reader: &mut Reader<'_>,
    place: &Place<'_>,
    name: &str,
    variables: &BTreeMap<String, String>,
    stack: &mut Vec<(PathBuf, String)>,
) -> Result<Node> {
    let services = Trail::ROOT.key("services");
    let trail = services.key(name);
    let Some(node) = place.document.at(&["services", name]) else {
        return Err(Error::invalid(format!(
            "service \"{name}\" not found in {}",
            reader.display(place.file)
        )));
    };
    let mut node = node.clone();
    let Some(extends) = node.map_mut().and_then(|map| map.remove("extends")) else {
        return Ok(node);
    };
    if is_reset(&extends.node) {
        return Ok(node);
    }
    let here = (place.file.to_path_buf(), name.to_owned());
    if stack.contains(&here) {
        let names: Vec<_> = stack.iter().map(|(_, name)| name.as_str()).collect();
        return Err(trail.error(
            &extends.key,
            format!(
                "circular reference in extends: {} -> {name}",
                names.join(" -> ")
            ),
        ));
    }
    stack.push(here);
    let base_name = extends.node.get("service").and_then(Node::text);
    let Some(base_name) = base_name else {
        return Err(trail.error(&extends.node.span, "extends.service is required"));
    };
    let lower = match extends.node.get("file").and_then(Node::text) {
        None => service(reader, place, base_name, variables, stack),
        Some(file) => {
            let file = files::join(place.base, file);
            from_file(reader, &file, base_name, variables, stack)
        }
    };
    let lower = lower
        .map_err(|error| refuse_missing(error).within(trail.sentence(&extends.key, "extends")))?;
    stack.pop();
    Ok(merge(lower, node, &SERVICE))
}

/// A service of another file, whose paths are relative to that file.
fn from_file(
    reader: &mut Reader<'_>,
    file: &Path,
    name: &str,
    variables: &BTreeMap<String, String>,
    stack: &mut Vec<(PathBuf, String)>,
) -> Result<Node> {
    let base = file.parent().unwrap_or(Path::new("/")).to_path_buf();
    let mut document = Node::new(Map::default(), &crate::node::Span::default());
    for part in reader.parse(file)? {
        let part = reader.canonical(part, &base, variables)?;
        document = merge(document, part, &ROOT);
    }
    let place = Place {
        file,
        base: &base,
        document: &document,
    };
    service(reader, &place, name, variables, stack)
}
