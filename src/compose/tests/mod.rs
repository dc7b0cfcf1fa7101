//! Scenarios in the user's language: Compose files in, plans, projects and calls out.

mod builds;
mod config;
mod converge;
mod down;
mod golden;
mod graph;
mod lifecycle;
mod lint;
mod load;
mod lower;
mod one_off;
mod page;
mod refusals;
mod rolling;
mod support;
mod up;
mod watch;
mod why;
