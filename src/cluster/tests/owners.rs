//! Decisions about owners.
