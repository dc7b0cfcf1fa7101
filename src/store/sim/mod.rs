//! The store under faults, in time that only seems to pass: every run follows from its seed.

pub(crate) mod runtime;
