//! What the program of a provider says about itself: `<program> compose metadata`.

use serde::Deserialize;

/// What a provider is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Make it, or say again what was made.
    Up,
    /// Take it away.
    Down,
    /// Let it rest.
    Stop,
}

impl Verb {
    /// The word for the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Stop => "stop",
        }
    }
}

/// What a program takes, verb by verb.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// For people.
    pub description: String,
    /// Of `up`.
    pub up: Takes,
    /// Of `down`.
    pub down: Takes,
    /// Of `stop`; absent when the program does not know it.
    pub stop: Option<Takes>,
}

/// What a verb takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Takes {
    /// Its options.
    pub parameters: Option<Vec<Parameter>>,
}

/// An option.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// Without `--`.
    pub name: String,
    /// Whether it has to be there.
    pub required: bool,
}

impl Metadata {
    /// What a program printed; `None` when it is no answer to the question, as of programs that do not
    /// know it.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The options of a verb: `None` when the program does not know the verb, and nothing in it when
    /// it does not say its options and so takes any.
    pub(crate) fn parameters(&self, verb: Verb) -> Option<Option<&[Parameter]>> {
        let takes = match verb {
            Verb::Up => &self.up,
            Verb::Down => &self.down,
            Verb::Stop => self.stop.as_ref()?,
        };
        let says_nothing = self.description.is_empty()
            && self.up.parameters.is_none()
            && self.down.parameters.is_none();
        Some(match says_nothing {
            true => None,
            false => Some(takes.parameters.as_deref().unwrap_or_default()),
        })
    }
}
