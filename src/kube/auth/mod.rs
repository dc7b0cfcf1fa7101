//! Who asks, and what they may do.
//!
//! `user` is what everything else speaks of; `authenticator` finds it from a certificate or a bearer token
//! (`jwt`: those of service accounts), and asks again while a request lasts; `rules` is the table of
//! who may do what (`decision`: its questions and answers), and `node` what a machine may do beyond it, which depends on the objects themselves.
//!
//! Kubernetes' RBAC objects are not here: the table is fixed until those kinds come.

pub mod authenticator;
pub mod jwt;
pub mod user;

pub(crate) mod decision;
pub(crate) mod node;
pub(crate) mod rules;
