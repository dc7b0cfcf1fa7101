//! What members say to each other, as bytes.
//!
//! A message is the version of this format, and then postcard: positions count, names do not. So new
//! variants go to the end, and a change of any type within is a new version.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use orc_base::{Error, Kind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::raft::types::{Command, Outcome, SnapshotMeta, Types, Vote};
use crate::transport::{MAX_MESSAGE_BYTES, NodeId};

const VERSION: u8 = 1;

/// A request and for whom it is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The cluster that the sender belongs to.
    pub(crate) cluster: [u8; 16],
    /// Whom the sender means to speak with: addresses are used again by others.
    pub(crate) to: NodeId,
    pub(crate) request: Request,
}

/// What is asked.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    Snapshot(Piece),
    /// To a leader: decide this.
    Propose(Command),
    /// To a leader: up to which entry must be applied to know all that was acknowledged?
    ReadIndex,
    /// To a leader: change who takes part.
    Change(MemberChange),
}

/// A piece of a snapshot on its way.
#[derive(Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// Tells one sending from the next.
    pub(crate) sending: u64,
    /// Counts the pieces.
    pub(crate) number: u64,
    pub(crate) bytes: Bytes,
}

/// A change of who takes part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum MemberChange {
    /// It receives everything and decides nothing.
    AddLearner {
        /// Who.
        node: NodeId,
        /// Where it listens.
        address: String,
    },
    /// It takes part in decisions, once it has caught up.
    Promote(NodeId),
    /// It receives everything and decides nothing any more.
    Demote(NodeId),
    /// It has nothing to do with this cluster any more.
    Remove(NodeId),
    /// It is the leader from now on.
    Lead(NodeId),
}

/// What is answered.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    /// The piece was taken, and there are more.
    More,
    Snapshot(SnapshotResponse<Types>),
    /// What became of a proposal, and the entry it is.
    Decided(Outcome, u64),
    Index(u64),
    Done,
    /// Nothing was done: the leader is this one, when known.
    NotLeader(Option<NodeId>),
    /// It went wrong.
    Failed {
        kind: Failure,
        text: String,
    },
}

/// [`Kind`] on its way.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Failure {
    Invalid,
    Conflict,
    Denied,
    Unavailable,
    Timeout,
    NotFound,
    Unsupported,
    Internal,
}

impl Answer {
    /// The answer to what could not be done.
    pub(crate) fn failed(error: &Error) -> Self {
        let kind = match error.kind() {
            Kind::Invalid => Failure::Invalid,
            Kind::Conflict => Failure::Conflict,
            Kind::Denied => Failure::Denied,
            Kind::Unavailable => Failure::Unavailable,
            Kind::Timeout => Failure::Timeout,
            Kind::NotFound => Failure::NotFound,
            Kind::Unsupported => Failure::Unsupported,
            _ => Failure::Internal,
        };
        Self::Failed {
            kind,
            text: error.to_string(),
        }
    }
}

impl Failure {
    /// The error on this side.
    pub(crate) fn error(self, text: String) -> Error {
        let kind = match self {
            Self::Invalid => Kind::Invalid,
            Self::Conflict => Kind::Conflict,
            Self::Denied => Kind::Denied,
            Self::Unavailable => Kind::Unavailable,
            Self::Timeout => Kind::Timeout,
            Self::NotFound => Kind::NotFound,
            Self::Unsupported => Kind::Unsupported,
            Self::Internal => Kind::Internal,
        };
        Error::new(kind, text)
    }
}

/// The bytes of a message.
pub(crate) fn encode(message: &impl Serialize) -> Result<Bytes> {
    let bytes = postcard::to_extend(message, vec![VERSION])
        .map_err(|error| Error::internal(format!("encode a message: {error}")))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(too_large(bytes.len()));
    }
    Ok(bytes.into())
}

/// The message in these bytes. `Unsupported` when another version of orc sent it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(too_large(bytes.len()));
    }
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| {
            Error::unsupported(format!("a message that is not understood: {error}"))
        }),
        Some((version, _)) => Err(Error::unsupported(format!(
            "a message of version {version}: this orc speaks version {VERSION}"
        ))),
        None => Err(Error::invalid("an empty message")),
    }
}

fn too_large(length: usize) -> Error {
    Error::exhausted(format!(
        "a message of {length} bytes: the limit is {MAX_MESSAGE_BYTES}"
    ))
}
