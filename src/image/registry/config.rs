//! What the operator decides about registries: whom to trust, and how long to wait.
//!
//! Plain data with defaults that suit the internet. Everything a registry could make endless has its
//! bound in [`Limits`]; tests set small ones instead of sleeping.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use orc_base::{Error, Result};

use crate::reference::Reference;

/// Whom to trust, and how long to wait.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// Registries (`host` or `host:port`) that may speak plain HTTP or show a certificate that nobody
    /// signed. Loopback addresses always may.
    pub insecure: Vec<String>,
    /// Files of certificates (PEM) to trust besides the system's.
    pub certificates: Vec<PathBuf>,
    /// Docker's `config.json`, asked when a call brings no credentials.
    pub credentials_file: Option<PathBuf>,
    /// Pairs of a registry and another `host[:port]` that may see its passwords, as the issuer of its
    /// tokens. The registry itself always may.
    pub token_hosts: Vec<(String, String)>,
    /// What is special about single registries, by `host` or `host:port` as it stands in names.
    pub hosts: BTreeMap<String, HostConfig>,
    /// How long to wait and how often to try.
    pub limits: Limits,
}

/// What is special about one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Where its images are looked for first, in this order.
    pub mirrors: Vec<Mirror>,
    /// Files of authorities (PEM) that may sign for it, besides the system's. With one of its own a
    /// registry always speaks TLS and always has to show a good certificate, on loopback too.
    pub authorities: Vec<PathBuf>,
    /// What it is shown as our certificate.
    pub client: Option<ClientCertificate>,
    /// The credential helper to ask for its account.
    pub helper: Option<PathBuf>,
}

/// A certificate and its key, both files in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where a mirror is: `host[:port]`, which is spoken to like a registry of that name, or
/// `https://host[:port]` or `http://host[:port]`, and then only in this way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    scheme: Option<&'static str>,
    host: String,
}

impl Mirror {
    /// Reads the address of a mirror.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, host) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(host), _) => (Some("https"), host),
            (_, Some(host)) => (Some("http"), host),
            _ => (None, text),
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        let known = check_host(host).is_ok() && Url::parse(&format!("https://{host}/")).is_ok();
        match known {
            true => Ok(Self {
                scheme,
                host: host.to_owned(),
            }),
            false => Err(Error::invalid(format!(
                "`{}` is not a mirror's address: use host[:port], https://host[:port] or http://host[:port]",
                text.escape_debug().take(100).collect::<String>()
            ))),
        }
    }

    /// `https` or `http` when the operator said so.
    pub(crate) fn scheme(&self) -> Option<&'static str> {
        self.scheme
    }

    /// `host[:port]`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Some(scheme) => write!(f, "{scheme}://{}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Refuses what is not the `host[:port]` of a registry.
pub fn check_host(host: &str) -> Result<()> {
    let reference = Reference::parse(&format!("{host}/x"));
    match reference {
        Ok(reference) if reference.registry() == host => Ok(()),
        _ => Err(Error::invalid(format!(
            "`{}` is not a registry: use host or host:port as it stands in names of images, with a dot or a port in it",
            host.escape_debug().take(100).collect::<String>()
        ))),
    }
}

impl RegistryConfig {
    /// What is special about a registry.
    pub(crate) fn host(&self, registry: &str) -> Option<&HostConfig> {
        self.hosts.get(registry)
    }

    /// The mirrors of a registry.
    pub(crate) fn mirrors(&self, registry: &str) -> &[Mirror] {
        self.host(registry).map_or(&[], |host| &host.mirrors)
    }
}

/// How long to wait and how often to try.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For the head of an answer.
    pub answer: Duration,
    /// For the whole of a small document: a manifest, a config, a token.
    pub document: Duration,
    /// Without a single byte of a layer.
    pub stall: Duration,
    /// For the answer after the last byte of an upload: the registry hashes and moves it first.
    pub commit: Duration,
    /// How often one request is tried.
    pub tries: u32,
    /// How often a download that gets further each time is taken up again.
    pub resumes: u32,
    /// The wait before the second try; it doubles with each further one.
    pub backoff: Duration,
    /// The longest wait between tries, and the longest `Retry-After` that is heeded.
    pub longest_wait: Duration,
    /// A layer must bring at least this many bytes …
    pub slow_bytes: u64,
    /// … within this time, or the connection is taken for a dead one.
    pub slow_window: Duration,
    /// How many layers of one image move at once.
    pub parallel: usize,
    /// How large the parts are of an upload that is sent in parts.
    pub chunk_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(30),
            document: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            commit: Duration::from_secs(300),
            tries: 5,
            resumes: 100,
            backoff: Duration::from_millis(300),
            longest_wait: Duration::from_secs(60),
            slow_bytes: 16 << 10,
            slow_window: Duration::from_secs(60),
            parallel: 4,
            // Large enough for every registry's smallest chunk, small enough for every proxy.
            chunk_bytes: 16 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_hosts() {
        for (text, shown) in [
            ("mirror.example", "mirror.example"),
            ("mirror.example:5000", "mirror.example:5000"),
            ("https://mirror.example/", "https://mirror.example"),
            ("http://10.0.0.1:5000", "http://10.0.0.1:5000"),
            ("localhost:5000", "localhost:5000"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(Mirror::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "mirror",
            "https://mirror.example/path",
            "ftp://mirror.example",
            "https://user@mirror.example",
            "https://",
            "mirror.example:0",
            "mirror.example:99999",
            "a b.example",
            "../x",
        ] {
            assert!(Mirror::parse(bad).is_err(), "{bad}");
        }
    }
}
