//! `-p [IP:][HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]` and `--expose`.

use std::net::IpAddr;

use orc_base::{Error, Result};
use orc_host::network::{Port, PortBinding, Protocol};

/// The bindings that one `-p` asks for: two ranges of one length are paired, and one port of the
/// container takes a free one of a range.
pub(crate) fn publish(text: &str) -> Result<Vec<PortBinding>> {
    let fail = |why: &str| Error::invalid(format!("`-p {text}` is not understood: {why}"));
    let (rest, protocol) = protocol(text)?;
    let (rest, container) = rest
        .rsplit_once(':')
        .map_or(("", rest), |(rest, container)| (rest, container));
    let (host_ip, host) = address(rest).map_err(|why| fail(&why))?;
    let (first, last) = range(container)
        .ok_or_else(|| fail("the container's port must be 1 to 65535 or a range of them"))?;
    let host = match host {
        "" => None,
        host => Some(
            range(host)
                .ok_or_else(|| fail("the machine's port must be 1 to 65535 or a range of them"))?,
        ),
    };
    let binding = |number: u16, host_ports| PortBinding {
        port: Port { number, protocol },
        host_ip,
        host_ports,
    };
    match host {
        None => Ok((first..=last).map(|number| binding(number, None)).collect()),
        Some(host) if first == last => Ok(vec![binding(first, Some(host))]),
        Some((low, high)) if high - low == last - first => Ok((first..=last)
            .zip(low..=high)
            .map(|(number, port)| binding(number, Some((port, port))))
            .collect()),
        Some(_) => Err(fail("the two ranges must have the same length")),
    }
}

/// The ports that one `--expose` names.
pub(crate) fn expose(text: &str) -> Result<Vec<Port>> {
    let (numbers, protocol) = protocol(text)?;
    let (first, last) = range(numbers).ok_or_else(|| {
        Error::invalid(format!(
            "`--expose {text}`: use a port from 1 to 65535 or a range of them"
        ))
    })?;
    Ok((first..=last)
        .map(|number| Port { number, protocol })
        .collect())
}

fn protocol(text: &str) -> Result<(&str, Protocol)> {
    match text.rsplit_once('/') {
        Some((rest, protocol)) => Ok((rest, protocol.parse()?)),
        None => Ok((text, Protocol::Tcp)),
    }
}

/// Splits `IP:HOST`, `[IP6]:HOST`, `IP:` and `HOST`.
fn address(text: &str) -> std::result::Result<(Option<IpAddr>, &str), String> {
    let (address, host) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, ""),
            Some((address, host)) => (
                address,
                host.strip_prefix(':')
                    .ok_or("`]` must be followed by `:`")?,
            ),
            None => return Err("`[` has no `]`".into()),
        },
        None => match text.rsplit_once(':') {
            Some((address, host)) => (address, host),
            None => match text.contains('.') {
                true => (text, ""),
                false => return Ok((None, text)),
            },
        },
    };
    if address.is_empty() {
        return Ok((None, host));
    }
    match address.parse() {
        Ok(address) => Ok((Some(address), host)),
        Err(_) => Err(format!("`{address}` is not an address")),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number > 0);
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let shown = |binding: PortBinding| {
            let ip = binding
                .host_ip
                .map(|ip| format!("{ip} "))
                .unwrap_or_default();
            let host = match binding.host_ports {
                None => "any".to_owned(),
                Some((low, high)) if low == high => low.to_string(),
                Some((low, high)) => format!("{low}-{high}"),
            };
            format!("{ip}{host}->{}", binding.port)
        };
        match publish(text) {
            Ok(bindings) => bindings
                .into_iter()
                .map(shown)
                .collect::<Vec<_>>()
                .join(", "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_docker_takes() {
        for (text, expected) in [
            ("80", "any->80/tcp"),
            ("8080:80", "8080->80/tcp"),
            ("53:53/udp", "53->53/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080->80/tcp"),
            ("127.0.0.1::80", "127.0.0.1 any->80/tcp"),
            ("127.0.0.1:80", "127.0.0.1 any->80/tcp"),
            ("[::1]:8080:80", "::1 8080->80/tcp"),
            ("8000-8010:80", "8000-8010->80/tcp"),
            ("8000-8001:80-81", "8000->80/tcp, 8001->81/tcp"),
            ("80-81", "any->80/tcp, any->81/tcp"),
            (":80", "any->80/tcp"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for bad in [
            "",
            "0",
            "65536",
            "x",
            "80:",
            "8000-8002:80-81",
            "1.2.3:80:80",
            "80/icmp",
            "81-80",
            "[::1:80:80",
            "1:2:3:4",
        ] {
            assert!(publish(bad).is_err(), "{bad}: {}", shown(bad));
        }
        assert!(publish("80/sctp").is_err());
        assert_eq!(expose("80-82").unwrap().len(), 3);
        assert!(expose("x").is_err());
    }
}
