//! The documents and their hashes. Only hashes are kept: clients keep documents by them, so one is seldom made.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use orc_base::id::hex;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use crate::kind::ObjectKind;
use crate::kinds::KINDS;
use crate::openapi::schemas::Version;
use crate::openapi::{paths, schemas};

/// The documents.
#[derive(Debug, Default)]
pub struct Documents {
    hashes: OnceLock<BTreeMap<String, String>>,
}

impl Documents {
    /// `/openapi/v3`: where each document is, and its hash.
    pub fn index(&self) -> Value {
        let paths: Map<String, Value> = self
            .hashes()
            .iter()
            .map(|(path, hash)| {
                let url = format!("/openapi/v3/{path}?hash={hash}");
                (path.clone(), json!({ "serverRelativeURL": url }))
            })
            .collect();
        json!({ "paths": paths })
    }

    /// The hash of a document; nothing when there is no such document.
    pub fn hash(&self, path: &str) -> Option<&str> {
        self.hashes().get(path).map(String::as_str)
    }

    /// `/openapi/v3/PATH`; nothing when there is no such document.
    pub fn v3(&self, path: &str) -> Option<Vec<u8>> {
        self.hash(path)
            .map(|_| render(path, &schemas::written(Version::V3)))
    }

    /// `/openapi/v2`.
    pub fn v2(&self) -> Value {
        json!({
            "swagger": "2.0",
            "info": info(),
            "paths": {},
            "definitions": schemas::written(Version::V2),
        })
    }

    fn hashes(&self) -> &BTreeMap<String, String> {
        self.hashes.get_or_init(|| {
            let paths: std::collections::BTreeSet<String> =
                KINDS.iter().map(|kind| paths::root(kind)).collect();
            let all = schemas::written(Version::V3);
            paths
                .into_iter()
                .map(|path| {
                    let hash = hex(digest(&SHA256, &render(&path, &all)).as_ref());
                    (path, hash.to_uppercase())
                })
                .collect()
        })
    }
}

fn info() -> Value {
    json!({ "title": "Kubernetes", "version": "v1.36.0" })
}

fn render(path: &str, all: &Map<String, Value>) -> Vec<u8> {
    let kinds: Vec<&ObjectKind> = KINDS
        .iter()
        .copied()
        .filter(|kind| paths::root(kind) == path)
        .collect();
    let document = json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths::of(&kinds),
        "components": { "schemas": schemas::of(&kinds, all) },
    });
    serde_json::to_vec(&document).expect("JSON values can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str) -> Value {
        serde_json::from_slice(&Documents::default().v3(path).unwrap()).unwrap()
    }

    #[test]
    fn has_a_document_for_each_group() {
        let documents = Documents::default();
        let index = documents.index();
        let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
            .as_str()
            .unwrap();
        let hash = documents.hash("apis/apps/v1").unwrap();
        assert_eq!(url, format!("/openapi/v3/apis/apps/v1?hash={hash}"));
        assert!(documents.v3("apis/nope/v1").is_none());
    }

    #[test]
    fn says_how_lists_merge() {
        let schemas = &document("apis/apps/v1")["components"]["schemas"];
        let spec = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(spec["x-kubernetes-list-type"], "map");
        assert_eq!(spec["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(spec["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(spec["x-kubernetes-patch-strategy"], "merge");
        let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
        let kind = &deployment["x-kubernetes-group-version-kind"][0];
        assert_eq!(
            kind,
            &json!({ "group": "apps", "version": "v1", "kind": "Deployment" })
        );
        let metadata = &deployment["properties"]["metadata"]["allOf"][0]["$ref"];
        let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        assert_eq!(metadata, &format!("#/components/schemas/{meta}"));
        assert!(schemas[meta]["description"].as_str().is_some());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        found.push(to.clone());
                    }
                    map.values().for_each(|below| references(below, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let documents = Documents::default();
        for path in documents.hashes().keys() {
            let document = document(path);
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty(), "{path}");
            for reference in found {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{path}: {reference}");
            }
        }
    }

    #[test]
    fn patches_take_the_parameters_kubectl_looks_for() {
        let document = document("apis/apps/v1");
        let path = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
        let patch = &document["paths"][path]["patch"];
        let parameters = patch["parameters"].to_string();
        assert!(parameters.contains("fieldValidation") && parameters.contains("dryRun"));
        assert_eq!(
            patch["x-kubernetes-group-version-kind"]["kind"],
            "Deployment"
        );
    }
}
