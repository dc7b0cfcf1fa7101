//! Registries as a machine speaks to them, and the one it can be itself.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// How a machine serves its images to others.
#[derive(Clone, PartialEq, Eq)]
pub struct ServeSpec {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether pushes are taken.
    pub writable: bool,
    /// For TLS; needed beyond loopback, with the authority of the clients.
    pub tls: Option<ServeTls>,
}

/// Certificates and keys, as the texts of their files (PEM).
#[derive(Clone, PartialEq, Eq)]
pub struct ServeTls {
    /// The server's certificate.
    pub certificate: String,
    /// Its key: secret.
    pub key: String,
    /// Who signs the certificates that clients have to show.
    pub client_authorities: Option<String>,
}

/// What a registry that serves says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServeEvent {
    /// It listens, and where; always the first.
    Listening(SocketAddr),
    /// It answered a request. Some are left out when there are too many to tell.
    Answered {
        /// Who asked.
        peer: SocketAddr,
        /// `GET`.
        method: String,
        /// What was asked for.
        path: String,
        /// The HTTP status.
        status: u16,
    },
}

/// What a registry said to a login.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// `Login Succeeded`.
    pub status: String,
    /// What to show it from now on instead of the password; empty when it gave nothing.
    pub identity_token: String,
}
