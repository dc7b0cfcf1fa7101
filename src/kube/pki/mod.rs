//! Who is who in a cluster: the certificate authority, certificates, join tokens, and TLS made of them.
//!
//! From pure to deed: `identity` (what a certificate says of a machine or a person), `token` (how a
//! machine that has no certificate yet proves that it may ask for one), `renewal` and `rotation` (when
//! certificates and the authority itself are made anew), `authority` (signs), `peer` (reads), `join` (both
//! ends of joining), `trust` (whom a connection believes), `live` (keys that change under open
//! listeners) and `tls` (the two configurations).
//!
//! What is not here: where any of it is kept (the store; files are the daemon's) and what a user may do
//! (`auth`).

pub mod authority;
pub mod identity;
pub mod join;
pub mod live;
pub mod peer;
pub mod renewal;
pub mod rotation;
pub mod tls;
pub mod token;
pub mod trust;
