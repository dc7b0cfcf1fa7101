//! The door to a machine, for real: lifecycle, health, restart, volumes, events, logs, recovery.
//!
//! [`Engine`] implements [`orc_host::Host`] on the three layers below: images, runtime and networks.
//! Decisions are pure (`lifecycle`, `restart`, `health`, `effective`, `validate`, `translate`, `wiring`,
//! `lines`); deeds carry them out, one file for each (`create`, `start`, `supervise`, `stop`, `remove`,
//! `joins`, `run_exec`, `recover`). What is remembered is in `records`, on disk through `store`.

mod actions;
mod agents;
mod archive;
mod attach;
mod backing;
mod builds;
mod cell;
mod check;
mod commit;
mod copy;
mod core;
mod create;
mod devices;
mod effective;
mod engine;
mod events;
mod execs;
mod files;
mod given;
mod health;
mod host;
mod images;
mod joins;
mod layers;
mod lifecycle;
mod limits;
mod lines;
mod logs;
mod mounts;
mod names;
mod networks;
mod pipes;
mod present;
mod probe;
mod pulls;
mod records;
mod recover;
mod registries;
mod registry;
mod remove;
mod restart;
mod run_exec;
mod running_builds;
mod start;
mod stats;
mod steps;
mod stop;
mod store;
mod stubs;
mod supervise;
mod system;
mod tails;
mod top;
mod translate;
mod usage;
mod validate;
mod volumes;
mod wiring;
mod words;

pub use crate::engine::{Engine, Options};
