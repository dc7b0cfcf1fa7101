//! Decisions about node.
