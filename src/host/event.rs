//! What happens on a machine, in order.

use std::collections::BTreeMap;

use orc_base::Time;
use serde::{Deserialize, Serialize};

/// What kind of thing something happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

impl Subject {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Time,
    /// To what kind of thing.
    pub subject: Subject,
    /// Docker's word: `create`, `start`, `die`, `kill`, `stop`, `destroy`, `oom`, `rename`,
    /// `health_status: healthy`, `exec_start: sh`, `connect`, `pull`, …
    pub action: String,
    /// Its id; a volume's name.
    pub id: String,
    /// `name`, `image`, `exitCode`, and the labels of a container.
    pub attributes: BTreeMap<String, String>,
}

/// Which events are wanted; empty lists want all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Begin with what is remembered from then on.
    pub since: Option<Time>,
    /// End then.
    pub until: Option<Time>,
    /// Only these kinds of things.
    pub subjects: Vec<Subject>,
    /// Only these actions; `health_status` also matches `health_status: healthy`.
    pub actions: Vec<String>,
    /// Only these ids or names.
    pub names: Vec<String>,
    /// Only things with all of these labels; no value matches any.
    pub labels: Vec<(String, Option<String>)>,
}

impl EventFilter {
    /// Whether someone who asked with this filter wants `event`.
    pub fn matches(&self, event: &Event) -> bool {
        let action = event.action.split(':').next().unwrap_or_default();
        let named = |wanted: &String| {
            event.id.starts_with(wanted.as_str())
                || event
                    .attributes
                    .get("name")
                    .is_some_and(|name| name == wanted)
        };
        let labelled = |(key, value): &(String, Option<String>)| {
            event
                .attributes
                .get(key)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time <= until)
            && (self.subjects.is_empty() || self.subjects.contains(&event.subject))
            && (self.actions.is_empty()
                || self
                    .actions
                    .iter()
                    .any(|wanted| wanted == action || *wanted == event.action))
            && (self.names.is_empty() || self.names.iter().any(named))
            && self.labels.iter().all(labelled)
    }
}
