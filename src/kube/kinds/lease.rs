//! Leases: who leads, who is alive.

use k8s_openapi::api::coordination::v1 as api;

use crate::field::{Causes, Path};
use crate::kind::ObjectKind;
use crate::kinds::cells::{AGE, NAME, text};
use crate::object::Object;

/// `leases.coordination.k8s.io`.
pub static LEASE: ObjectKind = ObjectKind {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    create_on_update: true,
    needs_version: true,
    place: "coordination.k8s.io/leases",
    columns: &[
        NAME,
        text("Holder", |object, _| {
            object.text(&["spec", "holderIdentity"]).into()
        }),
        AGE,
    ],
    schema: |generator| generator.subschema_for::<api::Lease>(),
    validate,
    ..ObjectKind::BASE
};

fn validate(object: &Object, causes: &mut Causes) {
    let spec = Path::new("spec");
    for field in ["leaseDurationSeconds", "leaseTransitions"] {
        let least = i64::from(field == "leaseDurationSeconds");
        if let Some(number) = object
            .number(&["spec", field])
            .filter(|number| *number < least)
        {
            let why = match least {
                1 => "must be greater than 0",
                _ => "must be greater than or equal to 0",
            };
            causes.invalid(&spec.child(field), number, why);
        }
    }
    if object
        .at(&["spec", "holderIdentity"])
        .is_some_and(|holder| holder == "")
    {
        causes.invalid(&spec.child("holderIdentity"), "", "must not be empty");
    }
}
