//! The store over openraft, which nothing outside of this directory knows.

mod calls;
mod lead;
mod log;
mod machine;
mod members;
mod message;
mod network;
mod options;
mod reads;
mod receive;
mod repair;
mod store;
#[cfg(test)]
mod tests;
mod types;

pub use members::{Member, Role, Status};
pub use options::{ClusterId, Options, Timing};
pub use repair::{Lost, Survivor, recover, restore};
pub use store::RaftStore;
