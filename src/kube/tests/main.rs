//! The API server as its clients see it: the real kubectl against a server on loopback, over a store in
//! memory, in a network namespace of its own.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod cluster;
mod http;
mod kubectl;
mod remote;
mod rights;
mod streams;
