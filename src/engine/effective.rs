//! What a container really runs: its spec put over the defaults of its image.
//!
//! Pure: decided once, when the container is made, and kept in its record, so that neither a new
//! image under the same name nor a new release of orc changes what exists. Labels and annotations
//! of an image are shown and never acted upon.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::{Error, Id, Result};
use orc_host::container::ContainerSpec;
use orc_host::image::{Healthcheck, ImageConfig};
use orc_host::network::Port;
use serde::{Deserialize, Serialize};

/// The most bytes that arguments and environment may have together; execve(2) takes little more.
const MAX_ARGUMENT_BYTES: usize = 2 << 20;

/// A container's settings with every default of its image filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Effective {
    /// The program and its arguments; never empty.
    pub args: Vec<String>,
    /// `NAME=value`, each name once.
    pub env: Vec<String>,
    /// Absolute.
    pub working_dir: String,
    /// Docker's `USER` syntax; root when empty.
    pub user: String,
    /// For people and filters.
    pub labels: BTreeMap<String, String>,
    /// How to see whether it works; with a command when present.
    pub healthcheck: Option<Healthcheck>,
    /// As `SIGTERM`.
    pub stop_signal: String,
    /// Its host name.
    pub hostname: String,
    /// Ports it is known to listen on.
    pub exposed_ports: BTreeSet<Port>,
    /// Directories that get an anonymous volume unless something else is mounted there.
    pub volumes: BTreeSet<String>,
}

/// Puts `spec` over `image` for the container `id`.
pub(crate) fn effective(id: &Id, spec: &ContainerSpec, image: &ImageConfig) -> Result<Effective> {
    let effective = Effective {
        args: args(spec, image)?,
        env: merge_env(&image.env, &spec.env)?,
        working_dir: working_dir(spec, image)?,
        user: text(
            "user",
            spec.user
                .clone()
                .filter(|user| !user.is_empty())
                .unwrap_or_else(|| image.user.clone()),
        )?,
        labels: image
            .inherited_labels()
            .chain(&spec.labels)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        healthcheck: healthcheck(spec.healthcheck.as_ref(), image.healthcheck.as_ref())?,
        stop_signal: stop_signal(spec, image)?,
        hostname: hostname(id, spec)?,
        exposed_ports: exposed_ports(spec, image),
        volumes: volumes(spec, image)?,
    };
    let size: usize = effective
        .args
        .iter()
        .chain(&effective.env)
        .map(String::len)
        .sum();
    if size > MAX_ARGUMENT_BYTES {
        return Err(Error::exhausted(format!(
            "arguments and environment have {size} bytes: the kernel takes {MAX_ARGUMENT_BYTES}"
        )));
    }
    Ok(effective)
}

/// Entry point and command, as Docker puts them together.
fn args(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>> {
    let entrypoint = match &spec.entrypoint {
        // `--entrypoint ""` clears the image's.
        Some(given) if given.iter().all(String::is_empty) => Vec::new(),
        Some(given) => given.clone(),
        None => image.entrypoint.clone().unwrap_or_default(),
    };
    let command = match (&spec.command, &spec.entrypoint) {
        (Some(command), _) => command.clone(),
        (None, Some(_)) => Vec::new(),
        (None, None) => image.command.clone().unwrap_or_default(),
    };
    let args: Vec<String> = entrypoint.into_iter().chain(command).collect();
    if args.first().is_none_or(String::is_empty) {
        return Err(Error::invalid(format!(
            "no command specified: image `{}` has none, so give one",
            spec.image
        )));
    }
    args.into_iter().map(|arg| text("command", arg)).collect()
}

/// The image's environment with the container's over it; a bare name removes.
pub(crate) fn merge_env(under: &[String], over: &[String]) -> Result<Vec<String>> {
    let mut merged: Vec<String> = Vec::with_capacity(under.len() + over.len());
    for entry in under.iter().chain(over) {
        let name = entry
            .split_once('=')
            .map_or(entry.as_str(), |(name, _)| name);
        if name.is_empty() || entry.contains('\0') {
            return Err(Error::invalid(format!(
                "environment entry `{}` is not NAME=value",
                entry.escape_default()
            )));
        }
        let same = |other: &String| {
            other
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        };
        let place = merged.iter().position(same);
        match (entry.contains('='), place) {
            (true, Some(place)) => merged[place].clone_from(entry),
            (true, None) => merged.push(entry.clone()),
            (false, Some(place)) => drop(merged.remove(place)),
            (false, None) => {}
        }
    }
    Ok(merged)
}

fn working_dir(spec: &ContainerSpec, image: &ImageConfig) -> Result<String> {
    let given = spec.working_dir.as_deref().filter(|dir| !dir.is_empty());
    let dir = given.unwrap_or(&image.working_dir);
    match dir {
        "" => Ok("/".into()),
        dir if dir.starts_with('/') => text("working directory", dir.into()),
        dir if given.is_none() => text("working directory", format!("/{dir}")),
        dir => Err(Error::invalid(format!(
            "the working directory `{dir}` is invalid: it needs to be an absolute path"
        ))),
    }
}

fn healthcheck(
    spec: Option<&Healthcheck>,
    image: Option<&Healthcheck>,
) -> Result<Option<Healthcheck>> {
    let none = Healthcheck::default();
    let (over, under) = (spec.unwrap_or(&none), image.unwrap_or(&none));
    let test = match over.test.is_empty() {
        true => &under.test,
        false => &over.test,
    };
    match test.first().map(String::as_str) {
        None | Some("NONE") => return Ok(None),
        Some("CMD") if test.len() > 1 => {}
        Some("CMD-SHELL") if test.len() == 2 => {}
        Some("CMD" | "CMD-SHELL") => {
            return Err(Error::invalid(
                "healthcheck test needs a command: use [\"CMD\", program, …] or [\"CMD-SHELL\", line]",
            ));
        }
        Some(other) => {
            return Err(Error::invalid(format!(
                "healthcheck test begins with `{other}`: use NONE, CMD or CMD-SHELL"
            )));
        }
    }
    Ok(Some(Healthcheck {
        test: test.clone(),
        interval: over.interval.or(under.interval),
        timeout: over.timeout.or(under.timeout),
        start_period: over.start_period.or(under.start_period),
        start_interval: over.start_interval.or(under.start_interval),
        retries: over.retries.or(under.retries),
    }))
}

fn stop_signal(spec: &ContainerSpec, image: &ImageConfig) -> Result<String> {
    let given = spec
        .stop_signal
        .as_ref()
        .or(image.stop_signal.as_ref())
        .filter(|signal| !signal.is_empty());
    let Some(given) = given else {
        return Ok("SIGTERM".into());
    };
    let number = orc_runtime::signal::parse(given)?;
    Ok(orc_runtime::signal::name(number).unwrap_or_else(|| number.to_string()))
}

/// The host name: what was asked for, else the short id. It ends up in generated files and in DNS
/// names, so only what a host name may contain is taken.
fn hostname(id: &Id, spec: &ContainerSpec) -> Result<String> {
    let Some(name) = spec.hostname.as_ref().filter(|name| !name.is_empty()) else {
        return Ok(id.short().into());
    };
    let valid = name.len() <= 63
        && !name.starts_with(['-', '.'])
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    match valid {
        true => Ok(name.clone()),
        false => Err(Error::invalid(format!(
            "`{}` is not a valid host name: use letters, digits, `-`, `_` and `.`, at most 63",
            name.escape_default()
        ))),
    }
}

/// The spec's ports and those of the image that are ports.
fn exposed_ports(spec: &ContainerSpec, image: &ImageConfig) -> BTreeSet<Port> {
    image
        .exposed_ports
        .iter()
        .filter_map(|port| port.parse().ok())
        .chain(spec.exposed_ports.iter().copied())
        .collect()
}

fn volumes(spec: &ContainerSpec, image: &ImageConfig) -> Result<BTreeSet<String>> {
    spec.anonymous_volumes
        .iter()
        .chain(&image.volumes)
        .map(|target| mount_target(target))
        .collect()
}

/// Checks where something is mounted and brings it to one spelling: absolute, no empty or `.` part,
/// no trailing slash. `..` is refused: it is never meant, and two spellings of one place would hide
/// each other.
pub(crate) fn mount_target(target: &str) -> Result<String> {
    let parts: Vec<&str> = target
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    let problem = match target {
        _ if !target.starts_with('/') => "it must be absolute",
        _ if parts.is_empty() => "nothing can be mounted over the root",
        _ if parts.contains(&"..") => "it must not contain `..`",
        _ if target.contains('\0') || target.len() > 4096 => "it is not a path",
        _ => return Ok(format!("/{}", parts.join("/"))),
    };
    Err(Error::invalid(format!(
        "invalid mount target `{}`: {problem}",
        target.escape_default()
    )))
}

fn text(what: &str, text: String) -> Result<String> {
    match text.contains('\0') {
        true => Err(Error::invalid(format!("{what} contains a NUL byte"))),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orc_base::Kind;

    use super::*;

    fn strings(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).into()).collect()
    }

    fn image() -> ImageConfig {
        ImageConfig {
            env: strings(&["PATH=/bin", "A=1"]),
            entrypoint: Some(strings(&["/entry"])),
            command: Some(strings(&["serve"])),
            user: "www".into(),
            working_dir: "/srv".into(),
            exposed_ports: strings(&["80/tcp", "junk"]),
            volumes: strings(&["/data/"]),
            labels: BTreeMap::from([
                ("a".into(), "image".into()),
                ("b".into(), "image".into()),
                ("com.docker.compose.project".into(), "image".into()),
                ("com.docker.compose.service".into(), "image".into()),
            ]),
            stop_signal: Some("QUIT".into()),
            healthcheck: Some(Healthcheck {
                test: strings(&["CMD", "probe"]),
                interval: Some(Duration::from_secs(5)),
                ..Healthcheck::default()
            }),
        }
    }

    fn put(spec: &ContainerSpec) -> Effective {
        effective(&Id::random(), spec, &image()).unwrap()
    }

    #[test]
    fn the_image_is_the_default() {
        let all = put(&ContainerSpec::default());
        assert_eq!(all.args, ["/entry", "serve"]);
        assert_eq!(all.user, "www");
        assert_eq!(all.working_dir, "/srv");
        assert_eq!(all.stop_signal, "SIGQUIT");
        assert_eq!(all.hostname.len(), 12);
        assert_eq!(all.exposed_ports.len(), 1);
        assert!(all.volumes.contains("/data"));
        assert_eq!(
            all.healthcheck.unwrap().interval,
            Some(Duration::from_secs(5))
        );
    }

    #[test]
    fn an_images_labels_make_no_member_of_a_project() {
        let own = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect()
        };
        let labels = put(&ContainerSpec::default()).labels;
        assert_eq!(labels, own(&[("a", "image"), ("b", "image")]));
        let spec = ContainerSpec {
            labels: own(&[("b", "spec"), ("com.docker.compose.project", "spec")]),
            ..ContainerSpec::default()
        };
        assert_eq!(
            put(&spec).labels,
            own(&[
                ("a", "image"),
                ("b", "spec"),
                ("com.docker.compose.project", "spec")
            ])
        );
    }

    #[test]
    fn an_entry_point_drops_the_images_command() {
        let with = |entrypoint: Option<&[&str]>, command: Option<&[&str]>| ContainerSpec {
            entrypoint: entrypoint.map(strings),
            command: command.map(strings),
            ..ContainerSpec::default()
        };
        assert_eq!(put(&with(None, Some(&["x"]))).args, ["/entry", "x"]);
        assert_eq!(put(&with(Some(&["e"]), None)).args, ["e"]);
        assert_eq!(put(&with(Some(&[]), Some(&["x"]))).args, ["x"]);
        assert_eq!(put(&with(Some(&[""]), Some(&["x"]))).args, ["x"]);
        let nothing = effective(&Id::random(), &with(Some(&[]), None), &image()).unwrap_err();
        assert_eq!(nothing.kind(), Kind::Invalid);
        assert!(nothing.to_string().contains("no command specified"));
    }

    #[test]
    fn environment_is_replaced_in_place_and_removed() {
        let merged = merge_env(
            &strings(&["PATH=/bin", "A=1", "B=2"]),
            &strings(&["B", "A=3", "AB=4", "C"]),
        );
        assert_eq!(merged.unwrap(), ["PATH=/bin", "A=3", "AB=4"]);
        assert!(merge_env(&[], &strings(&["=x"])).is_err());
    }

    #[test]
    fn health_checks_merge_field_by_field() {
        let over = |test: &[&str], retries| {
            let check = Healthcheck {
                test: strings(test),
                retries,
                ..Healthcheck::default()
            };
            healthcheck(Some(&check), image().healthcheck.as_ref())
        };
        let inherited = over(&[], Some(7)).unwrap().unwrap();
        assert_eq!(
            (inherited.test.len(), inherited.retries, inherited.interval),
            (2, Some(7), Some(Duration::from_secs(5)))
        );
        assert!(over(&["NONE"], None).unwrap().is_none());
        for bad in [&["CMD"][..], &["CMD-SHELL"], &["curl", "x"]] {
            assert!(over(bad, None).is_err(), "{bad:?}");
        }
        assert!(healthcheck(None, None).unwrap().is_none());
    }

    #[test]
    fn refuses_what_could_become_something_else() {
        for bad in ["a\nb", "a b", "-x", &"x".repeat(64)] {
            let spec = ContainerSpec {
                hostname: Some(bad.into()),
                ..ContainerSpec::default()
            };
            assert!(effective(&Id::random(), &spec, &image()).is_err(), "{bad}");
        }
        let spec = ContainerSpec {
            working_dir: Some("relative".into()),
            ..ContainerSpec::default()
        };
        assert!(effective(&Id::random(), &spec, &image()).is_err());
    }

    #[test]
    fn mount_targets_have_one_spelling() {
        assert_eq!(mount_target("/a//b/./c/").unwrap(), "/a/b/c");
        for bad in ["", "a", "/", "/.", "/../etc", "/a/..", "/a\0"] {
            assert!(mount_target(bad).is_err(), "{bad:?}");
        }
    }
}
