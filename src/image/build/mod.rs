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

pub mod graph;
pub mod request;
pub mod runner;
