//! The kernel's door: what the typed wrappers of `rustix` do not offer.

pub(crate) mod linux;
