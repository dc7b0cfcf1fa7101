//! openraft's state machine over the map, and its snapshots.
//!
//! The map lives in memory alone. A snapshot is written from a copy of it, in the background; after a
//! restart the newest one is read and the entries behind it are applied again.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use orc_base::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::keys::Keys;
use crate::map::{Limits, Map};
use crate::news;
use crate::raft::types::{Entry, LogId, Membership, Outcome, Proposal, SnapshotMeta, Types};
use crate::snapshot::{self, Image};
use crate::transport::NodeId;
use crate::watch::Shared;

/// Entries that are applied under one lock.
const BATCH: usize = 256;

pub(crate) type Snapshot = openraft::alias::SnapshotOf<Types, Image>;

/// The state machine of one member. Copies share it.
#[derive(Clone)]
pub(crate) struct Machine {
    map: Shared,
    state: Arc<Mutex<State>>,
    applied: news::Sender<u64>,
    files: Files,
}

/// What is known beside the map. It changes only together with the map.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The last entry that was applied.
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Membership,
    /// Who was a member and is none: they are never spoken with again.
    pub(crate) removed: BTreeSet<NodeId>,
}

impl State {
    /// The image of a map and this.
    pub(crate) fn image(&self, map: Map) -> Image {
        let about = postcard::to_allocvec(self).expect("plain data can always be encoded");
        Image {
            map,
            about: about.into(),
        }
    }

    /// What an image says beside its map.
    pub(crate) fn of(image: &Image) -> Result<Self> {
        postcard::from_bytes(&image.about)
            .map_err(|error| Error::unsupported(format!("a newer orc made the snapshot: {error}")))
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }

    /// The file this state is kept in. Later states have greater names.
    pub(crate) fn file(&self) -> String {
        let (term, index) = self
            .applied
            .map_or((0, 0), |id| (id.leader_id.term, id.index));
        format!("snapshot-{term:020}-{index:020}")
    }

    /// Applies one entry.
    pub(crate) fn apply(&mut self, map: &mut Map, entry: &Entry) -> Result<Outcome> {
        self.applied = Some(entry.log_id);
        match &entry.payload {
            EntryPayload::Blank => Ok(Outcome::Done),
            EntryPayload::Normal(command) => Ok(match command.decode()? {
                Proposal::Transaction(transaction) => Outcome::Verdict(map.apply(&transaction)),
                Proposal::Compact(revision) => {
                    map.compact(revision);
                    Outcome::Done
                }
            }),
            EntryPayload::Membership(membership) => {
                let now: BTreeSet<NodeId> = membership.nodes().map(|(node, _)| *node).collect();
                let before = self.membership.nodes().map(|(node, _)| *node);
                self.removed
                    .extend(before.filter(|node| !now.contains(node)));
                self.membership = Membership::new(Some(entry.log_id), membership.clone());
                Ok(Outcome::Done)
            }
        }
    }
}

/// Where snapshots are kept.
#[derive(Clone)]
struct Files {
    disk: Arc<dyn Disk>,
    keys: Arc<Keys>,
    limits: Limits,
}

impl Files {
    /// Writes a snapshot, off the threads that others wait for.
    async fn write(&self, state: &State, image: Image) -> Result<()> {
        let (files, name) = (self.clone(), state.file());
        apart(move || snapshot::write(&*files.disk, &files.keys, &name, image)).await
    }

    async fn newest(&self) -> Result<Option<Image>> {
        let files = self.clone();
        let read = move || {
            let name = snapshot::newest(&*files.disk)?;
            name.map(|name| snapshot::read(&*files.disk, &files.keys, &name, files.limits))
                .transpose()
        };
        apart(read).await
    }
}

/// Runs what takes long where nobody waits. A runtime with one thread is a simulation, whose order must
/// not depend on threads.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(Error::internal(error.to_string()))),
    }
}

impl Machine {
    /// An empty one, which keeps its snapshots on `disk`.
    pub(crate) fn new(disk: Arc<dyn Disk>, keys: Arc<Keys>, limits: Limits) -> Self {
        Self {
            map: Shared::new(Map::new(limits)),
            state: Arc::default(),
            applied: news::Sender::new(0),
            files: Files { disk, keys, limits },
        }
    }

    /// The map.
    pub(crate) fn map(&self) -> &Shared {
        &self.map
    }

    /// What is known beside the map.
    pub(crate) fn state(&self) -> State {
        self.locked(|state| state.clone())
    }

    /// Whether this was a member and is none any more.
    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.locked(|state| state.removed.contains(&node))
    }

    /// The index of the last entry that was applied, now and later.
    pub(crate) fn applied(&self) -> news::Receiver<u64> {
        self.applied.subscribe()
    }

    fn locked<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn apply_batch(
        &self,
        batch: Vec<(Entry, Option<ApplyResponder<Types>>)>,
    ) -> Result<(), io::Error> {
        let Some((last, _)) = batch.last() else {
            return Ok(());
        };
        let last = last.log_id.index;
        let outcomes = self.map.write(|map| {
            self.locked(|state| {
                let apply = |(entry, responder)| Ok((state.apply(map, &entry)?, responder));
                batch.into_iter().map(apply).collect::<Result<Vec<_>>>()
            })
        });
        let outcomes = outcomes.map_err(io::Error::other)?;
        self.applied.send_replace(last);
        for (outcome, responder) in outcomes {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Image;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok(self.locked(|state| (state.applied, state.membership.clone())))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        while let Some(entry) = entries.next().await {
            batch.push(entry?);
            if batch.len() == BATCH {
                self.apply_batch(std::mem::take(&mut batch))?;
            }
        }
        self.apply_batch(batch)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            map: self.map.read(Map::clone),
            state: self.state(),
            files: self.files.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        image: Image,
    ) -> Result<(), io::Error> {
        let install = async {
            let mut state = State::of(&image)?;
            state.applied = meta.last_log_id;
            state.membership = meta.last_membership.clone();
            if !self.files.disk.list()?.contains(&state.file()) {
                self.files
                    .write(&state, state.image(image.map.clone()))
                    .await?;
            }
            let index = state.applied.map_or(0, |id| id.index);
            self.map.write(|map| {
                self.locked(|held| *held = state);
                *map = image.map;
            });
            self.applied.send_replace(index);
            Ok::<_, Error>(())
        };
        install.await.map_err(io::Error::other)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let image = self.files.newest().await.map_err(io::Error::other)?;
        let snapshot = image.map(|image| {
            let meta = State::of(&image)?.meta();
            Ok::<_, Error>(Snapshot {
                meta,
                snapshot: image,
            })
        });
        snapshot.transpose().map_err(io::Error::other)
    }
}

/// Writes one snapshot.
pub(crate) struct Builder {
    map: Map,
    state: State,
    files: Files,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let image = self.state.image(self.map.clone());
        let written = self.files.write(&self.state, image.clone()).await;
        written.map_err(io::Error::other)?;
        Ok(Snapshot {
            meta: self.state.meta(),
            snapshot: image,
        })
    }
}
