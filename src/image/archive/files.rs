//! Plain files as archives: out of a tree that someone uses, and into one.
//!
//! What comes in goes through the same reader, with the same bounds, as a layer; only names mean
//! nothing but themselves.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncWrite};

use orc_base::root::Root;
use orc_base::{Context, Error, Result};

use crate::archive::pipe;
use crate::pack::tree;
pub use crate::pack::tree::Named;
use crate::progress::Silent;
use crate::unpack::limits::Limits;
use crate::unpack::stream::{self, Watch};
use crate::unpack::tar::Reader;
pub use crate::unpack::tree::Files;
use crate::unpack::tree::Tree;

/// Something in a tree, to be sent.
#[derive(Debug)]
pub struct Source {
    /// The open directory that holds it.
    pub parent: OwnedFd,
    /// Its name there; `.` for the directory itself.
    pub name: PathBuf,
    /// What it is called in the archive.
    pub called: PathBuf,
}

/// Writes `source`, and all below it, as a tar archive.
pub async fn send(source: Source, out: impl AsyncWrite + Unpin) -> Result<()> {
    pipe::drain(out, move |mut out| {
        let Source {
            parent,
            name,
            called,
        } = &source;
        tree::one(parent.as_fd(), name, called, &mut out).map(drop)
    })
    .await
}

/// Writes single things as a tar archive, none of them with what is below it, as if `owner` owned
/// them. What is gone by now is left out.
pub async fn send_each(
    things: Vec<Named>,
    owner: (u32, u32),
    out: impl AsyncWrite + Unpin,
) -> Result<()> {
    pipe::drain(out, move |mut out| {
        tree::several(&things, owner, &mut out).map(drop)
    })
    .await
}

/// Writes all that is below `root` as a tar archive.
pub async fn send_all(root: OwnedFd, out: impl AsyncWrite + Unpin) -> Result<()> {
    pipe::drain(out, move |mut out| {
        tree::tree(root.as_fd(), &mut out, None).map(drop)
    })
    .await
}

/// Writes the files of a tar archive, compressed or not, below `root`.
pub async fn receive(root: Root, files: Files, tar: impl AsyncRead + Unpin) -> Result<()> {
    pipe::feed(tar, &Silent, move |tar, _| {
        let limits = Limits::default();
        let watch = Watch::default();
        let write = |stream: &mut stream::Uncompressed| {
            let mut tree = Tree::of_files(root, files, limits);
            let mut reader = Reader::new(stream);
            while let Some(entry) = reader.next_entry()? {
                tree.arrived(watch.taken.load(Ordering::Relaxed));
                tree.put(&entry, &mut |sink| reader.data(sink))?;
            }
            if !reader.has_end_marker() {
                return Err(Error::invalid(
                    "the archive has no end: it is truncated, or no tar archive at all",
                ));
            }
            tree.finish()
        };
        stream::with_uncompressed(tar, &limits, &watch, write).map(drop)
    })
    .await
    .context(|| "unpack the archive")
}
