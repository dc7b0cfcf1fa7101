//! Sets of fields, as `managedFields` keeps them (`FieldsV1`).
//!
//! A step is written as there: `f:name`, `k:{"name":"web"}`, `v:"x"`. A field is a member of the set, or
//! only on the way to members, or both.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Steps that a set of foreign origin may be deep, at most.
const MAX_DEPTH: usize = 64;

/// A set, or what of a set lies below a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    /// Whether this very field is in the set.
    pub(crate) member: bool,
    /// What is below.
    pub(crate) below: BTreeMap<String, Set>,
}

impl Set {
    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    /// Puts a field in.
    pub(crate) fn insert(&mut self, path: &[String]) {
        let mut set = self;
        for step in path {
            set = set.below.entry(step.clone()).or_default();
        }
        set.member = true;
    }

    /// Takes a field and all below out.
    pub(crate) fn remove(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        if rest.is_empty() {
            self.below.remove(*first);
        } else if let Some(below) = self.below.get_mut(*first) {
            below.remove(rest);
            if below.is_empty() {
                self.below.remove(*first);
            }
        }
    }

    /// What is in one of both.
    #[must_use]
    pub(crate) fn union(mut self, other: &Self) -> Self {
        self.member |= other.member;
        for (step, theirs) in &other.below {
            let ours = self.below.remove(step).unwrap_or_default();
            self.below.insert(step.clone(), ours.union(theirs));
        }
        self
    }

    /// What is in this and not in the other.
    #[must_use]
    pub(crate) fn difference(&self, other: &Self) -> Self {
        let below = self.below.iter().map(|(step, ours)| {
            let left = match other.below.get(step) {
                Some(theirs) => ours.difference(theirs),
                None => ours.clone(),
            };
            (step.clone(), left)
        });
        Self {
            member: self.member && !other.member,
            below: below.filter(|(_, set)| !set.is_empty()).collect(),
        }
    }

    /// What is in both.
    #[must_use]
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let below = self.below.iter().filter_map(|(step, ours)| {
            let both = ours.intersection(other.below.get(step)?);
            (!both.is_empty()).then(|| (step.clone(), both))
        });
        Self {
            member: self.member && other.member,
            below: below.collect(),
        }
    }

    /// All fields that are in it, as people read them: `.spec.containers[name="web"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: String, paths: &mut Vec<String>) {
        for (step, set) in &self.below {
            set.collect(format!("{path}{}", readable(step)), paths);
        }
        if self.member {
            paths.push(path);
        }
    }

    /// As `fieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.below.is_empty() {
            map.insert(".".to_owned(), Map::new().into());
        }
        for (step, set) in &self.below {
            map.insert(step.clone(), set.to_json());
        }
        map.into()
    }

    /// From `fieldsV1`; nothing when it is none.
    pub(crate) fn from_json(fields: &Value) -> Option<Self> {
        let mut set = Self::read(fields, 0)?;
        set.member = false;
        Some(set)
    }

    fn read(fields: &Value, depth: usize) -> Option<Self> {
        let map = fields.as_object().filter(|_| depth < MAX_DEPTH)?;
        let mut set = Self {
            member: map.is_empty(),
            below: BTreeMap::new(),
        };
        for (step, below) in map {
            match step.as_str() {
                "." => set.member = true,
                _ if is_step(step) => {
                    set.below
                        .insert(step.clone(), Self::read(below, depth + 1)?);
                }
                _ => return None,
            }
        }
        Some(set)
    }
}

fn is_step(step: &str) -> bool {
    match step.split_once(':') {
        Some(("f", _)) => true,
        Some(("k", keys)) => serde_json::from_str::<Map<String, Value>>(keys).is_ok(),
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok(),
        Some(("i", index)) => index.parse::<usize>().is_ok(),
        _ => false,
    }
}

fn readable(step: &str) -> String {
    match step.split_once(':') {
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<_> = keys
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some(("i", index)) => format!("[{index}]"),
        Some((_, name)) => format!(".{name}"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::needless_pass_by_value,
        reason = "values are written where they are used"
    )]

    use super::*;
    use serde_json::json;

    fn set(value: Value) -> Set {
        Set::from_json(&value).unwrap()
    }

    #[test]
    fn is_what_it_was_written_as() {
        let fields = json!({
            "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": { ".": {}, "f:image": {} } } },
        });
        assert_eq!(set(fields.clone()).to_json(), fields);
        assert_eq!(
            set(fields).paths(),
            [
                ".metadata.labels.app",
                ".metadata.labels",
                ".spec.containers[name=\"web\"].image",
                ".spec.containers[name=\"web\"]"
            ]
        );
        for bad in [
            json!([]),
            json!({ "x": {} }),
            json!({ "f:a": 1 }),
            json!({ "k:x": {} }),
        ] {
            assert!(Set::from_json(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn computes_as_sets_do() {
        let a = set(json!({ "f:a": { ".": {}, "f:b": {}, "f:c": {} }, "f:d": {} }));
        let b = set(json!({ "f:a": { "f:b": {} }, "f:e": {} }));
        assert_eq!(
            a.difference(&b).to_json(),
            json!({ "f:a": { ".": {}, "f:c": {} }, "f:d": {} })
        );
        assert_eq!(
            a.intersection(&b).to_json(),
            json!({ "f:a": { "f:b": {} } })
        );
        let both = json!({ "f:a": { ".": {}, "f:b": {}, "f:c": {} }, "f:d": {}, "f:e": {} });
        assert_eq!(a.clone().union(&b).to_json(), both);
        assert!(a.difference(&a).is_empty());
    }
}
