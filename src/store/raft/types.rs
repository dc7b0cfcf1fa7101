//! What openraft is told about our types.

use std::fmt;

use bytes::Bytes;
use openraft::alias;
use openraft::impls::leader_id_std::LeaderId;
use orc_base::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::model::{Revision, Transaction, Verdict};
use crate::transport::NodeId;

#[cfg(test)]
use crate::sim::runtime::SeededRuntime as Runtime;
#[cfg(not(test))]
use openraft::impls::TokioRuntime as Runtime;

openraft::declare_raft_types!(
    /// Plain Raft: one leader a term, and a log identified by term and index.
    pub(crate) Types:
        D = Command,
        R = Outcome,
        NodeId = NodeId,
        Node = Address,
        LeaderId = LeaderId<u64, NodeId>,
        AsyncRuntime = Runtime,
);

pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type Membership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// Where a member listens, as its transport understands it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Address(pub(crate) String);

/// What is proposed. Order is the format, on disk and between members: new ones go to the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Proposal {
    /// [`crate::Store::commit`].
    Transaction(Transaction),
    /// [`crate::Store::compact`].
    Compact(Revision),
}

/// An encoded [`Proposal`]: encoded once, where it is proposed, and never again on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command(pub(crate) Bytes);

impl Command {
    pub(crate) fn encode(proposal: &Proposal) -> Result<Self> {
        postcard::to_allocvec(proposal)
            .map(|bytes| Self(bytes.into()))
            .map_err(|error| Error::internal(format!("encode a proposal: {error}")))
    }

    /// `Unsupported` when a newer orc made it.
    pub(crate) fn decode(&self) -> Result<Proposal> {
        postcard::from_bytes(&self.0).map_err(|error| {
            Error::unsupported(format!(
                "a proposal that this version of orc cannot read: {error}"
            ))
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What became of a [`Proposal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Of a transaction.
    Verdict(Verdict),
    /// Of all else.
    Done,
}
