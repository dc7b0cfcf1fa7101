//! Names of Kubernetes: RFC 1123 labels.

use std::collections::BTreeMap;

use orc_base::{Error, Result};

/// The longest label.
const MAX_LABEL: usize = 63;

/// The nearest name that Kubernetes takes: lower case letters, digits and hyphens, which stand at
/// neither end. Empty when nothing of the text is left.
pub(super) fn label(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        })
        .take(MAX_LABEL)
        .collect();
    plain.trim_matches('-').to_owned()
}

/// The names of things of one kind, each with its own: two that become one are refused.
pub(super) fn labels<'a>(
    kind: &str,
    names: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, String>> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for name in names {
        let label = label(name);
        if label.is_empty() {
            return Err(Error::invalid(format!(
                "{kind} {name}: nothing of the name can be a name in Kubernetes: use letters or digits"
            )));
        }
        if let Some(other) = taken.insert(label.clone(), name) {
            return Err(Error::conflict(format!(
                "{kind}s {other} and {name} would both be called {label} in Kubernetes: rename one"
            )));
        }
        all.insert(name.clone(), label);
    }
    Ok(all)
}
