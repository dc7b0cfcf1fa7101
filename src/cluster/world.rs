//! The objects of the cluster as they were last seen, with the indexes that rules need.
//!
//! Nobody's truth: a copy of what the API says. One object at a time goes in ([`World::set`],
//! [`World::remove`]); what changed comes out, so that only rules it concerns look again. Objects of
//! kinds that no rule reads are kept as their metadata only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use orc_base::{Context, Error, Result, Time};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::object::Facts;
use crate::reference::{Kind, Ref};

/// Objects of one type by namespace and name.
#[derive(Debug, Clone)]
pub struct Table<T>(BTreeMap<(String, String), Arc<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Table<T> {
    /// The object of this name; `namespace` is empty for kinds of the whole cluster.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.0.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// All objects of a namespace, by name.
    pub fn inside<'t>(&'t self, namespace: &'t str) -> impl Iterator<Item = &'t Arc<T>> {
        let from = (namespace.to_owned(), String::new());
        let all = self.0.range(from..);
        all.take_while(move |((other, _), _)| other == namespace)
            .map(|(_, object)| object)
    }

    /// All objects, by namespace and name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.values()
    }
}

/// Metadata of an object of any kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its metadata, without the fields' managers.
    pub meta: ObjectMeta,
    /// For pods: the node.
    pub node: Option<String>,
}

/// What became of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which.
    pub target: Ref,
    /// As it was; nothing when it is new.
    pub before: Option<Arc<Seen>>,
    /// As it is; nothing when it is gone.
    pub after: Option<Arc<Seen>>,
}

impl Change {
    /// It before and after, what there is of it.
    pub(crate) fn both(&self) -> impl Iterator<Item = &Seen> {
        self.before.iter().chain(&self.after).map(|seen| &**seen)
    }
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct World {
    /// `Namespace`s.
    pub namespaces: Table<Namespace>,
    /// `Node`s.
    pub nodes: Table<Node>,
    /// `Pod`s.
    pub pods: Table<Pod>,
    /// `ReplicaSet`s.
    pub replica_sets: Table<ReplicaSet>,
    /// `Deployment`s.
    pub deployments: Table<Deployment>,
    /// `DaemonSet`s.
    pub daemon_sets: Table<DaemonSet>,
    /// `ControllerRevision`s.
    pub revisions: Table<ControllerRevision>,
    /// `Job`s.
    pub jobs: Table<Job>,
    /// `Service`s.
    pub services: Table<Service>,
    /// `Endpoints`.
    pub endpoints: Table<Endpoints>,
    /// `EndpointSlice`s.
    pub slices: Table<EndpointSlice>,
    /// `ConfigMap`s, their data included.
    pub config_maps: Table<ConfigMap>,
    /// `Lease`s.
    pub leases: Table<Lease>,
    /// When each node was last seen alive, by the clock of whoever looks.
    pub heartbeats: HashMap<String, Time>,
    kinds: BTreeMap<(String, String), (Kind, bool)>,
    metas: BTreeMap<Ref, Arc<Seen>>,
    by_uid: HashMap<String, Ref>,
    dependents: HashMap<String, BTreeSet<Ref>>,
    pods_on: HashMap<String, BTreeSet<(String, String)>>,
    strays: BTreeSet<Ref>,
}

impl World {
    /// An empty world that knows these kinds, and whether their objects live in namespaces.
    pub fn new(kinds: impl IntoIterator<Item = (Kind, bool)>) -> Self {
        let entry = |(kind, namespaced): (Kind, bool)| {
            (
                (kind.api_version(), kind.name.to_owned()),
                (kind, namespaced),
            )
        };
        Self {
            kinds: kinds.into_iter().map(entry).collect(),
            ..Self::default()
        }
    }

    /// A kind by its names, and whether its objects live in namespaces.
    pub fn kind(&self, api_version: &str, name: &str) -> Option<(Kind, bool)> {
        let key = (api_version.to_owned(), name.to_owned());
        self.kinds.get(&key).copied()
    }

    /// Everything in a namespace, by kind and name.
    pub(crate) fn inside<'w>(
        &'w self,
        namespace: &'w str,
    ) -> impl Iterator<Item = (&'w Ref, &'w Arc<Seen>)> {
        self.kinds.values().flat_map(move |(kind, _)| {
            let kind = *kind;
            let first = Ref {
                kind,
                namespace: namespace.to_owned(),
                name: String::new(),
            };
            let all = self.metas.range(first..);
            all.take_while(move |(t, _)| t.kind == kind && t.namespace == namespace)
        })
    }

    /// Takes an object in, as it is now. `Invalid` when it cannot be read.
    pub fn set(&mut self, kind: Kind, object: &Value) -> Result<Change> {
        let mut meta: ObjectMeta = read(&object["metadata"]).context(|| kind.name.to_owned())?;
        meta.managed_fields = None;
        let target = Ref {
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        };
        self.keep(&target, Some(object))
            .context(|| target.to_string())?;
        let node = object["spec"]["nodeName"].as_str();
        let node = node.filter(|node| !node.is_empty() && kind == Kind::of::<Pod>());
        let node = node.map(str::to_owned);
        Ok(self.note(target, Some(Arc::new(Seen { meta, node }))))
    }

    /// Strikes an object out.
    pub fn remove(&mut self, target: &Ref) -> Change {
        // Nothing is read, so nothing can fail.
        let _ = self.keep(target, None);
        self.note(target.clone(), None)
    }

    /// The metadata of an object.
    pub fn seen(&self, target: &Ref) -> Option<&Arc<Seen>> {
        self.metas.get(target)
    }

    /// Every object's metadata, by kind, namespace and name.
    pub fn all(&self) -> impl Iterator<Item = (&Ref, &Arc<Seen>)> {
        self.metas.iter()
    }

    /// What has this uid.
    pub fn of_uid(&self, uid: &str) -> Option<&Ref> {
        self.by_uid.get(uid)
    }

    /// What names this uid as one of its owners.
    pub fn dependents(&self, uid: &str) -> impl Iterator<Item = &Ref> {
        self.dependents.get(uid).into_iter().flatten()
    }

    /// The pods that name this uid as an owner, and those of the namespace that nothing governs.
    pub(crate) fn pods_around<'w>(
        &'w self,
        uid: &'w str,
        namespace: &'w str,
    ) -> impl Iterator<Item = &'w Arc<Pod>> {
        self.around::<Pod>(uid, namespace)
            .filter_map(|target| self.pods.get(&target.namespace, &target.name))
    }

    /// The objects of a kind that name this uid as an owner, and those of the namespace that nothing
    /// governs.
    pub(crate) fn around<'w, T: k8s_openapi::Resource>(
        &'w self,
        uid: &'w str,
        namespace: &'w str,
    ) -> impl Iterator<Item = &'w Ref> {
        let kind = Kind::of::<T>();
        let first = Ref {
            kind,
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let strays = self.strays.range(first..);
        let strays = strays.take_while(move |t| t.kind == kind && t.namespace == namespace);
        self.dependents(uid)
            .filter(move |target| target.kind == kind)
            .chain(strays.filter(move |target| !self.names_owner(target, uid)))
    }

    /// The pods that are bound to a node.
    pub(crate) fn pods_on(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        let keys = self.pods_on.get(node).into_iter().flatten();
        keys.filter_map(|(namespace, name)| self.pods.get(namespace, name))
    }

    /// The kind of that name among the kinds that were seen.
    pub(crate) fn owner_of(&self, owner: &OwnerReference, namespace: &str) -> Option<&Ref> {
        let target = self.by_uid.get(&owner.uid)?;
        let near = target.namespace.is_empty() || target.namespace == namespace;
        (near && target.kind.name == owner.kind && target.name == owner.name).then_some(target)
    }

    fn names_owner(&self, target: &Ref, uid: &str) -> bool {
        let owners = |seen: &Arc<Seen>| {
            let mut owners = seen.meta.owner_references.iter().flatten();
            owners.any(|owner| owner.uid == uid)
        };
        self.metas.get(target).is_some_and(owners)
    }

    fn keep(&mut self, target: &Ref, object: Option<&Value>) -> Result<()> {
        let kind = target.kind;
        if kind == Kind::of::<Pod>() {
            put(&mut self.pods, target, object)
        } else if kind == Kind::of::<Node>() {
            put(&mut self.nodes, target, object)
        } else if kind == Kind::of::<Namespace>() {
            put(&mut self.namespaces, target, object)
        } else if kind == Kind::of::<ReplicaSet>() {
            put(&mut self.replica_sets, target, object)
        } else if kind == Kind::of::<Deployment>() {
            put(&mut self.deployments, target, object)
        } else if kind == Kind::of::<DaemonSet>() {
            put(&mut self.daemon_sets, target, object)
        } else if kind == Kind::of::<ControllerRevision>() {
            put(&mut self.revisions, target, object)
        } else if kind == Kind::of::<Job>() {
            put(&mut self.jobs, target, object)
        } else if kind == Kind::of::<Service>() {
            put(&mut self.services, target, object)
        } else if kind == Kind::of::<Endpoints>() {
            put(&mut self.endpoints, target, object)
        } else if kind == Kind::of::<EndpointSlice>() {
            put(&mut self.slices, target, object)
        } else if kind == Kind::of::<ConfigMap>() {
            put(&mut self.config_maps, target, object)
        } else if kind == Kind::of::<Lease>() {
            put(&mut self.leases, target, object)
        } else {
            Ok(())
        }
    }

    fn note(&mut self, target: Ref, after: Option<Arc<Seen>>) -> Change {
        let before = match &after {
            Some(seen) => self.metas.insert(target.clone(), seen.clone()),
            None => self.metas.remove(&target),
        };
        if let Some(seen) = &before {
            self.unindex(&target, seen);
        }
        if let Some(seen) = &after {
            self.index(&target, seen);
        }
        Change {
            target,
            before,
            after,
        }
    }

    fn index(&mut self, target: &Ref, seen: &Seen) {
        let uid = seen.meta.uid.clone().unwrap_or_default();
        self.by_uid.insert(uid, target.clone());
        for owner in seen.meta.owner_references.iter().flatten() {
            let dependents = self.dependents.entry(owner.uid.clone()).or_default();
            dependents.insert(target.clone());
        }
        if !is_governed(&seen.meta) {
            self.strays.insert(target.clone());
        }
        if let Some(node) = &seen.node {
            let pods = self.pods_on.entry(node.clone()).or_default();
            pods.insert((target.namespace.clone(), target.name.clone()));
        }
    }

    fn unindex(&mut self, target: &Ref, seen: &Seen) {
        let uid = seen.meta.uid.as_deref().unwrap_or_default();
        if self.by_uid.get(uid) == Some(target) {
            self.by_uid.remove(uid);
        }
        for owner in seen.meta.owner_references.iter().flatten() {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(target);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        self.strays.remove(target);
        if let Some(node) = &seen.node
            && let Some(pods) = self.pods_on.get_mut(node)
        {
            pods.remove(&(target.namespace.clone(), target.name.clone()));
            if pods.is_empty() {
                self.pods_on.remove(node);
            }
        }
    }
}

fn is_governed(meta: &ObjectMeta) -> bool {
    let mut owners = meta.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true))
}

fn put<T: DeserializeOwned + Facts>(
    table: &mut Table<T>,
    target: &Ref,
    object: Option<&Value>,
) -> Result<()> {
    let key = (target.namespace.clone(), target.name.clone());
    match object {
        Some(object) => {
            table.0.insert(key, Arc::new(read(object)?));
        }
        None => {
            table.0.remove(&key);
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|error| Error::invalid(error.to_string()))
}

impl Facts for Seen {
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}
