//! The scheduler's place in the driver: which pods wait, and when they are tried again.
//!
//! A pod that fits nowhere is tried again as soon as something changed that could help, and otherwise
//! rarely. The book is kept up with every change of a pod, a node or a namespace.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use orc_base::Time;
use serde_json::json;

use crate::control::conditions::{Conditions, Says, difference};
use crate::object::Facts;
use crate::operation::{Deed, Note, Operation};
use crate::reference::{Kind, Ref};
use crate::sched::{Book, Demand, decide};
use crate::world::{Change, World};

/// The scheduler's name.
pub(crate) const NAME: &str = "default-scheduler";
/// Pods placed at once, at most.
const BATCH: usize = 256;
/// After how long a pod that fits nowhere is tried although nothing changed.
const RARELY: Duration = Duration::from_secs(60);
/// How long changes are gathered before pods that fitted nowhere are tried again.
const GATHER: Duration = Duration::from_millis(50);
/// After how long a pod is tried again whose binding was refused.
const REFUSED: Duration = Duration::from_millis(20);

/// The book and who waits.
#[derive(Debug)]
pub(crate) struct Placing {
    book: Book,
    /// By pod: when it is tried, and whether it fitted nowhere before.
    waiting: BTreeMap<Ref, (Time, bool)>,
    seed: u64,
}

/// What was decided about a batch.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    /// One for each pod that has a node now.
    pub(crate) bindings: Vec<Operation>,
    /// What is to be said of the others.
    pub(crate) tellings: Vec<Operation>,
}

impl Placing {
    /// Nothing is known and nobody waits.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            book: Book::new(),
            waiting: BTreeMap::new(),
            seed,
        }
    }

    /// Keeps the book, and wakes those whom a change could help.
    pub(crate) fn follow(&mut self, world: &World, change: &Change, now: Time) {
        let target = &change.target;
        if target.kind == Kind::of::<Pod>() {
            self.follow_pod(world, change, now);
        } else if target.kind == Kind::of::<Node>() {
            match world.nodes.get("", &target.name) {
                Some(node) => self.book.set_node(node),
                None => self.book.remove_node(&target.name),
            }
            self.wake(now);
        } else if target.kind == Kind::of::<Namespace>() {
            let labels = change.after.as_ref().map(|seen| seen.labels());
            self.book.set_namespace(&target.name, labels);
        }
    }

    fn follow_pod(&mut self, world: &World, change: &Change, now: Time) {
        let target = &change.target;
        let uids: HashSet<&str> = change.both().map(|seen| seen.uid()).collect();
        let pod = world.pods.get(&target.namespace, &target.name);
        let held: Vec<String> = uids
            .iter()
            .filter_map(|uid| self.book.node_of(uid).map(str::to_owned))
            .collect();
        for uid in uids {
            if pod.is_none_or(|pod| pod.uid() != uid) {
                self.book.remove_pod(uid);
            }
        }
        match pod {
            Some(pod) if waits(pod) => {
                self.waiting.entry(target.clone()).or_insert((now, false));
            }
            Some(pod) => {
                self.waiting.remove(target);
                self.book.set_pod(pod);
            }
            None => {
                self.waiting.remove(target);
            }
        }
        let uid = pod.map(|pod| pod.uid()).unwrap_or_default();
        if !held.is_empty() && self.book.node_of(uid).is_none() {
            self.wake(now);
        } else if change
            .before
            .as_ref()
            .is_none_or(|seen| seen.node.is_none())
            && held.is_empty()
        {
            // Someone came whom another must be with.
            self.wake_affine(world, now);
        }
    }

    /// Something became free.
    fn wake(&mut self, now: Time) {
        for (at, _) in self.waiting.values_mut().filter(|(_, failed)| *failed) {
            *at = (*at).min(now.plus(GATHER));
        }
    }

    fn wake_affine(&mut self, world: &World, now: Time) {
        for (target, (at, failed)) in &mut self.waiting {
            let pod = world.pods.get(&target.namespace, &target.name);
            let affinity = pod.and_then(|pod| pod.spec.as_ref()?.affinity.as_ref());
            if *failed && affinity.is_some_and(|affinity| affinity.pod_affinity.is_some()) {
                *at = (*at).min(now.plus(GATHER));
            }
        }
    }

    /// When the next pod is tried.
    pub(crate) fn next(&self) -> Option<Time> {
        self.waiting.values().map(|(at, _)| *at).min()
    }

    /// The pods whose time has come.
    pub(crate) fn batch(&self, world: &World, now: Time) -> Vec<Demand> {
        let due = self.waiting.iter().filter(|(_, (at, _))| *at <= now);
        let pods = due.filter_map(|(target, _)| world.pods.get(&target.namespace, &target.name));
        let mut pods: Vec<_> = pods.collect();
        // The same order as the scheduler's, so that no batch leaves out who comes first.
        pods.sort_by_cached_key(|pod| {
            let priority = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.priority)
                .unwrap_or(0);
            let path = (pod.namespace().to_owned(), pod.name().to_owned());
            (std::cmp::Reverse(priority), pod.created(), path)
        });
        pods.truncate(BATCH);
        pods.into_iter().map(|pod| Demand::of(pod)).collect()
    }

    /// Places a batch.
    pub(crate) fn decide(&mut self, world: &World, batch: Vec<Demand>, now: Time) -> Placed {
        let mut placed = Placed::default();
        for placement in decide(&mut self.book, batch, self.seed) {
            let demand = &placement.demand;
            let target = Ref::to::<Pod>(&demand.namespace, &demand.name);
            let note = |warning: bool, reason: &str, message: String| Note {
                about: target.clone(),
                uid: demand.uid.clone(),
                warning,
                reason: reason.to_owned(),
                message,
            };
            match placement.outcome {
                Ok(chosen) => {
                    self.waiting.remove(&target);
                    let text =
                        format!("Successfully assigned {} to {}", demand.path(), chosen.node);
                    placed.bindings.push(Operation {
                        cause: format!("best of {} that fit", chosen.fitting),
                        note: Some(note(false, "Scheduled", text)),
                        deeds: vec![Deed::Bind {
                            target,
                            uid: demand.uid.clone(),
                            node: chosen.node,
                        }],
                    });
                }
                Err(refusal) => {
                    self.waiting
                        .insert(target.clone(), (now.plus(RARELY), true));
                    if let Some(deed) = unschedulable(world, &target, &refusal, now) {
                        placed.tellings.push(Operation {
                            deeds: vec![deed],
                            note: Some(note(true, "FailedScheduling", refusal.clone())),
                            cause: refusal,
                        });
                    }
                }
            }
        }
        placed
    }

    /// Takes bindings back that were refused.
    pub(crate) fn refuse(&mut self, refused: &[Ref], now: Time) {
        for target in refused {
            self.waiting
                .insert(target.clone(), (now.plus(REFUSED), false));
        }
        let gone: Vec<Ref> = refused.to_vec();
        for target in gone {
            self.book.remove_named(&target.namespace, &target.name);
        }
    }
}

/// Whether a pod waits for this scheduler.
fn waits(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec
        .scheduler_name
        .as_deref()
        .is_none_or(|name| name.is_empty() || name == NAME);
    let gated = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty());
    let bound = spec
        .node_name
        .as_deref()
        .is_some_and(|node| !node.is_empty());
    ours && !gated && !bound && crate::control::is_active(pod)
}

/// Says in a pod's status why it waits; nothing when that is said already.
fn unschedulable(world: &World, target: &Ref, refusal: &str, now: Time) -> Option<Deed> {
    let pod = world.pods.get(&target.namespace, &target.name)?;
    let old = pod.status.clone().unwrap_or_default();
    let mut conditions = Conditions::of(old.conditions.as_ref());
    let says = Says {
        kind: "PodScheduled",
        status: "False",
        reason: "Unschedulable",
        message: refusal,
    };
    conditions.set(says, now);
    let status = difference(&old, json!({ "conditions": conditions.to_json() }))?;
    Some(Deed::status(target.clone(), &**pod, status))
}
