//! `--network` in its short and long form, `--add-host`, and the addresses beside them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use orc_base::{Error, Result};
use orc_host::container::NetworkMode;
use orc_host::network::{EndpointSpec, Link};

/// All `--network`s together: a mode of its own, or networks to join. `default` is `bridge`.
pub(crate) fn networks(texts: &[String]) -> Result<(NetworkMode, Vec<EndpointSpec>)> {
    if let [text] = texts {
        match text.as_str() {
            "none" => return Ok((NetworkMode::None, Vec::new())),
            "host" => return Ok((NetworkMode::Host, Vec::new())),
            _ => {}
        }
        if let Some(container) = text.strip_prefix("container:") {
            return match container.is_empty() {
                true => Err(Error::invalid(
                    "`--network container:` needs the name of a container",
                )),
                false => Ok((NetworkMode::Container(container.to_owned()), Vec::new())),
            };
        }
    }
    if let Some(alone) = texts
        .iter()
        .find(|text| matches!(text.as_str(), "none" | "host") || text.starts_with("container:"))
    {
        return Err(Error::invalid(format!(
            "`--network {alone}` cannot be joined with other networks"
        )));
    }
    let endpoints = texts
        .iter()
        .map(|text| endpoint(text))
        .collect::<Result<_>>()?;
    Ok((NetworkMode::Networks, endpoints))
}

/// `NAME`, or `name=NAME,alias=A,ip=10.0.0.2,mac-address=…,gw-priority=1`.
fn endpoint(text: &str) -> Result<EndpointSpec> {
    let fail = |why: String| Error::invalid(format!("`--network {text}` is not understood: {why}"));
    let mut endpoint = EndpointSpec::default();
    if !text.contains('=') {
        endpoint.network = named(text);
    } else {
        for field in text.split(',') {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| fail(format!("`{field}` has no value")))?;
            match key {
                "name" => endpoint.network = named(value),
                "alias" => endpoint.aliases.push(value.to_owned()),
                "ip" => endpoint.ipv4 = Some(ipv4(value)?),
                "ip6" => endpoint.ipv6 = Some(ipv6(value)?),
                "link-local-ip" => endpoint.link_local.push(address(value)?),
                "mac-address" => endpoint.mac = Some(value.to_owned()),
                "gw-priority" => {
                    endpoint.gateway_priority = value
                        .parse()
                        .map_err(|_| fail(format!("`{value}` is not a number")))?;
                }
                _ => {
                    return Err(fail(format!(
                        "there is no field `{key}`, or orc does not support it yet"
                    )));
                }
            }
        }
    }
    match endpoint.network.is_empty() {
        true => Err(fail("it names no network".into())),
        false => Ok(endpoint),
    }
}

fn named(name: &str) -> String {
    match name {
        "default" => "bridge".to_owned(),
        name => name.to_owned(),
    }
}

/// `--ip`.
pub(crate) fn ipv4(text: &str) -> Result<Ipv4Addr> {
    text.parse()
        .map_err(|_| Error::invalid(format!("`{text}` is not an address such as 172.20.0.10")))
}

/// `--ip6`.
pub(crate) fn ipv6(text: &str) -> Result<Ipv6Addr> {
    text.parse()
        .map_err(|_| Error::invalid(format!("`{text}` is not an address such as fd00:20::10")))
}

/// `--link-local-ip`.
pub(crate) fn address(text: &str) -> Result<IpAddr> {
    text.parse()
        .map_err(|_| Error::invalid(format!("`{text}` is not an address such as 169.254.1.1")))
}

/// `--link CONTAINER:NAME`; without a name, its own.
pub(crate) fn link(text: &str) -> Link {
    let (peer, alias) = text.split_once(':').unwrap_or((text, text));
    Link {
        peer: peer.into(),
        alias: alias.into(),
    }
}

/// `--add-host NAME:ADDRESS`; `=` may be the separator, and an address may be in brackets.
pub(crate) fn add_host(text: &str) -> Result<(String, String)> {
    let fail = || {
        Error::invalid(format!(
            "`--add-host {text}`: use NAME:ADDRESS; `host-gateway` is this machine"
        ))
    };
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(fail)?;
    let address = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(address);
    let known = address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok();
    match known && !name.is_empty() && !name.contains(char::is_whitespace) {
        true => Ok((name.to_owned(), address.to_owned())),
        false => Err(fail()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn modes_and_networks() {
        assert_eq!(networks(&texts(&["host"])).unwrap().0, NetworkMode::Host);
        assert_eq!(
            networks(&texts(&["container:a"])).unwrap().0,
            NetworkMode::Container("a".into())
        );
        let (mode, endpoints) = networks(&texts(&[
            "front",
            "name=back,alias=db,alias=sql,ip=10.0.0.9,gw-priority=-1",
        ]))
        .unwrap();
        assert_eq!(mode, NetworkMode::Networks);
        assert_eq!(endpoints[0].network, "front");
        assert_eq!(endpoints[1].aliases, ["db", "sql"]);
        assert_eq!(endpoints[1].ipv4.unwrap().to_string(), "10.0.0.9");
        assert_eq!(
            networks(&texts(&["default"])).unwrap().1[0].network,
            "bridge"
        );
        for bad in [
            &["container:"][..],
            &["a", "host"],
            &["alias=x"],
            &["name=a,what=b"],
            &["name=a,ip=x"],
            &[""],
        ] {
            assert!(networks(&texts(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(
            add_host("a:10.0.0.1").unwrap(),
            ("a".into(), "10.0.0.1".into())
        );
        assert_eq!(add_host("a=[::1]").unwrap().1, "::1");
        assert_eq!(add_host("a:::1").unwrap().1, "::1");
        assert_eq!(add_host("a:host-gateway").unwrap().1, "host-gateway");
        for bad in ["", "a", "a:", ":1.2.3.4", "a:nope", "a b:1.2.3.4"] {
            assert!(add_host(bad).is_err(), "{bad}");
        }
    }
}
