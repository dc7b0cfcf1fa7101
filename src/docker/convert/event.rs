//! Events: Docker's JSON of them, and back.

use orc_base::{Error, Result, Time};
use orc_host::event::{Event, Subject};

use crate::wire::event as wire;

/// The kinds of things that have events.
pub(crate) const SUBJECTS: [Subject; 4] = [
    Subject::Container,
    Subject::Image,
    Subject::Network,
    Subject::Volume,
];

/// One line of `/events`.
pub(crate) fn to_wire(event: &Event) -> wire::Event {
    let legacy = matches!(event.subject, Subject::Container | Subject::Image);
    let when_legacy = |text: &str| {
        if legacy {
            text.to_owned()
        } else {
            String::new()
        }
    };
    wire::Event {
        status: when_legacy(&event.action),
        id: when_legacy(&event.id),
        from: event
            .attributes
            .get("image")
            .map_or(String::new(), |image| when_legacy(image)),
        r#type: event.subject.as_str().into(),
        action: event.action.clone(),
        actor: wire::Actor {
            id: event.id.clone(),
            attributes: event.attributes.clone(),
        },
        scope: "local".into(),
        time: event.time.secs(),
        time_nano: event.time.nanos(),
    }
}

/// The inverse of [`to_wire`].
pub(crate) fn from_wire(event: wire::Event) -> Result<Event> {
    Ok(Event {
        time: Time::from_nanos(event.time_nano),
        subject: subject(&event.r#type)?,
        action: event.action,
        id: event.actor.id,
        attributes: event.actor.attributes,
    })
}

/// Reads Docker's word for a kind of thing.
pub(crate) fn subject(word: &str) -> Result<Subject> {
    SUBJECTS
        .into_iter()
        .find(|subject| subject.as_str() == word)
        .ok_or_else(|| Error::invalid(format!("`{word}` has no events")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_back() {
        let event = Event {
            time: Time::from_nanos(1_234_567_890_123_456_789),
            subject: Subject::Container,
            action: "health_status: healthy".into(),
            id: "abc".into(),
            attributes: [("image".to_string(), "busybox".to_string())].into(),
        };
        let line = to_wire(&event);
        assert_eq!((line.from.as_str(), line.time), ("busybox", 1_234_567_890));
        assert_eq!(from_wire(line).unwrap(), event);
        assert!(subject("daemon").is_err());
    }
}
