//! What is mounted into a container: planned when it is made, found when it starts.

use std::collections::BTreeMap;
use std::path::Path;

use orc_base::{Context, Error, Id, Kind, Result};
use orc_host::container::{ContainerSpec, Mount, MountKind, MountPoint, Submounts};
use orc_host::volume::VolumeSpec;
use orc_image::digest::Digest;
use orc_runtime::spec::{self, Propagation};

use crate::core::Core;
use crate::effective::{Effective, mount_target};
use crate::given::given;
use crate::records::ContainerRecord;
use crate::volumes::Volumes;
use crate::words::{propagation_of, tmpfs_options};

/// What a container mounts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Every volume has a name, every image its id, every target one spelling; parents come before
    /// what is below them.
    pub mounts: Vec<Mount>,
    /// The names of the anonymous volumes that are to be made.
    pub anonymous: Vec<String>,
}

/// Plans the mounts of a container: its own, those it has from other containers, and a volume for
/// each directory that wants one.
pub(crate) fn plan(
    spec: &ContainerSpec,
    effective: &Effective,
    inherited: Vec<Mount>,
    image_id: &dyn Fn(&str) -> Result<String>,
) -> Result<Plan> {
    let mut anonymous = Vec::new();
    let mut new_name = || {
        let name = Id::random().to_string();
        anonymous.push(name.clone());
        name
    };
    let mut mounts = Vec::with_capacity(spec.mounts.len() + effective.volumes.len());
    for mount in &spec.mounts {
        let mut mount = mount.clone();
        match &mut mount {
            Mount::Bind { target, .. } | Mount::Tmpfs { target, .. } => {
                *target = mount_target(target)?;
            }
            Mount::Volume { name, target, .. } => {
                *target = mount_target(target)?;
                if name.is_empty() {
                    *name = new_name();
                }
            }
            Mount::Image { image, target, .. } => {
                *target = mount_target(target)?;
                *image = image_id(image)?;
            }
        }
        mounts.push(mount);
    }
    for mount in inherited {
        if !mounts.iter().any(|own| own.target() == mount.target()) {
            mounts.push(mount);
        }
    }
    for wanted in &effective.volumes {
        if !mounts.iter().any(|mount| mount.target() == wanted) {
            mounts.push(Mount::Volume {
                name: new_name(),
                target: wanted.clone(),
                read_only: false,
                no_copy: false,
                subpath: None,
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
            });
        }
    }
    mounts.sort_by_key(|mount| mount.target().split('/').count());
    Ok(Plan { mounts, anonymous })
}

/// The volumes, binds and images that other containers mount, for one that is to have them too. Of
/// several on one place the last counts, as in Docker.
pub(crate) fn inherited(core: &Core, spec: &ContainerSpec) -> Result<Vec<Mount>> {
    let mut all: Vec<Mount> = Vec::new();
    for from in &spec.volumes_from {
        let other = core
            .find(&from.container)
            .context(|| format!("mount the volumes of container {}", from.container))?;
        let theirs = other.record().mounts.clone();
        for mut mount in theirs {
            match &mut mount {
                Mount::Bind { read_only, .. } | Mount::Volume { read_only, .. } => {
                    *read_only |= from.read_only;
                }
                Mount::Image { .. } => {}
                Mount::Tmpfs { .. } => continue,
            }
            all.retain(|earlier| earlier.target() != mount.target());
            all.push(mount);
        }
    }
    Ok(all)
}

/// Refuses a bind mount whose source is missing and not to be made.
pub(crate) fn check_sources(mounts: &[Mount]) -> Result<()> {
    for mount in mounts {
        if let Mount::Bind {
            source,
            create_source: false,
            ..
        } = mount
        {
            exists(source)?;
        }
    }
    Ok(())
}

fn exists(source: &Path) -> Result<()> {
    match std::fs::metadata(source) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            source.display()
        ))),
        Err(error) => Err(error).context(|| format!("bind source {}", source.display())),
    }
}

/// The mounts in the words of the runtime.
pub(crate) fn found(core: &Core, record: &ContainerRecord) -> Result<Vec<spec::Mount>> {
    let mut mounts = record
        .mounts
        .iter()
        .map(|mount| find(mount, core, &record.id))
        .collect::<Result<Vec<_>>>()?;
    mounts.extend(given(&core.store, record));
    Ok(mounts)
}

fn find(mount: &Mount, core: &Core, user: &Id) -> Result<spec::Mount> {
    match mount {
        Mount::Bind {
            source,
            target,
            read_only,
            propagation,
            create_source,
            submounts,
        } => {
            if *create_source {
                orc_base::fs::create_dir_all(source, 0o755)
                    .or_else(|error| match error.kind() {
                        // A file is there.
                        Kind::Conflict => Ok(()),
                        _ => Err(error),
                    })
                    .context(|| format!("make bind source {}", source.display()))?;
            }
            exists(source)?;
            Ok(spec::Mount::Bind {
                source: source.clone(),
                target: target.clone(),
                readonly: *read_only,
                submounts: match submounts {
                    Submounts::Follow | Submounts::ReadOnly => spec::Submounts::Follow,
                    Submounts::Leave => spec::Submounts::Leave,
                    Submounts::Writable => spec::Submounts::Writable,
                },
                propagation: propagation_of(propagation.as_deref())?,
            })
        }
        Mount::Volume {
            name,
            target,
            read_only,
            subpath,
            labels,
            options,
            ..
        } => {
            let spec = VolumeSpec {
                name: name.clone(),
                labels: labels.clone(),
                options: options.clone(),
                ..VolumeSpec::default()
            };
            // Only when someone removed it between the making of the container and its record.
            core.volumes.provide(&spec, false, core.now())?;
            core.volumes.bring_up(name, user)?;
            let source = core.volumes.source(name)?;
            let readonly = *read_only || core.volumes.is_read_only(name)?;
            if let Some(subpath) = subpath.as_ref().filter(|path| !path.is_empty()) {
                return Ok(spec::Mount::Within {
                    directory: source,
                    subpath: subpath.clone(),
                    target: target.clone(),
                    readonly,
                });
            }
            Ok(spec::Mount::Bind {
                source,
                target: target.clone(),
                readonly,
                submounts: spec::Submounts::Follow,
                propagation: Propagation::Private,
            })
        }
        Mount::Image {
            image,
            target,
            subpath,
        } => Ok(spec::Mount::Layers {
            lowers: core.images.layers(&Digest::parse(image)?)?,
            subpath: subpath.clone(),
            target: target.clone(),
        }),
        Mount::Tmpfs {
            target,
            size_bytes,
            mode,
            options,
        } => {
            let options = tmpfs_options(options)?;
            Ok(spec::Mount::Tmpfs {
                target: target.clone(),
                size_bytes: size_bytes.or(options.size_bytes),
                mode: mode.or(options.mode),
                uid: options.uid,
                gid: options.gid,
                readonly: options.read_only,
                exec: options.exec,
            })
        }
    }
}

/// What people are shown of a mount.
pub(crate) fn present(mount: &Mount, volumes: &Volumes) -> MountPoint {
    match mount {
        Mount::Bind {
            source,
            target,
            read_only,
            propagation,
            ..
        } => MountPoint {
            kind: MountKind::Bind,
            name: None,
            source: source.display().to_string(),
            target: target.clone(),
            read_only: *read_only,
            propagation: match propagation.as_deref() {
                None | Some("") => "rprivate".into(),
                Some(word) => word.to_owned(),
            },
        },
        Mount::Volume {
            name,
            target,
            read_only,
            ..
        } => MountPoint {
            kind: MountKind::Volume,
            name: Some(name.clone()),
            source: volumes
                .get(name)
                .map_or_else(|_| String::new(), |volume| volume.mountpoint),
            target: target.clone(),
            read_only: *read_only,
            propagation: String::new(),
        },
        Mount::Image { image, target, .. } => MountPoint {
            kind: MountKind::Image,
            name: None,
            source: image.clone(),
            target: target.clone(),
            read_only: true,
            propagation: String::new(),
        },
        Mount::Tmpfs {
            target, options, ..
        } => MountPoint {
            kind: MountKind::Tmpfs,
            name: None,
            source: String::new(),
            target: target.clone(),
            read_only: tmpfs_options(options).is_ok_and(|options| options.read_only),
            propagation: String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use orc_host::image::ImageConfig;

    use super::*;
    use crate::effective::effective;

    fn volume(name: &str, target: &str) -> Mount {
        Mount::Volume {
            name: name.into(),
            target: target.into(),
            read_only: false,
            no_copy: false,
            subpath: None,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }

    fn planned(mounts: Vec<Mount>, volumes: &[&str]) -> Plan {
        let spec = ContainerSpec {
            command: Some(vec!["sh".into()]),
            mounts,
            ..ContainerSpec::default()
        };
        let image = ImageConfig {
            volumes: volumes.iter().map(|path| (*path).into()).collect(),
            ..ImageConfig::default()
        };
        let effective = effective(&Id::random(), &spec, &image).unwrap();
        let inherited = vec![volume("theirs", "/theirs"), volume("hidden", "/data")];
        plan(&spec, &effective, inherited, &|name| Ok(name.into())).unwrap()
    }

    #[test]
    fn parents_come_first_and_own_mounts_hide_the_images_volumes() {
        let plan = planned(
            vec![
                volume("deep", "/a/b/c"),
                volume("own", "/data/"),
                volume("", "/x"),
            ],
            &["/data", "/a"],
        );
        let targets: Vec<&str> = plan.mounts.iter().map(Mount::target).collect();
        assert_eq!(targets, ["/data", "/x", "/theirs", "/a", "/a/b/c"]);
        assert_eq!(plan.anonymous.len(), 2);
        for mount in &plan.mounts {
            let Mount::Volume { name, target, .. } = mount else {
                panic!("{mount:?}");
            };
            let anonymous = plan.anonymous.contains(name);
            assert_eq!(
                anonymous,
                matches!(target.as_str(), "/x" | "/a"),
                "{target}"
            );
        }
    }

    #[test]
    fn a_missing_source_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let bind = |name: &str, create_source| Mount::Bind {
            source: dir.path().join(name),
            target: "/x".into(),
            read_only: false,
            propagation: None,
            create_source,
            submounts: Submounts::Follow,
        };
        check_sources(&[bind("", false), bind("later", true)]).unwrap();
        let error = check_sources(&[bind("nope", false)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        let text = error.to_string();
        assert!(text.contains("bind source path does not exist: ") && text.ends_with("/nope"));
    }
}
