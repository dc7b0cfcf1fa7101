//! Images between registries and this machine.
//!
//! `resolve` goes from a name to the one manifest and config that fit, `download` fetches one blob,
//! `layer` unpacks it on its way, `pull` runs these for a whole image; `push` is the way back. What is
//! on disk already is not moved again, and an image becomes visible only after all of it is here.
//! `artifact` is for what is no image, `documents` its way back.

pub mod artifact;
pub mod documents;
pub(crate) mod download;
pub(crate) mod layer;
pub mod pull;
pub(crate) mod push;
pub(crate) mod relay;
pub(crate) mod resolve;

#[cfg(test)]
mod tests;
