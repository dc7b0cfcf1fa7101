//! A new root for a running cluster, in steps that each may be the last thing before a crash.
//!
//! ```text
//!  Stable ──begin──▶ Spreading ──all trust both──▶ Reissuing ──all certificates new──▶ Stable
//!  signs: root       signs: old                    signs: new                          signs: new
//!  trusts: root      trusts: old, new              trusts: old, new                    trusts: new
//! ```
//!
//! Pure: [`Roots`] is what the store keeps, [`Roots::step`] the next one when every node is ready. While
//! certificates are made anew, machines also show a bridge (the new root signed by the old one), so one
//! that slept through the first step still believes them. Only the leader steps.

use orc_base::{Error, Result, Time};
use serde::{Deserialize, Serialize};

use crate::pki::authority::Authority;

/// A root certificate and its key, as PEM. Kept encrypted; prints nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Root")
    }
}

/// Whom the cluster trusts and who signs. Changed by the leader only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum Roots {
    /// One root.
    Stable {
        /// It.
        root: Root,
    },
    /// A new root is made known everywhere; it signs nothing yet.
    Spreading {
        /// What signs.
        old: Root,
        /// What will.
        new: Root,
        /// The new root's key, certified by the old one.
        bridge: String,
    },
    /// Everybody gets a certificate of the new root.
    Reissuing {
        /// What signed.
        old: Root,
        /// What signs.
        new: Root,
        /// The new root's key, certified by the old one.
        bridge: String,
    },
}

/// How far a machine is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Its name.
    pub node: String,
    /// The digests of the roots it trusts.
    pub trusts: Vec<String>,
    /// The digest of the root that signed the certificate it uses.
    pub certified_by: String,
}

impl Roots {
    /// The first root of a cluster.
    pub fn first(cluster: &str, now: Time) -> Result<Self> {
        let root = root(&Authority::create(cluster, now)?);
        Ok(Self::Stable { root })
    }

    /// Begins with a new root. `Conflict` while another rotation is under way.
    pub fn begin(&self, cluster: &str, now: Time) -> Result<Self> {
        let Self::Stable { root: old } = self else {
            return Err(Error::conflict(
                "the cluster's root certificate is being rotated already",
            ));
        };
        let new = Authority::create(cluster, now)?;
        let bridge = load(old)?.cross_sign(&new, now)?;
        Ok(Self::Spreading {
            old: old.clone(),
            new: root(&new),
            bridge,
        })
    }

    /// The next state, once all nodes are ready for it; nothing otherwise.
    pub fn step(&self, nodes: &[Progress]) -> Result<Option<Self>> {
        if !self.waiting_for(nodes)?.is_empty() {
            return Ok(None);
        }
        Ok(match self.clone() {
            Self::Stable { .. } => None,
            Self::Spreading { old, new, bridge } => Some(Self::Reissuing { old, new, bridge }),
            Self::Reissuing { new, .. } => Some(Self::Stable { root: new }),
        })
    }

    /// The nodes without which the rotation does not go on.
    pub fn waiting_for<'n>(&self, nodes: &'n [Progress]) -> Result<Vec<&'n str>> {
        let ready: Box<dyn Fn(&Progress) -> bool> = match self {
            Self::Stable { .. } => Box::new(|_| true),
            Self::Spreading { new, .. } => {
                let digest = load(new)?.digest()?.to_string();
                Box::new(move |node| node.trusts.contains(&digest))
            }
            Self::Reissuing { new, .. } => {
                let digest = load(new)?.digest()?.to_string();
                Box::new(move |node| node.certified_by == digest)
            }
        };
        let late = nodes.iter().filter(|node| !ready(node));
        Ok(late.map(|node| node.node.as_str()).collect())
    }

    /// The certificates to trust, as PEM.
    pub fn trusted(&self) -> Vec<&str> {
        match self {
            Self::Stable { root } => vec![&root.certificate],
            Self::Spreading { old, new, .. } | Self::Reissuing { old, new, .. } => {
                vec![&old.certificate, &new.certificate]
            }
        }
    }

    /// Who signs, and whose digest join tokens have.
    pub fn signer(&self) -> Result<Authority> {
        match self {
            Self::Stable { root } | Self::Spreading { old: root, .. } => load(root),
            Self::Reissuing { new, .. } => load(new),
        }
    }

    /// What a machine shows behind its own certificate: the bridge while there is one, then the root, by
    /// which joining machines find the digest of their token.
    pub fn chain(&self) -> Vec<&str> {
        match self {
            Self::Stable { root } | Self::Spreading { old: root, .. } => vec![&root.certificate],
            Self::Reissuing { new, bridge, .. } => vec![bridge, &new.certificate],
        }
    }
}

fn root(authority: &Authority) -> Root {
    Root {
        certificate: authority.certificate(),
        key: authority.key(),
    }
}

fn load(root: &Root) -> Result<Authority> {
    Authority::load(&root.certificate, &root.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn node(name: &str, trusts: &[String], certified_by: &str) -> Progress {
        Progress {
            node: name.to_owned(),
            trusts: trusts.to_vec(),
            certified_by: certified_by.to_owned(),
        }
    }

    #[test]
    fn goes_on_only_when_all_are_ready() {
        let stable = Roots::first("c1", noon()).unwrap();
        let old = stable.signer().unwrap().digest().unwrap().to_string();
        let spreading = stable.begin("c1", noon()).unwrap();
        assert!(spreading.begin("c1", noon()).is_err());
        assert_eq!(spreading.trusted().len(), 2);
        let signer = spreading.signer().unwrap().digest().unwrap();
        assert_eq!(signer.to_string(), old);

        let both: Vec<String> = spreading
            .trusted()
            .iter()
            .map(|pem| digest_of(pem))
            .collect();
        let nodes = [
            node("a", &both, &old),
            node("b", std::slice::from_ref(&old), &old),
        ];
        assert_eq!(spreading.waiting_for(&nodes).unwrap(), ["b"]);
        assert_eq!(spreading.step(&nodes).unwrap(), None);
        let nodes = [node("a", &both, &old), node("b", &both, &old)];
        let reissuing = spreading.step(&nodes).unwrap().unwrap();
        assert_eq!(reissuing.waiting_for(&nodes).unwrap(), ["a", "b"]);

        let new = reissuing.signer().unwrap().digest().unwrap().to_string();
        assert_ne!(new, old);
        let nodes = [node("a", &both, &new), node("b", &both, &new)];
        let done = reissuing.step(&nodes).unwrap().unwrap();
        assert!(matches!(done, Roots::Stable { .. }));
        assert_eq!(done.signer().unwrap().digest().unwrap().to_string(), new);
        assert_eq!(done.step(&nodes).unwrap(), None);
    }

    fn digest_of(pem: &str) -> String {
        use rustls::pki_types::pem::PemObject;
        let der = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        crate::pki::token::Digest::of_certificate(&der)
            .unwrap()
            .to_string()
    }

    #[test]
    fn survives_being_written_and_read_at_each_step() {
        let stable = Roots::first("c1", noon()).unwrap();
        let spreading = stable.begin("c1", noon()).unwrap();
        let reissuing = spreading.step(&[]).unwrap().unwrap();
        for roots in [stable, spreading, reissuing] {
            let text = serde_json::to_string(&roots).unwrap();
            assert_eq!(serde_json::from_str::<Roots>(&text).unwrap(), roots);
            assert!(!format!("{roots:?}").contains("PRIVATE"));
        }
    }
}
