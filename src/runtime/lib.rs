//! From a directory to a process: mounts, namespaces, control groups, confinement, and the monitor
//! that stays with each container.
//!
//! ```text
//! daemon ── Runtime ──order──▶ launcher ──fork──▶ monitor ──clone3──▶ the container's program
//!   ▲                        (small, one thread)   (shim)
//!   └──────────── Monitor: control socket, pidfd, stdin ──┘
//! ```
//!
//! The daemon is beside the containers, not above them: monitors outlive it, and the next daemon finds
//! them by their state directories. Specs are complete; nothing here knows images, networks or
//! restart policies.

pub mod capability;
pub mod cgroup;
pub mod log;
pub mod signal;
pub mod spec;
pub mod user;
pub mod view;

mod birth;
mod check;
mod child;
mod confine;
mod control;
mod disposition;
mod exec;
mod handshake;
mod init;
mod launcher;
mod monitor;
mod namespaces;
mod program;
mod rootfs;
mod runtime;
pub mod seccomp;
mod shim;
mod state;
mod stdio;
mod sys;
mod sysctl;
mod task;
mod terminal;
mod wire;

pub use crate::exec::Exec;
pub use crate::launcher::process::run_launcher;
pub use crate::monitor::Monitor;
pub use crate::runtime::{Adopted, Config, Runtime};
