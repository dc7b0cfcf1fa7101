//! How many pods of a kind each node has, for affinity and spread.
//!
//! A question (which pods, in which namespaces) is counted once over all pods and from then on kept up
//! with each pod that comes and goes. Counts are by slot, so that a node's new label changes nothing
//! here. Pods that are on their way out are nobody's peers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::labels::Labels;
use crate::sched::demand::{Demand, Peers};

/// By slot: how many.
pub(crate) type BySlot = HashMap<usize, i64>;

/// The questions that are kept up.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    questions: HashMap<String, Question>,
    /// Required anti-affinity of pods that are there, which binds newcomers too:
    /// question and topology → who holds it.
    refusers: HashMap<(String, String), Refuser>,
    /// Pods by what governs them.
    pub(crate) siblings: HashMap<String, BySlot>,
}

#[derive(Debug)]
struct Question {
    peers: Peers,
    found: BySlot,
}

/// Pods that want others away.
#[derive(Debug)]
pub(crate) struct Refuser {
    pub(crate) peers: Peers,
    pub(crate) topology: String,
    pub(crate) held: BySlot,
}

/// Questions kept before those that nobody asked lately are forgotten.
const MAX_QUESTIONS: usize = 1024;

impl Counts {
    /// The pods that these peers are, by slot. Empty unless prepared.
    pub(crate) fn of(&self, peers: &Peers) -> Option<&BySlot> {
        self.questions.get(&peers.key()).map(|q| &q.found)
    }

    /// Those whose anti-affinity a newcomer must respect.
    pub(crate) fn refusers<'c>(
        &'c self,
        newcomer: &'c Demand,
        namespaces: &'c HashMap<String, Labels>,
    ) -> impl Iterator<Item = &'c Refuser> {
        let labels = namespaces.get(&newcomer.namespace);
        let all = self.refusers.values();
        all.filter(move |refuser| refuser.peers.pick(newcomer, labels))
    }

    /// Counts every question of `demand` that is new.
    pub(crate) fn prepare<'p>(
        &mut self,
        demand: &Demand,
        placed: impl Iterator<Item = (&'p Arc<Demand>, usize)>,
        namespaces: &HashMap<String, Labels>,
    ) {
        let mut fresh: HashMap<String, Question> = HashMap::new();
        for peers in questions(demand) {
            let key = peers.key();
            if !self.questions.contains_key(&key) {
                let (peers, found) = (peers.clone(), BySlot::new());
                fresh.insert(key, Question { peers, found });
            }
        }
        if fresh.is_empty() {
            return;
        }
        for (pod, slot) in placed {
            let labels = namespaces.get(&pod.namespace);
            for question in fresh.values_mut() {
                if !pod.leaving && question.peers.pick(pod, labels) {
                    *question.found.entry(slot).or_default() += 1;
                }
            }
        }
        if self.questions.len() + fresh.len() > MAX_QUESTIONS {
            self.questions.clear();
        }
        self.questions.extend(fresh);
    }

    /// A pod has come.
    pub(crate) fn add(&mut self, pod: &Demand, slot: usize, names: &HashMap<String, Labels>) {
        self.change(pod, slot, 1, names);
    }

    /// A pod has gone.
    pub(crate) fn remove(&mut self, pod: &Demand, slot: usize, names: &HashMap<String, Labels>) {
        self.change(pod, slot, -1, names);
    }

    /// Counts everything again, since the labels of a namespace have changed.
    pub(crate) fn recount<'p>(
        &mut self,
        placed: impl Iterator<Item = (&'p Arc<Demand>, usize)>,
        namespaces: &HashMap<String, Labels>,
    ) {
        *self = Self::default();
        for (pod, slot) in placed {
            self.add(pod, slot, namespaces);
        }
    }

    fn change(&mut self, pod: &Demand, slot: usize, by: i64, names: &HashMap<String, Labels>) {
        if pod.leaving {
            return;
        }
        let labels = names.get(&pod.namespace);
        for question in self.questions.values_mut() {
            if question.peers.pick(pod, labels) {
                count(&mut question.found, slot, by);
            }
        }
        for term in &pod.apart {
            let key = (term.peers.key(), term.topology.clone());
            let refuser = self.refusers.entry(key.clone()).or_insert_with(|| Refuser {
                peers: term.peers.clone(),
                topology: term.topology.clone(),
                held: BySlot::new(),
            });
            count(&mut refuser.held, slot, by);
            if refuser.held.is_empty() {
                self.refusers.remove(&key);
            }
        }
        if let Some(owner) = &pod.owner {
            let siblings = self.siblings.entry(owner.clone()).or_default();
            count(siblings, slot, by);
            if siblings.is_empty() {
                self.siblings.remove(owner);
            }
        }
    }
}

fn count(found: &mut BySlot, slot: usize, by: i64) {
    let own = found.entry(slot).or_default();
    *own += by;
    if *own == 0 {
        found.remove(&slot);
    }
}

/// All peers that a pod's terms speak of.
fn questions(demand: &Demand) -> impl Iterator<Item = &Peers> {
    let terms = demand.together.iter().chain(&demand.apart);
    let wishes = demand.wishes.iter().map(|(_, term)| term);
    let spread = demand.spread.iter().map(|spread| &spread.peers);
    terms.chain(wishes).map(|term| &term.peers).chain(spread)
}
