//! The whole program, as a person uses it: the real binary, the real kernel, real clients.

mod archive;
mod attributes;
mod bad_input;
mod bombs;
mod bridge;
mod build;
mod compose;
mod compose_cli;
mod confine;
mod daemon;
mod docker_cli;
mod dot_env;
mod examples;
mod flags;
mod foreground;
mod hostile;
mod mounts;
mod network;
mod newcomer;
mod providers;
mod registry;
mod remote;
mod serving;
mod storage;
mod updates;
mod watch;
