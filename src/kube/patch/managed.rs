//! Who owns which field: `metadata.managedFields`, and server-side apply on it.
//!
//! Every write notes its manager's fields; an apply says all that a manager wants, so what it no longer
//! says goes when nobody else owns it, and what somebody else owns is a conflict. The rules are those of
//! `sigs.k8s.io/structured-merge-diff/merge` and `k8s.io/apimachinery/pkg/util/managedfields`.

use orc_base::Time;
use serde_json::{Map, Value, json};

use crate::field::Cause;
use crate::kind::{ObjectKind, Subresource};
use crate::object::{Object, seconds};
use crate::objects::WriteOptions;
use crate::patch::fields::Set;
use crate::patch::typed;
use crate::schema::{Shape, shapes};
use crate::status::{Reason, Result, Status};

/// Managers that only updated, at most; older ones are noted as one.
const MAX_UPDATERS: usize = 10;
/// The name of those.
const ANCIENT: &str = "ancient-changes";
/// Entries that are read of an object, at most.
const MAX_ENTRIES: usize = 500;
/// Fields nobody owns.
const OWNERLESS: [&[&str]; 12] = [
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
];
/// Objects that are in every object of Go's types, so that nobody made them.
const ALWAYS_THERE: [&[&str]; 9] = [
    &["metadata"],
    &["spec"],
    &["status"],
    &["spec", "template"],
    &["spec", "template", "metadata"],
    &["spec", "template", "spec"],
    &["spec", "strategy"],
    &["spec", "updateStrategy"],
    &["source"],
];

/// One manager's fields.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    manager: String,
    applied: bool,
    api_version: String,
    subresource: String,
    time: String,
    fields: Set,
}

impl Entry {
    /// Whether both are the same manager at the same kind of work.
    fn is_same(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.applied == other.applied
            && self.subresource == other.subresource
            && (self.applied || self.api_version == other.api_version)
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let applied = match value["operation"].as_str()? {
            "Apply" => true,
            "Update" => false,
            _ => return None,
        };
        Some(Self {
            manager: text("manager"),
            applied,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: Set::from_json(&value["fieldsV1"])?,
        })
    }

    fn to_json(&self) -> Value {
        let mut value = json!({
            "manager": self.manager,
            "operation": if self.applied { "Apply" } else { "Update" },
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        if !self.time.is_empty() {
            value["time"] = self.time.as_str().into();
        }
        if !self.subresource.is_empty() {
            value["subresource"] = self.subresource.as_str().into();
        }
        value
    }

    /// As a conflict names it.
    fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if !self.applied {
            text += &format!(" using {}", self.api_version);
            if !self.time.is_empty() {
                text += &format!(" at {}", self.time);
            }
        }
        text
    }
}

/// Notes in `new` which fields a manager set that `live` did not have so.
pub(crate) fn track(
    kind: &ObjectKind,
    live: &Object,
    new: &mut Object,
    manager: &str,
    subresource: Option<&str>,
    now: Time,
) {
    let before = entries(live);
    let (mut known, reset) = match new.remove(&["metadata", "managedFields"]) {
        Some(given) if is_reset(&given) => (Vec::new(), true),
        Some(given) => (read(&given).unwrap_or_else(|| before.clone()), false),
        None => (before, false),
    };
    let shape = shapes().kind(kind);
    let (old_value, new_value) = (bare(live, Some(new)), bare(new, None));
    let mut difference = typed::compare(&shape, &old_value, &new_value);
    for set in [
        &mut difference.added,
        &mut difference.removed,
        &mut difference.modified,
    ] {
        strip(set);
    }
    if !difference.is_empty() && !reset {
        let mut entry = Entry {
            manager: match manager {
                "" => "unknown".to_owned(),
                manager => manager.to_owned(),
            },
            applied: false,
            api_version: kind.api_version(),
            subresource: subresource.unwrap_or_default().to_owned(),
            time: seconds(now),
            fields: Set::default(),
        };
        let set = difference.modified.union(&difference.added);
        for other in &mut known {
            let lost = match other.is_same(&entry) {
                true => difference.removed.clone(),
                false => difference.removed.clone().union(&set),
            };
            other.fields = other.fields.difference(&lost);
        }
        let place = known.iter().position(|other| other.is_same(&entry));
        if let Some(place) = place {
            entry.fields = known.remove(place).fields;
        }
        entry.fields = entry.fields.union(&set);
        known.push(entry);
    }
    write(new, known);
}

/// What an apply makes of an object, with its owners noted. 409 when somebody else owns a field that it
/// would change and it does not take it by force.
pub(crate) fn apply(
    kind: &ObjectKind,
    live: Option<&Object>,
    config: &Object,
    options: &WriteOptions,
    subresource: Option<&str>,
    now: Time,
) -> Result<Object> {
    if !config.list(&["metadata", "managedFields"]).is_empty() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let shape = shapes().kind(kind);
    let empty = Object::default();
    let known = entries(live.unwrap_or(&empty));
    let live_value = match live {
        Some(live) => bare(live, None),
        None => bare(&empty, Some(config)),
    };
    let config_value = bare(config, None);
    let mut fields = typed::fields(&shape, &config_value);
    strip(&mut fields);
    foreign(kind, subresource, &mut fields);
    let mut entry = Entry {
        manager: options.manager.clone(),
        applied: true,
        api_version: kind.api_version(),
        subresource: subresource.unwrap_or_default().to_owned(),
        time: seconds(now),
        fields,
    };
    let last = known.iter().find(|other| other.is_same(&entry)).cloned();
    let mut others: Vec<Entry> = known
        .iter()
        .filter(|other| !other.is_same(&entry))
        .cloned()
        .collect();
    let merged = typed::merge(&shape, &live_value, &config_value);
    let merged = match &last {
        Some(last) => pruned(&shape, &merged, &others, &entry, &last.fields),
        None => merged,
    };
    let mut difference = typed::compare(&shape, &live_value, &merged);
    strip(&mut difference.added);
    strip(&mut difference.modified);
    strip(&mut difference.removed);
    let set = difference.modified.clone().union(&difference.added);
    let conflicts: Vec<(Entry, Vec<String>)> = others
        .iter()
        .map(|other| (other.clone(), other.fields.intersection(&set).paths()))
        .filter(|(_, paths)| !paths.is_empty())
        .collect();
    if !conflicts.is_empty() && !options.force {
        return Err(conflict(&conflicts));
    }
    let lost = set.union(&difference.removed);
    for other in &mut others {
        other.fields = other.fields.difference(&lost);
    }
    if let Some(last) = last
        && last.fields == entry.fields
        && difference.modified.is_empty()
        && difference.added.is_empty()
        && difference.removed.is_empty()
    {
        entry.time = last.time;
    }
    others.push(entry);
    let mut object = Object::from_value(merged)?;
    for kept in ["resourceVersion", "uid"] {
        if let Some(value) = config.at(&["metadata", kept]) {
            object.set(&["metadata", kept], value.clone());
        }
    }
    write(&mut object, others);
    Ok(object)
}

/// Takes out what the manager applied before, does not apply now, and nobody else owns.
fn pruned(shape: &Shape, merged: &Value, others: &[Entry], entry: &Entry, last: &Set) -> Value {
    let all = |set: &Set| typed::with_parents(shape, set);
    let removed = typed::without(shape, merged, &all(last));
    let owned = others
        .iter()
        .fold(entry.fields.clone(), |set, other| set.union(&other.fields));
    let in_merged = all(&typed::fields(shape, merged));
    let in_removed = all(&typed::fields(shape, &removed));
    let gone = in_merged.difference(&in_removed.union(&all(&owned)));
    let with_owned = typed::without(shape, merged, &gone);
    let in_owned = all(&typed::fields(shape, &with_owned));
    let gone = in_merged.difference(&in_owned).intersection(&all(last));
    typed::without(shape, merged, &gone)
}

/// Takes out the fields that belong to another subresource.
fn foreign(kind: &ObjectKind, subresource: Option<&str>, fields: &mut Set) {
    match subresource {
        None if kind.has(Subresource::Status) => fields.remove(&["f:status"]),
        Some("status") => fields.below.retain(|step, _| step == "f:status"),
        _ => {}
    }
}

fn conflict(conflicts: &[(Entry, Vec<String>)]) -> Status {
    let mut causes = Vec::new();
    for (entry, paths) in conflicts {
        for path in paths {
            causes.push(Cause {
                reason: "FieldManagerConflict",
                field: path.clone(),
                message: format!("conflict with {}", entry.shown()),
            });
        }
    }
    let message = match causes.as_slice() {
        [one] => format!(
            "Apply failed with 1 conflict: {}: {}",
            one.message, one.field
        ),
        many => {
            let mut lines = vec![format!("Apply failed with {} conflicts:", many.len())];
            for (index, (entry, paths)) in conflicts.iter().enumerate() {
                let text = format!("conflicts with {}:", entry.shown());
                match index {
                    0 => lines[0] += &format!(" {text}"),
                    _ => lines.push(text),
                }
                lines.extend(paths.iter().map(|path| format!("- {path}")));
            }
            lines.join("\n")
        }
    };
    Status::new(Reason::Conflict, message).with_causes(causes)
}

/// An object without who owns it. With `beside`, the objects that are always there are there as soon as
/// the other object has them.
fn bare(object: &Object, beside: Option<&Object>) -> Value {
    let mut object = object.clone();
    object.remove(&["metadata", "managedFields"]);
    for path in ALWAYS_THERE {
        let other = beside.and_then(|beside| beside.at(path));
        if object.at(path).is_none() && other.is_some_and(Value::is_object) {
            object.set(path, Map::new());
        }
    }
    object.into_value()
}

fn strip(set: &mut Set) {
    for path in OWNERLESS {
        set.remove(path);
    }
    // An update that only touches `metadata` itself owns nothing.
    set.member = false;
}

fn entries(object: &Object) -> Vec<Entry> {
    object
        .at(&["metadata", "managedFields"])
        .and_then(read)
        .unwrap_or_default()
}

fn read(value: &Value) -> Option<Vec<Entry>> {
    let list = value.as_array().filter(|list| list.len() <= MAX_ENTRIES)?;
    list.iter().map(Entry::read).collect()
}

/// `[]` and `[{}]` ask for nobody to own anything.
fn is_reset(value: &Value) -> bool {
    let empty = |entry: &Value| entry.as_object().is_some_and(Map::is_empty);
    value.as_array().is_some_and(|list| list.iter().all(empty))
}

/// Writes the entries in the order the real server has: applies first, then by time and name.
fn write(object: &mut Object, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let key = |entry: &Entry| {
            (
                !entry.applied,
                entry.time.clone(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    cap(&mut entries);
    match entries.is_empty() {
        true => {
            object.remove(&["metadata", "managedFields"]);
        }
        false => {
            let list: Vec<Value> = entries.iter().map(Entry::to_json).collect();
            object.set(&["metadata", "managedFields"], list);
        }
    }
}

/// Makes one of the oldest updaters when there are too many.
fn cap(entries: &mut Vec<Entry>) {
    let count = entries.iter().filter(|entry| !entry.applied).count();
    if count <= MAX_UPDATERS {
        return;
    }
    let first = entries
        .iter()
        .position(|entry| !entry.applied)
        .unwrap_or_default();
    let old: Vec<Entry> = entries
        .drain(first..=first + (count - MAX_UPDATERS))
        .collect();
    let mut ancient = old[0].clone();
    ancient.manager = ANCIENT.to_owned();
    ancient.subresource = String::new();
    for entry in old {
        ancient.fields = std::mem::take(&mut ancient.fields).union(&entry.fields);
        ancient.time = entry.time;
    }
    entries.insert(first, ancient);
}
