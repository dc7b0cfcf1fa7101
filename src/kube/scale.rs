//! `scale`: how many replicas a kind wants and has, as one object for all kinds (`autoscaling/v1`).

use serde_json::json;

use crate::kind::{ObjectKind, ScalePaths};
use crate::object::Object;
use crate::selector::LabelSelector;
use crate::status::{Result, Status};

/// The scale of an object. 404 when its kind has none.
pub(crate) fn of(kind: &ObjectKind, object: &Object) -> Result<Object> {
    let paths = paths(kind, object.name())?;
    let selector = LabelSelector::from_json(object.at(paths.selector))?;
    let mut scale = Object::new("autoscaling/v1", "Scale", object.namespace(), object.name());
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.at(&["metadata", field]) {
            scale.set(&["metadata", field], value.clone());
        }
    }
    let wanted = object.number(paths.wanted).unwrap_or_default();
    scale.set(&["spec"], json!({ "replicas": wanted }));
    let seen = object.number(paths.seen).unwrap_or_default();
    let selector = selector
        .map(|selector| selector.to_string())
        .unwrap_or_default();
    scale.set(
        &["status"],
        json!({ "replicas": seen, "selector": selector }),
    );
    Ok(scale)
}

/// Puts the replicas that a scale wants into an object. 400 when it is no scale.
pub(crate) fn put(kind: &ObjectKind, object: &mut Object, scale: &Object) -> Result<()> {
    let paths = paths(kind, object.name())?;
    if scale.kind() != "Scale" && !scale.kind().is_empty() {
        return Err(Status::bad_request(format!(
            "expected kind Scale, but got {}",
            scale.kind()
        )));
    }
    let replicas = match scale.at(&["spec", "replicas"]) {
        None => Some(0),
        Some(value) => value.as_i64().filter(|n| i32::try_from(*n).is_ok()),
    };
    let Some(replicas) = replicas else {
        return Err(Status::bad_request("spec.replicas must be a whole number"));
    };
    object.set(paths.wanted, replicas);
    Ok(())
}

fn paths(kind: &ObjectKind, name: &str) -> Result<ScalePaths> {
    kind.scale
        .ok_or_else(|| Status::not_found(kind, &format!("{name}/scale")))
}
