//! The driver: follows the objects, runs the rules they concern, and carries out what they decide.
//!
//! Runs on the leader only. It keeps a copy of the objects ([`World`]) and a queue of who has to look
//! again; neither is a truth, so it may be dropped and begun anew at any point. What it wrote goes into the
//! copy at once, so that no rule decides on a world that lacks its own last deed.
//!
//! One loop: take in what the watches say, then one piece of work: a subject of a rule, or a batch of
//! pods for the scheduler, or events to tell.

mod carry;
pub(crate) mod feed;
mod notes;
mod placing;
mod queue;
mod timing;

use std::sync::Arc;
use std::time::Duration;

use orc_base::{Clock, Result, Time};
use orc_kube::Objects;

use crate::control::Rule;
use crate::control::daemon_set::DaemonSets;
use crate::control::deployment::Deployments;
use crate::control::job::Jobs;
use crate::control::namespace::Namespaces;
use crate::control::node::Nodes;
use crate::control::owners::Owners;
use crate::control::pod_gc::PodGc;
use crate::control::replica_set::ReplicaSets;
use crate::control::service::Services;
use crate::driver::carry::Carrier;
use crate::driver::feed::Feeds;
use crate::driver::notes::Notes;
use crate::driver::placing::Placing;
use crate::driver::queue::Queue;
use crate::driver::timing::backoff;
use crate::reference::{Kind, Ref};
use crate::world::{Change, World};

/// What a cluster can choose.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The times of nodes.
    pub nodes: Nodes,
    /// How many ended pods are kept.
    pub pod_gc: PodGc,
    /// What namespaces are furnished with.
    pub namespaces: Namespaces,
    /// Breaks ties of the scheduler.
    pub seed: u64,
}

/// All controllers and the scheduler over one cluster.
pub struct Driver {
    objects: Arc<dyn Objects>,
    clock: Arc<dyn Clock>,
    rules: Vec<Box<dyn Rule>>,
    world: World,
    feeds: Feeds,
    queue: Queue,
    placing: Placing,
    notes: Notes,
}

/// What one turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something was done; there may be more.
    Worked,
    /// Nothing is due before this time, unless something changes.
    Idle(Time),
}

/// How long to wait when nothing has a time.
const CALM: Duration = Duration::from_secs(60);

impl Driver {
    /// Reads all objects and begins to follow them. Errors as reading does.
    pub async fn start(
        objects: Arc<dyn Objects>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Result<Self> {
        let (feeds, found) = Feeds::open(&*objects).await?;
        let mut driver = Self {
            objects,
            clock,
            rules: rules(&settings),
            world: World::new(feed::kinds()),
            feeds,
            queue: Queue::default(),
            placing: Placing::new(settings.seed),
            notes: Notes::default(),
        };
        // All of them first: a rule that looked before would see too little.
        let mut changes = Vec::new();
        for (kind, object) in found {
            changes.extend(driver.take(kind, &object));
        }
        for change in &changes {
            driver.follow(change);
        }
        Ok(driver)
    }

    /// Works until the objects can no longer be followed.
    pub async fn run(mut self) -> Result<()> {
        loop {
            self.absorb().await?;
            if let Turn::Idle(until) = self.work().await {
                let wait = until.since(self.clock.now()).min(CALM);
                if let Ok(event) = tokio::time::timeout(wait, self.feeds.wait()).await {
                    for news in self.feeds.read(&*self.objects, event).await? {
                        self.learn(news);
                    }
                }
            }
        }
    }

    /// Takes in what the watches have to say now. Errors as watching does.
    pub async fn absorb(&mut self) -> Result<bool> {
        let mut any = false;
        for news in self.feeds.ready(&*self.objects).await? {
            any |= self.learn(news);
        }
        Ok(any)
    }

    /// Does one piece of work that is due.
    pub async fn work(&mut self) -> Turn {
        let now = self.clock.now();
        if let Some((rule, subject)) = self.queue.pop(now) {
            self.decide(rule, &subject, now).await;
            return Turn::Worked;
        }
        if self.place(now).await {
            return Turn::Worked;
        }
        if self.notes.flush(&*self.objects, now).await {
            return Turn::Worked;
        }
        let calm = now.plus(CALM);
        let next = [self.queue.next(), self.placing.next()]
            .into_iter()
            .flatten();
        Turn::Idle(next.min().unwrap_or(calm).min(calm))
    }

    /// What is seen now, for those who check the whole.
    pub fn world(&self) -> &World {
        &self.world
    }

    async fn decide(&mut self, index: usize, subject: &Ref, now: Time) {
        let rule = &self.rules[index];
        let decision = rule.decide(&self.world, subject, now);
        if let Some(again) = decision.again {
            self.queue.push((index, subject.clone()), again);
        }
        let name = rule.name();
        let carrier = Carrier::new(&*self.objects, name);
        let outcome = carrier.carry(decision.operations).await;
        for written in outcome.written {
            self.settle(written);
        }
        for note in outcome.notes {
            self.notes.push(name, note);
        }
        let key = (index, subject.clone());
        match outcome.failed {
            None => self.queue.succeeded(&key),
            Some(error) => {
                let tries = self.queue.failed(&key);
                tracing::debug!(rule = name, %subject, %error, tries, "decides again later");
                self.queue.hold(key, now.plus(backoff(tries)));
            }
        }
    }

    async fn place(&mut self, now: Time) -> bool {
        let batch = self.placing.batch(&self.world, now);
        if batch.is_empty() {
            return false;
        }
        let carrier = Carrier::new(&*self.objects, placing::NAME);
        let placed = self.placing.decide(&self.world, batch, now);
        let bound = carrier.bind(placed.bindings).await;
        self.placing.refuse(&bound.refused, now);
        let told = carrier.carry(placed.tellings).await;
        for written in bound.written.into_iter().chain(told.written) {
            self.settle(written);
        }
        for note in bound.notes.into_iter().chain(told.notes) {
            self.notes.push(placing::NAME, note);
        }
        true
    }

    /// Takes in what a watch said; whether it was news.
    fn learn(&mut self, news: feed::News) -> bool {
        let change = match news {
            feed::News::Is(kind, object) => self.take(kind, &object),
            feed::News::Gone { target, uid } => {
                let same = |seen: &Arc<crate::world::Seen>| {
                    uid.is_empty() || seen.meta.uid.as_deref() == Some(uid.as_str())
                };
                let there = self.world.seen(&target).is_some_and(same);
                self.feeds.forget(&target);
                there.then(|| self.world.remove(&target))
            }
        };
        if let Some(change) = &change {
            self.follow(change);
        }
        change.is_some()
    }

    /// Takes in what was written just now.
    fn settle(&mut self, written: carry::Settled) {
        let change = match written {
            carry::Settled::Is(kind, object) => self.take(kind, &object),
            carry::Settled::Gone { target, version } => {
                self.feeds.bury(&target, version);
                self.world
                    .seen(&target)
                    .is_some()
                    .then(|| self.world.remove(&target))
            }
        };
        if let Some(change) = &change {
            self.follow(change);
        }
    }

    /// Takes an object into the world, unless a newer one is there.
    fn take(&mut self, kind: Kind, object: &serde_json::Value) -> Option<Change> {
        if !self.feeds.is_news(&self.world, kind, object) {
            return None;
        }
        let heard = timing::renewal(&self.world, kind, object);
        match self.world.set(kind, object) {
            Ok(change) => {
                timing::hear(&mut self.world, &change, heard, self.clock.now());
                Some(change)
            }
            Err(error) => {
                tracing::warn!(%error, "an object that cannot be read is left alone");
                None
            }
        }
    }

    /// Queues whom a change concerns.
    fn follow(&mut self, change: &Change) {
        let now = self.clock.now();
        for (index, rule) in self.rules.iter().enumerate() {
            for subject in rule.concerns(&self.world, change) {
                self.queue.push((index, subject), now);
            }
        }
        self.placing.follow(&self.world, change, now);
    }
}

fn rules(settings: &Settings) -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(settings.nodes.clone()),
        Box::new(Services),
        Box::new(Deployments),
        Box::new(ReplicaSets),
        Box::new(DaemonSets),
        Box::new(Jobs),
        Box::new(settings.pod_gc.clone()),
        Box::new(settings.namespaces.clone()),
        Box::new(Owners),
    ]
}
