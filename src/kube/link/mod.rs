//! The store's messages between members, over mutual TLS.
//!
//! [`Link`] is the side that asks, [`serve`] the one that answers; `frame` is what both write. Every message
//! has a number and its answer the same one, so that one connection carries as many as there are, in
//! any order. A member is found by [`MemberAddress`]: its place, and the node's name that its
//! certificate must have.
//!
//! Leaves to others: who may connect (the gate in the TLS configurations) and what the messages say.

mod address;
mod ask;
mod frame;
mod serve;

#[cfg(test)]
mod tests;

pub use address::MemberAddress;
pub use ask::Link;
pub use serve::{Receive, serve};

/// What a connection between members speaks (ALPN).
pub const PROTOCOL: &str = "orc-store/1";
