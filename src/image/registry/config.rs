//! What the operator decides about registries: whom to trust, and how long to wait.
//!
//! Plain data with defaults that suit the internet. Everything a registry could make endless has its
//! bound in [`Limits`]; tests set small ones instead of sleeping.

use std::path::PathBuf;
use std::time::Duration;

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
    /// How long to wait and how often to try.
    pub limits: Limits,
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
        }
    }
}
