//! The accounts: what each node has, what is taken, and by whom.
//!
//! Always holds: what a node has taken is the sum of what its pods ask for. A node has a slot, which is
//! reused when the node has gone. `Hot` is the part that every placement looks at, kept together
//! because a placement looks at all of it.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use crate::labels::Labels;
use crate::object::Facts;
use crate::sched::demand::{Demand, HostPort};
use crate::sched::peers::Counts;
use crate::sched::resources::Resources;

/// All nodes, and the pods on them.
#[derive(Debug, Default)]
pub struct Book {
    pub(crate) hot: Vec<Hot>,
    pub(crate) seats: Vec<Seat>,
    by_name: HashMap<String, usize>,
    free_slots: Vec<usize>,
    pods: HashMap<String, Placed>,
    /// Pods bound to nodes that are not known (yet).
    strays: HashMap<String, HashMap<String, Arc<Demand>>>,
    /// Distinct sets of taints: most nodes share one.
    pub(crate) taint_sets: Vec<Vec<Taint>>,
    pub(crate) counts: Counts,
    pub(crate) namespaces: HashMap<String, Labels>,
    /// By topology label: the place that each slot is in. Made when asked for, dropped when any node's
    /// labels change.
    topologies: HashMap<String, Topology>,
}

/// The places of one topology label.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    /// By slot: its place, counted from one; zero is a node without the label.
    pub(crate) place: Vec<u32>,
    /// How many places there are, with the one that is none.
    pub(crate) places: usize,
}

/// What every placement looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hot {
    pub(crate) present: bool,
    pub(crate) unschedulable: bool,
    pub(crate) taint_set: u32,
    pub(crate) free_cpu: i64,
    pub(crate) free_memory: i64,
    pub(crate) free_disk: i64,
    pub(crate) free_pods: i64,
    pub(crate) all_cpu: i64,
    pub(crate) all_memory: i64,
    /// Breaks ties, the same way whatever slot the node has.
    pub(crate) name_hash: u64,
}

/// The rest of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seat {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) allocatable: Resources,
    pub(crate) used: Resources,
    pub(crate) max_pods: i64,
    pub(crate) pods: HashMap<String, Arc<Demand>>,
    pub(crate) ports: Vec<HostPort>,
}

#[derive(Debug)]
struct Placed {
    slot: usize,
    demand: Arc<Demand>,
}

/// Pods that a node takes when it does not say: the kubelet's default.
const MAX_PODS: i64 = 110;

impl Book {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters a node, or what it says now. Its pods stay.
    pub fn set_node(&mut self, node: &Node) {
        let slot = self.slot_of(node.name());
        let status = node.status.as_ref();
        let allocatable = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()));
        let seat = &mut self.seats[slot];
        if seat.labels != *node.labels() || !self.hot[slot].present {
            seat.labels = node.labels().clone();
            self.topologies.clear();
        }
        seat.allocatable = Resources::read(allocatable);
        seat.max_pods = allocatable
            .and_then(|map| map.get("pods")?.0.parse().ok())
            .map_or(MAX_PODS, orc_kube::Quantity::value);
        let spec = node.spec.as_ref();
        let mut taints = spec.and_then(|s| s.taints.clone()).unwrap_or_default();
        taints.retain(|taint| taint.effect != "PreferNoSchedule" || !taint.key.is_empty());
        for taint in &mut taints {
            taint.time_added = None;
        }
        let taint_set = self.intern(taints);
        let hot = &mut self.hot[slot];
        hot.present = true;
        hot.unschedulable = spec.is_some_and(|spec| spec.unschedulable == Some(true));
        hot.taint_set = taint_set;
        self.refresh(slot);
        let waiting = self.strays.remove(node.name()).unwrap_or_default();
        for (_, demand) in waiting {
            self.place(demand, slot);
        }
    }

    /// Strikes a node out. Its pods are kept for when it comes back.
    pub fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.by_name.remove(name) else {
            return;
        };
        let pods = std::mem::take(&mut self.seats[slot].pods);
        for uid in pods.keys() {
            self.pods.remove(uid);
        }
        for demand in pods.values() {
            self.counts.remove(demand, slot, &self.namespaces);
        }
        if !pods.is_empty() {
            self.strays.insert(name.to_owned(), pods);
        }
        self.hot[slot] = Hot::default();
        self.seats[slot] = Seat::default();
        self.topologies.clear();
        self.free_slots.push(slot);
    }

    /// Enters a pod as it is now: bound, waiting, or ended, which frees its place.
    pub fn set_pod(&mut self, pod: &Pod) {
        self.remove_pod(pod.uid());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let ended = matches!(phase, Some("Succeeded" | "Failed"));
        if let Some(node) = node.filter(|node| !node.is_empty() && !ended) {
            self.enter(Arc::new(Demand::of(pod)), node);
        }
    }

    /// Enters a pod on a node, known or not.
    pub(crate) fn enter(&mut self, demand: Arc<Demand>, node: &str) {
        match self.by_name.get(node) {
            Some(slot) => self.place(demand, *slot),
            None => {
                let strays = self.strays.entry(node.to_owned()).or_default();
                strays.insert(demand.uid.clone(), demand);
            }
        }
    }

    /// Strikes a pod out; nothing happens when it is not there.
    pub fn remove_pod(&mut self, uid: &str) {
        let Some(Placed { slot, demand }) = self.pods.remove(uid) else {
            self.strays.retain(|_, pods| {
                pods.remove(uid);
                !pods.is_empty()
            });
            return;
        };
        let seat = &mut self.seats[slot];
        seat.pods.remove(uid);
        seat.used.subtract(&demand.resources);
        for port in &demand.ports {
            if let Some(at) = seat.ports.iter().position(|other| other == port) {
                seat.ports.swap_remove(at);
            }
        }
        self.counts.remove(&demand, slot, &self.namespaces);
        self.refresh(slot);
    }

    /// Strikes out the pod of this name, whoever it is.
    pub(crate) fn remove_named(&mut self, namespace: &str, name: &str) {
        let same =
            |placed: &&Placed| placed.demand.namespace == namespace && placed.demand.name == name;
        let uid = self
            .pods
            .values()
            .find(same)
            .map(|placed| placed.demand.uid.clone());
        if let Some(uid) = uid {
            self.remove_pod(&uid);
        }
    }

    /// Enters a namespace's labels, which affinity may ask for.
    pub fn set_namespace(&mut self, name: &str, labels: Option<&Labels>) {
        let before = match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels.clone()),
            None => self.namespaces.remove(name),
        };
        if before.as_ref() != labels {
            let placed = self
                .pods
                .values()
                .map(|placed| (&placed.demand, placed.slot));
            self.counts.recount(placed, &self.namespaces);
        }
    }

    /// The node a pod is on.
    pub fn node_of(&self, uid: &str) -> Option<&str> {
        let placed = self.pods.get(uid)?;
        Some(&self.seats[placed.slot].name)
    }

    /// The names of all nodes, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// What a node has, and what its pods have taken of it.
    pub fn account(&self, node: &str) -> Option<(&Resources, &Resources)> {
        let seat = &self.seats[*self.by_name.get(node)?];
        Some((&seat.allocatable, &seat.used))
    }

    /// The slot of a node that is there.
    pub(crate) fn find(&self, node: &str) -> Option<usize> {
        self.by_name.get(node).copied()
    }

    /// The slots of all nodes, by name.
    pub(crate) fn slots(&self) -> Vec<usize> {
        let mut slots: Vec<usize> = self.by_name.values().copied().collect();
        slots.sort_by(|a, b| self.seats[*a].name.cmp(&self.seats[*b].name));
        slots
    }

    /// The places of a topology label; [`Book::prepare`] made it.
    pub(crate) fn topology(&self, label: &str) -> &Topology {
        &self.topologies[label]
    }

    /// Counts the peers that the terms of `demand` speak of, once, and numbers the places they are in.
    pub(crate) fn prepare(&mut self, demand: &Demand) {
        let placed = self
            .pods
            .values()
            .map(|placed| (&placed.demand, placed.slot));
        self.counts.prepare(demand, placed, &self.namespaces);
        let terms = demand.together.iter().chain(&demand.apart);
        let terms = terms.chain(demand.wishes.iter().map(|(_, term)| term));
        let spread = demand.spread.iter().map(|spread| &spread.topology);
        let refusers = self.counts.refusers(demand, &self.namespaces);
        let labels: Vec<String> = terms
            .map(|term| &term.topology)
            .chain(spread)
            .chain(refusers.map(|refuser| &refuser.topology))
            .filter(|label| !self.topologies.contains_key(*label))
            .cloned()
            .collect();
        for label in labels {
            let topology = self.number(&label);
            self.topologies.insert(label, topology);
        }
    }

    fn number(&self, label: &str) -> Topology {
        let mut ids: HashMap<&str, u32> = HashMap::new();
        let mut place = vec![0; self.seats.len()];
        for (slot, seat) in self.seats.iter().enumerate() {
            if let Some(value) = seat.labels.get(label) {
                let next = u32::try_from(ids.len() + 1).expect("fewer places than nodes");
                place[slot] = *ids.entry(value).or_insert(next);
            }
        }
        let places = ids.len() + 1;
        Topology { place, places }
    }

    fn place(&mut self, demand: Arc<Demand>, slot: usize) {
        self.counts.add(&demand, slot, &self.namespaces);
        let seat = &mut self.seats[slot];
        seat.used.add(&demand.resources);
        seat.ports.extend(demand.ports.iter().cloned());
        seat.pods.insert(demand.uid.clone(), demand.clone());
        self.pods
            .insert(demand.uid.clone(), Placed { slot, demand });
        self.refresh(slot);
    }

    fn slot_of(&mut self, name: &str) -> usize {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.hot.push(Hot::default());
            self.seats.push(Seat::default());
            self.seats.len() - 1
        });
        self.seats[slot].name = name.to_owned();
        self.hot[slot].name_hash = hash(name);
        self.by_name.insert(name.to_owned(), slot);
        slot
    }

    fn intern(&mut self, taints: Vec<Taint>) -> u32 {
        let known = self.taint_sets.iter().position(|set| *set == taints);
        let at = known.unwrap_or_else(|| {
            self.taint_sets.push(taints);
            self.taint_sets.len() - 1
        });
        u32::try_from(at).expect("fewer sets of taints than nodes ever seen")
    }

    /// Computes the hot part of a slot anew.
    fn refresh(&mut self, slot: usize) {
        let (hot, seat) = (&mut self.hot[slot], &self.seats[slot]);
        hot.all_cpu = seat.allocatable.cpu_milli;
        hot.all_memory = seat.allocatable.memory_bytes;
        hot.free_cpu = hot.all_cpu.saturating_sub(seat.used.cpu_milli);
        hot.free_memory = hot.all_memory.saturating_sub(seat.used.memory_bytes);
        hot.free_disk = seat
            .allocatable
            .disk_bytes
            .saturating_sub(seat.used.disk_bytes);
        let pods = i64::try_from(seat.pods.len()).unwrap_or(i64::MAX);
        hot.free_pods = seat.max_pods - pods;
    }
}

/// FNV-1a of 64 bits, spread by a last multiplication.
pub(crate) fn hash(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}
