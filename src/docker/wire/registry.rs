//! Logins, and what is orc's own: tags of a repository, and the registry that serves images.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::wire::json::is_zero;

// The body of `POST /auth`; these members are written in small letters.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LoginRequest {
    pub(crate) username: String,
    pub(crate) password: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) email: String,
    pub(crate) serveraddress: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) identitytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) registrytoken: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) auth: String,
}

wire! {
    LoginReply {
        status: String,
        #[serde(skip_serializing_if = "is_zero")]
        identity_token: String,
    }
}

wire! {
    Tags {
        tags: Vec<String>,
    }
}

// `GET /distribution/{}/json`; the members below are written in small letters.
wire! {
    Distribution {
        descriptor: Target,
        platforms: Vec<RunsOn>,
    }
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

/// A platform.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunsOn {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) variant: String,
}

wire! {
    Stored {
        digest: String,
    }
}

/// The body of `POST /orc/registry`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Serve {
    pub(crate) listen: SocketAddr,
    #[serde(default)]
    pub(crate) writable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<ServeTls>,
}

/// Texts of certificates and keys.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ServeTls {
    pub(crate) certificate: String,
    pub(crate) key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_authorities: Option<String>,
}
