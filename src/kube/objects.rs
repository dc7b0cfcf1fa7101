//! The seam of the cluster's objects: what can be done to them, and nothing of how.
//!
//! [`crate::LocalObjects`] does it on a store in this process; the server speaks HTTP in front of any
//! implementer, and controllers, scheduler and agents speak to objects through nothing else.
//! Semantics: <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::Stream;
use serde_json::Value;

use crate::kind::{ObjectKind, Subresource};
use crate::object::Object;
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{Result, Status};

/// One object, or what stands below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its kind.
    pub kind: &'static ObjectKind,
    /// Its namespace; empty for kinds without.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What below it is meant.
    pub subresource: Option<Subresource>,
}

impl Target {
    /// An object itself.
    pub fn new(kind: &'static ObjectKind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: None,
        }
    }

    /// What `object` is found by.
    pub fn of(kind: &'static ObjectKind, object: &Object) -> Self {
        Self::new(kind, object.namespace(), object.name())
    }

    /// What stands below it.
    #[must_use]
    pub fn below(mut self, subresource: Subresource) -> Self {
        self.subresource = Some(subresource);
        self
    }
}

/// All objects of a kind, or those of one namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// The kind.
    pub kind: &'static ObjectKind,
    /// The namespace; all when empty.
    pub namespace: String,
}

impl Scope {
    /// The objects of one namespace.
    pub fn inside(kind: &'static ObjectKind, namespace: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
        }
    }

    /// The objects of all namespaces.
    pub fn all(kind: &'static ObjectKind) -> Self {
        Self::inside(kind, "")
    }
}

/// What `resourceVersion` means in a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionMatch {
    /// What the rules of the call say.
    #[default]
    Unset,
    /// That version and no other.
    Exact,
    /// That version or a newer one.
    NotOlderThan,
}

/// Which objects, of which version.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListOptions {
    /// By labels.
    pub labels: LabelSelector,
    /// By fields.
    pub fields: FieldSelector,
    /// `resourceVersion`; empty when it was not given.
    pub version: String,
    /// `resourceVersionMatch`.
    pub version_match: VersionMatch,
    /// How many at most; all when zero.
    pub limit: usize,
    /// Where the page before ended.
    pub continue_token: String,
}

/// A list, or one page of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct List {
    /// The objects, by namespace and name.
    pub items: Vec<Object>,
    /// The version that was read; a watch goes on from here.
    pub version: String,
    /// With what to ask for the next page; empty behind the last.
    pub continue_token: String,
    /// How many objects follow, when that is known.
    pub remaining: Option<usize>,
}

/// Which changes, from where on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WatchOptions {
    /// By labels.
    pub labels: LabelSelector,
    /// By fields.
    pub fields: FieldSelector,
    /// `resourceVersion`: changes behind this version. All that exists comes first when it is empty or `0`.
    pub version: String,
    /// `resourceVersionMatch`; only with `initial`.
    pub version_match: VersionMatch,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// `sendInitialEvents`.
    pub initial: Option<bool>,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// It is there now, or is wanted now.
    Added(Object),
    /// It has changed.
    Modified(Object),
    /// It is gone, or no longer wanted; the last that was seen of it.
    Deleted(Object),
    /// All up to this object's version was told.
    Bookmark(Object),
}

impl WatchEvent {
    /// `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Added(_) => "ADDED",
            Self::Modified(_) => "MODIFIED",
            Self::Deleted(_) => "DELETED",
            Self::Bookmark(_) => "BOOKMARK",
        }
    }

    /// The object.
    pub fn object(&self) -> &Object {
        match self {
            Self::Added(object)
            | Self::Modified(object)
            | Self::Deleted(object)
            | Self::Bookmark(object) => object,
        }
    }
}

/// Changes in order and without gaps, until dropped or an error, which is the last item.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<WatchEvent>> + Send>>);

impl Watch {
    /// From any stream.
    pub fn new(stream: impl Stream<Item = Result<WatchEvent>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// What becomes of fields that the kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped with a warning.
    #[default]
    Warn,
    /// They are an error.
    Strict,
}

/// How to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// Everything but the write itself (`dryRun=All`).
    pub dry_run: bool,
    /// Whose fields these are (`fieldManager`); the server gives the client's name when it says none.
    pub manager: String,
    /// Takes fields from other managers (`force`, server-side apply only).
    pub force: bool,
    /// `fieldValidation`.
    pub validation: FieldValidation,
}

impl WriteOptions {
    /// As this manager.
    pub fn by(manager: &str) -> Self {
        Self {
            manager: manager.to_owned(),
            ..Self::default()
        }
    }
}

/// What a write came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The object as it is now.
    pub object: Object,
    /// Whether it was made (201) or changed (200).
    pub created: bool,
    /// What the writer should know (`Warning` headers).
    pub warnings: Vec<String>,
}

/// How an object is changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7396.
    Merge(Value),
    /// Kubernetes' own, which knows the keys of lists.
    Strategic(Value),
    /// Server-side apply: all that the manager wants.
    Apply(Value),
}

/// What becomes of the objects that belong to a deleted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    /// Seconds to end in; the kind's own when not given.
    pub grace_s: Option<i64>,
    /// What becomes of what belongs to it.
    pub propagation: Option<Propagation>,
    /// Only this very object.
    pub uid: Option<String>,
    /// Only this version.
    pub version: Option<String>,
    /// Everything but the write itself.
    pub dry_run: bool,
}

/// What a deletion came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Deleted {
    /// It is gone; this was the last of it.
    Gone(Object),
    /// It is to go, as soon as its node or its finalizers agree.
    Marked(Object),
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Makes an object.
    Create {
        /// Where.
        scope: Scope,
        /// What; its name may be empty when it has `generateName`.
        object: Object,
    },
    /// Replaces an object, or one of its subresources; `metadata.resourceVersion` is a precondition.
    Update {
        /// Which.
        target: Target,
        /// By what.
        object: Object,
    },
    /// Changes an object, or one of its subresources.
    Patch {
        /// Which.
        target: Target,
        /// How.
        patch: Patch,
    },
    /// Gives a pod its node. `Conflict` when it has one, or is another pod than `uid`.
    Bind {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
        /// The pod's identity; any when empty.
        uid: String,
        /// The node's name.
        node: String,
    },
    /// Deletes an object.
    Delete {
        /// Which.
        target: Target,
        /// How.
        options: DeleteOptions,
    },
}

/// A transaction that was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which of the writes cannot be made; nothing when the whole cannot.
    pub index: Option<usize>,
    /// Why.
    pub status: Status,
}

/// The cluster's objects.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Reads an object, or its `scale`. `version` is empty for what is latest, `0` for what is known
    /// here, else a version that must be reached.
    async fn get(&self, target: &Target, version: &str) -> Result<Object>;

    /// Reads many.
    async fn list(&self, scope: &Scope, options: &ListOptions) -> Result<List>;

    /// Follows changes. `Expired` when the version is no longer kept: list again.
    async fn watch(&self, scope: &Scope, options: &WatchOptions) -> Result<Watch>;

    /// Makes an object.
    async fn create(
        &self,
        scope: &Scope,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Written>;

    /// Replaces an object, or one of its subresources.
    async fn update(
        &self,
        target: &Target,
        object: Object,
        options: &WriteOptions,
    ) -> Result<Written>;

    /// Changes an object, or one of its subresources.
    async fn patch(
        &self,
        target: &Target,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written>;

    /// Deletes an object.
    async fn delete(&self, target: &Target, options: &DeleteOptions) -> Result<Deleted>;

    /// Deletes all objects of a list, each by itself; those it could delete are returned. Stops at the
    /// first that cannot be deleted for another reason than that it is gone.
    async fn delete_collection(
        &self,
        scope: &Scope,
        which: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<List>;

    /// Makes all writes together or none, each of another object. The results are in the order of the
    /// writes.
    async fn transact(
        &self,
        writes: Vec<Write>,
        options: &WriteOptions,
    ) -> std::result::Result<Vec<Written>, Refused>;
}
