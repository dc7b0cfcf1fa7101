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

mod attributes;
mod blobs;
mod chmod;
mod copy;
mod entry;
mod files;
mod fingerprint;
pub mod graph;
mod key;
mod owner;
mod place;
pub mod plan;
pub mod request;
pub mod runner;
mod select;
mod stack;
mod stop;
mod target;
mod view;
