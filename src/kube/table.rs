//! What `kubectl get` prints: a `Table` of the server's own columns (`meta.k8s.io/v1`).

use orc_base::Time;
use serde_json::{Value, json};

use crate::kind::{Format, ObjectKind};
use crate::object::Object;

/// What of each object comes with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    None,
}

/// The table of some objects. `metadata` is the list's, as in the answer to a plain list; the columns are
/// left out for the events of a watch behind the first.
pub fn table(
    kind: &ObjectKind,
    objects: &[Object],
    metadata: Value,
    include: Include,
    headed: bool,
    now: Time,
) -> Value {
    let columns = match headed {
        true => kind.columns.iter().map(definition).collect(),
        false => Vec::new(),
    };
    let row = |object: &Object| {
        let cells: Vec<Value> = kind
            .columns
            .iter()
            .map(|column| (column.cell)(object, now))
            .collect();
        let mut row = json!({ "cells": cells });
        match include {
            Include::None => {}
            Include::Object => row["object"] = object.clone().into_value(),
            Include::Metadata => {
                row["object"] = json!({
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": object.at(&["metadata"]),
                });
            }
        }
        row
    };
    let mut table = json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": columns,
        "rows": objects.iter().map(row).collect::<Vec<_>>(),
    });
    table["metadata"] = metadata;
    table
}

fn definition(column: &crate::kind::Column) -> Value {
    let (kind, format) = match column.format {
        Format::Name => ("string", "name"),
        Format::Text => ("string", ""),
        Format::Number => ("integer", ""),
    };
    json!({
        "name": column.name, "type": kind, "format": format, "description": "", "priority": column.priority,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    /// The rows of some objects as `kubectl get -o wide` shows them.
    fn shown(objects: &[Value]) -> String {
        let objects: Vec<Object> = objects
            .iter()
            .map(|object| Object::from_value(object.clone()).unwrap())
            .collect();
        let first = &objects[0];
        let kind = kinds::by_kind(first.api_version(), first.kind()).unwrap();
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let table = table(kind, &objects, json!({}), Include::None, true, now);
        let mut lines = Vec::new();
        let heads = table["columnDefinitions"].as_array().unwrap().iter();
        lines.push(
            heads
                .map(|column| column["name"].to_string().replace('"', ""))
                .collect::<Vec<_>>(),
        );
        for row in table["rows"].as_array().unwrap() {
            let cells = row["cells"].as_array().unwrap().iter();
            lines.push(
                cells
                    .map(|cell| cell.to_string().replace('"', ""))
                    .collect(),
            );
        }
        lines.iter().map(|cells| cells.join(" | ") + "\n").collect()
    }

    #[test]
    fn shows_pods() {
        let text = shown(&[
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": "web", "namespace": "a", "creationTimestamp": "2026-11-21T11:55:30Z" },
                "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "nodeName": "n1" },
                "status": { "phase": "Running", "podIP": "10.1.0.2", "podIPs": [{ "ip": "10.1.0.2" }], "containerStatuses": [
                    { "name": "a", "ready": true, "restartCount": 0, "state": { "running": {} } },
                    { "name": "b", "ready": false, "restartCount": 3,
                      "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                      "lastState": { "terminated": { "finishedAt": "2026-11-21T11:59:00Z" } } },
                ] },
            }),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": "old", "creationTimestamp": "2026-11-18T12:00:00Z", "deletionTimestamp": "2026-11-21T12:00:10Z" },
                "spec": { "containers": [{ "name": "a" }] }, "status": { "phase": "Pending" },
            }),
        ]);
        assert_eq!(
            text,
            "\
Name | Ready | Status | Restarts | Age | IP | Node | Nominated Node | Readiness Gates
web | 1/2 | CrashLoopBackOff | 3 (60s ago) | 4m30s | 10.1.0.2 | n1 | <none> | <none>
old | 0/1 | Terminating | 0 | 3d | <none> | <none> | <none> | <none>
"
        );
    }

    #[test]
    fn shows_services_and_deployments() {
        let text = shown(&[json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "creationTimestamp": "2026-11-21T11:00:00Z" },
            "spec": { "type": "NodePort", "clusterIP": "10.96.0.5", "selector": { "app": "web" },
                "ports": [{ "port": 80, "nodePort": 30080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }] },
        })]);
        assert_eq!(
            text,
            "\
Name | Type | Cluster-IP | External-IP | Port(s) | Age | Selector
web | NodePort | 10.96.0.5 | <none> | 80:30080/TCP,53/UDP | 60m | app=web
"
        );
        let text = shown(&[json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "web" } },
                "template": { "spec": { "containers": [{ "name": "c", "image": "nginx:1" }] } } },
            "status": { "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1 },
        })]);
        assert_eq!(
            text,
            "\
Name | Ready | Up-to-date | Available | Age | Containers | Images | Selector
web | 2/3 | 3 | 1 | <unknown> | c | nginx:1 | app=web
"
        );
    }

    #[test]
    fn shows_nodes_and_events() {
        let text = shown(&[json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "n1", "labels": { "node-role.kubernetes.io/control-plane": "" }, "creationTimestamp": "2026-11-21T10:00:00Z" },
            "spec": { "unschedulable": true },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }],
                "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }],
                "nodeInfo": { "kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.18", "containerRuntimeVersion": "orc://0.1" } },
        })]);
        assert_eq!(
            text,
            "\
Name | Status | Roles | Age | Version | Internal-IP | External-IP | OS-Image | Kernel-Version | Container-Runtime
n1 | Ready,SchedulingDisabled | control-plane | 120m | v1.36.0 | 192.0.2.1 | <none> | Debian | 6.18 | orc://0.1
"
        );
        let text = shown(&[json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "web.1" },
            "involvedObject": { "kind": "Pod", "name": "web" }, "type": "Normal", "reason": "Scheduled",
            "message": " placed \n", "source": { "component": "scheduler" }, "count": 2,
            "firstTimestamp": "2026-11-21T11:00:00Z", "lastTimestamp": "2026-11-21T11:59:55Z",
        })]);
        assert_eq!(
            text,
            "\
Last Seen | Type | Reason | Object | Subobject | Source | Message | First Seen | Count | Name
5s | Normal | Scheduled | pod/web |  | scheduler | placed | 60m | 2 | web.1
"
        );
    }
}
