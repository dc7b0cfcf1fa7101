//! Checks that many kinds share.

use serde_json::Value;

use crate::field::{Causes, Path};
use crate::meta;
use crate::names;
use crate::object::Object;
use crate::selector::LabelSelector;

/// The field may not be below zero.
pub(crate) fn not_negative(value: &Value, path: &Path, causes: &mut Causes) {
    if let Some(number) = value.as_i64().filter(|number| *number < 0) {
        causes.invalid(path, number, "must be greater than or equal to 0");
    }
}

/// The field, if it is set, must be one of these.
pub(crate) fn one_of(value: &Value, supported: &[&str], path: &Path, causes: &mut Causes) {
    if let Some(text) = value.as_str().filter(|text| !supported.contains(text)) {
        causes.unsupported(path, text, supported);
    }
}

/// A port number.
pub(crate) fn port(number: i64, path: &Path, causes: &mut Causes) {
    if !(1..=65_535).contains(&number) {
        causes.invalid(path, number, "must be between 1 and 65535, inclusive");
    }
}

/// What an update may not change.
pub(crate) fn immutable(new: &Object, old: &Object, path: &[&str], causes: &mut Causes) {
    let (value, was) = (new.at(path), old.at(path));
    if value.filter(|value| !value.is_null()) != was.filter(|value| !value.is_null()) {
        let field = Path::new(&path.join("."));
        causes.invalid(
            &field,
            value.cloned().unwrap_or_default(),
            "field is immutable",
        );
    }
}

/// A label selector that selects something, and the labels that it must select.
pub(crate) fn selector(object: &Object, causes: &mut Causes) {
    let path = Path::new("spec").child("selector");
    let given = object.at(&["spec", "selector"]);
    let parsed = match LabelSelector::from_json(given) {
        Ok(parsed) => parsed,
        Err(error) => {
            let shown = given.cloned().unwrap_or_default();
            return causes.invalid(&path, shown, &error.to_string());
        }
    };
    let Some(selector) = parsed else {
        return causes.required(&path, "");
    };
    meta::labels(
        object.at(&["spec", "selector", "matchLabels"]),
        &path.child("matchLabels"),
        causes,
    );
    if selector.is_empty() {
        let why = "empty selector is invalid for deployment";
        return causes.invalid(&path, given.cloned().unwrap_or_default(), why);
    }
    let labels = object.texts(&["spec", "template", "metadata", "labels"]);
    if !selector.matches(&labels) {
        let at = Path::new("spec")
            .child("template")
            .child("metadata")
            .child("labels");
        let shown = object.at(&["spec", "template", "metadata", "labels"]);
        let why = "`selector` does not match template `labels`";
        causes.invalid(&at, shown.cloned().unwrap_or(Value::Null), why);
    }
}

/// A number or a percentage of at most a hundred.
pub(crate) fn share(value: Option<&Value>, path: &Path, causes: &mut Causes) {
    match value {
        Some(Value::Number(number)) if number.as_i64().is_some_and(|number| number < 0) => {
            causes.invalid(path, number.clone(), "must be greater than or equal to 0");
        }
        Some(Value::String(text)) => {
            let percent = text
                .strip_suffix('%')
                .and_then(|number| number.parse::<u32>().ok());
            match percent {
                None => causes.invalid(
                    path,
                    text.as_str(),
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                ),
                Some(percent) if percent > 100 => {
                    causes.invalid(path, text.as_str(), "must not be greater than 100%");
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

/// An address of IPv4 or IPv6.
pub(crate) fn address(text: &str, path: &Path, causes: &mut Causes) {
    if text.parse::<std::net::IpAddr>().is_err() {
        causes.invalid(
            path,
            text,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        );
    }
}

/// A number or name of a port.
pub(crate) fn port_reference(value: &Value, path: &Path, causes: &mut Causes) {
    match value {
        Value::Number(number) => port(number.as_i64().unwrap_or_default(), path, causes),
        Value::String(name) => {
            for why in names::port_name(name) {
                causes.invalid(path, name.as_str(), &why);
            }
        }
        _ => causes.required(path, ""),
    }
}
