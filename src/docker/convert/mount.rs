//! What is mounted: Docker's three ways to ask for it, and what became of it.
//!
//! `Binds` are the text of `docker run -v`, `Tmpfs` that of `--tmpfs`, `Mounts` the objects of
//! `--mount`, which can say everything and are what orc's own client sends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::units::parse_bytes;
use orc_base::{Context, Error, Result};
use orc_host::container::{Mount, MountKind, MountPoint, Submounts, VolumesFrom};

use crate::convert::resources;
use crate::convert::unsupported::{self, Place};
use crate::wire::container as wire_container;
use crate::wire::host_config as wire;
use crate::wire::json::Ordered;

/// One of `HostConfig.Mounts`.
pub(crate) fn to_wire(mount: &Mount) -> Result<wire::Mount> {
    Ok(match mount {
        Mount::Bind {
            source,
            target,
            read_only,
            propagation,
            create_source,
            submounts,
        } => wire::Mount {
            r#type: "bind".into(),
            source: text_of(source)?,
            target: target.clone(),
            read_only: *read_only,
            bind_options: Some(wire::BindOptions {
                propagation: propagation.clone().unwrap_or_default(),
                create_mountpoint: *create_source,
                non_recursive: *submounts == Submounts::Leave,
                read_only_non_recursive: *submounts == Submounts::Writable,
                read_only_force_recursive: *submounts == Submounts::ReadOnly,
                ..Default::default()
            }),
            ..Default::default()
        },
        Mount::Volume {
            name,
            target,
            read_only,
            no_copy,
            subpath,
            labels,
            options,
        } => wire::Mount {
            r#type: "volume".into(),
            source: name.clone(),
            target: target.clone(),
            read_only: *read_only,
            volume_options: Some(wire::VolumeOptions {
                no_copy: *no_copy,
                subpath: subpath.clone().unwrap_or_default(),
                labels: labels.clone(),
                driver_config: (!options.is_empty()).then(|| wire::DriverConfig {
                    name: "local".into(),
                    options: options.clone(),
                }),
                ..Default::default()
            }),
            ..Default::default()
        },
        Mount::Image {
            image,
            target,
            subpath,
        } => wire::Mount {
            r#type: "image".into(),
            source: image.clone(),
            target: target.clone(),
            read_only: true,
            image_options: subpath.as_ref().map(|subpath| wire::ImageOptions {
                subpath: subpath.clone(),
                ..Default::default()
            }),
            ..Default::default()
        },
        Mount::Tmpfs {
            target,
            size_bytes,
            mode,
            options,
        } => wire::Mount {
            r#type: "tmpfs".into(),
            target: target.clone(),
            tmpfs_options: Some(wire::TmpfsOptions {
                size_bytes: resources::signed(*size_bytes),
                mode: *mode,
                options: options.iter().map(|option| words(option)).collect(),
                ..Default::default()
            }),
            ..Default::default()
        },
    })
}

fn text_of(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        Error::unsupported(format!(
            "{} is not UTF-8: it cannot be named over the API",
            path.display()
        ))
    })?;
    Ok(text.into())
}

/// `["noexec"]`, `["uid", "1000"]`.
fn words(option: &str) -> Vec<String> {
    option.splitn(2, '=').map(String::from).collect()
}

/// The inverse of [`to_wire`].
pub(crate) fn from_wire(mount: &wire::Mount, warnings: &mut Vec<String>) -> Result<Mount> {
    let named = || format!("`HostConfig.Mounts` at `{}`", mount.target);
    unsupported::check(Place::Mount, &mount.other, warnings)?;
    match mount.r#type.as_str() {
        "bind" => bind_from_wire(mount, warnings),
        "volume" => volume_from_wire(mount, warnings),
        "tmpfs" => tmpfs_from_wire(mount, warnings),
        "image" => image_from_wire(mount, warnings),
        "cluster" | "npipe" => Err(Error::unsupported(format!(
            "mounts of type {} are not supported",
            mount.r#type
        ))),
        other => Err(Error::invalid(format!(
            "`{other}` is not a type of mount: use bind, volume, image or tmpfs"
        ))),
    }
    .context(named)
}

fn bind_from_wire(mount: &wire::Mount, warnings: &mut Vec<String>) -> Result<Mount> {
    let options = mount.bind_options.clone().unwrap_or_default();
    unsupported::check(Place::Bind, &options.other, warnings)?;
    if !mount.source.starts_with('/') {
        return Err(Error::invalid(format!(
            "`Source`: `{}` is not an absolute path",
            mount.source
        )));
    }
    Ok(Mount::Bind {
        source: PathBuf::from(&mount.source),
        target: mount.target.clone(),
        read_only: mount.read_only,
        propagation: resources::text(&options.propagation),
        create_source: options.create_mountpoint,
        submounts: submounts(&options)?,
    })
}

fn submounts(options: &wire::BindOptions) -> Result<Submounts> {
    let asked = [
        (options.non_recursive, Submounts::Leave),
        (options.read_only_non_recursive, Submounts::Writable),
        (options.read_only_force_recursive, Submounts::ReadOnly),
    ];
    let mut asked = asked.into_iter().filter(|(asked, _)| *asked);
    match (asked.next(), asked.next()) {
        (None, _) => Ok(Submounts::Follow),
        (Some((_, submounts)), None) => Ok(submounts),
        (Some(_), Some(_)) => Err(Error::invalid(
            "`BindOptions`: NonRecursive, ReadOnlyNonRecursive and ReadOnlyForceRecursive exclude each other",
        )),
    }
}

fn image_from_wire(mount: &wire::Mount, warnings: &mut Vec<String>) -> Result<Mount> {
    let options = mount.image_options.clone().unwrap_or_default();
    unsupported::check(Place::Other("ImageOptions"), &options.other, warnings)?;
    if mount.source.is_empty() {
        return Err(Error::invalid("`Source` must name an image"));
    }
    Ok(Mount::Image {
        image: mount.source.clone(),
        target: mount.target.clone(),
        subpath: resources::text(&options.subpath),
    })
}

fn volume_from_wire(mount: &wire::Mount, warnings: &mut Vec<String>) -> Result<Mount> {
    let options = mount.volume_options.clone().unwrap_or_default();
    unsupported::check(Place::Other("VolumeOptions"), &options.other, warnings)?;
    let driver = options.driver_config.unwrap_or_default();
    if !matches!(driver.name.as_str(), "" | "local") {
        return Err(Error::unsupported(format!(
            "volume driver `{}` is not supported: use local",
            driver.name
        )));
    }
    Ok(Mount::Volume {
        name: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        no_copy: options.no_copy,
        subpath: resources::text(&options.subpath),
        labels: options.labels,
        options: driver.options,
    })
}

fn tmpfs_from_wire(mount: &wire::Mount, warnings: &mut Vec<String>) -> Result<Mount> {
    let options = mount.tmpfs_options.clone().unwrap_or_default();
    unsupported::check(Place::Other("TmpfsOptions"), &options.other, warnings)?;
    if !mount.source.is_empty() {
        return Err(Error::invalid("`Source` means nothing for memory"));
    }
    let mut flags: Vec<String> = options
        .options
        .iter()
        .map(|words| words.join("="))
        .collect();
    if mount.read_only {
        flags.push("ro".into());
    }
    Ok(Mount::Tmpfs {
        target: mount.target.clone(),
        size_bytes: resources::unsigned("Mounts.TmpfsOptions.SizeBytes", options.size_bytes)?,
        mode: options.mode,
        options: flags,
    })
}

/// What one of `HostConfig.Binds` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// Something named.
    Mount(Mount),
    /// An anonymous volume at a path.
    Anonymous(String),
}

/// Reads `SOURCE:TARGET[:OPTIONS]`, or a path alone.
pub(crate) fn bind_from_text(text: &str, warnings: &mut Vec<String>) -> Result<Bind> {
    let malformed = || {
        Error::invalid(format!(
            "`HostConfig.Binds`: `{text}` is not SOURCE:TARGET or SOURCE:TARGET:OPTIONS with an absolute target"
        ))
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] if target.starts_with('/') => return Ok(Bind::Anonymous(target.into())),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(malformed()),
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err(malformed());
    }
    let options = bind_options(options, text, warnings)?;
    Ok(Bind::Mount(if source.starts_with('/') {
        Mount::Bind {
            source: source.into(),
            target: target.into(),
            read_only: options.read_only,
            propagation: options.propagation,
            create_source: true,
            submounts: Submounts::Follow,
        }
    } else {
        Mount::Volume {
            name: source.into(),
            target: target.into(),
            read_only: options.read_only,
            no_copy: options.no_copy,
            subpath: None,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }
    }))
}

#[derive(Default)]
struct BindFlags {
    read_only: bool,
    no_copy: bool,
    propagation: Option<String>,
}

fn bind_options(text: &str, bind: &str, warnings: &mut Vec<String>) -> Result<BindFlags> {
    let mut flags = BindFlags::default();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => flags.read_only = true,
            "rw" => flags.read_only = false,
            "nocopy" => flags.no_copy = true,
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                flags.propagation = Some(option.into());
            }
            // Hints for Docker on other systems; they change nothing on Linux.
            "consistent" | "cached" | "delegated" => {}
            "z" | "Z" => warnings.push(format!(
                "`HostConfig.Binds`: `{bind}`: SELinux labels are not supported and were ignored"
            )),
            _ => {
                return Err(Error::invalid(format!(
                    "`HostConfig.Binds`: `{bind}`: `{option}` is not an option of a mount"
                )));
            }
        }
    }
    Ok(flags)
}

/// One of `HostConfig.VolumesFrom`: `db`, `db:ro`.
pub(crate) fn from_to_wire(from: &VolumesFrom) -> String {
    match from.read_only {
        true => format!("{}:ro", from.container),
        false => from.container.clone(),
    }
}

/// The inverse of [`from_to_wire`]; Docker's other modes change nothing on Linux without SELinux.
pub(crate) fn from_from_wire(text: &str) -> Result<VolumesFrom> {
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    let read_only = match mode {
        "" | "rw" | "z" | "Z" | "rw,z" | "rw,Z" => false,
        "ro" | "ro,z" | "ro,Z" => true,
        _ => {
            return Err(Error::invalid(format!(
                "`HostConfig.VolumesFrom`: `{text}`: use CONTAINER, CONTAINER:ro or CONTAINER:rw"
            )));
        }
    };
    match container {
        "" => Err(Error::invalid(
            "`HostConfig.VolumesFrom` must name a container",
        )),
        container => Ok(VolumesFrom {
            container: container.into(),
            read_only,
        }),
    }
}

/// One of `HostConfig.Tmpfs`: `size=64m,mode=1777,noexec`.
pub(crate) fn tmpfs_from_text(target: &str, text: &str) -> Result<Mount> {
    let mut size_bytes = None;
    let mut mode = None;
    let mut options = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let named = || format!("`HostConfig.Tmpfs` at `{target}`: `{option}`");
        match option.split_once('=') {
            Some(("size", size)) if !size.ends_with('%') => {
                size_bytes = Some(parse_bytes(size).context(named)?);
            }
            Some(("mode", bits)) => {
                let bits = u32::from_str_radix(bits, 8)
                    .ok()
                    .filter(|bits| *bits <= 0o7777);
                mode = Some(bits.ok_or_else(|| {
                    Error::invalid("permissions are octal digits such as 1777").within(named())
                })?);
            }
            _ if option == "rw" => {}
            _ => options.push(option.to_owned()),
        }
    }
    Ok(Mount::Tmpfs {
        target: target.into(),
        size_bytes: size_bytes.filter(|size| *size > 0),
        mode,
        options,
    })
}

/// `Binds` and `Mounts` of an inspected container: what `docker run -v PATH:PATH` asks for is shown
/// as text, as Docker does, the rest as objects.
pub(crate) fn shown(mounts: &[Mount]) -> Result<(Vec<String>, Vec<wire::Mount>)> {
    let mut binds = Vec::new();
    let mut objects = Vec::new();
    for mount in mounts {
        match as_text(mount) {
            Some(text) => binds.push(text),
            None => objects.push(to_wire(mount)?),
        }
    }
    Ok((binds, objects))
}

fn as_text(mount: &Mount) -> Option<String> {
    let Mount::Bind {
        source,
        target,
        read_only,
        propagation,
        create_source: true,
        submounts: Submounts::Follow,
    } = mount
    else {
        return None;
    };
    let source = source.to_str()?;
    if source.contains(':') || target.contains(':') {
        return None;
    }
    let access = if *read_only { "ro" } else { "rw" };
    let options = match propagation {
        None => access.to_owned(),
        Some(propagation) => format!("{access},{propagation}"),
    };
    Some(format!("{source}:{target}:{options}"))
}

/// One of the `Mounts` of an inspected container.
pub(crate) fn point_to_wire(point: &MountPoint) -> wire_container::MountPoint {
    let (kind, driver, mode) = match point.kind {
        MountKind::Bind => ("bind", "", if point.read_only { "ro" } else { "rw" }),
        MountKind::Volume => ("volume", "local", if point.read_only { "ro" } else { "rw" }),
        MountKind::Image => ("image", "", "ro"),
        MountKind::Tmpfs => ("tmpfs", "", ""),
    };
    wire_container::MountPoint {
        r#type: kind.into(),
        name: point.name.clone().unwrap_or_default(),
        source: point.source.clone(),
        destination: point.target.clone(),
        driver: driver.into(),
        mode: mode.into(),
        rw: !point.read_only,
        propagation: point.propagation.clone(),
    }
}

/// The inverse of [`point_to_wire`].
pub(crate) fn point_from_wire(point: &wire_container::MountPoint) -> Result<MountPoint> {
    let kind = match point.r#type.as_str() {
        "bind" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "image" => MountKind::Image,
        "tmpfs" => MountKind::Tmpfs,
        other => {
            return Err(Error::internal(format!("`{other}` is not a type of mount")));
        }
    };
    Ok(MountPoint {
        kind,
        name: resources::text(&point.name),
        source: point.source.clone(),
        target: point.destination.clone(),
        read_only: !point.rw,
        propagation: point.propagation.clone(),
    })
}

/// `HostConfig.Tmpfs` as mounts.
pub(crate) fn tmpfs_from_wire_map(tmpfs: &Ordered<String>) -> Result<Vec<Mount>> {
    tmpfs
        .0
        .iter()
        .map(|(target, options)| tmpfs_from_text(target, options))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Result<Bind> {
        bind_from_text(text, &mut Vec::new())
    }

    #[test]
    fn binds_are_read_as_docker_does() {
        assert_eq!(
            bind("/srv:/data:ro,rslave").unwrap(),
            Bind::Mount(Mount::Bind {
                source: "/srv".into(),
                target: "/data".into(),
                read_only: true,
                propagation: Some("rslave".into()),
                create_source: true,
                submounts: Submounts::Follow,
            })
        );
        assert_eq!(
            bind("data:/data:nocopy").unwrap(),
            Bind::Mount(Mount::Volume {
                name: "data".into(),
                target: "/data".into(),
                read_only: false,
                no_copy: true,
                subpath: None,
                labels: BTreeMap::new(),
                options: BTreeMap::new(),
            })
        );
        assert_eq!(bind("/data").unwrap(), Bind::Anonymous("/data".into()));
        for bad in ["", "data", "/a:b", ":/a", "/a:/b:ro:x", "/a:/b:fast"] {
            assert!(
                bind(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("HostConfig.Binds"),
                "{bad}"
            );
        }
        let mut warnings = Vec::new();
        bind_from_text("/a:/b:Z", &mut warnings).unwrap();
        assert!(warnings[0].contains("SELinux"), "{warnings:?}");
    }

    #[test]
    fn tmpfs_options_are_read() {
        assert_eq!(
            tmpfs_from_text("/run", "rw,noexec,size=64m,mode=1700,uid=5").unwrap(),
            Mount::Tmpfs {
                target: "/run".into(),
                size_bytes: Some(64 << 20),
                mode: Some(0o1700),
                options: vec!["noexec".into(), "uid=5".into()],
            }
        );
        assert!(tmpfs_from_text("/run", "mode=999").is_err());
        assert!(tmpfs_from_text("/run", "size=much").is_err());
    }

    #[test]
    fn mounts_come_back() {
        for mount in [
            Mount::Bind {
                source: "/a:b".into(),
                target: "/x".into(),
                read_only: true,
                propagation: Some("shared".into()),
                create_source: true,
                submounts: Submounts::Writable,
            },
            Mount::Image {
                image: "tools:1".into(),
                target: "/tools".into(),
                subpath: Some("usr/share".into()),
            },
            Mount::Volume {
                name: String::new(),
                target: "/v".into(),
                read_only: false,
                no_copy: true,
                subpath: Some("sub/dir".into()),
                labels: BTreeMap::from([("a".into(), "b".into())]),
                options: BTreeMap::from([("type".into(), "tmpfs".into())]),
            },
            Mount::Tmpfs {
                target: "/t".into(),
                size_bytes: Some(1),
                mode: Some(0o700),
                options: vec!["noexec".into(), "uid=1000".into()],
            },
        ] {
            let mut warnings = Vec::new();
            let there = to_wire(&mount).unwrap();
            assert_eq!(from_wire(&there, &mut warnings).unwrap(), mount);
            assert_eq!(warnings, [""; 0]);
        }
    }

    #[test]
    fn mounts_that_cannot_be_done_say_where() {
        let mount = |change: fn(&mut wire::Mount)| {
            let mut mount = wire::Mount {
                target: "/here".into(),
                ..Default::default()
            };
            change(&mut mount);
            from_wire(&mount, &mut Vec::new()).unwrap_err().to_string()
        };
        for text in [
            mount(|mount| mount.r#type = "bind".into()),
            mount(|mount| mount.r#type = "image".into()),
            mount(|mount| mount.r#type = "cluster".into()),
            mount(|mount| {
                mount.r#type = "bind".into();
                mount.source = "/x".into();
                mount.bind_options = Some(wire::BindOptions {
                    non_recursive: true,
                    read_only_non_recursive: true,
                    ..Default::default()
                });
            }),
            mount(|mount| mount.r#type = "floppy".into()),
            mount(|mount| {
                mount.r#type = "tmpfs".into();
                mount.source = "x".into();
            }),
        ] {
            assert!(text.contains("/here"), "{text}");
        }
    }
}
