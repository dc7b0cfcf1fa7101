//! Tests with real packets, in network namespaces of their own.
//!
//! Each test is a machine ([`lab::Lab`]): a thread in a fresh network namespace with the daemon's
//! network layer, containers that are namespaces with a few sockets, and a neighbour on a wire.
//! Nothing is left behind when a test fails: the namespaces go with their threads and mounts.

mod contract;
mod ipv6;
mod isolation;
mod lab;
mod life;
mod names;
mod nodes;
mod ports;
