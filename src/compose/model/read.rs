//! How the canonical form writes sizes and durations.

use std::time::Duration;

use orc_base::{Result, units};
use serde::{Deserialize, Deserializer};

pub(super) fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    Option::<String>::deserialize(input)?
        .map(|text| units::parse_duration(&text).map_err(serde::de::Error::custom))
        .transpose()
}

/// Sizes stand as decimal text in the canonical form, as docker compose prints them.
pub(super) fn bytes<'de, D: Deserializer<'de>>(input: D) -> Result<Option<i64>, D::Error> {
    Option::<String>::deserialize(input)?
        .map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}
