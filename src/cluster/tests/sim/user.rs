//! What users do: make, change, scale, pause, delete.

use orc_kube::kinds::{DAEMON_SET, DEPLOYMENT, JOB, NODE, POD, SERVICE};
use orc_kube::{
    DeleteOptions, LocalObjects, Object, ObjectKind, Objects, Patch, Propagation, Scope, Target,
    WriteOptions,
};
use serde_json::{Value, json};

use super::chaos::Chance;
use crate::object::Facts;
use crate::world::World;

/// Names that users give.
const NAMES: [&str; 3] = ["web", "api", "db"];

/// What every life begins with.
pub(super) async fn begin(objects: &LocalObjects, chance: &mut Chance) {
    for name in &NAMES[..2] {
        let replicas = 2 + chance.below(6);
        let object = deploy(chance, name, "web:1", replicas);
        make(objects, &DEPLOYMENT, object).await;
    }
    make(objects, &SERVICE, service(NAMES[0])).await;
    make(objects, &DAEMON_SET, daemon("agent:1")).await;
    let object = job(chance, "job-1");
    make(objects, &JOB, object).await;
}

/// One thing that a user does.
pub(super) async fn act(objects: &LocalObjects, world: &World, chance: &mut Chance, calm: bool) {
    let name = NAMES[usize::try_from(chance.below(3)).unwrap()];
    let deployment = Target::new(&DEPLOYMENT, "default", name);
    let image = format!("web:{}", chance.below(4));
    let replicas = 1 + chance.below(8);
    match chance.below(if calm { 30 } else { 100 }) {
        0..15 => make(objects, &DEPLOYMENT, deploy(chance, name, &image, replicas)).await,
        15..30 => {
            let containers = json!([{ "name": "main", "image": image, "resources": asked() }]);
            let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
            change(objects, &deployment, patch).await;
        }
        30..40 => {
            let patch = json!({ "spec": { "replicas": replicas } });
            change(objects, &deployment, patch).await;
        }
        40..45 => {
            let paused = chance.percent(50);
            change(
                objects,
                &deployment,
                json!({ "spec": { "paused": paused } }),
            )
            .await;
        }
        45..55 => {
            let pods: Vec<_> = world.pods.inside("default").collect();
            let at = usize::try_from(chance.below(pods.len().max(1) as u64)).unwrap();
            if let Some(pod) = pods.get(at) {
                delete(objects, &Target::new(&POD, "default", pod.name()), None).await;
            }
        }
        55..60 => {
            let how = [Propagation::Background, Propagation::Foreground];
            delete(
                objects,
                &deployment,
                Some(how[usize::from(chance.percent(50))]),
            )
            .await;
        }
        60..75 => {
            let name = format!("job-{}", chance.below(20));
            make(objects, &JOB, job(chance, &name)).await;
        }
        75..80 => {
            let name = format!("job-{}", chance.below(20));
            delete(
                objects,
                &Target::new(&JOB, "default", &name),
                Some(Propagation::Background),
            )
            .await;
        }
        80..88 => {
            make(objects, &DAEMON_SET, daemon(&image)).await;
            let containers = json!([{ "name": "main", "image": image }]);
            let patch = json!({ "spec": { "template": { "spec": { "containers": containers } } } });
            change(
                objects,
                &Target::new(&DAEMON_SET, "default", "agent"),
                patch,
            )
            .await;
        }
        88..94 => make(objects, &SERVICE, service(name)).await,
        _ => {
            let nodes: Vec<_> = world.nodes.all().collect();
            let at = usize::try_from(chance.below(nodes.len().max(1) as u64)).unwrap();
            if let Some(node) = nodes.get(at) {
                let patch = json!({ "spec": { "unschedulable": chance.percent(50) } });
                change(objects, &Target::new(&NODE, "", node.name()), patch).await;
            }
        }
    }
}

/// Ends what would keep the cluster from coming to rest.
pub(super) async fn let_rest(objects: &LocalObjects, world: &World) {
    for deployment in world.deployments.inside("default") {
        let target = Target::new(&DEPLOYMENT, "default", deployment.name());
        change(objects, &target, json!({ "spec": { "paused": false } })).await;
    }
    for node in world.nodes.all() {
        let target = Target::new(&NODE, "", node.name());
        change(
            objects,
            &target,
            json!({ "spec": { "unschedulable": false } }),
        )
        .await;
    }
}

fn asked() -> Value {
    json!({ "requests": { "cpu": "100m", "memory": "64Mi" } })
}

fn deploy(chance: &mut Chance, name: &str, image: &str, replicas: u64) -> Value {
    let bounds = [
        ("25%", "25%"),
        ("1", "0"),
        ("0", "1"),
        ("2", "2"),
        ("100%", "0"),
    ];
    let (surge, unavailable) = bounds[usize::try_from(chance.below(5)).unwrap()];
    let bound = |text: &str| {
        text.parse::<i32>()
            .map_or(json!(text), |number| json!(number))
    };
    let strategy = match chance.percent(15) {
        true => json!({ "type": "Recreate" }),
        false => json!({ "type": "RollingUpdate", "rollingUpdate": {
            "maxSurge": bound(surge), "maxUnavailable": bound(unavailable) } }),
    };
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "replicas": replicas,
            "strategy": strategy,
            "revisionHistoryLimit": 2,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": image, "resources": asked() }] },
            },
        },
    })
}

fn job(chance: &mut Chance, name: &str) -> Value {
    let indexed = chance.percent(40);
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "completions": 1 + chance.below(5),
            "parallelism": 1 + chance.below(3),
            "backoffLimit": 3,
            "completionMode": if indexed { "Indexed" } else { "NonIndexed" },
            "template": { "spec": {
                "restartPolicy": "Never",
                "containers": [{ "name": "main", "image": "job:1" }],
            } },
        },
    })
}

fn daemon(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": { "name": "agent", "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } },
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": { "containers": [{ "name": "main", "image": image }] },
            },
        },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "selector": { "app": name }, "ports": [{ "port": 80 }] },
    })
}

async fn make(objects: &LocalObjects, kind: &'static ObjectKind, object: Value) {
    let object = Object::from_value(object).unwrap();
    let scope = Scope::inside(kind, object.namespace());
    let made = objects
        .create(&scope, object, &WriteOptions::by("user"))
        .await;
    expect(made.map(|_| ()));
}

async fn change(objects: &LocalObjects, target: &Target, patch: Value) {
    let done = objects
        .patch(target, &Patch::Merge(patch), &WriteOptions::by("user"))
        .await;
    expect(done.map(|_| ()));
}

async fn delete(objects: &LocalObjects, target: &Target, propagation: Option<Propagation>) {
    let options = DeleteOptions {
        propagation,
        ..DeleteOptions::default()
    };
    expect(objects.delete(target, &options).await.map(|_| ()));
}

/// Users are late and forgetful, but what they say makes sense.
fn expect(done: orc_kube::Result<()>) {
    if let Err(status) = done {
        assert!(
            matches!(status.code(), 404 | 409),
            "{} {:?}",
            status.message(),
            status.causes()
        );
    }
}
