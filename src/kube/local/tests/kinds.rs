//! What every kind fills in and refuses, told by objects and texts.

#![expect(
    clippy::needless_pass_by_value,
    reason = "values are written where they are used"
)]

use orc_store::Limits;
use serde_json::{Value, json};

use super::world;
use crate::kinds::KINDS;
use crate::objects::{ListOptions, Objects as _, Scope};
use crate::table::{Include, table};

fn template() -> Value {
    json!({
        "metadata": { "labels": { "app": "x" } },
        "spec": { "containers": [{ "name": "c", "image": "x:1" }] },
    })
}

fn selector() -> Value {
    json!({ "matchLabels": { "app": "x" } })
}

fn object(api: &str, kind: &str, spec: Value) -> Value {
    json!({ "apiVersion": api, "kind": kind, "metadata": { "name": "x" }, "spec": spec })
}

/// One good object of every kind, but namespaces.
fn examples() -> Vec<Value> {
    let mut once = template();
    once["spec"]["restartPolicy"] = "Never".into();
    let mut examples = vec![
        object(
            "v1",
            "Node",
            json!({ "taints": [{ "key": "a", "effect": "NoSchedule" }] }),
        ),
        object("v1", "Pod", template()["spec"].clone()),
        object(
            "v1",
            "Service",
            json!({ "ports": [{ "port": 80 }], "selector": { "app": "x" } }),
        ),
        object(
            "apps/v1",
            "Deployment",
            json!({ "selector": selector(), "template": template() }),
        ),
        object(
            "apps/v1",
            "ReplicaSet",
            json!({ "selector": selector(), "template": template() }),
        ),
        object(
            "apps/v1",
            "DaemonSet",
            json!({ "selector": selector(), "template": template() }),
        ),
        object("batch/v1", "Job", json!({ "template": once })),
        object(
            "coordination.k8s.io/v1",
            "Lease",
            json!({ "holderIdentity": "n1" }),
        ),
    ];
    for (kind, more) in [
        ("ConfigMap", json!({ "data": { "a": "b" } })),
        ("Secret", json!({ "stringData": { "a": "b" } })),
        ("ServiceAccount", json!({})),
        (
            "Endpoints",
            json!({ "subsets": [{ "addresses": [{ "ip": "10.0.0.1" }], "ports": [{ "port": 80 }] }] }),
        ),
        (
            "Event",
            json!({ "involvedObject": { "kind": "Pod", "name": "p", "namespace": "a" } }),
        ),
    ] {
        let mut example = more;
        example["apiVersion"] = "v1".into();
        example["kind"] = kind.into();
        example["metadata"] = json!({ "name": "x" });
        examples.push(example);
    }
    examples.push(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": { "name": "x" }, "addressType": "IPv4",
        "endpoints": (1..=5).map(|n| json!({ "addresses": [format!("10.0.0.{n}")] })).collect::<Vec<_>>(),
        "ports": [{ "port": 80, "name": "http" }],
    }));
    examples.push(json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": { "name": "x" }, "revision": 3, "data": {},
    }));
    examples
}

#[tokio::test]
async fn every_kind_is_made_and_shown() {
    let world = world(Limits::default()).await;
    for example in examples() {
        let made = world.create(example.clone()).await;
        made.unwrap_or_else(|status| panic!("{status} for {example}"));
    }
    let mut text = String::new();
    let now = "2001-09-09T01:46:50Z".parse().unwrap();
    for kind in KINDS {
        let list = world
            .objects
            .list(&Scope::all(kind), &ListOptions::default())
            .await
            .unwrap();
        assert_eq!(list.items.len(), 1, "{kind:?}");
        let table = table(kind, &list.items, json!({}), Include::None, true, now);
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(cells.len(), kind.columns.len());
        let cells: Vec<String> = cells
            .iter()
            .map(|cell| cell.to_string().replace('"', ""))
            .collect();
        text += &format!("{kind:?}: {}\n", cells.join(" | "));
    }
    let service = text
        .lines()
        .find(|line| line.starts_with("services"))
        .unwrap();
    let address = service.split(" | ").nth(2).unwrap().to_owned();
    let uid = text.split("controller-uid=").nth(1).unwrap()[..36].to_owned();
    assert_eq!(
        text.replace(&address, "ADDRESS").replace(&uid, "UID"),
        "\
configmaps: x | 1 | 10s
endpoints: x | 10.0.0.1:80 | 10s
events: 10s |  |  | pod/p |  |  |  | 10s | 1 | x
namespaces: a | Active | 10s
nodes: x | Unknown | <none> | 10s |  | <none> | <none> | <unknown> | <unknown> | <unknown>
pods: x | 0/1 | Pending | 0 | 10s | <none> | <none> | <none> | <none>
secrets: x | Opaque | 1 | 10s
serviceaccounts: x | 0 | 10s
services: x | ClusterIP | ADDRESS | <none> | 80/TCP | 10s | app=x
controllerrevisions.apps: x | <none> | 3 | 10s
daemonsets.apps: x | 0 | 0 | 0 | 0 | 0 | <none> | 10s | c | x:1 | app=x
deployments.apps: x | 0/1 | 0 | 0 | 10s | c | x:1 | app=x
replicasets.apps: x | 1 | 0 | 0 | 10s | c | x:1 | app=x
jobs.batch: x | Running | 0/1 |  | 10s | c | x:1 | batch.kubernetes.io/controller-uid=UID
leases.coordination.k8s.io: x | n1 | 10s
endpointslices.discovery.k8s.io: x | IPv4 | 80 | 10.0.0.1,10.0.0.2,10.0.0.3 + 2 more... | 10s
events.events.k8s.io: 10s |  |  | pod/p |  |  |  | 10s | 1 | x
"
    );
}

#[tokio::test]
async fn workloads_are_filled_in_as_a_real_server_does() {
    let world = world(Limits::default()).await;
    for (api, kind, spec, wanted) in [
        (
            "apps/v1",
            "Deployment",
            json!({ "selector": selector(), "template": template() }),
            json!({
                "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
            }),
        ),
        (
            "apps/v1",
            "DaemonSet",
            json!({ "selector": selector(), "template": template() }),
            json!({
                "revisionHistoryLimit": 10,
                "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } },
            }),
        ),
        (
            "v1",
            "Service",
            json!({ "ports": [{ "port": 80, "name": "h" }], "type": "LoadBalancer", "sessionAffinity": "ClientIP" }),
            json!({
                "allocateLoadBalancerNodePorts": true, "externalTrafficPolicy": "Cluster",
                "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 10800 } },
                "type": "LoadBalancer",
            }),
        ),
    ] {
        let made = world.create(object(api, kind, spec)).await.unwrap();
        let mut spec = made.at(&["spec"]).unwrap().clone();
        for seen in ["selector", "template", "clusterIP", "clusterIPs", "ports"] {
            spec.as_object_mut().unwrap().remove(seen);
        }
        assert_eq!(spec, wanted, "{kind}");
    }
    let pod = world
        .create(object("v1", "Pod", template()["spec"].clone()))
        .await
        .unwrap();
    assert_eq!(
        pod.at(&["status"]),
        Some(&json!({ "phase": "Pending", "qosClass": "BestEffort" }))
    );
    assert_eq!(pod.list(&["spec", "tolerations"]).len(), 2);
    assert_eq!(pod.text(&["spec", "serviceAccountName"]), "default");
}

#[tokio::test]
async fn every_kind_says_what_is_wrong() {
    let world = world(Limits::default()).await;
    let with = |mut example: Value, pointer: &str, value: Value| {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        example.pointer_mut(parent).unwrap()[last] = value;
        example
    };
    let named = |kind: &str| {
        let found = examples()
            .into_iter()
            .find(|example| example["kind"] == kind);
        found.unwrap()
    };
    for (example, wanted) in [
        (
            with(named("ConfigMap"), "/data/..", "x".into()),
            "ConfigMap \"x\" is invalid: data[..]: Invalid value: \"..\": must not be '..'",
        ),
        (
            with(named("Secret"), "/type", "kubernetes.io/tls".into()),
            "Secret \"x\" is invalid: [data[tls.crt]: Required value, data[tls.key]: Required value]",
        ),
        (
            with(
                named("Node"),
                "/spec/taints",
                json!([{ "key": "a", "effect": "Never" }]),
            ),
            "spec.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
        (
            with(
                named("Service"),
                "/spec/ports",
                json!([{ "port": 80 }, { "port": 81 }]),
            ),
            "spec.ports[0].name: Required value",
        ),
        (
            with(named("Service"), "/metadata/name", "1x".into()),
            "a DNS-1035 label must consist of",
        ),
        (
            with(named("Service"), "/spec/type", "ExternalName".into()),
            "spec.externalName: Required value",
        ),
        (
            with(
                named("Deployment"),
                "/spec/strategy",
                json!({ "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "0%" } }),
            ),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
        ),
        (
            with(
                named("Deployment"),
                "/spec/strategy",
                json!({ "type": "Recreate", "rollingUpdate": {} }),
            ),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            with(named("Deployment"), "/spec/selector", Value::Null),
            "spec.selector: Required value",
        ),
        (
            with(named("ReplicaSet"), "/spec/replicas", (-1).into()),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            with(
                named("DaemonSet"),
                "/spec/template/spec/restartPolicy",
                "Never".into(),
            ),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            with(
                named("Job"),
                "/spec/template/spec/restartPolicy",
                "Always".into(),
            ),
            "supported values: \"OnFailure\", \"Never\"",
        ),
        (
            with(
                with(named("Job"), "/spec/completionMode", "Indexed".into()),
                "/spec/parallelism",
                2.into(),
            ),
            "spec.completions: Required value: when completion mode is Indexed",
        ),
        (
            with(
                named("EndpointSlice"),
                "/endpoints/0/addresses",
                json!(["127.0.0.1"]),
            ),
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            with(
                named("Endpoints"),
                "/subsets/0/addresses",
                json!([{ "ip": "169.254.169.254" }]),
            ),
            "may not be in the link-local range",
        ),
        (
            with(named("Lease"), "/spec/leaseDurationSeconds", 0.into()),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            with(named("Event"), "/involvedObject/namespace", "b".into()),
            "involvedObject.namespace: Invalid value: \"b\": does not match event.namespace",
        ),
        (
            with(named("Pod"), "/metadata/labels", json!({ "a b": "c/d" })),
            "metadata.labels: Invalid value: \"a b\": name part must consist of",
        ),
        (
            with(named("Pod"), "/metadata/finalizers", json!(["x"])),
            "name is neither a standard finalizer name nor is it fully qualified",
        ),
        (
            with(named("Pod"), "/metadata/namespace", "b".into()),
            "namespaces \"b\" not found",
        ),
        (
            with(
                named("Pod"),
                "/spec/ephemeralContainers",
                json!([{ "name": "e", "image": "x" }]),
            ),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
    ] {
        let outcome = world.create(example.clone()).await;
        let text = outcome.map_or_else(|status| status.message().to_owned(), |_| "DONE".to_owned());
        assert!(
            text.contains(wanted),
            "{wanted}\n--- not in\n{text}\n--- of {example}"
        );
    }
}
