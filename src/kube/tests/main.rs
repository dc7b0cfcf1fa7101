//! The API server as its clients see it: the real kubectl against a server on loopback, over a store in
//! memory, in a network namespace of its own.

mod cluster;
mod http;
mod kubectl;
mod rights;
mod streams;
