//! A call as HTTP has it: method, path, query, body. Pure.

use std::fmt::Write as _;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::kind::{ObjectKind, Subresource};
use crate::kinds;
use crate::object::Object;
use crate::objects::{
    DeleteOptions, FieldValidation, ListOptions, Patch, Propagation, Scope, Target, VersionMatch,
    WatchOptions, WriteOptions,
};
use crate::selector::{FieldSelector, LabelSelector};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Method,
    /// The path, and the query behind it.
    pub(super) path: String,
    pub(super) body: Bytes,
    /// What the body is; empty when there is none.
    pub(super) content_type: &'static str,
}

impl Call {
    /// About the objects of a scope.
    pub(super) fn on(method: Method, scope: &Scope) -> Self {
        Self {
            method,
            path: collection(scope.kind, &scope.namespace),
            body: Bytes::new(),
            content_type: "",
        }
    }

    /// About one object, or what stands below it.
    pub(super) fn to(method: Method, target: &Target) -> Self {
        let mut path = collection(target.kind, &target.namespace);
        path.push('/');
        escape(&target.name, &mut path);
        if let Some(subresource) = target.subresource {
            path.push('/');
            path.push_str(subresource.name());
        }
        Self {
            method,
            path,
            body: Bytes::new(),
            content_type: "",
        }
    }

    /// Gives a pod its node.
    pub(super) fn binding(namespace: &str, name: &str, uid: &str, node: &str) -> Self {
        let pods = kinds::by_kind("v1", "Pod").expect("the table of kinds has pods");
        let target = Target::new(pods, namespace, name).below(Subresource::Binding);
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": name, "namespace": namespace },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        });
        if !uid.is_empty() {
            body["metadata"]["uid"] = uid.into();
        }
        Self::to(Method::POST, &target).with_body(&body, JSON)
    }

    /// Adds to the query, but nothing that is empty.
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.path
                .push(if self.path.contains('?') { '&' } else { '?' });
            self.path.push_str(key);
            self.path.push('=');
            escape(value, &mut self.path);
        }
        self
    }

    fn with_body(mut self, body: &Value, content_type: &'static str) -> Self {
        self.body = body.to_string().into();
        self.content_type = content_type;
        self
    }

    fn selecting(self, labels: &LabelSelector, fields: &FieldSelector) -> Self {
        self.with("labelSelector", &labels.to_string())
            .with("fieldSelector", &fields.to_string())
    }

    fn matching(self, version: &str, how: VersionMatch) -> Self {
        let how = match how {
            VersionMatch::Unset => "",
            VersionMatch::Exact => "Exact",
            VersionMatch::NotOlderThan => "NotOlderThan",
        };
        self.with("resourceVersion", version)
            .with("resourceVersionMatch", how)
    }

    pub(super) fn listing(self, options: &ListOptions) -> Self {
        let limit = match options.limit {
            0 => String::new(),
            limit => limit.to_string(),
        };
        self.selecting(&options.labels, &options.fields)
            .matching(&options.version, options.version_match)
            .with("limit", &limit)
            .with("continue", &options.continue_token)
    }

    pub(super) fn watching(self, options: &WatchOptions) -> Self {
        let initial = options.initial.map(|initial| initial.to_string());
        self.with("watch", "true")
            .selecting(&options.labels, &options.fields)
            .matching(&options.version, options.version_match)
            .with(
                "allowWatchBookmarks",
                if options.bookmarks { "true" } else { "" },
            )
            .with("sendInitialEvents", &initial.unwrap_or_default())
    }

    pub(super) fn writing(self, options: &WriteOptions) -> Self {
        let validation = match options.validation {
            FieldValidation::Ignore => "Ignore",
            FieldValidation::Warn => "Warn",
            FieldValidation::Strict => "Strict",
        };
        self.with("fieldManager", &options.manager)
            .with("fieldValidation", validation)
            .with("dryRun", if options.dry_run { "All" } else { "" })
            .with("force", if options.force { "true" } else { "" })
    }

    pub(super) fn sending(mut self, object: &Object) -> Self {
        self.body = object.to_bytes().into();
        self.content_type = JSON;
        self
    }

    pub(super) fn patching(self, patch: &Patch) -> Self {
        match patch {
            Patch::Json(body) => self.with_body(body, "application/json-patch+json"),
            Patch::Merge(body) => self.with_body(body, "application/merge-patch+json"),
            Patch::Strategic(body) => {
                self.with_body(body, "application/strategic-merge-patch+json")
            }
            // JSON is YAML.
            Patch::Apply(body) => self.with_body(body, "application/apply-patch+yaml"),
        }
    }

    pub(super) fn deleting(self, options: &DeleteOptions) -> Self {
        let mut body = Map::new();
        body.insert("apiVersion".into(), "v1".into());
        body.insert("kind".into(), "DeleteOptions".into());
        if let Some(grace) = options.grace_s {
            body.insert("gracePeriodSeconds".into(), grace.into());
        }
        if let Some(propagation) = options.propagation {
            let policy = match propagation {
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
                Propagation::Orphan => "Orphan",
            };
            body.insert("propagationPolicy".into(), policy.into());
        }
        let mut preconditions = Map::new();
        for (key, value) in [("uid", &options.uid), ("resourceVersion", &options.version)] {
            if let Some(value) = value {
                preconditions.insert(key.into(), value.as_str().into());
            }
        }
        if !preconditions.is_empty() {
            body.insert("preconditions".into(), preconditions.into());
        }
        if options.dry_run {
            body.insert("dryRun".into(), json!(["All"]));
        }
        self.with_body(&body.into(), JSON)
    }

    /// Whether it may be asked again when nobody knows what came of it.
    pub(super) fn is_read(&self) -> bool {
        self.method == Method::GET
    }
}

const JSON: &str = "application/json";

fn collection(kind: &ObjectKind, namespace: &str) -> String {
    let mut path = match kind.group {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    if !namespace.is_empty() {
        path.push_str("/namespaces/");
        escape(namespace, &mut path);
    }
    path.push('/');
    path.push_str(kind.plural);
    path
}

/// All but the unreserved characters as bytes in percent notation (RFC 3986, 2.3).
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte.into());
            }
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, kind: &str) -> &'static ObjectKind {
        let version = if group.is_empty() { "v1" } else { "apps/v1" };
        kinds::by_kind(version, kind).unwrap()
    }

    #[test]
    fn calls_are_kubernetes() {
        let pods = Scope::inside(kind("", "Pod"), "shop");
        let options = ListOptions {
            labels: LabelSelector::parse("app in (a,b)").unwrap(),
            fields: FieldSelector::equal("spec.nodeName", "n1"),
            version: "7".into(),
            version_match: VersionMatch::NotOlderThan,
            limit: 500,
            continue_token: "a/b".into(),
        };
        assert_eq!(
            Call::on(Method::GET, &pods).listing(&options).path,
            "/api/v1/namespaces/shop/pods?labelSelector=app%20in%20%28a%2Cb%29\
             &fieldSelector=spec.nodeName%3Dn1&resourceVersion=7&resourceVersionMatch=NotOlderThan\
             &limit=500&continue=a%2Fb"
        );
        let web = Target::new(kind("apps", "Deployment"), "shop", "web");
        let scale = web.clone().below(Subresource::Scale);
        assert_eq!(
            Call::to(Method::GET, &scale).path,
            "/apis/apps/v1/namespaces/shop/deployments/web/scale"
        );
        let nodes = Scope::all(kind("", "Node"));
        let watch = WatchOptions {
            bookmarks: true,
            initial: Some(false),
            ..WatchOptions::default()
        };
        assert_eq!(
            Call::on(Method::GET, &nodes).watching(&watch).path,
            "/api/v1/nodes?watch=true&allowWatchBookmarks=true&sendInitialEvents=false"
        );
        let mut write = WriteOptions::by("me");
        write.dry_run = true;
        let patch = Call::to(Method::PATCH, &web).patching(&Patch::Merge(json!({"a": 1})));
        let patch = patch.writing(&write);
        assert_eq!(
            (patch.path.as_str(), patch.content_type, &patch.body[..]),
            (
                "/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=me&fieldValidation=Warn&dryRun=All",
                "application/merge-patch+json",
                &b"{\"a\":1}"[..]
            )
        );
        let delete = DeleteOptions {
            grace_s: Some(0),
            propagation: Some(Propagation::Foreground),
            uid: Some("u".into()),
            ..DeleteOptions::default()
        };
        let delete = Call::to(Method::DELETE, &web).deleting(&delete);
        let body: Value = serde_json::from_slice(&delete.body).unwrap();
        assert_eq!(
            body,
            json!({
                "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
                "propagationPolicy": "Foreground", "preconditions": {"uid": "u"},
            })
        );
    }

    #[test]
    fn a_name_stays_one_part_of_a_path() {
        let target = Target::new(kind("", "ConfigMap"), "a", "../b?c");
        assert_eq!(
            Call::to(Method::GET, &target).path,
            "/api/v1/namespaces/a/configmaps/..%2Fb%3Fc"
        );
    }
}
