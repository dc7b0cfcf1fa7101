//! What people see: tables, templates, colours, progress, errors.
//!
//! Data goes to standard output, everything else to standard error. Nothing here asks a machine for
//! anything, and nothing here decides what is shown: that is the commands' business.

pub(crate) mod build;
pub(crate) mod build_frame;
pub(crate) mod build_plain;
pub(crate) mod build_story;
pub(crate) mod color;
pub(crate) mod error;
pub(crate) mod escape;
pub(crate) mod footer;
pub(crate) mod format;
pub(crate) mod frame;
pub(crate) mod out;
pub(crate) mod prefix;
pub(crate) mod progress;
pub(crate) mod render;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod terminal;
