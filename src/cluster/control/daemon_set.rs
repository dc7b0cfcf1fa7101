//! Daemon sets: one pod on every node that it may run on.
//!
//! A pod carries its node as a node affinity, so the scheduler still counts it. Its history is kept in
//! `ControllerRevision`s, which `kubectl rollout undo` reads. A rolling update replaces pods within
//! `maxUnavailable`, or beside the old ones within `maxSurge`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec, Taint, Toleration};
use orc_base::Time;
use serde_json::{Value, json};

use crate::control::Rule;
use crate::control::claim::{claim, reference};
use crate::control::conditions::difference;
use crate::control::replica_set::owners_of;
use crate::control::rollout::{bounds, resolve};
use crate::control::{names, pods};
use crate::object::Facts;
use crate::operation::{Decision, Deed};
use crate::reference::{Kind, Ref};
use crate::sched::place::{meets_affinity, tolerated};
use crate::world::{Change, World};

const HASH: &str = "controller-revision-hash";
/// How long a daemon that failed waits for its next try.
const RETRY: Duration = Duration::from_secs(10);
/// Taints that every daemon lives with: it serves the node in whatever state that is.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// The rule.
#[derive(Debug, Default)]
pub struct DaemonSets;

impl Rule for DaemonSets {
    fn name(&self) -> &'static str {
        "daemon-set-controller"
    }

    fn concerns(&self, world: &World, change: &Change) -> Vec<Ref> {
        let kind = Kind::of::<DaemonSet>();
        match change.target.kind {
            own if own == kind => vec![change.target.clone()],
            node if node == Kind::of::<Node>() => {
                let all = world.daemon_sets.all();
                all.map(|set| Ref::to::<DaemonSet>(set.namespace(), set.name()))
                    .collect()
            }
            own if own == Kind::of::<Pod>() || own == Kind::of::<ControllerRevision>() => {
                owners_of(change, kind)
            }
            _ => Vec::new(),
        }
    }

    fn decide(&self, world: &World, me: &Ref, now: Time) -> Decision {
        let mut decision = Decision::default();
        let Some(set) = world.daemon_sets.get(&me.namespace, &me.name) else {
            return decision;
        };
        let Some(spec) = &set.spec else {
            return decision;
        };
        let around = world.pods_around(set.uid(), &me.namespace);
        let own = claim(me, &**set, &spec.selector, around, &mut decision);
        let collisions = set.status.as_ref().and_then(|s| s.collision_count);
        let hash = names::hash_of(&spec.template, collisions).unwrap_or_default();
        let view = View::new(world, me, set, spec, hash, &own, now);
        if !set.is_leaving() {
            view.keep_history(world, &mut decision);
            view.place(world, &mut decision);
            view.update(&mut decision);
        }
        view.report(&mut decision);
        decision
    }
}

/// A daemon set and its pods by node.
struct View<'w> {
    me: &'w Ref,
    set: &'w DaemonSet,
    spec: &'w DaemonSetSpec,
    hash: String,
    now: Time,
    /// By node: whether a pod should be there, whether it may stay, and the pods.
    nodes: BTreeMap<&'w str, OnNode<'w>>,
}

#[derive(Default)]
struct OnNode<'w> {
    should_run: bool,
    may_stay: bool,
    /// The oldest first; without those on their way out.
    pods: Vec<&'w Arc<Pod>>,
    leaving: usize,
}

impl<'w> View<'w> {
    fn new(
        world: &'w World,
        me: &'w Ref,
        set: &'w DaemonSet,
        spec: &'w DaemonSetSpec,
        hash: String,
        own: &[&'w Arc<Pod>],
        now: Time,
    ) -> Self {
        let mut nodes: BTreeMap<&str, OnNode> = BTreeMap::new();
        for node in world.nodes.all() {
            let (should_run, may_stay) = fits(spec, node);
            let entry = nodes.entry(node.name()).or_default();
            (entry.should_run, entry.may_stay) = (should_run, may_stay);
        }
        for pod in own {
            let Some(name) = pods::node(pod).or_else(|| meant_for(pod)) else {
                continue;
            };
            let Some(entry) = nodes.get_mut(name) else {
                continue;
            };
            match pod.is_leaving() {
                true => entry.leaving += 1,
                false => entry.pods.push(pod),
            }
        }
        for entry in nodes.values_mut() {
            entry
                .pods
                .sort_by_key(|pod| (pod.created(), pod.name().to_owned()));
        }
        Self {
            me,
            set,
            spec,
            hash,
            now,
            nodes,
        }
    }

    /// One pod where there is none, none where there should not be any, and no two.
    fn place(&self, world: &World, decision: &mut Decision) {
        for (node, there) in &self.nodes {
            let (failed, fine): (Vec<_>, Vec<_>) = there
                .pods
                .iter()
                .copied()
                .partition(|pod| pods::has_ended(pod));
            for pod in failed {
                let retry = pods::ended_at(pod).plus(RETRY);
                match retry <= self.now {
                    true => self.delete(pod, "it has ended", decision),
                    false => decision.look_again(retry),
                }
            }
            if !there.may_stay {
                for pod in fine {
                    self.delete(pod, &format!("{node} is not for it"), decision);
                }
                continue;
            }
            let surging = self.surge() > 0 && fine.len() == 2 && !self.is_new(fine[0]);
            for pod in fine.iter().skip(if surging { 2 } else { 1 }) {
                self.delete(pod, &format!("{node} has another"), decision);
            }
            let waiting = there.pods.len() > fine.len();
            if there.should_run && fine.is_empty() && !waiting && there.leaving == 0 {
                self.create(world, node, &format!("{node} has none"), decision);
            }
        }
    }

    /// Replaces pods of older templates.
    fn update(&self, decision: &mut Decision) {
        let strategy = self.spec.update_strategy.as_ref();
        if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        match self.surge() {
            0 => self.replace(decision),
            surge => self.surge_over(surge, decision),
        }
    }

    /// Deletes old pods as far as enough others are available.
    fn replace(&self, decision: &mut Decision) {
        let wanted: Vec<&OnNode> = self.nodes.values().filter(|n| n.should_run).collect();
        let missing = wanted.iter().filter(|there| !self.is_served(there)).count();
        let old = |there: &&OnNode<'w>| -> Option<&'w Arc<Pod>> {
            there
                .pods
                .iter()
                .copied()
                .find(|pod| !self.is_new(pod) && !pods::has_ended(pod))
        };
        let (idle, serving): (Vec<_>, Vec<_>) = wanted
            .iter()
            .filter_map(old)
            .partition(|pod| !self.is_available(pod));
        for pod in idle {
            self.delete(pod, "it is of an old template", decision);
        }
        let spare = self.unavailable().saturating_sub(missing);
        for pod in serving.into_iter().take(spare) {
            self.delete(pod, "it is of an old template", decision);
        }
    }

    /// Starts new pods beside old ones, and deletes an old one when its successor is available.
    fn surge_over(&self, surge: usize, decision: &mut Decision) {
        let wanted = || self.nodes.iter().filter(|(_, there)| there.should_run);
        let mut beside = wanted().filter(|(_, there)| there.pods.len() > 1).count();
        for (node, there) in wanted() {
            let fine = there.pods.iter().filter(|pod| !pods::has_ended(pod));
            let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
                fine.partition(|pod| self.is_new(pod));
            let replaced = new.iter().any(|pod| self.is_available(pod));
            for pod in &old {
                if replaced || new.is_empty() && !self.is_available(pod) {
                    self.delete(pod, "it is of an old template", decision);
                }
            }
            if new.is_empty() && old.iter().any(|pod| self.is_available(pod)) && beside < surge {
                beside += 1;
                self.create_beside(node, decision);
            }
        }
    }

    fn create(&self, world: &World, node: &str, cause: &str, decision: &mut Decision) {
        let taken = |name: &str| world.pods.get(&self.me.namespace, name).is_some();
        let uid = format!("{}/{node}", self.set.uid());
        for name in names::free(&self.me.name, &uid, 1, taken) {
            self.create_named(&name, node, cause, decision);
        }
    }

    fn create_beside(&self, node: &str, decision: &mut Decision) {
        let uid = format!("{}/{node}/{}", self.set.uid(), self.hash);
        let name = names::child(&self.me.name, &uid, 0);
        self.create_named(&name, node, "its successor starts beside it", decision);
    }

    fn create_named(&self, name: &str, node: &str, cause: &str, decision: &mut Decision) {
        let target = Ref::to::<Pod>(&self.me.namespace, name);
        let owner = reference(self.me, self.set);
        let prefix = format!("{}-", self.me.name);
        let mut object = pods::from_template(&self.spec.template, &target, &prefix, &owner);
        object["metadata"]["labels"][HASH] = json!(self.hash);
        pin(&mut object["spec"], node);
        decision.push(Deed::Create { target, object }, cause);
    }

    fn delete(&self, pod: &Pod, cause: &str, decision: &mut Decision) {
        let target = Ref::to::<Pod>(pod.namespace(), pod.name());
        let told = decision
            .operations
            .iter()
            .flat_map(|operation| &operation.deeds);
        if !told.into_iter().any(|deed| *deed.target() == target) {
            decision.push(Deed::delete(target, pod), cause);
        }
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.labels().get(HASH) == Some(&self.hash)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        pods::available_at(pod, min_ready).is_some_and(|at| at <= self.now)
    }

    fn is_served(&self, there: &OnNode<'_>) -> bool {
        there.pods.iter().any(|pod| self.is_available(pod))
    }

    fn rolling(&self) -> (i32, i32) {
        let strategy = self.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let nodes = self.nodes.values().filter(|n| n.should_run).count();
        let nodes = i32::try_from(nodes).unwrap_or(i32::MAX);
        let surge = rolling.and_then(|r| r.max_surge.as_ref());
        let surge = surge.map_or(0, |surge| resolve(surge, nodes, true));
        let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref());
        let (_, unavailable) = bounds(nodes, Some(&int(surge)), unavailable, "1");
        (surge, unavailable)
    }

    fn surge(&self) -> usize {
        usize::try_from(self.rolling().0).unwrap_or(0)
    }

    fn unavailable(&self) -> usize {
        usize::try_from(self.rolling().1.max(1)).unwrap_or(1)
    }

    /// Writes down the current template as the newest revision, and forgets the oldest.
    fn keep_history(&self, world: &World, decision: &mut Decision) {
        let revisions = world.around::<ControllerRevision>(self.set.uid(), &self.me.namespace);
        let mut own: Vec<_> = revisions
            .filter_map(|r| world.revisions.get(&r.namespace, &r.name))
            .filter(|revision| revision.is_governed_by(self.set.uid()))
            .collect();
        own.sort_by_key(|revision| revision.revision);
        let current = own
            .iter()
            .position(|r| r.labels().get(HASH) == Some(&self.hash));
        let newest = own.last().map_or(0, |revision| revision.revision);
        match current {
            None => decision.push(self.new_revision(newest + 1), "its template is new"),
            Some(at) if own[at].revision < newest => {
                let target = Ref::to::<ControllerRevision>(&self.me.namespace, own[at].name());
                let patch = json!({ "revision": newest + 1 });
                decision.push(
                    Deed::patch(target, &**own[at], patch),
                    "it was rolled back to",
                );
            }
            Some(_) => {}
        }
        let limit = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let used = |hash: Option<&String>| {
            let mut pods = self.nodes.values().flat_map(|there| &there.pods);
            hash == Some(&self.hash) || pods.any(|pod| pod.labels().get(HASH) == hash)
        };
        let spent: Vec<_> = own.iter().filter(|r| !used(r.labels().get(HASH))).collect();
        for revision in &spent[..spent.len().saturating_sub(limit)] {
            let target = Ref::to::<ControllerRevision>(&self.me.namespace, revision.name());
            let cause = format!("only {limit} old revisions are kept");
            decision.push(Deed::delete(target, &****revision), cause);
        }
    }

    fn new_revision(&self, number: i64) -> Deed {
        let name = format!("{}-{}", names::cut(&self.me.name, 240), self.hash);
        let target = Ref::to::<ControllerRevision>(&self.me.namespace, &name);
        let mut template = json!(self.spec.template);
        template["$patch"] = json!("replace");
        let meta = self.spec.template.metadata.clone().unwrap_or_default();
        let mut labels = meta.labels.unwrap_or_default();
        labels.insert(HASH.to_owned(), self.hash.clone());
        let object = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "namespace": self.me.namespace,
                "labels": labels,
                "annotations": self.set.annotations(),
                "ownerReferences": [reference(self.me, self.set)],
            },
            "data": { "spec": { "template": template } },
            "revision": number,
        });
        Deed::Create { target, object }
    }

    fn report(&self, decision: &mut Decision) {
        let wanted = || self.nodes.values().filter(|n| n.should_run);
        let first = |there: &&OnNode<'w>| there.pods.first().copied();
        let there = |test: &dyn Fn(&Pod) -> bool| {
            let pods = wanted().filter(|n| n.pods.iter().any(|pod| test(pod)));
            pods.count()
        };
        let desired = wanted().count();
        let available = there(&|pod| self.is_available(pod));
        let astray = self.nodes.values().filter(|n| !n.should_run);
        let soon = wanted().flat_map(|n| &n.pods);
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let soon = soon.filter_map(|pod| pods::available_at(pod, min_ready));
        if let Some(at) = soon.filter(|at| *at > self.now).min() {
            decision.look_again(at);
        }
        let status = json!({
            "desiredNumberScheduled": desired,
            "currentNumberScheduled": wanted().filter_map(|n| first(&n)).count(),
            "numberMisscheduled": astray.filter(|n| !n.pods.is_empty()).count(),
            "numberReady": there(&|pod| pods::is_ready(pod)),
            "updatedNumberScheduled": there(&|pod| self.is_new(pod)),
            "numberAvailable": available,
            "numberUnavailable": desired - available,
            "observedGeneration": self.set.generation(),
        });
        if let Some(status) = difference(&self.set.status, status) {
            let deed = Deed::status(self.me.clone(), self.set, status);
            decision.push(deed, "its pods or nodes changed");
        }
    }
}

fn int(number: i32) -> k8s_openapi::apimachinery::pkg::util::intstr::IntOrString {
    k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(number)
}

/// Whether a daemon should run on a node, and whether one that runs there may stay.
fn fits(spec: &DaemonSetSpec, node: &Node) -> (bool, bool) {
    let nothing = PodSpec::default();
    let pod = spec.template.spec.as_ref().unwrap_or(&nothing);
    if !meets_affinity(pod, node) {
        return (false, false);
    }
    let mut tolerations = pod.tolerations.clone().unwrap_or_default();
    tolerations.extend(own_tolerations());
    let refused = |effect: &str| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        let mut taints = taints.into_iter().flatten().filter(|t| t.effect == effect);
        taints.any(|taint: &Taint| !tolerations.iter().any(|own| tolerated(own, taint)))
    };
    let may_stay = !refused("NoExecute");
    (may_stay && !refused("NoSchedule"), may_stay)
}

fn own_tolerations() -> impl Iterator<Item = Toleration> {
    TOLERATED.into_iter().map(|(key, effect)| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some(effect.to_owned()),
        ..Toleration::default()
    })
}

/// Makes a pod's spec one for this node only, with the taints that daemons live with.
fn pin(spec: &mut Value, node: &str) {
    let field = json!({ "key": "metadata.name", "operator": "In", "values": [node] });
    let path = "requiredDuringSchedulingIgnoredDuringExecution";
    let terms = &mut spec["affinity"]["nodeAffinity"][path]["nodeSelectorTerms"];
    match terms.as_array_mut().filter(|terms| !terms.is_empty()) {
        Some(terms) => {
            for term in terms {
                term["matchFields"] = json!([field]);
            }
        }
        None => *terms = json!([{ "matchFields": [field] }]),
    }
    let own: Vec<Value> = own_tolerations()
        .map(|toleration| json!(toleration))
        .collect();
    match spec["tolerations"].as_array_mut() {
        Some(all) => {
            for toleration in own {
                if !all.contains(&toleration) {
                    all.push(toleration);
                }
            }
        }
        None => spec["tolerations"] = json!(own),
    }
}

/// The node that a pod's affinity names.
fn meant_for(pod: &Pod) -> Option<&str> {
    let affinity = pod
        .spec
        .as_ref()?
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let term = required.node_selector_terms.first()?;
    let fields = term.match_fields.as_ref()?;
    let field = fields.iter().find(|field| field.key == "metadata.name")?;
    field.values.as_ref()?.first().map(String::as_str)
}
