//! Clients that write and read through any member, and note what they were told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use orc_base::Kind;

use crate::model::{Change, Entry, Guard, Read, Revision, Transaction, Verdict};
use crate::raft::RaftStore;
use crate::sim::history::{Deed, History, Operation, Value, name, value_of};
use crate::sim::runtime::Chance;
use crate::sim::world::World;
use crate::{Range, Store as _};

/// How many keys there are.
const KEYS: u64 = 5;

/// Clients at work.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    world: World,
    history: Mutex<History>,
    /// Counts calls and returns: all that happens to clients is in one order.
    clock: AtomicU64,
    values: AtomicU64,
    ended: AtomicBool,
}

/// So many clients.
pub(crate) fn start(world: &World, count: usize) -> Clients {
    let shared = Arc::new(Shared {
        world: world.clone(),
        history: Mutex::default(),
        clock: AtomicU64::new(0),
        values: AtomicU64::new(1),
        ended: AtomicBool::new(false),
    });
    let work = |_| {
        let shared = shared.clone();
        tokio::spawn(async move {
            while !shared.ended.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5 + Chance::below(150))).await;
                if let Some(store) = shared.world.any() {
                    shared.one(&store).await;
                }
            }
        })
    };
    Clients {
        tasks: (0..count).map(work).collect(),
        shared,
    }
}

impl Clients {
    /// Waits for the last answers.
    pub(crate) async fn end(self) -> History {
        self.shared.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a client does not panic");
        }
        let history = self
            .shared
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        history.clone()
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn noted(&self, note: impl FnOnce(&mut History)) {
        note(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn operation(&self, key: u64, called: u64, returned: bool, deed: Deed) {
        let returned = returned.then(|| self.now());
        self.noted(|history| {
            history.operations.push(Operation {
                key,
                called,
                returned,
                deed,
            });
        });
    }

    async fn one(&self, store: &RaftStore) {
        let key = Chance::below(KEYS);
        match Chance::below(10) {
            0..=3 => self.read(store, key).await.map(|_| ()),
            4 | 5 => self.write(store, key, None).await,
            6 => self.both(store, key).await,
            7 | 8 => match self.read(store, key).await {
                Some(entry) => {
                    tokio::time::sleep(Duration::from_millis(Chance::below(200))).await;
                    self.write(store, key, Some(entry)).await
                }
                None => None,
            },
            _ => self.compact(store).await,
        };
    }

    /// What a read saw; nothing when there was no answer.
    async fn read(&self, store: &RaftStore, key: u64) -> Option<Option<Entry>> {
        let called = self.now();
        let found = store.get(&name(key), Read::Latest).await.ok()?;
        let saw = value_of(found.entry.as_ref());
        self.operation(key, called, true, Deed::Read { saw });
        self.noted(|history| history.tally.reads += 1);
        Some(found.entry)
    }

    /// A new value, or none; when `expected` is given, only if the key still has that.
    async fn write(
        &self,
        store: &RaftStore,
        key: u64,
        expected: Option<Option<Entry>>,
    ) -> Option<()> {
        let value = Chance::percent(85).then(|| self.values.fetch_add(1, Ordering::SeqCst));
        let guards = expected.as_ref().map(|entry| match entry {
            Some(entry) => Guard::Unchanged(name(key), entry.modified),
            None => Guard::Absent(name(key)),
        });
        let transaction = Transaction {
            guards: guards.into_iter().collect(),
            changes: vec![change(key, value)],
        };
        let called = self.now();
        let answer = store.commit(transaction).await;
        let expects = expected.map(|entry| value_of(entry.as_ref()));
        match answer {
            Ok(Verdict::Made { revision }) => {
                let deed = Deed::Write { expects, value };
                self.operation(key, called, true, deed);
                // Removing what is not there is no change.
                self.noted(|history| {
                    history.tally.acknowledged += 1;
                    if value.is_some() {
                        history.made.push((revision, key, value));
                    }
                });
            }
            Ok(Verdict::Refused { current, .. }) => {
                let deed = Deed::Refused {
                    expects: expects.flatten(),
                    saw: value_of(current.as_ref()),
                };
                self.operation(key, called, true, deed);
                self.noted(|history| history.tally.refused += 1);
            }
            Err(error) if error.kind() == Kind::Timeout => {
                let deed = Deed::Write { expects, value };
                self.operation(key, called, false, deed);
                self.noted(|history| history.tally.unknown += 1);
            }
            // Not made: there was no leader, or it goes through a member that was removed.
            Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Denied) => {}
            Err(error) => self.world.complain(format!("a write failed: {error:?}")),
        }
        Some(())
    }

    /// Two keys in one transaction.
    async fn both(&self, store: &RaftStore, key: u64) -> Option<()> {
        let other = (key + 1) % KEYS;
        let values = [key, other].map(|key| (key, self.values.fetch_add(1, Ordering::SeqCst)));
        let transaction = Transaction {
            guards: Vec::new(),
            changes: values
                .iter()
                .map(|(key, value)| change(*key, Some(*value)))
                .collect(),
        };
        let called = self.now();
        let answer = store.commit(transaction).await;
        let known = match answer {
            Ok(Verdict::Made { revision }) => {
                self.noted(|history| {
                    history.tally.acknowledged += 1;
                    let first = Revision(revision.0 - 1);
                    history.made.push((first, values[0].0, Some(values[0].1)));
                    history
                        .made
                        .push((revision, values[1].0, Some(values[1].1)));
                });
                true
            }
            Err(error) if error.kind() == Kind::Timeout => {
                self.noted(|history| history.tally.unknown += 1);
                false
            }
            _ => return None,
        };
        for (key, value) in values {
            let deed = Deed::Write {
                expects: None,
                value: Some(value),
            };
            self.operation(key, called, known, deed);
        }
        Some(())
    }

    async fn compact(&self, store: &RaftStore) -> Option<()> {
        let range = Range {
            limit: 1,
            ..Range::default()
        };
        let now = store.list(&range, Read::Local).await.ok()?.revision;
        if Chance::percent(30) {
            let upto = Revision(now.0.saturating_sub(Chance::below(60)));
            store.compact(upto).await.ok()?;
        }
        Some(())
    }
}

fn change(key: u64, value: Value) -> Change {
    match value {
        Some(value) => Change::Put(name(key), Bytes::from(value.to_string())),
        None => Change::Remove(name(key)),
    }
}
