//! From a name to a directory: what pulls, keeps, unpacks, stacks and gives away images.
//!
//! [`images::Images`] is the face. Below it, from the ground up: checked names (`digest`,
//! `reference`), blobs on disk (`content`), unpacked layers (`layers`, `unpack`), the record of what
//! is an image (`store`), and what brings images in and out (`transfer`, `archive`). Only this crate
//! knows registries, tar and compression; it knows nothing of containers but their ids.

pub mod archive;
pub mod build;
pub mod cache;
pub mod cache_mount;
mod catalog;
pub mod check;
mod compare;
pub mod config;
pub mod content;
mod credential_helper;
pub mod credentials;
pub mod credentials_file;
pub mod digest;
pub mod dockerfile;
pub mod flight;
pub mod image;
pub mod images;
pub mod layers;
mod ledger;
pub mod manifest;
pub mod pack;
pub mod partial;
pub mod platform;
pub mod progress;
mod rebuild;
pub mod reference;
mod refetch;
pub mod registry;
mod removal;
mod reserve;
pub mod serve;
pub mod snapshot;
pub mod store;
pub(crate) mod tail;
pub mod transfer;
pub mod unpack;
pub mod unpacker;
pub mod usage;

#[cfg(test)]
mod testing;
