//! Watching files for `develop.watch`: what counts, what changed, and doing something about it.
//!
//! `patterns` says which files a rule is about, `tree` remembers what was there and tells what differs,
//! `notify` hears of changes from the kernel and looks again, and `runner` carries out what
//! `orc_compose::watch` decides.

pub(crate) mod notify;
pub(crate) mod patterns;
pub(crate) mod runner;
pub(crate) mod send;
pub(crate) mod switch;
pub(crate) mod tree;
