//! Docker's JSON to plain host data and back. Pure: no I/O, no clock, no host.

pub(crate) mod build;
pub(crate) mod build_log;
pub(crate) mod container;
pub(crate) mod create;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod exec;
pub(crate) mod filter;
pub(crate) mod health;
pub(crate) mod image;
pub(crate) mod info;
pub(crate) mod kind;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod port;
pub(crate) mod progress;
pub(crate) mod registry;
pub(crate) mod resources;
pub(crate) mod summary;
pub(crate) mod time;
pub(crate) mod unsupported;
pub(crate) mod volume;
