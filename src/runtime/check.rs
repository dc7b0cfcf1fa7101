//! What is refused before anything is started. Pure: reads the request and nothing else.
//!
//! Whatever passes may still fail in the kernel; what fails here could never succeed, and gets the
//! better words.

use std::path::{Path, PathBuf};

use orc_base::{Error, Result};

use crate::spec::{ContainerSpec, Device, ExecSpec, Mount, ProcessSpec};

/// The longest host or domain name the kernel takes (`__NEW_UTS_LEN`).
const MAX_HOSTNAME: usize = 64;
/// The most layers overlayfs stacks (`OVL_MAX_STACK`).
const MAX_LAYERS: usize = 500;
/// The longest path the kernel takes.
const MAX_PATH: usize = 4095;
/// The most mounts, devices and other lists of one container.
const MAX_ITEMS: usize = 4096;

/// Refuses a container that cannot be meant.
pub(crate) fn container(spec: &ContainerSpec, state_root: &Path, parent: &str) -> Result<()> {
    process(&spec.process)?;
    for (what, name) in [
        ("host name", Some(&spec.hostname)),
        ("domain name", spec.domainname.as_ref()),
    ] {
        name.map_or(Ok(()), |name| hostname(what, name))?;
    }
    rootfs(spec)?;
    at_most("mounts", spec.mounts.len())?;
    at_most("devices", spec.devices.len() + spec.device_rules.len())?;
    for mount in &spec.mounts {
        self::mount(mount)?;
    }
    for device in &spec.devices {
        self::device(device)?;
    }
    for (key, value) in &spec.sysctls {
        crate::sysctl::path(key, value, &spec.namespaces)?;
    }
    for path in spec.masked_paths.iter().chain(&spec.readonly_paths) {
        inside("masked or read-only path", path)?;
    }
    cgroup(&spec.cgroup, parent)?;
    oom_score(spec.oom_score_adj)?;
    if !spec.state_dir.starts_with(state_root) || spec.state_dir == state_root {
        return Err(Error::invalid(format!(
            "the state directory {} is not below {}",
            spec.state_dir.display(),
            state_root.display()
        )));
    }
    Ok(())
}

/// Refuses an exec that cannot be meant.
pub(crate) fn exec(spec: &ExecSpec, parent: &str) -> Result<()> {
    process(&spec.process)?;
    cgroup(&spec.cgroup, parent)?;
    oom_score(spec.oom_score_adj)
}

fn process(process: &ProcessSpec) -> Result<()> {
    if process.args.first().is_none_or(String::is_empty) {
        return Err(Error::invalid(
            "no command: the image names none, so one must be given",
        ));
    }
    for text in process.args.iter().chain(&process.env) {
        no_nul("an argument or variable", text)?;
    }
    if let Some(bad) = process
        .env
        .iter()
        .find(|entry| entry.find('=').is_none_or(|at| at == 0))
    {
        return Err(Error::invalid(format!(
            "environment entry `{}` is not NAME=value",
            shown(bad)
        )));
    }
    if !process.cwd.is_empty() {
        inside("working directory", &process.cwd)?;
    }
    for limit in &process.rlimits {
        crate::confine::resource(&limit.name)?;
        let (soft, hard) = (
            limit.soft.unwrap_or(u64::MAX),
            limit.hard.unwrap_or(u64::MAX),
        );
        if soft > hard {
            return Err(Error::invalid(format!(
                "ulimit `{}`: the soft limit {soft} is above the hard limit {hard}",
                limit.name
            )));
        }
    }
    if process.umask.is_some_and(|mask| mask > 0o777) {
        return Err(Error::invalid("a umask is at most 0777"));
    }
    at_most("groups", process.groups.len())
}

fn hostname(what: &str, name: &str) -> Result<()> {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && c != ':' && c != '/';
    if name.len() > MAX_HOSTNAME || !name.chars().all(plain) {
        return Err(Error::invalid(format!(
            "`{}` is not a {what}: at most {MAX_HOSTNAME} letters, digits, `.` and `-`",
            shown(name)
        )));
    }
    Ok(())
}

fn rootfs(spec: &ContainerSpec) -> Result<()> {
    let rootfs = &spec.rootfs;
    layers(&rootfs.lowers)?;
    absolute(&[rootfs.upper.clone(), rootfs.work.clone()])
}

fn layers(lowers: &[PathBuf]) -> Result<()> {
    if lowers.is_empty() || lowers.len() > MAX_LAYERS {
        return Err(Error::invalid(format!(
            "a root of {} layers: overlayfs stacks 1 to {MAX_LAYERS}",
            lowers.len()
        )));
    }
    absolute(lowers)
}

fn absolute(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        if !path.is_absolute() {
            return Err(Error::invalid(format!(
                "{} is not absolute",
                path.display()
            )));
        }
    }
    Ok(())
}

fn mount(mount: &Mount) -> Result<()> {
    inside("mount target", mount.target())?;
    let names = Path::new(mount.target())
        .components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)));
    if names.count() == 0 {
        return Err(Error::invalid(
            "a mount over the whole root `/` of a container",
        ));
    }
    match mount {
        Mount::Bind { source, .. } if !source.is_absolute() => Err(Error::invalid(format!(
            "mount source {} is not an absolute path",
            source.display()
        ))),
        Mount::Within { directory, .. } => absolute(std::slice::from_ref(directory)),
        Mount::Joined {
            namespace, path, ..
        } => {
            inside("mount source", path)?;
            absolute(std::slice::from_ref(namespace))
        }
        Mount::Copy { source, .. } if !source.is_absolute() => Err(Error::invalid(format!(
            "mount source {} is not an absolute path",
            source.display()
        ))),
        Mount::Copy { mode, .. } if *mode > 0o7777 => Err(Error::invalid(format!(
            "mode {mode:o} of the file at {}: at most 7777",
            mount.target()
        ))),
        Mount::Layers { lowers, .. } => layers(lowers),
        Mount::Tmpfs {
            mode: Some(mode), ..
        } if *mode > 0o7777 => Err(Error::invalid(format!(
            "mode {mode:o} of the tmpfs at {}: at most 7777",
            mount.target()
        ))),
        _ => Ok(()),
    }
}

fn device(device: &Device) -> Result<()> {
    inside("device", &device.path)?;
    let below = device.path.strip_prefix("/dev/");
    let plain = below.is_some_and(|rest| {
        !rest.is_empty() && rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
    });
    if !plain {
        return Err(Error::invalid(format!(
            "device `{}` is not a path below /dev",
            shown(&device.path)
        )));
    }
    Ok(())
}

/// Below the daemon's own parent, or its limits and its end would not be ours to manage.
fn cgroup(path: &str, parent: &str) -> Result<()> {
    let below = path
        .strip_prefix(parent)
        .is_some_and(|rest| rest.starts_with('/') && rest.len() > 1);
    if !below {
        return Err(Error::invalid(format!(
            "control group `{}` is not below `{parent}`",
            shown(path)
        )));
    }
    Ok(())
}

fn oom_score(score: Option<i32>) -> Result<()> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => Err(Error::invalid(format!(
            "oom_score_adj {score} is not between -1000 and 1000"
        ))),
        _ => Ok(()),
    }
}

fn inside(what: &str, path: &str) -> Result<()> {
    no_nul(what, path)?;
    if !path.starts_with('/') || path.len() > MAX_PATH {
        return Err(Error::invalid(format!(
            "{what} `{}` is not an absolute path of at most {MAX_PATH} bytes",
            shown(path)
        )));
    }
    Ok(())
}

fn no_nul(what: &str, text: &str) -> Result<()> {
    match text.contains('\0') {
        true => Err(Error::invalid(format!(
            "{what} contains a zero byte: `{}`",
            shown(text)
        ))),
        false => Ok(()),
    }
}

fn at_most(what: &str, count: usize) -> Result<()> {
    match count > MAX_ITEMS {
        true => Err(Error::exhausted(format!(
            "{count} {what}: at most {MAX_ITEMS}"
        ))),
        false => Ok(()),
    }
}

/// Text from outside, short and printable.
fn shown(text: &str) -> String {
    text.chars()
        .take(80)
        .flat_map(char::escape_default)
        .collect()
}

#[cfg(test)]
mod tests {
    use orc_base::{Id, Kind};

    use super::*;
    use crate::spec::{
        DeviceKind, Namespaces, Propagation, Resources, Rlimit, Rootfs, Stdio, Submounts,
    };

    fn spec() -> ContainerSpec {
        ContainerSpec {
            id: Id::random(),
            hostname: "web-1".into(),
            domainname: None,
            rootfs: Rootfs {
                lowers: vec!["/l".into()],
                upper: "/u".into(),
                work: "/w".into(),
                readonly: false,
            },
            mounts: Vec::new(),
            namespaces: Namespaces::default(),
            process: ProcessSpec::new(["true"]),
            resources: Resources::default(),
            cgroup: "/orc/x".into(),
            devices: Vec::new(),
            device_rules: Vec::new(),
            sysctls: Default::default(),
            masked_paths: Vec::new(),
            readonly_paths: Vec::new(),
            privileged: false,
            init: false,
            oom_score_adj: None,
            shm_bytes: 64 << 20,
            stdio: Stdio::default(),
            log: None,
            state_dir: "/run/orc/x".into(),
        }
    }

    fn refused(change: impl FnOnce(&mut ContainerSpec), text: &str) {
        let mut spec = spec();
        change(&mut spec);
        let error = container(&spec, Path::new("/run/orc"), "/orc").unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().len() < 400, "{error}");
        assert!(matches!(error.kind(), Kind::Invalid | Kind::Exhausted));
    }

    #[test]
    fn takes_a_plain_container() {
        container(&spec(), Path::new("/run/orc"), "/orc").unwrap();
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        refused(|s| s.process.args.clear(), "no command");
        refused(|s| s.process.args = vec![String::new()], "no command");
        refused(|s| s.process.args.push("a\0b".into()), "zero byte");
        refused(|s| s.process.env = vec!["=x".into()], "NAME=value");
        refused(|s| s.process.env = vec!["x".into()], "NAME=value");
        refused(|s| s.process.cwd = "relative".into(), "absolute");
        refused(|s| s.process.umask = Some(0o1000), "umask");
        refused(|s| s.hostname = "a b".into(), "host name");
        refused(|s| s.hostname = "x".repeat(1 << 20), "host name");
        refused(
            |s| s.domainname = Some("a\n127.0.0.1".into()),
            "domain name",
        );
        refused(|s| s.rootfs.lowers.clear(), "0 layers");
        refused(|s| s.rootfs.lowers = vec!["/l".into(); 501], "501 layers");
        refused(|s| s.rootfs.upper = "u".into(), "not absolute");
        refused(|s| s.cgroup = "/other/x".into(), "not below");
        refused(|s| s.cgroup = "/orcx/x".into(), "not below");
        refused(|s| s.cgroup = "/orc".into(), "not below");
        refused(|s| s.oom_score_adj = Some(-1001), "oom_score_adj");
        refused(|s| s.state_dir = "/tmp/x".into(), "state directory");
        refused(|s| s.masked_paths = vec!["proc".into()], "absolute");
        refused(
            |s| {
                s.sysctls.insert("kernel.core_pattern".into(), "x".into());
            },
            "whole machine",
        );
        refused(
            |s| {
                s.process.rlimits = vec![Rlimit {
                    name: "nofile".into(),
                    soft: None,
                    hard: Some(5),
                }];
            },
            "above the hard limit",
        );
    }

    #[test]
    fn refuses_mounts_and_devices_that_cannot_be_meant() {
        let bind = |source: &str, target: &str| Mount::Bind {
            source: source.into(),
            target: target.into(),
            readonly: false,
            submounts: Submounts::Follow,
            propagation: Propagation::Private,
        };
        refused(|s| s.mounts = vec![bind("/x", "relative")], "absolute");
        refused(|s| s.mounts = vec![bind("x", "/x")], "mount source");
        refused(|s| s.mounts = vec![bind("/x", "/")], "whole root");
        refused(|s| s.mounts = vec![bind("/x", "//../.")], "whole root");
        refused(|s| s.mounts = vec![bind("/x", "/x"); 5000], "at most");
        for path in [
            "/etc/passwd",
            "/dev/",
            "/dev/../etc/x",
            "/dev//x",
            "/dev/a/./b",
        ] {
            let device = Device {
                path: path.into(),
                kind: DeviceKind::Char,
                major: 1,
                minor: 3,
                mode: 0o666,
                uid: 0,
                gid: 0,
                access: "rwm".into(),
            };
            refused(|s| s.devices = vec![device], "below /dev");
        }
    }
}
