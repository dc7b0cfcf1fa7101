//! Volumes, binds and memory mounts of a service.

use std::path::{Path, PathBuf};

use orc_base::{Error, Result};
use orc_host::container::Mount;

use crate::model::Project;
use crate::model::service::{Service, ServiceVolume};
use crate::notation;
use crate::support::looks_like_file;

/// All that is mounted, but secrets and configs.
pub(crate) fn mounts(project: &Project, service: &Service) -> Result<Vec<Mount>> {
    let tmpfs = service.tmpfs.iter().map(|line| notation::tmpfs(line));
    service
        .volumes
        .iter()
        .map(|volume| mount(project, volume))
        .chain(tmpfs)
        .collect()
}

fn mount(project: &Project, volume: &ServiceVolume) -> Result<Mount> {
    let source = volume.source.as_deref().filter(|source| !source.is_empty());
    match volume.kind.as_str() {
        "bind" => {
            let options = volume.bind.clone().unwrap_or_default();
            let source = PathBuf::from(source.unwrap_or_default());
            let may_create = options.create_host_path.unwrap_or(true);
            Ok(Mount::Bind {
                create_source: may_create && !looks_like_file(Path::new(&source)),
                source,
                target: volume.target.clone(),
                read_only: volume.read_only,
                propagation: options.propagation,
            })
        }
        "volume" => {
            let options = volume.volume.clone().unwrap_or_default();
            Ok(Mount::Volume {
                name: source.map_or_else(String::new, |key| volume_name(project, key)),
                target: volume.target.clone(),
                read_only: volume.read_only,
                no_copy: options.nocopy,
                subpath: options.subpath,
            })
        }
        "tmpfs" => {
            let options = volume.tmpfs.clone().unwrap_or_default();
            Ok(Mount::Tmpfs {
                target: volume.target.clone(),
                size_bytes: options
                    .size
                    .and_then(|size| u64::try_from(size).ok())
                    .filter(|size| *size > 0),
                mode: options.mode,
                options: if volume.read_only {
                    vec!["ro".into()]
                } else {
                    Vec::new()
                },
            })
        }
        other => Err(Error::unsupported(format!("mounts of type `{other}`"))),
    }
}

fn volume_name(project: &Project, key: &str) -> String {
    match project.volumes.get(key) {
        Some(volume) => volume.name.clone(),
        None => format!("{}_{key}", project.name),
    }
}
