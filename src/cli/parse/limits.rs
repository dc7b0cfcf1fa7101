//! `--memory`, `--cpus`, `--ulimit`, `--device` and what limits devices, `--restart`, `--security-opt`
//! and namespaces.

use orc_base::{Context, Error, Result, units};
use orc_host::block_io::{DeviceRate, DeviceWeight};
use orc_host::container::{Device, NamespaceMode, RestartPolicy, Ulimit};

/// A flag that takes a size, such as `--memory 64m`.
pub(crate) fn size(flag: &str, text: Option<&str>) -> Result<Option<u64>> {
    text.map(|text| units::parse_bytes(text).context(|| format!("`--{flag}`")))
        .transpose()
}

/// `--cpus 1.5` in billionths; at least one hundredth of a processor.
pub(crate) fn cpus(text: &str) -> Result<u64> {
    let number: f64 = text.parse().unwrap_or(f64::NAN);
    if !(0.01..=100_000.0).contains(&number) {
        return Err(Error::invalid(format!(
            "`--cpus {text}`: use a number of processors such as 0.5 or 2"
        )));
    }
    Ok((number * 1e9).round() as u64)
}

/// `--memory-swap`: a size, or -1 for no limit.
pub(crate) fn swap(text: &str) -> Result<i64> {
    match text {
        "-1" => Ok(-1),
        _ => i64::try_from(size("memory-swap", Some(text))?.unwrap_or_default())
            .map_err(|_| Error::invalid(format!("`--memory-swap {text}` is too large"))),
    }
}

/// `--ulimit NAME=SOFT[:HARD]`.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit> {
    let fail = || {
        Error::invalid(format!(
            "`--ulimit {text}`: use NAME=SOFT[:HARD], such as nofile=1024:2048; -1 is no limit"
        ))
    };
    let (name, limits) = text.split_once('=').ok_or_else(fail)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "unlimited" => Ok(-1),
        _ => text
            .parse::<i64>()
            .ok()
            .filter(|number| *number >= -1)
            .ok_or_else(fail),
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if name.is_empty() || (hard != -1 && (soft == -1 || soft > hard)) {
        return Err(fail());
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// `--device SOURCE[:TARGET][:PERMISSIONS]`.
pub(crate) fn device(text: &str) -> Result<Device> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_permissions = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, permissions] if is_permissions(permissions) => (*source, *source, *permissions),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] if is_permissions(permissions) => {
            (*source, *target, *permissions)
        }
        _ => ("", "", ""),
    };
    if !source.starts_with('/') || !target.starts_with('/') {
        return Err(Error::invalid(format!(
            "`--device {text}`: use SOURCE[:TARGET][:PERMISSIONS], absolute paths and r, w, m"
        )));
    }
    Ok(Device {
        source: source.to_owned(),
        target: target.to_owned(),
        permissions: permissions.to_owned(),
    })
}

/// `--restart`.
pub(crate) fn restart(text: &str) -> Result<RestartPolicy> {
    match text
        .split_once(':')
        .map_or((text, None), |(name, count)| (name, Some(count)))
    {
        ("no" | "", None) => Ok(RestartPolicy::No),
        ("always", None) => Ok(RestartPolicy::Always),
        ("unless-stopped", None) => Ok(RestartPolicy::UnlessStopped),
        ("on-failure", None) => Ok(RestartPolicy::OnFailure { max_retries: None }),
        ("on-failure", Some(count)) if count.parse::<u32>().is_ok() => {
            Ok(RestartPolicy::OnFailure {
                max_retries: count.parse().ok().filter(|count| *count > 0),
            })
        }
        _ => Err(Error::invalid(format!(
            "`--restart {text}`: use no, always, unless-stopped or on-failure[:MAX]"
        ))),
    }
}

/// `--pid`, `--ipc`, `--uts` and `--cgroupns`.
pub(crate) fn namespace(flag: &str, text: &str) -> Result<NamespaceMode> {
    match text {
        "" | "private" | "shareable" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        _ => match text.strip_prefix("container:") {
            Some(name) if !name.is_empty() => Ok(NamespaceMode::Container(name.to_owned())),
            _ => Err(Error::invalid(format!(
                "`--{flag} {text}`: use host, private or container:NAME"
            ))),
        },
    }
}

/// `--blkio-weight-device DEVICE:WEIGHT`.
pub(crate) fn device_weight(text: &str) -> Result<DeviceWeight> {
    match of_device(text).and_then(|(path, weight)| Some((path, weight.parse().ok()?))) {
        Some((path, weight)) => Ok(DeviceWeight {
            path: path.to_owned(),
            weight,
        }),
        None => Err(Error::invalid(format!(
            "`--blkio-weight-device {text}`: use DEVICE:WEIGHT, such as /dev/sda:300"
        ))),
    }
}

/// `--device-read-bps DEVICE:RATE` and its like; `rate` reads what stands behind the colon.
pub(crate) fn device_rate(
    flag: &str,
    text: &str,
    rate: fn(&str) -> Option<u64>,
) -> Result<DeviceRate> {
    match of_device(text).and_then(|(path, text)| Some((path, rate(text)?))) {
        Some((path, rate)) => Ok(DeviceRate {
            path: path.to_owned(),
            rate,
        }),
        None => Err(Error::invalid(format!(
            "`--{flag} {text}`: use DEVICE:RATE, such as /dev/sda:{}",
            if flag.ends_with("iops") { "100" } else { "1m" }
        ))),
    }
}

/// Bytes, with a unit or without.
pub(crate) fn bytes_a_second(text: &str) -> Option<u64> {
    units::parse_bytes(text).ok()
}

/// A plain number.
pub(crate) fn number_a_second(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn of_device(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once(':')
        .filter(|(path, _)| path.starts_with("/dev/"))
}

/// `--memory-swappiness`, without Docker's -1 for the machine's own.
pub(crate) fn swappiness(number: i64) -> Result<u64> {
    u64::try_from(number)
        .ok()
        .filter(|number| *number <= 100)
        .ok_or_else(|| {
            Error::invalid(format!(
                "`--memory-swappiness {number}`: use 0 to 100, or -1 for the machine's own"
            ))
        })
}

/// What all `--security-opt`s ask for together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    /// `no-new-privileges`.
    pub(crate) no_new_privileges: bool,
    /// `seccomp=unconfined`.
    pub(crate) seccomp_unconfined: bool,
    /// What is in the file of `seccomp=FILE`: the JSON of Docker's profiles, in one line.
    pub(crate) seccomp_profile: Option<String>,
}

/// Reads all `--security-opt`s, and with `read` the file of a profile. Those of AppArmor and SELinux
/// are taken when they turn off what orc does not turn on.
pub(crate) fn security(
    options: &[String],
    read: &dyn Fn(&str) -> Result<String>,
) -> Result<Security> {
    let mut security = Security::default();
    for option in options {
        match option.replacen(':', "=", 1).as_str() {
            "no-new-privileges" | "no-new-privileges=true" => security.no_new_privileges = true,
            "no-new-privileges=false" => security.no_new_privileges = false,
            "seccomp=unconfined" => security.seccomp_unconfined = true,
            "seccomp=builtin" => security.seccomp_unconfined = false,
            "apparmor=unconfined" | "label=disable" => {}
            other => match other.strip_prefix("seccomp=") {
                Some(file) if !file.is_empty() => {
                    security.seccomp_profile = Some(profile(file, &read(file)?)?);
                }
                _ => {
                    return Err(Error::unsupported(format!(
                        "`--security-opt {option}` is not supported: use no-new-privileges, seccomp=unconfined or seccomp=FILE"
                    )));
                }
            },
        }
    }
    Ok(security)
}

/// A profile of seccomp without its blanks: what the daemon is sent. It looks at what is in it.
fn profile(file: &str, text: &str) -> Result<String> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) if value.is_object() => Ok(value.to_string()),
        Ok(_) => Err(Error::invalid(format!(
            "{file} is no profile of seccomp: it is not a JSON object"
        ))),
        Err(error) => Err(Error::invalid(format!(
            "{file} is no profile of seccomp: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(cpus("1.5").unwrap(), 1_500_000_000);
        assert_eq!(swap("-1").unwrap(), -1);
        assert_eq!(swap("1g").unwrap(), 1 << 30);
        for bad in ["", "0", "-1", "x", "nan", "inf", "1e99"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
        assert!(swap("-2").is_err());
    }

    #[test]
    fn ulimits() {
        let limit = ulimit("nofile=1024:2048").unwrap();
        assert_eq!(
            (limit.name.as_str(), limit.soft, limit.hard),
            ("nofile", 1024, 2048)
        );
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        for bad in [
            "",
            "nofile",
            "nofile=",
            "nofile=x",
            "nofile=2:1",
            "nofile=-1:5",
            "=1",
            "nofile=-2",
        ] {
            assert!(ulimit(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn devices() {
        let device_of = |text: &str| {
            device(text)
                .map(|device| format!("{} {} {}", device.source, device.target, device.permissions))
        };
        assert_eq!(device_of("/dev/fuse").unwrap(), "/dev/fuse /dev/fuse rwm");
        assert_eq!(device_of("/dev/fuse:r").unwrap(), "/dev/fuse /dev/fuse r");
        assert_eq!(
            device_of("/dev/sda:/dev/x:rw").unwrap(),
            "/dev/sda /dev/x rw"
        );
        for bad in ["", "fuse", "/dev/x:y", "/a:/b:x", "/a:/b:r:w"] {
            assert!(device(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn policies() {
        assert_eq!(
            restart("on-failure:3").unwrap(),
            RestartPolicy::OnFailure {
                max_retries: Some(3)
            }
        );
        assert_eq!(restart("always").unwrap(), RestartPolicy::Always);
        for bad in ["sometimes", "always:3", "on-failure:x", "on-failure:-1"] {
            assert!(restart(bad).is_err(), "{bad}");
        }
        assert_eq!(
            namespace("pid", "container:a").unwrap(),
            NamespaceMode::Container("a".into())
        );
        assert!(namespace("pid", "container:").is_err());
        assert!(
            security(&["no-new-privileges:true".into()], &|_| unreachable!())
                .unwrap()
                .no_new_privileges
        );
        for (text, fine) in [("{}", true), ("[]", false), ("{", false)] {
            let read = |_: &str| Ok(text.to_owned());
            let found = security(&["seccomp:/profile.json".into()], &read);
            assert_eq!(found.is_ok(), fine, "{text}");
        }
    }
}
