//! What arrives from other members.
//!
//! The transport has proven who sends; here it is checked that sender and receiver mean each other and the
//! same cluster, and that the sender was not removed. Whether its role allows it to speak with the store
//! at all is the transport's to know.

use bytes::Bytes;
use openraft::raft::SnapshotResponse;
use orc_base::{Error, Result};
use tokio::sync::Mutex;

use crate::map::Limits;
use crate::raft::lead::{Proposed, Raft, propose, read_index, stopped};
use crate::raft::machine::{Machine, Snapshot};
use crate::raft::members;
use crate::raft::message::{Answer, Envelope, Piece, Request, decode, encode};
use crate::raft::options::ClusterId;
use crate::snapshot::Assembly;
use crate::transport::NodeId;

/// Takes requests and gives answers.
pub(crate) struct Receiver {
    raft: Raft,
    machine: Machine,
    node: NodeId,
    cluster: ClusterId,
    limits: Limits,
    /// The snapshot that is arriving; a newer one takes its place.
    arriving: Mutex<Option<Arriving>>,
}

struct Arriving {
    from: NodeId,
    sending: u64,
    next: u64,
    assembly: Assembly,
}

impl Receiver {
    pub(crate) fn new(
        raft: Raft,
        machine: Machine,
        (node, cluster): (NodeId, ClusterId),
        limits: Limits,
    ) -> Self {
        Self {
            raft,
            machine,
            node,
            cluster,
            limits,
            arriving: Mutex::new(None),
        }
    }

    /// The answer to a message.
    pub(crate) async fn receive(&self, from: NodeId, message: &[u8]) -> Bytes {
        let answer = self.answer(from, message).await;
        let answer = answer.unwrap_or_else(|error| Answer::failed(&error));
        encode(&answer).unwrap_or_else(|error| {
            encode(&Answer::failed(&error)).expect("a short text fits into a message")
        })
    }

    async fn answer(&self, from: NodeId, message: &[u8]) -> Result<Answer> {
        let envelope: Envelope = decode(message)?;
        self.check(from, &envelope)?;
        let raft = &self.raft;
        Ok(match envelope.request {
            Request::Append(request) => {
                Answer::Append(raft.append_entries(request).await.map_err(stopped)?)
            }
            Request::Vote(request) => Answer::Vote(raft.vote(request).await.map_err(stopped)?),
            Request::PreVote(request) => {
                Answer::Vote(raft.pre_vote(request).await.map_err(stopped)?)
            }
            Request::Transfer(request) => {
                let answer = raft.handle_transfer_leader(request).await;
                Answer::Transfer(answer.map_err(stopped)?)
            }
            Request::Snapshot(piece) => self.piece(from, piece).await?,
            Request::Propose(command) => match propose(raft, command).await? {
                Proposed::Decided(outcome, index) => Answer::Decided(outcome, index),
                Proposed::NotLeader(leader) => Answer::NotLeader(leader),
            },
            Request::ReadIndex => read_index(raft).await?,
            Request::Change(change) => members::change(raft, change).await?,
        })
    }

    fn check(&self, from: NodeId, envelope: &Envelope) -> Result<()> {
        let node = self.node;
        if envelope.cluster != self.cluster.0 {
            let theirs = ClusterId(envelope.cluster);
            return Err(Error::denied(format!(
                "node {from} belongs to cluster {theirs}, node {node} to {}",
                self.cluster
            )));
        }
        if envelope.to != node {
            return Err(Error::denied(format!(
                "a message for node {} reached node {node}",
                envelope.to
            )));
        }
        match self.machine.is_removed(from) {
            true => Err(Error::denied(format!(
                "node {from} was removed from the cluster: it can join again as a new node"
            ))),
            false => Ok(()),
        }
    }

    async fn piece(&self, from: NodeId, piece: Piece) -> Result<Answer> {
        let mut arriving = self.arriving.lock().await;
        if piece.number == 0 {
            *arriving = Some(Arriving {
                from,
                sending: piece.sending,
                next: 0,
                assembly: Assembly::new(self.limits),
            });
        }
        let expected = |held: &&mut Arriving| {
            (held.from, held.sending, held.next) == (from, piece.sending, piece.number)
        };
        let Some(held) = arriving.as_mut().filter(expected) else {
            return Err(Error::conflict("another snapshot is arriving"));
        };
        held.next += 1;
        let Some(image) = held.assembly.take(&piece.bytes)? else {
            return Ok(Answer::More);
        };
        *arriving = None;
        let snapshot = Snapshot {
            meta: piece.meta,
            snapshot: image,
        };
        let installed = self.raft.install_full_snapshot(piece.vote, snapshot).await;
        let SnapshotResponse { vote, .. } = installed.map_err(stopped)?;
        Ok(Answer::Snapshot(SnapshotResponse::new(vote)))
    }
}
