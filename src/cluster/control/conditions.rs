//! Conditions and differences of a status, as JSON.
//!
//! `lastTransitionTime` moves only when `status` changes. Times are whole seconds, as Kubernetes' are.

use orc_base::Time;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::object::to_kube;

/// What a condition says.
#[derive(Debug, Clone, Copy)]
pub struct Says<'a> {
    /// As in `Available`.
    pub kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// As in `MinimumReplicasAvailable`.
    pub reason: &'a str,
    /// The sentence.
    pub message: &'a str,
}

/// The conditions of a status, to change.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions(Vec<Value>);

impl Conditions {
    /// Those that stand there.
    pub fn of<T: Serialize>(conditions: Option<&Vec<T>>) -> Self {
        let all = conditions.into_iter().flatten();
        Self(all.map(|condition| json!(condition)).collect())
    }

    /// What a condition says; `Null` when it does not stand there.
    pub fn get(&self, kind: &str) -> &Value {
        let mut all = self.0.iter();
        all.find(|c| c["type"] == kind).unwrap_or(&Value::Null)
    }

    /// Whether a condition is `True`.
    pub fn is_true(&self, kind: &str) -> bool {
        self.get(kind)["status"] == "True"
    }

    /// Sets a condition; returns whether anything changed. Other fields of it stay.
    pub fn set(&mut self, says: Says<'_>, now: Time) -> bool {
        let now = json!(to_kube(now));
        let Some(old) = self.0.iter_mut().find(|c| c["type"] == says.kind) else {
            self.0.push(json!({
                "type": says.kind,
                "status": says.status,
                "reason": says.reason,
                "message": says.message,
                "lastTransitionTime": now,
            }));
            return true;
        };
        let same = old["status"] == says.status
            && old["reason"] == says.reason
            && old["message"] == says.message;
        if old["status"] != says.status {
            old["lastTransitionTime"] = now;
        }
        old["status"] = json!(says.status);
        old["reason"] = json!(says.reason);
        old["message"] = json!(says.message);
        !same
    }

    /// Sets a field of a condition that stands there.
    pub fn put(&mut self, kind: &str, field: &str, value: Value) {
        if let Some(condition) = self.0.iter_mut().find(|c| c["type"] == kind) {
            condition[field] = value;
        }
    }

    /// Takes a condition away.
    pub fn remove(&mut self, kind: &str) {
        self.0.retain(|condition| condition["type"] != kind);
    }

    /// As it is written; nothing when there is none.
    pub fn to_json(&self) -> Value {
        match self.0.is_empty() {
            true => Value::Null,
            false => Value::Array(self.0.clone()),
        }
    }
}

/// The fields of `wanted` that differ from `old`, as a merge patch; nothing when none does. `Null` and zero
/// are what is not there.
pub fn difference(old: &impl Serialize, wanted: Value) -> Option<Value> {
    let old = json!(old);
    let Value::Object(wanted) = wanted else {
        return None;
    };
    let absent = |value: &Value| value.is_null() || *value == json!(0);
    let mut changed = Map::new();
    for (field, value) in wanted {
        let before = &old[&field];
        let same = *before == value || absent(before) && absent(&value);
        if !same {
            changed.insert(field, value);
        }
    }
    (!changed.is_empty()).then_some(Value::Object(changed))
}
