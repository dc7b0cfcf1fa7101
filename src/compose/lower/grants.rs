//! Secrets and configs of a service: files in its containers that cannot be written.
//!
//! A file of the machine is bound as it is, unless an owner or permissions are asked for. Everything
//! else the machine puts into memory when the container starts: what stands in the project
//! (`content`), what comes from a variable, and copies of files with another owner or mode.

use std::path::PathBuf;

use orc_base::{Error, Result};
use orc_host::container::{
    Content, FileSource as Source, GivenFile, MAX_GIVEN_CONTENT, MAX_GIVEN_FILE, Mount, Submounts,
};

use crate::digest;
use crate::model::Project;
use crate::model::resources::FileSource;
use crate::model::service::{Grant, Service};

/// The permissions of a file when none are asked for, as docker compose's.
const MODE: u32 = 0o444;

/// The files that are put into memory.
pub(crate) fn given(project: &Project, service: &Service) -> Result<Vec<GivenFile>> {
    let mut total = 0;
    let mut files = Vec::new();
    for granted in granted(project, service) {
        let Some(file) = granted?.given(project)? else {
            continue;
        };
        if let Source::Content(content) = &file.source {
            total += content.0.len();
        }
        files.push(file);
    }
    match total <= MAX_GIVEN_CONTENT {
        true => Ok(files),
        false => Err(Error::invalid(format!(
            "its secrets and configs have more than {} KiB together: put some of them into files",
            MAX_GIVEN_CONTENT >> 10
        ))),
    }
}

/// The files that are bound as they are.
pub(crate) fn binds(project: &Project, service: &Service) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for granted in granted(project, service) {
        let granted = granted?;
        if let Some(source) = granted.plain_file() {
            mounts.push(Mount::Bind {
                source: source.clone(),
                target: granted.target(),
                read_only: true,
                propagation: None,
                create_source: false,
                submounts: Submounts::Follow,
            });
        }
    }
    Ok(mounts)
}

/// What the files are made from, for the service's digest.
pub(crate) fn digests(project: &Project, service: &Service) -> Vec<String> {
    granted(project, service)
        .filter_map(Result::ok)
        .map(
            |granted| match (&granted.source.file, granted.content(project)) {
                (Some(path), _) => path.display().to_string(),
                (None, Some(content)) => digest::of(content),
                (None, None) => String::new(),
            },
        )
        .collect()
}

/// A secret or config, and how a service wants it.
struct Granted<'a> {
    /// `secret` or `config`.
    kind: &'static str,
    grant: &'a Grant,
    source: &'a FileSource,
}

fn granted<'a>(
    project: &'a Project,
    service: &'a Service,
) -> impl Iterator<Item = Result<Granted<'a>>> {
    let secrets = service
        .secrets
        .iter()
        .map(|grant| ("secret", grant, project.secrets.get(&grant.source)));
    let configs = service
        .configs
        .iter()
        .map(|grant| ("config", grant, project.configs.get(&grant.source)));
    secrets
        .chain(configs)
        .map(|(kind, grant, source)| match source {
            Some(source) => Ok(Granted {
                kind,
                grant,
                source,
            }),
            None => Err(Error::not_found(format!(
                "{kind} {} is not declared",
                grant.source
            ))),
        })
}

impl<'a> Granted<'a> {
    /// The file of the machine, when it is given as it is.
    fn plain_file(&self) -> Option<&'a PathBuf> {
        let grant = self.grant;
        let as_it_is = grant.uid.is_none() && grant.gid.is_none() && grant.mode.is_none();
        self.source.file.as_ref().filter(|_| as_it_is)
    }

    fn content(&self, project: &'a Project) -> Option<&'a str> {
        match (&self.source.content, &self.source.environment) {
            (Some(content), _) => Some(content),
            (None, Some(variable)) => {
                Some(project.environment.get(variable).map_or("", String::as_str))
            }
            (None, None) => None,
        }
    }

    /// The file that is put into memory, if it is one.
    fn given(&self, project: &Project) -> Result<Option<GivenFile>> {
        if self.plain_file().is_some() {
            return Ok(None);
        }
        let source = match &self.source.file {
            Some(path) => Source::Path(path.clone()),
            None => Source::Content(Content(self.bytes(project)?)),
        };
        Ok(Some(GivenFile {
            target: self.target(),
            source,
            uid: self.number("uid", self.grant.uid.as_deref())?,
            gid: self.number("gid", self.grant.gid.as_deref())?,
            mode: self.mode()?,
        }))
    }

    fn bytes(&self, project: &Project) -> Result<Vec<u8>> {
        let (kind, name) = (self.kind, &self.grant.source);
        if self.source.content.is_none()
            && let Some(variable) = &self.source.environment
            && !project.environment.contains_key(variable)
        {
            return Err(Error::invalid(format!(
                "{kind} {name} takes its value from {variable}, which is not set"
            )));
        }
        let content = self
            .content(project)
            .ok_or_else(|| Error::unsupported(format!("{kind} {name} is kept elsewhere")))?;
        match content.len() <= MAX_GIVEN_FILE {
            true => Ok(content.as_bytes().to_vec()),
            false => Err(Error::invalid(format!(
                "{kind} {name} is larger than {} KiB: put it into a file",
                MAX_GIVEN_FILE >> 10
            ))),
        }
    }

    /// A user or group: files in memory are made before anybody could ask the image for names.
    fn number(&self, key: &str, text: Option<&str>) -> Result<u32> {
        let text = text.unwrap_or("0");
        text.parse().map_err(|_| {
            Error::invalid(format!(
                "{} {}: {key} `{text}` is not a number",
                self.kind, self.grant.source
            ))
        })
    }

    fn mode(&self) -> Result<u32> {
        let Some(text) = self.grant.mode.as_deref() else {
            return Ok(MODE);
        };
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| {
                Error::invalid(format!(
                    "{} {}: mode `{text}` is not a mode such as 0440",
                    self.kind, self.grant.source
                ))
            })
    }

    /// `/run/secrets/<name>` and `/<name>`, unless the grant says otherwise.
    fn target(&self) -> String {
        let name = self.grant.target.as_deref().unwrap_or(&self.grant.source);
        match (self.kind, name.starts_with('/')) {
            (_, true) => name.to_owned(),
            ("secret", false) => format!("/run/secrets/{name}"),
            _ => format!("/{name}"),
        }
    }
}
