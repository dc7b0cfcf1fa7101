//! Members, their disks, and the network between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use orc_base::{Error, Result};

use crate::keys::Keys;
use crate::map::Limits;
use crate::raft::{ClusterId, Options, RaftStore, Role};
use crate::sim::disk::SimDisk;
use crate::sim::runtime::Chance;
use crate::transport::{NodeId, Peer, Transport};
use crate::writer::Writer;

/// Everything there is. Copies are the same world.
#[derive(Clone)]
pub(crate) struct World(Arc<(Mutex<State>, tokio::time::Instant)>);

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeId, Node>,
    /// Who does not reach whom.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// The longest a message takes.
    delay: Duration,
    complaints: Vec<String>,
    lives: u64,
    /// Who was removed: they never come back.
    gone: BTreeSet<NodeId>,
}

struct Node {
    disk: SimDisk,
    keys: Arc<Keys>,
    store: Option<RaftStore>,
    /// Counts all starts in the world.
    life: u64,
    /// Its disk was made to fail.
    doomed: bool,
    /// It is being started.
    starting: bool,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many voters.
    pub(crate) async fn new(count: u64) -> Self {
        let began = tokio::time::Instant::now();
        let world = Self(Arc::new((Mutex::default(), began)));
        world.state().delay = Duration::from_millis(1 + Chance::below(5));
        world.start(1).await;
        let first = world.store(1).expect("it was started");
        first.found().await.expect("it is new");
        for node in 2..=count {
            world.start(node).await;
            first.add(peer(node)).await.expect("a learner");
            first.promote(node).await.expect("a voter");
        }
        world
    }

    /// Starts a member, with the disk it had or a new one.
    pub(crate) async fn start(&self, node: NodeId) {
        let (disk, keys, life) = {
            let mut state = self.state();
            if state.gone.contains(&node) {
                return;
            }
            state.lives += 1;
            let life = state.lives;
            let held = state.nodes.entry(node).or_insert_with(|| Node {
                disk: SimDisk::default(),
                keys: Arc::new(Keys::ephemeral()),
                store: None,
                life,
                doomed: false,
                starting: false,
            });
            if held.store.is_some() || held.starting {
                return;
            }
            (held.life, held.doomed, held.starting) = (life, false, true);
            (held.disk.clone(), held.keys.clone(), life)
        };
        let options = Options {
            address: format!("node-{node}"),
            limits: Limits {
                events: 150,
                bytes: 1 << 20,
            },
            snapshot_after: 50,
            keep_behind: 10,
            ..Options::new(node, ClusterId([7; 16]), PathBuf::new())
        };
        let way = Arc::new(Way {
            from: node,
            life,
            world: self.clone(),
        });
        let slow = disk.clone();
        let writer = move |wal| Ok(Writer::task(wal, move || slow.delay()));
        match RaftStore::start(options, way, Arc::new(disk), keys, writer).await {
            Ok(store) if self.lives(node, life) => {
                let (applied, last) = (store.status().applied, store.status().last);
                self.tell(&format!("started {node}: applied {applied}, last {last}"));
                self.mourn(node, life, store.clone());
                if let Some(held) = self.state().nodes.get_mut(&node) {
                    held.store = Some(store);
                    held.starting = false;
                }
            }
            // The power went meanwhile.
            Ok(store) => store.end().await,
            Err(error) if self.lives(node, life) => {
                self.complain(format!("node {node} does not start: {error}"));
            }
            Err(_) => {}
        }
    }

    /// Whether this life of a member has not ended.
    fn lives(&self, node: NodeId, life: u64) -> bool {
        let state = self.state();
        let held = state.nodes.get(&node);
        held.is_some_and(|held| held.life == life && (held.starting || held.store.is_some()))
    }

    /// Complains when a member dies that nobody hurt.
    fn mourn(&self, node: NodeId, life: u64, store: RaftStore) {
        let world = self.clone();
        tokio::spawn(async move {
            let error = store.failed().await;
            drop(store);
            let unhurt = |held: &Node| held.life == life && held.store.is_some() && !held.doomed;
            let complain = world.state().nodes.get(&node).is_some_and(unhurt);
            if complain {
                world.complain(format!("node {node} died by itself: {error}"));
            }
        });
    }

    /// Tells what happens, when one seed is looked at.
    pub(crate) fn tell(&self, text: &str) {
        if std::env::var_os("SIM_SEED").is_some() {
            let now = tokio::time::Instant::now().duration_since(self.0.1);
            println!("{:>8.3} {text}", now.as_secs_f64());
        }
    }

    pub(crate) fn complain(&self, text: String) {
        self.state().complaints.push(text);
    }

    /// What went wrong in the world itself.
    pub(crate) fn complaints(&self) -> Result<(), String> {
        match self.state().complaints.first() {
            Some(complaint) => Err(complaint.clone()),
            None => Ok(()),
        }
    }

    /// Takes a member's power.
    pub(crate) fn crash(&self, node: NodeId) {
        self.tell(&format!("crash {node}"));
        let store = self.state().nodes.get_mut(&node).and_then(|held| {
            held.disk = held.disk.crash();
            held.starting = false;
            held.store.take()
        });
        if let Some(store) = store {
            tokio::spawn(async move { store.end().await });
        }
    }

    /// Lets a member stop of its own accord.
    pub(crate) async fn stop(&self, node: NodeId) {
        self.tell(&format!("stop {node}"));
        if let Some(store) = self.store(node) {
            if let Some(held) = self.state().nodes.get_mut(&node) {
                held.doomed = true;
            }
            let _ = store.stop().await;
            self.crash(node);
        }
    }

    /// Lets the next sync of a member fail.
    pub(crate) fn fail_disk(&self, node: NodeId) {
        self.tell(&format!("fail the disk of {node}"));
        if let Some(held) = self.state().nodes.get_mut(&node)
            && held.store.is_some()
        {
            held.doomed = true;
            held.disk.fail();
        }
    }

    pub(crate) fn slow_disk(&self, node: NodeId, delay: Duration) {
        self.tell(&format!(
            "slow the disk of {node} to {} ms",
            delay.as_millis()
        ));
        if let Some(held) = self.state().nodes.get(&node) {
            held.disk.slow(delay);
        }
    }

    /// Lets `from` no longer reach `to`.
    pub(crate) fn cut(&self, from: NodeId, to: NodeId) {
        self.tell(&format!("cut {from} from {to}"));
        self.state().cut.insert((from, to));
    }

    /// Lets everyone reach everyone.
    pub(crate) fn mend(&self) {
        self.tell("mend");
        self.state().cut.clear();
    }

    /// All members that were ever started and not removed, running or not.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.state().nodes.keys().copied().collect()
    }

    /// A member that runs.
    pub(crate) fn store(&self, node: NodeId) -> Option<RaftStore> {
        self.state().nodes.get(&node)?.store.clone()
    }

    /// Some member that runs.
    pub(crate) fn any(&self) -> Option<RaftStore> {
        let state = self.state();
        let running: Vec<_> = state
            .nodes
            .values()
            .filter_map(|held| held.store.as_ref())
            .collect();
        let at = Chance::below(running.len() as u64) as usize;
        running.get(at).map(|store| (*store).clone())
    }

    /// Takes a member out of the world, after it was removed from the cluster.
    pub(crate) fn forget(&self, node: NodeId) {
        self.tell(&format!("forget {node}"));
        self.crash(node);
        let mut state = self.state();
        state.nodes.remove(&node);
        state.gone.insert(node);
    }

    /// Ends all faults: everyone runs and reaches everyone.
    pub(crate) async fn heal(&self) {
        self.mend();
        for node in self.nodes() {
            self.slow_disk(node, Duration::ZERO);
            let doomed = self
                .state()
                .nodes
                .get(&node)
                .is_some_and(|held| held.doomed);
            if doomed {
                self.crash(node);
            }
            self.start(node).await;
        }
    }

    /// Waits until the store takes writes from every voter.
    pub(crate) async fn settle(&self, within: Duration) -> Result<(), String> {
        let at = std::sync::atomic::AtomicU64::new(0);
        let everyone = async {
            for node in self.voters().await {
                at.store(node, std::sync::atomic::Ordering::Relaxed);
                let Some(store) = self.store(node) else {
                    continue;
                };
                let key = crate::Key::new("settled").expect("a good name");
                let second = Duration::from_secs(1);
                let read = || crate::Store::get(&store, &key, crate::Read::Latest);
                while !matches!(tokio::time::timeout(second, read()).await, Ok(Ok(_))) {
                    // Whoever was being removed when all became well is a voter no more.
                    if !self.voters().await.contains(&node) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                if !self.voters().await.contains(&node) {
                    continue;
                }
                let write = crate::Transaction {
                    guards: Vec::new(),
                    changes: vec![crate::Change::Put(key, Bytes::from_static(b"settled"))],
                };
                crate::Store::commit(&store, write).await.map_err(|error| {
                    format!("node {node} takes no writes after all is well: {error}")
                })?;
            }
            Ok(())
        };
        let waited = tokio::time::timeout(within, everyone).await;
        waited.unwrap_or_else(|_| {
            Err(format!(
                "node {at:?} takes no writes {} s after all was well: {}",
                within.as_secs(),
                self.picture()
            ))
        })
    }

    /// How things are, for a message.
    fn picture(&self) -> String {
        let state = self.state();
        let of = |(node, held): (&NodeId, &Node)| match &held.store {
            Some(store) => {
                let status = store.status();
                format!(
                    "{node}: leader {:?} term {} last {} applied {} of {}",
                    status.leader,
                    status.term,
                    status.last,
                    status.applied,
                    status.members.len()
                )
            }
            None => format!("{node}: down"),
        };
        state.nodes.iter().map(of).collect::<Vec<_>>().join("; ")
    }

    /// Who decides, as the leader sees it.
    pub(crate) async fn voters(&self) -> Vec<NodeId> {
        let mut best = None;
        for node in self.nodes() {
            if let Some(store) = self.store(node) {
                let status = store.status();
                if best
                    .as_ref()
                    .is_none_or(|held: &crate::Status| held.applied < status.applied)
                {
                    best = Some(status);
                }
            }
        }
        let members = best.map(|status| status.members).unwrap_or_default();
        let voters = members
            .into_iter()
            .filter(|member| member.role == Role::Voter);
        voters.map(|member| member.peer.node).collect()
    }

    /// Waits until all members say exactly the same.
    pub(crate) async fn same_everywhere(&self, within: Duration) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let members = self.voters().await;
            let stores: Vec<_> = members
                .iter()
                .filter_map(|node| self.store(*node))
                .collect();
            let applied: BTreeSet<u64> =
                stores.iter().map(|store| store.status().applied).collect();
            let sums: BTreeSet<[u8; 32]> = stores.iter().map(RaftStore::checksum).collect();
            if sums.len() == 1 && applied.len() == 1 {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(match applied.len() {
                    1 => format!(
                        "members differ at the same entry: {}; {:?}",
                        self.picture(),
                        stores.iter().map(RaftStore::outline).collect::<Vec<_>>()
                    ),
                    _ => format!("members do not catch up: {}", self.picture()),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) fn peer(node: NodeId) -> Peer {
    Peer {
        node,
        address: format!("node-{node}"),
    }
}

/// A member's way to the others.
struct Way {
    from: NodeId,
    life: u64,
    world: World,
}

impl Way {
    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.world.state().cut.contains(&(from, to))
    }

    async fn travel(&self) {
        let longest = self.world.state().delay.as_micros() as u64;
        let slow = match Chance::percent(2) {
            true => 20,
            false => 1,
        };
        let time = 50 + Chance::below(longest) * slow;
        tokio::time::sleep(Duration::from_micros(time)).await;
    }

    fn there(&self, to: NodeId) -> Option<(RaftStore, u64)> {
        let state = self.world.state();
        let held = state.nodes.get(&to)?;
        Some((held.store.clone()?, held.life))
    }
}

#[async_trait]
impl Transport for Way {
    async fn call(&self, to: &Peer, message: Bytes) -> Result<Bytes> {
        let gone = || Error::unavailable(format!("node {} cannot be reached", to.node));
        self.travel().await;
        if !self.world.lives(self.from, self.life) {
            std::future::pending::<()>().await;
        }
        if self.is_cut(self.from, to.node) {
            if Chance::percent(50) {
                return Err(gone());
            }
            std::future::pending::<()>().await;
        }
        let (store, life) = self.there(to.node).ok_or_else(gone)?;
        let from = self.from;
        // It goes on there when nobody waits for it here any more.
        let answer = tokio::spawn(async move { store.receive(from, message).await }).await;
        let lost = || Error::timeout(format!("the answer of node {} was lost", to.node));
        let answer = answer.map_err(|_| lost())?;
        self.travel().await;
        if self.is_cut(to.node, self.from) || self.there(to.node).is_none_or(|(_, now)| now != life)
        {
            match Chance::percent(50) {
                true => return Err(lost()),
                false => std::future::pending::<()>().await,
            }
        }
        Ok(answer)
    }
}
