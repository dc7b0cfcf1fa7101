//! What a rule wants done: a value with a cause, which prints as one line.
//!
//! Every deed names the very object it is about (uid) and, where the decision depends on what the object
//! said, its version: a deed that comes too late is refused by the store instead of doing harm.

use std::fmt;

use orc_base::Time;
use serde_json::Value;

use crate::object::Facts;
use crate::reference::Ref;

/// A deed and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What is to be done, all of it at once or nothing.
    pub deeds: Vec<Deed>,
    /// Why, in few words.
    pub cause: String,
    /// What `kubectl describe` tells of it.
    pub note: Option<Note>,
}

/// One change of one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Make this object.
    Create {
        /// Where it will be.
        target: Ref,
        /// All of it.
        object: Value,
    },
    /// Change an object, by an RFC 7396 merge patch.
    Patch {
        /// Which.
        target: Ref,
        /// What of it.
        part: Part,
        /// Only if it is still this one.
        guard: Guard,
        /// The change.
        patch: Value,
    },
    /// Give a pod its node.
    Bind {
        /// The pod.
        target: Ref,
        /// The pod's uid.
        uid: String,
        /// The node's name.
        node: String,
    },
    /// Delete an object.
    Delete {
        /// Which.
        target: Ref,
        /// Only if it is still this one.
        guard: Guard,
        /// Seconds it may take; its own when not given.
        grace_s: Option<i64>,
        /// What becomes of what belongs to it.
        dependents: Dependents,
        /// Owners (with their uid) that must be gone: they were not seen, which may mean not yet.
        gone: Vec<(Ref, String)>,
    },
    /// Do this if the owners named are gone.
    Unless {
        /// The owners, with their uid.
        gone: Vec<(Ref, String)>,
        /// What then.
        deed: Box<Deed>,
    },
    /// Delete everything in a namespace that rules do not follow, such as events.
    Sweep {
        /// The namespace.
        target: Ref,
    },
}

/// A part of an object that has its own writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Metadata and spec.
    Spec,
    /// What was seen.
    Status,
    /// A namespace's `spec.finalizers`.
    Finalize,
}

/// Which object, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`, when the decision depends on it.
    pub version: Option<String>,
}

/// What becomes of what belongs to a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependents {
    /// It goes afterwards.
    Background,
    /// It goes before.
    Foreground,
}

/// An event about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The object.
    pub about: Ref,
    /// Its uid.
    pub uid: String,
    /// `Normal` or `Warning`.
    pub warning: bool,
    /// As in `ScalingReplicaSet`.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

/// What a rule decided about one subject.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// To be done, in this order.
    pub operations: Vec<Operation>,
    /// When to look again although nothing changes.
    pub again: Option<Time>,
}

impl Decision {
    /// Adds an operation of one deed.
    pub(crate) fn push(&mut self, deed: Deed, cause: impl Into<String>) {
        self.operations.push(Operation {
            deeds: vec![deed],
            cause: cause.into(),
            note: None,
        });
    }

    /// Adds an operation that is told as an event.
    pub(crate) fn push_noted(&mut self, deed: Deed, cause: impl Into<String>, note: Note) {
        self.push(deed, cause);
        if let Some(last) = self.operations.last_mut() {
            last.note = Some(note);
        }
    }

    /// Looks again at `time`, or earlier.
    pub(crate) fn look_again(&mut self, time: Time) {
        self.again = Some(self.again.map_or(time, |before| before.min(time)));
    }
}

impl Deed {
    /// The object it is about.
    pub fn target(&self) -> &Ref {
        match self {
            Self::Create { target, .. }
            | Self::Patch { target, .. }
            | Self::Bind { target, .. }
            | Self::Delete { target, .. }
            | Self::Sweep { target } => target,
            Self::Unless { deed, .. } => deed.target(),
        }
    }

    /// Deletes `object`, whatever version it has.
    pub(crate) fn delete(target: Ref, object: &impl Facts) -> Self {
        Self::Delete {
            target,
            guard: Guard::same(object),
            grace_s: None,
            dependents: Dependents::Background,
            gone: Vec::new(),
        }
    }

    /// Changes the status of this very version of `object`.
    pub(crate) fn status(target: Ref, object: &impl Facts, status: Value) -> Self {
        Self::Patch {
            target,
            part: Part::Status,
            guard: Guard::unchanged(object),
            patch: Value::Object([("status".to_owned(), status)].into_iter().collect()),
        }
    }

    /// Changes this very version of `object`.
    pub(crate) fn patch(target: Ref, object: &impl Facts, patch: Value) -> Self {
        Self::Patch {
            target,
            part: Part::Spec,
            guard: Guard::unchanged(object),
            patch,
        }
    }
}

impl Guard {
    /// This object, in any version.
    pub(crate) fn same(object: &impl Facts) -> Self {
        Self {
            uid: object.uid().to_owned(),
            version: None,
        }
    }

    /// This object, unchanged.
    pub(crate) fn unchanged(object: &impl Facts) -> Self {
        Self {
            uid: object.uid().to_owned(),
            version: object.meta().resource_version.clone(),
        }
    }
}

/// `create Pod default/web-x  (1 of 3 is missing)`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, deed) in self.deeds.iter().enumerate() {
            if index > 0 {
                f.write_str(" + ")?;
            }
            write!(f, "{deed}")?;
        }
        write!(f, "  ({})", self.cause)
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { target, .. } => write!(f, "create {target}"),
            Self::Patch {
                target,
                part,
                patch,
                ..
            } => {
                let part = match part {
                    Part::Spec => "",
                    Part::Status => " status",
                    Part::Finalize => " finalize",
                };
                write!(f, "patch {target}{part} {}", brief(patch))
            }
            Self::Bind { target, node, .. } => write!(f, "bind {target} to {node}"),
            Self::Delete {
                target,
                grace_s,
                dependents,
                ..
            } => {
                write!(f, "delete {target}")?;
                if *dependents == Dependents::Foreground {
                    f.write_str(" foreground")?;
                }
                match grace_s {
                    Some(grace) => write!(f, " grace={grace}s"),
                    None => Ok(()),
                }
            }
            Self::Sweep { target } => write!(f, "sweep {target}"),
            Self::Unless { deed, .. } => deed.fmt(f),
        }
    }
}

/// A patch without its outermost name, as there is one: `{"replicas":3}` of `{"spec":{"replicas":3}}`.
fn brief(patch: &Value) -> &Value {
    match patch.as_object() {
        Some(map) if map.len() == 1 => map.values().next().unwrap_or(patch),
        _ => patch,
    }
}
