//! A node that "runs" pods: it starts and stops them after a while, says so, and may be cut off or die.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use orc_base::Time;
use orc_kube::kinds::{LEASE, NODE, POD};
use orc_kube::{
    DeleteOptions, LocalObjects, Object, Objects, Patch, Scope, Subresource, Target, WriteOptions,
};
use serde_json::{Value, json};

use super::chaos::Chance;
use crate::control::node::LEASES;
use crate::object::{Facts, to_kube};
use crate::world::World;

/// How often a node says that it is alive.
const BEAT: Duration = Duration::from_secs(2);

/// What became of a pod on its node.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Starting(Time),
    Running { ends: Option<(Time, bool)> },
    Stopping(Time),
    Ended,
}

/// A fake node.
pub(super) struct Agent {
    pub(super) name: String,
    number: u64,
    /// The machine works.
    pub(super) alive: bool,
    /// It reaches the API.
    pub(super) connected: bool,
    /// Pods never fail and nodes neither.
    pub(super) calm: bool,
    beat: Time,
    pods: BTreeMap<String, Stage>,
    /// Pods that were run.
    pub(super) run: u64,
    addresses: u64,
}

impl Agent {
    pub(super) fn new(number: u64, calm: bool) -> Self {
        Self {
            name: format!("n{number}"),
            number,
            alive: true,
            connected: true,
            calm,
            beat: Time::EPOCH,
            pods: BTreeMap::new(),
            run: 0,
            addresses: 0,
        }
    }

    /// Enters the cluster.
    pub(super) async fn join(&self, objects: &LocalObjects, now: Time) {
        let by = WriteOptions::by("kubelet");
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": self.name, "labels": {
                "kubernetes.io/hostname": self.name,
                "topology.kubernetes.io/zone": format!("z{}", self.number % 2),
            } },
        });
        let node = Object::from_value(node).unwrap();
        objects.create(&Scope::all(&NODE), node, &by).await.unwrap();
        self.say_ready(objects, now).await;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": self.name, "namespace": LEASES },
            "spec": { "holderIdentity": self.name, "leaseDurationSeconds": 8 },
        });
        let lease = Object::from_value(lease).unwrap();
        objects
            .create(&Scope::inside(&LEASE, LEASES), lease, &by)
            .await
            .unwrap();
    }

    /// The machine stops; what it ran is gone.
    pub(super) fn die(&mut self) {
        self.alive = false;
        self.pods.clear();
    }

    /// One look at its pods.
    pub(super) async fn tick(
        &mut self,
        objects: &LocalObjects,
        world: &World,
        chance: &mut Chance,
        now: Time,
    ) {
        if !self.alive || !self.connected {
            return;
        }
        if now >= self.beat {
            self.beat = now.plus(BEAT);
            let time = microseconds(now);
            let patch = json!({ "spec": { "renewTime": time } });
            let target = Target::new(&LEASE, LEASES, &self.name);
            write(objects, &target, patch).await;
        }
        let node = world.nodes.get("", &self.name);
        if node.is_some_and(|node| !crate::control::node::is_ready(node)) {
            self.say_ready(objects, now).await;
        }
        let pods: Vec<Arc<Pod>> = world.pods_on(&self.name).cloned().collect();
        self.pods
            .retain(|uid, _| pods.iter().any(|pod| pod.uid() == uid));
        for pod in pods {
            self.look(objects, &pod, chance, now).await;
        }
    }

    async fn say_ready(&self, objects: &LocalObjects, now: Time) {
        let time = to_kube(now);
        let status = json!({ "status": {
            "capacity": { "cpu": "4", "memory": "8Gi", "pods": "110" },
            "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready",
                "lastHeartbeatTime": time, "lastTransitionTime": time,
            }],
        } });
        let target = Target::new(&NODE, "", &self.name).below(Subresource::Status);
        write(objects, &target, status).await;
    }

    async fn look(&mut self, objects: &LocalObjects, pod: &Pod, chance: &mut Chance, now: Time) {
        let soon = |chance: &mut Chance| now.plus(Duration::from_millis(50 + chance.below(1500)));
        let uid = pod.uid().to_owned();
        let stage = *self
            .pods
            .entry(uid.clone())
            .or_insert_with(|| match ended(pod) {
                true => Stage::Ended,
                false => Stage::Starting(soon(chance)),
            });
        let next = match stage {
            Stage::Stopping(at) if at <= now => {
                let options = DeleteOptions {
                    grace_s: Some(0),
                    uid: Some(uid.clone()),
                    ..DeleteOptions::default()
                };
                let target = Target::new(&POD, pod.namespace(), pod.name());
                let _ = objects.delete(&target, &options).await;
                Stage::Stopping(now.plus(Duration::from_secs(1)))
            }
            Stage::Stopping(_) => stage,
            _ if pod.is_leaving() => Stage::Stopping(soon(chance)),
            Stage::Starting(at) if at <= now => {
                self.run += 1;
                self.addresses += 1;
                let job = pod.controller().is_some_and(|owner| owner.kind == "Job");
                self.say_running(objects, pod, now).await;
                let length = Duration::from_millis(200 + chance.below(4000));
                let fails = chance.percent(20);
                let breaks = !self.calm && chance.percent(3);
                let ends = match (job, breaks) {
                    (true, _) => Some((now.plus(length), !fails)),
                    (false, true) => Some((now.plus(length), false)),
                    (false, false) => None,
                };
                Stage::Running { ends }
            }
            Stage::Running {
                ends: Some((at, well)),
            } if at <= now => {
                say_ended(objects, pod, well, now).await;
                Stage::Ended
            }
            // Someone has said in the meantime that it is not ready.
            Stage::Running { .. } if !crate::control::is_ready(pod) => {
                self.say_running(objects, pod, now).await;
                stage
            }
            other => other,
        };
        self.pods.insert(uid, next);
    }

    async fn say_running(&self, objects: &LocalObjects, pod: &Pod, now: Time) {
        let address = format!(
            "10.{}.{}.{}",
            self.number,
            self.addresses / 250,
            self.addresses % 250
        );
        let time = to_kube(now);
        let status = json!({
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "startTime": time,
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": time }],
        });
        say(objects, pod, status).await;
    }
}

fn ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

async fn say_ended(objects: &LocalObjects, pod: &Pod, well: bool, now: Time) {
    let time = to_kube(now);
    let status = json!({
        "phase": if well { "Succeeded" } else { "Failed" },
        "conditions": [{ "type": "Ready", "status": "False", "lastTransitionTime": time }],
        "containerStatuses": [{
            "name": "main", "image": "web:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": i32::from(!well), "finishedAt": time } },
        }],
    });
    say(objects, pod, status).await;
}

async fn say(objects: &LocalObjects, pod: &Pod, status: Value) {
    let target = Target::new(&POD, pod.namespace(), pod.name()).below(Subresource::Status);
    let patch = json!({ "metadata": { "uid": pod.uid() }, "status": status });
    write(objects, &target, patch).await;
}

async fn write(objects: &LocalObjects, target: &Target, patch: Value) {
    let written = objects
        .patch(target, &Patch::Merge(patch), &WriteOptions::by("kubelet"))
        .await;
    if let Err(status) = written {
        assert!(
            matches!(status.code(), 404 | 409),
            "{}: {}",
            target.name,
            status.message()
        );
    }
}

fn microseconds(time: Time) -> String {
    orc_kube::microseconds(time)
}
