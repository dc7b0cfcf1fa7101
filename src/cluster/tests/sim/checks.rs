//! What must hold at every moment, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use crate::control::{bounds_of, is_active, is_ready};
use crate::object::Facts;
use crate::sched::Resources;
use crate::world::World;

/// What was at the last look.
pub(super) struct Checks {
    calm: bool,
    /// By deployment: what its sets wanted together.
    wanted: BTreeMap<String, i32>,
    /// By replica set: its pods.
    pods: BTreeMap<String, i32>,
    /// Deployments whose pods were all ready once, with the size they had then.
    served: BTreeMap<String, i32>,
    /// Pods by node and name that were bound: never to another.
    bound: BTreeMap<String, String>,
}

impl Checks {
    pub(super) fn new(calm: bool) -> Self {
        Self {
            calm,
            wanted: BTreeMap::new(),
            pods: BTreeMap::new(),
            served: BTreeMap::new(),
            bound: BTreeMap::new(),
        }
    }

    /// What does not hold now.
    pub(super) fn always(&mut self, world: &World) -> Option<String> {
        self.sizes(world)
            .or_else(|| self.replicas(world))
            .or_else(|| self.bindings(world))
    }

    /// Never more than the surge allows, and in a calm life never fewer at work than may be missing.
    fn sizes(&mut self, world: &World) -> Option<String> {
        for deployment in world.deployments.all() {
            let (wanted, surge, unavailable) = bounds_of(deployment);
            let sets = sets(world, deployment);
            let sum: i32 = sets.iter().map(|set| crate::control::wanted(set)).sum();
            let before = self
                .wanted
                .insert(deployment.uid().to_owned(), sum)
                .unwrap_or(0);
            if sum > before && sum > wanted + surge {
                return Some(format!(
                    "{}: {sum} replicas wanted, {wanted} + {surge} allowed",
                    deployment.name()
                ));
            }
            let ready = pods(world, &sets)
                .filter(|pod| is_active(pod) && is_ready(pod))
                .count();
            let ready = i32::try_from(ready).unwrap();
            let key = deployment.uid().to_owned();
            let served = self.served.get(&key) == Some(&wanted);
            if self.calm && served && !recreates(deployment) && ready < wanted - unavailable {
                return Some(format!(
                    "{}: {ready} ready, {wanted} - {unavailable} promised",
                    deployment.name()
                ));
            }
            if ready >= wanted {
                self.served.insert(key, wanted);
            }
        }
        None
    }

    /// No set has more pods than it wants, except while it shrinks.
    fn replicas(&mut self, world: &World) -> Option<String> {
        for set in world.replica_sets.all() {
            let active = own_pods(world, set).filter(|pod| is_active(pod)).count();
            let active = i32::try_from(active).unwrap();
            let before = self.pods.insert(set.uid().to_owned(), active).unwrap_or(0);
            let wanted = crate::control::wanted(set);
            if active > before && active > wanted {
                return Some(format!("{}: {active} pods, {wanted} wanted", set.name()));
            }
        }
        None
    }

    /// A pod stays on its node, and no node gives more than it has.
    fn bindings(&mut self, world: &World) -> Option<String> {
        for node in world.nodes.all() {
            let mut used = Resources::default();
            for pod in world.pods_on(node.name()) {
                let spec = pod.spec.as_ref()?;
                if is_active(pod) {
                    used.add(&Resources::of_pod(spec));
                }
                let key = pod.uid().to_owned();
                let before = self.bound.insert(key, node.name().to_owned());
                if before.is_some_and(|before| before != node.name()) {
                    return Some(format!("{} moved", pod.name()));
                }
            }
            let status = node.status.as_ref();
            let has = Resources::read(status.and_then(|status| status.allocatable.as_ref()));
            if used.cpu_milli > has.cpu_milli || used.memory_bytes > has.memory_bytes {
                return Some(format!("{} gives {used:?} of {has:?}", node.name()));
            }
        }
        None
    }
}

fn recreates(deployment: &Deployment) -> bool {
    let spec = deployment.spec.as_ref();
    let strategy = spec.and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

fn sets<'w>(world: &'w World, deployment: &'w Deployment) -> Vec<&'w ReplicaSet> {
    let all = world.replica_sets.inside(deployment.namespace());
    all.filter(|set| set.is_governed_by(deployment.uid()))
        .map(|set| &**set)
        .collect()
}

fn own_pods<'w>(world: &'w World, set: &ReplicaSet) -> impl Iterator<Item = &'w Pod> {
    let uid = set.uid().to_owned();
    let all = world.dependents(&uid).cloned().collect::<Vec<_>>();
    all.into_iter()
        .filter_map(|target| world.pods.get(&target.namespace, &target.name))
        .map(|pod| &**pod)
        .filter(move |pod| pod.is_governed_by(&uid))
}

fn pods<'w>(world: &'w World, sets: &[&ReplicaSet]) -> impl Iterator<Item = &'w Pod> {
    sets.iter()
        .flat_map(|set| own_pods(world, set).collect::<Vec<_>>())
        .collect::<Vec<_>>()
        .into_iter()
}

/// What is not as it should be when everything has come to rest.
pub(super) fn rest(world: &World) -> String {
    let mut wrong = String::new();
    for deployment in world.deployments.all() {
        deployment_rests(world, deployment, &mut wrong);
    }
    for set in world.daemon_sets.all().filter(|set| !set.is_leaving()) {
        let pods = world.pods.inside(set.namespace());
        let own =
            pods.filter(|pod| pod.is_governed_by(set.uid()) && is_active(pod) && is_ready(pod));
        let own: Vec<_> = own.collect();
        let nodes: BTreeSet<_> = own
            .iter()
            .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
            .collect();
        let (count, all) = (own.len(), world.nodes.all().count());
        if nodes.len() != all || count != all {
            let _ = writeln!(
                wrong,
                "{}: {count} daemons on {} of {all} nodes",
                set.name(),
                nodes.len()
            );
        }
        let status = set.status.clone().unwrap_or_default();
        if status.updated_number_scheduled != Some(status.desired_number_scheduled) {
            let _ = writeln!(wrong, "{}: {status:?}", set.name());
        }
    }
    for job in world.jobs.all() {
        let status = job.status.clone().unwrap_or_default();
        let is = |kind: &str| {
            let mut all = status.conditions.iter().flatten();
            all.any(|condition| condition.type_ == kind && condition.status == "True")
        };
        let completions = job.spec.as_ref().and_then(|spec| spec.completions);
        let enough = status.succeeded == completions;
        if job.is_leaving() || !(is("Complete") && enough || is("Failed")) {
            let _ = writeln!(wrong, "{}: {status:?}", job.name());
        }
    }
    for pod in world.pods.all() {
        let owned = pod
            .controller()
            .is_none_or(|owner| world.of_uid(&owner.uid).is_some());
        if !owned || pod.is_leaving() {
            let _ = writeln!(
                wrong,
                "{}: owned {owned}, leaving {}",
                pod.name(),
                pod.is_leaving()
            );
        }
    }
    for service in world.services.all() {
        endpoints_rest(world, service.name(), &mut wrong);
    }
    wrong
}

fn deployment_rests(world: &World, deployment: &Deployment, wrong: &mut String) {
    let name = deployment.name();
    if deployment.is_leaving() {
        let _ = writeln!(wrong, "{name}: still leaving");
        return;
    }
    let (wanted, ..) = bounds_of(deployment);
    let sets = sets(world, deployment);
    let spec = deployment.spec.clone().unwrap_or_default();
    let image = |spec: Option<&k8s_openapi::api::core::v1::PodSpec>| {
        spec.and_then(|spec| spec.containers.first()?.image.clone())
    };
    let active: Vec<&Pod> = pods(world, &sets).filter(|pod| is_active(pod)).collect();
    let right = active.iter().filter(|pod| {
        is_ready(pod) && image(pod.spec.as_ref()) == image(spec.template.spec.as_ref())
    });
    let right = i32::try_from(right.count()).unwrap();
    if right != wanted || active.len() != usize::try_from(wanted).unwrap() {
        let _ = writeln!(
            wrong,
            "{name}: {right} of {} pods are right, {wanted} wanted",
            active.len()
        );
    }
    let status = deployment.status.clone().unwrap_or_default();
    let progress = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Progressing");
    let done = progress.and_then(|c| c.reason.as_deref()) == Some("NewReplicaSetAvailable");
    let told = status.observed_generation == Some(deployment.generation())
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted;
    if !done || !told {
        let _ = writeln!(
            wrong,
            "{name} (generation {}): {status:?}",
            deployment.generation()
        );
    }
    if sets.len() > 3 {
        let _ = writeln!(wrong, "{name}: {} replica sets, 1 + 2 kept", sets.len());
    }
}

fn endpoints_rest(world: &World, name: &str, wrong: &mut String) {
    let pods = world.pods.inside("default");
    let ready = pods.filter(|pod| {
        pod.labels().get("app").is_some_and(|app| app == name) && is_active(pod) && is_ready(pod)
    });
    let expected: BTreeSet<String> = ready
        .filter_map(|pod| pod.status.as_ref()?.pod_ip.clone())
        .collect();
    let slices = world.slices.inside("default").filter(|slice| {
        slice
            .labels()
            .get("kubernetes.io/service-name")
            .is_some_and(|service| service == name)
    });
    let endpoints = slices.flat_map(|slice| slice.endpoints.iter().flatten());
    let ready = endpoints.filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true)));
    let found: BTreeSet<String> = ready.flat_map(|e| e.addresses.iter().cloned()).collect();
    if found != expected {
        let _ = writeln!(
            wrong,
            "service {name}: leads to {found:?}, not to {expected:?}"
        );
    }
}
