//! openraft's network over the transport.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use orc_base::{Error, Kind};

use crate::raft::calls::{Calls, unexpected};
use crate::raft::machine::Snapshot;
use crate::raft::message::{Answer, Piece, Request};
use crate::raft::types::{Address, Types, Vote};
use crate::snapshot::{Image, Pieces};
use crate::transport::{NodeId, Peer};

/// How long a member may take to make entries durable.
const APPEND: Duration = Duration::from_secs(2);
/// How long a member may take for a piece of a snapshot, beside what all so far need to be written: the last
/// one makes it install the whole. An answer that was lost must not hold up the next try for long.
const PIECE: Duration = Duration::from_secs(2);
/// Bytes that any disk can write in a second.
const SLOWEST: u64 = 10 << 20;

/// Makes the way to each member.
pub(crate) struct Network(pub(crate) Calls);

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: NodeId, node: &Address) -> Way {
        Way {
            calls: self.0.clone(),
            to: Peer {
                node: target,
                address: node.0.clone(),
            },
        }
    }
}

/// The way to one member.
pub(crate) struct Way {
    calls: Calls,
    to: Peer,
}

type Rpc<T> = std::result::Result<T, RPCError<Types>>;

impl Way {
    async fn ask(&self, request: Request, time: Duration) -> Rpc<Answer> {
        let answer = self.calls.ask(&self.to, request, time).await;
        answer.map_err(|error| failed(&error))
    }
}

/// openraft waits a while before it tries again whom it cannot reach.
fn failed(error: &Error) -> RPCError<Types> {
    match error.kind() {
        Kind::Unavailable | Kind::Denied => RPCError::Unreachable(Unreachable::new(error)),
        _ => RPCError::Network(NetworkError::new(error)),
    }
}

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        let time = match request.entries.is_empty() {
            true => option.soft_ttl(),
            false => APPEND,
        };
        match self.ask(Request::Append(request), time).await? {
            Answer::Append(response) => Ok(response),
            _ => Err(failed(&unexpected())),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        match self.ask(Request::Vote(request), option.soft_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(failed(&unexpected())),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        let request = Request::PreVote(request);
        match self.ask(request, option.soft_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(failed(&unexpected())),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        let request = Request::Transfer(request);
        match self.ask(request, option.soft_ttl()).await? {
            Answer::Transfer(response) => Ok(response),
            _ => Err(failed(&unexpected())),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> std::result::Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let mut cancel = pin!(cancel);
        let sending = sending();
        let mut total = 0;
        for (number, bytes) in Pieces::new(snapshot.snapshot).enumerate() {
            total += bytes.len() as u64;
            let time = PIECE + Duration::from_secs(total / SLOWEST);
            let piece = Piece {
                vote,
                meta: snapshot.meta.clone(),
                sending,
                number: number as u64,
                bytes: bytes.into(),
            };
            let sent = pin!(self.ask(Request::Snapshot(piece), time));
            match select(cancel.as_mut(), sent).await {
                Either::Left((closed, _)) => return Err(closed.into()),
                Either::Right((answer, _)) => match answer? {
                    Answer::More => {}
                    Answer::Snapshot(response) => return Ok(response),
                    _ => return Err(failed(&unexpected()).into()),
                },
            }
        }
        Err(failed(&unexpected()).into())
    }
}

/// A number that tells this sending of a snapshot from all others of this process.
fn sending() -> u64 {
    static SENDINGS: AtomicU64 = AtomicU64::new(1);
    SENDINGS.fetch_add(1, Ordering::Relaxed)
}
