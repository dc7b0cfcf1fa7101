//! Scenarios in the user's language: Compose files in, plans, projects and calls out.

mod builds;
mod config;
mod converge;
mod down;
mod lifecycle;
mod load;
mod lower;
mod one_off;
mod refusals;
mod support;
mod up;
mod why;
