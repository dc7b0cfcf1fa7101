//! Archives as an attacker writes them, and what must become of each.
//!
//! One corpus for everything that reads an archive, whatever crate it lives in: [`cases::corpus`] names
//! each case, has the bytes of its layers, and says whether it is refused or what tree it becomes. The
//! tree comes from [`model`], which applies entries in memory by the text of the OCI specification and
//! shares no code with any reader. [`trap`] is the tree beside the reader that must not change.
//! For tests only; it knows nothing of images or containers.

pub mod cases;
pub mod entry;
pub mod model;
pub mod overlay;
pub mod random;
pub mod registry;
pub mod tape;
pub mod trap;
pub mod view;
