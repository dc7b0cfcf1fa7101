//! From Compose files to a running project.
//!
//! [`load::load`] turns files into a [`model::Project`], [`observe::observe`] looks at a machine
//! once, [`plan::plan`] decides what has to happen, and [`converge::converge`] does it through the
//! `Host`. [`one_off::one_off`] prepares `run`, [`render::render`] prints the canonical project.
//! Only this crate knows YAML and the Compose Specification.

mod assemble;
mod budget;
mod canonical;
mod config_hash;
pub mod converge;
mod copies;
mod digest;
mod discover;
mod dotenv;
mod environment;
pub mod explain;
mod extends;
pub mod files;
mod foreign;
pub mod generate;
pub mod graph;
pub mod history;
mod hook;
pub mod image_build;
mod interpolate;
pub mod labels;
mod last_words;
mod ledger;
pub mod lint;
pub mod load;
mod lower;
mod merge;
mod mistakes;
pub mod model;
mod node;
mod normalize;
mod notation;
pub mod observe;
pub mod one_off;
pub mod pins;
pub mod plan;
pub mod provider;
pub mod publish;
mod reader;
mod reference;
pub mod remote;
pub mod render;
mod seccomp;
mod select;
mod short;
mod source;
mod spec;
mod stop;
mod support;
#[cfg(test)]
mod tests;
mod trials;
mod typed;
mod undo;
mod validate;
mod values;
pub mod variables;
mod wait;
pub mod watch;
mod words;
mod yaml;
