//! The whole program, as a person uses it: the real binary, the real kernel, real clients.

mod bad_input;
mod compose;
mod confine;
mod daemon;
mod docker_cli;
mod examples;
mod foreground;
mod network;
mod registry;
mod serving;
