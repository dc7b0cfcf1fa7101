//! Registries as a machine speaks to them, and the one it can be itself.

use std::collections::BTreeMap;
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

/// What a name leads to on its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The digest of the manifest or index, `sha256:…`.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// What it can run on, `linux/arm64/v8`; empty when it is no image.
    pub platforms: Vec<String>,
}

/// A few documents that are no image, to be kept on a registry under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Artifact {
    /// What kind of thing it is: a media type.
    pub media_type: String,
    /// The media type of its config, for registries of the time before artefacts had a type of their
    /// own (image-spec 1.0).
    pub config_type: Option<String>,
    /// The documents.
    pub layers: Vec<ArtifactLayer>,
    /// What is said about the whole.
    pub annotations: BTreeMap<String, String>,
}

/// One document of an artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ArtifactLayer {
    /// What kind of document it is: a media type.
    pub media_type: String,
    /// The document.
    pub text: String,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
}

/// An artefact as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PulledArtifact {
    /// The digest of its manifest, `sha256:…`.
    pub digest: String,
    /// The artefact. Its `media_type` is empty when only its config says what it is.
    pub artifact: Artifact,
}

/// What a registry said to a login.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Login {
    /// `Login Succeeded`.
    pub status: String,
    /// What to show it from now on instead of the password; empty when it gave nothing.
    pub identity_token: String,
}
