//! Turns a blob of the content store into a layer, off the async threads.
//!
//! Two who want the same layer share the work. Whoever stops waiting ends it, unless others wait too
//! and begin it anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use orc_base::{Context, Error, Result};

use crate::digest::Digest;
use crate::store::Ingest;
use crate::unpack::stream::Watch;

/// Unpacks `blob`, whose uncompressed stream has the digest `diff_id`, unless the layer is here.
/// `progress` hears how many compressed bytes were read; it is called on another thread.
pub async fn unpack_blob(
    ingest: &Ingest,
    blob: &Digest,
    diff_id: &Digest,
    progress: impl FnMut(u64) + Send + 'static,
) -> Result<()> {
    let layers = ingest.store().layers();
    let flight = layers.lock(diff_id).await;
    if layers.contains(diff_id) {
        return Ok(());
    }
    let watch = Arc::new(Watch::default());
    let _cancel = CancelOnDrop(watch.clone());
    let (ingest, blob, diff_id) = (ingest.clone(), blob.clone(), diff_id.clone());
    let mut progress = progress;
    let work = tokio::task::spawn_blocking(move || {
        let _flight = flight;
        let store = ingest.store();
        let source = store.content().open_blob(&blob)?;
        let unpacked = store
            .layers()
            .unpack(&diff_id, source, &watch, &mut progress);
        unpacked.context(|| format!("unpack layer {}", blob.short()))
    });
    work.await
        .map_err(|error| Error::internal(format!("the unpacking was lost: {error}")))?
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
