//! Strings inside values that have a notation of their own: restart policies, exposed ports, lines
//! of `tmpfs`, addresses. `values.rs` checks them where they stand, `lower.rs` uses them.

use std::net::Ipv4Addr;
use std::time::Duration;

use orc_base::{Error, Result, units};
use orc_host::container::{Mount, RestartPolicy};
use orc_host::network::{Port, Protocol};

use crate::short::ports::range;

/// How many ports one service may expose.
const MAX_EXPOSED: usize = 65_536;

/// `no`, `always`, `unless-stopped`, `on-failure` and `on-failure:3`.
pub(crate) fn restart(text: &str) -> Result<RestartPolicy> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    match (name, count) {
        ("no" | "", None) => Ok(RestartPolicy::No),
        ("always", None) => Ok(RestartPolicy::Always),
        ("unless-stopped", None) => Ok(RestartPolicy::UnlessStopped),
        ("on-failure", None) => Ok(RestartPolicy::OnFailure { max_retries: None }),
        ("on-failure", Some(count)) => match count.parse() {
            Ok(count) => Ok(RestartPolicy::OnFailure {
                max_retries: Some(count),
            }),
            Err(_) => Err(Error::invalid(format!(
                "`{count}` is not a number of restarts"
            ))),
        },
        _ => Err(Error::invalid(format!(
            "`{text}` is not a restart policy: use no, always, on-failure[:n] or unless-stopped"
        ))),
    }
}

/// When `pull_policy` has an image fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullWhen {
    /// Each time.
    Always,
    /// When it is not there.
    Missing,
    /// Not at all.
    Never,
    /// It is built each time.
    Build,
    /// When it is not there, or was last fetched longer ago than this.
    Older(Duration),
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// `always`, `missing`, `never`, `build`, `daily`, `weekly`, `every_1d12h`, and `refresh` with what
/// `pull_refresh_after` says.
pub(crate) fn pull_policy(text: &str, after: Option<&str>) -> Result<PullWhen> {
    Ok(match text {
        "always" => PullWhen::Always,
        "" | "missing" | "if_not_present" => PullWhen::Missing,
        "never" => PullWhen::Never,
        "build" => PullWhen::Build,
        "daily" => PullWhen::Older(DAY),
        "weekly" => PullWhen::Older(7 * DAY),
        "refresh" => PullWhen::Older(after.map(age).transpose()?.unwrap_or_default()),
        _ => match text.strip_prefix("every_") {
            Some(every) => PullWhen::Older(age(every)?),
            None => {
                return Err(Error::invalid(format!(
                    "`{text}` is not a policy: use always, missing, never, build, daily, weekly or every_ and a time such as every_12h"
                )));
            }
        },
    })
}

/// `2w`, `1d12h`, `90m`, `30s`.
fn age(text: &str) -> Result<Duration> {
    let fail = || {
        Error::invalid(format!(
            "`{text}` is not a time such as 12h or 1d12h: use numbers with w, d, h, m or s"
        ))
    };
    let (mut total, mut digits) = (0u64, String::new());
    for letter in text.chars() {
        let seconds: u64 = match letter {
            '0'..='9' => {
                digits.push(letter);
                continue;
            }
            'w' => 7 * 24 * 3600,
            'd' => 24 * 3600,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(fail()),
        };
        let count: u64 = std::mem::take(&mut digits).parse().map_err(|_| fail())?;
        let more = count.checked_mul(seconds).ok_or_else(fail)?;
        total = total.checked_add(more).ok_or_else(fail)?;
    }
    match digits.is_empty() && !text.is_empty() {
        true => Ok(Duration::from_secs(total)),
        false => Err(fail()),
    }
}

/// `80`, `80/udp` or `80-82`.
pub(crate) fn exposed(text: &str) -> Result<Vec<Port>> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol: Protocol = protocol.parse()?;
    let (first, last) = range(ports)?;
    debug_assert!(usize::from(last - first) < MAX_EXPOSED);
    Ok((first..=last)
        .map(|number| Port { number, protocol })
        .collect())
}

/// `/run`, or `/run:size=64m,mode=1770,noexec`.
pub(crate) fn tmpfs(line: &str) -> Result<Mount> {
    let (target, options) = line.split_once(':').unwrap_or((line, ""));
    if !target.starts_with('/') {
        return Err(Error::invalid(format!(
            "`{target}` is not an absolute path"
        )));
    }
    let (mut size_bytes, mut mode, mut others) = (None, None, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => size_bytes = Some(units::parse_bytes(size)?),
            Some(("mode", text)) => {
                let octal = u32::from_str_radix(text, 8);
                mode = Some(octal.map_err(|_| {
                    Error::invalid(format!("`{text}` is not octal permissions such as 1770"))
                })?);
            }
            _ => others.push(option.to_owned()),
        }
    }
    Ok(Mount::Tmpfs {
        target: target.to_owned(),
        size_bytes,
        mode,
        options: others,
    })
}

/// `172.20.0.5`.
pub(crate) fn ipv4(text: &str) -> Result<Ipv4Addr> {
    text.parse()
        .map_err(|_| Error::invalid(format!("`{text}` is not an IPv4 address")))
}

/// `fd00::5`.
pub(crate) fn ipv6(text: &str) -> Result<std::net::Ipv6Addr> {
    text.parse()
        .map_err(|_| Error::invalid(format!("`{text}` is not an IPv6 address")))
}

/// An address of either family.
pub(crate) fn address(text: &str) -> Result<std::net::IpAddr> {
    text.parse()
        .map_err(|_| Error::invalid(format!("`{text}` is not an address")))
}

/// `172.20.0.0/16`.
pub(crate) fn subnet(text: &str) -> Result<()> {
    let invalid = || Error::invalid(format!("`{text}` is not a subnet such as 172.20.0.0/16"));
    let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
    let address: std::net::IpAddr = address.parse().map_err(|_| invalid())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    match prefix.parse::<u8>() {
        Ok(prefix) if prefix <= most => Ok(()),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies() {
        assert_eq!(restart("always").unwrap(), RestartPolicy::Always);
        assert_eq!(
            restart("on-failure:3").unwrap(),
            RestartPolicy::OnFailure {
                max_retries: Some(3)
            }
        );
        for bad in ["sometimes", "on-failure:x", "always:3", "on-failure:-1"] {
            assert!(restart(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn exposed_ports() {
        let shown = |text: &str| -> Vec<String> {
            exposed(text).unwrap().iter().map(Port::to_string).collect()
        };
        assert_eq!(shown("80"), ["80/tcp"]);
        assert_eq!(shown("80-81/udp"), ["80/udp", "81/udp"]);
        for bad in ["", "0", "81-80", "80/icmp"] {
            assert!(exposed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tmpfs_lines() {
        let Mount::Tmpfs {
            target,
            size_bytes,
            mode,
            options,
        } = tmpfs("/run:size=1m,mode=1770,noexec").unwrap()
        else {
            panic!("a tmpfs");
        };
        assert_eq!(
            (target.as_str(), size_bytes, mode),
            ("/run", Some(1 << 20), Some(0o1770))
        );
        assert_eq!(options, ["noexec"]);
        for bad in ["run", "/run:size=x", "/run:mode=9"] {
            assert!(tmpfs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets() {
        assert!(subnet("172.20.0.0/16").is_ok());
        for bad in ["172.20.0.0", "172.20.0.0/33", "x/8"] {
            assert!(subnet(bad).is_err(), "{bad}");
        }
    }
}
