//! What clients did and were told, as data.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use crate::model::{Entry, Key, Revision};

/// A value that was written once in a run; no value when there is none.
pub(crate) type Value = Option<u64>;

/// What all clients did and were told.
#[derive(Debug, Default, Clone)]
pub(crate) struct History {
    pub(crate) operations: Vec<Operation>,
    /// Changes that were acknowledged, with their revisions.
    pub(crate) made: Vec<(Revision, u64, Value)>,
    pub(crate) tally: Tally,
}

impl History {
    /// How much was done.
    pub(crate) fn tally(&self) -> Tally {
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.operations).hash(&mut hasher);
        Tally {
            trace: hasher.finish(),
            ..self.tally.clone()
        }
    }
}

/// One operation of one client on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) key: u64,
    pub(crate) called: u64,
    /// When the answer came, if it did.
    pub(crate) returned: Option<u64>,
    pub(crate) deed: Deed,
}

/// What was done and what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    Read {
        saw: Value,
    },
    /// Gave the key a value, or none; if `expects` is given, only when it had that.
    Write {
        expects: Option<Value>,
        value: Value,
    },
    /// Would have written if the key had had `expects`; it had `saw`.
    Refused {
        expects: Value,
        saw: Value,
    },
}

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) reads: usize,
    pub(crate) events: usize,
    pub(crate) faults: usize,
    /// Follows from all that was seen.
    pub(crate) trace: u64,
}

pub(crate) fn name(key: u64) -> Key {
    Key::new(format!("k/{key}")).expect("a good name")
}

/// The value in an entry.
pub(crate) fn value_of(entry: Option<&Entry>) -> Value {
    let text = std::str::from_utf8(&entry?.value).ok()?;
    text.parse().ok()
}
