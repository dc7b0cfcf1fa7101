//! Service accounts: who a pod is to the API.

use k8s_openapi::api::core::v1 as api;

use crate::kind::ObjectKind;
use crate::kinds::cells::{AGE, NAME, number};

/// `serviceaccounts`.
pub static SERVICE_ACCOUNT: ObjectKind = ObjectKind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    place: "core/serviceaccounts",
    columns: &[
        NAME,
        number("Secrets", |object, _| {
            object.list(&["secrets"]).len().into()
        }),
        AGE,
    ],
    schema: |generator| generator.subschema_for::<api::ServiceAccount>(),
    ..ObjectKind::BASE
};
