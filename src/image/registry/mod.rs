//! The client of registries: the OCI distribution API over HTTP.
//!
//! Written by hand on reqwest rather than on oci-client 0.18: that one follows redirects by itself,
//! sends the password to whatever `realm` a challenge names, reads manifests, tokens and errors without
//! a bound, and neither retries nor heeds `Retry-After` (all in its `client.rs`, as of 0.18.0), and
//! offers no seam to change this.
//!
//! From pure to deed: `config` and `file` (what the operator decides), `hops` (which URL may be asked, and who may
//! see a secret), `challenge` and `retry` (headers read, waits decided), `refusal` (answers into
//! errors); then `http` (one request, bounded), `token` (how to log in), `session` (one repository:
//! hops, mirrors, logins and retries around a request), and on it `documents`, `blobs`, `tags` and
//! `upload`.

pub mod config;
pub mod file;

pub(crate) mod blobs;
pub(crate) mod challenge;
pub(crate) mod documents;
pub(crate) mod hops;
pub(crate) mod http;
pub(crate) mod refusal;
pub(crate) mod retry;
pub(crate) mod session;
pub(crate) mod tags;
pub(crate) mod token;
pub(crate) mod upload;
