//! What happened, told to whoever listens: a ring of the past and a channel for the future.
//!
//! Bounded on both sides. A listener that does not keep up gets an error and is gone; nobody waits
//! for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream;
use orc_base::{Clock, Error, Result};
use orc_host::event::{Event, EventFilter, Subject};
use orc_host::stream::Stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many events are remembered, as many as Docker does.
const REMEMBERED: usize = 256;
/// How many events a listener may be behind.
const BEHIND: usize = 4096;

/// All events of one engine.
pub(crate) struct Events {
    past: Mutex<VecDeque<Arc<Event>>>,
    future: broadcast::Sender<Arc<Event>>,
    clock: Arc<dyn Clock>,
}

impl Events {
    /// Nothing has happened yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            past: Mutex::new(VecDeque::with_capacity(REMEMBERED)),
            future: broadcast::channel(BEHIND).0,
            clock,
        }
    }

    /// Tells that `action` happened to a thing.
    pub(crate) fn say(
        &self,
        subject: Subject,
        action: impl Into<String>,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event {
            time: self.clock.now(),
            subject,
            action: action.into(),
            id: id.into(),
            attributes,
        });
        if past.len() == REMEMBERED {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Nobody listens: fine.
        let _ = self.future.send(event);
    }

    /// What matches `filter`: from `since` on what is remembered, then what happens, until `until`.
    pub(crate) fn listen(&self, filter: EventFilter) -> Stream<Event> {
        let (past, receiver) = {
            // The same lock as in `say`: no event is missed or doubled between the two.
            let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
            let remembered: VecDeque<Arc<Event>> = match filter.since {
                Some(_) => past
                    .iter()
                    .filter(|event| filter.matches(event))
                    .cloned()
                    .collect(),
                None => VecDeque::new(),
            };
            (remembered, self.future.subscribe())
        };
        let deadline = filter
            .until
            .map(|until| tokio::time::Instant::now() + until.since(self.clock.now()));
        let listener = Listener {
            past,
            receiver,
            filter,
            deadline,
            lost: false,
        };
        Box::pin(stream::unfold(listener, Listener::next))
    }
}

struct Listener {
    past: VecDeque<Arc<Event>>,
    receiver: broadcast::Receiver<Arc<Event>>,
    filter: EventFilter,
    deadline: Option<tokio::time::Instant>,
    lost: bool,
}

impl Listener {
    async fn next(mut self) -> Option<(Result<Event>, Self)> {
        if let Some(event) = self.past.pop_front() {
            return Some((Ok((*event).clone()), self));
        }
        if self.lost {
            return None;
        }
        loop {
            let received = match self.deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, self.receiver.recv())
                    .await
                    .ok()?,
                None => self.receiver.recv().await,
            };
            match received {
                Ok(event) if self.filter.matches(&event) => {
                    return Some((Ok((*event).clone()), self));
                }
                Ok(_) => {}
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(missed)) => {
                    self.lost = true;
                    let error = Error::exhausted(format!(
                        "{missed} events were missed: the listener reads too slowly"
                    ));
                    return Some((Err(error), self));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;
    use orc_base::clock::FakeClock;
    use orc_base::{Kind, Time};

    use super::*;

    fn events() -> (Events, Arc<FakeClock>) {
        let clock = Arc::new(FakeClock::at(Time::from_secs(100)));
        (Events::new(clock.clone()), clock)
    }

    fn say(events: &Events, action: &str) {
        events.say(Subject::Container, action, "id", BTreeMap::new());
    }

    #[tokio::test]
    async fn begins_now_or_with_what_is_remembered() {
        let (events, clock) = events();
        say(&events, "create");
        clock.advance(Duration::from_secs(1));
        say(&events, "start");
        let mut new = events.listen(EventFilter::default());
        let mut all = events.listen(EventFilter {
            since: Some(Time::from_secs(101)),
            ..EventFilter::default()
        });
        say(&events, "die");
        assert_eq!(new.next().await.unwrap().unwrap().action, "die");
        assert_eq!(all.next().await.unwrap().unwrap().action, "start");
        assert_eq!(all.next().await.unwrap().unwrap().action, "die");
    }

    #[tokio::test]
    async fn ends_at_until_and_remembers_a_bounded_past() {
        let (events, _) = events();
        for _ in 0..REMEMBERED + 9 {
            say(&events, "start");
        }
        let past = events.listen(EventFilter {
            since: Some(Time::EPOCH),
            until: Some(Time::from_secs(100)),
            ..EventFilter::default()
        });
        assert_eq!(past.count().await, REMEMBERED);
    }

    #[tokio::test]
    async fn drops_a_slow_listener_with_an_error() {
        let (events, _) = events();
        let mut slow = events.listen(EventFilter::default());
        for _ in 0..BEHIND * 2 {
            say(&events, "start");
        }
        let error = slow.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Exhausted);
        assert!(slow.next().await.is_none());
    }
}
