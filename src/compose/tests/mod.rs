//! Scenarios in the user's language: Compose files in, plans, projects and calls out.

mod attributes;
mod bombs;
mod builds;
mod changes;
mod config;
mod converge;
mod down;
mod golden;
mod graph;
mod hooks;
mod lifecycle;
mod lint;
mod load;
mod lower;
mod one_off;
mod options;
mod page;
mod publish;
mod refusals;
mod rolling;
mod support;
mod up;
mod volumes;
mod watch;
mod why;
