//! Who runs what where: the controllers and the scheduler of a cluster.
//!
//! Everything here decides and nothing here remembers: a rule is a pure function from what the cluster's
//! objects say and the time to operations, and the driver carries operations out. The objects are the
//! only truth, so whoever leads may be killed at any point.

pub mod control;
pub mod driver;
mod labels;
mod object;
pub mod operation;
pub mod reference;
pub mod sched;
pub mod world;

#[cfg(test)]
mod tests;
