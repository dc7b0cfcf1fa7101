//! Images in files: rootfs archives become images, images become archives and come back.
//!
//! `intake` makes a layer of a stream, `import` an image of that, `commit` an image of what a container
//! wrote; `files` carries plain files out of and into trees in use; `layout` is what `save` writes and
//! `load` reads; `pipe` carries bytes between the async callers and the threads that do the work.

pub mod commit;
pub mod files;
pub mod import;
pub(crate) mod intake;
pub(crate) mod layout;
pub mod load;
pub(crate) mod pipe;
pub mod save;

#[cfg(test)]
mod tests;
