//! Configs and secrets of a project, with what is in them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What is in the configs and secrets of a project, by their keys in the file. What is kept elsewhere
/// (`external`) is not among them.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Of configs.
    pub(crate) configs: BTreeMap<String, Vec<u8>>,
    /// Of secrets.
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
}

/// The fields of a ConfigMap that have the content.
pub(super) fn config(key: &str, content: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    match std::str::from_utf8(content) {
        Ok(text) => fields.insert("data".into(), json!({key: text})),
        Err(_) => fields.insert("binaryData".into(), json!({key: STANDARD.encode(content)})),
    };
    fields
}

/// The fields of a Secret that have the content.
pub(super) fn secret(key: &str, content: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("data".into(), json!({key: STANDARD.encode(content)}));
    fields.insert("type".into(), json!("Opaque"));
    fields
}
