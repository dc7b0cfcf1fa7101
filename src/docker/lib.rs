//! The Docker Engine API on a unix socket: a server over any [`orc_host::Host`], and a client that
//! is one.
//!
//! Only this layer knows Docker's JSON. `wire` holds it as structs, `convert` turns it into plain
//! host data and back without any I/O, `server` answers requests with it, and `client` asks them.
//! Facts that Docker's JSON has no place for travel in members that begin with `Orc`; the server
//! adds them only for a client that asks with `orc=1`, so Docker's own clients never see one.

mod body;
pub mod client;
mod convert;
pub mod inspect;
pub mod server;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub use crate::client::Client;
pub use crate::server::listen::{Options, serve};
