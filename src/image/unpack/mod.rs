//! From the stream of a layer to a directory tree, trusting nothing in it.
//!
//! `stream` takes the compression off and hashes on other threads, `tar` cuts the bytes into entries,
//! `path` decides where an entry may go, `tree` writes it there, and `layer` runs them. All bounds are
//! in `limits`.

pub mod compression;
pub mod layer;
pub mod limits;
pub mod path;
pub mod pax;
pub mod sparse;
pub mod stream;
pub mod tar;
pub mod tree;

#[cfg(test)]
mod tests;
