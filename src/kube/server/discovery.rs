//! How clients learn what there is: group by group, or all at once (aggregated). Pure, from the table of
//! kinds and `resources`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kind::ObjectKind;
use crate::kinds::KINDS;
use crate::server::resources::{self, Below, REVIEWS, Review};

/// The Kubernetes whose API this is.
const VERSION: (&str, &str) = ("1", "36");

/// `/version`.
pub(super) fn version() -> Value {
    let (major, minor) = VERSION;
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": format!("v{major}.{minor}.0+orc"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("linux/{}", architecture()),
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/api`, plainly.
pub(super) fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

/// `/apis`, plainly.
pub(super) fn groups() -> Value {
    let groups: Vec<Value> = names().iter().map(|name| group_of(name)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`; nothing when there is no such group.
pub(super) fn group(name: &str) -> Option<Value> {
    names().contains(&name).then(|| {
        let mut group = group_of(name);
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
        group
    })
}

fn group_of(name: &str) -> Value {
    let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

/// The groups beside the core, in the order in which short names are looked up.
fn names() -> Vec<&'static str> {
    let kinds = KINDS.iter().map(|kind| kind.group);
    let mut names: Vec<_> = kinds
        .chain(REVIEWS.iter().map(|review| review.group))
        .collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    names
}

/// `/api/v1` or `/apis/GROUP/v1`, plainly; nothing when there is no such version.
pub(super) fn resources(group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for kind in KINDS
        .iter()
        .filter(|kind| (kind.group, kind.version) == (group, version))
    {
        list.push(resource(kind));
        let below = resources::below(kind);
        list.extend(below.iter().map(|below| subresource(kind, below)));
    }
    if version == "v1" {
        let reviews = REVIEWS.iter().filter(|review| review.group == group);
        list.extend(reviews.map(review_resource));
    }
    let group_version = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    (!list.is_empty()).then(|| {
        json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version,
            "resources": list,
        })
    })
}

fn resource(kind: &ObjectKind) -> Value {
    let mut resource = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    resource
}

fn subresource(kind: &ObjectKind, below: &Below) -> Value {
    let mut resource = json!({
        "name": format!("{}/{}", kind.plural, below.name),
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": below.kind,
        "verbs": below.verbs,
    });
    if below.group != kind.group {
        resource["group"] = below.group.into();
        resource["version"] = below.version.into();
    }
    resource
}

fn review_resource(review: &Review) -> Value {
    json!({
        "name": review.plural,
        "singularName": review.kind.to_lowercase(),
        "namespaced": review.namespaced,
        "kind": review.kind,
        "verbs": ["create"],
    })
}

/// `/api` (`core`) or `/apis` with everything inside, as `APIGroupDiscoveryList`.
pub(super) fn aggregated(core: bool, version: &str) -> Value {
    let mut groups: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for kind in KINDS.iter().filter(|kind| kind.group.is_empty() == core) {
        groups.entry(kind.group).or_default().push(discovered(kind));
    }
    if !core {
        for review in REVIEWS {
            let found = discovered_review(review);
            groups.entry(review.group).or_default().push(found);
        }
    }
    let items: Vec<Value> = groups
        .into_iter()
        .map(|(name, resources)| {
            let version = json!({ "version": "v1", "resources": resources, "freshness": "Current" });
            json!({ "metadata": { "name": name, "creationTimestamp": null }, "versions": [version] })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn kind_of(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}

fn scope(namespaced: bool) -> &'static str {
    if namespaced { "Namespaced" } else { "Cluster" }
}

fn discovered(kind: &ObjectKind) -> Value {
    let below = resources::below(kind);
    let below: Vec<Value> = below
        .iter()
        .map(|below| {
            json!({
                "subresource": below.name,
                "responseKind": kind_of(below.group, below.version, below.kind),
                "verbs": below.verbs,
            })
        })
        .collect();
    let mut found = json!({
        "resource": kind.plural,
        "responseKind": kind_of(kind.group, kind.version, kind.kind),
        "scope": scope(kind.namespaced),
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    for (key, values) in [
        ("shortNames", kind.short_names),
        ("categories", kind.categories),
    ] {
        if !values.is_empty() {
            found[key] = json!(values);
        }
    }
    if !below.is_empty() {
        found["subresources"] = below.into();
    }
    found
}

fn discovered_review(review: &Review) -> Value {
    json!({
        "resource": review.plural,
        "responseKind": kind_of(review.group, "v1", review.kind),
        "scope": scope(review.namespaced),
        "singularResource": review.kind.to_lowercase(),
        "verbs": ["create"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_name_the_same() {
        let plain = |group: &str| {
            let list = super::resources(group, "v1").unwrap();
            let list = list["resources"].as_array().unwrap().clone();
            let mut names: Vec<_> = list
                .iter()
                .map(|one| one["name"].as_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        for core in [true, false] {
            let whole = aggregated(core, "v2");
            for item in whole["items"].as_array().unwrap() {
                let mut names = Vec::new();
                for found in item["versions"][0]["resources"].as_array().unwrap() {
                    let name = found["resource"].as_str().unwrap();
                    names.push(name.to_owned());
                    for below in found["subresources"].as_array().into_iter().flatten() {
                        names.push(format!("{name}/{}", below["subresource"].as_str().unwrap()));
                    }
                }
                names.sort();
                assert_eq!(names, plain(item["metadata"]["name"].as_str().unwrap()));
            }
        }
    }

    #[test]
    fn tells_what_kubectl_looks_for() {
        let core = super::resources("", "v1").unwrap().to_string();
        for name in [
            "pods/exec",
            "pods/log",
            "pods/eviction",
            "serviceaccounts/token",
        ] {
            assert!(core.contains(&format!("\"{name}\"")), "{name}");
        }
        assert!(super::resources("", "v2").is_none());
        assert!(super::resources("example.com", "v1").is_none());
        assert!(group("apps").is_some() && group("").is_none());
        assert!(groups().to_string().contains("authorization.k8s.io/v1"));
    }
}
