//! Where objects stand in the store, and how: `/registry/<group>/<plural>/<namespace>/<name>`.
//!
//! What is stored is the object's JSON without its version, which is the store's own.

use bytes::Bytes;
use orc_base::{Context, Result};
use orc_store::{Entry, Key, Revision};

use crate::claim::Pool;
use crate::kind::ObjectKind;
use crate::names;
use crate::object::Object;
use crate::status::{self, Status};

/// What all keys of a kind's objects begin with; those of one namespace unless it is empty.
pub(crate) fn prefix(kind: &ObjectKind, namespace: &str) -> String {
    match namespace {
        "" => format!("/registry/{}/", kind.place),
        _ => format!("/registry/{}/{namespace}/", kind.place),
    }
}

/// The key of an object. 400 when a name would lead elsewhere.
pub(crate) fn key(kind: &ObjectKind, namespace: &str, name: &str) -> status::Result<Key> {
    for part in [namespace, name] {
        if let Some(why) = names::path_segment(part).first() {
            return Err(Status::bad_request(format!("invalid name {part:?}: {why}")));
        }
    }
    if name.is_empty() {
        return Err(Status::bad_request("name is required"));
    }
    if kind.namespaced && namespace.is_empty() {
        let why = "an empty namespace may not be set when a resource name is provided";
        return Err(Status::bad_request(why));
    }
    let namespace = if kind.namespaced { namespace } else { "" };
    Ok(Key::new(format!("{}{name}", prefix(kind, namespace)))?)
}

/// What all keys of a pool begin with.
pub(crate) fn pool(pool: Pool) -> String {
    format!("/registry/claims/{}/", pool.name())
}

/// The key of something that is there once.
pub(crate) fn claim(of: Pool, value: &str) -> Result<Key> {
    Key::new(format!("{}{value}", pool(of)))
}

/// The object of an entry, as this kind shows it.
pub(crate) fn decode(kind: &ObjectKind, entry: &Entry) -> Result<Object> {
    let object = Object::parse(&entry.value).context(|| format!("read {}", entry.key))?;
    Ok(versioned((kind.shown)(object), entry.modified))
}

/// An object with its version.
pub(crate) fn versioned(mut object: Object, revision: Revision) -> Object {
    object.set(&["metadata", "resourceVersion"], revision.to_string());
    object
}

/// What is stored of an object.
pub(crate) fn encode(kind: &ObjectKind, object: &Object) -> Bytes {
    let mut object = (kind.stored)(object.clone());
    object.remove(&["metadata", "resourceVersion"]);
    object.to_bytes().into()
}
