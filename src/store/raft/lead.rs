//! What a leader is asked: to decide, and up to where all is decided.

use openraft::ReadPolicy;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use orc_base::{Error, Result};

use crate::raft::machine::Machine;
use crate::raft::message::Answer;
use crate::raft::types::{Command, Outcome, Types};
use crate::transport::NodeId;

/// openraft's own part of a member.
pub(crate) type Raft = openraft::Raft<Types, Machine>;

/// What became of a proposal.
pub(crate) enum Proposed {
    Decided(Outcome, u64),
    /// Nothing was proposed.
    NotLeader(Option<NodeId>),
}

/// Proposes, when this member leads. `Timeout` when it is not known what became of it.
pub(crate) async fn propose(raft: &Raft, command: Command) -> Result<Proposed> {
    let unknown = |why: &dyn std::fmt::Display| {
        Error::timeout(format!(
            "it is not known whether the change was made: {why}"
        ))
    };
    match raft.client_write(command).await {
        Ok(response) => Ok(Proposed::Decided(response.data, response.log_id.index)),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            Ok(Proposed::NotLeader(forward.leader_id))
        }
        Err(RaftError::APIError(error)) => Err(unknown(&error)),
        Err(RaftError::Fatal(fatal)) => Err(unknown(&fatal)),
    }
}

/// Up to which entry must be applied to know all that was acknowledged: a majority says that this is still
/// the leader.
pub(crate) async fn read_index(raft: &Raft) -> Result<Answer> {
    match raft.get_read_log_id(ReadPolicy::ReadIndex).await {
        Ok((read, _)) => Ok(Answer::Index(read.index())),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Ok(Answer::NotLeader(forward.leader_id))
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
            Ok(Answer::NotLeader(None))
        }
        Err(RaftError::Fatal(fatal)) => Err(stopped(fatal)),
    }
}

/// This member does not work any more.
pub(crate) fn stopped(error: impl std::fmt::Display) -> Error {
    Error::unavailable(format!("this member of the store has stopped: {error}"))
}
