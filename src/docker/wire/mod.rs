//! Docker's JSON as structs: only the members that are answered or read, spelled as Docker does.
//!
//! No decisions here: what a value means is said in `convert`. Everything may be absent or `null`
//! and then is its zero value, as in Go.

#[macro_use]
pub(crate) mod json;

pub(crate) mod archive;
pub(crate) mod build;
pub(crate) mod container;
pub(crate) mod disk;
pub(crate) mod event;
pub(crate) mod exec;
pub(crate) mod host_config;
pub(crate) mod image;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod registry;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod volume;
