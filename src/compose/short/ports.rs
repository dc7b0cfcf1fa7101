//! Published ports: `[address:]published:target[/protocol]`, with ranges on either side.

use std::net::IpAddr;

use orc_base::{Error, Result};

use crate::node::{Map, Node, Trail, Value};
use crate::spec::{Paths, text_of};

/// How many ports one item may publish.
const MAX_PORTS: usize = 12_000;

/// An item of the list: a number, a string for one port or several, or the long form.
pub(crate) fn spread(node: Node, trail: &Trail<'_>) -> Result<Vec<Node>> {
    let text = match &node.value {
        Value::Map(_) => return Ok(vec![node]),
        Value::Int(_) | Value::Text(_) => node.scalar().unwrap_or_default(),
        _ => {
            return Err(trail.error(
                &node.span,
                match &node.value {
                    Value::Float(_) => "must be a port: put it in quotes".to_owned(),
                    _ => format!("must be a number, string or mapping, not {}", node.kind()),
                },
            ));
        }
    };
    let ports = parse(&text).map_err(|error| trail.error(&node.span, error))?;
    Ok(ports
        .into_iter()
        .map(|port| Node {
            value: port.into_map(&node).into(),
            span: node.span.clone(),
            mark: node.mark,
        })
        .collect())
}

/// Checks a long form.
pub(crate) fn finish(node: &mut Node, _: &Paths<'_>, trail: &Trail<'_>) -> Result<()> {
    let Some(map) = node.map_mut() else {
        return Ok(());
    };
    match map.get("target").map(|target| &target.value) {
        Some(Value::Int(1..=65_535)) | Some(Value::Text(_)) => {}
        Some(_) => return Err(trail.error(&node.span, "target must be from 1 to 65535")),
        None => return Err(trail.error(&node.span, "missing property 'target'")),
    }
    if let Some(published) = map.get("published").filter(|node| node.text().is_some()) {
        let text = published.text().unwrap_or_default();
        if !text.is_empty() && !text.contains('$') {
            range(text).map_err(|error| trail.key("published").error(&published.span, error))?;
        }
    }
    if let Some(ip) = map.get("host_ip").filter(|node| node.text().is_some()) {
        let text = ip.text().unwrap_or_default();
        if !text.is_empty() && !text.contains('$') {
            address(text).map_err(|error| trail.key("host_ip").error(&ip.span, error))?;
        }
    }
    let span = node.span.clone();
    if let Some(map) = node.map_mut() {
        map.set_default("mode", || Node::new("ingress", &span));
        map.set_default("protocol", || Node::new("tcp", &span));
    }
    Ok(())
}

/// Two items with the same identity are the same port. A short form that still has its variables is
/// itself.
pub(crate) fn identity(node: &Node) -> String {
    if let Some(text) = node.text() {
        return text.to_owned();
    }
    format!(
        "{}:{}:{}/{}",
        text_of(node, "host_ip"),
        text_of(node, "published"),
        text_of(node, "target"),
        text_of(node, "protocol"),
    )
}

#[derive(Debug, PartialEq, Eq)]
struct Short {
    host_ip: Option<String>,
    published: Option<String>,
    target: u16,
    protocol: String,
}

impl Short {
    fn into_map(self, place: &Node) -> Map {
        let mut map = Map::default();
        let text = |text: &str| Node::new(text, &place.span);
        map.set("mode", text("ingress"));
        map.set("target", Node::new(i128::from(self.target), &place.span));
        map.set("protocol", text(&self.protocol));
        if let Some(published) = &self.published {
            map.set("published", text(published));
        }
        if let Some(host_ip) = &self.host_ip {
            map.set("host_ip", text(host_ip));
        }
        map
    }
}

fn parse(text: &str) -> Result<Vec<Short>> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Error::invalid(format!(
            "`{text}`: invalid proto: {protocol}"
        )));
    }
    let (left, target) = match ports.rsplit_once(':') {
        Some((left, target)) => (Some(left), target),
        None => (None, ports),
    };
    if target.is_empty() {
        return Err(Error::invalid(format!("`{text}`: no port specified")));
    }
    let (host_ip, published) = match left {
        None => (None, None),
        Some(left) => match left.rsplit_once(':') {
            Some((ip, published)) => (Some(address(ip)?), non_empty(published)),
            None => (None, non_empty(left)),
        },
    };
    let (first, last) = range(target)?;
    let count = usize::from(last - first) + 1;
    if count > MAX_PORTS {
        return Err(Error::exhausted(format!(
            "`{text}`: more than {MAX_PORTS} ports: `network_mode: host` needs none published"
        )));
    }
    let published = match published {
        None => vec![None; count],
        Some(published) => {
            let (low, high) = range(published)?;
            match usize::from(high - low) + 1 {
                same if same == count => (low..=high).map(|port| Some(port.to_string())).collect(),
                _ if count == 1 => vec![Some(published.to_owned())],
                _ => {
                    return Err(Error::invalid(format!(
                        "`{text}`: invalid ranges specified for container and host ports"
                    )));
                }
            }
        }
    };
    Ok((first..=last)
        .zip(published)
        .map(|(target, published)| Short {
            host_ip: host_ip.clone(),
            published,
            target,
            protocol: protocol.clone(),
        })
        .collect())
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// An address, brackets of IPv6 taken off.
fn address(text: &str) -> Result<String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(_) => Ok(bare.to_owned()),
        Err(_) => Err(Error::invalid(format!("invalid ip address: {bare}"))),
    }
}

/// One port, or the first and the last of several.
pub(crate) fn range(text: &str) -> Result<(u16, u16)> {
    let port = |part: &str| match part.trim().parse::<u16>() {
        Ok(0) | Err(_) => Err(Error::invalid(format!(
            "invalid containerPort or hostPort: {text}: use a port from 1 to 65535 or a range"
        ))),
        Ok(port) => Ok(port),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first)?, port(last)?) {
        (first, last) if first <= last => Ok((first, last)),
        _ => Err(Error::invalid(format!("invalid port range: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<String> {
        parse(text)
            .unwrap()
            .into_iter()
            .map(|port| {
                format!(
                    "{}|{}|{}/{}",
                    port.host_ip.unwrap_or_default(),
                    port.published.unwrap_or_default(),
                    port.target,
                    port.protocol
                )
            })
            .collect()
    }

    #[test]
    fn every_form() {
        for (text, ports) in [
            ("3000", vec!["||3000/tcp"]),
            ("8000:80", vec!["|8000|80/tcp"]),
            ("53:53/UDP", vec!["|53|53/udp"]),
            ("127.0.0.1:8001:80", vec!["127.0.0.1|8001|80/tcp"]),
            ("127.0.0.1::80", vec!["127.0.0.1||80/tcp"]),
            ("[::1]:80:81", vec!["::1|80|81/tcp"]),
            ("5000-5010:80", vec!["|5000-5010|80/tcp"]),
            ("1-2:3-4", vec!["|1|3/tcp", "|2|4/tcp"]),
            ("7-8", vec!["||7/tcp", "||8/tcp"]),
        ] {
            assert_eq!(check(text), ports, "{text}");
        }
    }

    #[test]
    fn refusals() {
        for bad in [
            "", ":", "0", "65536", "a:80", "80:a", "1-2:3-5", "9-1", "x:1:2", "80/icmp", "1:2:3:4",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
