//! Decisions about service.
