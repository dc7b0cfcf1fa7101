//! What a store means: the entries, the revision, and the changes that led here.
//!
//! Pure: no disk, no clock, no waiting. The same transactions in the same order give the same map, the
//! same verdicts and the same history on every member. A copy costs next to nothing: it shares all
//! entries with the original.

use std::ops::Bound;

use imbl::OrdMap;
use orc_base::{Error, Kind, Result};

use crate::history::History;
pub use crate::history::Limits;
use crate::model::{
    Change, Entry, Event, Found, Guard, Key, Listing, Range, Revision, Transaction, Verdict,
};

/// Entries by key, with history.
#[derive(Debug, Clone)]
pub struct Map {
    entries: OrdMap<Key, Entry>,
    revision: Revision,
    history: History,
}

impl Map {
    /// An empty map that keeps this much history.
    pub fn new(limits: Limits) -> Self {
        Self {
            entries: OrdMap::new(),
            revision: Revision::default(),
            history: History::new(Revision::default(), limits),
        }
    }

    /// A map as it was: its entries in any order, and its history, the oldest change first.
    pub(crate) fn restore(
        limits: Limits,
        (floor, revision): (Revision, Revision),
        entries: impl IntoIterator<Item = Entry>,
        events: impl IntoIterator<Item = Event>,
    ) -> Self {
        let entries = entries.into_iter();
        Self {
            entries: entries.map(|entry| (entry.key.clone(), entry)).collect(),
            revision,
            history: History::restore(floor, limits, events),
        }
    }

    /// The entries behind a key, in order.
    pub(crate) fn entries_after(&self, key: Option<&Key>) -> impl Iterator<Item = &Entry> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.entries.range::<_, Key>((from, Bound::Unbounded));
        range.map(|(_, entry)| entry)
    }

    /// The changes behind a revision that is kept, in order.
    pub(crate) fn events_after(
        &self,
        revision: Revision,
    ) -> impl Iterator<Item = &std::sync::Arc<Event>> {
        self.history.after(revision)
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision whose state can still be told.
    pub fn floor(&self) -> Revision {
        self.history.floor()
    }

    /// Makes a transaction that [`Transaction::check`] allows.
    pub fn apply(&mut self, transaction: &Transaction) -> Verdict {
        for (index, guard) in transaction.guards.iter().enumerate() {
            let (key, holds) = match guard {
                Guard::Absent(key) => (key, !self.entries.contains_key(key)),
                Guard::Present(key) => (key, self.entries.contains_key(key)),
                Guard::Unchanged(key, revision) => {
                    let found = self.entries.get(key);
                    (key, found.is_some_and(|e| e.modified == *revision))
                }
            };
            if !holds {
                return Verdict::Refused {
                    guard: index,
                    current: self.entries.get(key).cloned(),
                };
            }
        }
        for change in &transaction.changes {
            self.make(change);
        }
        Verdict::Made {
            revision: self.revision,
        }
    }

    fn make(&mut self, change: &Change) {
        let next = Revision(self.revision.0 + 1);
        let event = match change {
            Change::Put(key, value) => {
                let previous = self.entries.get(key).cloned();
                let entry = Entry {
                    key: key.clone(),
                    value: value.clone(),
                    created: previous.as_ref().map_or(next, |p| p.created),
                    modified: next,
                };
                self.entries.insert(key.clone(), entry.clone());
                Event::Put { entry, previous }
            }
            Change::Remove(key) => match self.entries.remove(key) {
                Some(previous) => Event::Removed {
                    revision: next,
                    previous,
                },
                None => return,
            },
        };
        self.revision = next;
        self.history.push(event);
    }

    /// The value of a key, now or right after a revision. `Expired` and `Invalid` as
    /// [`crate::Store::get`].
    pub fn get(&self, key: &Key, at: Option<Revision>) -> Result<Found> {
        let at = self.kept(at)?;
        let undone = self.history.after(at).find(|event| event.key() == key);
        Ok(Found {
            entry: match undone {
                Some(event) => event.previous().cloned(),
                None => self.entries.get(key).cloned(),
            },
            revision: at,
        })
    }

    /// The entries of a range, now or right after a revision.
    pub fn list(&self, range: &Range, at: Option<Revision>) -> Result<Listing> {
        let at = self.kept(at)?;
        let mut past = None;
        if at < self.revision {
            past = Some(self.before(&range.prefix, at));
        }
        let entries = past.as_ref().unwrap_or(&self.entries);
        let from = match &range.after {
            Some(key) if key.as_str() >= range.prefix.as_str() => Bound::Excluded(key.as_str()),
            _ => Bound::Included(range.prefix.as_str()),
        };
        let mut inside = entries
            .range::<_, str>((from, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.as_str().starts_with(&range.prefix));
        let limit = match range.limit {
            0 => usize::MAX,
            limit => limit,
        };
        Ok(Listing {
            entries: inside.by_ref().take(limit).cloned().collect(),
            revision: at,
            remaining: inside.count(),
        })
    }

    /// The entries below a prefix, with all that happened after a revision undone, the last first.
    fn before(&self, prefix: &str, at: Revision) -> OrdMap<Key, Entry> {
        let mut entries = self.entries.clone();
        let inside = |event: &&std::sync::Arc<Event>| event.key().as_str().starts_with(prefix);
        for event in self.history.after(at).rev().filter(inside) {
            match event.previous() {
                Some(previous) => entries.insert(previous.key.clone(), previous.clone()),
                None => entries.remove(event.key()),
            };
        }
        entries
    }

    fn kept(&self, at: Option<Revision>) -> Result<Revision> {
        let at = at.unwrap_or(self.revision);
        if at > self.revision {
            return Err(Error::invalid(format!(
                "revision {at} is in the future: the last is {}",
                self.revision
            )));
        }
        if at < self.history.floor() {
            return Err(too_old(at, self.history.floor()));
        }
        Ok(at)
    }

    /// At most `most` changes below a prefix after a revision, and up to where all have been told.
    /// `Expired` when some after it are no longer kept.
    pub(crate) fn changes(
        &self,
        prefix: &str,
        after: Revision,
        most: usize,
    ) -> Result<(Vec<std::sync::Arc<Event>>, Revision)> {
        if after < self.history.floor() {
            return Err(too_old(after, self.history.floor()));
        }
        let mut found = Vec::new();
        for event in self.history.after(after) {
            if found.len() == most {
                let told = found
                    .last()
                    .map_or(after, |e: &std::sync::Arc<Event>| e.revision());
                return Ok((found, told));
            }
            if event.key().as_str().starts_with(prefix) {
                found.push(event.clone());
            }
        }
        Ok((found, self.revision.max(after)))
    }

    /// Forgets the history up to and including a revision.
    pub fn compact(&mut self, revision: Revision) {
        self.history.forget(revision.min(self.revision));
    }
}

fn too_old(asked: Revision, floor: Revision) -> Error {
    Error::new(
        Kind::Expired,
        format!("revision {asked} is too old: the history begins at {floor}; list again"),
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }

    fn put(name: &str, value: &str) -> Change {
        Change::Put(key(name), Bytes::from(value.to_owned()))
    }

    fn made(map: &mut Map, changes: Vec<Change>) -> u64 {
        let transaction = Transaction {
            guards: Vec::new(),
            changes,
        };
        match map.apply(&transaction) {
            Verdict::Made { revision } => revision.0,
            refused @ Verdict::Refused { .. } => panic!("{refused:?}"),
        }
    }

    fn told(map: &Map, prefix: &str, at: Option<u64>) -> String {
        let range = Range {
            prefix: prefix.to_owned(),
            ..Range::default()
        };
        let listing = map.list(&range, at.map(Revision)).unwrap();
        let entry = |e: &Entry| {
            format!(
                "{}={}@{}",
                e.key,
                String::from_utf8_lossy(&e.value),
                e.modified
            )
        };
        listing
            .entries
            .iter()
            .map(entry)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn every_change_has_a_revision_and_the_past_can_be_read() {
        let mut map = Map::new(Limits::default());
        assert_eq!(
            made(
                &mut map,
                vec![put("a/1", "x"), put("a/2", "y"), put("b/1", "z")]
            ),
            3
        );
        assert_eq!(made(&mut map, vec![Change::Remove(key("none"))]), 3);
        assert_eq!(
            made(&mut map, vec![put("a/1", "w"), Change::Remove(key("a/2"))]),
            5
        );
        assert_eq!(told(&map, "a/", None), "a/1=w@4");
        assert_eq!(told(&map, "a/", Some(4)), "a/1=w@4 a/2=y@2");
        assert_eq!(told(&map, "a/", Some(3)), "a/1=x@1 a/2=y@2");
        assert_eq!(told(&map, "a/", Some(0)), "");
        assert_eq!(told(&map, "", Some(2)), "a/1=x@1 a/2=y@2");
        let past = map.get(&key("a/2"), Some(Revision(4))).unwrap();
        assert_eq!(past.entry.unwrap().created, Revision(2));
        assert_eq!(map.get(&key("a/2"), None).unwrap().entry, None);
    }

    #[test]
    fn guards_hold_or_nothing_happens() {
        let mut map = Map::new(Limits::default());
        made(&mut map, vec![put("a", "1")]);
        let guards = [
            Guard::Absent(key("a")),
            Guard::Present(key("b")),
            Guard::Unchanged(key("a"), Revision(7)),
            Guard::Unchanged(key("b"), Revision(0)),
        ];
        for guard in guards {
            let transaction = Transaction {
                guards: vec![Guard::Present(key("a")), guard.clone()],
                changes: vec![put("a", "2"), put("c", "3")],
            };
            let verdict = map.apply(&transaction);
            assert!(
                matches!(verdict, Verdict::Refused { guard: 1, .. }),
                "{guard:?} {verdict:?}"
            );
            assert_eq!(told(&map, "", None), "a=1@1");
        }
        let transaction = Transaction {
            guards: vec![
                Guard::Unchanged(key("a"), Revision(1)),
                Guard::Absent(key("b")),
            ],
            changes: vec![put("b", "2")],
        };
        assert_eq!(
            map.apply(&transaction),
            Verdict::Made {
                revision: Revision(2)
            }
        );
    }

    #[test]
    fn lists_come_in_pages() {
        let mut map = Map::new(Limits::default());
        made(
            &mut map,
            (0..10).map(|n| put(&format!("p/{n}"), "")).collect(),
        );
        made(&mut map, vec![put("p", ""), put("q", ""), put("p0", "")]);
        let mut range = Range {
            prefix: "p/".to_owned(),
            after: None,
            limit: 4,
        };
        let mut pages = Vec::new();
        loop {
            let page = map.list(&range, Some(Revision(10))).unwrap();
            pages.push((page.entries.len(), page.remaining));
            if page.remaining == 0 {
                break;
            }
            range.after = page.entries.last().map(|e| e.key.clone());
        }
        assert_eq!(pages, [(4, 6), (4, 2), (2, 0)]);
    }

    #[test]
    fn history_is_bounded_and_says_so() {
        let limits = Limits {
            events: 3,
            bytes: 1000,
        };
        let mut map = Map::new(limits);
        for n in 0..5 {
            made(&mut map, vec![put("k", &n.to_string())]);
        }
        assert_eq!(map.floor(), Revision(2));
        assert_eq!(told(&map, "", Some(2)), "k=1@2");
        let error = map.list(&Range::default(), Some(Revision(1))).unwrap_err();
        assert_eq!(error.kind(), Kind::Expired);
        assert_eq!(
            error.to_string(),
            "revision 1 is too old: the history begins at 2; list again"
        );
        assert!(map.changes("", Revision(1), 9).is_err());
        assert_eq!(map.changes("", Revision(2), 9).unwrap().0.len(), 3);
        assert_eq!(map.changes("", Revision(2), 2).unwrap().1, Revision(4));
        made(&mut map, vec![put("k", &"x".repeat(2000))]);
        assert_eq!(map.floor(), Revision(5));
        map.compact(Revision(100));
        assert_eq!(map.floor(), Revision(6));
        assert_eq!(told(&map, "", None).len(), 2004);
        let future = map.get(&key("k"), Some(Revision(7))).unwrap_err();
        assert_eq!(future.kind(), Kind::Invalid);
    }

    #[test]
    fn a_transaction_has_limits() {
        assert!(Key::new("").is_err());
        assert!(Key::new("a\nb").is_err());
        assert!(Key::new("x".repeat(1025)).is_err());
        let check = |changes| {
            Transaction {
                guards: Vec::new(),
                changes,
            }
            .check()
            .map_err(|error| error.to_string())
        };
        assert_eq!(
            check(vec![put("a", ""), Change::Remove(key("a"))]).unwrap_err(),
            "a transaction changes a twice"
        );
        let large = "x".repeat((3 << 20) + 1);
        assert!(
            check(vec![put("a", &large)])
                .unwrap_err()
                .contains("3145729 bytes")
        );
        let many = (0..10_001).map(|n| put(&n.to_string(), "")).collect();
        assert!(
            check(many)
                .unwrap_err()
                .contains("10001 guards and changes")
        );
    }
}
