//! What the end-to-end tests stand on: a machine of their own for each test.
//!
//! [`lab::Lab`] is one host: a network namespace, roots and a cgroup parent of its own, with the real
//! `orc` binary in it. [`leaks`] sees whether anything is left, [`registry`] runs the real
//! `docker-registry`. Everything cleans up after itself when a test fails.

pub(crate) mod lab;
pub(crate) mod leaks;
pub(crate) mod registry;
pub(crate) mod server;
