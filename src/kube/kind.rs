//! What there is to know about a kind of objects: one row of the table in `kinds/`.
//!
//! A row is data and pure functions. The storage, the patches, the tables and the discovery of the
//! server read rows and know no kind by name.

use k8s_openapi::schemars::{Schema, SchemaGenerator};
use orc_base::Time;
use serde_json::Value;

use crate::claim::{Claim, Want};
use crate::field::Causes;
use crate::names::NameRule;
use crate::object::Object;

/// What stands below an object in the API, as in `/pods/web/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subresource {
    /// What was seen: a writer of its own for `status`.
    Status,
    /// How many: the same object for every kind that has replicas.
    Scale,
    /// A pod's node; created once.
    Binding,
    /// A deletion that may be refused.
    Eviction,
    /// A namespace's own finalizers.
    Finalize,
    /// Containers for a look into a running pod.
    EphemeralContainers,
}

impl Subresource {
    /// As in a path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Finalize => "finalize",
            Self::EphemeralContainers => "ephemeralcontainers",
        }
    }

    /// From a path.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::Status,
            Self::Scale,
            Self::Binding,
            Self::Eviction,
            Self::Finalize,
            Self::EphemeralContainers,
        ]
        .into_iter()
        .find(|subresource| subresource.name() == name)
    }
}

/// A column of `kubectl get`.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// `string`, `integer`, `date` or `boolean`.
    pub format: Format,
    /// Zero is always shown; one by `-o wide`.
    pub priority: u8,
    /// The cell of an object at this time.
    pub cell: fn(&Object, Time) -> Value,
}

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The object's name.
    Name,
    /// A text.
    Text,
    /// A whole number.
    Number,
}

/// Where a kind keeps its replicas.
#[derive(Debug, Clone, Copy)]
pub struct ScalePaths {
    /// How many are wanted.
    pub wanted: &'static [&'static str],
    /// How many there are.
    pub seen: &'static [&'static str],
    /// Which pods they are.
    pub selector: &'static [&'static str],
}

/// A field by which lists can be narrowed, and its value in an object.
pub type Selectable = (&'static str, fn(&Object) -> String);

/// One kind.
pub struct ObjectKind {
    /// As in `apps`; empty for the core.
    pub group: &'static str,
    /// As in `v1`.
    pub version: &'static str,
    /// As in `Deployment`.
    pub kind: &'static str,
    /// As in `deployments`.
    pub plural: &'static str,
    /// As in `deployment`.
    pub singular: &'static str,
    /// As in `deploy`.
    pub short_names: &'static [&'static str],
    /// As in `all`.
    pub categories: &'static [&'static str],
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What stands below its objects.
    pub subresources: &'static [Subresource],
    /// What can be done to it, as discovery says it.
    pub verbs: &'static [&'static str],
    /// Which names its objects may have.
    pub names: NameRule,
    /// Whether `metadata.generation` counts changes of its spec.
    pub has_generation: bool,
    /// Whether an update of what does not exist makes it.
    pub create_on_update: bool,
    /// Whether an update must say which version it changes.
    pub needs_version: bool,
    /// Below what its objects are stored: `core/pods`. Two rows with the same place are two views of one
    /// object.
    pub place: &'static str,
    /// The fields beside name and namespace by which lists can be narrowed.
    pub fields: &'static [Selectable],
    /// What `kubectl get` shows.
    pub columns: &'static [Column],
    /// Where its replicas are, when it has `scale`.
    pub scale: Option<ScalePaths>,
    /// Its schema, as `k8s_openapi` gives it.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Puts in what the writer left out.
    pub default: fn(&mut Object),
    /// Takes away what a creator may not set.
    pub prepare_create: fn(&mut Object),
    /// Keeps of the old object what this update may not change.
    pub prepare_update: fn(&mut Object, &Object),
    /// What is wrong with an object.
    pub validate: fn(&Object, &mut Causes),
    /// What is wrong with a change: new, old.
    pub validate_update: fn(&Object, &Object, &mut Causes),
    /// What there is once in the cluster and this object holds.
    pub claims: fn(&Object) -> Vec<Claim>,
    /// What there is once in the cluster and this object still needs.
    pub wants: fn(&Object) -> Vec<Want>,
    /// Notes in the object itself that it is being deleted.
    pub mark: fn(&mut Object),
    /// Whether nothing but `metadata.finalizers` keeps a deleted object.
    pub may_go: fn(&Object) -> bool,
    /// From what is stored to what this row shows.
    pub shown: fn(Object) -> Object,
    /// From what this row is given to what is stored.
    pub stored: fn(Object) -> Object,
    /// Seconds that a deletion leaves the object to end; nothing for kinds that end at once.
    pub grace: Option<fn(&Object) -> i64>,
}

impl ObjectKind {
    /// Where rows begin: an ordinary namespaced kind with nothing of its own.
    pub const BASE: Self = Self {
        group: "",
        version: "v1",
        kind: "",
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        verbs: &[
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ],
        names: NameRule::Subdomain,
        has_generation: false,
        create_on_update: false,
        needs_version: false,
        place: "",
        fields: &[],
        columns: &[],
        scale: None,
        schema: |_| Schema::default(),
        default: |_| {},
        prepare_create: |_| {},
        prepare_update: |_, _| {},
        validate: |_, _| {},
        validate_update: |_, _, _| {},
        claims: |_| Vec::new(),
        wants: |_| Vec::new(),
        mark: |_| {},
        may_go: |_| true,
        shown: |object| object,
        stored: |object| object,
        grace: None,
    };

    /// As in `apps/v1` or `v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// As in `deployments.apps` or `pods`.
    pub fn group_resource(&self) -> String {
        dotted(self.plural, self.group)
    }

    /// As in `Deployment.apps` or `Pod`.
    pub fn group_kind(&self) -> String {
        dotted(self.kind, self.group)
    }

    /// Whether something stands below its objects.
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }

    /// Whether lists can be narrowed by a field.
    pub fn can_select(&self, field: &str) -> bool {
        field == "metadata.name"
            || field == "metadata.namespace" && self.namespaced
            || self.fields.iter().any(|(name, _)| *name == field)
    }

    /// The value of a field that lists can be narrowed by; empty for any other.
    pub fn selectable(&self, field: &str, object: &Object) -> String {
        match field {
            "metadata.name" => object.name().to_owned(),
            "metadata.namespace" => object.namespace().to_owned(),
            _ => self
                .fields
                .iter()
                .find(|(name, _)| *name == field)
                .map(|(_, value)| value(object))
                .unwrap_or_default(),
        }
    }
}

impl std::fmt::Debug for ObjectKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.group_resource())
    }
}

impl PartialEq for ObjectKind {
    fn eq(&self, other: &Self) -> bool {
        (self.group, self.version, self.plural) == (other.group, other.version, other.plural)
    }
}

fn dotted(name: &str, group: &str) -> String {
    match group {
        "" => name.to_owned(),
        _ => format!("{name}.{group}"),
    }
}
