//! How good a place a node is, among those that can take the pod.
//!
//! A sum of parts, each from 0 to 100 before its weight, in the spirit of Kubernetes' plug-ins: much left
//! (weight 1), processors and memory used alike (1), no siblings near (75 for each), the pod's wishes for nodes (2)
//! and for peers (2), an even soft spread (2), no unwanted taint (3). Whole numbers only, so that every
//! machine comes to the same order.

use crate::sched::book::{Book, Topology};
use crate::sched::demand::Demand;
use crate::sched::filter::{meets, tolerated};
use crate::sched::peers::BySlot;

/// What is worked out once for a pod.
pub(crate) struct Scale<'b> {
    book: &'b Book,
    demand: &'b Demand,
    /// By slot; empty when the pod has no siblings that are placed.
    siblings: Vec<i64>,
    /// By set of taints: how many the pod would rather avoid.
    avoided: Vec<i64>,
    wishes: Vec<Wish<'b>>,
    soft: Vec<Soft<'b>>,
}

struct Wish<'b> {
    weight: i64,
    topology: &'b Topology,
    fulfilled: Vec<bool>,
}

struct Soft<'b> {
    topology: &'b Topology,
    count: Vec<i64>,
    least: i64,
}

/// Siblings on one node beyond which one more makes no difference.
const MANY: i64 = 20;
/// What one sibling on the same node takes away.
const SIBLING: i64 = 75;

impl<'b> Scale<'b> {
    /// A scale for `demand`; the book must have been prepared for it.
    pub(crate) fn new(book: &'b Book, demand: &'b Demand) -> Self {
        let avoided = |set: &Vec<k8s_openapi::api::core::v1::Taint>| {
            let soft = set
                .iter()
                .filter(|taint| taint.effect == "PreferNoSchedule");
            let unloved = soft.filter(|t| !demand.tolerations.iter().any(|own| tolerated(own, t)));
            i64::try_from(unloved.count()).unwrap_or(i64::MAX)
        };
        let owner = demand.owner.as_ref();
        let siblings = owner.and_then(|owner| book.counts.siblings.get(owner));
        Self {
            book,
            demand,
            siblings: siblings
                .map(|found| by_slot(found, book.hot.len()))
                .unwrap_or_default(),
            avoided: book.taint_sets.iter().map(avoided).collect(),
            wishes: demand
                .wishes
                .iter()
                .map(|(weight, term)| {
                    let topology = book.topology(&term.topology);
                    let mut fulfilled = vec![false; topology.places];
                    for slot in book
                        .counts
                        .of(&term.peers)
                        .into_iter()
                        .flatten()
                        .map(|(s, _)| *s)
                    {
                        fulfilled[topology.place[slot] as usize] = true;
                    }
                    fulfilled[0] = false;
                    Wish {
                        weight: *weight,
                        topology,
                        fulfilled,
                    }
                })
                .collect(),
            soft: demand
                .spread
                .iter()
                .filter(|spread| !spread.required)
                .map(|spread| {
                    let topology = book.topology(&spread.topology);
                    let mut count = vec![0; topology.places];
                    for (slot, pods) in book.counts.of(&spread.peers).into_iter().flatten() {
                        count[topology.place[*slot] as usize] += pods;
                    }
                    let least = count.iter().skip(1).min().copied().unwrap_or(0);
                    Soft {
                        topology,
                        count,
                        least,
                    }
                })
                .collect(),
        }
    }

    /// The score of the node in this slot; more is better.
    pub(crate) fn of(&self, slot: usize) -> i64 {
        let hot = &self.book.hot[slot];
        let asked = &self.demand.resources;
        let cpu = share(hot.free_cpu - asked.cpu_milli, hot.all_cpu);
        let memory = share(hot.free_memory - asked.memory_bytes, hot.all_memory);
        let room = i64::midpoint(cpu, memory);
        let balance = 100 - (cpu - memory).abs();
        let siblings = self.siblings.get(slot).copied().unwrap_or(0).min(MANY);
        let avoided = self.avoided[hot.taint_set as usize];
        room + balance - SIBLING * siblings - 3 * 100 * avoided
            + 2 * self.likes_node(slot)
            + 2 * self.likes_peers(slot)
            + 2 * self.evens(slot)
    }

    fn likes_node(&self, slot: usize) -> i64 {
        let wishes = &self.demand.node_preferences;
        if wishes.is_empty() {
            return 0;
        }
        let seat = &self.book.seats[slot];
        let met = wishes.iter().filter(|wish| meets(seat, &wish.preference));
        let all: i64 = wishes.iter().map(|wish| i64::from(wish.weight)).sum();
        met.map(|wish| i64::from(wish.weight)).sum::<i64>() * 100 / all.max(1)
    }

    fn likes_peers(&self, slot: usize) -> i64 {
        let met = self
            .wishes
            .iter()
            .filter(|wish| wish.fulfilled[wish.topology.place[slot] as usize]);
        let met: i64 = met.map(|wish| wish.weight).sum();
        let all: i64 = self.wishes.iter().map(|wish| wish.weight.abs()).sum();
        met * 100 / all.max(1)
    }

    fn evens(&self, slot: usize) -> i64 {
        let penalty = |soft: &Soft| match soft.topology.place[slot] {
            0 => 100,
            place => ((soft.count[place as usize] - soft.least) * 25).min(100),
        };
        -self.soft.iter().map(penalty).sum::<i64>()
    }
}

fn by_slot(found: &BySlot, slots: usize) -> Vec<i64> {
    let mut all = vec![0; slots];
    for (slot, count) in found {
        all[*slot] = *count;
    }
    all
}

/// Hundredths of `all`, from 0 to 100.
fn share(part: i64, all: i64) -> i64 {
    match all > 0 {
        true => (part.clamp(0, all).saturating_mul(100)) / all,
        false => 0,
    }
}
