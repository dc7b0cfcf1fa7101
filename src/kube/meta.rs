//! What all objects have in `metadata`: who fills it, what may change, and what is wrong with it.
//!
//! `k8s.io/apimachinery/pkg/api/validation/objectmeta.go` and `k8s.io/apiserver/pkg/registry/rest/meta.go`.

use orc_base::Time;
use orc_base::id::{hex, random_bytes};
use serde_json::Value;

use crate::field::{Causes, Path};
use crate::kind::ObjectKind;
use crate::names;
use crate::object::{Object, seconds};

/// Bytes of all annotations, at most.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// What made names end in: no vowels, so that no words come up.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them.
const SUFFIX: usize = 5;
/// Names that are made are labels at most.
const MAX_MADE: usize = 63;

/// Waits for all that belongs to the object and blocks its deletion.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Waits until what belongs to the object is let go.
pub(crate) const ORPHAN: &str = "orphan";

/// Fills what the server alone says about a new object.
pub(crate) fn fill_new(kind: &ObjectKind, object: &mut Object, now: Time) {
    for gone in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
        "managedFields",
    ] {
        object.remove(&["metadata", gone]);
    }
    if object.name().is_empty() {
        let base = object.text(&["metadata", "generateName"]).to_owned();
        if !base.is_empty() {
            object.set(&["metadata", "name"], made_name(&base));
        }
    }
    object.set(&["metadata", "uid"], uid());
    object.set(&["metadata", "creationTimestamp"], seconds(now));
    if kind.has_generation {
        object.set(&["metadata", "generation"], 1);
    }
}

/// A name beginning as asked that nobody is likely to have.
fn made_name(base: &str) -> String {
    let mut end = base.len().min(MAX_MADE - SUFFIX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    let suffix: String = random_bytes::<SUFFIX>().iter().map(letter).collect();
    format!("{}{suffix}", &base[..end])
}

/// A random UUID (RFC 9562, version 4).
fn uid() -> String {
    let mut bytes = random_bytes::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

/// Keeps what an update can never change.
pub(crate) fn keep_old(object: &mut Object, old: &Object) {
    for kept in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "selfLink",
    ] {
        match old.at(&["metadata", kept]) {
            Some(value) => object.set(&["metadata", kept], value.clone()),
            None => {
                object.remove(&["metadata", kept]);
            }
        }
    }
}

/// What is wrong with the metadata of an object.
pub(crate) fn validate(kind: &ObjectKind, object: &Object, causes: &mut Causes) {
    let metadata = Path::new("metadata");
    let base = object.text(&["metadata", "generateName"]);
    if object.name().is_empty() {
        if base.is_empty() {
            causes.required(&metadata.child("name"), "name or generateName is required");
        }
    } else {
        for why in kind.names.check(object.name()) {
            causes.invalid(&metadata.child("name"), object.name(), &why);
        }
    }
    if !base.is_empty() {
        let start = base.trim_end_matches('-');
        for why in kind.names.check(if start.is_empty() { "a" } else { start }) {
            causes.invalid(&metadata.child("generateName"), base, &why);
        }
    }
    match (kind.namespaced, object.namespace()) {
        (true, "") => causes.required(&metadata.child("namespace"), ""),
        (true, namespace) => {
            for why in names::label(namespace) {
                causes.invalid(&metadata.child("namespace"), namespace, &why);
            }
        }
        (false, "") => {}
        (false, _) => causes.forbidden(&metadata.child("namespace"), "not allowed on this type"),
    }
    labels(
        object.at(&["metadata", "labels"]),
        &metadata.child("labels"),
        causes,
    );
    annotations(object, &metadata.child("annotations"), causes);
    owners(object, &metadata.child("ownerReferences"), causes);
    for (index, name) in object.finalizers().iter().enumerate() {
        finalizer(name, &metadata.child("finalizers").index(index), causes);
    }
}

/// What is wrong with the keys and values of labels.
pub(crate) fn labels(labels: Option<&Value>, path: &Path, causes: &mut Causes) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for why in names::qualified(key) {
            causes.invalid(path, key.as_str(), &why);
        }
        let value = value.as_str().unwrap_or_default();
        for why in names::label_value(value) {
            causes.invalid(path, value, &why);
        }
    }
}

fn annotations(object: &Object, path: &Path, causes: &mut Causes) {
    let mut bytes = 0;
    for (key, value) in object.annotations() {
        bytes += key.len() + value.len();
        for why in names::qualified(&key.to_lowercase()) {
            causes.invalid(path, key, &why);
        }
    }
    if bytes > MAX_ANNOTATIONS {
        causes.too_long(path, MAX_ANNOTATIONS);
    }
}

fn owners(object: &Object, path: &Path, causes: &mut Causes) {
    let mut controllers = Vec::new();
    for (index, owner) in object
        .list(&["metadata", "ownerReferences"])
        .iter()
        .enumerate()
    {
        let at = path.index(index);
        for name in ["apiVersion", "kind", "name", "uid"] {
            if owner[name].as_str().is_none_or(str::is_empty) {
                let why = match name {
                    "apiVersion" => "version must not be empty",
                    _ => "must not be empty",
                };
                causes.invalid(&at.child(name), "", why);
            }
        }
        if owner["uid"].as_str() == Some(object.uid()) && !object.uid().is_empty() {
            causes.invalid(
                &at.child("uid"),
                object.uid(),
                "an object cannot own itself",
            );
        }
        if owner["kind"] == "Event" {
            let api = owner["apiVersion"].as_str().unwrap_or_default();
            causes.invalid(&at, api, "Event is disallowed from being an owner");
        }
        if owner["controller"] == true {
            controllers.push(owner["name"].as_str().unwrap_or_default());
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        let shown = format!("{} references", controllers.len());
        causes.invalid(path, shown, &why);
    }
}

fn finalizer(name: &str, path: &Path, causes: &mut Causes) {
    for why in names::qualified(name) {
        causes.invalid(path, name, &why);
    }
    let standard = [FOREGROUND, ORPHAN, "kubernetes"].contains(&name);
    if !name.contains('/') && !standard {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        causes.invalid(path, name, why);
    }
}

/// What is wrong with a change of metadata.
pub(crate) fn validate_update(object: &Object, old: &Object, causes: &mut Causes) {
    let metadata = Path::new("metadata");
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let (new, was) = (
            object.text(&["metadata", field]),
            old.text(&["metadata", field]),
        );
        if new != was {
            causes.invalid(&metadata.child(field), new, "field is immutable");
        }
    }
    if !old.is_being_deleted() {
        return;
    }
    let known = old.finalizers();
    let added: Vec<_> = object
        .finalizers()
        .into_iter()
        .filter(|name| !known.contains(name))
        .collect();
    if !added.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added
                .iter()
                .map(|name| format!("{name:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        causes.forbidden(&metadata.child("finalizers"), &why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_names_and_identities() {
        assert_eq!(made_name("web-").len(), 9);
        assert_eq!(made_name(&"x".repeat(300)).len(), 63);
        let one = uid();
        assert!(one.len() == 36 && &one[14..15] == "4" && one != uid());
    }
}
