//! What kinds with a pod template share: deployments, replica sets, daemon sets, jobs.

use serde_json::{Value, json};

use crate::field::{Causes, Path};
use crate::json::text;
use crate::kinds::checks::not_negative;
use crate::kinds::pod_defaults;
use crate::kinds::pod_spec;
use crate::meta;
use crate::object::Object;

/// Fills in what the writer left out of the template.
pub(crate) fn default(object: &mut Object) {
    let template = object
        .as_map_mut()
        .get_mut("spec")
        .and_then(|spec| spec.get_mut("template"));
    let Some(template) = template else {
        return;
    };
    if let Some(spec) = template.get_mut("spec") {
        pod_defaults::default(spec);
    }
}

/// Says what is wrong with the template. `policies` are the restart policies it may have.
pub(crate) fn validate(object: &Object, policies: &[&str], causes: &mut Causes) {
    let path = Path::new("spec").child("template");
    meta::labels(
        object.at(&["spec", "template", "metadata", "labels"]),
        &path.child("metadata").child("labels"),
        causes,
    );
    let empty = json!({});
    let spec = object.at(&["spec", "template", "spec"]).unwrap_or(&empty);
    let path = path.child("spec");
    pod_spec::validate(spec, &path, causes);
    let policy = text(spec, "restartPolicy");
    let known = ["Always", "OnFailure", "Never"].contains(&policy);
    if known && !policies.contains(&policy) {
        causes.unsupported(&path.child("restartPolicy"), policy, policies);
    }
    if !object
        .list(&["spec", "template", "spec", "ephemeralContainers"])
        .is_empty()
    {
        causes.forbidden(
            &path.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
    if policies == ["Always"]
        && spec
            .get("activeDeadlineSeconds")
            .is_some_and(|value| !value.is_null())
    {
        causes.forbidden(
            &path.child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in a pod template is not supported",
        );
    }
}

/// None of these numbers of the spec is below zero.
pub(crate) fn counts(object: &Object, fields: &[&str], causes: &mut Causes) {
    for field in fields {
        let value = object.at(&["spec", field]).unwrap_or(&Value::Null);
        not_negative(value, &Path::new("spec").child(field), causes);
    }
}
