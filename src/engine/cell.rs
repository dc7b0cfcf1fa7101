//! One container in memory: its records, its present run, and who waits for it.
//!
//! `turn` is held by whoever carries out an operation on the container, for as long as that takes;
//! reading never waits for it. The phase changes only through [`Cell::step`], which asks
//! [`crate::lifecycle`] and wakes everyone who waits. Nothing here does input or output but
//! [`Cell::save`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orc_base::fs::Durability;
use orc_base::{Error, Id, Result, Time};
use orc_host::container::{Exit, Health};
use orc_net::model::Sandbox;
use orc_runtime::Monitor;
use tokio::sync::watch;

use crate::lifecycle::{self, Action, Event, Phase};
use crate::records::{ContainerRecord, StateRecord};
use crate::store::Store;

/// One container.
pub(crate) struct Cell {
    id: Id,
    /// Whose turn it is to change the container.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    inner: Mutex<Inner>,
    /// Held while the state is written, so that an older one never replaces a newer one.
    disk: Mutex<()>,
    pulse: watch::Sender<Pulse>,
}

struct Inner {
    record: Arc<ContainerRecord>,
    state: StateRecord,
    run: Option<Arc<Run>>,
}

/// A container's program while it runs.
pub(crate) struct Run {
    /// The runtime's hold on it.
    pub monitor: Monitor,
}

/// What those who wait look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse {
    /// How many runs, and starts that failed, have ended since the daemon began.
    pub ends: u64,
    /// Its program runs.
    pub running: bool,
    /// It neither runs nor will without someone asking.
    pub at_rest: bool,
    /// Nothing of an earlier run is left to tear down.
    pub settled: bool,
    /// It is gone.
    pub removed: bool,
    /// How it last ended.
    pub exit: Option<Exit>,
}

impl Cell {
    /// A container with its records as they are on disk.
    pub(crate) fn new(record: ContainerRecord, state: StateRecord) -> Self {
        let phase = &state.life.phase;
        let pulse = Pulse {
            running: phase.is_running(),
            at_rest: phase.is_at_rest(),
            settled: !phase.is_running() && !matches!(phase, Phase::Starting { .. }),
            exit: phase.exit().cloned(),
            ..Pulse::default()
        };
        Self {
            id: record.id.clone(),
            turn: Arc::default(),
            inner: Mutex::new(Inner {
                record: Arc::new(record),
                state,
                run: None,
            }),
            disk: Mutex::new(()),
            pulse: watch::Sender::new(pulse),
        }
    }

    /// Its identifier.
    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    /// What it is.
    pub(crate) fn record(&self) -> Arc<ContainerRecord> {
        self.lock().record.clone()
    }

    /// Replaces what it is, after the change is on disk.
    pub(crate) fn set_record(&self, record: ContainerRecord) {
        self.lock().record = Arc::new(record);
    }

    /// Where it is in its life.
    pub(crate) fn state(&self) -> StateRecord {
        self.lock().state.clone()
    }

    /// Its phase.
    pub(crate) fn phase(&self) -> Phase {
        self.lock().state.life.phase.clone()
    }

    /// Its program, when it runs.
    pub(crate) fn run(&self) -> Option<Arc<Run>> {
        let inner = self.lock();
        match inner.state.life.phase.is_running() {
            true => inner.run.clone(),
            false => None,
        }
    }

    /// Its program, or `Conflict` when it does not run.
    pub(crate) fn running(&self) -> Result<Arc<Run>> {
        self.run().ok_or_else(|| {
            Error::conflict(format!("container {} is not running", self.record().name))
        })
    }

    /// Gives it its program.
    pub(crate) fn set_run(&self, run: Option<Arc<Run>>) {
        self.lock().run = run;
    }

    /// Its places on networks.
    pub(crate) fn set_sandbox(&self, sandbox: Option<Sandbox>) {
        self.lock().state.sandbox = sandbox;
    }

    /// What the probes found.
    pub(crate) fn set_health(&self, health: Option<Health>) {
        self.lock().state.health = health;
    }

    /// Forgets all that is only true while it runs.
    pub(crate) fn forget_run(&self) {
        let mut inner = self.lock();
        inner.run = None;
        inner.state.sandbox = None;
        inner.state.health = None;
    }

    /// Says that its kernel objects are of the present boot.
    pub(crate) fn set_boot(&self, boot: &str) {
        self.lock().state.boot = boot.into();
    }

    /// Makes one step in its life and tells those who wait. The actions are the caller's to do.
    pub(crate) fn step(&self, event: Event, now: Time) -> Result<Vec<Action>> {
        let ends = matches!(event, Event::Ended { .. } | Event::StartFailed { .. });
        let mut inner = self.lock();
        let rules = inner.record.rules();
        let (life, actions) = lifecycle::step(&inner.state.life, rules, event, now)?;
        inner.state.life = life;
        let phase = &inner.state.life.phase;
        self.pulse.send_modify(|pulse| {
            pulse.ends += u64::from(ends);
            pulse.running = phase.is_running();
            pulse.at_rest = phase.is_at_rest();
            if matches!(phase, Phase::Starting { .. }) {
                pulse.settled = false;
            }
            if let Some(exit) = phase.exit() {
                pulse.exit = Some(exit.clone());
            }
        });
        Ok(actions)
    }

    /// Says that nothing of the last run is left.
    pub(crate) fn settle(&self) {
        self.pulse.send_modify(|pulse| pulse.settled = true);
    }

    /// Says that it is gone.
    pub(crate) fn remove(&self) {
        self.pulse.send_modify(|pulse| {
            pulse.removed = true;
            pulse.running = false;
            pulse.at_rest = true;
            pulse.settled = true;
        });
    }

    /// What those who wait look at, now.
    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.borrow().clone()
    }

    /// Waits until `look` holds.
    pub(crate) async fn until(&self, look: impl FnMut(&Pulse) -> bool) -> Pulse {
        let mut pulse = self.pulse.subscribe();
        // The sender lives in `self`, so the channel is open.
        match pulse.wait_for(look).await {
            Ok(seen) => seen.clone(),
            Err(_) => Pulse::default(),
        }
    }

    /// Waits until nothing of an earlier run is left.
    pub(crate) async fn until_settled(&self) {
        self.until(|pulse| pulse.settled).await;
    }

    /// Writes where it is in its life. Nothing is written once it is gone.
    pub(crate) fn save(&self, store: &Store, durability: Durability) -> Result<()> {
        let _writing = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if self.pulse.borrow().removed {
            return Ok(());
        }
        let state = self.state();
        store.save_state(&self.id, &state, durability)
    }

    /// [`Cell::save`] where what happened has happened, and a full disk must not stand in the way of
    /// what comes next.
    pub(crate) fn save_or_warn(&self, store: &Store, durability: Durability) {
        if let Err(error) = self.save(store, durability) {
            tracing::error!(
                "{}",
                error.within(format!("record container {}", self.id.short()))
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
