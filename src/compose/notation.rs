//! Strings inside values that have a notation of their own: restart policies, exposed ports, lines
//! of `tmpfs`, addresses. `values.rs` checks them where they stand, `lower.rs` uses them.

use std::net::Ipv4Addr;

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
