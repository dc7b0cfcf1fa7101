//! Decisions about job.
