//! From a Dockerfile to a graph of steps. Pure: no file is opened, nothing is asked.
//!
//! ```text
//! make::wanted ─► which images and contexts are needed ─► the executor finds their configs ─┐
//!        ▲                 triggers of a base image may need more: ask again                │
//!        └──────────────────────────────────────────────────────────────────────────────────┤
//! make::plan  ◄─────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! `arguments` knows the values of `ARG`, `stages` how stages hang together; `walk` is what a stage is
//! while `stage` goes through its instructions and `run` and `transfer` make steps of them; `findings`
//! collects what will surprise.

mod arguments;
mod findings;
pub mod make;
pub mod options;
mod review;
mod run;
mod show;
mod stage;
mod stages;
mod steps;
#[cfg(test)]
mod tests;
mod text;
mod transfer;
mod walk;
