//! From a directory to a process: mounts, namespaces, control groups, confinement, and the monitor
//! that stays with each container.
pub mod capability;
pub mod cgroup;
pub mod log;
pub mod signal;
pub mod spec;
mod sys;
mod user;
mod wire;
