//! A cluster's state as text: one object a line.
//!
//! `kind namespace/name field…`, where a field is a word such as `replicas=3`, `label:app=web`, `ready`
//! or, for anything else, `spec:path.to.it=value` and `status:…`. The uid is `kind-name`; workloads pick
//! `app=<name>` and run `image=`.

use std::time::Duration;

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, Pod, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use orc_base::Time;
use serde_json::{Value, json};

use crate::object::to_kube;
use crate::reference::{Kind, Ref};
use crate::world::World;

/// When every test takes place.
pub(super) const NOW: &str = "2026-01-01T00:10:00Z";

const KINDS: [(&str, Kind, bool); 14] = [
    ("ns", of::<Namespace>(), false),
    ("node", of::<Node>(), false),
    ("pod", of::<Pod>(), true),
    ("rs", of::<ReplicaSet>(), true),
    ("deploy", of::<Deployment>(), true),
    ("ds", of::<DaemonSet>(), true),
    ("rev", of::<ControllerRevision>(), true),
    ("job", of::<Job>(), true),
    ("svc", of::<Service>(), true),
    ("ep", of::<Endpoints>(), true),
    ("slice", of::<EndpointSlice>(), true),
    ("cm", of::<ConfigMap>(), true),
    ("sa", of::<ServiceAccount>(), true),
    ("lease", of::<Lease>(), true),
];

const fn of<T: Resource>() -> Kind {
    Kind::of::<T>()
}

/// The world that a text describes.
pub(super) fn world(text: &str) -> World {
    let mut world = World::new(KINDS.map(|(_, kind, namespaced)| (kind, namespaced)));
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("heard ") {
            let (node, ago) = rest.split_once(' ').expect("heard NODE SECONDS");
            world.heartbeats.insert(node.to_owned(), before(ago));
        } else {
            let (kind, value) = object(line);
            world.set(kind, &value).expect(line);
        }
    }
    world
}

/// `rs default/web` as a reference.
pub(super) fn reference(text: &str) -> Ref {
    let (kind, path) = text.split_once(' ').expect("kind and name");
    let (_, kind, _) = KINDS.iter().find(|row| row.0 == kind).expect("a kind");
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    Ref {
        kind: *kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// One line as an object.
pub(super) fn object(line: &str) -> (Kind, Value) {
    let mut words = line.split_whitespace();
    let short = words.next().expect("a kind");
    let target = reference(&format!("{short} {}", words.next().expect("a name")));
    let mut object = json!({
        "apiVersion": target.kind.api_version(),
        "kind": target.kind.name,
        "metadata": {
            "name": target.name,
            "uid": format!("{short}-{}", target.name),
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": to_kube(before("60")),
        },
    });
    if !target.namespace.is_empty() {
        object["metadata"]["namespace"] = json!(target.namespace);
    }
    shape(short, &target.name, &mut object);
    for word in words {
        put(&mut object, short, word);
    }
    (target.kind, object)
}

/// What a kind has before any field is said.
fn shape(short: &str, name: &str, object: &mut Value) {
    let labels = json!({ "app": name });
    let template = json!({
        "metadata": { "labels": labels },
        "spec": { "containers": [{ "name": "main", "image": "web:1" }] },
    });
    match short {
        "deploy" | "ds" | "rs" => {
            object["spec"] = json!({ "selector": { "matchLabels": labels }, "template": template });
            object["metadata"]["labels"] = labels;
        }
        "job" => object["spec"] = json!({ "template": template }),
        "pod" => object["spec"] = json!({ "containers": [{ "name": "main" }] }),
        "slice" => {
            *object =
                json!({ "addressType": "IPv4", "endpoints": [], "metadata": object["metadata"] });
        }
        "rev" => object["revision"] = json!(1),
        _ => {}
    }
}

fn put(object: &mut Value, short: &str, word: &str) {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let meta = |object: &mut Value, field: &str, value: Value| object["metadata"][field] = value;
    match key.split_once(':') {
        Some(("label", key)) => object["metadata"]["labels"][key] = json!(value),
        Some(("annotation", key)) => object["metadata"]["annotations"][key] = json!(value),
        Some(("select", key)) => object["spec"]["nodeSelector"][key] = json!(value),
        Some(("pick", key)) => object["spec"]["selector"][key] = json!(value),
        Some(("condition", kind)) => push(
            &mut object["status"]["conditions"],
            json!({
                "type": kind, "status": value, "lastTransitionTime": to_kube(before("60")),
            }),
        ),
        Some(("taint", rest)) => {
            let value = match value {
                "" => String::new(),
                value => format!("={value}"),
            };
            push(
                &mut object["spec"]["taints"],
                taint(&format!("{rest}{value}")),
            );
        }
        Some(("tolerate", rest)) => push(
            &mut object["spec"]["tolerations"],
            json!({
                "key": rest, "operator": "Exists",
                "tolerationSeconds": value.parse::<i64>().ok(),
            }),
        ),
        Some((part, path)) => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
            let path = path
                .split('.')
                .fold(&mut object[part], |at, name| &mut at[name]);
            *path = value;
        }
        None => match key {
            "generation" => meta(object, "generation", json!(value.parse::<i64>().unwrap())),
            "age" => meta(object, "creationTimestamp", json!(to_kube(before(value)))),
            "uid" => meta(object, "uid", json!(value)),
            "version" => meta(object, "resourceVersion", json!(value)),
            "leaving" => meta(object, "deletionTimestamp", json!(to_kube(before("1")))),
            "finalizer" => push(&mut object["metadata"]["finalizers"], json!(value)),
            "owner" => push(&mut object["metadata"]["ownerReferences"], owner(value)),
            "node" => object["spec"]["nodeName"] = json!(value),
            "priority" => object["spec"]["priority"] = json!(value.parse::<i32>().unwrap()),
            "unschedulable" => object["spec"]["unschedulable"] = json!(true),
            "replicas" | "paused" | "parallelism" | "completions" | "suspend" => {
                object["spec"][key] = serde_json::from_str(value).unwrap_or(json!(true));
            }
            "phase" => object["status"]["phase"] = json!(value),
            "ip" => object["status"]["podIP"] = json!(value),
            "ready" => push(
                &mut object["status"]["conditions"],
                json!({
                    "type": "Ready", "status": "True",
                    "lastTransitionTime": to_kube(before(if value.is_empty() { "30" } else { value })),
                }),
            ),
            "ended" => push(
                &mut object["status"]["containerStatuses"],
                json!({
                    "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "terminated": { "exitCode": 1, "finishedAt": to_kube(before(value)) } },
                }),
            ),
            "restarts" => push(
                &mut object["status"]["containerStatuses"],
                json!({
                    "name": "main", "image": "", "imageID": "", "ready": false,
                    "restartCount": value.parse::<i32>().unwrap(),
                }),
            ),
            "image" => object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(value),
            "hash" => {
                object["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] =
                    json!(value);
                object["metadata"]["labels"]["pod-template-hash"] = json!(value);
            }
            "app" => {
                object["spec"]["selector"]["matchLabels"]["app"] = json!(value);
                object["spec"]["template"]["metadata"]["labels"]["app"] = json!(value);
                object["metadata"]["labels"]["app"] = json!(value);
            }
            "cpu" | "memory" | "pods" => match short {
                "node" => object["status"]["allocatable"][key] = json!(value),
                _ => object["spec"]["containers"][0]["resources"]["requests"][key] = json!(value),
            },
            "port" => push(
                &mut object["spec"]["containers"][0]["ports"],
                json!({
                    "containerPort": 80, "hostPort": value.parse::<i32>().unwrap(),
                }),
            ),
            "serves" => {
                let (port, target) = value.split_once(':').unwrap_or((value, value));
                let target = target
                    .parse::<i32>()
                    .map_or(json!(target), |number| json!(number));
                push(
                    &mut object["spec"]["ports"],
                    json!({
                        "port": port.parse::<i32>().unwrap(), "targetPort": target, "protocol": "TCP",
                    }),
                );
            }
            "together" | "apart" => {
                let (label, topology) = value.split_once('@').expect("app=x@topology");
                let (name, label) = label.split_once('=').expect("label=value");
                let field = if key == "apart" {
                    "podAntiAffinity"
                } else {
                    "podAffinity"
                };
                let path = "requiredDuringSchedulingIgnoredDuringExecution";
                push(
                    &mut object["spec"]["affinity"][field][path],
                    json!({
                        "labelSelector": { "matchLabels": { name: label } }, "topologyKey": topology,
                    }),
                );
            }
            "spread" => {
                let (label, topology) = value.split_once('@').expect("app=x@topology");
                let (name, label) = label.split_once('=').expect("label=value");
                push(
                    &mut object["spec"]["topologySpreadConstraints"],
                    json!({
                        "labelSelector": { "matchLabels": { name: label } }, "topologyKey": topology,
                        "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
                    }),
                );
            }
            _ => panic!("unknown field {word}"),
        },
    }
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

/// `key=value:Effect` or `key:Effect`, with `@seconds` since when.
fn taint(text: &str) -> Value {
    let (text, since) = text.split_once('@').unwrap_or((text, "0"));
    let (pair, effect) = text.rsplit_once(':').expect("key:Effect");
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let mut taint = json!({ "key": key, "effect": effect, "timeAdded": to_kube(before(since)) });
    if !value.is_empty() {
        taint["value"] = json!(value);
    }
    taint
}

/// `rs/web` governs; `rs/web/` only owns; `rs/web!` governs and is held back by it.
fn owner(text: &str) -> Value {
    let holds = text.ends_with('!');
    let text = text.trim_end_matches('!');
    let (short, name) = text.split_once('/').expect("kind/name");
    let governs = !name.ends_with('/');
    let name = name.trim_end_matches('/');
    let kind = KINDS.iter().find(|row| row.0 == short);
    let (api_version, kind) = kind.map_or(("example.com/v1".to_owned(), short), |row| {
        (row.1.api_version(), row.1.name)
    });
    json!({
        "apiVersion": api_version, "kind": kind, "name": name,
        "uid": format!("{short}-{name}"), "controller": governs, "blockOwnerDeletion": holds,
    })
}

fn before(seconds: &str) -> Time {
    let now: Time = NOW.parse().unwrap();
    let seconds: u64 = seconds.parse().expect("seconds");
    Time::from_nanos(now.nanos() - i64::try_from(Duration::from_secs(seconds).as_nanos()).unwrap())
}
