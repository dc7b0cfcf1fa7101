//! A deployment's replica sets: which is the new one, which revision each is, and how they are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use serde_json::{Map, Value, json};

use crate::control::claim::reference;
use crate::control::replica_set::wanted;
use crate::control::rollout::bounds;
use crate::control::{names, pods};
use crate::labels::Labels;
use crate::object::Facts;
use crate::operation::{Decision, Deed, Note};
use crate::reference::Ref;
use crate::world::World;

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(crate) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(crate) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
/// Annotations that say something of the deployment itself, not of what it rolls out.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// A deployment with its replica sets.
pub(crate) struct Family<'w> {
    pub(crate) me: &'w Ref,
    pub(crate) deployment: &'w Deployment,
    pub(crate) spec: &'w DeploymentSpec,
    /// The one of the current template.
    pub(crate) new: Option<&'w Arc<ReplicaSet>>,
    /// All others, the oldest first.
    pub(crate) old: Vec<&'w Arc<ReplicaSet>>,
}

impl<'w> Family<'w> {
    pub(crate) fn new(
        me: &'w Ref,
        deployment: &'w Deployment,
        spec: &'w DeploymentSpec,
        mut sets: Vec<&'w Arc<ReplicaSet>>,
    ) -> Self {
        sets.sort_by_key(|set| (set.created(), set.name().to_owned()));
        let template = bare(Some(&spec.template));
        let new = sets.iter().position(|set| {
            let own = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            bare(own) == template
        });
        let new = new.map(|at| sets.remove(at));
        Self {
            me,
            deployment,
            spec,
            new,
            old: sets,
        }
    }

    /// How many replicas are wanted.
    pub(crate) fn wanted(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.spec.paused == Some(true)
    }

    pub(crate) fn recreates(&self) -> bool {
        let strategy = self.spec.strategy.as_ref();
        strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
    }

    /// How many more, and how many fewer than wanted there may be.
    pub(crate) fn bounds(&self) -> (i32, i32) {
        if self.recreates() {
            return (0, 0);
        }
        let strategy = self.spec.strategy.as_ref();
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let surge = rolling.and_then(|r| r.max_surge.as_ref());
        let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref());
        bounds(self.wanted(), surge, unavailable, "25%")
    }

    /// All replica sets, the new one last.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'w Arc<ReplicaSet>> {
        self.old.iter().copied().chain(self.new)
    }

    /// Whether someone changed the number of replicas since the sets were last sized.
    pub(crate) fn was_scaled(&self) -> bool {
        let mut active = self.all().filter(|set| wanted(set) > 0);
        active.any(|set| {
            let desired = number(set.annotations(), DESIRED);
            desired.is_some_and(|desired| desired != self.wanted())
        })
    }

    /// Brings revisions and annotations of the new set, and the deployment's revision, up to date.
    pub(crate) fn revise(&self, decision: &mut Decision) {
        let Some(new) = self.new else { return };
        let next = self.next_revision();
        let own = number(new.annotations(), REVISION).unwrap_or(0);
        let mut changes = Map::new();
        for (key, value) in self.inherited() {
            if new.annotations().get(key) != Some(value) {
                changes.insert(key.clone(), json!(value));
            }
        }
        if own < next {
            changes.insert(REVISION.to_owned(), json!(next.to_string()));
            if own > 0 {
                let before = new.annotations().get(HISTORY);
                let history = before.map_or(own.to_string(), |old| format!("{old},{own}"));
                changes.insert(HISTORY.to_owned(), json!(history));
            }
        }
        let target = Ref::to::<ReplicaSet>(new.namespace(), new.name());
        let mut patch = Map::new();
        if !changes.is_empty() {
            patch.insert("metadata".to_owned(), json!({ "annotations": changes }));
        }
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let theirs = new.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        if theirs.unwrap_or(0) != min_ready {
            patch.insert("spec".to_owned(), json!({ "minReadySeconds": min_ready }));
        }
        if !patch.is_empty() {
            decision.push(
                Deed::patch(target, &**new, patch.into()),
                "it is the newest revision",
            );
            return;
        }
        let revision = own.max(next).to_string();
        if self.deployment.annotations().get(REVISION) != Some(&revision) {
            let patch = json!({ "metadata": { "annotations": { REVISION: revision } } });
            let deed = Deed::patch(self.me.clone(), self.deployment, patch);
            decision.push(deed, format!("{} is its newest replica set", new.name()));
        }
    }

    /// The replica set of the current template, of this size.
    pub(crate) fn create_new(&self, world: &World, size: i32, decision: &mut Decision) {
        let collisions = self
            .deployment
            .status
            .as_ref()
            .and_then(|s| s.collision_count);
        let hash = names::hash_of(&self.spec.template, collisions).unwrap_or_default();
        let name = format!("{}-{hash}", names::cut(&self.me.name, 240));
        if world.replica_sets.get(&self.me.namespace, &name).is_some() {
            let status = json!({ "collisionCount": collisions.unwrap_or(0) + 1 });
            let deed = Deed::status(self.me.clone(), self.deployment, status);
            decision.push(deed, format!("another replica set is called {name}"));
            return;
        }
        let target = Ref::to::<ReplicaSet>(&self.me.namespace, &name);
        let object = self.set_object(&name, &hash, size);
        let note = self.note(format!("Scaled up replica set {name} from 0 to {size}"));
        let cause = "its template is new";
        decision.push_noted(Deed::Create { target, object }, cause, note);
    }

    fn set_object(&self, name: &str, hash: &str, size: i32) -> Value {
        let mut template = self.spec.template.clone();
        let meta = template.metadata.get_or_insert_default();
        let labels = meta.labels.get_or_insert_default();
        labels.insert(HASH.to_owned(), hash.to_owned());
        let mut selector = self.spec.selector.clone();
        let picked = selector.match_labels.get_or_insert_default();
        picked.insert(HASH.to_owned(), hash.to_owned());
        let mut annotations: BTreeMap<String, String> = self
            .inherited()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        annotations.insert(REVISION.to_owned(), self.next_revision().to_string());
        annotations.extend(self.size_annotations());
        json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": self.me.namespace,
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [reference(self.me, self.deployment)],
            },
            "spec": {
                "replicas": size,
                "minReadySeconds": self.spec.min_ready_seconds.unwrap_or(0),
                "selector": selector,
                "template": template,
            },
        })
    }

    /// Deletes what the history has too much of.
    pub(crate) fn forget_history(&self, decision: &mut Decision) {
        let limit = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let empty = |set: &&&Arc<ReplicaSet>| {
            let status = set.status.as_ref();
            wanted(set) == 0
                && status.is_none_or(|status| status.replicas == 0)
                && status.and_then(|s| s.observed_generation).unwrap_or(0) >= set.generation()
                && !set.is_leaving()
        };
        let mut spent: Vec<_> = self.old.iter().filter(empty).collect();
        spent.sort_by_key(|set| number(set.annotations(), REVISION).unwrap_or(0));
        let surplus = spent.len().saturating_sub(limit);
        for set in &spent[..surplus] {
            let target = Ref::to::<ReplicaSet>(set.namespace(), set.name());
            decision.push(
                Deed::delete(target, &****set),
                format!("only {limit} old revisions are kept"),
            );
        }
    }

    /// What every set says of the size of the whole.
    pub(crate) fn size_annotations(&self) -> [(String, String); 2] {
        let most = self.wanted() + self.bounds().0;
        [
            (DESIRED.to_owned(), self.wanted().to_string()),
            (MAX.to_owned(), most.to_string()),
        ]
    }

    /// An event of the deployment.
    pub(crate) fn note(&self, message: String) -> Note {
        Note {
            about: self.me.clone(),
            uid: self.deployment.uid().to_owned(),
            warning: false,
            reason: "ScalingReplicaSet".to_owned(),
            message,
        }
    }

    /// The revision of the new set: one more than every old one's.
    fn next_revision(&self) -> i32 {
        let old = self.old.iter();
        let highest = old
            .filter_map(|set| number(set.annotations(), REVISION))
            .max();
        highest.unwrap_or(0) + 1
    }

    fn inherited(&self) -> impl Iterator<Item = (&String, &String)> {
        let all = self.deployment.annotations().iter();
        all.filter(|(key, _)| !OWN.contains(&key.as_str()))
    }
}

/// Whether pods of old replica sets still run.
pub(crate) fn old_pods_remain(world: &World, family: &Family<'_>) -> bool {
    let pods = family
        .old
        .iter()
        .flat_map(|set| world.dependents(set.uid()));
    let mut pods = pods.filter_map(|target| world.pods.get(&target.namespace, &target.name));
    pods.any(|pod: &Arc<Pod>| !pods::has_ended(pod))
}

/// A number in an annotation.
pub(crate) fn number(annotations: &Labels, key: &str) -> Option<i32> {
    annotations.get(key)?.parse().ok()
}

/// A template without the label that its hash is written in.
fn bare(template: Option<&PodTemplateSpec>) -> Option<PodTemplateSpec> {
    let mut template = template.cloned()?;
    let meta = template.metadata.get_or_insert_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH);
        if labels.is_empty() {
            meta.labels = None;
        }
    }
    meta.creation_timestamp = None;
    Some(template)
}
