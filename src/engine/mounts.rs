//! What is mounted into a container: planned when it is made, found when it starts.

use std::os::fd::OwnedFd;
use std::path::Path;

use orc_base::{Context, Error, Id, Kind, Result, Time};
use orc_host::container::{ContainerSpec, Mount, MountKind, MountPoint};
use orc_host::volume::VolumeSpec;
use orc_runtime::spec::{self, Propagation};

use crate::effective::{Effective, mount_target};
use crate::volumes::Volumes;
use crate::words::{propagation_of, tmpfs_options};

/// What a container mounts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Every volume has a name, every target one spelling; parents come before what is below them.
    pub mounts: Vec<Mount>,
    /// The names of the anonymous volumes that are to be made.
    pub anonymous: Vec<String>,
}

/// Plans the mounts of a container: its own, and a volume for each directory that wants one.
pub(crate) fn plan(spec: &ContainerSpec, effective: &Effective) -> Result<Plan> {
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
        }
        mounts.push(mount);
    }
    for wanted in &effective.volumes {
        if !mounts.iter().any(|mount| mount.target() == wanted) {
            mounts.push(Mount::Volume {
                name: new_name(),
                target: wanted.clone(),
                read_only: false,
                no_copy: false,
                subpath: None,
            });
        }
    }
    mounts.sort_by_key(|mount| mount.target().split('/').count());
    Ok(Plan { mounts, anonymous })
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

/// The mounts in the words of the runtime, with descriptors that must live until they are mounted.
pub(crate) fn found(
    mounts: &[Mount],
    volumes: &Volumes,
    now: Time,
) -> Result<(Vec<spec::Mount>, Vec<OwnedFd>)> {
    let mut open = Vec::new();
    let mounts = mounts
        .iter()
        .map(|mount| find(mount, volumes, now, &mut open))
        .collect::<Result<_>>()?;
    Ok((mounts, open))
}

fn find(
    mount: &Mount,
    volumes: &Volumes,
    now: Time,
    open: &mut Vec<OwnedFd>,
) -> Result<spec::Mount> {
    match mount {
        Mount::Bind {
            source,
            target,
            read_only,
            propagation,
            create_source,
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
                recursive: true,
                propagation: propagation_of(propagation.as_deref())?,
            })
        }
        Mount::Volume {
            name,
            target,
            read_only,
            subpath,
            ..
        } => {
            let spec = VolumeSpec {
                name: name.clone(),
                ..VolumeSpec::default()
            };
            // Only when someone removed it between the making of the container and its record.
            volumes.create(&spec, false, now)?;
            let (source, file) = volumes.source(name, subpath.as_deref())?;
            open.extend(file);
            Ok(spec::Mount::Bind {
                source,
                target: target.clone(),
                readonly: *read_only,
                recursive: true,
                propagation: Propagation::Private,
            })
        }
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
            ..
        } => MountPoint {
            kind: MountKind::Bind,
            name: None,
            source: source.display().to_string(),
            target: target.clone(),
            read_only: *read_only,
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
        },
        Mount::Tmpfs {
            target, options, ..
        } => MountPoint {
            kind: MountKind::Tmpfs,
            name: None,
            source: String::new(),
            target: target.clone(),
            read_only: tmpfs_options(options).is_ok_and(|options| options.read_only),
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
        plan(&spec, &effective).unwrap()
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
        assert_eq!(targets, ["/data", "/x", "/a", "/a/b/c"]);
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
        };
        check_sources(&[bind("", false), bind("later", true)]).unwrap();
        let error = check_sources(&[bind("nope", false)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        let text = error.to_string();
        assert!(text.contains("bind source path does not exist: ") && text.ends_with("/nope"));
    }
}
