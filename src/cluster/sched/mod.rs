//! The scheduler: which node each waiting pod goes to, and why not the others.
//!
//! [`Book`] is the accounts of all nodes, kept up by whoever watches; [`decide`] places a batch of pods
//! into it; [`why`] explains a refusal. Pure: no clock, no I/O, and the same book, pods and seed lead to
//! the same places.

mod book;
mod decide;
mod demand;
mod filter;
mod peers;
pub(crate) mod place;
mod refusal;
mod resources;
mod score;
pub mod why;

pub use book::Book;
pub(crate) use book::hash;
pub use decide::{Chosen, Placement, decide};
pub use demand::Demand;
pub use refusal::Refusal;
pub use resources::Resources;
