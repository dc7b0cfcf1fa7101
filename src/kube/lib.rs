//! Kubernetes' objects and what can be done to them: the library below the API server.
//!
//! [`Objects`] is the seam and [`LocalObjects`] does it on a [`orc_store::Store`]: reads at a version,
//! watches, writes under admission, patches, server-side apply. Every kind is a row of [`kinds::KINDS`].
//! Knows nothing of HTTP, of who asks, of machines, or of what controllers make of the objects.

pub mod auth;
mod claim;
#[cfg(any(test, feature = "fake"))]
pub mod contract;
pub mod field;
mod json;
pub mod kind;
pub mod kinds;
pub mod link;
mod local;
pub mod membership;
mod meta;
pub mod names;
mod object;
mod objects;
pub mod openapi;
mod patch;
pub mod pki;
pub mod protobuf;
mod quantity;
pub mod remote;
mod scale;
pub mod schema;
mod selector;
pub mod server;
mod status;
pub mod system;
mod table;

pub use claim::{Claim, Pool, Want};
pub use kind::{Column, Format, ObjectKind, Subresource};
pub use local::{LocalObjects, Settings};
pub use object::{MAX_BYTES, MAX_DEPTH, Object, Owner, depth, microseconds, seconds};
pub use objects::{
    DeleteOptions, Deleted, FieldValidation, List, ListOptions, Objects, Patch, Propagation,
    Refused, Scope, Target, VersionMatch, Watch, WatchEvent, WatchOptions, Write, WriteOptions,
    Written,
};
pub use quantity::Quantity;
pub use selector::{Condition, FieldSelector, LabelSelector};
pub use status::{Reason, Result, Status, success};
pub use table::{Include, table};
