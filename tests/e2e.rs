//! The whole program, as a person uses it: the real binary, the real kernel, real clients.

mod archive;
mod bad_input;
mod build;
mod compose;
mod confine;
mod daemon;
mod docker_cli;
mod examples;
mod foreground;
mod hostile;
mod network;
mod registry;
mod serving;
mod storage;
