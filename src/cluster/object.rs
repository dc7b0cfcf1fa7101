//! What every kind of object has, read without the ceremony of optional fields.

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self as meta, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use orc_base::Time;

use crate::labels::Labels;

static NONE: Labels = Labels::new();

/// The common part of objects, with empty values for what is absent.
pub(crate) trait Facts {
    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;

    /// `metadata.name`.
    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }
    /// `metadata.namespace`; empty for kinds of the whole cluster.
    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }
    /// `metadata.uid`.
    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }
    /// `metadata.labels`.
    fn labels(&self) -> &Labels {
        self.meta().labels.as_ref().unwrap_or(&NONE)
    }
    /// `metadata.annotations`.
    fn annotations(&self) -> &Labels {
        self.meta().annotations.as_ref().unwrap_or(&NONE)
    }
    /// `metadata.generation`: which version of the spec this is.
    fn generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }
    /// Whether someone deleted it and something still waits.
    fn is_leaving(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }
    /// When it was created; 1970 when it does not say.
    fn created(&self) -> Time {
        let created = self.meta().creation_timestamp.as_ref();
        created.map_or(Time::EPOCH, from_kube)
    }
    /// The owner that governs it, if any.
    fn controller(&self) -> Option<&OwnerReference> {
        let mut owners = self.meta().owner_references.iter().flatten();
        owners.find(|owner| owner.controller == Some(true))
    }
    /// Whether the object with this uid governs it.
    fn is_governed_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|owner| owner.uid == uid)
    }
    /// Whether this finalizer still waits.
    fn has_finalizer(&self, name: &str) -> bool {
        self.meta().finalizers.iter().flatten().any(|f| f == name)
    }
}

impl<T: Metadata<Ty = ObjectMeta>> Facts for T {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
}

/// Kubernetes' time as ours.
pub(crate) fn from_kube(time: &meta::Time) -> Time {
    Time::from_nanos(i64::try_from(time.0.as_nanosecond()).unwrap_or(i64::MAX))
}

/// Our time as Kubernetes', which has whole seconds.
pub(crate) fn to_kube(time: Time) -> meta::Time {
    meta::Time(Timestamp::from_second(time.secs()).unwrap_or_default())
}
