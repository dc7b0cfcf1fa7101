//! The server: every request is one row of `routes`, answered from a [`orc_host::Host`].
//!
//! `listen` accepts connections, `dispatch` finds the row and turns errors into refusals, `call` is
//! a decoded request and `reply` an answer. The rest is one file for each family of rows.

pub(crate) mod archive;
pub(crate) mod build_query;
pub(crate) mod builds;
pub(crate) mod call;
pub(crate) mod containers;
pub(crate) mod disk;
pub(crate) mod dispatch;
pub(crate) mod execs;
pub(crate) mod hijack;
pub(crate) mod images;
pub mod listen;
pub(crate) mod networks;
pub(crate) mod output;
pub(crate) mod query;
pub(crate) mod registries;
pub(crate) mod reply;
pub(crate) mod route;
pub(crate) mod routes;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod transfers;
pub(crate) mod volumes;
