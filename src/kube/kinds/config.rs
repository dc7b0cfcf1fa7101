//! Config maps and secrets: data by name.
//!
//! No text of an error shows a value of a secret.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1 as api;
use serde_json::Value;

use crate::field::{Causes, Path};
use crate::kind::ObjectKind;
use crate::kinds::cells::{AGE, NAME, number, text};
use crate::kinds::checks::immutable;
use crate::names;
use crate::object::Object;

/// Bytes of all values, at most.
const MAX_BYTES: usize = 1 << 20;

/// `configmaps`.
pub static CONFIG_MAP: ObjectKind = ObjectKind {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    place: "core/configmaps",
    columns: &[NAME, number("Data", |object, _| count(object).into()), AGE],
    schema: |generator| generator.subschema_for::<api::ConfigMap>(),
    validate: |object, causes| validate(object, &["data", "binaryData"], causes),
    validate_update: |new, old, causes| unchanged(new, old, &["data", "binaryData"], causes),
    ..ObjectKind::BASE
};

/// `secrets`.
pub static SECRET: ObjectKind = ObjectKind {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    place: "core/secrets",
    fields: &[("type", |object| object.text(&["type"]).to_owned())],
    columns: &[
        NAME,
        text("Type", |object, _| object.text(&["type"]).into()),
        number("Data", |object, _| count(object).into()),
        AGE,
    ],
    schema: |generator| generator.subschema_for::<api::Secret>(),
    default: default_secret,
    validate: validate_secret,
    validate_update: |new, old, causes| {
        immutable(new, old, &["type"], causes);
        unchanged(new, old, &["data"], causes);
    },
    ..ObjectKind::BASE
};

fn count(object: &Object) -> usize {
    let values = |field| {
        object
            .at(&[field])
            .and_then(Value::as_object)
            .map_or(0, |map| map.len())
    };
    values("data") + values("binaryData")
}

/// `stringData` is written only; what is kept is `data`.
fn default_secret(object: &mut Object) {
    if object.text(&["type"]).is_empty() {
        object.set(&["type"], "Opaque");
    }
    let Some(Value::Object(texts)) = object.remove(&["stringData"]) else {
        return;
    };
    for (key, text) in texts {
        let encoded = BASE64_STANDARD.encode(text.as_str().unwrap_or_default());
        object.set(&["data", &key], encoded);
    }
}

fn validate(object: &Object, fields: &[&str], causes: &mut Causes) {
    let mut bytes = 0;
    for field in fields {
        let values = object.at(&[field]).and_then(Value::as_object);
        for (key, value) in values.into_iter().flatten() {
            bytes += value.as_str().map_or(0, str::len);
            let path = Path::new(field).key(key);
            for why in names::config_key(key) {
                causes.invalid(&path, key.as_str(), &why);
            }
            if *field == "binaryData" && object.at(&["data", key]).is_some() {
                causes.invalid(&path, key.as_str(), "duplicate of key present in data");
            }
        }
    }
    if bytes > MAX_BYTES {
        causes.too_long(&Path::new(fields[0]), MAX_BYTES);
    }
}

fn validate_secret(object: &Object, causes: &mut Causes) {
    validate(object, &["data"], causes);
    let wanted: &[&str] = match object.text(&["type"]) {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            if object.annotation(name).is_none_or(str::is_empty) {
                let path = Path::new("metadata").child("annotations").key(name);
                causes.required(&path, "");
            }
            &[]
        }
        _ => &[],
    };
    for key in wanted {
        if object.at(&["data", key]).is_none() {
            causes.required(&Path::new("data").key(key), "");
        }
    }
}

/// What is `immutable` stays, and stays so; the values are not shown.
fn unchanged(new: &Object, old: &Object, fields: &[&str], causes: &mut Causes) {
    if !old.flag(&["immutable"]) {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if !new.flag(&["immutable"]) {
        causes.forbidden(&Path::new("immutable"), why);
    }
    for field in fields {
        if new.at(&[field]) != old.at(&[field]) {
            causes.forbidden(&Path::new(field), why);
        }
    }
}
