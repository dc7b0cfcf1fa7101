//! The command line: one file a family of commands.
//!
//! `command` is the list of them and leads to each. First what was typed (flags and `parse`), then
//! what it means (plain values of the layers below), and only then the world: through `connect`,
//! which finds or starts the daemon. Commands decide nothing that is not about typing or printing.

pub(crate) mod build;
pub(crate) mod build_context;
pub(crate) mod build_flags;
pub(crate) mod build_output;
pub(crate) mod cidfile;
pub(crate) mod command;
pub(crate) mod commit;
pub(crate) mod compose;
pub(crate) mod connect;
pub(crate) mod cp;
pub(crate) mod daemon;
pub(crate) mod describe;
mod disk;
pub(crate) mod each;
pub(crate) mod exec;
pub(crate) mod failure;
pub(crate) mod flags;
pub(crate) mod groups;
pub(crate) mod help;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod lifecycle;
pub(crate) mod limit_flags;
pub(crate) mod log_flags;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod look;
pub(crate) mod networks;
pub(crate) mod parse;
pub(crate) mod place;
mod platform;
pub(crate) mod project;
pub(crate) mod prompt;
mod prune;
pub(crate) mod ps;
pub(crate) mod pull;
mod refused;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod spec;
pub(crate) mod stack;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stdio;
#[cfg(test)]
mod surface;
pub(crate) mod system;
pub(crate) mod target;
pub(crate) mod transfer;
mod trust;
mod update;
pub(crate) mod usage;
pub(crate) mod volumes;
