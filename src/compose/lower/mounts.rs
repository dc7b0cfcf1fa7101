//! Volumes, binds and memory mounts of a service.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::{Error, Result};
use orc_host::container::{Mount, Submounts, VolumesFrom};

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
                submounts: match options.recursive.as_deref() {
                    Some("disabled") => Submounts::Leave,
                    Some("writable") => Submounts::Writable,
                    Some("readonly") => Submounts::ReadOnly,
                    _ => Submounts::Follow,
                },
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
                labels: options.labels,
                options: BTreeMap::new(),
            })
        }
        "image" => Ok(Mount::Image {
            image: source.unwrap_or_default().to_owned(),
            target: volume.target.clone(),
            subpath: volume
                .image
                .clone()
                .and_then(|options| options.subpath)
                .filter(|subpath| !subpath.is_empty()),
        }),
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

/// The containers whose volumes a service mounts too: `service[:mode]`, `container:name[:mode]`.
/// `first_container` names the first container of each service.
pub(crate) fn volumes_from(
    service: &Service,
    first_container: &BTreeMap<String, String>,
) -> Result<Vec<VolumesFrom>> {
    let one = |text: &String| {
        let (whose, rest) = match text.strip_prefix("container:") {
            Some(rest) => (None, rest),
            None => (Some(()), text.as_str()),
        };
        let (name, mode) = rest.split_once(':').unwrap_or((rest, "rw"));
        let container = match whose {
            None => name.to_owned(),
            Some(()) => first_container.get(name).cloned().ok_or_else(|| {
                Error::not_found(format!("volumes_from: service {name} has no container"))
            })?,
        };
        match mode {
            "ro" | "rw" => Ok(VolumesFrom {
                container,
                read_only: mode == "ro",
            }),
            _ => Err(Error::invalid(format!(
                "volumes_from `{text}`: the mode is ro or rw"
            ))),
        }
    };
    service.volumes_from.iter().map(one).collect()
}

fn volume_name(project: &Project, key: &str) -> String {
    match project.volumes.get(key) {
        Some(volume) => volume.name.clone(),
        None => format!("{}_{key}", project.name),
    }
}
