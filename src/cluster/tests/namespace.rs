//! Decisions about namespace.
