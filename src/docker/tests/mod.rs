//! The server over the fake host, asked by the crate's own client, by bytes on the socket, and by
//! Docker's own command line.

mod contract;
mod docker_cli;
mod foreign_text;
mod http;
mod streams;
mod support;
