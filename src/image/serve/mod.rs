//! The built-in registry: gives the images of this machine to others, and takes theirs when allowed.
//!
//! A server of the OCI distribution specification 1.1, for one machine to seed others with. From pure
//! to deed: `options` (who may be spoken to), `route` and `page` and `range` (what is asked), `names`
//! (which local image that is), `refusal` (the specification's errors); then `lease` (what keeps blobs
//! from being collected between two requests), `uploads` and `intake` (pushes), `desk` (one request)
//! and `server` (the listener).
//!
//! What it does not do: indexes of several platforms (the store keeps one image a name), and accounts;
//! who may come is decided by loopback or by a client certificate.

pub mod options;
pub mod server;

mod desk;
mod intake;
mod lease;
mod names;
mod page;
mod range;
mod refusal;
mod reply;
mod route;
mod uploads;
