//! Who has to look again, and when: each subject of a rule at most once.
//!
//! As large as the number of subjects, which the objects bound.

use std::collections::{BTreeMap, BTreeSet};

use orc_base::Time;

use crate::reference::Ref;

/// A rule by its place, and its subject.
pub(crate) type Key = (usize, Ref);

/// A queue by time, then by rule and subject.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    due: BTreeMap<Key, Time>,
    order: BTreeSet<(Time, Key)>,
    failures: BTreeMap<Key, u32>,
    /// Those that failed last, and until when they wait whatever changes.
    held: BTreeMap<Key, Time>,
}

impl Queue {
    /// Queues a subject for a time, or earlier if it is queued for that. Who failed waits its time out.
    pub(crate) fn push(&mut self, key: Key, at: Time) {
        let at = self.held.get(&key).map_or(at, |held| at.max(*held));
        if let Some(before) = self.due.get(&key).copied() {
            if before <= at {
                return;
            }
            self.order.remove(&(before, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    /// The first that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Key> {
        let (at, key) = self.order.first().filter(|(at, _)| *at <= now)?.clone();
        self.order.remove(&(at, key.clone()));
        self.due.remove(&key);
        self.held.remove(&key);
        Some(key)
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// It went well: its next failure is its first.
    pub(crate) fn succeeded(&mut self, key: &Key) {
        self.failures.remove(key);
    }

    /// It failed: how often now, one after the other.
    pub(crate) fn failed(&mut self, key: &Key) -> u32 {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures += 1;
        *failures
    }

    /// Queues a subject that failed: not before this time, whatever changes.
    pub(crate) fn hold(&mut self, key: Key, until: Time) {
        self.held.insert(key.clone(), until);
        if let Some(before) = self.due.remove(&key) {
            self.order.remove(&(before, key.clone()));
        }
        self.push(key, until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rule: usize, name: &str) -> Key {
        (rule, Ref::to::<k8s_openapi::api::core::v1::Pod>("a", name))
    }

    #[test]
    fn holds_each_once_and_the_earliest_first() {
        let mut queue = Queue::default();
        let at = Time::from_secs;
        queue.push(key(1, "x"), at(5));
        queue.push(key(1, "x"), at(9));
        queue.push(key(0, "y"), at(7));
        assert_eq!(queue.pop(at(4)), None);
        assert_eq!(queue.pop(at(9)), Some(key(1, "x")));
        assert_eq!(queue.next(), Some(at(7)));
        queue.push(key(0, "y"), at(3));
        assert_eq!(queue.next(), Some(at(3)));
        assert_eq!(
            (queue.failed(&key(0, "y")), queue.failed(&key(0, "y"))),
            (1, 2)
        );
        queue.hold(key(0, "y"), at(20));
        queue.push(key(0, "y"), at(4));
        assert_eq!(queue.next(), Some(at(20)));
        assert_eq!(queue.pop(at(20)), Some(key(0, "y")));
        queue.push(key(0, "y"), at(4));
        assert_eq!(queue.next(), Some(at(4)));
        queue.succeeded(&key(0, "y"));
        assert_eq!(queue.failed(&key(0, "y")), 1);
    }
}
