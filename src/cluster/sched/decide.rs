//! Places a batch of pods, one after the other, each knowing where those before it went.
//!
//! Order: priority, then age, then name. The book is written as if every placement happened; whoever
//! commits them strikes out those that did not.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sched::book::{Book, hash};
use crate::sched::demand::Demand;
use crate::sched::filter::Query;
use crate::sched::resources::Resources;
use crate::sched::score::Scale;
use crate::sched::why;

/// What became of one pod.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Which pod.
    pub demand: Arc<Demand>,
    /// The node, or why there is none: `0 of 3 nodes fit: …`.
    pub outcome: Result<Chosen, String>,
}

/// A node, and how it was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub node: String,
    /// Its score.
    pub score: i64,
    /// How many nodes could have taken the pod.
    pub fitting: usize,
}

/// Finds a node for each waiting pod and enters it into the book. The same book, pods and seed give the
/// same places; the seed only breaks ties.
pub fn decide(book: &mut Book, mut waiting: Vec<Demand>, seed: u64) -> Vec<Placement> {
    waiting.sort_by(|a, b| {
        let urgent = b.priority.cmp(&a.priority);
        let early = || a.created.cmp(&b.created);
        let name = || (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name));
        urgent.then_with(early).then_with(name)
    });
    let mut refused = HashMap::new();
    waiting
        .into_iter()
        .map(|demand| place(book, Arc::new(demand), seed, &mut refused))
        .collect()
}

/// `refused` holds the answer to pods whose twins need not ask again: placing others only takes room.
fn place(
    book: &mut Book,
    demand: Arc<Demand>,
    seed: u64,
    refused: &mut HashMap<String, (Resources, String)>,
) -> Placement {
    let known = demand.owner.as_ref().and_then(|owner| refused.get(owner));
    if let Some((_, text)) = known.filter(|(asked, _)| *asked == demand.resources) {
        let outcome = Err(text.clone());
        return Placement { demand, outcome };
    }
    book.prepare(&demand);
    let outcome = match best(book, &demand, seed) {
        Some(chosen) => {
            book.enter(demand.clone(), &chosen.node);
            Ok(chosen)
        }
        None => {
            let text = why::summary(book, &demand);
            if let Some(owner) = demand.owner.clone().filter(|_| has_twins(&demand)) {
                refused.insert(owner, (demand.resources.clone(), text.clone()));
            }
            Err(text)
        }
    };
    Placement { demand, outcome }
}

/// Whether its siblings would be refused for the same reasons, whatever is placed in between.
fn has_twins(demand: &Demand) -> bool {
    demand.together.is_empty() && demand.spread.is_empty() && demand.only_node.is_none()
}

fn best(book: &Book, demand: &Demand, seed: u64) -> Option<Chosen> {
    let query = Query::new(book, demand);
    let scale = Scale::new(book, demand);
    let tie = seed ^ hash(&demand.uid);
    let mut fitting = 0;
    let mut best: Option<(i64, u64, usize)> = None;
    for slot in query.candidates().filter(|slot| query.fits(*slot)) {
        fitting += 1;
        let score = scale.of(slot);
        if best.is_none_or(|(high, ..)| score >= high) {
            let rank = (score, mixed(tie ^ book.hot[slot].name_hash), slot);
            if best.is_none_or(|(score, luck, _)| (rank.0, rank.1) > (score, luck)) {
                best = Some(rank);
            }
        }
    }
    let (score, _, slot) = best?;
    let node = book.seats[slot].name.clone();
    Some(Chosen {
        node,
        score,
        fitting,
    })
}

/// The last steps of splitmix64: every bit depends on every bit.
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
