//! What is kept, and where.

use std::collections::BTreeMap;
use std::net::IpAddr;

use orc_base::{Context as _, Error, Kind, Result, Time};
use orc_store::{Change, Entry, Guard, Key, NodeId, Range, Read, Revision, Store};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::pki::identity::Role;
use crate::pki::peer::Peer;
use crate::pki::rotation::Roots;
use crate::pki::token::TokenRecord;

/// What all keys begin with.
pub(super) const PLACE: &str = "/orc/";

/// Which cluster it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Its id, as in the certificates of its nodes.
    pub id: String,
    /// When it was founded.
    pub created: Time,
}

/// A machine that belongs to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// What it is.
    pub role: Role,
    /// Its number in the store, when it is a manager.
    pub member: Option<NodeId>,
    /// Where it was last seen.
    pub address: IpAddr,
    /// When it joined.
    pub joined: Time,
    /// The numbers of the certificates that it may show.
    pub certificates: Vec<String>,
}

/// All of it, of one revision.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) cluster: ClusterRecord,
    pub(super) roots: Roots,
    roots_revision: Revision,
    pub(super) tokens: Vec<(TokenRecord, Revision)>,
    pub(super) nodes: BTreeMap<String, (NodeRecord, Revision)>,
}

impl Records {
    /// `NotFound` before a cluster was founded.
    pub(super) async fn read(store: &dyn Store) -> Result<Self> {
        let range = Range {
            prefix: PLACE.to_owned(),
            ..Range::default()
        };
        Self::of(&store.list(&range, Read::Latest).await?.entries)
    }

    pub(super) fn of(entries: &[Entry]) -> Result<Self> {
        let (mut cluster, mut roots) = (None, None);
        let (mut tokens, mut nodes) = (Vec::new(), BTreeMap::new());
        for entry in entries {
            let name = entry.key.as_str().strip_prefix(PLACE).unwrap_or_default();
            match name.split_once('/') {
                None if name == "cluster" => cluster = Some(value(entry)?),
                None if name == "roots" => roots = Some((value(entry)?, entry.modified)),
                Some(("tokens", _)) => tokens.push((value(entry)?, entry.modified)),
                Some(("nodes", node)) => {
                    nodes.insert(node.to_owned(), (value(entry)?, entry.modified));
                }
                // What a newer version of this program keeps.
                _ => {}
            }
        }
        let none = || Error::not_found("there is no cluster yet: `orc swarm init` begins one");
        let (roots, roots_revision) = roots.ok_or_else(none)?;
        Ok(Self {
            cluster: cluster.ok_or_else(none)?,
            roots,
            roots_revision,
            tokens,
            nodes,
        })
    }

    pub(super) fn node(&self, name: &str) -> Result<NodeRecord> {
        let found = self.nodes.get(name);
        found
            .map(|(record, _)| record.clone())
            .ok_or_else(|| Error::not_found(format!("there is no node {name}")))
    }

    /// The node whose certificate this is, if it still is one.
    pub(super) fn node_of(&self, peer: &Peer) -> Result<(String, NodeRecord)> {
        let identity = peer
            .node
            .as_ref()
            .ok_or_else(|| Error::denied("the certificate is no node's"))?;
        match self.node(&identity.node) {
            Ok(record) if record.certificates.contains(&peer.serial) => {
                Ok((identity.node.clone(), record))
            }
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Err(Error::denied(format!(
                "node {} was removed from the cluster",
                identity.node
            ))),
        }
    }

    pub(super) fn roots_unchanged(&self) -> Result<Guard> {
        Ok(Guard::Unchanged(key("roots", "")?, self.roots_revision))
    }

    pub(super) fn token_unchanged(&self, id: &str) -> Result<Guard> {
        let found = self.tokens.iter().find(|(token, _)| token.id == id);
        let revision = found.map_or_else(Revision::default, |(_, revision)| *revision);
        Ok(Guard::Unchanged(key("tokens", id)?, revision))
    }

    pub(super) fn node_unchanged(&self, name: &str) -> Result<Guard> {
        let revision = self
            .nodes
            .get(name)
            .map_or_else(Revision::default, |(_, r)| *r);
        Ok(Guard::Unchanged(key("nodes", name)?, revision))
    }
}

fn value<T: DeserializeOwned>(entry: &Entry) -> Result<T> {
    serde_json::from_slice(&entry.value)
        .map_err(|error| Error::internal(error.to_string()))
        .context(|| format!("read {}", entry.key))
}

/// The key of a record; `name` is empty when there is one of its sort.
pub(super) fn key(sort: &str, name: &str) -> Result<Key> {
    match name {
        "" => Key::new(format!("{PLACE}{sort}")),
        _ if name.contains('/') => Err(Error::invalid(format!("{name:?} is no name"))),
        _ => Key::new(format!("{PLACE}{sort}/{name}")),
    }
}

pub(super) fn put(sort: &str, name: &str, record: &impl Serialize) -> Result<Change> {
    let bytes = serde_json::to_vec(record).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Change::Put(key(sort, name)?, bytes.into()))
}
