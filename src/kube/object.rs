//! One Kubernetes object as the JSON it is, with typed access to what all objects have.
//!
//! The JSON itself is kept and stored: a field nobody here knows survives every read and write. Typed
//! views ([`Object::to`]) are copies for those who decide, never what is written back whole.
//! Prints as its kind and name only, so that no log shows what a secret holds.

use std::collections::BTreeMap;
use std::fmt;

use orc_base::{Context, Error, Result, Time};
use orc_store::Revision;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Bytes of an object's JSON, at most: what a request's body may have.
pub const MAX_BYTES: usize = 3 << 20;
/// How deep objects and lists may lie in each other.
pub const MAX_DEPTH: usize = 96;

/// An object of any kind.
#[derive(Clone, PartialEq, Default)]
pub struct Object(Map<String, Value>);

/// Who an object belongs to: an entry of `metadata.ownerReferences`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Group and version, as in `apps/v1`.
    pub api_version: String,
    /// As in `ReplicaSet`.
    pub kind: String,
    /// Its name, in the namespace of what it owns.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Whether it manages what it owns; at most one owner does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub controller: bool,
    /// Whether its foreground deletion waits for what it owns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block_owner_deletion: bool,
}

impl Object {
    /// An object with only a kind and a name; `namespace` is empty for what has none.
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        let mut object = Self::default();
        object.set(&["apiVersion"], api_version);
        object.set(&["kind"], kind);
        object.set(&["metadata", "name"], name);
        if !namespace.is_empty() {
            object.set(&["metadata", "namespace"], namespace);
        }
        object
    }

    /// Reads JSON. `Invalid` when it is no JSON object, too large or too deep.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            let length = bytes.len();
            return Err(Error::invalid(format!(
                "an object of {length} bytes: the limit is {MAX_BYTES}"
            )));
        }
        Self::from_value(serde_json::from_slice(bytes)?)
    }

    /// Takes a JSON value. `Invalid` when it is no JSON object or too deep.
    pub fn from_value(value: Value) -> Result<Self> {
        if depth(&value, MAX_DEPTH) > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "objects and lists lie more than {MAX_DEPTH} deep in each other"
            )));
        }
        match value {
            Value::Object(map) => Ok(Self(map)),
            _ => Err(Error::invalid("not a JSON object")),
        }
    }

    /// From a typed value, such as a `k8s_openapi` one. `Invalid` when it makes no JSON object.
    pub fn from_typed<T: Serialize>(typed: &T) -> Result<Self> {
        Self::from_value(serde_json::to_value(typed)?)
    }

    /// A typed copy. `Invalid` when a field has another type than `T` wants.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&Value::Object(self.0.clone())).context(|| format!("read {self}"))
    }

    /// The JSON.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The JSON, to change.
    pub fn as_map_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }

    /// The JSON as a value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The JSON as text.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("JSON values can be written")
    }

    /// What stands at a path of field names.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.0.get(*first)?, |value, name| value.get(name))
    }

    /// The text at a path; empty when there is none.
    pub fn text(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The whole number at a path.
    pub fn number(&self, path: &[&str]) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }

    /// Whether there is `true` at a path.
    pub fn flag(&self, path: &[&str]) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The list at a path; empty when there is none.
    pub fn list(&self, path: &[&str]) -> &[Value] {
        match self.at(path) {
            Some(Value::Array(items)) => items,
            _ => &[],
        }
    }

    /// Puts a value at a path, making the objects on the way.
    pub fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        let Some((last, parents)) = path.split_last() else {
            return;
        };
        let mut map = &mut self.0;
        for name in parents {
            let next = map.entry(*name).or_insert_with(|| Map::new().into());
            if !next.is_object() {
                *next = Map::new().into();
            }
            map = next.as_object_mut().expect("made an object above");
        }
        map.insert((*last).to_owned(), value.into());
    }

    /// Puts a value where nothing, or `null`, is.
    pub fn set_default(&mut self, path: &[&str], value: impl Into<Value>) {
        if self.at(path).is_none_or(Value::is_null) {
            self.set(path, value);
        }
    }

    /// Takes away what stands at a path.
    pub fn remove(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let map = parents.iter().try_fold(&mut self.0, |map, name| {
            map.get_mut(*name).and_then(Value::as_object_mut)
        })?;
        map.remove(*last)
    }

    /// Group and version, as in `apps/v1`.
    pub fn api_version(&self) -> &str {
        self.text(&["apiVersion"])
    }

    /// As in `Deployment`.
    pub fn kind(&self) -> &str {
        self.text(&["kind"])
    }

    /// Its name; empty before one was made of `generateName`.
    pub fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    /// Its namespace; empty for what has none.
    pub fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"])
    }

    /// Its identity, which no later object of the same name has.
    pub fn uid(&self) -> &str {
        self.text(&["metadata", "uid"])
    }

    /// `metadata.resourceVersion` as text; empty when it is not set.
    pub fn resource_version(&self) -> &str {
        self.text(&["metadata", "resourceVersion"])
    }

    /// The change of the store that wrote it last.
    pub fn revision(&self) -> Option<Revision> {
        self.resource_version().parse().ok().map(Revision)
    }

    /// Counts the changes of what is wanted (`spec`).
    pub fn generation(&self) -> i64 {
        self.number(&["metadata", "generation"]).unwrap_or_default()
    }

    /// All labels.
    pub fn labels(&self) -> BTreeMap<&str, &str> {
        self.texts(&["metadata", "labels"])
    }

    /// One label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.at(&["metadata", "labels", key])?.as_str()
    }

    /// All annotations.
    pub fn annotations(&self) -> BTreeMap<&str, &str> {
        self.texts(&["metadata", "annotations"])
    }

    /// One annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.at(&["metadata", "annotations", key])?.as_str()
    }

    /// A map of texts at a path; other values are left out.
    pub fn texts(&self, path: &[&str]) -> BTreeMap<&str, &str> {
        match self.at(path) {
            Some(Value::Object(map)) => map
                .iter()
                .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
                .collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Who it belongs to; entries that make no sense are left out.
    pub fn owners(&self) -> Vec<Owner> {
        self.list(&["metadata", "ownerReferences"])
            .iter()
            .filter_map(|owner| Owner::deserialize(owner).ok())
            .collect()
    }

    /// The owner that manages it.
    pub fn controller(&self) -> Option<Owner> {
        self.owners().into_iter().find(|owner| owner.controller)
    }

    /// A reference to this object as the owner that manages another.
    pub fn as_controller(&self) -> Owner {
        Owner {
            api_version: self.api_version().to_owned(),
            kind: self.kind().to_owned(),
            name: self.name().to_owned(),
            uid: self.uid().to_owned(),
            controller: true,
            block_owner_deletion: true,
        }
    }

    /// Who must still agree before it is gone.
    pub fn finalizers(&self) -> Vec<&str> {
        self.list(&["metadata", "finalizers"])
            .iter()
            .filter_map(Value::as_str)
            .collect()
    }

    /// When it was made.
    pub fn creation_time(&self) -> Option<Time> {
        self.time(&["metadata", "creationTimestamp"])
    }

    /// When it is to be gone; nothing as long as nobody deletes it.
    pub fn deletion_time(&self) -> Option<Time> {
        self.time(&["metadata", "deletionTimestamp"])
    }

    /// Whether somebody deletes it.
    pub fn is_being_deleted(&self) -> bool {
        !self.text(&["metadata", "deletionTimestamp"]).is_empty()
    }

    /// The time at a path.
    pub fn time(&self, path: &[&str]) -> Option<Time> {
        self.text(path).parse().ok()
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            "" => write!(f, "{} {}", self.kind(), self.name()),
            namespace => write!(f, "{} {namespace}/{}", self.kind(), self.name()),
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}@{}", self.resource_version())
    }
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        object.into_value()
    }
}

/// How deep a value is; looks no deeper than one level below `most`.
pub fn depth(value: &Value, most: usize) -> usize {
    if most == 0 {
        return 1;
    }
    let below = match value {
        Value::Array(items) => items.iter().map(|item| depth(item, most - 1)).max(),
        Value::Object(map) => map.values().map(|item| depth(item, most - 1)).max(),
        _ => return 0,
    };
    1 + below.unwrap_or_default()
}

/// A time as Kubernetes writes it in metadata: RFC 3339 in whole seconds.
pub fn seconds(time: Time) -> String {
    Time::from_secs(time.secs()).to_string()
}

/// A time as Kubernetes' `MicroTime` is written: RFC 3339 with six digits of fraction.
pub fn microseconds(time: Time) -> String {
    let whole = seconds(time);
    let fraction = time.nanos().rem_euclid(1_000_000_000) / 1000;
    format!("{}.{fraction:06}Z", whole.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keeps_what_it_does_not_know() {
        let text = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"x":"y"}},"spec":{"odd":[1,{"a":null}]}}"#;
        let mut object = Object::parse(text).unwrap();
        assert_eq!((object.name(), object.label("x")), ("a", Some("y")));
        object.set(&["status", "phase"], "Running");
        assert_eq!(object.text(&["status", "phase"]), "Running");
        assert_eq!(object.remove(&["status", "phase"]), Some(json!("Running")));
        assert_eq!(object.at(&["spec", "odd", "0"]), None);
        assert!(
            String::from_utf8(object.to_bytes())
                .unwrap()
                .contains("odd")
        );
    }

    #[test]
    fn prints_no_values() {
        let mut secret = Object::new("v1", "Secret", "ns", "s");
        secret.set(&["data", "key"], "aHVudGVyMg==");
        assert_eq!(format!("{secret:?} {secret}"), "Secret ns/s@ Secret ns/s");
    }

    #[test]
    fn refuses_depth_and_size() {
        let deep = format!("{}{}", r#"{"a":"#.repeat(100), "1") + &"}".repeat(100);
        assert!(Object::parse(deep.as_bytes()).is_err());
        assert!(Object::parse(&vec![b' '; MAX_BYTES + 1]).is_err());
        assert!(Object::parse(b"[]").is_err());
    }

    #[test]
    fn writes_times_as_kubernetes_does() {
        let time: Time = "2026-11-21T04:25:35.12345678Z".parse().unwrap();
        assert_eq!(seconds(time), "2026-11-21T04:25:35Z");
        assert_eq!(microseconds(time), "2026-11-21T04:25:35.123456Z");
    }
}
