//! The transport's twin: members of one process, reached without a network.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use orc_base::{Error, Result};

use crate::raft::RaftStore;
use crate::transport::{NodeId, Peer, Transport};

/// Members that can reach each other.
#[derive(Debug, Clone, Default)]
pub struct Loopback(Arc<RwLock<BTreeMap<NodeId, RaftStore>>>);

impl Loopback {
    /// What the member `node` sends with.
    pub fn of(&self, node: NodeId) -> Arc<dyn Transport> {
        Arc::new(Way {
            from: node,
            all: self.clone(),
        })
    }

    /// Lets a member be reached.
    pub fn connect(&self, node: NodeId, store: RaftStore) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(node, store);
    }

    /// Lets a member neither be reached nor reach others, whatever is under way.
    pub fn disconnect(&self, node: NodeId) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(&node);
    }

    fn find(&self, node: NodeId) -> Option<RaftStore> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&node).cloned()
    }
}

struct Way {
    from: NodeId,
    all: Loopback,
}

#[async_trait]
impl Transport for Way {
    async fn call(&self, to: &Peer, message: Bytes) -> Result<Bytes> {
        let gone = |node| Error::unavailable(format!("node {node} cannot be reached"));
        let here = self.all.find(self.from).ok_or_else(|| gone(self.from))?;
        drop(here);
        let there = self.all.find(to.node).ok_or_else(|| gone(to.node))?;
        let answer = there.receive(self.from, message).await;
        match self.all.find(to.node).is_some() && self.all.find(self.from).is_some() {
            true => Ok(answer),
            false => Err(Error::timeout(format!(
                "the answer of node {} was lost",
                to.node
            ))),
        }
    }
}
