//! From a Dockerfile to an image.
//!
//! ```text
//! dockerfile/ ── text ─► instructions ─┐
//! contexts ── files ───────────────────┤
//! base images ── configs ──────────────┴─► plan (pure) ─► graph ─► executor ─► layers ─► image
//!                                                                     │
//!                                                                     └─ RUN ─► StepRunner (the engine)
//! ```
//!
//! `request` is what someone asks for, `graph` what is to be done, `runner` the seam behind which
//! programs run.

pub(crate) mod archive;
mod blobs;
pub(crate) mod builder;
mod chmod;
pub mod contexts;
mod copy;
mod entry;
mod executor;
#[cfg(test)]
mod fake;
pub(crate) mod fetch;
mod files;
mod fingerprint;
mod finish;
mod git;
pub mod graph;
mod key;
mod layering;
mod layout;
mod material;
mod mounts;
mod owner;
mod place;
pub mod plan;
mod remote_cache;
pub mod request;
pub mod runner;
mod select;
mod shared;
mod sources;
mod stack;
mod step_copy;
mod step_run;
pub(crate) mod stop;
mod target;
#[cfg(test)]
mod tests;
mod times;
mod view;
