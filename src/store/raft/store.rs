//! [`Store`] over a group of members that keep one log.
//!
//! Any member takes reads and writes: it puts them to the leader itself. A write that did not reach a
//! leader is tried again until patience ends; one of which nothing is known is not.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::RaftError;
use orc_base::task::Tasks;
use orc_base::{Error, Kind, Result};
use tokio::time::Instant;

use crate::Store;
use crate::disk::{Directory, Disk};
use crate::keys::Keys;
use crate::model::{Found, Key, Listing, Range, Read, Revision, Transaction, Verdict};
use crate::raft::calls::{Calls, unexpected};
use crate::raft::lead::{Proposed, Raft, propose, read_index, stopped};
use crate::raft::log::{Kept, LogStore};
use crate::raft::machine::Machine;
use crate::raft::members::Status;
use crate::raft::message::{Answer, MemberChange, Request};
use crate::raft::network::Network;
use crate::raft::options::Options;
use crate::raft::reads::Reads;
use crate::raft::receive::Receiver;
use crate::raft::repair;
use crate::raft::types::{Address, Command, Outcome, Proposal, Types};
use crate::transport::{NodeId, Peer, Transport};
use crate::wal::Wal;
use crate::watch::Watch;
use crate::writer::Writer;

/// Before someone else is asked, or the same again.
const PAUSE: Duration = Duration::from_millis(15);
/// How long a leader that stops waits for the next one.
const HANDOVER: Duration = Duration::from_secs(2);

/// One member of the store. Copies are the same member.
#[derive(Clone)]
pub struct RaftStore(Arc<Inner>);

struct Inner {
    raft: Raft,
    machine: Machine,
    calls: Calls,
    receiver: Receiver,
    reads: Reads,
    keys: Arc<Keys>,
    failure: crate::news::Receiver<Option<Error>>,
    options: Options,
    _tasks: Tasks,
}

impl std::fmt::Debug for RaftStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftStore")
            .field("node", &self.0.options.node)
            .finish_non_exhaustive()
    }
}

impl RaftStore {
    /// Opens what the directory has, or begins a member that knows nothing yet: it waits for
    /// [`RaftStore::found`], or for a leader that adds it. `Invalid` when the log or the snapshot is damaged,
    /// `Conflict` when the directory belongs to another member or is in use.
    pub async fn open(options: Options, transport: Arc<dyn Transport>) -> Result<Self> {
        let disk = Directory::lock(&options.directory).await?;
        repair::belongs(&options)?;
        let keys = Keys::open(&options.directory.join("keys"), &options.key_file)?;
        Self::start(
            options,
            transport,
            Arc::new(disk),
            Arc::new(keys),
            Writer::thread,
        )
        .await
    }

    /// A member on this disk.
    pub(crate) async fn start(
        options: Options,
        transport: Arc<dyn Transport>,
        disk: Arc<dyn Disk>,
        keys: Arc<Keys>,
        writer: impl FnOnce(Wal) -> Result<Writer>,
    ) -> Result<Self> {
        let (wal, contents) = Wal::open(disk.clone(), keys.clone())?;
        let kept = Kept::read(&contents)?;
        let writer = writer(wal)?;
        let failure = writer.failure();
        let machine = Machine::new(disk, keys.clone(), options.limits);
        let calls = Calls::new(transport, options.cluster);
        let config = options.config().validate();
        let config = config.map_err(|error| Error::invalid(error.to_string()))?;
        let raft = Raft::new(
            options.node,
            Arc::new(config),
            Network(calls.clone()),
            LogStore::new(kept, writer),
            machine.clone(),
        );
        let raft = raft.await.map_err(|error| {
            Error::invalid(format!("this member of the store does not start: {error}"))
        })?;
        let who = (options.node, options.cluster);
        let receiver = Receiver::new(raft.clone(), machine.clone(), who, options.limits);
        let leader = Leader {
            raft: raft.clone(),
            calls: calls.clone(),
            node: options.node,
        };
        let patience = options.timing.patience;
        let (reads, answers) = Reads::new(move || {
            let leader = leader.clone();
            async move { leader.index(patience).await }
        });
        let tasks = Tasks::default();
        tasks.spawn("store-reads", answers);
        Ok(Self(Arc::new(Inner {
            raft,
            machine,
            calls,
            receiver,
            reads,
            keys,
            failure,
            options,
            _tasks: tasks,
        })))
    }

    /// Begins a cluster of this member alone. `Conflict` when it belongs to one already.
    pub async fn found(&self) -> Result<()> {
        let options = &self.0.options;
        let members = BTreeMap::from([(options.node, Address(options.address.clone()))]);
        match self.0.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(error)) => Err(Error::conflict(format!(
                "this member belongs to a cluster already: {error}"
            ))),
            Err(RaftError::Fatal(fatal)) => Err(stopped(fatal)),
        }
    }

    /// The answer to a message of a member whose name the transport has proven.
    pub async fn receive(&self, from: NodeId, message: Bytes) -> Bytes {
        self.0.receiver.receive(from, &message).await
    }

    /// What this member knows, now.
    pub fn status(&self) -> Status {
        Status::of(&self.0.raft.metrics().borrow_watched())
    }

    /// Waits until what this member knows is such.
    pub async fn wait(&self, such: impl Fn(&Status) -> bool) -> Result<Status> {
        let mut metrics = self.0.raft.metrics();
        loop {
            let status = Status::of(&metrics.borrow_and_update());
            if such(&status) {
                return Ok(status);
            }
            metrics
                .changed()
                .await
                .map_err(|_| stopped("it was closed"))?;
        }
    }

    /// Adds a member that receives everything and decides nothing, or changes where it listens.
    pub async fn add(&self, peer: Peer) -> Result<()> {
        self.change(MemberChange::AddLearner {
            node: peer.node,
            address: peer.address,
        })
        .await
    }

    /// Lets a member take part in decisions, once it has caught up. `NotFound` when it was not added,
    /// `Timeout` when it does not catch up.
    pub async fn promote(&self, node: NodeId) -> Result<()> {
        self.change(MemberChange::Promote(node)).await
    }

    /// Lets a member no longer take part in decisions.
    pub async fn demote(&self, node: NodeId) -> Result<()> {
        self.change(MemberChange::Demote(node)).await
    }

    /// Removes a member for good: who knows of it speaks with it no more.
    pub async fn remove(&self, node: NodeId) -> Result<()> {
        self.change(MemberChange::Remove(node)).await
    }

    /// Makes another voter the leader.
    pub async fn lead(&self, node: NodeId) -> Result<()> {
        self.change(MemberChange::Lead(node)).await
    }

    async fn change(&self, change: MemberChange) -> Result<()> {
        let leader = self.leader();
        let raft = &self.0.raft;
        let here = || crate::raft::members::change(raft, change.clone());
        let there = || Request::Change(change.clone());
        match leader
            .ask(here, there, CHANGE + self.0.options.timing.patience)
            .await?
        {
            Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// All that this member knows and is latest, sealed by a new key, which is returned and kept nowhere:
    /// 64 hexadecimal digits. [`restore`](crate::restore) takes both.
    pub async fn backup(&self, to: &mut (dyn std::io::Write + Send)) -> Result<String> {
        self.latest().await?;
        let map = self.0.machine.map().read(crate::map::Map::clone);
        repair::backup(self.0.machine.state().image(map), to)
    }

    /// The SHA-256 of all that this member knows: entries, revision and history.
    pub fn checksum(&self) -> [u8; 32] {
        let map = self.0.machine.map().read(crate::map::Map::clone);
        crate::snapshot::checksum(&map)
    }

    /// Writes a snapshot soon, and shortens the log.
    pub async fn snapshot(&self) -> Result<()> {
        self.0.raft.trigger().snapshot().await.map_err(stopped)
    }

    /// Makes a new data key, which seals the next files of the log and the next snapshot. What older keys
    /// sealed stays readable until it is purged.
    pub fn rotate_keys(&self) -> Result<()> {
        let options = &self.0.options;
        let ring = options.directory.join("keys");
        self.0.keys.rotate(&ring, &options.key_file)
    }

    /// Waits until this member cannot work any more, and says why. The process must end then: what its disk
    /// has is not known.
    pub async fn failed(&self) -> Error {
        let mut failure = self.0.failure.clone();
        let mut metrics = self.0.raft.metrics();
        let disk = async {
            match failure.wait_for(Option::is_some).await {
                Ok(error) => error.clone(),
                Err(_) => None,
            }
        };
        let raft = async {
            loop {
                let state = metrics.borrow_and_update().running_state.clone();
                if let Err(fatal) = state {
                    return stopped(fatal);
                }
                if metrics.changed().await.is_err() {
                    return stopped("it was closed");
                }
            }
        };
        tokio::select! {
            biased;
            Some(error) = disk => error,
            error = raft => error,
        }
    }

    /// Hands leadership to another voter, when this one leads and there is another, and stops.
    pub async fn stop(&self) -> Result<()> {
        let node = self.0.options.node;
        let metrics = self.0.raft.metrics().borrow_watched().clone();
        if let Some(next) = successor(&metrics)
            && self.0.raft.trigger().transfer_leader(next).await.is_ok()
        {
            let handed = self.wait(|status| status.leader.is_some_and(|leader| leader != node));
            let _ = tokio::time::timeout(HANDOVER, handed).await;
        }
        let stopped = self.0.raft.shutdown().await;
        stopped.map_err(|error| Error::internal(format!("stop the store: {error}")))
    }

    /// What it knows, in a few words.
    #[cfg(test)]
    pub(crate) fn outline(&self) -> String {
        self.0.machine.map().read(|map| {
            let entries = map
                .entries_after(None)
                .map(|e| format!("{}@{}", e.key, e.modified));
            let events = map.events_after(map.floor()).map(|event| match &**event {
                crate::Event::Put { entry, .. } => {
                    format!("{}={:?}", entry.key, entry.value)
                }
                crate::Event::Removed { previous, .. } => format!("-{}", previous.key),
            });
            let ends: Vec<String> = events.collect();
            let entries: Vec<String> = entries.collect();
            format!(
                "{}..{} {ends:?} {}",
                map.floor(),
                map.revision(),
                entries.join(" ")
            )
        })
    }

    /// Ends without a word to anyone.
    #[cfg(test)]
    pub(crate) async fn end(&self) {
        let _ = self.0.raft.shutdown().await;
    }

    fn leader(&self) -> Leader {
        Leader {
            raft: self.0.raft.clone(),
            calls: self.0.calls.clone(),
            node: self.0.options.node,
        }
    }

    async fn propose(&self, proposal: &Proposal) -> Result<Outcome> {
        let command = Command::encode(proposal)?;
        let raft = &self.0.raft;
        let here = || {
            let command = command.clone();
            async move {
                Ok(match propose(raft, command).await? {
                    Proposed::Decided(outcome, index) => Answer::Decided(outcome, index),
                    Proposed::NotLeader(leader) => Answer::NotLeader(leader),
                })
            }
        };
        let there = || Request::Propose(command.clone());
        let patience = self.0.options.timing.patience;
        match self.leader().ask(here, there, patience).await? {
            Answer::Decided(outcome, index) => {
                // Whoever wrote through this member finds it here too, unless this one lags.
                let mut applied = self.0.machine.applied();
                let reached = applied.wait_for(|applied| *applied >= index);
                let _ = tokio::time::timeout(self.0.options.timing.lease, reached).await;
                Ok(outcome)
            }
            _ => Err(unexpected()),
        }
    }

    /// Waits until all that was acknowledged before is known here.
    async fn latest(&self) -> Result<()> {
        let index = self.0.reads.index().await?;
        let mut applied = self.0.machine.applied();
        let reached = applied.wait_for(|applied| *applied >= index);
        match tokio::time::timeout(self.0.options.timing.patience, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(stopped("it was closed")),
            Err(_) => Err(Error::unavailable(
                "this member of the store lags behind the others",
            )),
        }
    }

    /// Waits for what a read asks for, and says of which revision it is.
    async fn ready(&self, read: Read) -> Result<Option<Revision>> {
        match read {
            Read::Local => Ok(None),
            Read::Latest => self.latest().await.map(|()| None),
            Read::AtLeast(revision) => {
                let reached = self.0.machine.map().reach(revision);
                match tokio::time::timeout(self.0.options.timing.patience, reached).await {
                    Ok(reached) => reached.map(|()| None),
                    Err(_) => Err(Error::timeout(format!(
                        "this member of the store does not know revision {revision} yet"
                    ))),
                }
            }
            Read::Exactly(revision) => {
                // What is in the future here may be the past elsewhere.
                if self.0.machine.map().read(|map| map.revision() < revision) {
                    self.latest().await?;
                }
                Ok(Some(revision))
            }
        }
    }
}

/// How long a change of members may take: a learner must catch up first.
const CHANGE: Duration = Duration::from_secs(65);

/// Who should lead next: the other voter that has most of the log, when this member leads.
fn successor(metrics: &RaftMetrics<Types>) -> Option<NodeId> {
    let replication = metrics.replication.as_ref()?;
    let voters = metrics.membership_config.voter_ids();
    voters
        .filter(|voter| *voter != metrics.id)
        .max_by_key(|voter| replication.get(voter).copied().flatten().map(|id| id.index))
}

/// The way to whoever leads.
#[derive(Clone)]
struct Leader {
    raft: Raft,
    calls: Calls,
    node: NodeId,
}

impl Leader {
    /// Puts a question to the leader, here or elsewhere, until it is answered by one. `Unavailable` when
    /// there was none in time, and nothing was done; `Timeout` when it is not known what was done.
    async fn ask<F: Future<Output = Result<Answer>>>(
        &self,
        here: impl Fn() -> F,
        there: impl Fn() -> Request,
        patience: Duration,
    ) -> Result<Answer> {
        let deadline = Instant::now() + patience;
        let mut hint = None;
        let mut why = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.nobody(patience, why.as_ref()));
            }
            let answer = match self.whom(hint.take()) {
                None => Ok(Answer::NotLeader(None)),
                Some(peer) if peer.node == self.node => {
                    let answer = tokio::time::timeout(left, here()).await;
                    answer.unwrap_or_else(|_| Err(not_known(patience)))
                }
                Some(peer) => self.calls.ask(&peer, there(), left).await,
            };
            match answer {
                Ok(Answer::NotLeader(leader)) => hint = leader,
                Err(error) if error.kind() == Kind::Unavailable => why = Some(error),
                answer => return answer,
            }
            if hint.is_none() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Up to which entry must be applied to know what is latest. Asking again does no harm.
    async fn index(&self, patience: Duration) -> Result<u64> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let round = left.min(patience / 4).max(PAUSE);
            let answer = self.ask(|| read_index(&self.raft), || Request::ReadIndex, round);
            match answer.await {
                Ok(Answer::Index(index)) => return Ok(index),
                Ok(_) => return Err(unexpected()),
                Err(error) if left.is_zero() => {
                    return Err(self.nobody(patience, Some(&error)));
                }
                Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Timeout) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Who leads: who was named, or who this member thinks it is.
    fn whom(&self, hint: Option<NodeId>) -> Option<Peer> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let node = hint.or(metrics.current_leader)?;
        let address = metrics.membership_config.get_node(&node)?;
        Some(Peer {
            node,
            address: address.0.clone(),
        })
    }

    fn nobody(&self, patience: Duration, why: Option<&Error>) -> Error {
        let metrics = self.raft.metrics();
        let voters = metrics
            .borrow_watched()
            .membership_config
            .voter_ids()
            .count();
        let seconds = patience.as_secs_f32();
        let text = match voters {
            0 => "this member of the store belongs to no cluster yet".to_owned(),
            _ => format!(
                "the store has had no leader for {seconds:.1} s: more than half of its {voters} voters \
                 must run and reach each other"
            ),
        };
        let error = match why {
            Some(why) => Error::unavailable(why.to_string()).within(text),
            None => Error::unavailable(text),
        };
        error.with_kind(Kind::Unavailable)
    }
}

fn not_known(patience: Duration) -> Error {
    Error::timeout(format!(
        "it is not known whether the change was made: no majority confirmed it within {:.1} s",
        patience.as_secs_f32()
    ))
}

#[async_trait]
impl Store for RaftStore {
    async fn get(&self, key: &Key, read: Read) -> Result<Found> {
        let at = self.ready(read).await?;
        self.0.machine.map().read(|map| map.get(key, at))
    }

    async fn list(&self, range: &Range, read: Read) -> Result<Listing> {
        let at = self.ready(read).await?;
        self.0.machine.map().read(|map| map.list(range, at))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Verdict> {
        transaction.check()?;
        match self.propose(&Proposal::Transaction(transaction)).await? {
            Outcome::Verdict(verdict) => Ok(verdict),
            Outcome::Done => Err(unexpected()),
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        self.0.machine.map().watch(prefix, after)
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.propose(&Proposal::Compact(revision)).await.map(|_| ())
    }
}
