//! The last changes, for watches that go on and reads of the past.
//!
//! Bounded by count and by bytes. What is forgotten follows from the changes alone, never from time or
//! readers, so every member keeps the same.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{Event, Revision};

/// How much history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Changes, at most.
    pub events: usize,
    /// Bytes of their keys and values, at most; the last change is kept however large it is.
    pub bytes: usize,
}

impl Default for Limits {
    /// Enough for some minutes of a busy cluster of hundreds of nodes.
    fn default() -> Self {
        Self {
            events: 50_000,
            bytes: 64 << 20,
        }
    }
}

/// Changes without gaps, the oldest first.
#[derive(Debug, Clone)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The last revision that was forgotten.
    floor: Revision,
    limits: Limits,
}

impl History {
    pub(crate) fn new(floor: Revision, limits: Limits) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            floor,
            limits,
        }
    }

    /// The same changes again, the oldest first, behind this floor.
    pub(crate) fn restore(
        floor: Revision,
        limits: Limits,
        events: impl IntoIterator<Item = Event>,
    ) -> Self {
        let mut history = Self::new(floor, limits);
        events.into_iter().for_each(|event| history.push(event));
        history
    }

    /// The oldest revision whose state can still be told, and behind which a watch can go on.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.bytes += bytes_of(&event);
        self.events.push_back(Arc::new(event));
        while self.events.len() > self.limits.events.max(1)
            || (self.bytes > self.limits.bytes && self.events.len() > 1)
        {
            self.forget_one();
        }
    }

    pub(crate) fn forget(&mut self, upto: Revision) {
        while self.events.front().is_some_and(|e| e.revision() <= upto) {
            self.forget_one();
        }
        self.floor = self.floor.max(upto);
    }

    fn forget_one(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= bytes_of(&event);
            self.floor = event.revision();
        }
    }

    /// The changes after a revision that is not below the floor.
    pub(crate) fn after(&self, revision: Revision) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let start = self.events.partition_point(|e| e.revision() <= revision);
        self.events.range(start..)
    }
}

fn bytes_of(event: &Event) -> usize {
    let new = match event {
        Event::Put { entry, .. } => entry.value.len(),
        Event::Removed { .. } => 0,
    };
    event.key().as_str().len() + new + event.previous().map_or(0, |entry| entry.value.len())
}
