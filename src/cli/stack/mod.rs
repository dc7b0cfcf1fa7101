//! From a Compose project to objects of Kubernetes: pure.
//!
//! It stands above `compose`, which knows no Kubernetes, and beside what will speak to the cluster's
//! API, which knows no Compose. `orc compose bridge convert` writes what comes out into files; a
//! deployment to a cluster hands the same objects to its API. What has no meaning there is a warning
//! with the key's name, never silence.

mod arguments;
pub(crate) mod bundle;
mod container;
mod limits;
mod mounts;
mod names;
mod notes;
mod policies;
mod ports;
mod probes;
pub(crate) mod sources;
#[cfg(test)]
mod tests;
mod unmeant;
mod workload;
