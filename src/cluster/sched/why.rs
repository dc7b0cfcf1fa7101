//! Why a pod waits: each node's refusals, and the smallest change that would make it fit.

use std::collections::BTreeMap;
use std::fmt;

use crate::sched::book::Book;
use crate::sched::demand::Demand;
use crate::sched::filter::Query;
use crate::sched::refusal::Refusal;

/// The whole answer. Prints as `orc why` shows it.
#[derive(Debug, Clone)]
pub struct Why {
    /// `namespace/name` of the pod.
    pub pod: String,
    /// Each node by name, with everything that keeps the pod from it; empty where it would fit.
    pub nodes: Vec<(String, Vec<Refusal>)>,
}

/// Asks every node.
pub fn explain(book: &mut Book, demand: &Demand) -> Why {
    book.prepare(demand);
    ask(book, demand)
}

/// One line for all nodes; the book has been prepared for the pod.
pub(crate) fn summary(book: &Book, demand: &Demand) -> String {
    let query = Query::new(book, demand);
    let node = |slot: usize| (String::new(), query.refusal(slot).into_iter().collect());
    Why {
        pod: String::new(),
        nodes: book.slots().into_iter().map(node).collect(),
    }
    .summary()
}

fn ask(book: &Book, demand: &Demand) -> Why {
    let query = Query::new(book, demand);
    let node = |slot: usize| (book.seats[slot].name.clone(), query.refusals(slot));
    Why {
        pod: demand.path(),
        nodes: book.slots().into_iter().map(node).collect(),
    }
}

impl Why {
    /// `0 of 3 nodes fit: 2 lack memory (need 512 MiB), 1 is drained`. Each node counts once, by its
    /// first refusal; the most frequent comes first.
    pub fn summary(&self) -> String {
        let mut groups: BTreeMap<Refusal, usize> = BTreeMap::new();
        for first in self
            .nodes
            .iter()
            .filter_map(|(_, refusals)| refusals.first())
        {
            *groups.entry(first.group()).or_default() += 1;
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let fitting = self
            .nodes
            .iter()
            .filter(|(_, refusals)| refusals.is_empty());
        let (fitting, all) = (fitting.count(), self.nodes.len());
        if all == 0 {
            return "there are no nodes".to_owned();
        }
        let noun = if all == 1 { "node fits" } else { "nodes fit" };
        let head = format!("{fitting} of {all} {noun}");
        let parts: Vec<String> = groups.iter().map(|(r, count)| r.of_many(*count)).collect();
        match parts.is_empty() {
            true => head,
            false => format!("{head}: {}", parts.join(", ")),
        }
    }

    /// The node that is nearest to taking the pod, and what it would need; `None` when some node fits or
    /// there is none.
    pub fn remedy(&self) -> Option<String> {
        if self.nodes.iter().any(|(_, refusals)| refusals.is_empty()) {
            return None;
        }
        let (node, refusals) = self
            .nodes
            .iter()
            .min_by_key(|(_, refusals)| effort(refusals))?;
        let steps: Vec<String> = refusals.iter().map(|r| r.remedy(node)).collect();
        Some(steps.join(", and "))
    }
}

/// How much would have to change: the number of things, then how much of resources.
fn effort(refusals: &[Refusal]) -> (usize, i64) {
    let lack = |refusal: &Refusal| match refusal {
        Refusal::Lacks {
            need, free, has, ..
        } if need > has => (need - free).saturating_mul(2),
        Refusal::Lacks { need, free, .. } => need - free,
        Refusal::OtherNode(_) => i64::MAX,
        _ => 0,
    };
    let lacks = refusals.iter().map(lack).fold(0, i64::saturating_add);
    (refusals.len(), lacks)
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.pod, self.summary())?;
        for (node, refusals) in &self.nodes {
            let texts: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
            match texts.is_empty() {
                true => writeln!(f, "  {node}: fits")?,
                false => writeln!(f, "  {node}: {}", texts.join("; "))?,
            }
        }
        match self.remedy() {
            Some(remedy) => write!(f, "would fit with {remedy}"),
            None => Ok(()),
        }
    }
}
