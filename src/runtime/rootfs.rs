//! What is mounted where, in which order, to make a container's root. Pure: [`plan`] decides,
//! `rootfs/build.rs` does it.
//!
//! A step prints itself, so errors, tests and people read the same text. The order matters: sources
//! are opened before the host's tree is cut off, kernel file systems come before what the user
//! mounts over them, and masks come last, when nothing can cover them any more.

use std::fmt;
use std::path::PathBuf;

use orc_base::Result;

use crate::rootfs::target::clean;
use crate::spec::{
    ContainerSpec, Device, DeviceKind, Mount, Namespace, Propagation, Rootfs, Submounts,
};

pub(crate) mod build;
mod mount;
mod overlay;
mod source;
mod target;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Open what will be bound, while the host's paths still lead there.
    Open {
        number: usize,
        source: PathBuf,
        submounts: Submounts,
        propagation: Propagation,
        readonly: bool,
    },
    /// Open something below a directory, likewise.
    OpenWithin {
        number: usize,
        directory: PathBuf,
        subpath: String,
        readonly: bool,
    },
    /// Open a directory of another mount namespace, likewise.
    OpenJoined {
        number: usize,
        namespace: PathBuf,
        path: String,
    },
    /// No mount made from here on is seen outside, and none made outside is seen here.
    Isolate,
    /// Open the layers of an image, or something in them.
    Layers {
        number: usize,
        lowers: Vec<PathBuf>,
        subpath: Option<String>,
    },
    /// Put copies of files into memory.
    Copies(Vec<Copied>),
    /// Stack the layers.
    Overlay(Rootfs),
    Proc,
    Sysctl {
        path: PathBuf,
        value: String,
    },
    Sys {
        readonly: bool,
    },
    Dev,
    Node(Device),
    Link {
        name: &'static str,
        target: &'static str,
    },
    Terminals,
    Shm {
        bytes: u64,
    },
    Queues,
    /// Make the terminal and show it as `/dev/console`.
    Console {
        size: Option<(u16, u16)>,
    },
    /// Move into the control groups, once the monitor has made them.
    EnterCgroups,
    /// Show the container's own control groups, or the host's.
    Cgroups {
        own: bool,
        readonly: bool,
    },
    /// Attach what was opened under this number.
    Bind {
        number: usize,
        target: PathBuf,
    },
    Tmpfs {
        target: PathBuf,
        options: Vec<(&'static str, String)>,
        readonly: bool,
        exec: bool,
    },
    /// Make the working directory when the image has none.
    Directory(PathBuf),
    Readonly(PathBuf),
    Mask(PathBuf),
    ReadonlyRoot,
    /// Make it the root and forget the old one.
    Pivot,
}

/// One file that is copied into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) number: usize,
    pub(crate) source: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
}

/// What a container's `/dev` always has.
const NODES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// All steps for one container.
pub(crate) fn plan(spec: &ContainerSpec) -> Result<Vec<Step>> {
    let mut steps = Vec::with_capacity(48 + 2 * spec.mounts.len());
    opens(&spec.mounts, &mut steps);
    steps.push(Step::Isolate);
    images_and_copies(&spec.mounts, &mut steps);
    steps.push(Step::Overlay(spec.rootfs.clone()));
    steps.push(Step::Proc);
    for (key, value) in &spec.sysctls {
        steps.push(Step::Sysctl {
            path: crate::sysctl::path(key, value, &spec.namespaces)?,
            value: value.clone(),
        });
    }
    steps.push(Step::Sys {
        readonly: !spec.privileged,
    });
    devices(spec, &mut steps);
    steps.push(Step::EnterCgroups);
    steps.push(Step::Cgroups {
        own: spec.namespaces.cgroup != Namespace::Host,
        readonly: !spec.privileged,
    });
    mounts(&spec.mounts, &mut steps);
    if !matches!(spec.process.cwd.as_str(), "" | "/") {
        steps.push(Step::Directory(clean(&spec.process.cwd)));
    }
    let clean = |paths: &[String]| paths.iter().map(|path| clean(path)).collect::<Vec<_>>();
    steps.extend(clean(&spec.readonly_paths).into_iter().map(Step::Readonly));
    steps.extend(clean(&spec.masked_paths).into_iter().map(Step::Mask));
    if spec.rootfs.readonly {
        steps.push(Step::ReadonlyRoot);
    }
    steps.push(Step::Pivot);
    Ok(steps)
}

/// The steps for looking at the files of a container that does not run: its layers and what is bound
/// into them, and none of the kernel's file systems.
pub(crate) fn plan_files(rootfs: &Rootfs, binds: &[Mount]) -> Vec<Step> {
    let binds: Vec<Mount> = binds
        .iter()
        .filter(|mount| {
            matches!(
                mount,
                Mount::Bind { .. } | Mount::Within { .. } | Mount::Layers { .. }
            )
        })
        .cloned()
        .collect();
    let mut steps = Vec::new();
    opens(&binds, &mut steps);
    steps.push(Step::Isolate);
    images_and_copies(&binds, &mut steps);
    steps.push(Step::Overlay(rootfs.clone()));
    mounts(&binds, &mut steps);
    if rootfs.readonly {
        steps.push(Step::ReadonlyRoot);
    }
    steps
}

fn opens(mounts: &[Mount], steps: &mut Vec<Step>) {
    for (number, mount) in mounts.iter().enumerate() {
        match mount {
            Mount::Bind {
                source,
                readonly,
                submounts,
                propagation,
                ..
            } => steps.push(Step::Open {
                number,
                source: source.clone(),
                submounts: *submounts,
                propagation: *propagation,
                readonly: *readonly,
            }),
            Mount::Within {
                directory,
                subpath,
                readonly,
                ..
            } => steps.push(Step::OpenWithin {
                number,
                directory: directory.clone(),
                subpath: subpath.clone(),
                readonly: *readonly,
            }),
            Mount::Joined {
                namespace, path, ..
            } => steps.push(Step::OpenJoined {
                number,
                namespace: namespace.clone(),
                path: path.clone(),
            }),
            Mount::Layers { .. } | Mount::Copy { .. } | Mount::Tmpfs { .. } => {}
        }
    }
}

/// What is mounted and is no place of the host's. Each of these steps mounts something for a moment,
/// which must not be seen outside.
fn images_and_copies(mounts: &[Mount], steps: &mut Vec<Step>) {
    let mut copies = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        match mount {
            Mount::Layers {
                lowers, subpath, ..
            } => steps.push(Step::Layers {
                number,
                lowers: lowers.clone(),
                subpath: subpath.clone(),
            }),
            Mount::Copy {
                source,
                uid,
                gid,
                mode,
                ..
            } => copies.push(Copied {
                number,
                source: source.clone(),
                uid: *uid,
                gid: *gid,
                mode: *mode,
            }),
            Mount::Bind { .. }
            | Mount::Within { .. }
            | Mount::Joined { .. }
            | Mount::Tmpfs { .. } => {}
        }
    }
    if !copies.is_empty() {
        steps.push(Step::Copies(copies));
    }
}

fn devices(spec: &ContainerSpec, steps: &mut Vec<Step>) {
    steps.push(Step::Dev);
    for (path, major, minor) in NODES {
        steps.push(Step::Node(Device {
            path: path.into(),
            kind: DeviceKind::Char,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
            access: "rwm".into(),
        }));
    }
    let asked = spec.devices.iter().filter(|device| {
        // Asking for what is there anyway is no error.
        !NODES.iter().any(|(path, ..)| *path == device.path)
    });
    steps.extend(asked.cloned().map(Step::Node));
    for (name, target) in LINKS {
        steps.push(Step::Link { name, target });
    }
    steps.push(Step::Terminals);
    steps.push(Step::Shm {
        bytes: spec.shm_bytes,
    });
    steps.push(Step::Queues);
    if spec.stdio.terminal {
        steps.push(Step::Console {
            size: spec.stdio.size,
        });
    }
}

/// Outer targets first, so that none covers another; equals stay in the order they were given.
fn mounts(mounts: &[Mount], steps: &mut Vec<Step>) {
    let mut ordered: Vec<(PathBuf, usize, &Mount)> = mounts
        .iter()
        .enumerate()
        .map(|(number, mount)| (clean(mount.target()), number, mount))
        .collect();
    ordered.sort_by_key(|(target, ..)| target.components().count());
    for (target, number, mount) in ordered {
        steps.push(match mount {
            Mount::Bind { .. }
            | Mount::Within { .. }
            | Mount::Joined { .. }
            | Mount::Layers { .. }
            | Mount::Copy { .. } => Step::Bind { number, target },
            Mount::Tmpfs {
                size_bytes,
                mode,
                uid,
                gid,
                readonly,
                exec,
                ..
            } => {
                let mut options = vec![("mode", format!("{:o}", mode.unwrap_or(0o1777)))];
                options.extend(size_bytes.map(|bytes| ("size", bytes.to_string())));
                options.extend(uid.map(|uid| ("uid", uid.to_string())));
                options.extend(gid.map(|gid| ("gid", gid.to_string())));
                Step::Tmpfs {
                    target,
                    options,
                    readonly: *readonly,
                    exec: *exec,
                }
            }
        });
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = |readonly: &bool| if *readonly { "ro" } else { "rw" };
        match self {
            Self::Open {
                number,
                source,
                submounts,
                propagation,
                readonly,
            } => {
                let depth = match submounts {
                    Submounts::Leave => "flat",
                    Submounts::Follow => "recursive",
                    Submounts::Writable => "recursive, rw below",
                };
                write!(
                    f,
                    "open mount source {} as #{number} ({depth}, {}, {propagation:?})",
                    source.display(),
                    access(readonly)
                )
            }
            Self::OpenWithin {
                number,
                directory,
                subpath,
                readonly,
            } => {
                let access = access(readonly);
                let directory = directory.display();
                write!(
                    f,
                    "open {subpath} inside mount source {directory} as #{number} ({access})"
                )
            }
            Self::OpenJoined {
                number,
                namespace,
                path,
            } => write!(f, "open {path} of {} as #{number}", namespace.display()),
            Self::Isolate => f.write_str("leave the host's mounts"),
            Self::Layers {
                number,
                lowers,
                subpath,
            } => {
                let subpath = subpath.as_deref().unwrap_or("/");
                write!(
                    f,
                    "open {subpath} of {} layers of an image as #{number}",
                    lowers.len()
                )
            }
            Self::Copies(files) => {
                f.write_str("put files into memory")?;
                for file in files {
                    let Copied {
                        number,
                        source,
                        uid,
                        gid,
                        mode,
                    } = file;
                    write!(
                        f,
                        ", {} as #{number} ({uid}:{gid} {mode:o})",
                        source.display()
                    )?;
                }
                Ok(())
            }
            Self::Overlay(rootfs) => {
                write!(f, "stack {} layers on / (overlay", rootfs.lowers.len())?;
                write!(f, ", changes in {})", rootfs.upper.display())
            }
            Self::Proc => f.write_str("mount proc on /proc"),
            Self::Sysctl { path, value } => write!(f, "set sysctl {} to `{value}`", path.display()),
            Self::Sys { readonly } => write!(f, "mount sysfs on /sys ({})", access(readonly)),
            Self::Dev => f.write_str("mount tmpfs on /dev"),
            Self::Node(device) => {
                let kind = match device.kind {
                    DeviceKind::Char => 'c',
                    DeviceKind::Block => 'b',
                };
                let Device {
                    path,
                    major,
                    minor,
                    mode,
                    ..
                } = device;
                write!(f, "make device {path} ({kind} {major}:{minor} {mode:o})")
            }
            Self::Link { name, target } => write!(f, "link /dev/{name} to {target}"),
            Self::Terminals => f.write_str("mount devpts on /dev/pts"),
            Self::Shm { bytes } => write!(f, "mount tmpfs on /dev/shm ({bytes} bytes)"),
            Self::Queues => f.write_str("mount mqueue on /dev/mqueue"),
            Self::Console { .. } => f.write_str("make the terminal on /dev/console"),
            Self::EnterCgroups => f.write_str("enter the control groups"),
            Self::Cgroups { own, readonly } => {
                let whose = if *own { "own" } else { "the host's" };
                write!(
                    f,
                    "mount {whose} control groups on /sys/fs/cgroup ({})",
                    access(readonly)
                )
            }
            Self::Bind { number, target } => write!(f, "mount #{number} on {}", target.display()),
            Self::Tmpfs {
                target,
                options,
                readonly,
                exec,
            } => {
                write!(
                    f,
                    "mount tmpfs on {} ({}",
                    target.display(),
                    access(readonly)
                )?;
                f.write_str(if *exec { ", exec" } else { ", noexec" })?;
                for (name, value) in options {
                    write!(f, ", {name}={value}")?;
                }
                f.write_str(")")
            }
            Self::Directory(path) => write!(f, "make directory {}", path.display()),
            Self::Readonly(path) => write!(f, "make {} read-only", path.display()),
            Self::Mask(path) => write!(f, "mask {}", path.display()),
            Self::ReadonlyRoot => f.write_str("make / read-only"),
            Self::Pivot => f.write_str("enter the root"),
        }
    }
}

#[cfg(test)]
mod tests {
    use orc_base::Id;

    use super::*;
    use crate::spec::{Namespaces, ProcessSpec, Resources, Stdio};

    fn spec() -> ContainerSpec {
        ContainerSpec {
            id: Id::random(),
            hostname: "web".into(),
            domainname: None,
            rootfs: Rootfs {
                lowers: vec!["/l2".into(), "/l1".into()],
                upper: "/u".into(),
                work: "/w".into(),
                readonly: true,
            },
            mounts: vec![
                Mount::Bind {
                    source: "/srv/data".into(),
                    target: "/data//sub/../inner/deep/".into(),
                    readonly: true,
                    submounts: Submounts::Follow,
                    propagation: Propagation::Private,
                },
                Mount::Layers {
                    lowers: vec!["/i2".into(), "/i1".into()],
                    subpath: Some("etc".into()),
                    target: "/image".into(),
                },
                Mount::Copy {
                    source: "/var/secret".into(),
                    target: "/run/secrets/s".into(),
                    uid: 7,
                    gid: 8,
                    mode: 0o400,
                },
                Mount::Tmpfs {
                    target: "/data".into(),
                    size_bytes: Some(1024),
                    mode: None,
                    uid: Some(7),
                    gid: None,
                    readonly: false,
                    exec: false,
                },
            ],
            namespaces: Namespaces::default(),
            process: ProcessSpec::new(["true"]),
            resources: Resources::default(),
            cgroup: "/orc/x".into(),
            devices: Vec::new(),
            device_rules: Vec::new(),
            sysctls: [("net.core.somaxconn".into(), "9".into())].into(),
            masked_paths: vec!["/proc/kcore".into()],
            readonly_paths: vec!["/proc/sys".into()],
            privileged: false,
            init: false,
            oom_score_adj: None,
            shm_bytes: 64,
            stdio: Stdio {
                terminal: true,
                ..Stdio::default()
            },
            log: None,
            state_dir: "/run/orc/x".into(),
        }
    }

    fn text(spec: &ContainerSpec) -> String {
        let steps = plan(spec).unwrap();
        let lines: Vec<String> = steps.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn the_whole_plan() {
        assert_eq!(
            text(&spec()),
            "\
open mount source /srv/data as #0 (recursive, ro, Private)
leave the host's mounts
open etc of 2 layers of an image as #1
put files into memory, /var/secret as #2 (7:8 400)
stack 2 layers on / (overlay, changes in /u)
mount proc on /proc
set sysctl net/core/somaxconn to `9`
mount sysfs on /sys (ro)
mount tmpfs on /dev
make device /dev/null (c 1:3 666)
make device /dev/zero (c 1:5 666)
make device /dev/full (c 1:7 666)
make device /dev/random (c 1:8 666)
make device /dev/urandom (c 1:9 666)
make device /dev/tty (c 5:0 666)
link /dev/fd to /proc/self/fd
link /dev/stdin to /proc/self/fd/0
link /dev/stdout to /proc/self/fd/1
link /dev/stderr to /proc/self/fd/2
link /dev/core to /proc/kcore
link /dev/ptmx to pts/ptmx
mount devpts on /dev/pts
mount tmpfs on /dev/shm (64 bytes)
mount mqueue on /dev/mqueue
make the terminal on /dev/console
enter the control groups
mount own control groups on /sys/fs/cgroup (ro)
mount #1 on /image
mount tmpfs on /data (rw, noexec, mode=1777, size=1024, uid=7)
mount #0 on /data/inner/deep
mount #2 on /run/secrets/s
make /proc/sys read-only
mask /proc/kcore
make / read-only
enter the root"
        );
    }

    #[test]
    fn privileges_show() {
        let mut spec = spec();
        spec.privileged = true;
        spec.namespaces.cgroup = Namespace::Host;
        spec.masked_paths.clear();
        spec.readonly_paths.clear();
        spec.rootfs.readonly = false;
        spec.process.cwd = "/srv/./app".into();
        let text = text(&spec);
        assert!(text.contains("make directory /srv/app"));
        assert!(text.contains("sysfs on /sys (rw)"));
        assert!(text.contains("the host's control groups on /sys/fs/cgroup (rw)"));
        assert!(!text.contains("read-only") && !text.contains("mask"));
    }
}
