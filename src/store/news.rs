//! The channel by which the store tells that something has changed: tokio's, and in tests one whose order
//! follows from the program alone (`sim/news.rs`).

#[cfg(test)]
pub(crate) use crate::sim::news::{Receiver, Sender, channel};
#[cfg(not(test))]
pub(crate) use tokio::sync::watch::{Receiver, Sender, channel};
