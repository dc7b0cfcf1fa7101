//! What a certificate says: a machine of one cluster with its role, or a person with groups.
//!
//! A machine's identity is a URI, `spiffe://CLUSTER/node/NODE/ROLE` (the SPIFFE ID specification), so a
//! certificate of one cluster means nothing in another. Beside it stand the names that Kubernetes gives
//! machines: the user `system:node:NODE` in the group `system:nodes`.

use std::fmt;
use std::str::FromStr;

use orc_base::{Error, Result};
use serde::{Deserialize, Serialize};

/// The group of every machine, as in Kubernetes.
pub const NODES: &str = "system:nodes";
/// The group of those who may do everything, as in Kubernetes.
pub const ADMINISTRATORS: &str = "system:masters";
/// What the user name of a machine begins with, as in Kubernetes.
pub const NODE_PREFIX: &str = "system:node:";

/// What a machine is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Keeps the state and decides.
    Manager,
    /// Runs what it is told.
    Worker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        })
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "manager" => Ok(Self::Manager),
            "worker" => Ok(Self::Worker),
            _ => Err(Error::invalid("a role is `manager` or `worker`")),
        }
    }
}

/// A machine of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// Which cluster: lower-case letters, digits and dashes.
    pub cluster: String,
    /// The name of the Node object.
    pub node: String,
    /// What it is there.
    pub role: Role,
}

impl NodeIdentity {
    /// Checks the words. `Invalid` when one of them could be read as something else in a URI, a host
    /// name or a user name.
    pub fn new(cluster: &str, node: &str, role: Role) -> Result<Self> {
        if !is_name(cluster) || cluster.contains('.') {
            return Err(Error::invalid(
                "a cluster's id has lower-case letters, digits and dashes, 63 at most",
            ));
        }
        if !is_name(node) {
            return Err(Error::invalid(format!(
                "{node:?} is no name of a node: lower-case letters, digits, dashes and dots, 63 at most"
            )));
        }
        Ok(Self {
            cluster: cluster.to_owned(),
            node: node.to_owned(),
            role,
        })
    }

    /// Reads the URI that [`fmt::Display`] writes.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let read = || {
            let mut parts = uri.strip_prefix("spiffe://")?.split('/');
            let (cluster, word) = (parts.next()?, parts.next()?);
            let (node, role) = (parts.next()?, parts.next()?.parse().ok()?);
            let whole = word == "node" && parts.next().is_none();
            whole.then(|| Self::new(cluster, node, role).ok())?
        };
        read().ok_or_else(|| Error::invalid("the certificate names no node of a cluster"))
    }

    /// The name by which a client asks for this machine, so that no other one can answer for it.
    pub fn server_name(&self) -> String {
        format!("{}.node.{}.orc.internal", self.node, self.cluster)
    }

    /// Its user name in Kubernetes.
    pub fn user(&self) -> String {
        format!("{NODE_PREFIX}{}", self.node)
    }
}

impl fmt::Display for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            node,
            role,
        } = self;
        write!(f, "spiffe://{cluster}/node/{node}/{role}")
    }
}

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A machine: may serve and ask.
    Node {
        /// Which one.
        identity: NodeIdentity,
        /// Further names and addresses it serves under.
        names: Vec<ServedName>,
    },
    /// A person or program: may only ask.
    User {
        /// The user's name.
        name: String,
        /// The groups.
        groups: Vec<String>,
    },
}

/// A name or an address in a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServedName {
    /// A host name.
    Host(String),
    /// An address.
    Address(std::net::IpAddr),
}

/// A DNS-1123 subdomain of at most 63 characters.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 63 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_its_uri() {
        let node = NodeIdentity::new("c1", "web-1.example", Role::Manager).unwrap();
        let uri = "spiffe://c1/node/web-1.example/manager";
        assert_eq!(node.to_string(), uri);
        assert_eq!(NodeIdentity::from_uri(uri).unwrap(), node);
    }

    #[test]
    fn takes_no_other_uri() {
        for uri in [
            "",
            "https://c1/node/n/worker",
            "spiffe://c1/node/n",
            "spiffe://c1/node/n/root",
            "spiffe://c1/node/n/worker/x",
            "spiffe://c1/user/n/worker",
            "spiffe://c1/node/N/worker",
            "spiffe://c1/node/../worker",
            "spiffe://c.1/node/n/worker",
        ] {
            assert!(NodeIdentity::from_uri(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn names_that_could_be_read_otherwise_are_refused() {
        for name in [
            "",
            "-a",
            "a-",
            "a..b",
            "a/b",
            "a:b",
            "A",
            "a b",
            &"a".repeat(64),
        ] {
            assert!(
                NodeIdentity::new("c1", name, Role::Worker).is_err(),
                "{name}"
            );
        }
    }
}
