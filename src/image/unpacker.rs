//! Unpacks layers off the async threads.
//!
//! Two who want the same layer share the work. Whoever stops waiting ends it, unless others wait too
//! and begin it anew.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinHandle;

use orc_base::{Context, Error, Result};

use crate::digest::Digest;
use crate::flight::Flight;
use crate::layers::Staged;
use crate::store::Ingest;
use crate::unpack::stream::Watch;

const BUFFER_BYTES: usize = 256 << 10;

/// A layer and the right to make it.
pub(crate) struct Work {
    /// Keeps what is being made.
    pub(crate) ingest: Ingest,
    /// The blob it comes from, for messages.
    pub(crate) blob: Digest,
    /// The digest that its uncompressed stream must have.
    pub(crate) diff_id: Digest,
    /// From [`crate::layers::Layers::lock`]; held until the work has ended, however it ends.
    pub(crate) flight: Arc<Flight>,
}

/// A layer that is being unpacked on a thread. Dropping it ends that soon.
pub(crate) struct Unpacking {
    task: JoinHandle<Result<Staged>>,
    _cancel: CancelOnDrop,
}

impl Unpacking {
    /// Begins to unpack what `source` gives. `progress` hears how many compressed bytes were read; it
    /// is called on the thread that unpacks.
    pub(crate) fn start(
        work: Work,
        source: impl BufRead + Send + 'static,
        mut progress: impl FnMut(u64) + Send + 'static,
    ) -> Self {
        let watch = Arc::new(Watch::default());
        let cancel = CancelOnDrop(watch.clone());
        let task = tokio::task::spawn_blocking(move || {
            let Work {
                ingest,
                blob,
                diff_id,
                flight: _flight,
            } = work;
            let layers = ingest.store().layers();
            let staged = layers.unpack_aside(&diff_id, source, &watch, &mut progress);
            staged.context(|| format!("unpack layer {}", blob.short()))
        });
        Self {
            task,
            _cancel: cancel,
        }
    }

    /// Waits for the end; to be called until it gave a result, and not again.
    pub(crate) async fn wait(&mut self) -> Result<Staged> {
        (&mut self.task)
            .await
            .map_err(|error| Error::internal(format!("the unpacking was lost: {error}")))?
    }
}

/// Unpacks `blob` of the content store, whose uncompressed stream has the digest `diff_id`, unless the
/// layer is here. `progress` hears how many compressed bytes were read; it is called on another thread.
pub async fn unpack_blob(
    ingest: &Ingest,
    blob: &Digest,
    diff_id: &Digest,
    progress: impl FnMut(u64) + Send + 'static,
) -> Result<()> {
    let store = ingest.store();
    let flight = Arc::new(store.layers().lock(diff_id).await);
    if store.layers().contains(diff_id) {
        return Ok(());
    }
    let work = Work {
        ingest: ingest.clone(),
        blob: blob.clone(),
        diff_id: diff_id.clone(),
        flight: Arc::clone(&flight),
    };
    let file = store.content().open_blob(blob)?;
    let source = BufReader::with_capacity(BUFFER_BYTES, file);
    let staged = Unpacking::start(work, source, progress).wait().await?;
    store.layers().show(staged)
}

struct CancelOnDrop(Arc<Watch>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use orc_base::fs::Durability;

    use super::*;
    use crate::store::Store;
    use crate::testing::{gzip, tape};

    #[tokio::test]
    async fn two_share_one_layer() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Durability::Process).unwrap();
        let bytes = tape().file("f", b"hello").end();
        let packed = gzip(&bytes);
        let (blob, diff_id) = (Digest::of(&packed), Digest::of(&bytes));
        let ingest = store.begin();
        let run = || unpack_blob(&ingest, &blob, &diff_id, |_| ());
        assert!(run().await.is_err(), "no such blob");
        store.content().write_whole(&blob, &packed).unwrap();
        let (one, two) = tokio::join!(run(), run());
        one.unwrap();
        two.unwrap();
        assert!(store.layers().contains(&diff_id));
    }
}
