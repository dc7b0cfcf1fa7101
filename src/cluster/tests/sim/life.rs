//! One life: the cluster, its clock, and what happens when.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orc_base::clock::FakeClock;
use orc_base::{Clock, Time};
use orc_kube::kinds::NAMESPACE;
use orc_kube::{LocalObjects, Object, Objects, Scope, Settings as ApiSettings, WriteOptions};
use orc_store::MemoryStore;
use serde_json::json;

use super::agent::Agent;
use super::chaos::{Chance, Chaos};
use super::checks::Checks;
use super::user;
use crate::driver::feed::{self, Feeds, News};
use crate::driver::{Driver, Settings, Turn};
use crate::world::World;

/// Nodes of a cluster.
const NODES: u64 = 4;
/// How long users and faults are about, and how long the cluster has to come to rest.
const BUSY: Duration = Duration::from_secs(30);
const REST: Duration = Duration::from_secs(240);
/// The clock's step.
const STEP: Duration = Duration::from_millis(100);
/// Pieces of work between two steps of the clock, at most: more is a loop.
const WORK: usize = 2000;

/// A cluster in the hands of chance.
pub(super) struct Life {
    seed: u64,
    chance: Chance,
    clock: Arc<FakeClock>,
    objects: LocalObjects,
    chaos: Arc<Chaos>,
    driver: Option<Driver>,
    agents: Vec<Agent>,
    feeds: Feeds,
    /// What there is, as someone sees it who only watches.
    world: World,
    checks: Checks,
    calm: bool,
    /// Steps, pods run, controllers killed, writes failed.
    pub(super) told: [u64; 4],
}

impl Life {
    pub(super) async fn begin(seed: u64) -> Self {
        let clock = Arc::new(FakeClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
        let store = Arc::new(MemoryStore::default());
        let objects = LocalObjects::new(store, clock.clone(), ApiSettings::default());
        for name in ["default", "kube-node-lease"] {
            let namespace = Object::from_value(json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
            }));
            let scope = Scope::all(&NAMESPACE);
            objects
                .create(&scope, namespace.unwrap(), &WriteOptions::by("sim"))
                .await
                .unwrap();
        }
        // A third of all lives know no faults: there more can be promised.
        let calm = seed.is_multiple_of(3);
        let agents: Vec<Agent> = (1..=NODES).map(|number| Agent::new(number, calm)).collect();
        for agent in &agents {
            agent.join(&objects, clock.now()).await;
        }
        let chaos = Arc::new(Chaos::new(objects.clone(), seed, if calm { 0 } else { 5 }));
        let (feeds, found) = Feeds::open(&objects).await.unwrap();
        let mut world = World::new(feed::kinds());
        for (kind, object) in found {
            world.set(kind, &object).unwrap();
        }
        Self {
            seed,
            chance: Chance::new(seed),
            clock,
            objects,
            chaos,
            driver: None,
            agents,
            feeds,
            world,
            checks: Checks::new(calm),
            calm,
            told: [0; 4],
        }
    }

    /// Users and faults.
    pub(super) async fn live(&mut self) {
        let end = self.clock.now().plus(BUSY);
        user::begin(&self.objects, &mut self.chance).await;
        while self.clock.now() < end {
            if self.chance.percent(if self.calm { 2 } else { 12 }) {
                user::act(&self.objects, &self.world, &mut self.chance, self.calm).await;
            }
            if !self.calm {
                self.fault();
            }
            self.step().await;
        }
    }

    /// Everything is mended; then everything must come to rest as it should be.
    pub(super) async fn end(&mut self) {
        self.chaos.die_after(-1);
        user::let_rest(&self.objects, &self.world).await;
        for agent in &mut self.agents {
            (agent.alive, agent.connected, agent.calm) = (true, true, true);
        }
        let end = self.clock.now().plus(REST);
        let mut wrong = String::new();
        while self.clock.now() < end {
            self.step().await;
            wrong = super::checks::rest(&self.world);
            if wrong.is_empty() {
                break;
            }
        }
        assert!(
            wrong.is_empty(),
            "seed {}: at rest, and yet:\n{wrong}",
            self.seed
        );
        self.told[1] = self.agents.iter().map(|agent| agent.run).sum();
        self.told[3] = self.chaos.faults.load(Ordering::SeqCst);
    }

    fn fault(&mut self) {
        let at = usize::try_from(self.chance.below(NODES)).unwrap();
        let agent = &mut self.agents[at];
        match self.chance.below(400) {
            0..4 => agent.die(),
            4..12 => agent.alive = true,
            12..16 => agent.connected = false,
            16..24 => agent.connected = true,
            24..30 => {
                let writes = 1 + self.chance.below(20);
                self.chaos.die_after(i64::try_from(writes).unwrap());
            }
            _ => {}
        }
    }

    async fn step(&mut self) {
        self.told[0] += 1;
        tokio::task::yield_now().await;
        self.clock.advance(STEP);
        let now: Time = self.clock.now();
        let mut changed = self.look().await;
        for agent in &mut self.agents {
            agent
                .tick(&self.objects, &self.world, &mut self.chance, now)
                .await;
        }
        self.drive().await;
        changed |= self.look().await;
        if changed && let Some(wrong) = self.checks.always(&self.world) {
            panic!("seed {} at {now}: {wrong}", self.seed);
        }
    }

    /// The controllers, until they have nothing to do, or die.
    async fn drive(&mut self) {
        let mut driver = match self.driver.take() {
            Some(driver) => driver,
            None => {
                let settings = Settings {
                    seed: self.seed,
                    ..Settings::default()
                };
                Driver::start(self.chaos.clone(), self.clock.clone(), settings)
                    .await
                    .unwrap()
            }
        };
        for _ in 0..WORK {
            driver.absorb().await.unwrap();
            let turn = driver.work().await;
            if self.chaos.is_dead() {
                self.chaos.die_after(-1);
                self.told[2] += 1;
                return;
            }
            if matches!(turn, Turn::Idle(_)) {
                self.driver = Some(driver);
                return;
            }
        }
        panic!("seed {}: the controllers go round in circles", self.seed);
    }

    /// Takes in what has happened; whether anything has.
    async fn look(&mut self) -> bool {
        let mut changed = false;
        loop {
            let news = self.feeds.ready(&self.objects).await.unwrap();
            if news.is_empty() {
                return changed;
            }
            changed = true;
            for item in news {
                match item {
                    News::Is(kind, object) => {
                        self.world.set(kind, &object).unwrap();
                    }
                    News::Gone { target, .. } => {
                        self.world.remove(&target);
                    }
                }
            }
        }
    }
}
