//! What every floor may use: errors, time, identifiers, units, places on disk and safe paths.
//!
//! Nothing here knows what a container is. A thing belongs in this crate only when at least two
//! layers that do not know each other need it.

pub mod clock;
pub mod dirs;
pub mod error;
pub mod fs;
pub mod id;
pub mod name;
pub mod overlay;
pub mod root;
mod seal;
pub mod spelling;
pub mod task;
pub mod units;

pub use crate::clock::{Clock, Time};
pub use crate::error::{Context, Error, Kind, Result};
pub use crate::id::Id;
pub use crate::name::Name;
