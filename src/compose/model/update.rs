//! How the replicas of a service take the places of others: `deploy.update_config` and
//! `deploy.rollback_config`.

use std::time::Duration;

use serde::Deserialize;

use crate::model::read::duration;

/// One of the two sections. What is absent has the specification's default.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct UpdateConfig {
    /// How many replicas at once; 0 for all, 1 when absent.
    pub parallelism: Option<u64>,
    /// Between one lot and the next.
    #[serde(deserialize_with = "duration")]
    pub delay: Option<Duration>,
    /// `pause` (the default), `continue` or `rollback`.
    pub failure_action: Option<String>,
    /// How long a replica has to stand before the next; 5 s when absent or 0 and nothing checks its
    /// health.
    #[serde(deserialize_with = "duration")]
    pub monitor: Option<Duration>,
    /// Which part of the replicas may fail.
    pub max_failure_ratio: Option<f64>,
    /// `stop-first` (the default) or `start-first`.
    pub order: Option<String>,
}
