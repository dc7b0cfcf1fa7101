//! A project as one document for others: what `publish` sends, and what its sender should know before.
//!
//! The files are put together into one, with what they extend and include, but variables and relative
//! paths stay as they are written: they are the reader's. Nothing that files refer to is in it, but
//! the content of `env_file`s when that is asked for.

use std::collections::BTreeMap;

use orc_base::{Context, Error, Result};

use crate::digest;
use crate::files::{self, Disk, Files};
use crate::lint;
use crate::lint::remark::Rule;
use crate::load::{LoadOptions, load_from};
use crate::model::Project;
use crate::node::{Map, Node, Span, Value};
use crate::pins::{self, ImageOf};
use crate::render::{self, Format};

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The project as YAML.
    pub document: String,
    /// The content of `env_file`s, under the names that the document has for them.
    pub env_files: BTreeMap<String, String>,
    /// What everybody who may read it will see, and that perhaps not everybody should: one sentence
    /// each.
    pub concerns: Vec<String>,
}

/// Puts the publication together. `images` replaces images of services. An error when the document
/// would be of no use to its reader: an image that only exists here, or an `env_file` that is to stay
/// behind.
pub fn publication(
    options: &LoadOptions,
    with_env: bool,
    images: &BTreeMap<ImageOf, String>,
) -> Result<Publication> {
    publication_from(options, with_env, images, &Disk)
}

/// [`publication`] from files that need not be on a disk.
pub fn publication_from(
    options: &LoadOptions,
    with_env: bool,
    images: &BTreeMap<ImageOf, String>,
    disk: &dyn Files,
) -> Result<Publication> {
    let as_written = LoadOptions {
        profiles: vec!["*".into()],
        no_interpolate: true,
        no_normalize: true,
        no_path_resolution: true,
        no_env_resolution: true,
        ..options.clone()
    };
    let mut project = load_from(&as_written, disk)?.project;
    usable(&project, with_env)?;
    let mut concerns = concerns(&project, with_env);
    for remark in lint::lint_from(options, disk)? {
        if remark.rule == Rule::PlainSecret {
            concerns.push(format!(
                "{}:{}: {}: {}",
                remark.file, remark.line, remark.path, remark.what
            ));
        }
    }
    let env_files = take_env_files(&mut project, disk)?;
    forget_name(&mut project);
    pins::set_images(&mut project, images);
    Ok(Publication {
        document: render::render(&project, Format::Yaml, &[], true)?,
        env_files,
        concerns,
    })
}

/// A project that no file gives a name is called by whoever runs it.
fn forget_name(project: &mut Project) {
    if let Some(top) = project.tree.map_mut()
        && top.get("name").is_some_and(|name| name.span.file.is_none())
    {
        top.remove("name");
    }
}

fn services(project: &Project) -> impl Iterator<Item = (&String, &Node)> {
    let map = project.tree.get("services").and_then(Node::map);
    map.into_iter()
        .flat_map(Map::iter)
        .map(|(name, entry)| (name, &entry.node))
}

/// Refuses what nobody else could run.
fn usable(project: &Project, with_env: bool) -> Result<()> {
    for (name, service) in services(project) {
        if service.get("image").is_none() && service.get("build").is_some() {
            return Err(Error::invalid(format!(
                "service {name} is built and has no `image`: give it a name that others can pull"
            )));
        }
        if service.get("env_file").is_some() && !with_env {
            return Err(Error::invalid(format!(
                "service {name} has an `env_file`, which readers would miss: say `--with-env` to send its content, or take it away"
            )));
        }
    }
    Ok(())
}

/// What stands in the document and is perhaps nobody's business.
fn concerns(project: &Project, with_env: bool) -> Vec<String> {
    let mut concerns = Vec::new();
    for (name, service) in services(project) {
        let environment = service.get("environment").and_then(Node::map);
        let literal: Vec<&str> = environment
            .into_iter()
            .flat_map(Map::iter)
            .filter(|(_, entry)| entry.node.text().is_some_and(|text| !text.contains("${")))
            .map(|(key, _)| key.as_str())
            .collect();
        if !literal.is_empty() && !with_env {
            concerns.push(format!(
                "service {name}: values of environment variables ({})",
                literal.join(", ")
            ));
        }
        if service.get("env_file").is_some() {
            concerns.push(format!("service {name}: the content of its env_file"));
        }
        let mounts = service.get("volumes").and_then(Node::list);
        for mount in mounts.unwrap_or_default() {
            let of_host = mount.get("type").and_then(Node::text) == Some("bind");
            if let Some(source) = mount.get("source").and_then(Node::text).filter(|_| of_host) {
                concerns.push(format!(
                    "service {name}: a path of the machine, {source} (the path, not what is there)"
                ));
            }
        }
    }
    for section in ["configs", "secrets"] {
        let things = project.tree.get(section).and_then(Node::map);
        for (name, entry) in things.into_iter().flat_map(Map::iter) {
            if entry.node.get("content").is_some() {
                concerns.push(format!("{section}.{name}: its content"));
            }
        }
    }
    concerns
}

/// Reads what `env_file`s hold, and gives them names of their own in the document: their paths mean
/// nothing elsewhere.
fn take_env_files(project: &mut Project, disk: &dyn Files) -> Result<BTreeMap<String, String>> {
    let directory = project.working_dir.clone();
    let mut taken = BTreeMap::new();
    let services = project
        .tree
        .map_mut()
        .and_then(|top| top.get_mut("services")?.map_mut());
    for (name, entry) in services.into_iter().flat_map(Map::iter_mut) {
        let list = entry.node.map_mut().and_then(|map| map.get_mut("env_file"));
        let Some(Value::List(items)) = list.map(|node| &mut node.value) else {
            continue;
        };
        for item in items {
            let path = item.get("path").and_then(Node::text).unwrap_or_default();
            let renamed = format!("{}.env", digest::of(path));
            let optional = item
                .get("required")
                .is_some_and(|node| node.value == Value::Bool(false));
            match disk.read(&files::join(&directory, path)) {
                Err(_) if optional => {}
                read => {
                    let text = read.context(|| format!("service {name}: env_file"))?;
                    taken.insert(renamed.clone(), text);
                }
            }
            if let Some(map) = item.map_mut() {
                map.set("path", Node::new(renamed.as_str(), &Span::default()));
            }
        }
    }
    Ok(taken)
}
