//! Which URL may be asked on behalf of a registry, and which may see its secrets.
//!
//! Pure. A registry names other URLs all the time: where a blob is stored, where an upload goes on,
//! where tokens come from. None of them is trusted further than these rules: never from HTTPS to plain
//! HTTP, never into this machine or its link when the registry is not there itself, and secrets only
//! for the origin they are meant for (CVE-2020-15157, CVE-2019-10214, GO-2026-5884).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use orc_base::{Error, Result};

use crate::reference::DEFAULT_REGISTRY;
use crate::registry::config::{HostConfig, Mirror, RegistryConfig};

/// How many redirects one request may take.
pub(crate) const MAX_HOPS: usize = 5;
/// Where Docker Hub's registry really is.
const HUB_HOST: &str = "registry-1.docker.io";
/// Issuers of tokens that are known to belong to a registry on another host.
const KNOWN_ISSUERS: [(&str, &str); 2] = [
    (DEFAULT_REGISTRY, "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
];

/// A registry's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    /// Scheme, host and port.
    pub(crate) url: Url,
    /// Whether its certificate is checked.
    pub(crate) verify: bool,
}

/// Whose URL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The registry's: credentials may go there.
    Home,
    /// Somebody else's: nothing secret, and names must not lead into this machine.
    Foreign,
}

/// The addresses a registry may have, in the order to try. More than one only where plain HTTP is
/// allowed at all.
pub(crate) fn homes(registry: &str, config: &RegistryConfig) -> Result<Vec<Home>> {
    let host = match registry {
        DEFAULT_REGISTRY => HUB_HOST,
        other => other,
    };
    let home = |scheme: &str, verify: bool| -> Result<Home> {
        let url = Url::parse(&format!("{scheme}://{host}/")).map_err(|error| {
            Error::invalid(format!("`{registry}` is not a registry's address: {error}"))
        })?;
        Ok(Home { url, verify })
    };
    let secure = home("https", true)?;
    if own_tls(&secure.url, config).is_some() {
        return Ok(vec![secure]);
    }
    let unchecked = Home {
        verify: false,
        ..secure.clone()
    };
    let listed = is_insecure(&secure.url, config);
    match (is_loopback(&secure.url), listed) {
        (true, _) => Ok(vec![home("http", false)?, unchecked]),
        (false, true) => Ok(vec![unchecked, home("http", false)?]),
        (false, false) => Ok(vec![secure]),
    }
}

/// The addresses a mirror may have, in the order to try.
pub(crate) fn mirror_homes(mirror: &Mirror, config: &RegistryConfig) -> Result<Vec<Home>> {
    let homes = homes(mirror.host(), config)?;
    let Some(scheme) = mirror.scheme() else {
        return Ok(homes);
    };
    let url = Url::parse(&format!("{scheme}://{}/", mirror.host()))
        .map_err(|error| Error::invalid(format!("`{mirror}` is not a mirror: {error}")))?;
    let verify = scheme == "https" && is_verified(&url, config);
    Ok(vec![Home { url, verify }])
}

/// What is special about the TLS to a host: authorities or a certificate of our own for it.
pub(crate) fn own_tls<'a>(
    url: &Url,
    config: &'a RegistryConfig,
) -> Option<(&'a str, &'a HostConfig)> {
    let mut hosts = config.hosts.iter();
    let (name, host) = hosts.find(|(name, host)| {
        let special = !host.authorities.is_empty() || host.client.is_some();
        special && is_same_host(url, name)
    })?;
    Some((name, host))
}

/// Judges a URL that the registry at `home` sent us to.
pub(crate) fn judge(home: &Home, target: &Url, config: &RegistryConfig) -> Result<Whose> {
    let refuse = |why: &str| {
        Err(Error::invalid(format!(
            "the registry sends on to `{}`, {why}",
            origin(target)
        )))
    };
    if !matches!(target.scheme(), "http" | "https") {
        return refuse("which is not an address on the web");
    }
    if !target.username().is_empty() || target.password().is_some() {
        return refuse("with a login in the address, and orc does not follow that");
    }
    if target.origin() == home.url.origin() {
        return Ok(Whose::Home);
    }
    let same_host = target.host_str() == home.url.host_str();
    let place = place_of(target);
    if place != Place::Network && !same_host && place != place_of(&home.url) {
        return refuse("an address inside this machine or on its link, where the registry is not");
    }
    if target.scheme() == "http" {
        if home.url.scheme() == "https" {
            return refuse("from HTTPS to plain HTTP, and orc does not follow that");
        }
        if !same_host && !is_loopback(target) && !is_insecure(target, config) {
            return refuse("a plain HTTP address that is not listed as insecure");
        }
    }
    Ok(Whose::Foreign)
}

/// Whether the issuer of tokens at `realm` may see the password for `registry`.
pub(crate) fn may_issue(registry: &str, home: &Home, realm: &Url, config: &RegistryConfig) -> bool {
    let known = KNOWN_ISSUERS
        .iter()
        .any(|(of, host)| *of == registry && origin(realm) == format!("https://{host}"));
    let configured = config
        .token_hosts
        .iter()
        .any(|(of, host)| of == registry && is_host(realm, host));
    realm.origin() == home.url.origin() || known || configured
}

/// Whether names in a foreign URL may lead to this address.
pub(crate) fn is_outside(address: IpAddr) -> bool {
    place(address) == Place::Network
}

/// Scheme, host and port, for people; never the path or query, which may hold a signature.
pub(crate) fn origin(url: &Url) -> String {
    let host: String = url.host_str().unwrap_or("").chars().take(255).collect();
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// Whether the URL is on this machine by name or by number.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let by_name = host == "localhost" || host.ends_with(".localhost");
    by_name || literal(url).is_some_and(|address| unmapped(address).is_loopback())
}

/// Whether the certificate at `url` has to be good.
pub(crate) fn is_verified(url: &Url, config: &RegistryConfig) -> bool {
    own_tls(url, config).is_some() || (!is_loopback(url) && !is_insecure(url, config))
}

/// Whether `url` is at `host[:port]`, where no port means that of HTTPS.
fn is_same_host(url: &Url, host: &str) -> bool {
    let host = match host {
        DEFAULT_REGISTRY => HUB_HOST,
        other => other,
    };
    Url::parse(&format!("https://{host}/")).is_ok_and(|own| own.origin() == url.origin())
}

fn is_insecure(url: &Url, config: &RegistryConfig) -> bool {
    config.insecure.iter().any(|entry| is_host(url, entry))
}

/// Whether `url` is on `entry`, a `host` (any port) or `host:port`.
fn is_host(url: &Url, entry: &str) -> bool {
    let Ok(parsed) = Url::parse(&format!("{}://{entry}/", url.scheme())) else {
        return false;
    };
    let same_port = || parsed.port_or_known_default() == url.port_or_known_default();
    parsed.host_str() == url.host_str() && (!has_port(entry) || same_port())
}

/// A URL forgets the port that its scheme implies; what the operator wrote does not.
fn has_port(entry: &str) -> bool {
    entry.rsplit(']').next().unwrap_or(entry).contains(':')
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Machine,
    Link,
    Network,
}

fn place_of(url: &Url) -> Place {
    match literal(url) {
        _ if is_loopback(url) => Place::Machine,
        Some(address) => place(address),
        None => Place::Network,
    }
}

fn place(address: IpAddr) -> Place {
    match unmapped(address) {
        IpAddr::V4(v4) if v4.is_loopback() || v4.octets()[0] == 0 => Place::Machine,
        IpAddr::V4(v4) if v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() => {
            Place::Link
        }
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() => Place::Machine,
        IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_multicast() => Place::Link,
        _ => Place::Network,
    }
}

/// The address in the URL when it is a number.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RegistryConfig {
        RegistryConfig {
            insecure: vec!["lab.example:5000".into(), "10.1.2.3".into()],
            token_hosts: vec![("reg.example".into(), "login.example:8443".into())],
            ..RegistryConfig::default()
        }
    }

    fn home(registry: &str) -> Home {
        homes(registry, &config()).unwrap().remove(0)
    }

    fn tried(registry: &str) -> Vec<String> {
        homes(registry, &config())
            .unwrap()
            .iter()
            .map(|home| format!("{} {}", home.url, home.verify))
            .collect()
    }

    #[test]
    fn plain_http_is_only_tried_where_it_is_allowed() {
        for (registry, expected) in [
            ("docker.io", &["https://registry-1.docker.io/ true"][..]),
            ("reg.example", &["https://reg.example/ true"]),
            ("reg.example:5000", &["https://reg.example:5000/ true"]),
            ("localhost.example", &["https://localhost.example/ true"]),
            ("192.168.0.1:5000", &["https://192.168.0.1:5000/ true"]),
            (
                "localhost:5000",
                &[
                    "http://localhost:5000/ false",
                    "https://localhost:5000/ false",
                ],
            ),
            (
                "127.9.9.9",
                &["http://127.9.9.9/ false", "https://127.9.9.9/ false"],
            ),
            (
                "[::1]:5000",
                &["http://[::1]:5000/ false", "https://[::1]:5000/ false"],
            ),
            (
                "lab.example:5000",
                &[
                    "https://lab.example:5000/ false",
                    "http://lab.example:5000/ false",
                ],
            ),
            ("lab.example", &["https://lab.example/ true"]),
            (
                "10.1.2.3:80",
                &["https://10.1.2.3:80/ false", "http://10.1.2.3/ false"],
            ),
        ] {
            assert_eq!(tried(registry), expected, "{registry}");
        }
    }

    /// Where a registry sends us, and whose that is; none when it is refused.
    #[test]
    fn judges_every_hop() {
        use Whose::{Foreign, Home};
        for (registry, target, verdict) in [
            ("reg.example", "https://reg.example/v2/x", Some(Home)),
            ("reg.example", "https://reg.example:443/v2/x", Some(Home)),
            ("reg.example", "https://reg.example:444/v2/x", Some(Foreign)),
            ("reg.example", "https://cdn.example/x?sig=1", Some(Foreign)),
            ("reg.example", "https://10.0.0.1/x", Some(Foreign)),
            ("reg.example", "http://reg.example/v2/x", None),
            ("reg.example", "http://cdn.example/x", None),
            ("reg.example", "http://lab.example:5000/x", None),
            ("reg.example", "https://localhost/x", None),
            ("reg.example", "https://x.localhost/x", None),
            ("reg.example", "https://127.0.0.1/x", None),
            ("reg.example", "https://127.1/x", None),
            ("reg.example", "https://0x7f000001/x", None),
            ("reg.example", "https://2130706433/x", None),
            ("reg.example", "https://0.0.0.0/x", None),
            ("reg.example", "https://[::1]/x", None),
            ("reg.example", "https://[::]/x", None),
            ("reg.example", "https://[::ffff:127.0.0.1]/x", None),
            ("reg.example", "https://169.254.169.254/latest", None),
            ("reg.example", "https://[fe80::1]/x", None),
            ("reg.example", "https://[::ffff:169.254.169.254]/x", None),
            ("reg.example", "https://user@reg.example/x", None),
            ("reg.example", "https://u:p@cdn.example/x", None),
            ("reg.example", "file:///etc/passwd", None),
            ("reg.example", "unix:/run/orc.sock", None),
            ("reg.example", "ftp://reg.example/x", None),
            ("localhost:5000", "http://localhost:5000/x", Some(Home)),
            ("localhost:5000", "http://localhost:5001/x", Some(Foreign)),
            ("localhost:5000", "http://127.0.0.1:5000/x", Some(Foreign)),
            ("localhost:5000", "https://cdn.example/x", Some(Foreign)),
            ("localhost:5000", "http://cdn.example/x", None),
            ("localhost:5000", "http://lab.example:5000/x", Some(Foreign)),
            ("localhost:5000", "http://169.254.169.254/x", None),
            ("169.254.1.1", "https://169.254.1.1:8443/x", Some(Foreign)),
        ] {
            let target = Url::parse(target).unwrap();
            let found = judge(&home(registry), &target, &config());
            assert_eq!(found.ok(), verdict, "{registry} to {target}");
        }
    }

    #[test]
    fn a_refusal_names_the_place_and_not_the_signature() {
        let target = Url::parse("http://cdn.example:81/x?X-Signature=s3cr3t").unwrap();
        let error = judge(&home("reg.example"), &target, &config()).unwrap_err();
        assert!(error.to_string().contains("`http://cdn.example:81`"));
        assert!(!error.to_string().contains("s3cr3t"));
    }

    #[test]
    fn passwords_go_to_known_issuers_only() {
        for (registry, realm, allowed) in [
            ("reg.example", "https://reg.example/token", true),
            ("reg.example", "https://reg.example:444/token", false),
            ("reg.example", "https://login.example:8443/token", true),
            ("reg.example", "https://login.example/token", false),
            ("reg.example", "https://auth.docker.io/token", false),
            ("docker.io", "https://auth.docker.io/token", true),
            ("docker.io", "https://auth.docker.io:444/token", false),
            ("docker.io", "http://auth.docker.io/token", false),
            (
                "docker.io",
                "https://auth.docker.io.evil.example/token",
                false,
            ),
            ("docker.io", "https://registry-1.docker.io/token", true),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("localhost:5000", "http://localhost:5000/token", true),
            ("localhost:5000", "http://localhost:5001/token", false),
        ] {
            let url = Url::parse(realm).unwrap();
            let found = may_issue(registry, &home(registry), &url, &config());
            assert_eq!(found, allowed, "{registry} {realm}");
        }
    }
}
