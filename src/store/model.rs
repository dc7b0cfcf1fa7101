//! What goes into a store and what comes out of it: plain data.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use orc_base::{Error, Result};
use serde::{Deserialize, Serialize};

/// Bytes of a key, at most.
const MAX_KEY_BYTES: usize = 1024;
/// Bytes of a value, at most: what Kubernetes takes as a body.
const MAX_VALUE_BYTES: usize = 3 << 20;
/// Guards and changes of a transaction together, at most.
const MAX_STEPS: usize = 10_000;
/// Bytes of the keys and values of a transaction, at most.
const MAX_TRANSACTION_BYTES: usize = 16 << 20;

/// Counts the changes since the cluster began. Zero is before the first.
///
/// Every change has one of its own, those of one transaction following each other, so a watch can go on
/// exactly behind any change it has seen. They follow from the log alone and are the same on every
/// member.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a value: one to 1024 bytes, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

impl Key {
    /// Checks a name. `Invalid` when it cannot be a key.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        if name.is_empty() || name.len() > MAX_KEY_BYTES {
            let length = name.len();
            return Err(Error::invalid(format!(
                "a key has 1 to {MAX_KEY_BYTES} bytes, not {length}"
            )));
        }
        if name.chars().any(char::is_control) {
            return Err(Error::invalid(format!(
                "the key {name:?} has control characters"
            )));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.as_ref().to_owned()
    }
}

/// A value with its history in three numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// What it is.
    pub value: Bytes,
    /// The change that brought the key into being.
    pub created: Revision,
    /// The last change.
    pub modified: Revision,
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// All that was acknowledged before the read began (linearizable).
    Latest,
    /// What this member knows, without asking any other.
    Local,
    /// What this member knows once it knows this revision.
    AtLeast(Revision),
    /// The state right after this revision, as long as the history reaches back to it.
    Exactly(Revision),
}

/// The answer to a read of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The value; nothing when there is none.
    pub entry: Option<Entry>,
    /// The revision of the whole store that was read.
    pub revision: Revision,
}

/// A part of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    /// What the keys begin with.
    pub prefix: String,
    /// Only keys greater than this.
    pub after: Option<Key>,
    /// How many entries at most; all when zero.
    pub limit: usize,
}

/// The answer to a read of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The entries, in the order of their keys.
    pub entries: Vec<Entry>,
    /// The revision of the whole store that was read.
    pub revision: Revision,
    /// How many entries of the range the limit left out.
    pub remaining: usize,
}

/// Something that must hold for a transaction to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The key has no value.
    Absent(Key),
    /// The key has a value.
    Present(Key),
    /// The key was last changed at this revision.
    Unchanged(Key, Revision),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Gives the key this value.
    Put(Key, Bytes),
    /// Takes the value away. Nothing happens, and no revision is used, when there is none.
    Remove(Key),
}

/// Changes that are made together when all guards hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transaction {
    /// What must hold before the first change.
    pub guards: Vec<Guard>,
    /// What is changed, in this order.
    pub changes: Vec<Change>,
}

impl Transaction {
    /// Whether it may be proposed: `Invalid` when it is too large or changes a key twice.
    pub fn check(&self) -> Result<()> {
        let steps = self.guards.len() + self.changes.len();
        if steps > MAX_STEPS {
            return Err(Error::invalid(format!(
                "a transaction of {steps} guards and changes: the limit is {MAX_STEPS}"
            )));
        }
        let mut keys = std::collections::HashSet::with_capacity(self.changes.len());
        let mut bytes = 0;
        for change in &self.changes {
            let (key, length) = match change {
                Change::Put(key, value) => (key, value.len()),
                Change::Remove(key) => (key, 0),
            };
            if length > MAX_VALUE_BYTES {
                return Err(Error::invalid(format!(
                    "the value of {key} has {length} bytes: the limit is {MAX_VALUE_BYTES}"
                )));
            }
            if !keys.insert(key) {
                return Err(Error::invalid(format!("a transaction changes {key} twice")));
            }
            bytes += key.as_str().len() + length;
        }
        if bytes > MAX_TRANSACTION_BYTES {
            return Err(Error::invalid(format!(
                "a transaction of {bytes} bytes: the limit is {MAX_TRANSACTION_BYTES}"
            )));
        }
        Ok(())
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// All changes were made.
    Made {
        /// The revision of the store right after the last of them: that of the last change.
        revision: Revision,
    },
    /// A guard did not hold, and nothing was changed.
    Refused {
        /// Which of the guards, counted from zero.
        guard: usize,
        /// What its key has now.
        current: Option<Entry>,
    },
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A key has a new value.
    Put {
        /// The value; its `modified` is the revision of this change.
        entry: Entry,
        /// What it had before.
        previous: Option<Entry>,
    },
    /// A key lost its value.
    Removed {
        /// The revision of this change.
        revision: Revision,
        /// What it had before.
        previous: Entry,
    },
}

impl Event {
    /// The revision of this change.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put { entry, .. } => entry.modified,
            Self::Removed { revision, .. } => *revision,
        }
    }

    /// The key that was changed.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { entry, .. } => &entry.key,
            Self::Removed { previous, .. } => &previous.key,
        }
    }

    /// What the key had before.
    pub fn previous(&self) -> Option<&Entry> {
        match self {
            Self::Put { previous, .. } => previous.as_ref(),
            Self::Removed { previous, .. } => Some(previous),
        }
    }
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// A change below the prefix.
    Event(Arc<Event>),
    /// All changes up to here have been told: a watch may go on from this revision.
    Bookmark(Revision),
}
