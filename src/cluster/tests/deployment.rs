//! Decisions about deployment.
