//! From the stream of a layer to a directory tree, trusting nothing in it.
//!
//! `stream` takes the compression off (`compression`, `window`) and hashes on other threads, `tar` cuts the bytes into entries
//! (with `header`, `pax`, `sparse`), `path` decides where an entry may go, `tree` puts it there (with
//! `parents`, `born`, `contents`, `attributes`), and `layer` runs them. All bounds are in `limits`.

pub(crate) mod attributes;
pub(crate) mod born;
pub mod compression;
pub mod contents;
pub mod entry;
pub(crate) mod header;
pub mod layer;
pub mod limits;
pub(crate) mod parents;
pub mod path;
pub mod pax;
pub mod sparse;
pub mod stream;
pub mod tar;
pub mod tree;
pub(crate) mod window;

#[cfg(test)]
mod tests;
