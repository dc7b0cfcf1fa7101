//! What a machine may do: what concerns itself and what runs on it, and nothing else.
//!
//! The rules are those of Kubernetes' node authorizer and NodeRestriction, with the holes closed that were
//! found in them (CVE-2021-25735, CVE-2025-4563, CVE-2025-5187): a machine cannot make itself belong to
//! another object, so that deleting that would delete it, and cannot change its own taints or the labels by
//! which others keep it away from work.

use serde_json::Value;

use crate::auth::decision::{Attributes, Decision, Question};
use crate::object::Object;

/// Labels of a node that are not its own to set.
const RESTRICTED_LABELS: &[&str] = &["node-restriction.kubernetes.io", "node-role.kubernetes.io"];

/// The rows for `node`.
pub(crate) fn decide(node: &str, wanted: &Attributes) -> Decision {
    let reads = matches!(wanted.verb.as_str(), "get" | "list" | "watch");
    let own = wanted.name == node;
    let changes = matches!(wanted.verb.as_str(), "update" | "patch");
    let yes = Decision::Allow("a node may do what concerns itself");
    let yes_if = |so: bool| if so { yes.clone() } else { Decision::Deny };
    let resource = wanted.resource.as_str();
    let below = wanted.subresource.as_str();
    match (wanted.group.as_str(), resource, below) {
        // The overlay and the services need to know all nodes.
        // A path says no name of what is made: `guard` looks at the object's.
        ("", "nodes", "") => yes_if(reads || wanted.verb == "create" || own && changes),
        ("", "nodes", "status") => yes_if(own && (wanted.verb == "get" || changes)),
        ("", "services" | "endpoints" | "namespaces", "") => yes_if(reads),
        ("discovery.k8s.io", "endpointslices", "") => yes_if(reads),
        ("coordination.k8s.io", "leases", "") => yes_if(
            wanted.namespace == "kube-node-lease"
                && (wanted.verb == "create" || own && (wanted.verb == "get" || changes)),
        ),
        ("" | "events.k8s.io", "events", "") => yes_if(matches!(
            wanted.verb.as_str(),
            "create" | "update" | "patch"
        )),
        ("", "pods", "") if reads => of_pod_reads(node, wanted),
        ("", "pods", "status") if changes || wanted.verb == "get" => on_node(node, wanted),
        ("", "pods", "") if wanted.verb == "delete" => on_node(node, wanted),
        ("", "secrets" | "configmaps", "") if reads => used(node, wanted),
        ("", "serviceaccounts", "token") if wanted.verb == "create" => used(node, wanted),
        ("", "serviceaccounts", "") if wanted.verb == "get" => used(node, wanted),
        ("authentication.k8s.io", "tokenreviews", "")
        | ("authorization.k8s.io", "subjectaccessreviews", "") => yes_if(wanted.verb == "create"),
        _ => Decision::Deny,
    }
}

/// One pod by name when it runs there, or all that do by the field selector.
fn of_pod_reads(node: &str, wanted: &Attributes) -> Decision {
    let narrowed = wanted
        .fields
        .iter()
        .any(|(field, value)| field == "spec.nodeName" && value == node);
    if narrowed {
        return Decision::Allow("a node may read the pods that run on it");
    }
    on_node(node, wanted)
}

fn on_node(node: &str, wanted: &Attributes) -> Decision {
    match wanted.name.as_str() {
        "" => Decision::Deny,
        pod => Decision::Ask(Question::PodIsOn {
            namespace: wanted.namespace.clone(),
            pod: pod.to_owned(),
            node: node.to_owned(),
        }),
    }
}

/// One object by name, in the path or the field selector.
fn used(node: &str, wanted: &Attributes) -> Decision {
    let selected = wanted
        .fields
        .iter()
        .find(|(field, _)| field == "metadata.name");
    let name = match (wanted.name.as_str(), selected) {
        ("", Some((_, name))) => name,
        (name, _) => name,
    };
    if name.is_empty() || wanted.namespace.is_empty() {
        return Decision::Deny;
    }
    Decision::Ask(Question::IsUsedOn {
        resource: wanted.resource.clone(),
        namespace: wanted.namespace.clone(),
        name: name.to_owned(),
        node: node.to_owned(),
    })
}

/// Whether a pod on `node` uses the object: looks through everything in its spec that names one.
pub(crate) fn uses(pod: &Object, node: &str, resource: &str, name: &str) -> bool {
    if pod.text(&["spec", "nodeName"]) != node {
        return false;
    }
    let spec = pod.at(&["spec"]).unwrap_or(&Value::Null);
    match resource {
        "serviceaccounts" => spec.get("serviceAccountName").and_then(Value::as_str) == Some(name),
        "secrets" => {
            let keys = ["secretRef", "secretKeyRef", "imagePullSecrets", "secret"];
            names(spec, &keys, "secretName", name)
        }
        "configmaps" => names(
            spec,
            &["configMapRef", "configMapKeyRef", "configMap"],
            "name",
            name,
        ),
        _ => false,
    }
}

/// Whether below one of `keys` an object says `name` or `field` equal to `wanted`. Depth was bounded when
/// the pod was written.
fn names(value: &Value, keys: &[&str], field: &str, wanted: &str) -> bool {
    let is = |object: &Value| {
        let says = |field| object.get(field).and_then(Value::as_str) == Some(wanted);
        says("name") || says(field)
    };
    match value {
        Value::Object(map) => map.iter().any(|(key, below)| {
            let found = keys.contains(&key.as_str())
                && match below {
                    Value::Array(items) => items.iter().any(is),
                    one => is(one),
                };
            found || names(below, keys, field, wanted)
        }),
        Value::Array(items) => items.iter().any(|item| names(item, keys, field, wanted)),
        _ => false,
    }
}

/// What is wrong with a node's write to its own Node: `next` is the object as it would be, `current` as it is.
pub(crate) fn check_own_node(current: Option<&Object>, next: &Object) -> Result<(), String> {
    let owners = |object: &Object| !object.list(&["metadata", "ownerReferences"]).is_empty();
    if owners(next) && !current.is_some_and(owners) {
        return Err("a node may not give itself an owner".to_owned());
    }
    let empty = Object::default();
    let current_or_empty = current.unwrap_or(&empty);
    let labels = |object: &Object| {
        let labels = object.labels();
        let restricted = labels.into_iter().filter(|(key, _)| {
            let prefix = key.split('/').next().unwrap_or_default();
            RESTRICTED_LABELS
                .iter()
                .any(|own| prefix == *own || prefix.ends_with(&format!(".{own}")))
        });
        restricted
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect::<Vec<_>>()
    };
    if labels(next) != labels(current_or_empty) {
        return Err("a node may not change the labels that others give it".to_owned());
    }
    let taints = |object: &Object| object.list(&["spec", "taints"]).to_vec();
    if current.is_some() && taints(next) != taints(current_or_empty) {
        return Err("a node may not change its own taints".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(verb: &str, resource: &str, name: &str) -> Attributes {
        let (resource, below) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            subresource: below.to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn touches_only_itself() {
        let allowed = |verb, resource, name| decide("n1", &wanted(verb, resource, name));
        assert!(matches!(
            allowed("patch", "nodes/status", "n1"),
            Decision::Allow(_)
        ));
        assert!(matches!(allowed("list", "nodes", ""), Decision::Allow(_)));
        assert_eq!(allowed("patch", "nodes/status", "n2"), Decision::Deny);
        assert_eq!(allowed("delete", "nodes", "n1"), Decision::Deny);
        assert_eq!(allowed("update", "nodes", "n2"), Decision::Deny);
        assert_eq!(allowed("create", "pods", ""), Decision::Deny);
        assert_eq!(allowed("list", "secrets", ""), Decision::Deny);
        assert_eq!(allowed("create", "secrets", "s"), Decision::Deny);
        assert_eq!(allowed("list", "pods", ""), Decision::Deny);
        assert_eq!(allowed("get", "deployments", "d"), Decision::Deny);
        assert!(matches!(allowed("get", "secrets", "s"), Decision::Ask(_)));
        let mut own = wanted("watch", "pods", "");
        own.fields = vec![("spec.nodeName".to_owned(), "n1".to_owned())];
        assert!(matches!(decide("n1", &own), Decision::Allow(_)));
        assert_eq!(decide("n2", &own), Decision::Deny);
    }

    fn object(value: Value) -> Object {
        Object::from_value(value).unwrap()
    }

    #[test]
    fn reads_what_its_pods_use() {
        let pod = object(json!({
            "metadata": { "name": "web", "namespace": "default" },
            "spec": {
                "nodeName": "n1",
                "serviceAccountName": "robot",
                "imagePullSecrets": [{ "name": "pull" }],
                "volumes": [
                    { "name": "a", "secret": { "secretName": "tls" } },
                    { "name": "b", "projected": { "sources": [{ "secret": { "name": "part" } }] } },
                    { "name": "c", "configMap": { "name": "conf" } },
                ],
                "initContainers": [{ "name": "i", "envFrom": [{ "secretRef": { "name": "env" } }] }],
                "containers": [{ "name": "c", "env": [
                    { "name": "X", "valueFrom": { "configMapKeyRef": { "name": "key", "key": "k" } } },
                ] }],
            },
        }));
        for secret in ["pull", "tls", "part", "env"] {
            assert!(uses(&pod, "n1", "secrets", secret), "{secret}");
        }
        for config in ["conf", "key"] {
            assert!(uses(&pod, "n1", "configmaps", config), "{config}");
        }
        assert!(uses(&pod, "n1", "serviceaccounts", "robot"));
        assert!(!uses(&pod, "n1", "secrets", "conf"));
        assert!(!uses(&pod, "n1", "secrets", "a"));
        assert!(!uses(&pod, "n2", "secrets", "tls"));
    }

    #[test]
    fn cannot_change_what_others_decide() {
        let node = |extra: Value| {
            let mut node = json!({ "metadata": { "name": "n1", "labels": { "a": "b" } } });
            node["metadata"]["ownerReferences"] = extra["owners"].clone();
            node["spec"]["taints"] = extra["taints"].clone();
            if let Some(label) = extra["label"].as_str() {
                node["metadata"]["labels"][label] = "x".into();
            }
            object(node)
        };
        let plain = node(json!({}));
        assert_eq!(check_own_node(Some(&plain), &plain), Ok(()));
        let owned = node(json!({ "owners": [{ "name": "x" }] }));
        assert!(check_own_node(Some(&plain), &owned).is_err());
        assert!(check_own_node(None, &owned).is_err());
        let tainted = node(json!({ "taints": [{ "key": "x" }] }));
        assert!(check_own_node(Some(&tainted), &plain).is_err());
        for label in [
            "node-role.kubernetes.io/control-plane",
            "node-restriction.kubernetes.io/x",
            "sub.node-restriction.kubernetes.io/x",
        ] {
            let labelled = node(json!({ "label": label }));
            assert!(check_own_node(Some(&plain), &labelled).is_err(), "{label}");
        }
        let labelled = node(json!({ "label": "example.com/x" }));
        assert_eq!(check_own_node(Some(&plain), &labelled), Ok(()));
    }
}
