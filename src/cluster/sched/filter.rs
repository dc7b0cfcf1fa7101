//! Which nodes can take a pod at all.
//!
//! A [`Query`] is what a pod asks, worked out once against the book as it is now; then each node is one
//! check. The same check answers shortly while placing and fully while explaining, so that the two
//! never disagree.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{NodeSelectorTerm, Taint, Toleration};

use crate::labels::{Labels, holds};
use crate::sched::book::{Book, Hot, Seat, Topology};
use crate::sched::demand::{Demand, HostPort, Peers, Spread};
use crate::sched::refusal::Refusal;

/// What one pod asks of the nodes.
pub(crate) struct Query<'b> {
    book: &'b Book,
    pub(crate) demand: &'b Demand,
    /// By set of taints: whether the pod may go there.
    tolerated: Vec<bool>,
    drained_too: bool,
    asks_labels: bool,
    together: Vec<Near<'b>>,
    /// Nobody is there yet that the pod must be with, and it is such a pod itself.
    first_of_group: bool,
    apart: Vec<Near<'b>>,
    unwanted: Vec<Near<'b>>,
    spread: Vec<Even<'b>>,
}

/// Places with certain pods in them.
struct Near<'b> {
    label: &'b str,
    topology: &'b Topology,
    /// By place.
    count: Vec<i64>,
}

/// A required spread and where it stands.
struct Even<'b> {
    asked: &'b Spread,
    near: Near<'b>,
    least: i64,
    own: i64,
}

/// Where refusals go.
trait Sink {
    /// Takes a refusal; `true` when that is enough.
    fn refuse(&mut self, refusal: impl FnOnce() -> Refusal) -> bool;
}

/// One is enough, and its words are not needed.
struct Any;

impl Sink for Any {
    fn refuse(&mut self, _: impl FnOnce() -> Refusal) -> bool {
        true
    }
}

/// Only the first.
struct First(Option<Refusal>);

impl Sink for First {
    fn refuse(&mut self, refusal: impl FnOnce() -> Refusal) -> bool {
        self.0 = Some(refusal());
        true
    }
}

struct All(Vec<Refusal>);

impl Sink for All {
    fn refuse(&mut self, refusal: impl FnOnce() -> Refusal) -> bool {
        self.0.push(refusal());
        false
    }
}

impl<'b> Query<'b> {
    /// Asks for `demand`; the book must have been prepared for it.
    pub(crate) fn new(book: &'b Book, demand: &'b Demand) -> Self {
        let near = |label: &'b str, peers: &Peers| Near::of_peers(book, label, peers);
        let terms = |terms: &'b [crate::sched::demand::Term]| -> Vec<Near<'b>> {
            terms
                .iter()
                .map(|term| near(&term.topology, &term.peers))
                .collect()
        };
        let together = terms(&demand.together);
        let nobody = together
            .iter()
            .all(|near| near.count.iter().all(|count| *count == 0));
        let labels = book.namespaces.get(&demand.namespace);
        let own = demand
            .together
            .iter()
            .all(|term| term.peers.pick(demand, labels));
        let refusers = book.counts.refusers(demand, &book.namespaces);
        let mut query = Self {
            book,
            demand,
            tolerated: book
                .taint_sets
                .iter()
                .map(|set| tolerates(demand, set))
                .collect(),
            drained_too: tolerates_drained(demand),
            asks_labels: !demand.node_selector.is_empty() || demand.node_terms.is_some(),
            first_of_group: nobody && own,
            together,
            apart: terms(&demand.apart),
            unwanted: refusers
                .map(|refuser| Near::new(book, &refuser.topology, refuser.held.iter()))
                .collect(),
            spread: Vec::new(),
        };
        let required = demand.spread.iter().filter(|spread| spread.required);
        query.spread = required.map(|spread| query.even(spread)).collect();
        query
    }

    /// Whether the node in this slot takes the pod.
    pub(crate) fn fits(&self, slot: usize) -> bool {
        self.check(slot, &mut Any)
    }

    /// Everything that keeps the pod from the node in this slot.
    pub(crate) fn refusals(&self, slot: usize) -> Vec<Refusal> {
        let mut all = All(Vec::new());
        self.check(slot, &mut all);
        all.0
    }

    /// The first thing that keeps the pod from the node in this slot.
    pub(crate) fn refusal(&self, slot: usize) -> Option<Refusal> {
        let mut first = First(None);
        self.check(slot, &mut first);
        first.0
    }

    /// The slots worth a look.
    pub(crate) fn candidates(&self) -> std::ops::Range<usize> {
        match &self.demand.only_node {
            None => 0..self.book.hot.len(),
            Some(name) => match self.book.find(name) {
                Some(slot) => slot..slot + 1,
                None => 0..0,
            },
        }
    }

    /// Whether nothing was refused.
    fn check(&self, slot: usize, sink: &mut impl Sink) -> bool {
        let hot = &self.book.hot[slot];
        let seat = &self.book.seats[slot];
        hot.present
            && !(self.refused_by_state(hot, seat, sink)
                || self.lacks(hot, seat, sink)
                || self.refused_by_labels(seat, sink)
                || self.refused_by_ports(seat, sink)
                || self.refused_by_pods(slot, sink))
    }

    fn refused_by_state(&self, hot: &Hot, seat: &Seat, sink: &mut impl Sink) -> bool {
        if hot.unschedulable && !self.drained_too && sink.refuse(|| Refusal::Drained) {
            return true;
        }
        if let Some(only) = &self.demand.only_node
            && *only != seat.name
            && sink.refuse(|| Refusal::OtherNode(only.clone()))
        {
            return true;
        }
        if self.tolerated[hot.taint_set as usize] {
            return false;
        }
        let set = &self.book.taint_sets[hot.taint_set as usize];
        let told = |taint: &&Taint| hot.unschedulable && taint.key == UNSCHEDULABLE;
        let refusing = refusing(self.demand, set).filter(|taint| !told(taint));
        refusing.into_iter().any(|taint| {
            let value = taint.value.as_deref().filter(|value| !value.is_empty());
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            sink.refuse(|| Refusal::Taint(format!("{}{value}:{}", taint.key, taint.effect)))
        })
    }

    fn lacks(&self, hot: &Hot, seat: &Seat, sink: &mut impl Sink) -> bool {
        let asked = &self.demand.resources;
        let kinds = [
            (
                "cpu",
                asked.cpu_milli,
                hot.free_cpu,
                seat.allocatable.cpu_milli,
            ),
            (
                "memory",
                asked.memory_bytes,
                hot.free_memory,
                seat.allocatable.memory_bytes,
            ),
            (
                "ephemeral-storage",
                asked.disk_bytes,
                hot.free_disk,
                seat.allocatable.disk_bytes,
            ),
        ];
        let mut refuse = |resource: &str, need: i64, free: i64, has: i64| {
            let resource = resource.to_owned();
            sink.refuse(|| Refusal::Lacks {
                resource,
                need,
                free,
                has,
            })
        };
        for (resource, need, free, has) in kinds {
            if need > 0 && need > free && refuse(resource, need, free, has) {
                return true;
            }
        }
        for (resource, need) in &asked.others {
            let has = seat.allocatable.others.get(resource).copied().unwrap_or(0);
            let free = has - seat.used.others.get(resource).copied().unwrap_or(0);
            if *need > 0 && *need > free && refuse(resource, *need, free, has) {
                return true;
            }
        }
        hot.free_pods <= 0
            && sink.refuse(|| Refusal::Full {
                pods: seat.max_pods,
            })
    }

    fn refused_by_labels(&self, seat: &Seat, sink: &mut impl Sink) -> bool {
        if !self.asks_labels {
            return false;
        }
        let missing = |(key, value): &(&String, &String)| seat.labels.get(*key) != Some(*value);
        let missing: Vec<_> = self.demand.node_selector.iter().filter(missing).collect();
        if !missing.is_empty() {
            let text = || {
                let pairs = missing.iter().map(|(key, value)| format!("{key}={value}"));
                Refusal::Label(pairs.collect::<Vec<_>>().join(","))
            };
            if sink.refuse(text) {
                return true;
            }
        }
        let met = |terms: &Vec<NodeSelectorTerm>| terms.iter().any(|term| meets(seat, term));
        self.demand
            .node_terms
            .as_ref()
            .is_some_and(|terms| !met(terms))
            && self
                .demand
                .only_node
                .as_ref()
                .is_none_or(|only| *only == seat.name)
            && sink.refuse(|| Refusal::Affinity)
    }

    fn refused_by_ports(&self, seat: &Seat, sink: &mut impl Sink) -> bool {
        let clash = |asked: &&HostPort| seat.ports.iter().any(|taken| clashes(asked, taken));
        let mut clashing = self.demand.ports.iter().filter(clash);
        clashing.any(|asked| {
            sink.refuse(|| Refusal::Port(format!("{}/{}", asked.port, asked.protocol)))
        })
    }

    fn refused_by_pods(&self, slot: usize, sink: &mut impl Sink) -> bool {
        for near in &self.together {
            let here = near.here(slot);
            let alright = here.is_some_and(|count| count > 0 || self.first_of_group);
            if !alright && sink.refuse(|| Refusal::NoPeer(near.label.to_owned())) {
                return true;
            }
        }
        for near in &self.apart {
            let full = near.here(slot).is_some_and(|count| count > 0);
            if full && sink.refuse(|| Refusal::Peer(near.label.to_owned())) {
                return true;
            }
        }
        for near in &self.unwanted {
            let full = near.here(slot).is_some_and(|count| count > 0);
            if full && sink.refuse(|| Refusal::UnwantedBy(near.label.to_owned())) {
                return true;
            }
        }
        self.spread.iter().any(|even| even.refuses(slot, sink))
    }

    /// Where a spread stands: pods by place, among the nodes that the pod could use at all.
    fn even(&self, asked: &'b Spread) -> Even<'b> {
        let eligible = |slot: usize| {
            let (hot, seat) = (&self.book.hot[slot], &self.book.seats[slot]);
            hot.present
                && (!asked.honor_affinity || !self.refused_by_labels(seat, &mut Any))
                && (!asked.honor_taints || !self.refused_by_state(hot, seat, &mut Any))
        };
        let found = self.book.counts.of(&asked.peers);
        let found = found.into_iter().flatten();
        let counted = found.filter(|(slot, _)| eligible(**slot));
        let near = Near::new(self.book, &asked.topology, counted);
        let mut places = HashSet::new();
        let mut least = i64::MAX;
        for slot in 0..self.book.hot.len() {
            let place = near.topology.place[slot];
            if place > 0 && eligible(slot) && places.insert(place) {
                least = least.min(near.count[place as usize]);
            }
        }
        let few = i64::try_from(places.len()).unwrap_or(i64::MAX) < asked.min_domains;
        let labels = self.book.namespaces.get(&self.demand.namespace);
        Even {
            asked,
            near,
            least: if few || places.is_empty() { 0 } else { least },
            own: i64::from(asked.peers.pick(self.demand, labels)),
        }
    }
}

impl<'b> Near<'b> {
    fn of_peers(book: &'b Book, label: &'b str, peers: &Peers) -> Self {
        Self::new(book, label, book.counts.of(peers).into_iter().flatten())
    }

    fn new<'c>(
        book: &'b Book,
        label: &'b str,
        found: impl Iterator<Item = (&'c usize, &'c i64)>,
    ) -> Self {
        let topology = book.topology(label);
        let mut count = vec![0; topology.places];
        for (slot, pods) in found {
            count[topology.place[*slot] as usize] += pods;
        }
        count[0] = 0;
        Self {
            label,
            topology,
            count,
        }
    }

    /// How many are in the same place as this node; `None` when the node is in no place.
    fn here(&self, slot: usize) -> Option<i64> {
        let place = self.topology.place[slot];
        (place > 0).then(|| self.count[place as usize])
    }
}

impl Even<'_> {
    fn refuses(&self, slot: usize, sink: &mut impl Sink) -> bool {
        let Some(here) = self.near.here(slot) else {
            return sink.refuse(|| Refusal::NoTopology(self.asked.topology.clone()));
        };
        let skew = here + self.own - self.least;
        skew > self.asked.max_skew
            && sink.refuse(|| Refusal::Uneven {
                topology: self.asked.topology.clone(),
                skew,
                max_skew: self.asked.max_skew,
            })
    }
}

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The taints of a set that keep the pod away.
fn refusing<'t>(demand: &Demand, set: &'t [Taint]) -> impl Iterator<Item = &'t Taint> {
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    set.iter()
        .filter(hard)
        .filter(|taint| !demand.tolerations.iter().any(|t| tolerated(t, taint)))
}

fn tolerates(demand: &Demand, set: &[Taint]) -> bool {
    refusing(demand, set).next().is_none()
}

fn tolerates_drained(demand: &Demand) -> bool {
    let taint = Taint {
        key: UNSCHEDULABLE.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    demand.tolerations.iter().any(|t| tolerated(t, &taint))
}

/// Whether a toleration covers a taint: an absent key with `Exists` covers all, an absent effect every effect.
pub(crate) fn tolerated(toleration: &Toleration, taint: &Taint) -> bool {
    let value = taint.value.as_deref().unwrap_or_default();
    let wanted = toleration.value.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let compared = |by: fn(&i64, &i64) -> bool| matches!((value.parse(), wanted.parse()), (Ok(value), Ok(wanted)) if by(&value, &wanted));
    (effect.is_empty() || effect == taint.effect)
        && match toleration.operator.as_deref().unwrap_or("Equal") {
            "Exists" => key.is_empty() || key == taint.key,
            "Equal" | "" => key == taint.key && value == wanted,
            "Gt" => key == taint.key && compared(i64::gt),
            "Lt" => key == taint.key && compared(i64::lt),
            _ => false,
        }
}

/// Whether a node meets one term of a node affinity; a term that asks nothing is met by none.
pub(crate) fn meets(seat: &Seat, term: &NodeSelectorTerm) -> bool {
    term_met(&seat.name, &seat.labels, term)
}

/// As [`meets`], for a node by its name and labels.
pub(crate) fn term_met(name: &str, labels: &Labels, term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let values = |values: &Option<Vec<String>>| values.clone().unwrap_or_default();
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|e| {
            let value = labels.get(&e.key).map(String::as_str);
            holds(&e.operator, value, &values(&e.values))
        })
        && fields.iter().all(|field| {
            field.key == "metadata.name"
                && holds(&field.operator, Some(name), &values(&field.values))
        })
}

fn clashes(a: &HostPort, b: &HostPort) -> bool {
    let any = |port: &HostPort| matches!(port.address.as_str(), "0.0.0.0" | "::");
    a.port == b.port && a.protocol == b.protocol && (any(a) || any(b) || a.address == b.address)
}
