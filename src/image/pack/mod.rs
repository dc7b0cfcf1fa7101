//! From a directory tree to a tar archive, the way back from [`crate::unpack`].
//!
//! `walk` goes through a tree by directory descriptors, in the order of names; `look` says what is
//! there, `tape` writes headers and data, `entries` brings the two together. On top of them `layer`
//! packs what a container wrote (the upper directory of its overlay) as a layer, `tree` packs what a
//! tree looks like from inside, `blob` makes a layer's blob and its digests in one pass, and `adopt`
//! makes an upper directory what unpacking its layer would give. `changes` tells what a container has
//! changed. The same tree gives the same bytes.

pub mod adopt;
pub mod blob;
pub mod changes;
pub(crate) mod compress;
mod entries;
pub mod layer;
pub mod leftovers;
pub(crate) mod look;
mod tape;
pub mod tree;
pub(crate) mod walk;

#[cfg(test)]
mod tests;
