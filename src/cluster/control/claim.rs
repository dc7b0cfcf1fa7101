//! Which objects are an owner's own: those it governs and its selector picks.
//!
//! What matches and belongs to nobody is adopted, what it governs and no longer matches is let go, as
//! Kubernetes' controllers do. An owner on its way out adopts nothing.

use std::sync::Arc;

use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

use crate::labels;
use crate::object::Facts;
use crate::operation::{Decision, Deed};
use crate::reference::Ref;

/// The entry of `ownerReferences` of what `owner` governs.
pub(crate) fn reference(me: &Ref, owner: &impl Facts) -> Value {
    json!({
        "apiVersion": me.kind.api_version(),
        "kind": me.kind.name,
        "name": me.name,
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The owner's own among `candidates`; what has to be adopted or let go is put into the decision.
pub(crate) fn claim<'w, T: Facts + Resource>(
    me: &Ref,
    owner: &impl Facts,
    selector: &LabelSelector,
    candidates: impl Iterator<Item = &'w Arc<T>>,
    decision: &mut Decision,
) -> Vec<&'w Arc<T>> {
    let mut own = Vec::new();
    for object in candidates {
        let governed = object.is_governed_by(owner.uid());
        let picked = !labels::is_empty(selector) && labels::matches(selector, object.labels());
        match (governed, picked) {
            (true, true) => own.push(object),
            (true, false) if !owner.is_leaving() && !object.is_leaving() => {
                decision.push(
                    release(&**object, owner),
                    format!("no longer picked by {me}"),
                );
            }
            (false, true)
                if object.controller().is_none() && !owner.is_leaving() && !object.is_leaving() =>
            {
                decision.push(adopt(&**object, me, owner), format!("picked by {me}"));
                own.push(object);
            }
            _ => {}
        }
    }
    own
}

fn adopt<T: Facts + Resource>(object: &T, me: &Ref, owner: &impl Facts) -> Deed {
    let mut owners = owners(object);
    owners.retain(|other| other["uid"] != owner.uid());
    owners.push(reference(me, owner));
    set_owners(object, &owners)
}

fn release<T: Facts + Resource>(object: &T, owner: &impl Facts) -> Deed {
    let mut owners = owners(object);
    owners.retain(|other| other["uid"] != owner.uid());
    set_owners(object, &owners)
}

fn set_owners<T: Facts + Resource>(object: &T, owners: &[Value]) -> Deed {
    let target = Ref::to::<T>(object.namespace(), object.name());
    Deed::patch(
        target,
        object,
        json!({ "metadata": { "ownerReferences": owners } }),
    )
}

fn owners(object: &impl Facts) -> Vec<Value> {
    let owners = object.meta().owner_references.iter().flatten();
    owners.map(|owner| json!(owner)).collect()
}
