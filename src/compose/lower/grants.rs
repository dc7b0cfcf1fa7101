//! Secrets and configs of a service: files that are bound into its containers, read-only.
//!
//! What stands in a file is bound from there. What stands in the project (`content`) or comes from a
//! variable is written to a directory that the caller gives, under a name that changes with the
//! content, so that changed content makes another container.

use std::path::{Path, PathBuf};

use orc_base::{Error, Result};
use orc_host::container::Mount;

use crate::digest;
use crate::model::Project;
use crate::model::resources::FileSource;
use crate::model::service::{Grant, Service};

/// One file in a container.
pub(crate) struct GrantedFile {
    pub(crate) source: PathBuf,
    pub(crate) target: String,
    /// What has to be written to `source` first.
    pub(crate) content: Option<String>,
}

impl GrantedFile {
    /// The mount that gives it.
    pub(crate) fn mount(&self) -> Mount {
        Mount::Bind {
            source: self.source.clone(),
            target: self.target.clone(),
            read_only: true,
            propagation: None,
            create_source: false,
        }
    }
}

/// All files of a service.
pub(crate) fn files(
    project: &Project,
    service: &Service,
    directory: Option<&Path>,
) -> Result<Vec<GrantedFile>> {
    granted(project, service)
        .map(|(kind, grant, source)| {
            let source = source.ok_or_else(|| {
                Error::not_found(format!("{kind} {} is not declared", grant.source))
            })?;
            file(project, kind, grant, source, directory)
        })
        .collect()
}

/// What the files are made from, for the service's digest.
pub(crate) fn digests(project: &Project, service: &Service) -> Vec<String> {
    granted(project, service)
        .filter_map(|(_, _, source)| source)
        .map(|source| match (&source.file, content(project, source)) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(content)) => digest::of(&content),
            (None, None) => String::new(),
        })
        .collect()
}

fn granted<'a>(
    project: &'a Project,
    service: &'a Service,
) -> impl Iterator<Item = (&'static str, &'a Grant, Option<&'a FileSource>)> {
    let secrets = service
        .secrets
        .iter()
        .map(|grant| ("secret", grant, project.secrets.get(&grant.source)));
    let configs = service
        .configs
        .iter()
        .map(|grant| ("config", grant, project.configs.get(&grant.source)));
    secrets.chain(configs)
}

fn content(project: &Project, source: &FileSource) -> Option<String> {
    match (&source.content, &source.environment) {
        (Some(content), _) => Some(content.clone()),
        (None, Some(variable)) => Some(
            project
                .environment
                .get(variable)
                .cloned()
                .unwrap_or_default(),
        ),
        (None, None) => None,
    }
}

fn file(
    project: &Project,
    kind: &str,
    grant: &Grant,
    source: &FileSource,
    directory: Option<&Path>,
) -> Result<GrantedFile> {
    let target = target(kind, grant);
    if let Some(path) = &source.file {
        return Ok(GrantedFile {
            source: path.clone(),
            target,
            content: None,
        });
    }
    if let Some(variable) = &source.environment
        && !project.environment.contains_key(variable)
    {
        return Err(Error::invalid(format!(
            "{kind} {} takes its value from {variable}, which is not set",
            grant.source
        )));
    }
    let content = content(project, source)
        .ok_or_else(|| Error::unsupported(format!("{kind} {} is kept elsewhere", grant.source)))?;
    let directory = directory.ok_or_else(|| {
        Error::unsupported(format!(
            "{kind} {} is in no file, and there is no directory to write it to",
            grant.source
        ))
    })?;
    let name = format!("{kind}-{}-{}", grant.source, &digest::of(&content)[..12]);
    Ok(GrantedFile {
        source: directory.join(name),
        target,
        content: Some(content),
    })
}

/// `/run/secrets/<name>` and `/<name>`, unless the grant says otherwise.
fn target(kind: &str, grant: &Grant) -> String {
    let name = grant.target.as_deref().unwrap_or(&grant.source);
    match (kind, name.starts_with('/')) {
        (_, true) => name.to_owned(),
        ("secret", false) => format!("/run/secrets/{name}"),
        _ => format!("/{name}"),
    }
}
