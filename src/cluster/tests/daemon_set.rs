//! Decisions about daemon_set.
