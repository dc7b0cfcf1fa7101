//! The paths of a group's document: which verbs there are, and which parameters writes take. kubectl finds
//! kinds by them, and learns from them that a server can validate fields and run dry.

use serde_json::{Map, Value, json};

use crate::kind::{ObjectKind, Subresource};
use crate::openapi::schemas;

/// The paths of these kinds.
pub(super) fn of(kinds: &[&ObjectKind]) -> Value {
    let mut paths = Map::new();
    for kind in kinds {
        let base = root(kind);
        let plural = kind.plural;
        let many = match kind.namespaced {
            true => {
                let all = json!({ "get": operation(kind, "list", "") });
                paths.insert(format!("/{base}/{plural}"), all);
                format!("/{base}/namespaces/{{namespace}}/{plural}")
            }
            false => format!("/{base}/{plural}"),
        };
        let one = format!("{many}/{{name}}");
        for below in [Subresource::Status, Subresource::Scale] {
            if kind.has(below) {
                let path = format!("{one}/{}", below.name());
                let verbs = [("get", "get"), ("put", "put"), ("patch", "patch")];
                paths.insert(path, item(kind, &verbs, below.name()));
            }
        }
        let verbs = [
            ("get", "list"),
            ("post", "post"),
            ("delete", "deletecollection"),
        ];
        paths.insert(many, item(kind, &verbs, ""));
        let verbs = [
            ("get", "get"),
            ("put", "put"),
            ("patch", "patch"),
            ("delete", "delete"),
        ];
        paths.insert(one, item(kind, &verbs, ""));
    }
    paths.into()
}

/// `api/v1` or `apis/apps/v1`.
pub(super) fn root(kind: &ObjectKind) -> String {
    match kind.group {
        "" => format!("api/{}", kind.version),
        group => format!("apis/{group}/{}", kind.version),
    }
}

fn item(kind: &ObjectKind, verbs: &[(&str, &str)], below: &str) -> Value {
    let operations = verbs
        .iter()
        .map(|(method, action)| ((*method).to_owned(), operation(kind, action, below)));
    Value::Object(operations.collect())
}

fn operation(kind: &ObjectKind, action: &str, below: &str) -> Value {
    let writes = matches!(action, "post" | "put" | "patch");
    let names: &[&str] = match action {
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
        "delete" | "deletecollection" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        "list" => &[
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "watch",
        ],
        _ => &[],
    };
    let parameters: Vec<Value> = names
        .iter()
        .map(|name| json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } }))
        .collect();
    let (group, version, name) = match below {
        "scale" => ("autoscaling", "v1", "Scale"),
        _ => (kind.group, kind.version, kind.kind),
    };
    let schema = match (below, action) {
        ("scale", _) | (_, "list" | "delete" | "deletecollection") => json!({ "type": "object" }),
        _ => json!({ "$ref": format!("#/components/schemas/{}", schemas::name_of(kind)) }),
    };
    let content = json!({ "application/json": { "schema": schema } });
    let mut operation = json!({
        "operationId": format!("{action}{}{}{}", kind.group, kind.kind, below),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": { "group": group, "version": version, "kind": name },
        "parameters": parameters,
        "responses": { "200": { "description": "OK", "content": content } },
    });
    if writes {
        operation["requestBody"] =
            json!({ "content": { "*/*": { "schema": { "type": "object" } } } });
    }
    operation
}
