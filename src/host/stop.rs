//! How a container is asked to end.

use std::time::Duration;

/// What [`crate::Host::stop_container`] sends and how long it waits; `None` is the container's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopOptions {
    /// What asks it to end: `TERM`, `SIGTERM` or `15`.
    pub signal: Option<String>,
    /// After which it is killed; ten seconds when the container does not say.
    pub timeout: Option<Duration>,
}

impl StopOptions {
    /// With the container's own signal.
    pub fn within(timeout: Option<Duration>) -> Self {
        Self {
            signal: None,
            timeout,
        }
    }
}
