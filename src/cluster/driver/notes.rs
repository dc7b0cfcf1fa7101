//! Events: what the controllers did, for `kubectl describe`.
//!
//! Told when nothing more urgent is due, many at once, and forgotten when there are too many: nobody
//! decides by them. The same thing about the same object is one event with a count.

use std::collections::{BTreeMap, VecDeque};

use orc_base::Time;
use orc_kube::kinds::CORE_EVENT;
use orc_kube::{Object, Objects, Patch, Scope, Target, Write, WriteOptions};
use serde_json::{Value, json};

use crate::object::to_kube;
use crate::operation::Note;
use crate::sched::hash;

/// Events that wait, and events told at once, at most.
const WAITING: usize = 1000;
const AT_ONCE: usize = 64;
/// Events whose counts are remembered.
const REMEMBERED: usize = 10_000;

/// Events that wait to be told.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    waiting: VecDeque<(&'static str, Note)>,
    /// How often each was told.
    told: BTreeMap<(String, String), u64>,
}

impl Notes {
    /// An event of a controller.
    pub(crate) fn push(&mut self, source: &'static str, note: Note) {
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((source, note));
    }

    /// Tells some; whether there were any.
    pub(crate) async fn flush(&mut self, objects: &dyn Objects, now: Time) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        if self.told.len() > REMEMBERED {
            self.told.clear();
        }
        let count = self.waiting.len().min(AT_ONCE);
        let mut lot: Vec<Write> = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for (source, note) in self.waiting.drain(..count) {
            let key = (note.about.namespace.clone(), name(&note));
            let told = self.told.entry(key.clone()).or_default();
            *told += 1;
            let write = match *told {
                1 => create(source, &note, &key.1, now),
                told => again(&note, &key.1, told, now),
            };
            if names.insert(key) {
                lot.extend(write);
            }
        }
        let options = WriteOptions::by("events");
        if objects.transact(lot.clone(), &options).await.is_err() {
            for write in lot {
                if let Err(refused) = objects.transact(vec![write], &options).await {
                    tracing::debug!(status = %refused.status.message(), "an event is not told");
                }
            }
        }
        true
    }
}

/// One name for what is the same.
fn name(note: &Note) -> String {
    let text = format!(
        "{}/{}/{}/{}",
        note.uid, note.reason, note.message, note.warning
    );
    format!("{}.{:016x}", note.about.name, hash(&text))
}

/// Events of objects without a namespace are in `default`.
fn namespace(note: &Note) -> &str {
    match note.about.namespace.as_str() {
        "" => "default",
        namespace => namespace,
    }
}

fn create(source: &str, note: &Note, name: &str, now: Time) -> Option<Write> {
    let namespace = namespace(note);
    let time = to_kube(now);
    let object = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": involved(note),
        "reason": note.reason,
        "message": note.message,
        "type": if note.warning { "Warning" } else { "Normal" },
        "source": { "component": source },
        "reportingComponent": source,
        "reportingInstance": "",
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
    });
    let object = Object::from_value(object).ok()?;
    Some(Write::Create {
        scope: Scope::inside(&CORE_EVENT, namespace),
        object,
    })
}

fn again(note: &Note, name: &str, told: u64, now: Time) -> Option<Write> {
    let target = Target::new(&CORE_EVENT, namespace(note), name);
    let patch = json!({ "count": told, "lastTimestamp": to_kube(now) });
    Some(Write::Patch {
        target,
        patch: Patch::Merge(patch),
    })
}

fn involved(note: &Note) -> Value {
    let mut value = json!({
        "apiVersion": note.about.kind.api_version(),
        "kind": note.about.kind.name,
        "name": note.about.name,
        "uid": note.uid,
    });
    if !note.about.namespace.is_empty() {
        value["namespace"] = json!(note.about.namespace);
    }
    value
}
