//! Events.

use std::collections::BTreeMap;

use crate::wire::json::is_zero;

wire! {
    Event {
        /// The first three repeat the rest for clients from before 1.22.
        #[serde(rename = "status", skip_serializing_if = "is_zero")]
        status: String,
        #[serde(rename = "id", skip_serializing_if = "is_zero")]
        id: String,
        #[serde(rename = "from", skip_serializing_if = "is_zero")]
        from: String,
        r#type: String,
        action: String,
        actor: Actor,
        #[serde(rename = "scope")]
        scope: String,
        #[serde(rename = "time")]
        time: i64,
        #[serde(rename = "timeNano")]
        time_nano: i64,
    }
}

wire! {
    Actor {
        #[serde(rename = "ID")]
        id: String,
        attributes: BTreeMap<String, String>,
    }
}
