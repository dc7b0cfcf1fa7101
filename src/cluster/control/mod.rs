//! The controllers: each a rule that looks at one subject and says what to do about it.
//!
//! A [`Rule`] is pure: the world and the time in, a [`Decision`] out. It remembers nothing, so it may be
//! asked at any time, twice, or by another process after a crash. Who asks, and when, is the driver.

pub mod conditions;
pub mod daemon_set;
pub mod deployment;
pub mod job;
pub mod namespace;
pub mod node;
pub mod owners;
pub mod pod_gc;
pub mod replica_set;
pub mod service;

mod claim;
mod names;
mod pods;
mod rollout;

#[cfg(test)]
pub(crate) use deployment::bounds_of;
pub(crate) use pods::is_active;
#[cfg(test)]
pub(crate) use pods::is_ready;
#[cfg(test)]
pub(crate) use replica_set::wanted;

use orc_base::Time;

use crate::operation::Decision;
use crate::reference::Ref;
use crate::world::{Change, World};

/// One controller.
pub trait Rule: Send + Sync {
    /// Its name, as its writes and events carry it.
    fn name(&self) -> &'static str;

    /// The subjects that a change may lead to another decision about.
    fn concerns(&self, world: &World, change: &Change) -> Vec<Ref>;

    /// What to do about a subject, which may be gone by now.
    fn decide(&self, world: &World, subject: &Ref, now: Time) -> Decision;
}
