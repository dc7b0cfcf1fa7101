//! Who takes part: added as a learner, promoted once it has caught up, removed for good.
//!
//! Every change of voters goes through Raft's joint membership, so no moment has two majorities
//! (Raft, section 6). A member that was removed is remembered and refused by all who know it.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::alias::ChangeMembershipErrorOf;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, RaftMetrics};
use orc_base::{Error, Kind, Result};

use crate::raft::lead::{Raft, stopped};
use crate::raft::message::{Answer, MemberChange};
use crate::raft::types::{Address, Types};
use crate::transport::{NodeId, Peer};

/// Entries that a learner may lack when it is promoted.
const CAUGHT_UP: u64 = 200;
/// How often, and how long, a change waits for another one that is not finished.
const TURNS: usize = 100;
const TURN: Duration = Duration::from_millis(20);
/// How long a learner may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(60);

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It takes part in decisions.
    Voter,
    /// It receives everything and decides nothing.
    Learner,
}

/// One who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who and where.
    pub peer: Peer,
    /// What it does.
    pub role: Role,
    /// How many entries of the log it is known to lack; only a leader knows of others.
    pub lag: Option<u64>,
}

/// What a member knows of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which member says so.
    pub node: NodeId,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// Counts the leaders there were.
    pub term: u64,
    /// The last entry in its log.
    pub last: u64,
    /// The last entry it has applied.
    pub applied: u64,
    /// All who take part.
    pub members: Vec<Member>,
}

impl Status {
    pub(crate) fn of(metrics: &RaftMetrics<Types>) -> Self {
        let last = metrics.last_log_index.unwrap_or(0);
        let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
        let lag = |node: &NodeId| {
            let replication = metrics.replication.as_ref()?;
            let has = replication.get(node)?.map_or(0, |id| id.index);
            Some(last.saturating_sub(has))
        };
        let members = metrics
            .membership_config
            .nodes()
            .map(|(node, address)| Member {
                peer: Peer {
                    node: *node,
                    address: address.0.clone(),
                },
                role: match voters.contains(node) {
                    true => Role::Voter,
                    false => Role::Learner,
                },
                lag: lag(node),
            });
        Self {
            node: metrics.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            last,
            applied: metrics.last_applied.map_or(0, |id| id.index),
            members: members.collect(),
        }
    }
}

/// Changes who takes part, when this is the leader. Waits for a change that is not finished yet.
pub(crate) async fn change(raft: &Raft, change: MemberChange) -> Result<Answer> {
    for _ in 0..TURNS {
        match change_once(raft, change.clone()).await {
            Err(error) if error.kind() == Kind::Unavailable => tokio::time::sleep(TURN).await,
            other => return other,
        }
    }
    change_once(raft, change).await
}

async fn change_once(raft: &Raft, change: MemberChange) -> Result<Answer> {
    // A leader that was removed leads on for a moment, until another does; it changes nothing any more
    // (openraft asserts that).
    let known = metrics(raft);
    if !known
        .membership_config
        .voter_ids()
        .any(|voter| voter == known.id)
    {
        let other = known.current_leader.filter(|leader| *leader != known.id);
        return Ok(Answer::NotLeader(other));
    }
    let changed = match change {
        MemberChange::AddLearner { node, address } => {
            raft.add_learner(node, Address(address), false).await
        }
        MemberChange::Promote(node) => {
            if let Some(answer) = caught_up(raft, node).await? {
                return Ok(answer);
            }
            let voters = ChangeMembers::AddVoterIds([node].into());
            raft.change_membership(voters, true).await
        }
        MemberChange::Demote(node) => {
            refuse_the_last(raft, node)?;
            let voters = ChangeMembers::RemoveVoters([node].into());
            raft.change_membership(voters, true).await
        }
        MemberChange::Remove(node) => {
            refuse_the_last(raft, node)?;
            let membership = metrics(raft).membership_config;
            let gone = match membership.voter_ids().any(|voter| voter == node) {
                true => ChangeMembers::RemoveVoters([node].into()),
                false => ChangeMembers::RemoveNodes([node].into()),
            };
            raft.change_membership(gone, false).await
        }
        MemberChange::Lead(node) => return lead(raft, node).await,
    };
    match changed {
        Ok(_) => Ok(Answer::Done),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            Ok(Answer::NotLeader(forward.leader_id))
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::UncommittedLeaderLog(_),
        ))) => Ok(Answer::NotLeader(None)),
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
            Err(impossible(&error))
        }
        Err(RaftError::APIError(error)) => Err(Error::timeout(format!(
            "it is not known whether the members were changed: {error}"
        ))),
        Err(RaftError::Fatal(fatal)) => Err(stopped(fatal)),
    }
}

fn metrics(raft: &Raft) -> RaftMetrics<Types> {
    raft.metrics().borrow_watched().clone()
}

fn impossible(error: &ChangeMembershipErrorOf<Types>) -> Error {
    match error {
        ChangeMembershipError::LearnerNotFound(_) => {
            Error::not_found(format!("there is no such member: {error}"))
        }
        ChangeMembershipError::InProgress(_) => Error::unavailable(
            "another change of the members is not finished yet: try again in a moment",
        ),
        ChangeMembershipError::EmptyMembership(_) => {
            Error::conflict("the last member cannot be removed")
        }
        other => Error::conflict(other.to_string()),
    }
}

fn refuse_the_last(raft: &Raft, node: NodeId) -> Result<()> {
    let metrics = metrics(raft);
    let voters: Vec<NodeId> = metrics.membership_config.voter_ids().collect();
    match voters == [node] {
        true => Err(Error::conflict(format!(
            "node {node} is the only one that decides: promote another first"
        ))),
        false => Ok(()),
    }
}

/// Waits until a learner lacks little. Nothing when it does; an answer when this is not the leader.
async fn caught_up(raft: &Raft, node: NodeId) -> Result<Option<Answer>> {
    let lacks_little = move |metrics: &RaftMetrics<Types>| {
        let Some(replication) = &metrics.replication else {
            return true;
        };
        let last = metrics.last_log_index.unwrap_or(0);
        let has = replication.get(&node).copied().flatten();
        !replication.contains_key(&node)
            || has.is_some_and(|id| last - id.index.min(last) <= CAUGHT_UP)
    };
    let waiting = raft.wait(Some(CATCH_UP));
    let waited = waiting.metrics(lacks_little, "a learner catches up").await;
    let metrics = waited.map_err(|_| {
        Error::timeout(format!(
            "node {node} did not catch up within {} s: is it running, and can it be reached?",
            CATCH_UP.as_secs()
        ))
    })?;
    let known: BTreeMap<NodeId, _> = metrics
        .membership_config
        .nodes()
        .map(|(n, a)| (*n, a))
        .collect();
    match (&metrics.replication, known.contains_key(&node)) {
        (None, _) => Ok(Some(Answer::NotLeader(metrics.current_leader))),
        (Some(_), false) => Err(Error::not_found(format!("node {node} is no member"))),
        (Some(_), true) => Ok(None),
    }
}

/// Makes another voter the leader.
async fn lead(raft: &Raft, node: NodeId) -> Result<Answer> {
    let metrics = metrics(raft);
    if !metrics.state.is_leader() {
        return Ok(Answer::NotLeader(metrics.current_leader));
    }
    if !metrics
        .membership_config
        .voter_ids()
        .any(|voter| voter == node)
    {
        return Err(Error::not_found(format!(
            "node {node} decides nothing here"
        )));
    }
    raft.trigger()
        .transfer_leader(node)
        .await
        .map_err(stopped)?;
    Ok(Answer::Done)
}
