//! Decisions about pod_gc.
