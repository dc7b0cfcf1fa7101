//! From the `build` section of a service to what a machine is asked to build.
//!
//! Pure: what stands in files that the machine does not read itself (secrets, a Dockerfile beside the
//! context) is only named here; `image_build.rs` reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::{Error, Result};
use orc_host::image_build::{BuildSpec, ContextSource, DockerfileSource, Secret, SshAgent};

use crate::files::join;
use crate::image_build::{ImageBuild, Overrides};
use crate::labels;
use crate::lower::resources::positive;
use crate::lower::ulimits_of;
use crate::model::Project;
use crate::model::service::{Build, Service};
use crate::short::is_url;

/// What to build for `service`, which has a `build` section.
pub(crate) fn build(
    project: &Project,
    service: &Service,
    build: &Build,
    over: &Overrides,
) -> Result<ImageBuild> {
    lower(project, service, build, over)
        .map_err(|error| error.within(format!("build of service {}", service.name)))
}

fn lower(
    project: &Project,
    service: &Service,
    build: &Build,
    over: &Overrides,
) -> Result<ImageBuild> {
    let context = match build.context.as_deref() {
        Some(context) => place(project, context)?,
        None => ContextSource::Empty,
    };
    let (dockerfile, outside) = dockerfile(build, &context);
    let (secrets, secret_files) = secrets(project, build)?;
    let contexts = build.additional_contexts.iter();
    let mut args = build.args.clone();
    args.extend(over.args.clone());
    let mut label_set = build.labels.clone();
    label_set.insert(labels::PROJECT.into(), project.name.clone());
    label_set.insert(labels::SERVICE.into(), service.name.clone());
    let name = service.image_name(&project.name);
    let further = build.tags.iter().filter(|tag| **tag != name).cloned();
    let tags = std::iter::once(name.clone()).chain(further).collect();
    let spec = BuildSpec {
        contexts: contexts
            .map(|(name, text)| Ok((name.clone(), place(project, text)?)))
            .collect::<Result<_>>()?,
        context,
        dockerfile,
        target: build.target.clone().filter(|target| !target.is_empty()),
        tags,
        args,
        labels: label_set,
        platform: platform(service, build),
        pull: build.pull || over.pull,
        no_cache: build.no_cache || over.no_cache,
        no_cache_filter: build.no_cache_filter.clone(),
        cache_from: build.cache_from.clone(),
        cache_to: build.cache_to.clone(),
        secrets,
        ssh: agents(project, build, over)?,
        network: network(build)?,
        extra_hosts: build
            .extra_hosts
            .iter()
            .filter_map(|line| line.split_once('='))
            .map(|(name, address)| (name.to_owned(), address.to_owned()))
            .collect(),
        shm_bytes: build.shm_size.and_then(positive),
        ulimits: ulimits_of(&build.ulimits),
        resources: orc_host::container::Resources {
            memory_bytes: over.memory_bytes,
            ..Default::default()
        },
        allow: allowed(build),
        check: over.check,
        ..BuildSpec::default()
    };
    Ok(ImageBuild {
        spec,
        secret_files,
        dockerfile: outside,
    })
}

/// A context by what stands in the file; paths are absolute there.
fn place(project: &Project, text: &str) -> Result<ContextSource> {
    if let Some(other) = text.strip_prefix("service:") {
        let service = project
            .service(other)
            .ok_or_else(|| project.no_such_service(other))?;
        return Ok(ContextSource::Image(service.image_name(&project.name)));
    }
    if let Some(image) = text.strip_prefix("docker-image://") {
        return Ok(ContextSource::Image(image.into()));
    }
    if let Some(layout) = text.strip_prefix("oci-layout://") {
        let name = layout.rfind('/').map_or(0, |slash| slash + 1);
        let version = layout[name..].find(['@', ':']).map(|at| name + at);
        let (path, version) = layout.split_at(version.unwrap_or(layout.len()));
        return Ok(ContextSource::Layout {
            path: join(&project.working_dir, path),
            version: version.into(),
        });
    }
    Ok(match is_url(text) {
        true => ContextSource::Remote(text.into()),
        false => ContextSource::Directory {
            path: text.into(),
            identity: None,
        },
    })
}

/// Where the Dockerfile is, and its file when that is not in the context.
fn dockerfile(build: &Build, context: &ContextSource) -> (DockerfileSource, Option<PathBuf>) {
    if let Some(text) = &build.dockerfile_inline {
        let inline = DockerfileSource::Text {
            name: "dockerfile_inline".into(),
            text: text.clone(),
            ignore: None,
        };
        return (inline, None);
    }
    let path = build.dockerfile.as_deref().unwrap_or("Dockerfile");
    let ContextSource::Directory { path: root, .. } = context else {
        return (DockerfileSource::Path(path.into()), None);
    };
    let whole = join(root, path);
    match whole.strip_prefix(root).ok().and_then(Path::to_str) {
        Some(inside) => (DockerfileSource::Path(inside.into()), None),
        None => (DockerfileSource::default(), Some(whole)),
    }
}

type Secrets = (Vec<Secret>, Vec<(String, PathBuf)>);

/// Secrets that are known, and those that stand in files.
fn secrets(project: &Project, build: &Build) -> Result<Secrets> {
    let (mut known, mut files) = (Vec::new(), Vec::new());
    for grant in &build.secrets {
        let id = grant.target.clone().unwrap_or_else(|| grant.source.clone());
        let source = project.secrets.get(&grant.source).ok_or_else(|| {
            Error::not_found(format!("build secret {} is not declared", grant.source))
        })?;
        let value = match (&source.file, &source.content, &source.environment) {
            (Some(file), ..) => {
                files.push((id, file.clone()));
                continue;
            }
            (None, Some(content), _) => content.clone(),
            (None, None, Some(variable)) => {
                project.environment.get(variable).cloned().ok_or_else(|| {
                    Error::invalid(format!(
                        "secret {} takes its value from {variable}, which is not set",
                        grant.source
                    ))
                })?
            }
            (None, None, None) => {
                return Err(Error::unsupported(format!(
                    "secret {} is kept elsewhere",
                    grant.source
                )));
            }
        };
        known.push(Secret {
            id,
            value: value.into_bytes(),
        });
    }
    Ok((known, files))
}

fn agents(project: &Project, build: &Build, over: &Overrides) -> Result<Vec<SshAgent>> {
    let own = build.ssh.iter().map(|(id, socket)| {
        let socket = Some(socket).filter(|socket| !socket.is_empty());
        (
            id.clone(),
            socket.map(|socket| join(&project.working_dir, socket)),
        )
    });
    let mut agents: BTreeMap<String, Option<PathBuf>> = own.collect();
    agents.extend(over.ssh.iter().cloned());
    let agent = |(id, socket): (String, Option<PathBuf>)| {
        let usual = || {
            let socket = project.environment.get("SSH_AUTH_SOCK");
            socket
                .filter(|socket| !socket.is_empty())
                .map(PathBuf::from)
        };
        match socket.or_else(usual) {
            Some(socket) => Ok(SshAgent { id, socket }),
            None => Err(Error::not_found(format!(
                "ssh agent {id}: no agent runs here (SSH_AUTH_SOCK is not set)"
            ))),
        }
    };
    agents.into_iter().map(agent).collect()
}

fn network(build: &Build) -> Result<Option<String>> {
    match build.network.as_deref() {
        None | Some("" | "default" | "bridge") => Ok(None),
        Some(mode @ ("none" | "host")) => Ok(Some(mode.into())),
        Some(other) => Err(Error::unsupported(format!(
            "network `{other}`: steps of a build have default, none or host"
        ))),
    }
}

/// The service's own; of several in `platforms` this machine's is built.
fn platform(service: &Service, build: &Build) -> Option<String> {
    match (&service.platform, build.platforms.as_slice()) {
        (Some(platform), _) => Some(platform.clone()),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

fn allowed(build: &Build) -> Vec<String> {
    let privileged = build.privileged.then(|| "security.insecure".to_owned());
    let mut allowed = build.entitlements.clone();
    allowed.extend(privileged.filter(|word| !build.entitlements.contains(word)));
    allowed
}
